"""Logical lines of main.cf and master.cf, and edits of the lists in them.

postconf(5), master(5): a line that begins with white space continues the line before; lines that
are blank or begin with # are skipped, even between a line and its continuation.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

BLANK = " \t\r\v\f"
"""White space within a line. Not str.isspace(): that has characters which Postfix does not know."""

Place = Callable[[Sequence[str]], int]
"""From the words of a list: before which of them a new one goes; their number: after the last."""


@dataclass(frozen=True, slots=True)
class Logical:
    """A logical line of a file. ``start``, ``end``: its offsets there, with the last newline.

    ``text``: without newlines and comments. ``pieces``: where each of its physical lines begins in
    ``text`` and in the file.
    """

    start: int
    end: int
    text: str
    pieces: tuple[tuple[int, int], ...]

    def at(self, index: int) -> int:
        """The offset in the file of a character of ``text``."""
        begin, offset = self.pieces[self.line(index)]
        return offset + index - begin

    def line(self, index: int) -> int:
        """The number of the physical line of a character."""
        return bisect_right(self.pieces, index, key=lambda piece: piece[0]) - 1


@dataclass(frozen=True, slots=True)
class Edit:
    """Replaces what lies between two offsets of a file."""

    start: int
    end: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a list, and its offsets in the text of its logical line."""

    text: str
    start: int
    end: int


def edited(text: str, edits: Iterable[Edit]) -> str:
    """The text after all edits, which do not overlap."""
    for edit in sorted(edits, key=lambda each: (each.start, each.end), reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def physical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Each line with its offset, without its newline."""
    offset = 0
    for line in text.split("\n"):
        if offset < len(text):
            yield offset, line
        offset += len(line) + 1


def newline_of(text: str) -> str:
    """What ends the lines of a text."""
    return "\r\n" if text.count("\r\n") == text.count("\n") > 0 else "\n"


def is_comment(line: str) -> bool:
    """Whether Postfix skips the line."""
    return line.strip(BLANK).partition("#")[0] == ""


def logical_lines(text: str) -> list[Logical]:
    found: list[list[tuple[int, str]]] = []
    for offset, line in physical_lines(text):
        if is_comment(line):
            continue
        if line[0] in BLANK and found:
            found[-1].append((offset, line))
        else:
            found.append([(offset, line)])
    return [_joined(lines, len(text)) for lines in found]


def _joined(lines: Sequence[tuple[int, str]], length: int) -> Logical:
    pieces, size = [], 0
    for offset, line in lines:
        pieces.append((size, offset))
        size += len(line)
    last, line = lines[-1]
    return Logical(
        lines[0][0],
        min(last + len(line) + 1, length),
        "".join(line for _, line in lines),
        tuple(pieces),
    )


def words(text: str, start: int, end: int, separators: str = f",{BLANK}") -> tuple[Word, ...]:
    """The words between two offsets of a text; what is in braces is one word."""
    found, depth, begin = [], 0, None
    for index in range(start, end):
        character = text[index]
        depth += (character == "{") - (character == "}")
        if depth <= 0 and character in separators:
            if begin is not None:
                found.append(Word(text[begin:index], begin, index))
            begin = None
        elif begin is None:
            begin = index
    if begin is not None:
        found.append(Word(text[begin:end], begin, end))
    return tuple(found)


def adds(
    line: Logical, start: int, end: int, new: str, place: Place, separator: str = ", "
) -> Edit:
    """The edit that adds a word to the list between two offsets of a logical line."""
    found = words(line.text, start, end)
    index = place([each.text for each in found])
    if not found:
        offset = line.at(start - 1) + 1
        return Edit(offset, offset, f"{separator.strip(',')}{new}")
    if index < len(found):
        offset = line.at(found[index].start)
        return Edit(offset, offset, f"{new}{separator}")
    offset = line.at(found[-1].end - 1) + 1
    return Edit(offset, offset, f"{separator}{new}")


def takes_out(line: Logical, start: int, end: int, pattern: re.Pattern[str]) -> Edit | None:
    """The edit that removes the first word that matches, with one separator beside it."""
    found = words(line.text, start, end)
    for index, word in enumerate(found):
        if pattern.fullmatch(word.text):
            before = found[index - 1] if index else None
            after = found[index + 1] if index + 1 < len(found) else None
            return _removal(line, start, end, word, before, after)
    return None


def _removal(
    line: Logical, start: int, end: int, word: Word, before: Word | None, after: Word | None
) -> Edit:
    row = line.line(word.start)
    begin, offset = line.pieces[row]
    first, last = word.start, word.end
    if before is not None and line.line(before.end - 1) == row:
        first = before.end
    elif after is not None and line.line(after.start) == row:
        last = after.start
    elif start <= begin and row:
        # Nothing else is on this physical line: it goes, with the newline before it.
        size = (line.pieces[row + 1][0] if row + 1 < len(line.pieces) else len(line.text)) - begin
        return Edit(offset - 1, offset + size)
    else:
        while first > start and line.text[first - 1] in BLANK:
            first -= 1
        if after is not None and line.text[last] == ",":
            last += 1
    return Edit(line.at(first), line.at(last - 1) + 1)
