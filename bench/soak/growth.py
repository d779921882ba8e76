"""How fast memory and open files grow: a slope over the lives of all processes of a kind. Pure.

A process that was killed starts anew, so slopes are taken within each life, and combined. The
slope is the median of the slopes between all pairs of points of a life (Theil and Sen), which a
peak does not move. Points are medians of stretches of a life, since measurements that follow
each other are not independent.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

_POINTS = 30
"""Points of the longest life; those of shorter lives are as far apart."""
_FEWEST = 4
"""Points that a life must have to count."""
_SURE = 1.96
"""Standard deviations of a 95 % interval."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at one process. ``seconds``: of one clock. ``size``: bytes, or open files."""

    seconds: float
    pid: int
    kind: str
    size: float


@dataclass(frozen=True, slots=True)
class Growth:
    """How a kind of process grows, per hour, with the limits of a 95 % interval; None if no life
    was long enough. ``longest``: the seconds of the longest life."""

    kind: str
    lives: int
    longest: float
    first: float
    last: float
    slope: float | None = None
    low: float = -math.inf
    high: float = math.inf


def growths(samples: Iterable[Sample]) -> list[Growth]:
    """One for each kind."""
    lives: dict[str, dict[int, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        lives[sample.kind][sample.pid].append(sample)
    found = []
    for kind, of_kind in lives.items():
        grown = [life for life in of_kind.values() if len(life) > 1]
        if grown:
            found.append(_growth(kind, grown))
        else:
            last = max((each[-1] for each in of_kind.values()), key=lambda each: each.seconds)
            found.append(Growth(kind, len(of_kind), 0.0, last.size, last.size))
    return found


def _growth(kind: str, lives: Sequence[Sequence[Sample]]) -> Growth:
    longest = max(lives, key=lambda life: life[-1].seconds - life[0].seconds)
    length = longest[-1].seconds - longest[0].seconds
    step = length / _POINTS
    slopes, variance = list[float](), 0.0
    for life in lives:
        points = _points(life, step)
        count = len(points)
        if count >= _FEWEST:
            slopes += [
                3600 * (later[1] - earlier[1]) / (later[0] - earlier[0])
                for earlier, later in combinations(points, 2)
            ]
            variance += count * (count - 1) * (2 * count + 5) / 18
    common = Growth(kind, len(lives), length, longest[0].size, longest[-1].size)
    if not slopes:
        return common
    slopes.sort()
    away = _SURE * math.sqrt(variance)
    low = max(0, math.floor((len(slopes) - away) / 2))
    high = min(len(slopes) - 1, math.ceil((len(slopes) + away) / 2))
    return Growth(
        *(kind, len(lives), length, common.first, common.last),
        *(statistics.median(slopes), slopes[low], slopes[high]),
    )


def _points(life: Sequence[Sample], step: float) -> list[tuple[float, float]]:
    """Medians of the stretches of a life, each with the middle of its time."""
    stretches: dict[int, list[Sample]] = defaultdict(list)
    for sample in life:
        stretches[int((sample.seconds - life[0].seconds) / max(step, 0.001))].append(sample)
    return [
        (
            statistics.mean(each.seconds for each in stretch),
            statistics.median(each.size for each in stretch),
        )
        for stretch in stretches.values()
    ]
