"""A table of recipients: the addresses and domains in a file of `recipient_in`.

Here is what a line may contain, and how a million of them are kept in little memory. Who reads the
file passes its lines.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from fletching.config import values
from fletching.domains import a_labels

MOST = 1_000_000
"""Lines of a file."""

_DIGEST_BYTES = 8


class TableError(Exception):
    """A file is not a list of addresses and domains. The message says what is wrong."""


@dataclass(frozen=True, slots=True)
class RecipientTable:
    """``digests``: those of all entries, sorted; 8 bytes an entry, whatever its length."""

    digests: array[int]

    def __contains__(self, wanted: int) -> bool:
        """Whether the address or domain with that digest is an entry."""
        at = bisect_left(self.digests, wanted)
        return at < len(self.digests) and self.digests[at] == wanted


def table(lines: Iterable[bytes]) -> RecipientTable:
    """The table of a file's lines. Blank lines and those that begin with `#` are skipped.

    Raises TableError.
    """
    digests = array("Q")
    for number, line in enumerate(lines, 1):
        if number > MOST:
            raise TableError(f"has more than {MOST} lines")
        entry = line.strip()
        if entry and not entry.startswith(b"#"):
            digests.append(digest(_entry(number, entry)))
    return RecipientTable(array("Q", sorted(digests)))


def _entry(number: int, entry: bytes) -> str:
    """An entry as recipients are looked up: in lower case, and its domain as A-labels."""
    try:
        text = entry.decode("utf-8")
        local, at, domain = text.rpartition("@")
        if len(text) > 320 or not text.isprintable() or " " in text or (at and not local):
            raise ValueError
        domain = domain if domain.isascii() else a_labels(domain)
        values.host(domain)
    except ValueError:
        raise TableError(f"line {number}: must be a mail address or a domain") from None
    return (local + at + domain).lower()


def digest(entry: str) -> int:
    """The digest of an address or a domain, in lower case."""
    octets = entry.encode("utf-8", "surrogateescape")
    return int.from_bytes(blake2b(octets, digest_size=_DIGEST_BYTES).digest(), "big")
