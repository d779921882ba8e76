"""`fletching suppression import`: a file of addresses becomes entries of suppression lists.

Two forms of files: one address per line, or CSV whose header line names the columns. The form of
`fletching suppression export` is one of the latter, and so are the exports of other programs that
have a column `email`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from fletching.admin.asking import asking, store
from fletching.admin.suppression import SuppressionError, check_address, check_list
from fletching.config.model import Config
from fletching.store.suppression import (
    BY_HAND,
    REASONS,
    SOURCES,
    SuppressedAddress,
    Suppression,
)

ADDRESS_COLUMNS = ("email", "email address", "email_address", "e-mail", "address")
"""The columns that may have the address, in lower case. The first of them that is there has it."""

_DELIMITERS = ",;\t"
_BLANK_OR_QUOTE = ' \t\r\n"'
_AT_ONCE = 5000
_REASONS = {*REASONS.values(), BY_HAND}


@dataclass(frozen=True, slots=True)
class Form:
    """How to read each entry, and what it has unless its line says otherwise.

    ``listid``: None if each line has one. ``milliseconds``: the time of the import. ``obscured``:
    values of X-GreenArrow-Obscured-Email are allowed.
    """

    listid: str | None
    source: str
    milliseconds: int
    obscured: bool = False


@dataclass(frozen=True, slots=True)
class Wrong:
    """A line that is no entry. ``number``: the line, from 1."""

    number: int
    why: str


class Import:
    """Adds the entries of files, and counts entries added, those already there, invalid lines."""

    def __init__(self, config: Config, form: Form) -> None:
        self.added = self.present = self.invalid = 0
        self._suppression = Suppression(store(config))
        self._form = form
        self._waiting: list[SuppressedAddress] = []

    @asking()
    def add(self, lines: Iterable[bytes], report: Callable[[int, str], None]) -> None:
        """Adds all entries of a file, many in each round trip.

        ``report`` gets the number of each line that is no entry, and the reason. Raises
        SuppressionError if nothing says to which list an entry belongs.
        """
        for found in entries(lines, self._form):
            if isinstance(found, Wrong):
                self.invalid += 1
                report(found.number, found.why)
                continue
            self._waiting.append(found)
            if len(self._waiting) >= _AT_ONCE:
                self._flush()
        self._flush()

    def _flush(self) -> None:
        added = self._suppression.add_all(self._waiting)
        self.added += added
        self.present += len(self._waiting) - added
        self._waiting.clear()


def entries(lines: Iterable[bytes], form: Form) -> Iterator[SuppressedAddress | Wrong]:
    """The entries in a file. Raises SuppressionError if nothing says to which list they belong."""
    texts = (line.decode("utf-8", "surrogateescape") for line in lines)
    first = next(texts, "").removeprefix("\N{BYTE ORDER MARK}")
    names, delimiter = _header(first)
    if form.listid is None and "listid" not in names:
        raise SuppressionError("no list: LISTID is missing, and the file has no column listid")
    rows = _records(names, delimiter, texts) if names else _addresses(chain([first], texts))
    for number, row in rows:
        try:
            if row is None:
                raise SuppressionError("not CSV")
            yield _entry(row, form)
        except SuppressionError as error:
            yield Wrong(number, str(error))


Rows = Iterator[tuple[int, Mapping[str, str] | None]]
"""Line numbers and what the lines say, by column; None if a line cannot be parsed."""


def _header(line: str) -> tuple[Sequence[str], str]:
    """The names of the columns in lower case, and their delimiter; no names for an address."""
    for delimiter in _DELIMITERS:
        names = [name.strip(_BLANK_OR_QUOTE).lower() for name in line.split(delimiter)]
        if any(name in names for name in ADDRESS_COLUMNS):
            return names, delimiter
    return (), ""


def _addresses(texts: Iterable[str]) -> Rows:
    """Lines with an address each. Empty lines are skipped."""
    for number, line in enumerate(texts, 1):
        if address := line.strip():
            yield number, {"address": address}


def _records(names: Sequence[str], delimiter: str, texts: Iterable[str]) -> Rows:
    """The records below a header line. Empty ones are skipped."""
    reader = csv.reader(texts, delimiter=delimiter)
    while True:
        try:
            values = next(reader, None)
        except csv.Error:
            # A quoted value without an end.
            yield reader.line_num + 1, None
            continue
        if values is None:
            return
        if values:
            yield reader.line_num + 1, dict(zip(names, map(str.strip, values), strict=False))


def _entry(row: Mapping[str, str], form: Form) -> SuppressedAddress:
    """What a line says. Raises SuppressionError."""
    listid = form.listid or row.get("listid", "")
    if form.listid is None:
        check_list(listid)
    address = next((row[name] for name in ADDRESS_COLUMNS if name in row), "")
    check_address(address, form.obscured)
    reason, source = row.get("reason", ""), row.get("source", "")
    return SuppressedAddress(
        listid,
        address,
        # Other programs have words of their own, and some the text of a bounce.
        reason if reason in _REASONS else BY_HAND,
        _milliseconds(row.get("since", ""), form.milliseconds),
        source if source in SOURCES else form.source,
    )


def _milliseconds(text: str, otherwise: int) -> int:
    """Unix time of a time in RFC 3339 that is not in the future."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return otherwise
    if when.tzinfo is None:
        return otherwise
    milliseconds = round(when.timestamp() * 1000)
    return milliseconds if 0 <= milliseconds <= otherwise else otherwise
