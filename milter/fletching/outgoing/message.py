"""A mail as octets: its header fields, its body, and the domain of an address (RFC 5322).

Here lives all that is known about the form of a mail (RFC 5322, RFC 2045 to 2047). What tracking,
a campaign or a signature is may not be known here. Nothing here raises for any bytes, and the work
is linear in the size.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_BARE_LF = re.compile(rb"(?<!\r)\n")
_FIELD = re.compile(rb"([!-9;-~]+[ \t]*):")
_MBOX_LINE = re.compile(rb">*From ")
# One address of a list: what stands before a route or address in angle brackets, and that.
_MAILBOX = re.compile(r"([^,;<]*)(?:<([^>]*)>?[^,;]*)?")
_DOMAIN = re.compile(r"[^\x00-\x20\"(),:;<>@\\\x7f\ufffd]+")


@dataclass(frozen=True, slots=True)
class Header:
    """One header field.

    ``name`` is as written, without colon. ``value`` is everything behind the colon: the leading
    space too, folds as CRLF and white space, no CRLF at the end. ``place`` is its place in the mail
    as received, from 0; None for a field that we made. ``key`` is the name in lower case: field
    names do not depend on case (RFC 5322 section 1.2.2).
    """

    name: bytes
    value: bytes
    place: int | None = None
    key: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Kept, since a mail is asked for its fields a hundred times.
        object.__setattr__(self, "key", self.name.rstrip(b" \t").lower())

    @property
    def text(self) -> bytes:
        """The value unfolded (RFC 5322 section 2.2.3) and without white space around it."""
        return self.value.replace(b"\r\n", b"").strip(b" \t\r\n")


@dataclass(frozen=True, slots=True)
class Message:
    """A mail: its header fields in order, and its body with CRLF line ends."""

    headers: tuple[Header, ...]
    body: bytes

    def all(self, name: bytes) -> tuple[Header, ...]:
        """The fields of that name, top down. ``name`` in lower case."""
        return tuple(header for header in self.headers if header.key == name)

    def first(self, name: bytes) -> Header | None:
        """The topmost field of that name, or None. ``name`` in lower case."""
        return next((header for header in self.headers if header.key == name), None)

    def has(self, name: bytes) -> bool:
        """Whether there is a field of that name. ``name`` in lower case."""
        return self.first(name) is not None

    def __bytes__(self) -> bytes:
        fields = b"".join(h.name + b":" + h.value + b"\r\n" for h in self.headers)
        return fields + b"\r\n" + self.body


def parse(raw: bytes) -> Message:
    """A mail from a file, as Postfix would take it: bare LF ends a line, too.

    The header ends at an empty line, or before the first line that is no header field (as in
    Postfix's cleanup), which then is the body's first. White space before a colon goes, and so does
    the line that begins each mail of an mbox file (as in Postfix's sendmail).
    """
    if raw.count(b"\n") != raw.count(b"\r\n"):
        raw = _BARE_LF.sub(b"\r\n", raw)
    start = min(_line_end(raw, 0) + 2, len(raw)) if _MBOX_LINE.match(raw) else 0
    fields, end = header_block(raw, start)
    headers = tuple(
        Header(name.rstrip(b" \t"), value, place) for place, (name, value) in enumerate(fields)
    )
    return Message(headers, raw[content_start(raw, end) :])


def header_block(
    data: bytes, start: int, before: bytes | None = None
) -> tuple[list[tuple[bytes, bytes]], int]:
    """The names and values of the fields from ``start`` on, and where the block ends.

    The end is that of the last field: an empty line stands there, the body, or nothing. A line that
    begins with ``before`` ends the block, whatever it looks like.
    """
    fields: list[tuple[bytes, bytes]] = []
    at = start
    while match := _FIELD.match(data, at):
        if before is not None and data.startswith(before, at):
            break
        end = _line_end(data, match.end())
        while data.startswith((b" ", b"\t"), end + 2):
            end = _line_end(data, end + 2)
        fields.append((match[1], data[match.end() : end]))
        at = min(end + 2, len(data))
    return fields, at


def content_start(data: bytes, end: int) -> int:
    """Where the content begins behind a block of fields that ends at ``end``."""
    return end + 2 if data.startswith(b"\r\n", end) else end


def _line_end(data: bytes, start: int) -> int:
    """Where the CRLF stands that ends the line, or the end of the data."""
    end = data.find(b"\r\n", start)
    return len(data) if end < 0 else end


def address_domain(field: bytes) -> str | None:
    """The domain of the first address in a From or Sender field, in lower case; None without one.

    Quoted strings and comments may hold anything and are passed over (RFC 5322 section 3.4). So is
    what has no domain: the first half of a name with a comma that nobody quoted.
    """
    plain = _without_quotes_and_comments(field.decode("utf-8", "replace"))
    for mailbox in _MAILBOX.finditer(plain):
        bare, in_brackets = mailbox.groups()
        address = bare if in_brackets is None else in_brackets
        domain = address.rpartition("@")[2].strip().rstrip(".") if "@" in address else ""
        if _DOMAIN.fullmatch(domain):
            return domain.lower()
    return None


def _without_quotes_and_comments(text: str) -> str:
    kept: list[str] = []
    depth = 0
    quoted = escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif character == "\\" and (quoted or depth):
            escaped = True
        elif quoted:
            quoted = character != '"'
        elif character == '"' and not depth:
            quoted = True
        elif character == "(":
            depth += 1
        elif character == ")" and depth:
            depth -= 1
        elif not depth:
            kept.append(character)
    return "".join(kept)
