"""Budgets: what a mail may cost, what it does cost, and whether it is within the limit.

This file has the limits. Everything is measured end to end, for Fletching, for a milter that only
collects, and for one that signs and edits blindly; no figures come from the other benchmarks. A
budget that is exceeded is not an error: the figures depend on the machine. Fletching rewrites mails
of all sizes here, including those above its default `max_rewrite_size`.

CPU time is that of all processes of the milter, including kernel time. The part of RSA is shown
separately, since no code of Fletching can make it cheaper.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from fletching.outgoing.edits import MOST_WORK
from fletching.policy.control import MOST_FIELDS
from rich.table import Table

from bench import latency, mails
from bench.course import Effort, Tell, in_turn
from bench.figures import middle, percentile
from bench.outgoing import milliseconds, opened
from bench.setups import BLIND, COLLECTS, FLETCHING, Servers, servers
from bench.throughput import Cell, mail_file, run_once
from sandbox.instruments import smtp_source

NEWSLETTER_MS, ATTACHED_MS, UNCLASSIFIED_MS = 2.0, 40.0, 0.3
CLEANUP_S = 0.5
MEMORY_TIMES_MAIL, HALF_LOAD_MS = 4.0, 50.0
_SMALL, _LARGE, _NOT_OURS = "23 kB", "10 MB", "23 kB, unclassified"
_CAMPAIGN = "23 kB, each to another recipient"
# One large mail at a time, as the budget says; `throughput` measures ten at once.
_LOAD = {_SMALL: (600, 10), _LARGE: (20, 1), _NOT_OURS: (1000, 10)}
"""By mail: how many per round, over how many connections."""


@dataclass(frozen=True, slots=True)
class Budget:
    """One limit and its measurement."""

    what: str
    unit: str
    limit: float
    measured: float
    detail: str

    @property
    def holds(self) -> bool:
        return self.measured <= self.limit


Results = tuple[Budget, ...]


def measure(effort: Effort, tell: Tell) -> Results:
    """Start the servers and measure every budget."""
    with servers((COLLECTS, BLIND, FLETCHING)) as running:
        tell("memory for one large mail", 0)
        memory = _memory(running, effort)
        tell("CPU of the milters", 0.1)
        cpu = _cpu(running, effort, lambda step, share: tell(step, 0.1 + 0.5 * share))
        tell("latency at half load", 0.6)
        late = _latency(running, effort, lambda step, share: tell(step, 0.6 + 0.3 * share))
        tell("cleanup(8) with the most edits", 0.9)
        edited = _edited(running, effort)
    return (
        _newsletter(cpu, effort),
        _campaign(cpu),
        _attached(cpu),
        memory,
        _unclassified(cpu),
        late,
        edited,
    )


def _memory(running: Servers, effort: Effort) -> Budget:
    """Must run first, before any process has had a large mail."""
    fletching = running.setups[FLETCHING]
    run_once(running, fletching, Cell(_SMALL, 1, 20), mail_file(running, mails.SIZES[_SMALL]))
    fletching.forget_peak()
    before = fletching.peaks()
    count = 2 if effort.quick else 8
    run_once(running, fletching, Cell(_LARGE, 1, count), mail_file(running, mails.SIZES[_LARGE]))
    after = fletching.peaks()
    # A worker may have been replaced by a fresh one meanwhile; of that, nothing is known.
    more = max(after[pid] - before[pid] for pid in after.keys() & before.keys())
    size = len(mails.SIZES[_LARGE])
    return Budget(
        "memory of a worker for a mail of 10 MB, above its idle memory",
        "x the mail",
        MEMORY_TIMES_MAIL,
        more / size,
        f"{more / 1e6:.1f} MB for {size / 1e6:.1f} MB, one connection, {count} mails",
    )


Cpu = dict[tuple[str, str], float]
"""CPU milliseconds of the milter per mail, by mail and setup."""


def _cpu(running: Servers, effort: Effort, tell: Tell) -> Cpu:
    """In turns, round by round, for each mail and setup."""
    spent: dict[tuple[str, str], list[float]] = {}
    setups = [running.setups[name] for name in (COLLECTS, BLIND, FLETCHING)]
    for number in range(effort.rounds):
        tell(f"CPU of the milters, round {number + 1} of {effort.rounds}", number / effort.rounds)
        for name, (mails_a_round, connections) in _LOAD.items():
            content = mails.ASKS_NOTHING if name == _NOT_OURS else mails.SIZES[name]
            file = mail_file(running, content)
            count = mails_a_round // (4 if effort.quick else 1)
            # The blind milter is shown for the small mail only.
            beside = setups if name == _SMALL else [s for s in setups if s.name != BLIND]
            for setup in in_turn(beside, number):
                # Threads and buffers of its own are made with the first mails.
                run_once(running, setup, Cell(name, connections, connections), file)
                run = run_once(running, setup, Cell(name, connections, count), file)
                spent.setdefault((name, setup.name), []).append(1000 * run.cpu_seconds / count)
        count = _LOAD[_SMALL][0] // (4 if effort.quick else 1)
        for setup in in_turn(setups, number):
            before = setup.cpu()
            latency.busy(running, setup, count)
            more = 1000 * (setup.cpu() - before) / count
            spent.setdefault((_CAMPAIGN, setup.name), []).append(more)
    return {what: middle(rounds) for what, rounds in spent.items()}


def _newsletter(cpu: Cpu, effort: Effort) -> Budget:
    with TemporaryDirectory() as name:
        key = opened(Path(name)).dkim_keys[0]
    rsa = middle(milliseconds(lambda: key.sign(b"what is signed" * 50), effort).rounds)
    spent = cpu[_SMALL, FLETCHING]
    return Budget(
        "CPU of the milter for a newsletter of 23 kB, total",
        "ms",
        NEWSLETTER_MS,
        spent,
        f"including {rsa:.2f} ms for one RSA-2048 signature; a milter that only collects:"
        f" {cpu[_SMALL, COLLECTS]:.2f} ms, one that signs and edits blindly:"
        f" {cpu[_SMALL, BLIND]:.2f} ms",
    )


def _campaign(cpu: Cpu) -> Budget:
    return Budget(
        "the same, each mail with its own name and unsubscribe link, over sessions kept open",
        "ms",
        NEWSLETTER_MS,
        cpu[_CAMPAIGN, FLETCHING],
        f"a milter that only collects: {cpu[_CAMPAIGN, COLLECTS]:.2f} ms, one that signs and edits"
        f" blindly: {cpu[_CAMPAIGN, BLIND]:.2f} ms",
    )


def _attached(cpu: Cpu) -> Budget:
    return Budget(
        "additional CPU for 10 MB with attachments",
        "ms",
        ATTACHED_MS,
        cpu[_LARGE, FLETCHING] - cpu[_SMALL, FLETCHING],
        f"a milter that only collects: {cpu[_LARGE, COLLECTS] - cpu[_SMALL, COLLECTS]:.1f} ms",
    )


def _unclassified(cpu: Cpu) -> Budget:
    ours, theirs = cpu[_NOT_OURS, FLETCHING], cpu[_NOT_OURS, COLLECTS]
    return Budget(
        "CPU for an unclassified mail of 23 kB, above a milter that only collects",
        "ms",
        UNCLASSIFIED_MS,
        ours - theirs,
        f"{ours:.2f} ms and {theirs:.2f} ms",
    )


def _latency(running: Servers, effort: Effort, tell: Tell) -> Budget:
    amount = latency.Amount.of(effort)
    rate = latency.highest(running, amount)
    both = (running.setups[BLIND], running.setups[FLETCHING])
    blind, load = latency.at_share(running, both, 0.5, rate, amount, tell)
    return Budget(
        "p99.9 from the final dot to its reply, at half the maximum throughput",
        "ms",
        HALF_LOAD_MS,
        percentile(load.service_ms, 99.9),
        f"{len(load.times)} mails, {load.per_second:.0f} per second;"
        f" from the scheduled time: {percentile(load.from_schedule_ms, 99.9):.1f} ms;"
        f" a milter that signs and edits blindly: {percentile(blind.service_ms, 99.9):.1f} ms",
    )


def _edited(running: Servers, effort: Effort) -> Budget:
    """The largest header that is accepted, with the maximum number of fields to remove."""
    ordinary = MOST_WORK // MOST_FIELDS - 2 * MOST_FIELDS
    header = b"A: b\r\n" * ordinary + b"X-GreenArrow-J: b\r\n" * MOST_FIELDS
    count = 2 if effort.quick else 8
    file = mail_file(running, header + mails.ASKS_NOTHING)
    before = running.cleanup_cpu()
    smtp_source(
        running.setups[FLETCHING].port,
        file,
        messages=count,
        sessions=1,
        sender=mails.SENDER,
        recipient=mails.RECIPIENT,
    )
    return Budget(
        "CPU of cleanup(8) for the mail whose edits are the most work",
        "s",
        CLEANUP_S,
        (running.cleanup_cpu() - before) / count,
        f"{MOST_FIELDS} fields removed from {ordinary + MOST_FIELDS}, {count} mails",
    )


def figures(results: Results) -> list[dict[str, object]]:
    """For JSON, with units in the names."""
    return [
        {
            "budget": budget.what,
            "unit": budget.unit,
            "limit": budget.limit,
            "measured": round(budget.measured, 3),
            "holds": budget.holds,
            "detail": budget.detail,
        }
        for budget in results
    ]


def tables(results: Results) -> Iterator[Table]:
    """One line per budget."""
    table = Table("budget", title="budgets", title_justify="left")
    for name in ("limit", "measured", ""):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for budget in results:
        verdict = "[green]ok[/]" if budget.holds else "[red]over[/]"
        table.add_row(
            *(budget.what, f"{budget.limit:g} {budget.unit}"),
            *(f"{budget.measured:.2f} {budget.unit}", verdict, budget.detail),
        )
    yield table
