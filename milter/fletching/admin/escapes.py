"""Escapes text from outside for a terminal. Pure."""

from __future__ import annotations


def printable(text: str, encoding: str) -> str:
    """A text with control characters, and characters that the encoding lacks, as Python escapes."""
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return encodable(escaped, encoding)


def encodable(text: str, encoding: str) -> str:
    """A text with only the characters that the encoding lacks as escapes."""
    return text.encode(encoding, "backslashreplace").decode(encoding)
