"""Arithmetic on measurements: medians, ratios, percentiles, growth. Nothing here measures."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def middle(values: Sequence[float]) -> float:
    """The median; unlike the mean, one disturbed round does not change it."""
    return statistics.median(values)


def ratio(of: Sequence[float], to: Sequence[float]) -> float:
    """The median of each round's ratio: what disturbs a round disturbs both sides of it."""
    return statistics.median(one / other for one, other in zip(of, to, strict=True))


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that ``percent`` of all values do not exceed (nearest rank).

    Always a measured value: nothing is interpolated.
    """
    if not values or not 0 < percent <= 100:
        raise ValueError(f"no {percent} % of {len(values)} values")
    # A product such as 99.9 / 100 * 1000 may be slightly above the exact integer.
    rank = math.ceil(round(percent * len(values) / 100, 9))
    return sorted(values)[max(rank, 1) - 1]


def slope(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The cost of one more: the slope of the best-fitting straight line."""
    return statistics.linear_regression(sizes, costs).slope


def steepest(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The last step's cost of one more, divided by the first step's; 1 means linear growth.

    With quadratic work, this number grows with the range.
    """
    first = (costs[1] - costs[0]) / (sizes[1] - sizes[0])
    last = (costs[-1] - costs[-2]) / (sizes[-1] - sizes[-2])
    return last / first
