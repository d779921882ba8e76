"""Throughput: all setups, in turns, loaded by Postfix's own smtp-source.

One round is one run of each setup, so that whatever slows the machine down slows all of them.
Ratios are computed within each round; each round has an order of its own. smtp-source runs without
``-d``: each mail has a session of its own, with as many sessions at a time as there are
connections. Each setup first has a warm-up run that is not counted. No run begins before Postfix's
queue is empty and the disk has been synced.

The clock stops when smtp-source has its last reply. Postfix has the mail on disk then, and delivery
to discard(8) continues. The CPU time of a milter is read when the queue is empty. Small mails come
first, because a process may keep the memory that it needed for a large one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from bench import mails
from bench.course import Effort, Tell, in_turn
from bench.figures import middle, ratio
from bench.proof import all_accepted, prove
from bench.setups import ALONE, FLETCHING, OPENDKIM, STEERED, Servers, Setup, servers
from sandbox.instruments import smtp_source
from sandbox.processes import wait_until

CONNECTIONS = (1, 10, 50)
_USUAL = 10
_MAILS = {"2 kB": 800, "23 kB": 600, "100 kB": 300, "1 MB": 60, "10 MB": 10}
_QUICK_PART, _LEAST = 6, 4


@dataclass(frozen=True, slots=True)
class Cell:
    """A load: one mail, the number of connections, and how many times it is sent."""

    size: str
    connections: int
    mails: int


@dataclass(frozen=True, slots=True)
class Run:
    """Seconds of one run, and CPU seconds of the milter."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Measured:
    """All counted runs of one setup under one load, and its milter's memory after them."""

    cell: Cell
    setup: str
    runs: tuple[Run, ...]
    memory_bytes: int
    peak_bytes: int

    @property
    def seconds(self) -> list[float]:
        return [run.seconds for run in self.runs]

    @property
    def mails_per_second(self) -> float:
        return self.cell.mails / middle(self.seconds)

    @property
    def cpu_ms_per_mail(self) -> float:
        return 1000 * middle([run.cpu_seconds for run in self.runs]) / self.cell.mails


Results = Sequence[Measured]


def measure(effort: Effort, tell: Tell) -> Results:
    """Starts the servers and runs every load."""
    loads = cells(effort)
    found: list[Measured] = []
    with servers() as running:
        for place, cell in enumerate(loads):
            what = f"{cell.size} over {cell.connections} connections"
            tell(f"{what}: does every milter do its work?", place / len(loads))
            prove(running, cell.size)
            found += measure_cell(running, cell, effort.rounds, tell_part(tell, place, loads))
    return found


