"""Curves on the pages of the dashboard: counts over time in, SVG paths out. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fletching.daemons.dashboard.times import time_html
from fletching.figures import by_span
from fletching.store.counts import FIRST_HOURS, HOUR, STEP

WIDTH, HEIGHT = 600, 120

_PANELS = (
    ("Delivery", ("sent", "delivered", "deferred", "bounces")),
    ("Recipient activity", ("opens", "clicks", "unsubscribes")),
)
_KINDS = tuple(kind for _, kinds in _PANELS for kind in kinds)
_IF_COUNTED = {"delivered", "deferred", "bounces"}
_MOST_POINTS = 120
_DAY = 24
_SPANS = (1, 2, 3, 6, 12, _DAY)
"""Hours of a point, unless it has several days."""

_FEWEST_IN_STEPS = 0.9
"""The share of the counts of the first hours that has to be in steps, too. There is less in those
of a campaign that began before Fletching counted steps."""

Counted = Mapping[str, Mapping[int, int]]
"""Counts by kind and start of a span of time (unix time)."""


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


@dataclass(frozen=True, slots=True)
class Span:
    """The panels of a span of time, all with the same time axis."""

    title: str
    panels: tuple[Panel, ...]


def curve(hours: Counted, steps: Counted, opened: int) -> tuple[Span, ...]:
    """A campaign over time: its first hours in steps of ten minutes, and the whole of it by hours
    or days, unless that shows nothing more; nothing if nothing was counted.

    ``opened``: unix seconds of its first message.
    """
    if not any(hours.values()):
        return ()
    first = _first_hours(hours, steps, opened // HOUR * HOUR)
    spans = []
    if first:
        spans.append(Span(f"The first {FIRST_HOURS} hours", _panels(steps, STEP)))
    if any(time not in first for counted in hours.values() for time in counted):
        spans.append(Span("The whole campaign", _panels(hours, _hours_each(hours) * HOUR)))
    return tuple(spans)


def _first_hours(hours: Counted, steps: Counted, begin: int) -> frozenset[int]:
    """The starts of the hours that steps show, none if steps lack much of what hours have.

    Both are read one after the other, so steps may have a little more.
    """
    first = frozenset(range(begin, begin + FIRST_HOURS * HOUR, HOUR))
    in_hours = sum(
        count for counted in hours.values() for time, count in counted.items() if time in first
    )
    in_steps = sum(sum(counted.values()) for counted in steps.values())
    return first if 0 < in_steps >= _FEWEST_IN_STEPS * in_hours else frozenset()


def _hours_each(hours: Counted) -> int:
    """Hours of a point: enough that there are not too many, and a divisor or multiple of a day."""
    times = [time for counted in hours.values() for time in counted]
    least = -(-((max(times) - min(times)) // HOUR + 1) // (_MOST_POINTS - 1))
    return next((span for span in _SPANS if span >= least), -(-least // _DAY) * _DAY)


def _panels(found: Counted, step: int) -> tuple[Panel, ...]:
    times = [time for counted in found.values() for time in counted]
    begin, end = min(times) // step * step, max(times)
    counted = {kind: by_span(found.get(kind, {}), begin, end, step) for kind in _KINDS}
    # What did not happen, or is not measured, has no curve there.
    shown = {kind for kind in _KINDS if found.get(kind) or kind not in _IF_COUNTED}
    span = time_html(begin), time_html(end // step * step + step)
    return tuple(
        _panel(title, [kind for kind in kinds if kind in shown], counted, _unit(step), span)
        for title, kinds in _PANELS
    )


def _unit(step: int) -> str:
    if step == STEP:
        return "per ten minutes"
    hours = step // HOUR
    number, unit = (hours // _DAY, "day") if hours % _DAY == 0 else (hours, "hour")
    return f"per {unit}" if number == 1 else f"per {number} {unit}s"


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
