"""Validates what a control may be set to, where no option has the same values.

As in `values.py`, each function returns the value, or raises ValueError with the rule, never with
the value. `policy/grammar.py` checks what a mail asks for by them, `rules.py` what a rule sets.
Pure.
"""

from __future__ import annotations

import re

LONGEST_URI = 998 - len("List-Unsubscribe: <>,")
"""Bytes of a URI that fits on one line: Postfix breaks longer lines, and a URI with them."""


def switch(value: str) -> bool:
    """`yes`, `no`, `1` or `0`."""
    known = {"yes": True, "1": True, "no": False, "0": False}
    if value.lower() not in known:
        raise ValueError("must be yes, no, 1 or 0")
    return known[value.lower()]


def instance_id(value: str) -> str:
    """An InstanceID."""
    if not "0" <= value[:1] <= "9":
        raise ValueError("must start with a digit")
    if not re.fullmatch(r"[0-9A-Za-z]{1,20}", value):
        raise ValueError("must be at most 20 ASCII letters and digits")
    return value


def click_tracking_id(value: str) -> str:
    """A Click-Tracking-ID."""
    if not re.fullmatch(r"[ -~]{0,300}", value):
        raise ValueError("must be at most 300 printable ASCII characters")
    return value


def tracker_format(value: str) -> str:
    """The form of tracking URLs, in lower case."""
    if value.lower() not in ("a", "b", "c"):
        raise ValueError("must be a, b or c")
    return value.lower()


def unsubscribe_url(value: str) -> str:
    """The URL of List-Unsubscribe."""
    if not re.fullmatch(r"(?i:https?)://[\w.\[%-][!-+\--;=?-~]*", value):
        raise ValueError(
            "must be an http or https URL without spaces, control characters, <, > and commas"
        )
    if len(value) > LONGEST_URI:
        raise ValueError(f"must be at most {LONGEST_URI} characters long")
    return value
