"""Texts that came with mail, made harmless for a terminal. Pure."""

from __future__ import annotations


def printable(text: str, encoding: str) -> str:
    """A text without anything that steers a terminal, or that the encoding has no octets for.

    What is taken out stands there as an escape, as Python writes it.
    """
    steers_nothing = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )
    return encodable(steers_nothing, encoding)


def encodable(text: str, encoding: str) -> str:
    """A text in which only what the encoding has no octets for is an escape."""
    return text.encode(encoding, "backslashreplace").decode(encoding)
