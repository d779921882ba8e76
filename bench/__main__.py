"""`make bench`: run all benchmarks in turn, with progress, tables, JSON and charts.

This file has the command line; it measures nothing itself. Exit 0 if all benchmarks ran, however
slow.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench import (
    budgets,
    latency,
    machine,
    outgoing,
    plots,
    returning,
    rules,
    statistics,
    store,
    throughput,
    traces,
    web,
)
from bench.course import Effort, Tell
from sandbox.processes import MissingProgramError

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Benchmark(Generic[R]):
    """A benchmark: how to measure, and how to show the results."""

    measure: Callable[[Effort, Tell], R]
    figures: Callable[[R], object]
    tables: Callable[[R], Iterator[Table]]
    plot: Callable[[R, Path], None] | None = None
    needs_root: bool = True


_MUCH = 1.0
"""Percent of stolen CPU time from which on it is reported."""

BENCHMARKS: dict[str, Benchmark[Any]] = {
    "throughput": Benchmark(
        throughput.measure, throughput.figures, throughput.tables, plots.plot_throughput
    ),
    "latency": Benchmark(latency.measure, latency.figures, latency.tables, plots.plot_latency),
    "store": Benchmark(store.measure, store.figures, store.tables, needs_root=False),
    "statistics": Benchmark(
        statistics.measure, statistics.figures, statistics.tables, needs_root=False
    ),
    "traces": Benchmark(traces.measure, traces.figures, traces.tables, needs_root=False),
    "returning": Benchmark(
        *(returning.measure, returning.figures, returning.tables), needs_root=False
    ),
    "rules": Benchmark(rules.measure, rules.figures, rules.tables, needs_root=False),
    "outgoing": Benchmark(
        *(outgoing.measure, outgoing.figures, outgoing.tables, plots.plot_profile),
        needs_root=False,
    ),
    "budgets": Benchmark(budgets.measure, budgets.figures, budgets.tables),
    "web": Benchmark(web.measure, web.figures, web.tables, needs_root=False),
}


def _chosen(_context: click.Context, _option: click.Parameter, value: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value.split(","))
    for name in names:
        if name not in BENCHMARKS:
            raise click.BadParameter(f"{name}: must be one of {', '.join(BENCHMARKS)}")
    return names


@click.command()
@click.option(
    "--quick", is_flag=True, help="Send few mails in one round, to see that everything works."
)
@click.option(
    "--all", "full", is_flag=True, help="Measure every mail size with every number of connections."
)
@click.option(
    *("--only", "names"),
    default=",".join(BENCHMARKS),
    callback=_chosen,
    show_default=True,
    metavar="BENCHMARK,...",
    help="Run only these benchmarks.",
)
@click.option(
    *("--out", "folder"),
    default="build",
    type=click.Path(file_okay=False, path_type=Path),
    show_default=True,
    metavar="DIRECTORY",
    help="Write bench.json and the charts to this directory.",
)
def main(quick: bool, full: bool, names: tuple[str, ...], folder: Path) -> None:
    """Compare Fletching with Postfix alone, OpenDKIM and dkimpy-milter on this machine.

    Nothing else should run meanwhile. Writes bench.json, throughput.png, latency.png and
    profile.png. Run it as root, which Postfix's master requires.

    \b
    Examples:
      make bench                                  everything, about half an hour
      make bench BENCH=--quick                    everything, about a minute, rough figures
      make bench BENCH='--only throughput --all'  the full grid of sizes and connections
      python -m bench --only store,statistics,traces,returning,rules,outgoing,web   without root
    """
    if os.geteuid() != 0 and any(BENCHMARKS[name].needs_root for name in names):
        raise click.UsageError(
            "must run as root, which Postfix's master requires: use sudo, or"
            " --only store,statistics,traces,returning,outgoing,web"
        )
    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)
    folder.mkdir(parents=True, exist_ok=True)
    stolen: dict[str, float] = {}
    report: dict[str, object] = {
        "machine": machine.described(),
        "quick": quick,
        "all": full,
        "stolen_percent": stolen,
    }
    for name in names:
        try:
            began = machine.Clocks.read()
            report[name] = _run(console, name, Effort(quick, full), folder)
            stolen[name] = round(machine.stolen(began, machine.Clocks.read()), 1)
        except MissingProgramError as error:
            raise click.ClickException(str(error)) from None
        # After each benchmark, so that its results are kept if the next one fails.
        _write(folder / "bench.json", report)
    for name, percent in stolen.items():
        if percent >= _MUCH:
            console.print(f"{name}: the machine's host gave {percent} % of its time to others")
    console.print(f"written: {', '.join(str(file) for file in sorted(_written(folder, names)))}")


def _run(console: Console, name: str, effort: Effort, folder: Path) -> object:
    """Run one benchmark with progress, print its tables, draw its chart."""
    benchmark = BENCHMARKS[name]
    began = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(name, total=1.0)

        def tell(what: str, share: float) -> None:
            progress.update(task, description=f"{name}: {what}", completed=share)

        results = benchmark.measure(effort, tell)
    console.rule(f"{name} ({time.monotonic() - began:.0f} s)", align="left")
    for table in benchmark.tables(results):
        console.print(table)
    if benchmark.plot is not None:
        benchmark.plot(results, folder)
    return benchmark.figures(results)


def _write(file: Path, report: dict[str, object]) -> None:
    file.write_text(json.dumps(report, indent=2) + "\n", "utf-8")


def _written(folder: Path, names: tuple[str, ...]) -> Iterator[Path]:
    pictures = {"throughput": "throughput", "latency": "latency", "outgoing": "profile"}
    yield folder / "bench.json"
    yield from (folder / f"{pictures[name]}.png" for name in names if name in pictures)


if __name__ == "__main__":
    main()
