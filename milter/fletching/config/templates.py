"""Templates: values with placeholders such as `{header.X-Job}`, which each mail fills in.

Here is what a template may contain, for the configuration; `policy/substitution.py` fills it in.
Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

NAMES = frozenset(("sender", "sender_domain", "recipient", "recipient_domain", "login"))
"""Placeholders of every template, beside `header.NAME`."""

CLASS_NAMES = NAMES | {
    "mail_class",
    "list_id",
    "instance_id",
    "sendid",
    "campaign",
    "message_number",
    "virtual_mta",
}
"""Placeholders of the header fields that are added to classified mail."""

HEADER = "header."

LONGEST = 1000
"""Characters of a template."""

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")
_FIELD = re.compile(r"[!-9;-z|~]{1,100}")


@lru_cache(maxsize=4096)  # Pure, and templates come from the configuration.
def pieces(template: str) -> tuple[tuple[str, bool], ...]:
    """The pieces of a template: text, or the name of a placeholder (then True), in order.

    `{{` and `}}` stand for single braces. Raises ValueError for a brace that stands alone.
    """
    found = []
    for match in _PIECE.finditer(template):
        text = match[0]
        if text in ("{", "}"):
            raise ValueError("must have { and } in pairs; {{ and }} stand for single braces")
        found.append((match[1], True) if match[1] is not None else (_plain(text), False))
    return tuple(found)


def placeholders(template: str) -> tuple[str, ...]:
    """The names of the placeholders, as they are written. Raises ValueError as `pieces` does."""
    return tuple(name for name, is_name in pieces(template) if is_name)


def check(template: str, known: Collection[str] = NAMES) -> str:
    """The template. Raises ValueError if it has a placeholder that is neither known nor
    `header.NAME`, is too long, or has characters that no header field can have.
    """
    if len(template) > LONGEST:
        raise ValueError(f"must be at most {LONGEST} characters long")
    if not template.isprintable():
        raise ValueError("must not contain line ends or control characters")
    for name in placeholders(template):
        if name in known or (name.startswith(HEADER) and _FIELD.fullmatch(name[len(HEADER) :])):
            continue
        shown = ", ".join(f"{{{each}}}" for each in sorted(known))
        raise ValueError(f"unknown placeholder: must be one of {{header.NAME}}, {shown}")
    return template


def _plain(text: str) -> str:
    return text[0] if text in ("{{", "}}") else text
