"""`make drills`: run all scenarios in turn, with progress, a table and JSON.

This file has the command line. Exit 1 if a promise was broken.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.drills import drill
from bench.drills.drill import Amount, Seen
from bench.drills.fleet import Servers, servers
from bench.drills.judge import Findings, missing_clicks, missing_unsubscribes, statistics_off, total
from bench.drills.scenarios import SCENARIOS
from sandbox.processes import MissingProgramError

_PER_SECOND = 100
_SHORTEST = 12
"""Minimum seconds of load: few mails are sent more slowly, so that the fault occurs meanwhile."""

_COLUMNS = {
    "rounds": "rounds",
    "accepted": "mails\naccepted",
    "tempfailed": "temp-\nfailed",
    "numbers_twice": "numbers\ntwice",
    "unsubscribes": "unsubs.\nanswered",
    "unsubscribes_missing": "\nmissing",
    "clicks": "clicks\nanswered",
    "clicks_missing": "\nmissing",
    "statistics_off": "statistics\noff by",
    "same_id": "duplicates,\nsame id",
    "other_id": "duplicates,\nother id",
    "gap": "longest\ngap (s)",
}


def _chosen(_context: click.Context, _option: click.Parameter, value: str) -> tuple[str, ...]:
    chosen = set[str]()
    for word in (word.strip() for word in value.split(",")):
        named = {word} & set(SCENARIOS) or {n for n in SCENARIOS if n.startswith(f"{word}-")}
        if not named:
            raise click.BadParameter(f"{word}: must be one of {', '.join(SCENARIOS)}")
        chosen |= named
    return tuple(name for name in SCENARIOS if name in chosen)


@click.command()
@click.option(
    *("--only", "names"),
    default=",".join(SCENARIOS),
    callback=_chosen,
    metavar="SCENARIO,...",
    help="Run these scenarios; redis, sentinel or cluster runs all with that prefix. Default: all.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1),
    help="Rounds of each scenario. Default: 5 for redis-kill, 3 for the others.",
)
@click.option(
    *("--mails", "count"),
    default=2000,
    show_default=True,
    type=click.IntRange(10),
    help="Mails in the campaign of each round.",
)
@click.option("--json", "wants_json", is_flag=True, help="Print JSON instead of the table.")
@click.option(
    *("--out", "folder"),
    default="build/drills",
    type=click.Path(file_okay=False, path_type=Path),
    show_default=True,
    metavar="DIRECTORY",
    help="Write logs and details of rounds that broke a promise to this directory.",
)
def main(
    names: tuple[str, ...], rounds: int | None, count: int, wants_json: bool, folder: Path
) -> None:
    """Kill, fail over, hang and partition Redis under load, and check what is lost.

    Two hosts send a campaign through a real Postfix while recipients click and unsubscribe. Run it
    as root, which Postfix's master requires. Exit 1 if a promise was broken: a number used twice,
    an answered unsubscribe or click lost, statistics that differ from the events.

    \b
    Examples:
      make drills                                  everything, about 45 minutes
      python -m bench.drills --only sentinel-failover,cluster --rounds 1
    """
    if os.geteuid() != 0:
        raise click.UsageError("must run as root, which Postfix's master requires: use sudo")
    # Progress goes to stderr, so that stdout contains only the result.
    console = Console(stderr=True, highlight=False)
    found: dict[str, list[Findings]] = {}
    try:
        with servers() as running:
            for name in names:
                found[name] = list(_rounds(running, name, rounds, count, folder, console))
    except MissingProgramError as error:
        raise click.ClickException(str(error)) from None
    totals = {name: total(each) for name, each in found.items()}
    if wants_json:
        click.echo(json.dumps({name: _figures(each) for name, each in totals.items()}, indent=2))
    else:
        width = None if sys.stdout.isatty() else 150
        Console(width=width, highlight=False).print(_table(totals))
    sys.exit(1 if any(each.broken for each in totals.values()) else 0)


def _rounds(
    running: Servers, name: str, rounds: int | None, count: int, folder: Path, console: Console
) -> list[Findings]:
    scenario, amount = SCENARIOS[name], Amount(count, max(count / _PER_SECOND, _SHORTEST))
    wanted = rounds or scenario.rounds
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    findings = []
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(name, total=wanted)
        for number in range(wanted):

            def tell(what: str, number: int = number) -> None:
                progress.update(task, description=f"{name} {number + 1}/{wanted}: {what}")

            began = time.monotonic()
            try:
                seen = drill.run(running, scenario, number, amount, tell)
            except MissingProgramError:
                raise
            except Exception as error:  # noqa: BLE001 an edge: the other rounds continue
                console.print(f"{name} {number + 1}/{wanted}: {type(error).__name__}: {error}")
                findings.append(Findings(unfinished=1))
                continue
            finally:
                progress.advance(task)
            findings.append(seen.findings)
            verdict = ", ".join(f"{what} {n}" for what, n in seen.findings.broken.items())
            spent = f"{name} {number + 1}/{wanted}, {time.monotonic() - began:.0f} s"
            console.print(f"{spent}: {verdict or 'all promises kept'}", soft_wrap=True)
            if seen.findings.broken:
                _write(folder / f"{name}-{number + 1}", seen, running)
    return findings


def _write(folder: Path, seen: Seen, running: Servers) -> None:
    """Write what is needed to find the cause."""
    folder.mkdir(parents=True, exist_ok=True)
    details = {
        "findings": asdict(seen.findings),
        "wrong_statuses": seen.wrong,
        "unsubscribes_missing": sorted(missing_unsubscribes(seen.requests, seen.kept)),
        "clicks_missing": sorted(missing_clicks(seen.requests, seen.kept)),
        "statistics_off": statistics_off(seen.mails, seen.kept),
        "mails": [asdict(mail) for mail in seen.mails],
        "requests": [asdict(request) for request in seen.requests],
        "events": list(seen.kept.events),
        "campaigns": list(seen.kept.campaigns),
    }
    (folder / "details.json").write_text(json.dumps(details, indent=1) + "\n", "utf-8")
    for host in running.hosts:
        for name, text in host.logs().items():
            (folder / name).write_text(text, "utf-8")


def _figures(findings: Findings) -> dict[str, object]:
    return asdict(findings) | {"broken": findings.broken}


def _table(totals: dict[str, Findings]) -> Table:
    table = Table("scenario")
    for title in _COLUMNS.values():
        table.add_column(title, justify="right")
    for name, findings in totals.items():
        table.add_row(name, *(_cell(findings, each) for each in _COLUMNS))
    return table


def _cell(findings: Findings, name: str) -> str:
    if name == "rounds" and findings.unfinished:
        return f"[red]{findings.rounds - findings.unfinished} of {findings.rounds}[/]"
    value = getattr(findings, name)
    shown = f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"
    return f"[red]{shown}[/]" if name in findings.broken else shown


if __name__ == "__main__":
    main()
