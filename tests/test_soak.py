"""The judge of the soak and its slopes: what they find, and what they let pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from bench.soak import audience, orders
from bench.soak.audience import Arrival, Reaction
from bench.soak.growth import Growth, Sample, growths
from bench.soak.judge import Kept, Row, judge
from bench.soak.orders import Order
from bench.soak.report import MEGABYTE, files_are_flat, memory_is_flat
from bench.soak.sender import Accepted, Sent

REFUSED, CLICKED, GONE = 0, 8, 6
NUMBERS = (REFUSED, CLICKED, GONE)
QUEUED = {f"Q{number}": Accepted(number, 10.0) for number in NUMBERS}


def line(number: int, status: str = "sent") -> str:
    to = Order(number).recipient
    return (
        f"Nov 30 22:00:00 mx postfix/vmta-bulk/smtp[7]: Q{number}: to=<{to}>, status={status} (x)"
    )


def event(kind: str, number: int, **fields: object) -> dict[str, Any]:
    common = {
        "event_type": kind,
        "event_unique_id": f"{kind}{number}",
        "click_tracking_id": str(number),
        "sendid": Order(number).sendid,
        "campaign": "c1",
        "message_number": number + 1,
    }
    return common | fields


def attempt(number: int, status: str) -> dict[str, Any]:
    return event("delivery_attempt", number, queue_id=f"Q{number}", status=status)


HARD = {"bounce_type": "h", "synchronous": True, "attributed": True}
EVENTS = (
    *(event("message_prepared", number) for number in NUMBERS),
    *(attempt(REFUSED, "failure"), attempt(CLICKED, "success"), attempt(GONE, "success")),
    event("bounce_all", REFUSED, **HARD),
    event("bounce_bad_address", REFUSED, **HARD),
    event("engine_click", CLICKED, is_bot=False),
    event("engine_unsub", GONE),
)
COUNTS = {
    *(("sent", 3), ("delivered", 2), ("bounces_hard", 1), ("clicks", 1), ("unique_clicks", 1)),
    *(("unique_opens", 1), ("unsubscribes", 1)),
}
IDS = {str(each["event_unique_id"]): 1 for each in EVENTS}
KEPT = Kept(
    events=EVENTS,
    campaigns=({"sendid": Order(0).sendid, "campaign": "c1", **dict(COUNTS)},),
    suppressed=frozenset((Order(n).listid, Order(n).recipient) for n in (REFUSED, GONE)),
    hook=IDS,
    file=IDS,
    log=(line(REFUSED, "bounced"), line(CLICKED), line(GONE)),
)
SENT = Sent(QUEUED, *(Counter(), Counter(), Counter(), Counter()), waiting=0, gap=0.1)
ARRIVALS = tuple(Arrival(n, f"Q{n}", "c1", n + 1, f"b+{n}@example.com") for n in (CLICKED, GONE))
REACTIONS = (
    Reaction(audience.CLICK, CLICKED, answered=1),
    Reaction(audience.UNSUBSCRIBE, GONE, answered=1),
)

Found = Mapping[str, tuple[int, int]]


def broken(
    kept: Kept = KEPT,
    sent: Sent = SENT,
    arrivals: Sequence[Arrival] = ARRIVALS,
    reactions: Sequence[Reaction] = REACTIONS,
    killed: int = 0,
    redis_kills: Sequence[float] = (),
) -> Found:
    rows: list[Row] = judge(sent, arrivals, reactions, kept, killed, redis_kills)
    return {row.what: (row.lost, row.doubled) for row in rows if row.is_broken}


def without(type: str) -> Kept:
    """Without the events of a type, which nothing but the judged row may miss."""
    return replace(KEPT, events=[each for each in EVENTS if each["event_type"] != type])


def twice(kind: str, number: int) -> Kept:
    (found,) = (
        each
        for each in EVENTS
        if (each["event_type"], each["click_tracking_id"]) == (kind, str(number))
    )
    return replace(KEPT, events=[*EVENTS, found | {"event_unique_id": "another"}])


def counted(**counts: int) -> Kept:
    return replace(KEPT, campaigns=[{**KEPT.campaigns[0], **counts}])


LOST: Mapping[str, tuple[Callable[[], Found], Found]] = {
    "a mail did not arrive": (
        lambda: broken(arrivals=ARRIVALS[1:]),
        {"mails accepted": (1, 0)},
    ),
    "a mail arrived twice": (
        lambda: broken(arrivals=(*ARRIVALS, ARRIVALS[0])),
        {"mails accepted": (0, 1)},
    ),
    "a mail was never accepted": (
        lambda: broken(sent=replace(SENT, waiting=1)),
        {"mails accepted": (1, 0)},
    ),
    "two mails with one number": (
        lambda: broken(arrivals=(ARRIVALS[0], replace(ARRIVALS[1], message_number=CLICKED + 1))),
        {"numbers, return paths": (0, 1)},
    ),
    "an unsubscribe without event": (
        lambda: broken(without("engine_unsub")),
        {
            "unsubscribes": (1, 0),
            "statistics: the rest": (0, 0),
            "events at the webhook": (0, 1),
            "events at the file": (0, 1),
        },
    ),
    "a click that made two events": (
        lambda: broken(twice("engine_click", CLICKED)),
        {
            "clicks": (0, 1),
            "statistics: the rest": (1, 0),
            "events at the webhook": (1, 0),
            "events at the file": (1, 0),
        },
    ),
    "a bad address that is not suppressed": (
        lambda: broken(replace(KEPT, suppressed=frozenset([*KEPT.suppressed][:1]))),
        {"suppression list": (1, 0)},
    ),
    "sent counts too few": (lambda: broken(counted(sent=2)), {"statistics: sent": (1, 0)}),
    "clicks are counted twice": (
        lambda: broken(counted(clicks=2)),
        {"statistics: the rest": (0, 1)},
    ),
    "the webhook lacks an event": (
        lambda: broken(replace(KEPT, hook=dict(list(IDS.items())[1:]))),
        {"events at the webhook": (1, 0)},
    ),
    "the webhook got events in another order": (
        lambda: broken(replace(KEPT, hook=dict(reversed(IDS.items())))),
        {"order at the webhook": (0, len(IDS) - 1)},
    ),
    "a line of Postfix's log made no event": (
        lambda: broken(replace(KEPT, log=[*KEPT.log, line(CLICKED, "deferred")])),
        {"deliveries in Postfix's log": (1, 0)},
    ),
}


def test_nothing_is_broken_where_all_is_kept() -> None:
    assert broken() == {}


@pytest.mark.parametrize("name", LOST)
def test_what_is_lost_or_doubled_is_found(name: str) -> None:
    find, expected = LOST[name]
    assert find() == {what: counts for what, counts in expected.items() if counts != (0, 0)}


def test_an_answer_that_got_lost_allows_one_trace_or_none() -> None:
    unknown = (Reaction(audience.CLICK, CLICKED, answered=1, unknown=1), REACTIONS[1])
    assert "clicks" not in broken(reactions=unknown)
    assert "clicks" not in broken(twice("engine_click", CLICKED), reactions=unknown)


def test_a_delivery_that_a_kill_repeated_is_not_doubled() -> None:
    assert broken(arrivals=(*ARRIVALS, ARRIVALS[0]), killed=1) == {}


def test_redis_may_lose_what_only_redis_has_when_it_is_killed() -> None:
    events = [each for each in EVENTS if each["event_type"] != "message_prepared"]
    ids = {str(each["event_unique_id"]): 1 for each in events}
    kept = replace(KEPT, events=events, hook=ids, file=ids)
    assert broken(kept) == {"message_prepared": (3, 0)}
    assert broken(kept, redis_kills=[11.0]) == {}
    assert broken(kept, redis_kills=[20.0]) == {"message_prepared": (3, 0)}


def test_number_of_an_address() -> None:
    order = Order(123)
    assert orders.number_of(order.recipient) == 123
    assert orders.number_of(orders.SENDER) is None


HOUR = 3600


def life(pid: int, begin: float, per_hour: float, seconds: int = 600) -> list[Sample]:
    """A process that begins with 50 MB and grows."""
    return [
        Sample(begin + at, pid, "milter", 5e7 + per_hour * at / HOUR) for at in range(0, seconds, 2)
    ]


@pytest.mark.parametrize("megabytes", [0, 0.5, 3])
def test_slope_within_the_lives_of_processes(megabytes: float) -> None:
    samples = [*life(1, 0, megabytes * MEGABYTE), *life(2, 700, megabytes * MEGABYTE)]
    (growth,) = growths(samples)
    assert growth.lives == 2
    assert growth.slope == pytest.approx(megabytes * MEGABYTE, abs=1000)
    assert memory_is_flat(growth) == (megabytes < 1)


def test_a_peak_is_no_slope() -> None:
    samples = life(1, 0, 0)
    samples[250:] = [replace(each, size=each.size + 9 * MEGABYTE) for each in samples[250:]]
    samples[280:] = life(1, 0, 0)[280:]
    (growth,) = growths(samples)
    assert growth.slope == 0


def test_short_lives_have_no_slope() -> None:
    (growth,) = growths(life(1, 0, 0, seconds=4))
    assert growth.slope is None
    assert memory_is_flat(growth)


def test_files_that_are_never_closed_are_found() -> None:
    leaking = Growth("web", 1, 1800, 10, 60, slope=100, low=80, high=120)
    assert not files_are_flat(leaking)
    assert files_are_flat(replace(leaking, slope=4.0, low=1.0))
