"""The order in which several test processes get the tests: what takes long begins first.

xdist gives each process the same number of tests, one behind the other, and a process without work
takes from the end of what another has left. A file that takes minutes must not be among the last.
Here lives how files are dealt to the processes; nothing here knows a test.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")


def dealt(
    long: Iterable[tuple[Hashable, Item]], short: Iterable[Item], processes: int
) -> list[Item]:
    """All items; those of ``long`` are dealt by group, the longest first, and begin each share.

    ``long``: items with their groups. Groups stay together and are in order of time; items of a
    group stay in theirs, and so do those of ``short``, which fill the shares.
    """
    groups: dict[Hashable, list[Item]] = {}
    for group, item in long:
        groups.setdefault(group, []).append(item)
    shares: list[list[Item]] = [[] for _ in range(processes)]
    for place, items in enumerate(groups.values()):
        turn, column = divmod(place, processes)
        # There and back: who gets the longest of a turn gets the shortest of the next.
        shares[column if turn % 2 == 0 else processes - 1 - column] += items
    return _filled(shares, list(short))


def _filled(shares: Sequence[list[Item]], short: list[Item]) -> list[Item]:
    left, rest = sum(map(len, shares)) + len(short), iter(short)
    found: list[Item] = []
    for place, share in enumerate(shares):
        size = max(left // (len(shares) - place), len(share))
        filled = [*share, *islice(rest, size - len(share))]
        left -= len(filled)
        found += filled
    return [*found, *rest]
