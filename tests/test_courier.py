"""The courier: events from the stream to destinations, in order, at least once.

Deliveries are run in threads of the test over a real Redis, and the courier as a process of its
own where it is hurt.
"""

from __future__ import annotations

import itertools
import json
import re
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fletching import events
from fletching.daemons.courier import delivery
from fletching.daemons.courier.delivery import Delivery, Destination, Order
from fletching.destinations import answers
from fletching.destinations.answers import Answer, Filter, Pauses, QueuedEvent
from fletching.destinations.formats.greenarrow import ARRAY
from fletching.destinations.formats.table import FORMATS
from fletching.destinations.sql import Sql
from fletching.destinations.webhook import Webhook
from fletching.events import Event
from fletching.metrics.deliveries import Deliveries
from fletching.store import keys
from fletching.store.clock import Clock
from fletching.store.events import EventLog
from fletching.store.lease import Lease

from sandbox.processes import wait_until
from sandbox.redis_server import RedisServer
from tests.courier_setting import Courier, Receiver, Reply, Request, event, mailwizz
from tests.stores import open_store

pytestmark = pytest.mark.slow

WEEK = 7 * 86400
ALL = Filter(None, None)


@pytest.fixture
def redis(redis: RedisServer) -> RedisServer:
    """The same, empty."""
    redis.client.flushall()
    return redis


@pytest.fixture
def stream(redis: RedisServer, tmp_path: Path) -> EventLog:
    return EventLog(open_store(redis.url))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


# Long pauses are tested in test_courier_rules.py.
SHORT = Pauses(first=0.01, longest=0.05)


class Begun:
    """Deliveries of this test, ended with it."""

    def __init__(self, redis: RedisServer, folder: Path) -> None:
        self._redis, self._folder = redis, folder
        self._begun: list[Delivery] = []

    def begin(
        self,
        to: Receiver | Destination,
        name: str = "shop",
        *,
        wanted: Filter = ALL,
        keep: int = WEEK,
        most: int = 100,
        lease: float = 10.0,
        max_attempts: int = 10,
    ) -> Delivery:
        """Starts one; to a receiver, ``most`` at once."""
        destination: Destination
        if isinstance(to, Receiver):
            destination = Webhook(to.url, None, format=ARRAY)
            destination.batch_size = most
        else:
            destination = to
        url = self._redis.url
        begun = Delivery(
            Order(name, wanted, destination, keep, max_attempts),
            EventLog(open_store(url)),
            Clock(open_store(url)),
            Lease(open_store(url), f"courier:{name}", lease),
            Deliveries(),
            pauses=SHORT,
            check_every=0.02,
        )
        self._begun.append(begun)
        begun.begin()
        return begun

    def end(self) -> None:
        for each in self._begun:
            each.end()
        assert all(each.wait(30) for each in self._begun)


@pytest.fixture
def deliveries(redis: RedisServer, tmp_path: Path) -> Iterator[Begun]:
    made = Begun(redis, tmp_path)
    yield made
    made.end()


def several(count: int, start: int = 0, **more: Any) -> list[Event]:
    return [event(number, **more) for number in range(start, start + count)]


def ids(sent_events: list[dict[str, Any]]) -> list[str]:
    return [each["event_unique_id"] for each in sent_events]


def came(receiver: Receiver, sent_events: list[Event]) -> None:
    """Waits until these have come, in order and once."""
    wanted = [each.id for each in sent_events]
    wait_until(f"not {len(wanted)}", lambda: len(receiver.events) >= len(wanted))
    assert ids(receiver.events) == wanted


def all_done(stream: EventLog, name: str = "shop") -> None:
    """Waits until nothing is left to do, and nothing is in work."""
    wait_until("something is left", lambda: stream.progress(name).undone == 0)


def dead(stream: EventLog, name: str = "shop") -> list[tuple[str, str]]:
    """The dead letters: JSON, and why."""
    return [(json, why) for _, json, why in stream.dead_letters(name)]


def test_events_arrive_in_order_and_once(
    stream: EventLog, receiver: Receiver, deliveries: Begun
) -> None:
    before, after = several(250), several(30, 250)
    stream.append(before)
    deliveries.begin(receiver)
    came(receiver, before)
    stream.append(after)
    came(receiver, before + after)
    all_done(stream)
    assert receiver.events == [each.fields() for each in before + after]
    assert max(len(request.events) for request in receiver.requests) <= 100


