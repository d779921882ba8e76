"""A mail in bytes: its header fields, its body, and the addresses in a field (RFC 5322).

Here lives the syntax of a mail. What tracking, a campaign or a signature is may not be known here.
Nothing raises for any bytes, and the work is linear in the size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_BARE_LF = re.compile(rb"(?<!\r)\n")
_FIELD = re.compile(rb"([!-9;-~]+[ \t]*):")
_MBOX_LINE = re.compile(rb">*From ")
_LOCAL = re.compile(r'(?:"[^"\\]*(?:\\.[^"\\]*)*"|[^"(),:;<>\\])+', re.DOTALL)
_DOMAIN = re.compile(r"[^\x00-\x20\"(),:;<>@\\\x7f\ud800-\udfff\ufffd]+")


@dataclass(frozen=True, slots=True)
class Header:
    """One header field.

    ``name``: as written, without the colon. ``value``: everything behind the colon, with the
    leading space, folds as CRLF and white space, and no CRLF at the end. ``position``: counted
    from 0 in the mail as received; None for a field that we add. ``key``: the name in lower case,
    since field names ignore case (RFC 5322 section 1.2.2).
    """

    name: bytes
    value: bytes
    position: int | None = None
    key: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Computed once, since the fields of a mail are searched a hundred times.
        object.__setattr__(self, "key", self.name.rstrip(b" \t").lower())

    @property
    def text(self) -> bytes:
        """The value unfolded (RFC 5322 section 2.2.3), without white space at its ends."""
        return self.value.replace(b"\r\n", b"").strip(b" \t\r\n")


@dataclass(frozen=True, slots=True)
class Message:
    """A mail: its header fields in order, and its body with CRLF line ends."""

    headers: tuple[Header, ...]
    body: bytes

    def all(self, name: bytes) -> tuple[Header, ...]:
        """The fields of that name, from the top down. ``name`` in lower case."""
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
    """A mail from a file, as Postfix would parse it: a bare LF ends a line, too.

    The header ends at an empty line, or before the first line that is no header field (as in
    Postfix's cleanup), which is the first line of the body then. White space before a colon is
    removed, and so is the ``From`` line before a mail in an mbox file (as in Postfix's sendmail).
    """
    if raw.count(b"\n") != raw.count(b"\r\n"):
        raw = _BARE_LF.sub(b"\r\n", raw)
    start = min(_line_end(raw, 0) + 2, len(raw)) if _MBOX_LINE.match(raw) else 0
    fields, end = header_block(raw, start)
    headers = tuple(
        Header(name.rstrip(b" \t"), value, position)
        for position, (name, value) in enumerate(fields)
    )
    return Message(headers, raw[content_start(raw, end) :])


def header_block(
    data: bytes, start: int, before: bytes | None = None
) -> tuple[list[tuple[bytes, bytes]], int]:
    """The names and values of the fields from ``start`` on, and where the block ends.

    The block ends with the last field, before an empty line, the body, or the end of the data. A
    line that begins with ``before`` ends the block, even if it looks like a field.
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
    """The offset of the CRLF that ends the line, or of the end of the data."""
    end = data.find(b"\r\n", start)
    return len(data) if end < 0 else end


def addresses(field: bytes) -> list[str]:
    """The addresses in a field such as From or To, without display names, groups and routes.

    A quoted local part keeps its quotes; comments are skipped (RFC 5322 section 3.4). So is an
    address without a domain, as the first half of a name with an unquoted comma, and one with an
    unquoted special character before the @. Bytes that are not UTF-8 become surrogate escapes.
    """
    found = []
    for mailbox in _mailboxes(field):
        local, _, domain = mailbox.rpartition("@")
        domain = domain.rstrip(".")
        if _LOCAL.fullmatch(local) and _DOMAIN.fullmatch(domain):
            found.append(f"{local}@{domain}")
    return found


def address_domain(field: bytes) -> str | None:
    """The domain of the first address in a From or Sender field, in lower case; None without one.

    The local part may be anything.
    """
    for mailbox in _mailboxes(field):
        _, at, domain = mailbox.rpartition("@")
        domain = domain.rstrip(".")
        if at and _DOMAIN.fullmatch(domain):
            return domain.lower()
    return None


def _mailboxes(field: bytes) -> Iterator[str]:
    """The candidates for addresses: what is in angle brackets, or last before a comma or the end.

    In one pass and without recursion: comments may be nested to any depth.
    """
    word: list[str] = []
    after_blank = in_brackets = passed = False
    for piece in _pieces(field.decode("utf-8", "surrogateescape")):
        if in_brackets and piece == ">":
            yield "".join(word)
            word, in_brackets, passed = [], False, True
        elif not in_brackets and piece in (",", ";"):
            yield "".join(word)
            word, passed = [], False
        elif passed:
            # Text behind an address in brackets.
            continue
        elif piece == "<":
            word, in_brackets = [], True
        elif piece == ":":
            # The name of a group, or a route.
            word = []
        elif piece.isspace():
            after_blank = True
            continue
        else:
            if after_blank and piece not in ".@" and word and word[-1] not in (".", "@"):
                word = []
            word.append(piece)
        after_blank = False
    yield "".join(word)


def _pieces(text: str) -> Iterator[str]:
    """Characters and whole quoted strings, without comments. What is never closed is skipped."""
    quoted: list[str] = []
    depth = 0
    escaped = False
    for character in text:
        if quoted:
            quoted.append(character)
            if character == '"' and not escaped:
                yield "".join(quoted)
                quoted = []
            escaped = character == "\\" and not escaped
        elif escaped:
            escaped = False
        elif depth:
            escaped = character == "\\"
            depth += (character == "(") - (character == ")")
        elif character == '"':
            quoted = [character]
        elif character == "(":
            depth = 1
        else:
            yield character
