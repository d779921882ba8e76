"""Which room of the house takes the time, by Python's profiler. Nothing else is measured here.

A profiler makes small calls dear, so only shares are told and no times.
"""

from __future__ import annotations

import cProfile
import os
import pstats
from collections import defaultdict
from collections.abc import Callable


def shares(way: Callable[[], object], repeats: int) -> dict[str, float]:
    """Percent of the time by room, the largest first; what a room calls outside of ours is its own.

    Only what runs in this thread is seen. The rest, which no room of ours calls, is left out.
    """
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(repeats):
        way()
    profile.disable()
    spent: dict[str, float] = defaultdict(float)
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined] # not in the stubs
    for (file, _, _), (_, _, own, _, callers) in stats.items():
        if room(file):
            spent[room(file)] += own
            continue
        for (caller, _, _), (_, _, within, _) in callers.items():
            if room(caller):
                spent[room(caller)] += within
    total = sum(spent.values())
    ordered = sorted(spent.items(), key=lambda item: -item[1])
    return {name: 100 * seconds / total for name, seconds in ordered}


def room(file: str) -> str:
    """The room that a file is, such as ``outgoing/sign``; "" for a file that is not ours."""
    mark = f"{os.sep}fletching{os.sep}"
    return file.rpartition(mark)[2].removesuffix(".py") if mark in file else ""
