"""`fletching bench`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from fletching.cli.options import as_json, configured, fail, load_or_fail, printable, say

if TYPE_CHECKING:
    from fletching.admin.bench import Of, Part, Report

_BAR = 30
_ABOUT: dict[Of, str] = {"mail": "One mail of {size:,} bytes", "click": "One click"}


@click.command()
@click.argument("message", type=click.File("rb"), required=False)
@as_json
@configured
def bench(message: BinaryIO | None, wants_json: bool, config_path: Path) -> None:
    """Measure how fast this host processes mails and clicks.

    MESSAGE is a file or - for stdin; without it, a built-in newsletter of 23 kB. Shows the time of
    each part and names the slowest one, with what would help. Takes about five seconds, sends
    nothing, and writes no key to Redis. Run it on a host that is idle.

    Exit status 0: measured; 1: the mail would not be processed; 2: wrong usage or invalid
    configuration.

    \b
    Example:
      fletching bench newsletter.eml
    """
    from fletching.admin.bench import BenchError, measured, newsletter
    from fletching.config.faults import UnusableError

    config = load_or_fail(config_path)
    raw = message.read() if message is not None else newsletter(config)
    if not wants_json and sys.stderr.isatty():
        say("measuring for about five seconds", err=True)
    try:
        report = measured(config, raw)
    except UnusableError as error:
        fail(error)
    except BenchError as error:
        fail(error, 1)
    if wants_json:
        click.echo(json.dumps(as_object(report), ensure_ascii=True))
    else:
        show(report)


def as_object(report: Report) -> dict[str, object]:
    """The object of `--json` (docs/commands.md)."""
    parts = [
        {"of": part.of, "part": part.name, "median_ms": ms(part.median), "p99_ms": ms(part.p99)}
        for part in report.parts
    ]
    slowest = report.slowest("mail"), report.slowest("click")
    return {
        "parts": parts,
        "mails_per_second": round(report.mails_per_second),
        "slowest": [part.name for part in slowest if part is not None],
        "skipped": list(report.skipped),
    }


def ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def show(report: Report) -> None:
    """Prints the tables."""
    for of, about in _ABOUT.items():
        parts = [part for part in report.parts if part.of == of]
        if not parts:
            continue
        say(f"{about.format(size=report.size)}: {ms(report.seconds(of))} ms")
        width = max(len(part.name) for part in parts)
        for part in parts:
            say(line(part, width, part.median / report.seconds(of)))
        slowest = report.slowest(of)
        assert slowest is not None
        say(f"  slowest: {slowest.name}; what helps: {slowest.cure}")
    number = "processor" if report.processors == 1 else "processors"
    say(
        f"At most {report.mails_per_second:,.0f} such mails per second on {report.processors}"
        f" {number}, if nothing else used them; Postfix does"
    )
    for each in report.skipped:
        say(f"not measured: {each}", err=True)


def line(part: Part, width: int, share: float) -> str:
    """A part and its share of the whole time."""
    block = "█" if printable("█") == "█" else "#"
    times = f"{ms(part.median):9.3f} ms  p99 {ms(part.p99):9.3f} ms"
    return f"  {part.name:<{width}}  {times}  {block * round(_BAR * share)}".rstrip()
