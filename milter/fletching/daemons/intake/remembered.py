"""Which ids were recorded, in little memory: 8 bytes each.

The newest ones are in a dictionary. When it is full, they become a sorted array, in which a
bisection finds them. An id is kept as a digest of 64 bits: with half a million of them, one of 37
million million new ids is taken for a known one.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable

_TOGETHER = 4096
"""Ids in an array. With half a million ids there are 122 arrays to look into."""


class Remembered:
    """The ids that were added last; at least ``most`` of them, if there were as many."""

    def __init__(self, names: Iterable[str], most: int, together: int = _TOGETHER) -> None:
        self._most, self._together = most, together
        self._newest: set[int] = set()
        self._older: deque[array[int]] = deque()
        self.add(names)

    def __contains__(self, name: str) -> bool:
        number = _number(name)
        return number in self._newest or any(_has(each, number) for each in self._older)

    def __len__(self) -> int:
        return len(self._newest) + sum(map(len, self._older))

    def add(self, names: Iterable[str]) -> None:
        """Adds ids, and forgets the oldest ones if there are too many."""
        for name in names:
            self._newest.add(_number(name))
            if len(self._newest) == self._together:
                self._older.append(array("Q", sorted(self._newest)))
                self._newest.clear()
        while self._older and len(self) - len(self._older[0]) >= self._most:
            self._older.popleft()

    def clear(self) -> None:
        """Forgets all."""
        self._newest.clear()
        self._older.clear()


def _number(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")


def _has(numbers: array[int], number: int) -> bool:
    at = bisect_left(numbers, number)
    return at < len(numbers) and numbers[at] == number