def test_unwanted_events_are_acknowledged(
    stream: EventLog, receiver: Receiver, deliveries: Begun
) -> None:
    sent_events = [
        event(1),
        event(2, events.OPEN),
        event(3, mail_class="crm"),
        event(4, events.OPEN, "crm"),
        event(5, mail_class="NEWS"),
    ]
    stream.append(sent_events)
    deliveries.begin(receiver, wanted=Filter({events.CLICK}, {"news"}))
    came(receiver, [sent_events[0], sent_events[4]])
    all_done(stream)


def test_events_without_a_counterpart_in_a_format_are_acknowledged(
    stream: EventLog, receiver: Receiver, deliveries: Begun
) -> None:
    known = [event(number, events.BOUNCE, bounce_type="h") for number in (1, 3)]
    stream.append([event(0, events.SEED), known[0], event(2, events.PREPARED), known[1]])
    deliveries.begin(Webhook(receiver.url, None, format=FORMATS["postmark"]))
    wait_until("not acknowledged", lambda: stream.progress("shop").undone == 0)
    bodies = [json.loads(request.body) for request in receiver.requests]
    assert [each["Email"] for each in bodies] == [each.facts.email for each in known]
    assert list(stream.dead_letters("shop")) == []


def test_failed_batch_is_retried_before_later_events(
    stream: EventLog,
    receiver: Receiver,
    deliveries: Begun,
    capfd: pytest.CaptureFixture[str],
) -> None:
    answers = itertools.chain([500, 302, 404], itertools.repeat(204))
    receiver.answer = lambda _: Reply(next(answers))
    sent_events = several(4)
    stream.append(sent_events)
    deliveries.begin(receiver, most=2)
    all_done(stream)
    assert [ids(request.events) for request in receiver.requests] == [
        *([sent_events[0].id, sent_events[1].id] for _ in range(4)),
        [sent_events[2].id, sent_events[3].id],
    ]
    attempts = [request.headers["x-fletching-attempt"] for request in receiver.requests]
    assert attempts == ["1", "2", "3", "4", "1"]
    queued = {request.headers["x-fletching-first-queued"] for request in receiver.requests[:4]}
    assert len(queued) == 1
    logged = [line for line in capfd.readouterr().err.splitlines() if "destination_" in line]
    assert logged == [
        'destination_failed destination=shop reason="status 500"',
        "destination_recovered destination=shop",
    ]


def test_unacceptable_event_is_dead_lettered(
    stream: EventLog,
    receiver: Receiver,
    deliveries: Begun,
    capfd: pytest.CaptureFixture[str],
) -> None:
    answers = itertools.chain([406], itertools.repeat(204))
    receiver.answer = lambda _: Reply(next(answers))
    sent_events = several(4)
    stream.append(sent_events)
    deliveries.begin(receiver, most=2)
    all_done(stream)
    assert len(receiver.requests) == 2
    assert dead(stream) == [(each.json(), "status 406") for each in sent_events[:2]]
    assert 'dead_lettered destination=shop events=2 reason="status 406"' in capfd.readouterr().err


def test_batch_that_is_too_large_is_split(
    stream: EventLog, receiver: Receiver, deliveries: Begun
) -> None:
    sent_events = [*several(3), event(4, click_url="https://x/" + "y" * 5000)]
    receiver.answer = lambda requested: Reply(413 if len(requested.body) > 2000 else 204)
    stream.append(sent_events)
    deliveries.begin(receiver)
    all_done(stream)
    assert dead(stream) == [(sent_events[3].json(), "status 413")]
    assert [len(requested.events) for requested in receiver.requests] == [4, 2, 2, 1, 1]


def test_event_refused_too_often_is_dead_lettered(
    stream: EventLog,
    receiver: Receiver,
    deliveries: Begun,
    capfd: pytest.CaptureFixture[str],
) -> None:
    sent_events = several(8)
    bad = sent_events[5].id
    receiver.answer = lambda requested: Reply(400 if bad in ids(requested.events) else 204)
    stream.append(sent_events)
    deliveries.begin(receiver, max_attempts=3)
    all_done(stream)
    assert dead(stream) == [(sent_events[5].json(), "status 400")]
    arrived = [requested for requested in receiver.requests if bad not in ids(requested.events)]
    good = [event["event_unique_id"] for requested in arrived for event in requested.events]
    assert good == [each.id for each in sent_events if each.id != bad]
    alone = [requested for requested in receiver.requests if ids(requested.events) == [bad]]
    assert [requested.headers["x-fletching-attempt"] for requested in alone] == ["1", "2", "3"]
    logged = capfd.readouterr().err
    assert logged.count("destination_failed") == logged.count("destination_recovered") == 1


