"""Latency: the time from the final dot to the reply, under loads that do not wait for replies.

First, Fletching's maximum throughput is measured, with ten sessions that are always busy. Then
mails are sent at 10, 25, 50 and 75 % of it, at random times (Poisson) that are the same for each
setup. The setups take turns, block by block, each block in an order of its own. Each mail has two
times (`client.Times`): from the final dot to the reply, and from the scheduled time to the reply.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table

from bench import client, mails
from bench.client import Times
from bench.course import Effort, Tell, in_turn
from bench.figures import percentile
from bench.proof import all_accepted, prove
from bench.setups import BLIND, FLETCHING, OPENDKIM, Servers, Setup, servers
from sandbox.processes import wait_until

SIZE = "23 kB"
SHARES = (0.10, 0.25, 0.50, 0.75)
PERCENTS = (50.0, 99.0, 99.9, 100.0)
_SESSIONS, _BUSY_SESSIONS = 50, 10


@dataclass(frozen=True, slots=True)
class Amount:
    """How many mails: to find the maximum throughput, and per load in how many blocks."""

    closed: int
    blocks: int
    per_block: int

    @classmethod
    def of(cls, effort: Effort) -> Amount:
        return cls(200, 1, 60) if effort.quick else cls(2000, 4, 500)


@dataclass(frozen=True, slots=True)
class Loaded:
    """All mails of one load on one setup. ``client_cpu_seconds``: CPU of the client itself."""

    setup: str
    share: float
    per_second: float
    times: tuple[Times, ...]
    client_cpu_seconds: float

    @property
    def service_ms(self) -> list[float]:
        return [1000 * mail.service for mail in self.times]

    @property
    def from_schedule_ms(self) -> list[float]:
        return [1000 * mail.from_schedule for mail in self.times]

    @property
    def client_late_ms(self) -> list[float]:
        """How late the client began a mail, because it or all its sessions were busy."""
        return [1000 * (mail.begun - mail.due) for mail in self.times]


@dataclass(frozen=True, slots=True)
class Results:
    """Fletching's maximum throughput in mails per second, and every load."""

    highest: float
    loads: tuple[Loaded, ...]


def measure(effort: Effort, tell: Tell) -> Results:
    """Start the servers and run every load."""
    amount = Amount.of(effort)
    found: list[Loaded] = []
    with servers((BLIND, OPENDKIM, FLETCHING)) as running:
        prove(running, SIZE)
        tell("the maximum throughput of Fletching", 0)
        rate = highest(running, amount)
        for place, share in enumerate(SHARES):

            def part(step: str, done: float, place: int = place, share: float = share) -> None:
                tell(f"{share:.0%} load: {step}", (place + done) / len(SHARES))

            found += at_share(running, tuple(running.setups.values()), share, rate, amount, part)
    return Results(rate, tuple(found))


def highest(running: Servers, amount: Amount) -> float:
    """Mails per second that Fletching processes over sessions that are always busy."""
    setup = running.setups[FLETCHING]
    for count in (amount.closed // 10, amount.closed):
        times = busy(running, setup, count)
    began = min(mail.begun for mail in times)
    return len(times) / (max(mail.answered for mail in times) - began)


def busy(running: Servers, setup: Setup, count: int) -> list[Times]:
    """Send ``count`` mails of a campaign over sessions that are always busy."""
    os.sync()
    return _sent(running, setup, client.schedule(count, 0), _BUSY_SESSIONS)


def at_share(
    running: Servers, setups: Sequence[Setup], share: float, rate: float, amount: Amount, tell: Tell
) -> Iterator[Loaded]:
    """Run one load on these setups, in turns."""
    times: dict[str, list[Times]] = {setup.name: [] for setup in setups}
    spent = dict.fromkeys(times, 0.0)
    for block in range(amount.blocks):
        due = client.schedule(amount.per_block, share * rate, seed=block)
        for setup in in_turn(setups, block):
            tell(f"block {block + 1} of {amount.blocks}, {setup.name}", block / amount.blocks)
            os.sync()
            began = time.process_time()
            times[setup.name] += _sent(running, setup, due, _SESSIONS)
            spent[setup.name] += time.process_time() - began
    for name, seen in times.items():
        yield Loaded(name, share, share * rate, tuple(seen), spent[name])


def _sent(running: Servers, setup: Setup, due: Sequence[float], sessions: int) -> list[Times]:
    log_start = len(setup.log())
    # Another start number for each run, so that few mails are sent twice.
    campaign = mails.campaign(int(time.monotonic() * 1000) % 5_000_000)
    words = (client.dialogue(mail, mails.SENDER, mails.RECIPIENT) for mail in campaign)
    times = client.send(setup.port, words, due, sessions)
    wait_until("the queue is not empty", running.idle)
    if setup.name == FLETCHING:
        all_accepted(setup, log_start, len(due))
    return times


def figures(results: Results) -> dict[str, object]:
    """For JSON, with units in the names."""
    return {
        "mail": SIZE,
        "mail_bytes": len(mails.SIZES[SIZE]),
        "highest_throughput_mails_per_second": round(results.highest, 1),
        "highest_throughput_sessions": _BUSY_SESSIONS,
        "sessions": _SESSIONS,
        "arrivals": "poisson",
        "loads": [_figures(load) for load in results.loads],
    }


def _figures(load: Loaded) -> dict[str, object]:
    count = len(load.times)
    return {
        "setup": load.setup,
        "load_percent": round(100 * load.share),
        "mails_per_second": round(load.per_second, 2),
        "mails": count,
        "service_ms": percentiles(load.service_ms),
        "from_schedule_ms": percentiles(load.from_schedule_ms),
        "client_late_ms": percentiles(load.client_late_ms),
        "client_cpu_ms_per_mail": round(1000 * load.client_cpu_seconds / count, 3),
    }


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Percentiles by name."""
    return {_name(percent): round(percentile(values, percent), 3) for percent in PERCENTS}


def _name(percent: float) -> str:
    return "max" if percent == 100 else f"p{percent:g}"


def tables(results: Results) -> Iterator[Table]:
    """One table per load."""
    for share in dict.fromkeys(load.share for load in results.loads):
        loads = [load for load in results.loads if load.share == share]
        table = Table(
            *("setup", "milliseconds"),
            title=f"{share:.0%} of {results.highest:.0f} mails/s: {loads[0].per_second:.0f}"
            f" mails/s of {SIZE}, {len(loads[0].times)} mails",
            title_justify="left",
        )
        for percent in PERCENTS:
            table.add_column(_name(percent), justify="right", min_width=7)
        for load in loads:
            table.add_row(load.setup, "final dot to reply", *_columns(load.service_ms))
            table.add_row("", "scheduled time to reply", *_columns(load.from_schedule_ms))
        yield table


def _columns(times: Sequence[float]) -> Iterator[str]:
    return (f"{percentile(times, percent):.1f}" for percent in PERCENTS)
