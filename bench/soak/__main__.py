"""`make soak`: the command line of the soak, with progress. Exit 1 if a promise was broken."""

from __future__ import annotations

import json
import os
import random
import re
import sys
import time
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bench.soak import course, report
from bench.soak.course import Course
from bench.soak.site import running
from sandbox.processes import MissingProgramError

_UNITS = {"s": 1, "m": 60, "h": 3600}


def _seconds(_context: click.Context, _option: click.Parameter, value: str) -> float:
    found = re.fullmatch(r"(\d+)([smh])", value)
    if found is None or (seconds := int(found[1]) * _UNITS[found[2]]) < 30:
        raise click.BadParameter(f"{value}: must be at least 30s, such as 90s, 30m or 2h")
    return seconds


@click.command()
@click.option(
    *("--for", "seconds"),
    default="30m",
    show_default=True,
    callback=_seconds,
    metavar="TIME",
    help="Make load and faults for this long.",
)
@click.option("--rate", default=12.0, show_default=True, help="Mails per second.")
@click.option("--seed", default=None, type=int, help="Repeat the faults of an earlier soak.")
@click.option("--json", "wants_json", is_flag=True, help="Print JSON instead of the tables.")
@click.option(
    *("--out", "folder"),
    default="build/soak",
    type=click.Path(file_okay=False, path_type=Path),
    show_default=True,
    metavar="DIRECTORY",
    help="Write the figures, a chart and the logs to this directory.",
)
def main(seconds: float, rate: float, seed: int | None, wants_json: bool, folder: Path) -> None:
    """Send, click, bounce and complain for a while, with every process killed now and then.

    Then compare what was promised with what arrived and was counted, and measure how memory and
    open files grow. Run it as root, which Postfix's master requires. Exit 1 if something is lost,
    doubled or leaked.

    \b
    Examples:
      make soak SOAK=30m
      python -m bench.soak --for 10m --seed 7
    """
    if os.geteuid() != 0:
        raise click.UsageError("must run as root, which Postfix's master requires: use sudo")
    seed = random.randrange(10**6) if seed is None else seed
    # Progress goes to stderr, so that stdout contains only the result.
    console = Console(stderr=True, highlight=False)
    folder.mkdir(parents=True, exist_ok=True)
    console.print(f"seed {seed}")
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    try:
        with running() as site, Progress(*columns, console=console, transient=True) as progress:
            began = time.monotonic()
            task = progress.add_task("soak", total=seconds)

            def tell(what: str) -> None:
                spent = time.monotonic() - began
                progress.update(task, description=what or "soak", completed=min(spent, seconds))
                if what:
                    console.print(f"{spent:6.0f} s  {what}")

            try:
                seen = course.run(site, Course.of(seconds), rate, random.Random(seed), tell)
            finally:
                (folder / "fletching.log").write_text(site.log(), "utf-8")
                (folder / "postfix.log").write_text("\n".join(site.postfix_log()), "utf-8")
    except MissingProgramError as error:
        raise click.ClickException(str(error)) from None
    figures = json.dumps({"seed": seed, **report.figures(seen)}, indent=1)
    (folder / "soak.json").write_text(f"{figures}\n", "utf-8")
    report.plot(seen, folder)
    if wants_json:
        click.echo(figures)
    else:
        output = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
        for table in report.tables(seen):
            output.print(table)
    broken = report.broken(seen)
    for each in broken:
        console.print(f"[red]{each}")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
