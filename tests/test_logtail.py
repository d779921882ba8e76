"""The log reader over a real Redis: each delivery is one event, whatever is killed."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import pytest
from fletching.store.bounce_claims import BounceClaims, Claim, failure_of

from sandbox.processes import wait_until
from sandbox.redis_server import RedisServer
from tests.log_lines import CAMPAIGN, Mail
from tests.logtail_setting import Logtail, outcomes
from tests.stores import open_store, statistics_of

pytestmark = pytest.mark.slow

DELIVERED, FAILED, BOUNCED = (
    (*("delivery_attempt", "success"),),
    ("delivery_attempt", "failure"),
    ("bounce_all", ""),
)


@pytest.fixture
def logtail(tmp_path: Path) -> Iterator[Logtail]:
    with RedisServer() as redis, Logtail(tmp_path, redis) as running:
        yield running


def test_deliveries_are_events_with_the_facts_of_their_messages(logtail: Logtail) -> None:
    one, two = logtail.send(2)
    logtail.write(*one.delivered(), two.active(), two.bounced(), two.removed())
    found = logtail.wait(3)
    assert outcomes(found) == [(1, *DELIVERED), (2, *BOUNCED), (2, *FAILED)]
    event = found[0]
    assert (event["email"], event["campaign"]) == ("r1@example.org", CAMPAIGN)
    assert (event["listid"], event["sendid"], event["mtaid"]) == ("t100", "news1", "a")
    assert event["outmtaid"] == "vmta-a"
    assert "started daemon=logtail" in logtail.said()


def test_position_and_queue_survive_a_restart(logtail: Logtail) -> None:
    (mail,) = logtail.send(1)
    logtail.write(mail.active(), mail.deferred())
    logtail.wait(1)
    logtail.stop()
    # qmgr does not name the sender again.
    logtail.write(mail.deferred())
    logtail.start()
    found = logtail.wait(2)
    assert [each["is_retry"] for each in found] == [0, 1]
    logtail.write(mail.expired(), mail.removed())
    assert outcomes(logtail.wait(4))[0] == (1, *BOUNCED)


def test_bounce_that_the_mail_has_reported_first_is_only_an_attempt(logtail: Logtail) -> None:
    one, two = logtail.send(2)
    claims = BounceClaims(open_store(logtail.redis.unix_url))
    failure = Claim(CAMPAIGN, 1, failure_of(one.queue_id, one.to.upper()))
    assert claims.claim("mail", [failure], 60) == [True]
    logtail.write(one.active(), one.bounced(), two.active(), two.bounced())
    assert outcomes(logtail.wait(3)) == [(1, *FAILED), (2, *BOUNCED), (2, *FAILED)]
    other = Claim(CAMPAIGN, 2, failure_of(two.queue_id, two.to))
    assert claims.claim("mail", [failure, other], 60) == [True, False]


def test_lines_wait_in_the_log_while_redis_is_away(logtail: Logtail) -> None:
    (mail,) = logtail.send(1)
    logtail.redis.stop()
    logtail.write(*mail.delivered())
    wait_until("no word of it", lambda: "redis_unavailable" in logtail.said())
    logtail.redis.start()
    assert outcomes(logtail.wait(1)) == [(1, *DELIVERED)]


def test_sigterm_ends_it_while_redis_is_away(logtail: Logtail) -> None:
    (mail,) = logtail.send(1)
    logtail.redis.stop()
    logtail.write(*mail.delivered())
    wait_until("no word of it", lambda: "redis_unavailable" in logtail.said())
    assert logtail.daemon.stop() == 0
    logtail.redis.start()
    logtail.start()
    assert outcomes(logtail.wait(1)) == [(1, *DELIVERED)]


def test_reload_brings_new_rules(logtail: Logtail) -> None:
    one, two = logtail.send(2)
    logtail.write(one.active(), one.bounced())
    logtail.wait(2)
    rule = {"pattern": "/user unknown/", "reason": "policy", "type": "soft"}
    logtail.configure({"bounces": {"rules": [rule]}})
    logtail.daemon.signal(signal.SIGHUP)
    wait_until("not reloaded", lambda: "reload=done" in logtail.said())
    # The worker hears of it a moment later.
    number = iter(range(100))

    def has_the_rule() -> bool:
        mail = Mail(f"{next(number):03d}zCXPd", 2, to=two.to, keys=logtail.keys)
        logtail.write(mail.active(), mail.bounced())
        count = len(logtail.events())
        logtail.wait(count + 2)
        return any(each.get("bounce_reason") == "policy" for each in logtail.events())

    wait_until("the rule is not used", has_the_rule)


def test_counters_are_written(logtail: Logtail) -> None:
    (mail,) = logtail.send(1)
    logtail.write(*mail.delivered())
    logtail.wait(1)
    logtail.stop()
    shown = (logtail.state_dir / "logtail.prom").read_text()
    assert "fletching_log_lines_total 5.0" in shown
    assert "fletching_log_lines_ours_total 3.0" in shown
    assert "fletching_log_behind_bytes 0.0" in shown


def lines_of(mails: list[Mail]) -> Iterator[list[str]]:
    """The lines of each mail, with as many lines of other mail; every fifth is refused, and every
    seventh deferred at first.
    """
    for place, mail in enumerate(mails):
        other = Mail(f"{place:06d}zCXPf", campaign="")
        theirs = [*other.delivered(), other.deferred()]
        if place % 5 == 0:
            yield [mail.queued(), mail.active(), mail.bounced(), mail.removed(), *theirs]
        elif place % 7 == 0:
            yield [
                mail.queued(),
                mail.active(),
                mail.deferred(),
                mail.active(),
                mail.sent(),
                *theirs,
            ]
        else:
            yield [*mail.delivered(), *theirs]


def wanted(mails: list[Mail]) -> list[tuple[int, str, str]]:
    found = []
    for place, mail in enumerate(mails):
        if place % 5 == 0:
            found += [(mail.number, *BOUNCED), (mail.number, *FAILED)]
        else:
            if place % 7 == 0:
                found.append((mail.number, "delivery_attempt", "deferral"))
            found.append((mail.number, *DELIVERED))
    return sorted(found)


def test_no_event_is_lost_or_doubled_by_kills_and_rotations(logtail: Logtail) -> None:
    """20,000 lines; the reader and Redis are killed in turn, and the log is rotated both ways."""
    mails = logtail.send(1860)
    lines = [line for each in lines_of(mails) for line in each]
    assert len(lines) > 20_000

    def kill_redis() -> None:
        logtail.redis.kill()
        logtail.redis.start()

    def rename() -> None:
        logtail.log.rename(next(rotated))

    def copytruncate() -> None:
        shutil.copyfile(logtail.log, next(rotated))
        os.truncate(logtail.log, 0)

    def kill_all() -> None:
        logtail.daemon.kill()
        logtail.start()

    rotated = iter([logtail.log.with_name(f"mail.log-2026113{n:03d}") for n in range(100)])
    blows: cycle[Callable[[], None]] = cycle(
        [logtail.kill_worker, kill_redis, rename, kill_all, copytruncate]
    )
    for start in range(0, len(lines), 800):
        logtail.write(*lines[start : start + 800])
        next(blows)()
    expected = wanted(mails)
    found = outcomes(logtail.wait(len(expected), 120))
    assert Counter(found) - Counter(expected) == Counter()
    assert Counter(expected) - Counter(found) == Counter()
    ids = [each["event_unique_id"] for each in logtail.events()]
    assert len(set(ids)) == len(ids)
    assert "log_gap" not in logtail.said()
    refused, deferred = (
        sum(kind in each for each in expected) for kind in ("bounce_all", "deferral")
    )

    def counted() -> tuple[int | None, ...]:
        found = statistics_of(logtail.redis.unix_url).campaign(CAMPAIGN)
        assert found is not None
        return found.delivered, found.deferred, found.bounces_hard

    # The stream may have the last events a moment before the counters.
    wait_until("other counts", lambda: counted() == (len(mails) - refused, deferred, refused))
