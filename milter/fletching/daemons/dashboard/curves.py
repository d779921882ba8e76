"""Curves on the pages of the dashboard: counts over time in, SVG paths out. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fletching.figures import by_span, minute

WIDTH, HEIGHT = 600, 120

_PANELS = (
    ("Delivery", ("sent", "delivered", "deferred", "bounces")),
    ("Recipient activity", ("opens", "clicks", "unsubscribes")),
)
_KINDS = tuple(kind for _, kinds in _PANELS for kind in kinds)
_IF_COUNTED = {"delivered", "deferred", "bounces"}
_MOST_POINTS = 120
_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: what it counts, and its SVG path."""

    kind: str
    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Panel:
    """Curves on the same scale, from ``begin`` to ``end``. ``description`` is for screen
    readers."""

    title: str
    top: str
    description: str
    lines: tuple[Line, ...]
    begin: str
    end: str
    width: int = WIDTH
    height: int = HEIGHT


def curve(hours: Mapping[str, Mapping[int, int]]) -> tuple[Panel, ...]:
    """A campaign over time, on the same time axis in all panels; none if nothing was counted.

    ``hours``: counts by kind and start of the hour (unix time).
    """
    times = [time for counted in hours.values() for time in counted]
    if not times:
        return ()
    begin, end = min(times), max(times)
    points = (end - begin) // _HOUR + 1
    hours_each = -(-points // _MOST_POINTS)
    step = hours_each * _HOUR
    counted = {kind: by_span(hours.get(kind, {}), begin, end, step) for kind in _KINDS}
    unit = "per hour" if hours_each == 1 else f"per {hours_each} hours"
    # What did not happen, or is not measured, has no curve there.
    shown = {kind for kind in _KINDS if hours.get(kind) or kind not in _IF_COUNTED}
    span = minute(begin), minute(end + _HOUR)
    return tuple(
        _panel(title, [kind for kind in kinds if kind in shown], counted, unit, span)
        for title, kinds in _PANELS
    )


def _panel(
    title: str,
    kinds: Sequence[str],
    counted: Mapping[str, Sequence[int]],
    unit: str,
    span: tuple[str, str],
) -> Panel:
    top = max(max(counted[kind]) for kind in kinds)
    lines = tuple(Line(kind, kind, path(counted[kind], top)) for kind in kinds)
    sums = ", ".join(f"{sum(counted[kind]):,} {kind}" for kind in kinds)
    description = f"{title}: {sums}; at most {top:,} {unit}"
    return Panel(f"{title} {unit}", f"{top:,}", description, lines, *span)


def path(counts: Sequence[int], top: int) -> str:
    """An SVG path through all counts, the highest of which is ``top``; a single count is a
    horizontal line."""
    heights = [HEIGHT - 2 - (HEIGHT - 4) * count / max(top, 1) for count in counts]
    heights = heights * 2 if len(heights) == 1 else heights
    apart = WIDTH / (len(heights) - 1)
    return "M" + "L".join(f"{at * apart:.1f} {height:.1f}" for at, height in enumerate(heights))
