"""What is told of mails after their answer: gathered, complete, and never by two at once."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from fletching.daemons.milter import afterwards
from fletching.daemons.milter.afterwards import Answered, AnsweredQueue, count_warnings
from fletching.policy.verdict import Verdict
from fletching.store.find_traces import Traces
from fletching.tokens import Facts

from sandbox.processes import wait_until
from sandbox.redis_server import RedisServer
from tests.milter_daemon import ACCEPT, MilterDaemon, body, header
from tests.stores import open_store, statistics_of


def mail(number: int, *warnings: str, campaign: str = "c") -> Answered:
    message = Facts(campaign, number, "news", "1", "", "", "", "", 0)
    return Answered(f"4Q{number}", Verdict.ACCEPT, 0.0, message=message, warnings=warnings)


class Written:
    """What was written, and whether two ever wrote at once."""

    def __init__(self) -> None:
        self.batches: list[Sequence[Answered]] = []
        self.overlapped = False
        self._alone = threading.Lock()

    def __call__(self, batch: Sequence[Answered]) -> bool:
        if not self._alone.acquire(blocking=False):
            self.overlapped = True
            return False
        self.batches.append(batch)
        self._alone.release()
        return False

    @property
    def ids(self) -> list[str]:
        return [each.queue_id for batch in self.batches for each in batch]


def test_mails_are_written_in_order() -> None:
    written = Written()
    later = AnsweredQueue(written)
    for number in range(100):
        later.add(mail(number))
    wait_until("nothing is written", lambda: len(written.ids) == 100)
    assert written.ids == [f"4Q{number}" for number in range(100)]
    assert len(written.batches) < 100


def test_finish_writes_the_rest_at_once() -> None:
    written = Written()
    later = AnsweredQueue(written)
    later.add(mail(1))
    later.finish()
    assert written.ids == ["4Q1"]


def test_batches_are_limited_and_no_mail_is_lost() -> None:
    written = Written()
    later = AnsweredQueue(written)

    def add_many() -> None:
        for number in range(1000):
            later.add(mail(number))

    threads = [threading.Thread(target=add_many) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    later.finish()
    assert len(written.ids) == 8000
    assert max(len(batch) for batch in written.batches) <= afterwards.MOST + len(threads)
    assert not written.overlapped


def test_incomplete_batch_is_retried_without_a_new_mail() -> None:
    sizes: list[int] = []

    def write(batch: Sequence[Answered]) -> bool:
        sizes.append(len(batch))
        return len(sizes) < 3

    later = AnsweredQueue(write)
    later.add(mail(1))
    wait_until("it is not written again", lambda: len(sizes) == 3)
    assert sizes == [1, 0, 0]
    later.finish()
    assert sizes == [1, 0, 0]


def test_warnings_are_counted_by_campaign() -> None:
    batch = [
        mail(1, "a", "b"),
        mail(2, "a"),
        mail(3, "a", campaign="d"),
        mail(4),
        mail(5, "a", campaign=""),
    ]
    assert count_warnings(batch) == {"c": {"a": 2, "b": 1}, "d": {"a": 1}}


def test_failed_batch_does_not_end_the_thread(capfd: pytest.CaptureFixture[str]) -> None:
    written: list[str] = []

    def write(batch: Sequence[Answered]) -> bool:
        if batch[0].queue_id == "4Q1":
            raise OSError("no room")
        written.extend(each.queue_id for each in batch)
        return False

    later = AnsweredQueue(write)
    later.add(mail(1))
    later.finish()
    assert 'logging_failed mails=1 error="OSError: no room"' in capfd.readouterr().err
    later.add(mail(2))
    wait_until("nothing is written", lambda: written == ["4Q2"])


WARNED = header("X-GreenArrow-MtaID", "nobody")
CLASSIFIED = "default_mail_class: news\nmail_classes: {news: {list_id: t100}}\n"
MAILS = 60


@pytest.mark.slow
@pytest.mark.parametrize("config", ["", "worker_max_messages: 20\n"], ids=["stop", "recycling"])
def test_all_mails_are_logged_before_a_worker_ends(config: str) -> None:
    """SIGTERM comes right behind the last answer, with and without workers that retired before."""
    with RedisServer() as redis, MilterDaemon(redis.url, CLASSIFIED + config, workers=2) as milter:
        one = ("begin(conn)", "rcpt(conn)", header("From", "app@example.com"), WARNED)
        script = ("conn = open()", *(*one, body(b"Hello.\r\n"), "finish(conn)") * (MAILS // 6))
        talks = [milter.talk(*script) for _ in range(6)]
        answers = [reply for talk in talks for reply in talk.end().replies]
        milter.stop()
        assert answers == [ACCEPT] * MAILS
        assert milter.log().count("\nmail ") == MAILS
        metrics = (milter.state_dir / "metrics.prom").read_text()
        assert f'verdict="accept"}} {MAILS}.0' in metrics
        statistics = statistics_of(redis.url)
        (campaign,) = statistics.campaigns()
        counted = statistics.warnings(campaign.campaign)
        assert [mails for text, mails in counted if "MtaID" in text] == [MAILS]
        traced = Traces(open_store(redis.url), 7 * 86400).named("4TestQueueId", 2 * MAILS)
        assert len(traced) == MAILS
        accepted = {found.accepted.details["warnings"] for found in traced if found.accepted}
        assert accepted == {tuple(text for text, _ in counted)}


OBSCURED = header("X-GreenArrow-Obscured-Email", "subscriber-4711")
SEVERAL = 'rcpt(conn, "<second@example.org>")'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ((), {"reader@example.org", "id@example.com"}),
        ((OBSCURED,), {"subscriber-4711", "id@example.com"}),
        ((SEVERAL,), {"reader@example.org", "second@example.org", "id@example.com"}),
        ((OBSCURED, SEVERAL), {"subscriber-4711", "id@example.com"}),
    ],
    ids=["one recipient", "obscured", "several recipients", "several, obscured"],
)
def test_trace_is_found_by_what_may_be_recorded(
    redis: RedisServer, fields: tuple[str, ...], found: set[str]
) -> None:
    redis.client.flushall()
    with MilterDaemon(redis.url, CLASSIFIED) as milter:
        recipients = [each for each in ("rcpt(conn)", *fields) if each != OBSCURED]
        others = [each for each in fields if each == OBSCURED]
        fields = (header("From", "app@example.com"), header("Message-ID", "<id@example.com>"))
        script = ("begin(conn)", *recipients, *fields, *others, body(b"Hi.\r\n"), "finish(conn)")
        assert milter.talk("conn = open()", *script).end().replies == [ACCEPT]
        milter.stop()
    names = ("reader@example.org", "second@example.org", "subscriber-4711", "id@example.com")
    traces = Traces(open_store(redis.url), 7 * 86400)
    assert {name for name in names if traces.named(name, 1)} == found
