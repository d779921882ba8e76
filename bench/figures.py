"""Plain arithmetic on what was measured: middles, ratios, percentiles, growth.

Nothing here measures, and nothing here knows what the numbers mean.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def middle(values: Sequence[float]) -> float:
    """The median; not the mean, which one disturbed round would move."""
    return statistics.median(values)


def ratio(of: Sequence[float], to: Sequence[float]) -> float:
    """The median of the ratios, round by round: what disturbs a round disturbs both sides of it."""
    return statistics.median(one / other for one, other in zip(of, to, strict=True))


def percentile(values: Sequence[float], percent: float) -> float:
    """The least of the values that ``percent`` of all do not exceed (nearest rank).

    Always a value that was seen: nothing is interpolated into a tail.
    """
    if not values or not 0 < percent <= 100:
        raise ValueError(f"no {percent} % of {len(values)} values")
    # A product such as 99.9 / 100 * 1000 may lie a hair above the whole number that is meant.
    rank = math.ceil(round(percent * len(values) / 100, 9))
    return sorted(values)[max(rank, 1) - 1]


def slope(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """What one more costs: the straight line through all points that fits them best."""
    return statistics.linear_regression(sizes, costs).slope


def steepest(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """How the last step's price of one more compares with the first step's: 1 is a straight line.

    Work that is quadratic shows here as a number that grows with the range.
    """
    first = (costs[1] - costs[0]) / (sizes[1] - sizes[0])
    last = (costs[-1] - costs[-2]) / (sizes[-1] - sizes[-2])
    return last / first
