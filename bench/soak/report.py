"""The figures of a soak: tables, JSON, a chart, and which of them are not as they must be."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from rich.table import Column, Table

from bench.soak.course import Seen
from bench.soak.growth import Growth

# Servers have no display.
mpl.use("Agg")

MEGABYTE = 1_000_000
_LONG = 480.0
"""Seconds of a life after warm-up from which on its slope is judged strictly."""
_STEEPEST, _STEEPEST_SHORT = 1.0, 200.0
"""Megabytes per hour, in long and in short lives, which are still warming up."""
_MORE_FILES = 8
"""Open files by which a process may have grown: connections come and go."""
_DOTS = 120


def memory_is_flat(growth: Growth) -> bool:
    """Whether memory does not grow faster than allowed, beyond chance."""
    if growth.slope is None:
        return True
    allowed = MEGABYTE * (_STEEPEST if growth.longest >= _LONG else _STEEPEST_SHORT)
    return growth.slope < allowed or growth.low <= 0


def files_are_flat(growth: Growth) -> bool:
    """Whether the number of open files does not grow, beyond chance and what comes and goes."""
    if growth.slope is None:
        return True
    return growth.low <= 0 or growth.slope * growth.longest / 3600 < _MORE_FILES


def broken(seen: Seen) -> list[str]:
    """Everything that is not as it must be."""
    return [
        *(
            f"{row.what}: {row.lost} lost, {row.doubled} doubled"
            for row in seen.rows
            if row.is_broken
        ),
        *(f"{what}: {count}" for what, count in seen.wrong.items()),
        *(
            f"memory of {each.kind} grows"
            for each in seen.memory_growth
            if not memory_is_flat(each)
        ),
        *(f"files of {each.kind} grow" for each in seen.file_growth if not files_are_flat(each)),
    ]


def figures(seen: Seen) -> Mapping[str, object]:
    """The figures for programs."""
    return {
        "broken": broken(seen),
        "seconds": round(seen.seconds, 1),
        "mails_accepted": len(seen.sent.accepted),
        "mails_arrived": seen.arrived,
        "mails_tempfailed": dict(seen.sent.tempfailed),
        "longest_gap_seconds": round(seen.sent.gap, 1),
        "mails_verified": seen.verified,
        "webhook_batches": seen.hook_batches,
        "webhook_failures": seen.hook_failed,
        "events_twice_with_one_id": seen.repeated,
        "faults": [asdict(each) for each in seen.faults],
        "rows": [asdict(row) for row in seen.rows],
        "wrong": seen.wrong,
        "memory": [asdict(each) for each in seen.memory_growth],
        "files": [asdict(each) for each in seen.file_growth],
    }


def tables(seen: Seen) -> Iterator[Table]:
    """The figures for people."""
    yield _faults(seen)
    yield _rows(seen)
    yield _growths(seen)


def _faults(seen: Seen) -> Table:
    table = Table("fault", *(_right("times"), _right("longest until mail is accepted again (s)")))
    count = Counter(each.name for each in seen.faults)
    for name, times in sorted(count.items()):
        slowest = max(each.recovered for each in seen.faults if each.name == name)
        table.add_row(name, f"{times}", f"{slowest:.1f}")
    return table


def _rows(seen: Seen) -> Table:
    table = Table("what", _right("promised"), _right("lost"), _right("doubled"))
    for row in seen.rows:
        style = "red" if row.is_broken else None
        table.add_row(
            row.what, f"{row.promised:,}", f"{row.lost:,}", f"{row.doubled:,}", style=style
        )
    for what, times in seen.wrong.items():
        table.add_row(what, "", f"{times:,}", "", style="red")
    return table


def _growths(seen: Seen) -> Table:
    names = ("lives", "longest (min)", "memory (MB)", "MB per hour", "95 % interval", "open files")
    table = Table("process", *map(_right, names))
    files = {each.kind: each for each in seen.file_growth}
    for each in seen.memory_growth:
        slope = "" if each.slope is None else f"{each.slope / MEGABYTE:.2f}"
        interval = "" if each.slope is None else f"{_mb(each.low)} to {_mb(each.high)}"
        opened = files[each.kind]
        is_flat = memory_is_flat(each) and files_are_flat(opened)
        table.add_row(
            *(each.kind, f"{each.lives}", f"{each.longest / 60:.1f}"),
            *(f"{_mb(each.first, 1)} to {_mb(each.last, 1)}", slope, interval),
            f"{opened.first:.0f} to {opened.last:.0f}",
            style=None if is_flat else "red",
        )
    return table


def _mb(size: float, digits: int = 2) -> str:
    return f"{size / MEGABYTE:.{digits}f}"


def _right(title: str) -> Column:
    return Column(title, justify="right")


def plot(seen: Seen, folder: Path) -> None:
    """The memory of each process over time, with the faults: ``soak-memory.png``."""
    kinds = list(dict.fromkeys(each.kind for each in seen.memory))
    figure = Figure(figsize=(12, 2 * ((len(kinds) + 1) // 2)), layout="constrained")
    panels = figure.subplots((len(kinds) + 1) // 2, 2, sharex=True, squeeze=False).flat
    began = min(each.seconds for each in seen.memory)
    for axes, kind in zip(panels, kinds, strict=False):
        lives: dict[int, list[tuple[float, float]]] = defaultdict(list)
        for each in seen.memory:
            if each.kind == kind:
                minutes = (each.seconds - began) / 60
                lives[each.pid].append((minutes, each.size / MEGABYTE))
        for life in lives.values():
            axes.plot([at for at, _ in life], [size for _, size in life], linewidth=1)
        for fault in seen.faults:
            axes.axvline(fault.at / 60, color="#dddddd", linewidth=0.5, zorder=0)
        axes.set_title(kind, fontsize=9)
        axes.set_ylabel("MB", fontsize=8)
    figure.supxlabel("minutes; a gray line is a fault", fontsize=9)
    figure.savefig(folder / "soak-memory.png", dpi=_DOTS)
