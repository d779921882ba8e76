"""Which modules use the time, by Python's profiler. Nothing else is measured here.

A profiler makes small calls expensive, so the result is shares, not times.
"""

from __future__ import annotations

import cProfile
import os
import pstats
from collections import defaultdict
from collections.abc import Callable


def shares(way: Callable[[], object], repeats: int) -> dict[str, float]:
    """Percent of the time by module, largest first. Library calls count for the calling module.

    Only this thread is profiled. Time outside of Fletching's modules is left out.
    """
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(repeats):
        way()
    profile.disable()
    spent: dict[str, float] = defaultdict(float)
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined] # not in the stubs
    for (file, _, _), (_, _, own, _, callers) in stats.items():
        if module(file):
            spent[module(file)] += own
            continue
        for (caller, _, _), (_, _, within, _) in callers.items():
            if module(caller):
                spent[module(caller)] += within
    total = sum(spent.values())
    ordered = sorted(spent.items(), key=lambda item: -item[1])
    return {name: 100 * seconds / total for name, seconds in ordered}


def module(file: str) -> str:
    """The module of a file, such as ``mail/dkim``; "" for a file that is not Fletching's."""
    mark = f"{os.sep}fletching{os.sep}"
    return file.rpartition(mark)[2].removesuffix(".py") if mark in file else ""
