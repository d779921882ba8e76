"""`python -m bench.steered`: what steering costs, in throughput.

Two setups: Fletching as in `throughput.py`, and the same with 1,000 rules, three dialects and a
pool whose members have limits. In turns, with the usual newsletter; the result is the ratio within
each round.
"""

from __future__ import annotations

import sys

import click
from rich.console import Console
from rich.table import Table

from bench import mails
from bench.course import in_turn
from bench.figures import middle, ratio
from bench.setups import FLETCHING, STEERED, servers
from bench.throughput import Cell, Run, mail_file, run_once

MOST_SLOWER = 15.0
"""Per cent of the throughput that steering may cost."""

_CELL = Cell("23 kB", 10, 600)
_SETUPS = (FLETCHING, STEERED)

Runs = dict[str, list[Run]]


def measure(rounds: int, cell: Cell = _CELL) -> Runs:
    """All runs of each setup, after one warm-up run that is not counted."""
    runs: Runs = {name: [] for name in _SETUPS}
    with servers(_SETUPS) as running:
        file = mail_file(running, mails.SIZES[cell.size])
        for name in _SETUPS:
            warm_up = Cell(cell.size, cell.connections, cell.connections)
            run_once(running, running.setups[name], warm_up, file)
        for number in range(rounds):
            for name in in_turn(_SETUPS, number):
                runs[name].append(run_once(running, running.setups[name], cell, file))
    return runs


def slower(runs: Runs) -> float:
    """Per cent by which the throughput is lower with steering, median of the rounds."""
    seconds = [[run.seconds for run in runs[name]] for name in _SETUPS]
    return 100 * (1 - ratio(seconds[0], seconds[1]))


def table(runs: Runs, cell: Cell = _CELL) -> Table:
    found = Table("setup", title="the cost of steering", title_justify="left")
    for name in ("mails/s", "CPU ms/mail", f"slower (at most {MOST_SLOWER:.0f} %)"):
        found.add_column(name, justify="right")
    for name in _SETUPS:
        found.add_row(
            name,
            f"{cell.mails / middle([run.seconds for run in runs[name]]):.0f}",
            f"{1000 * middle([run.cpu_seconds for run in runs[name]]) / cell.mails:.2f}",
            f"{slower(runs):.1f} %" if name == STEERED else "",
        )
    return found


@click.command()
@click.option("--rounds", default=12, show_default=True, help="Runs of each setup.")
@click.option("--mails", "count", default=_CELL.mails, show_default=True, help="Mails per run.")
def main(rounds: int, count: int) -> None:
    """Measure the cost of rules, dialects and limits. Run as root, with nothing else running."""
    cell = Cell(_CELL.size, _CELL.connections, count)
    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)
    console.print(table(measure(rounds, cell), cell))


if __name__ == "__main__":
    main()
