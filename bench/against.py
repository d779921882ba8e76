"""`python -m bench.against CHECKOUT`: compare Fletching with another version of itself.

Two setups differ only in their code. Two mails: the usual newsletter, and the same one with a
header field that causes a warning in every mail. Each round is one run of each setup with each
mail, in turns. The result is the ratio within each round, as in `throughput.py`.

    git worktree add /tmp/before COMMIT
    python -m bench.against /tmp/before
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from bench import mails
from bench.course import in_turn
from bench.figures import middle, ratio
from bench.proof import all_accepted, all_warned_of
from bench.setups import FLETCHING, Servers, servers
from bench.throughput import Cell, Run, mail_file, run_once

BEFORE, NOW = "before", "now"
PLAIN, WARNED = "no warning", "a warning in every mail"
_CELL = Cell("23 kB", 10, 600)
_NEWSLETTER = mails.SIZES[_CELL.size]
_MAILS = {PLAIN: _NEWSLETTER, WARNED: b"X-GreenArrow-Unknown: 1\r\n" + _NEWSLETTER}


@dataclass(frozen=True, slots=True)
class Turn:
    """One of the two setups with one of the two mails."""

    version: str
    mail: str


TURNS = tuple(Turn(version, mail) for version in (BEFORE, NOW) for mail in _MAILS)

Runs = dict[Turn, list[Run]]


def measure(checkout: Path, rounds: int, cell: Cell = _CELL) -> Runs:
    """All runs of each turn, after one warm-up run that is not counted."""
    runs: Runs = {turn: [] for turn in TURNS}
    with _both(checkout) as houses:
        for turn in TURNS:
            _run(houses[turn.version], turn, Cell(cell.size, cell.connections, cell.connections))
        for number in range(rounds):
            for turn in in_turn(TURNS, number):
                runs[turn].append(_run(houses[turn.version], turn, cell))
    return runs


@contextmanager
def _both(checkout: Path) -> Iterator[dict[str, Servers]]:
    if not (checkout / "milter" / "fletching" / "__main__.py").is_file():
        raise click.BadParameter(f"{checkout}: must be a checkout of Fletching")
    with (
        servers((FLETCHING,), {"PYTHONPATH": str(checkout.resolve() / "milter")}) as before,
        servers((FLETCHING,)) as now,
    ):
        yield {BEFORE: before, NOW: now}


def _run(running: Servers, turn: Turn, cell: Cell) -> Run:
    """One run. Checks that every mail was accepted, with a warning if it must have one."""
    file = mail_file(running, _MAILS[turn.mail])
    proof = all_warned_of if turn.mail == WARNED else all_accepted
    return run_once(running, running.setups[FLETCHING], cell, file, proof)


def table(runs: Runs, cell: Cell = _CELL) -> Table:
    """The new version's time and CPU time compared with the old one's, median of the rounds."""
    found = Table("mail", title="this version compared with CHECKOUT", title_justify="left")
    for name in ("mails/s before", "now", "faster", "CPU ms/mail before", "now", "less CPU"):
        found.add_column(name, justify="right")
    for mail in _MAILS:
        before, now = runs[Turn(BEFORE, mail)], runs[Turn(NOW, mail)]
        faster = ratio([run.seconds for run in before], [run.seconds for run in now])
        less = ratio([run.cpu_seconds for run in now], [run.cpu_seconds for run in before])
        found.add_row(
            mail,
            *(
                f"{cell.mails / middle([run.seconds for run in each]):.0f}"
                for each in (before, now)
            ),
            f"{100 * (faster - 1):+.1f} %",
            *(
                f"{1000 * middle([run.cpu_seconds for run in each]) / cell.mails:.2f}"
                for each in (before, now)
            ),
            f"{100 * (1 - less):+.1f} %",
        )
    return found


@click.command()
@click.argument("checkout", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rounds", default=12, show_default=True, help="Runs of each setup and mail.")
@click.option("--mails", "count", default=_CELL.mails, show_default=True, help="Mails per run.")
def main(checkout: Path, rounds: int, count: int) -> None:
    """Compare this version with CHECKOUT, an older one. Run as root, with nothing else running."""
    cell = Cell(_CELL.size, _CELL.connections, count)
    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)
    console.print(table(measure(checkout, rounds, cell), cell))


if __name__ == "__main__":
    main()