def cells(effort: Effort) -> list[Cell]:
    """The loads: every size at the usual connections, the newsletter at all; or the full grid."""
    if effort.quick:
        return [
            Cell(size, _USUAL, max(_MAILS[size] // _QUICK_PART, _LEAST))
            for size in ("2 kB", "23 kB", "1 MB")
        ]
    return [
        Cell(size, connections, max(_MAILS[size] // (2 if connections == 1 else 1), _LEAST))
        for size in mails.SIZES
        for connections in CONNECTIONS
        if effort.full or connections == _USUAL or size == "23 kB"
    ]


def tell_part(tell: Tell, place: int, loads: Sequence[Cell]) -> Tell:
    """Says the same, of one load among all."""
    cell = loads[place]
    what = f"{cell.size} over {cell.connections} connections"
    return lambda step, share: tell(f"{what}: {step}", (place + share) / len(loads))


def measure_cell(running: Servers, cell: Cell, rounds: int, tell: Tell) -> list[Measured]:
    """One load on every setup, in turns."""
    file = mail_file(running, mails.SIZES[cell.size])
    setups = list(running.setups.values())
    warm_up = Cell(cell.size, cell.connections, min(cell.mails, 4 * cell.connections))
    for setup in setups:
        tell(f"warming up {setup.name}", 0)
        run_once(running, setup, warm_up, file)
        setup.forget_peak()
    runs: dict[str, list[Run]] = {setup.name: [] for setup in setups}
    for number in range(rounds):
        for setup in in_turn(setups, number):
            tell(f"round {number + 1} of {rounds}, {setup.name}", number / rounds)
            runs[setup.name].append(run_once(running, setup, cell, file))
    return [
        Measured(cell, setup.name, tuple(runs[setup.name]), setup.memory(), setup.peak())
        for setup in setups
    ]


def mail_file(running: Servers, mail: bytes) -> Path:
    """The mail as smtp-source wants it: a file with LF line ends."""
    file = running.directory / "mail"
    file.write_bytes(mail.replace(b"\r\n", b"\n"))
    return file


def run_once(
    running: Servers,
    setup: Setup,
    cell: Cell,
    file: Path,
    proof: Callable[[Setup, int, int], None] = all_accepted,
) -> Run:
    """One run; it ends with an empty queue, and when Fletching's log has told of all mails.

    What it writes behind the answers is part of what its processors do.
    """
    # What the run before has left would be written at the cost of this one.
    os.sync()
    log_start = len(setup.log())
    cpu, began = setup.cpu(), time.monotonic()
    smtp_source(
        setup.port,
        file,
        messages=cell.mails,
        sessions=cell.connections,
        sender=mails.SENDER,
        recipient=mails.RECIPIENT,
    )
    seconds = time.monotonic() - began
    wait_until("the queue is not empty", running.idle)
    if setup.name in (FLETCHING, STEERED):
        proof(setup, log_start, cell.mails)
    return Run(seconds, setup.cpu() - cpu)


def figures(results: Results) -> list[dict[str, object]]:
    """For JSON, with units in the names."""
    return [_figures(found, results) for found in results]


def _figures(found: Measured, results: Results) -> dict[str, object]:
    milter = found.setup != ALONE
    return {
        "mail": found.cell.size,
        "mail_bytes": len(mails.SIZES[found.cell.size]),
        "connections": found.cell.connections,
        "mails_per_run": found.cell.mails,
        "setup": found.setup,
        "round_seconds": [round(seconds, 4) for seconds in found.seconds],
        "median_seconds": round(middle(found.seconds), 4),
        "mails_per_second": round(found.mails_per_second, 1),
        "speed_ratio_to_postfix_alone": round(_speed(found, results, ALONE), 3),
        "speed_ratio_to_opendkim": round(_speed(found, results, OPENDKIM), 3),
        "milter_cpu_ms_per_mail": round(found.cpu_ms_per_mail, 3) if milter else None,
        "milter_memory_pss_bytes": found.memory_bytes if milter else None,
        "milter_largest_process_peak_rss_bytes": found.peak_bytes if milter else None,
    }


def _speed(found: Measured, results: Results, other: str) -> float:
    """How many mails this setup takes while the other takes one."""
    (peer,) = (r for r in results if r.cell == found.cell and r.setup == other)
    return ratio(peer.seconds, found.seconds)


def tables(results: Results) -> Iterator[Table]:
    """One table a load."""
    for cell in dict.fromkeys(found.cell for found in results):
        rounds = len(results[0].runs)
        title = f"{cell.size}, {cell.connections} connections: {cell.mails} mails, {rounds} rounds"
        table = Table("setup", title=title, title_justify="left")
        for name in ("seconds", "mails/s", "x Postfix", "x OpenDKIM"):
            table.add_column(name, justify="right")
        for name in ("CPU ms/mail", "memory MB", "peak MB"):
            table.add_column(name, justify="right")
        for found in (r for r in results if r.cell == cell):
            table.add_row(found.setup, *_columns(found, results))
        yield table


def _columns(found: Measured, results: Results) -> Iterator[str]:
    yield f"{middle(found.seconds):.2f} ({min(found.seconds):.2f}-{max(found.seconds):.2f})"
    yield (
        f"{found.mails_per_second:.0f}"
        if found.mails_per_second > 20
        else (f"{found.mails_per_second:.1f}")
    )
    yield f"{_speed(found, results, ALONE):.2f}"
    yield f"{_speed(found, results, OPENDKIM):.2f}"
    if found.setup == ALONE:
        yield from ("", "", "")
        return
    yield f"{found.cpu_ms_per_mail:.2f}"
    yield f"{found.memory_bytes / 1e6:.0f}"
    yield f"{found.peak_bytes / 1e6:.0f}"
