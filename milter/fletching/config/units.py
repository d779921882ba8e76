"""Parses and formats durations such as `21d` and sizes such as `5MiB`. Pure."""

from __future__ import annotations

import re

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTES = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

LONGEST = 366 * _SECONDS["d"]
LONGEST_KEPT = 3660 * _SECONDS["d"]
LARGEST = _BYTES["GiB"]


def duration(value: object, longest: int = LONGEST) -> int:
    """`90m` as seconds. A number without a unit is refused as ambiguous."""
    # Nine digits are enough for every allowed duration, and keep int() cheap for any text.
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", value) if isinstance(value, str) else None
    if not found:
        raise ValueError("must be a whole number with a unit (s, m, h or d), such as 21d or 90m")
    seconds = int(found[1]) * _SECONDS[found[2]]
    if not 1 <= seconds <= longest:
        raise ValueError(f"must be from 1s to {show_duration(longest)}")
    return seconds


def duration_or_zero(value: object) -> int:
    """A duration, or 0."""
    if value == 0 and not isinstance(value, bool):
        return 0
    try:
        return duration(value)
    except ValueError as wrong:
        raise ValueError(f"{wrong}; 0 switches it off") from None


def retention(value: object) -> int:
    """A duration of up to ten years."""
    return duration(value, LONGEST_KEPT)


def size(value: object) -> int:
    """`5MiB`, or a whole number of bytes, as bytes."""
    total = -1
    if isinstance(value, int) and not isinstance(value, bool):
        total = value
    elif isinstance(value, str) and (found := re.fullmatch(r"([0-9]{1,10})([KMG]iB)", value)):
        total = int(found[1]) * _BYTES[found[2]]
    else:
        raise ValueError(
            "must be a whole number of bytes, or one with KiB, MiB or GiB, such as 5MiB"
        )
    if not 0 <= total <= LARGEST:
        raise ValueError(f"must be from 0 to {show_size(LARGEST)}")
    return total


def show_duration(seconds: int) -> str:
    """Seconds in the largest unit that is exact."""
    return _show(seconds, _SECONDS, "0s")


def show_size(total: int) -> str:
    """Bytes in the largest unit that is exact."""
    return _show(total, _BYTES, "0")


def _show(number: int, units: dict[str, int], zero: str) -> str:
    if number == 0:
        return zero
    for unit, worth in sorted(units.items(), key=lambda item: -item[1]):
        if number % worth == 0:
            return f"{number // worth}{unit}"
    return str(number)