def test_event_accepted_at_the_last_attempt_is_delivered(
    stream: EventLog, receiver: Receiver, deliveries: Begun
) -> None:
    answers = itertools.chain([400, 400, 422], itertools.repeat(204))
    receiver.answer = lambda _: Reply(next(answers))
    sent_events = several(1)
    stream.append(sent_events)
    deliveries.begin(receiver, max_attempts=4)
    all_done(stream)
    assert len(receiver.requests) == 4
    assert dead(stream) == []


def test_courier_waits_for_retry_after(
    stream: EventLog, receiver: Receiver, deliveries: Begun
) -> None:
    at: list[float] = []

    def later(_: Request) -> Reply:
        at.append(time.monotonic())
        return Reply(503 if len(at) == 1 else 204, headers=(("Retry-After", "1"),))

    receiver.answer = later
    stream.append(several(1))
    deliveries.begin(receiver)
    all_done(stream)
    # Pauses without it are of 50 ms at most here.
    assert at[1] - at[0] >= 1


def test_events_taken_by_another_courier_are_reclaimed(
    stream: EventLog, receiver: Receiver, deliveries: Begun
) -> None:
    """One that did not know yet that its lease was over."""
    sent_events, requested, go_on = several(6), threading.Event(), threading.Event()

    def slow(_: Request) -> Reply:
        requested.set()
        go_on.wait(30)
        return Reply()

    receiver.answer = slow
    stream.append(sent_events[:3])
    deliveries.begin(receiver)
    assert requested.wait(30)
    stream.append(sent_events[3:])
    assert len(stream.take("shop", delivery.CONSUMER, 10, 0)) == 3
    go_on.set()
    came(receiver, sent_events)
    all_done(stream)


def test_destination_that_is_gone_gets_no_more_requests(
    stream: EventLog,
    receiver: Receiver,
    deliveries: Begun,
    capfd: pytest.CaptureFixture[str],
) -> None:
    receiver.answer = lambda _: Reply(410)
    sent_events = several(4)
    stream.append(sent_events[:3])
    deliveries.begin(receiver, most=2)
    all_done(stream)
    stream.append(sent_events[3:])
    all_done(stream)
    assert len(receiver.requests) == 1
    assert dead(stream) == [(each.json(), "status 410") for each in sent_events]
    assert 'destination_stopped destination=shop reason="status 410"' in capfd.readouterr().err


def test_event_not_delivered_in_time_is_dead_lettered(
    stream: EventLog, receiver: Receiver, deliveries: Begun
) -> None:
    receiver.answer = lambda _: Reply(503)
    sent_events = several(3)
    stream.append(sent_events)
    deliveries.begin(receiver, keep=1, most=1)
    all_done(stream)
    assert dead(stream) == [(each.json(), "not delivered in time") for each in sent_events]
    receiver.answer = lambda _: Reply(204)
    receiver.requests.clear()
    late = several(1, 3)
    stream.append(late)
    came(receiver, late)


def test_invalid_entry_is_dead_lettered(
    stream: EventLog, redis: RedisServer, receiver: Receiver, deliveries: Begun
) -> None:
    sent_events = several(2)
    stream.append(sent_events[:1])
    redis.client.xadd(keys.EVENTS, {"event": "{"})
    stream.append(sent_events[1:])
    deliveries.begin(receiver)
    came(receiver, sent_events)
    all_done(stream)
    assert [json for json, _ in dead(stream)] == ["{"]


def test_row_rejected_by_a_database_does_not_stop_others(
    stream: EventLog, deliveries: Begun, tmp_path: Path
) -> None:
    sent_events = [*several(2), event(77, bounce_code=2**80), *several(2, 3)]
    stream.append(sent_events)
    deliveries.begin(Sql(f"sqlite:///{tmp_path}/events.sqlite"))
    all_done(stream)
    assert [json for json, _ in dead(stream)] == [sent_events[2].json()]
    with sqlite3.connect(tmp_path / "events.sqlite") as file:
        found = file.execute("SELECT event_unique_id FROM fletching_events ORDER BY 1").fetchall()
    assert [id for (id,) in found] == [each.id for each in (*sent_events[:2], *sent_events[3:])]


