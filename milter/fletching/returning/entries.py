"""How the tables of words are written: each entry is a few words of a server, and their meaning.

The words are matched without case, punctuation and repeated blanks. They begin where a word of the
text begins; ``*`` before them: anywhere, for parts of URLs and codes. `` .. `` stands for any text
in between, ``$`` for the end. A text begins with reply code and enhanced status code, so an entry
may name them, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain

from fletching.returning.returned import Reason

MANY = "many"
"""The source of words that many mail servers use."""

_SPACING = str.maketrans(dict.fromkeys('()<>[]{}|"`^~\\:;,!?*-', " "))
_APOSTROPHES = str.maketrans(dict.fromkeys("'\u2018\u2019\u00b4"))
_WORD = re.compile(r"[^\s<>()\[\],;:\"']+")
_LONE_COLON = re.compile(r"(?<= ):(?= )")
_GAP = ".."
_BEGINNING = 2
_BEGINNINGS = re.compile(rf"(?<= )(?=(.{{{_BEGINNING}}}))")


@dataclass(frozen=True, slots=True)
class Entry:
    """Words that decide. ``parts``: what must follow each other in a text, plain as by `plain`.

    ``source``: the provider or the mail server that says so; several if they are many.
    """

    words: str
    parts: tuple[str, ...]
    reason: Reason
    source: str

    def matches(self, text: str) -> bool:
        """Whether a text, plain and between blanks, has the parts in their order."""
        at = 0
        for part in self.parts:
            at = text.find(part, at)
            if at < 0:
                return False
            at += len(part)
        return True


class Table:
    """Entries in order; the first one that matches decides.

    An entry can match only a text with a word that begins as the entry does. So most entries need
    not be looked at.
    """

    def __init__(self, in_order: tuple[Entry, ...]) -> None:
        self.entries = in_order
        self._beginning: dict[str, list[int]] = {}
        for number, entry in enumerate(in_order):
            self._beginning.setdefault(_beginning(entry), []).append(number)

    def first(self, text: str) -> Entry | None:
        """The first entry that matches a text, plain and between blanks."""
        begins = {"", *_BEGINNINGS.findall(text)}
        numbers = (self._beginning.get(begin, ()) for begin in begins)
        for number in sorted(chain.from_iterable(numbers)):
            if self.entries[number].matches(text):
                return self.entries[number]
        return None


def entries(reason: Reason, source: str, lines: str) -> tuple[Entry, ...]:
    """The entries of a reason, with ``|`` between them."""
    words = (" ".join(each.split()) for each in lines.split("|"))
    return tuple(Entry(each, tuple(_parts(each)), reason, source) for each in words)


def plain(text: str) -> str:
    """Words in lower case with one blank between them; ``@`` for an address, which says nothing."""
    text = _WORD.sub(lambda word: "@" if "@" in word[0] else word[0], text)
    # As in `550 : user unknown`, where an address is missing.
    text = _LONE_COLON.sub("colon", text)
    text = text.lower().translate(_APOSTROPHES).translate(_SPACING)
    return " ".join(text.split()).replace(". ", " ").rstrip(".")


def _parts(line: str) -> list[str]:
    found = []
    for part in line.split(f" {_GAP} "):
        free = part.startswith("*")
        found.append(plain(part) if free else f" {plain(part)}")
    return found


def _beginning(entry: Entry) -> str:
    """The first characters of its first word; empty if it may begin anywhere."""
    first = entry.parts[0]
    return first[1 : 1 + _BEGINNING] if first.startswith(" ") else ""
