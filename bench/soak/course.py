"""The course of a soak: faults at random, then a stretch without kills, then the end.

`Course.of` says how a length is divided. `run` makes the load and the faults, waits until
everything is delivered, and returns what it saw.
"""

from __future__ import annotations

import itertools
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from fletching.store import keys

from bench.soak.audience import Audience
from bench.soak.faults import CALM, FAULTS
from bench.soak.growth import Growth, Sample, growths
from bench.soak.judge import Kept, Row, judge
from bench.soak.operator import Operator
from bench.soak.sender import Application, Sent
from bench.soak.site import Site
from bench.soak.watching import Watcher
from sandbox import sinks
from sandbox.processes import DidNotHappenError, wait_until

_RECOVERED = 120.0
"""Seconds after a fault within which mail must be accepted again."""
_DRAINED = 240.0
"""Seconds after the load within which everything must be done."""
_STILL = 8.0
"""Seconds without a new event until everything is said to be there."""
_LOOK = 0.5
_OPERATOR_FASTER = 15
"""How many times more pages the operator asks for during the warm-up."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Course:
    """Seconds. ``faults``: with all faults; ``calm``: with the calm ones only, so that each process
    lives long enough to see its memory grow. ``between``: from the end of a fault to the next one,
    in each part. ``warm_up``: at the beginning of the calm part, ``faster`` times as many mails
    fill all caches, and each calm fault happens once; only after that, memory is judged.
    """

    faults: float
    calm: float
    between: tuple[float, float]
    warm_up: float
    faster: int

    @classmethod
    def of(cls, seconds: float) -> Course:
        """A course of this length."""
        if seconds < 300:
            calm = 0.25 * seconds
            return cls(seconds - calm, calm, (2.0, 10.0), calm / 3, faster=2)
        calm = 0.45 * seconds
        return cls(seconds - calm, calm, (5.0, 10.0), min(calm / 3, 300), faster=8)


@dataclass(frozen=True, slots=True)
class Happened:
    """A fault that has happened. Seconds since the start of the load; ``recovered``: seconds from
    its end to the next accepted mail."""

    name: str
    at: float
    lasted: float
    recovered: float


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen in a soak. ``wrong``: what must not happen at all, with its count."""

    course: Course
    faults: tuple[Happened, ...]
    rows: tuple[Row, ...]
    sent: Sent
    wrong: dict[str, int]
    memory: tuple[Sample, ...]
    memory_growth: tuple[Growth, ...]
    file_growth: tuple[Growth, ...]
    arrived: int
    verified: int
    hook_batches: int
    hook_failed: int
    repeated: int
    seconds: float


def run(site: Site, course: Course, rate: float, dice: random.Random, tell: Tell) -> Seen:
    """Run one soak. ``rate``: mails per second. ``tell`` reports progress."""
    sinks.leaks.clear()
    application = Application(site.postfix, rate)
    audience = Audience(site.sink, site.web, site.postfix, site.keys, site.records)
    operator = Operator(site.metrics, site.dashboard)
    watcher = Watcher(site, max(0.5, (course.faults + course.calm) / 900))
    began = time.monotonic()
    happened: list[Happened] = []

    def make(names: Iterator[str], seconds: float, between: float) -> None:
        """Make these faults happen, as many as fit."""
        end = time.monotonic() + seconds
        for name in names:
            _sleep_until(min(end, time.monotonic() + between * dice.uniform(0.5, 1.5)))
            if time.monotonic() >= end:
                break
            tell(name)
            happened.append(_fault(site, name, application, began, dice))
            tell("")

    for each in (watcher, operator, audience, application):
        each.start()
    try:
        all_faults, calm_faults = _names(dice, is_calm=False), _names(dice, is_calm=True)
        make(all_faults, course.faults, course.between[0])
        tell("warming up")
        application.set_rate(rate * course.faster)
        operator.set_pace(_OPERATOR_FASTER)
        end = time.monotonic() + course.warm_up
        make(itertools.islice(calm_faults, len(CALM)), course.warm_up, course.between[0])
        _sleep_until(end)
        application.set_rate(rate)
        operator.set_pace(1)
        calm_since = time.monotonic()
        make(calm_faults, course.calm - course.warm_up, course.between[1])
        calm_until = time.monotonic()
    finally:
        tell("sending the rest")
        application.stop(_DRAINED)
        undone = audience.wait(_DRAINED)
        watcher.stop()
        operator.stop()
    tell("waiting for the last event")
    _drain(site)
    tell("judging")
    wrong = _wrong(site, application.sent(), audience, operator, undone)
    calm = calm_since, calm_until
    return _seen(site, course, application.sent(), audience, watcher, happened, wrong, began, calm)