class Broken:
    """A destination with a fault of ours, which is mended after its first attempt."""

    batch_size = 10

    def __init__(self) -> None:
        self.got: list[str] = []
        self._mended = False

    def deliver(self, batch: Sequence[QueuedEvent], attempt: int) -> Answer:
        if not self._mended:
            self._mended = True
            raise RuntimeError("a fault")
        self.got += [each.fields["event_unique_id"] for each in batch]
        return answers.ARRIVED

    def close(self) -> None:
        """Nothing is open."""


def test_unexpected_error_loses_no_event(
    stream: EventLog, deliveries: Begun, capfd: pytest.CaptureFixture[str]
) -> None:
    sent_events = several(5)
    stream.append(sent_events)
    broken = Broken()
    deliveries.begin(broken)
    all_done(stream)
    assert broken.got == [each.id for each in sent_events]
    logged = capfd.readouterr().err
    assert 'delivery_failed destination=shop error="RuntimeError: a fault"' in logged
    assert "traceback destination=shop" in logged


def test_slow_destination_does_not_delay_others(
    stream: EventLog, receiver: Receiver, deliveries: Begun
) -> None:
    go_on = threading.Event()

    def slow(_: Request) -> Reply:
        go_on.wait(30)
        return Reply()

    sent_events = several(300)
    stream.append(sent_events)
    with Receiver(slow) as other:
        deliveries.begin(other, "slow")
        wait_until("not asked", lambda: bool(other.requests))
        deliveries.begin(receiver, "fast")
        came(receiver, sent_events)
        assert len(other.requests) == 1
        go_on.set()
        came(other, sent_events)


def test_two_couriers_keep_the_order(
    stream: EventLog, receiver: Receiver, deliveries: Begun
) -> None:
    first = deliveries.begin(receiver, most=3)
    deliveries.begin(receiver, most=3)
    sent_events = several(50)
    stream.append(sent_events)
    came(receiver, sent_events)
    first.end()
    assert first.wait(30)
    more = several(50, 50)
    stream.append(more)
    came(receiver, sent_events + more)


def test_lost_lease_stops_the_delivery(
    stream: EventLog, redis: RedisServer, receiver: Receiver, deliveries: Begun
) -> None:
    requested, go_on = threading.Event(), threading.Event()

    def slow(_: Request) -> Reply:
        requested.set()
        go_on.wait(30)
        return Reply()

    receiver.answer = slow
    sent_events = several(6)
    stream.append(sent_events)
    first = deliveries.begin(receiver, most=2)
    assert requested.wait(30)
    redis.client.set(keys.lease("courier:shop"), "another", px=500)
    first.renew()
    go_on.set()
    # The batch in hand is done; the others are left to whoever has the lease next.
    all_done(stream)
    assert ids(receiver.events) == [each.id for each in sent_events]


def test_renewed_lease_is_kept(
    stream: EventLog, receiver: Receiver, deliveries: Begun, redis: RedisServer
) -> None:
    stream.append(several(1))
    first = deliveries.begin(receiver, lease=0.5)
    wait_until("not asked", lambda: bool(receiver.requests))
    holder = redis.client.get(keys.lease("courier:shop"))
    assert holder
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        first.renew()
    assert redis.client.get(keys.lease("courier:shop")) == holder
    first.end()
    assert first.wait(30)
    first.renew()
    assert redis.client.get(keys.lease("courier:shop")) is None


def test_rewound_destination_gets_events_again(
    stream: EventLog, receiver: Receiver, deliveries: Begun
) -> None:
    sent_events = several(5)
    stream.append(sent_events)
    deliveries.begin(receiver)
    came(receiver, sent_events)
    all_done(stream)
    stream.rewind("shop", 0)
    came(receiver, sent_events + sent_events)


# As a process


def test_killed_courier_loses_no_event(
    stream: EventLog, redis: RedisServer, receiver: Receiver, tmp_path: Path
) -> None:
    """Two couriers; whichever has the destination is killed in the middle of a batch."""
    section = f"{{destinations: [{{name: shop, webhook: '{receiver.url}'}}]}}"
    requested, sent_events = threading.Semaphore(0), several(1000)
    go_on = threading.Event()

    def slow(_: Request) -> Reply:
        requested.release()
        go_on.wait(30)
        return Reply()

    receiver.answer = slow
    couriers = [Courier(tmp_path / name, redis.url, section) for name in ("one", "two")]
    with couriers[0]:
        stream.append(sent_events)
        assert requested.acquire(timeout=30)
        with couriers[1]:
            couriers[0].daemon.kill()
            receiver.answer = lambda _: Reply()
            go_on.set()
            all_done(stream)
    wanted = [each.id for each in sent_events]
    # What was in flight has come twice.
    assert ids(receiver.events) == wanted[:100] + wanted
    assert dead(stream) == []


