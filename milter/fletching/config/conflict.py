"""A conflict between options, and the hint for a name that is defined nowhere.

Which options conflict is in `consistency.py`. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Conflict:
    """Options that do not fit together.

    ``requires``: options that would resolve it. If one of them was given but is invalid, the
    conflict is only a consequence.
    """

    path: Place
    rule: str
    requires: tuple[Place, ...] = ()


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: the most similar known name, else all known names."""
    lower = {each.lower(): each for each in known}
    # The search is slow for long words, and all our names are short.
    close = get_close_matches(name[:200].lower(), lower, n=1)
    if close:
        return f"did you mean {lower[close[0]]}?"
    if not lower:
        return "none is defined"
    shown = sorted(lower.values())
    are = "must be " if len(shown) == 1 else "must be one of "
    return are + ", ".join(shown[:40]) + (", ..." if len(shown) > 40 else "")


def unknown(path: Place, name: str, kind: str, section: str, known: Iterable[str]) -> Conflict:
    """A name that is defined nowhere."""
    hint = nearest(name, known)
    return Conflict(path, f"unknown {kind} {name}: {hint}", ((section, name),))
