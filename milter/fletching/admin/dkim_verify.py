"""Verifies our DKIM signatures with dkimpy, an independent implementation. Pure.

Messages that dkimpy would take too long for are not verified: its regular expression for trailing
white space is quadratic in a run of spaces that does not end a line (`dkim/canonicalization.py`).
"""

from __future__ import annotations

import re

import dkim

NOT_TRIED = "not verified: too long, or too much white space, for dkimpy"

_MOST_OCTETS = 32 << 20
_MOST_STEPS = 20_000_000
"""Steps of dkimpy's expression: well under a second."""

_BLANKS = re.compile(rb"[ \t]{2,}")


def objection(message: bytes, index: int, record: bytes) -> str:
    """Why a signature does not verify; empty if it does.

    ``index``: which signature, counted from the top. ``record``: the TXT record of its key.
    Returns `NOT_TRIED` if dkimpy would take too long.
    """
    if len(message) > _MOST_OCTETS or _steps(message) > _MOST_STEPS:
        return NOT_TRIED
    # In transit a message always ends with a line end.
    content = message if message.endswith(b"\r\n") else message + b"\r\n"
    try:
        verified = dkim.DKIM(content).verify(index, dnsfunc=lambda name, timeout=5: record)
    except (dkim.DKIMException, ValueError, LookupError) as error:
        return f"{type(error).__name__}: {error}"
    return "" if verified else "the signature does not verify with this key"


def _steps(message: bytes) -> int:
    return sum(len(run) ** 2 // 2 for run in _BLANKS.findall(message))
