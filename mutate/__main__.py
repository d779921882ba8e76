"""`python -m mutate`: changes modules in small ways and shows the changes that no test notices."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from mutate.trials import NoTestsError, Report, report

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "milter" / "fletching"


@click.command()
@click.option(
    "--base",
    metavar="REV",
    default="main",
    show_default=True,
    help="Without FILES, change the modules that differ from this revision.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(base: str, as_json: bool, files: tuple[Path, ...]) -> None:
    """Change modules in small ways, one at a time, and show the changes that no test notices.

    FILES are modules in milter/fletching. For each change, the tests of its module run on a copy of
    the source, until one fails: first those that execute the changed line.
    """
    # So that nothing is left behind: neither a run nor a copy.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    chosen = [file.resolve() for file in files] or _changed(base)
    for file in chosen:
        if not file.is_relative_to(SOURCE):
            raise click.UsageError(f"{file} is not in {SOURCE}")
    screen = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    reports: list[Report] = []
    # Without a thread that draws: each run is a fork of this process.
    with Progress(
        *columns, TimeRemainingColumn(), console=screen, transient=True, auto_refresh=False
    ) as progress:
        for file in chosen:
            task = progress.add_task(str(file.relative_to(SOURCE)), total=None)
            progress.refresh()

            def advance(done: int, total: int, task: int = task) -> None:
                progress.update(task, completed=done, total=total, refresh=True)  # type: ignore[arg-type]

            try:
                reports.append(report(file, ROOT, os.cpu_count() or 1, advance))
            except NoTestsError as error:
                screen.print(str(error), style="yellow", highlight=False)
            progress.remove_task(task)
    if as_json:
        print(json.dumps([_as_json(each) for each in reports], indent=2))
    else:
        _print(reports, Console(highlight=False))


def _changed(base: str) -> list[Path]:
    """The modules that differ from a revision, and those that git does not know yet."""
    commands = (
        ("diff", "--name-only", "--diff-filter=d", base, "--"),
        ("ls-files", "--others", "--exclude-standard", "--"),
    )
    found: set[Path] = set()
    for command in commands:
        ran = subprocess.run(
            ["git", "-C", ROOT, *command, str(SOURCE)], capture_output=True, text=True
        )
        if ran.returncode:
            raise click.ClickException(ran.stderr.strip())
        found |= {ROOT / line for line in ran.stdout.splitlines() if line.endswith(".py")}
    if not found:
        raise click.ClickException(f"no module differs from {base}: name FILES, or another --base")
    return sorted(found)


def _print(reports: Sequence[Report], console: Console) -> None:
    table = Table("module", box=None)
    for name in ("mutants", "caught", "survived"):
        table.add_column(name, justify="right")
    for each in reports:
        survived = len(each.survivors)
        figures = (each.mutants, each.mutants - survived, survived)
        table.add_row(str(each.file.relative_to(SOURCE)), *map(str, figures))
    console.print(table)
    for each in reports:
        for survivor in each.survivors:
            mutant, place = survivor.mutant, each.file.relative_to(ROOT)
            by = "" if survivor.tests else "  (no test executes it)"
            line = f"{place}:{mutant.line}  {mutant.before}  ->  {mutant.after}{by}"
            console.print(line, markup=False, soft_wrap=True)
        if each.failed:
            names = ", ".join(each.failed)
            console.print(f"left out, as they fail without a change: {names}", soft_wrap=True)


def _as_json(each: Report) -> dict[str, object]:
    return {
        "file": str(each.file.relative_to(ROOT)),
        "mutants": each.mutants,
        "caught": each.mutants - len(each.survivors),
        "survived": [
            {
                "line": survivor.mutant.line,
                "before": survivor.mutant.before,
                "after": survivor.mutant.after,
                "tests": survivor.tests,
            }
            for survivor in each.survivors
        ],
        "failed_without_change": list(each.failed),
    }


if __name__ == "__main__":
    main()