def test_old_events_are_delivered_then_trimmed(
    stream: EventLog, redis: RedisServer, receiver: Receiver, tmp_path: Path
) -> None:
    """All couriers were away for longer than the stream is kept."""
    section = f"{{keep: 1s, destinations: [{{name: shop, webhook: '{receiver.url}'}}]}}"
    sent_events, weeks_ago = several(1500), int(time.time() - 3 * WEEK) * 1000
    for number, each in enumerate(sent_events):
        redis.client.xadd(keys.EVENTS, {"event": each.json()}, f"{weeks_ago}-{number}")
    go_on = threading.Event()

    def slow(_: Request) -> Reply:
        go_on.wait(30)
        return Reply()

    receiver.answer = slow
    with Courier(tmp_path / "a", redis.url, section) as courier:
        counts = tmp_path / "a" / "state" / "courier.prom"
        wait_until("it does not look", counts.exists)
        assert stream.length() == len(sent_events)
        assert not courier.lines("dead_lettered")
        go_on.set()
        came(receiver, sent_events)
        wait_until("they stay for ever", lambda: stream.length() < len(sent_events))


def test_courier_continues_after_a_restart_of_redis(receiver: Receiver, tmp_path: Path) -> None:
    section = f"{{destinations: [{{name: shop, webhook: '{receiver.url}'}}]}}"
    with RedisServer("appendfsync always") as own, Courier(tmp_path / "a", own.url, section) as ran:
        stream, sent_events = EventLog(open_store(own.url)), several(20)
        stream.append(sent_events[:10])
        came(receiver, sent_events[:10])
        own.stop()
        wait_until("it does not say so", lambda: bool(ran.lines("redis_unavailable")))
        own.start()
        stream.append(sent_events[10:])
        came(receiver, sent_events)
        wait_until("it does not say so", lambda: bool(ran.lines("redis_available")))
        assert len(ran.lines("redis_unavailable")) == 1


def test_sigterm_ends_the_courier_while_a_destination_hangs(
    stream: EventLog, redis: RedisServer, receiver: Receiver, tmp_path: Path
) -> None:
    go_on = threading.Event()

    def hang(_: Request) -> Reply:
        go_on.wait(60)
        return Reply()

    receiver.answer = hang
    section = f"{{destinations: [{{name: shop, webhook: '{receiver.url}'}}]}}"
    stream.append(several(1))
    with Courier(tmp_path / "a", redis.url, section) as ran:
        wait_until("not asked", lambda: bool(receiver.requests))
        ran.stop()
        assert ran.lines("stopped") == ["stopped daemon=courier"]
        go_on.set()
    assert stream.progress("shop").undone == 1


def test_sighup_reopens_files_and_reloads(
    stream: EventLog, redis: RedisServer, tmp_path: Path
) -> None:
    first, moved, second = (tmp_path / name for name in ("first", "moved", "second"))

    def lines(path: Path) -> list[str]:
        return ids(list(map(json.loads, path.read_text().splitlines()))) if path.exists() else []

    sent_events = several(3)
    one = f"{{name: one, file: {first}}}"
    with Courier(tmp_path / "a", redis.url, f"{{destinations: [{one}]}}") as ran:
        stream.append(sent_events[:1])
        wait_until("not written", lambda: lines(first) == [sent_events[0].id])
        first.rename(moved)
        ran.reload()
        stream.append(sent_events[1:2])
        wait_until("not written", lambda: lines(first) == [sent_events[1].id])
        ran.configure("{destinations: [{name: one}]}")
        ran.reload()
        assert "reload=failed" in ran.lines("configuration")[-1]
        two = f"{{name: two, file: {second}}}"
        ran.configure(f"{{destinations: [{one}, {two}]}}")
        ran.reload()
        stream.append(sent_events[2:])
        wait_until("not written", lambda: lines(first) == [sent_events[1].id, sent_events[2].id])
        # A destination that is new gets what is still there.
        wait_until("not written", lambda: lines(second) == [each.id for each in sent_events])
    assert lines(moved) == [sent_events[0].id]