def _names(dice: random.Random, *, is_calm: bool) -> Iterator[str]:
    """All faults that may happen, in random order, again and again."""
    names = CALM if is_calm else [*FAULTS]
    while True:
        yield from dice.sample(names, len(names))


def _sleep_until(end: float) -> None:
    time.sleep(max(0.0, end - time.monotonic()))


def _fault(
    site: Site, name: str, application: Application, began: float, dice: random.Random
) -> Happened:
    start = time.monotonic()
    FAULTS[name].happen(site, dice)
    end, before = time.monotonic(), application.accepted
    wait_until(
        f"no mail is accepted after: {name}", lambda: application.accepted > before, _RECOVERED
    )
    return Happened(name, start - began, end - start, time.monotonic() - end)


def _drain(site: Site) -> None:
    """Wait until Postfix's queue is empty, and no event is new or undelivered."""
    wait_until("Postfix's queue does not empty", lambda: not site.postfix.queue(), _DRAINED)
    seen, since = (-1, -1), time.monotonic()
    end = since + _DRAINED
    while True:
        time.sleep(_LOOK)
        with site.redis.client as client:
            now = (int(str(client.xlen(keys.EVENTS))), len(site.hook))
        if now != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() > since + _STILL and _is_delivered(site):
            return
        if time.monotonic() > end:
            raise DidNotHappenError(f"events are not delivered: {site.command('events', 'status')}")


def _is_delivered(site: Site) -> bool:
    shown = json.loads(site.command("events", "status", "--json"))["destinations"]
    return all(not row["waiting"] and not row["in_hand"] for row in shown)


def _seen(
    site: Site,
    course: Course,
    sent: Sent,
    audience: Audience,
    watcher: Watcher,
    happened: list[Happened],
    wrong: dict[str, int],
    began: float,
    calm: tuple[float, float],
) -> Seen:
    kept = _kept(site)
    count = Counter(each.name for each in happened)
    killed = count["kill smtp"] + count["kill qmgr"]
    redis_kills = [began + each.at for each in happened if each.name == "kill Redis"]
    rows = judge(sent, audience.arrivals, audience.reactions, kept, killed, redis_kills)
    return Seen(
        course=course,
        faults=tuple(happened),
        rows=tuple(rows),
        sent=sent,
        wrong=wrong,
        memory=tuple(watcher.memory),
        memory_growth=tuple(growths(_between(watcher.memory, *calm))),
        file_growth=tuple(growths(_between(watcher.files, *calm))),
        arrived=len(audience.arrivals),
        verified=audience.verified,
        hook_batches=site.hook.batches,
        hook_failed=site.hook.failed,
        repeated=len(kept.events) - len({event["event_unique_id"] for event in kept.events}),
        seconds=time.monotonic() - began,
    )


def _between(samples: Iterable[Sample], begin: float, end: float) -> Iterator[Sample]:
    return (each for each in samples if begin <= each.seconds <= end)


def _kept(site: Site) -> Kept:
    lists = json.loads(site.command("suppression", "list", "--json"))["suppression"]
    return Kept(
        events=[json.loads(line) for line in site.command("events").splitlines()],
        campaigns=json.loads(site.command("stats", "--json"))["campaigns"],
        suppressed=frozenset((str(row["listid"]), str(row["address"])) for row in lists),
        hook=site.hook.accepted,
        file=site.file_ids(),
        log=[*site.postfix_log()],
    )


def _wrong(
    site: Site, sent: Sent, audience: Audience, operator: Operator, undone: int
) -> dict[str, int]:
    log = site.log()
    dead = [site.command("events", "dead", name).splitlines() for name in ("hook", "file")]
    wrong = {
        "control headers that leaked": len(sinks.leaks),
        "signatures that do not verify": len(audience.unsigned),
        "mails that were rejected": sum(sent.rejected.values()),
        "requests and returned mails without an answer": undone,
        "wrong answers": sum(sum(each.wrong.values()) for each in audience.reactions),
        "batches with a wrong signature": site.hook.unsigned,
        "dead letters": sum(map(len, dead)),
        "mails in unreadable/": len([*site.unreadable.glob("*")]),
        "tracebacks in the log": log.lower().count("traceback"),
        "lost events in the log": log.count("events_lost "),
        "gaps of Postfix's log": log.count("log_gap"),
        **operator.wrong,
    }
    return {what: count for what, count in wrong.items() if count}