def test_all_kinds_of_destinations_at_once(
    stream: EventLog, redis: RedisServer, tmp_path: Path
) -> None:
    sent_events = [*several(3), event(3, events.UNSUBSCRIBE, click_url="")]
    file, database = tmp_path / "events.jsonl", tmp_path / "events.sqlite"
    secret = tmp_path / "secret"
    secret.write_text("what the shop and we know\n")
    with Receiver() as shop, Receiver(mailwizz) as wizz:
        section = f"""
  destinations:
    - {{name: shop, webhook: '{shop.url}', secret_file: {secret}, types: [engine_click]}}
    - {{name: wizz, webhook: '{wizz.url}', format: form, types: [engine_unsub]}}
    - {{name: file, file: {file}, rotate: 1MiB}}
    - {{name: base, sql: 'sqlite:///{database}', classes: [NEWS]}}
mail_classes: {{news: {{list_unsubscribe: false, track: {{clicks: false, opens: false}}}}}}
"""
        with Courier(tmp_path / "a", redis.url, section):
            stream.append(sent_events)
            for name in ("shop", "wizz", "file", "base"):
                all_done(stream, name)
        assert ids(shop.events) == [each.id for each in sent_events[:3]]
        assert "x-fletching-signature" in shop.requests[0].headers
        assert [request.form["event_unique_id"] for request in wizz.requests] == [sent_events[3].id]
    assert file.read_text().splitlines() == [each.json() for each in sent_events]
    with sqlite3.connect(database) as requested:
        found = requested.execute(
            "SELECT event_unique_id FROM fletching_events ORDER BY 1"
        ).fetchall()
    assert [id for (id,) in found] == [each.id for each in sent_events]


def test_courier_metrics(
    stream: EventLog, redis: RedisServer, receiver: Receiver, tmp_path: Path
) -> None:
    answers = itertools.chain([500, 406], itertools.repeat(204))
    receiver.answer = lambda _: Reply(next(answers))
    sent_events = several(102)
    stream.append(sent_events)
    section = f"{{destinations: [{{name: shop, webhook: '{receiver.url}'}}]}}"
    with Courier(tmp_path / "a", redis.url, section) as ran:
        all_done(stream)
        file = ran.folder / "state" / "courier.prom"

        def counted() -> dict[str, str]:
            text = file.read_text() if file.exists() else ""
            return dict(re.findall(r'(?m)^fletching_events_(\w+){destination="shop"} (.*)$', text))

        expected = {"delivered_total": "2.0", "failed_total": "1.0", "dead_total": "100.0"}
        wait_until("other numbers", lambda: counted() == {**expected, "waiting": "0.0"})


@pytest.mark.parametrize(
    ("section", "logged"),
    [
        pytest.param(
            "{destinations: [{name: a, webhook: 'https://x/', secret_file: /no/such/file}]}",
            "events.destinations[0].secret_file: /no/such/file: No such file or directory",
            id="no secret",
        ),
        pytest.param(
            "{destinations: [{name: a, file: /no/such/events.jsonl}]}",
            "events.destinations[0].file: /no/such: missing directory: create it",
            id="no folder",
        ),
        pytest.param(
            "{destinations: [{name: a, file: /tmp}]}",
            "events.destinations[0].file: /tmp: is a directory: name a file in it",
            id="a folder",
        ),
        pytest.param("{destinations: [{name: a}]}", "has none of webhook, file and sql", id="none"),
    ],
)
def test_courier_does_not_start_with_a_wrong_configuration(
    section: str, logged: str, tmp_path: Path
) -> None:
    ran = Courier(tmp_path / "a", "redis://127.0.0.1:1/0", section)
    with pytest.raises(Exception, match=r"ended at once"):
        ran.start()
    assert re.search(rf"(?m)^/.*/\S+\.yaml:\d+: .*{re.escape(logged)}", ran.log())
    assert ran.daemon.wait() == 2


def test_failed_reload_changes_nothing(
    stream: EventLog, redis: RedisServer, tmp_path: Path
) -> None:
    path = tmp_path / "events.jsonl"
    with Courier(
        tmp_path / "a", redis.url, f"{{destinations: [{{name: a, file: {path}}}]}}"
    ) as ran:
        ran.configure(f"{{destinations: [{{name: a, file: {tmp_path}}}]}}")
        ran.reload()
        assert "destinations[0].file" in ran.lines("configuration")[0]
        sent_events = event(1)
        stream.append([sent_events])
        wait_until(
            "not written", lambda: path.exists() and path.read_text() == sent_events.json() + "\n"
        )
