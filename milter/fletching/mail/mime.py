"""The MIME parts of a mail, as offsets into its body (RFC 2045, RFC 2046).

Here lives where each part begins and ends, and what its header says about it. Nothing is decoded
here, and nothing raises: a broken part has a `Part.fault`. It is one pass over the delimiter lines
without recursion, so that ten thousand nested parts cost the same as ten thousand parts in a row.
How changed parts are put back is in `changed_parts.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from fletching.mail.message import Header, Message, content_start, header_block
from fletching.mail.parameters import parameters
from fletching.mail.transfer import IDENTITY

_PROTECTED = {
    "multipart/signed",
    "multipart/encrypted",
    "application/pkcs7-mime",
    "application/x-pkcs7-mime",
}
_LONGEST_CACHED = 300
_DESCRIBING = (b"content-type", b"content-transfer-encoding", b"content-disposition")
# In a long attachment twice as fast as `bytes.find`.
_DASHES = re.compile(rb"\r\n--")


@dataclass(frozen=True, slots=True)
class Part:
    """One entity of a mail.

    ``headers`` begin at ``head``, the content goes from ``start`` to ``end``: offsets in bytes into
    the mail's body. The headers of the ``root`` are those of the mail; its ``head`` is 0.
    ``protected_by``: the signed or encrypted type that the part has, or is part of; else empty.
    ``forwarded``: within a message/rfc822. ``container``: it consists of other parts. ``is_file``:
    it has a name, and mail programs show it as an attached file. ``fault``: what is wrong with its
    header; else empty.
    """

    headers: tuple[Header, ...]
    head: int
    start: int
    end: int
    content_type: str
    parameters: Mapping[str, str]
    encoding: str
    disposition: str
    protected_by: str
    forwarded: bool
    container: bool
    is_file: bool
    fault: str
    root: bool = False


def parts(message: Message) -> tuple[Part, ...]:
    """All parts of a mail in its order, each container before the parts that it holds."""
    return _Walk(message).run()


@dataclass(frozen=True, slots=True)
class _Description:
    """What a part's header says about it.

    ``type``: the word that Content-Type begins with, None without that field. ``has_name``: it has
    a file name. ``conflicting``: the field that is there twice with different values;
    else empty.
    """

    type: str | None
    parameters: Mapping[str, str]
    encoding: str
    disposition: str
    has_name: bool
    conflicting: str


def _describe(fields: tuple[tuple[bytes, bytes], ...]) -> _Description:
    """``fields``: the keys and values of the fields in `_DESCRIBING`."""
    by_name = {
        name: [Header(*field) for field in fields if field[0] == name] for name in _DESCRIBING
    }
    types, encodings, dispositions = by_name.values()
    content_type, about_type = parameters(types[0].value) if types else (None, {})
    disposition, about_file = parameters(dispositions[0].value) if dispositions else ("", {})
    conflicting = (
        name for name, same in by_name.items() if len({header.text for header in same}) > 1
    )
    return _Description(
        type=content_type,
        parameters=about_type,
        encoding=_encoding(encodings),
        disposition=disposition,
        has_name=bool(about_file.get("filename") or about_type.get("name")),
        conflicting=next(conflicting, b"").decode().title(),
    )


# Most parts have the same headers as many others. Nothing follows from what is cached: `_describe`
# depends on its argument only, and the entries are few and short.
_cached_description = lru_cache(maxsize=1024)(_describe)


def _description(headers: tuple[Header, ...]) -> _Description:
    fields = tuple((header.key, header.value) for header in headers if header.key in _DESCRIBING)
    is_short = sum(len(value) for _, value in fields) < _LONGEST_CACHED
    return _cached_description(fields) if is_short else _describe(fields)


class _Open:
    """A part whose end was not seen yet."""

    __slots__ = ("boundary", "container", "content_type", "described", "forwarded", "head",
                 "headers", "index", "is_file", "protected_by", "root", "start")  # fmt: skip

    def __init__(
        self, headers: tuple[Header, ...], head: int, start: int, parent: _Open | None, index: int
    ) -> None:
        self.headers = headers
        self.head = head
        self.start = start
        self.root = parent is None
        self.index = index
        self.content_type: str
        self.protected_by: str
        self.forwarded: bool
        self.described = _description(headers)
        digest = parent is not None and parent.content_type == "multipart/digest"
        content_type = self.described.type
        if content_type is None:
            content_type = "message/rfc822" if digest else "text/plain"
        # RFC 2045 section 5.2: what cannot be parsed is taken for plain text.
        self.content_type = content_type if "/" in content_type else "text/plain"
        self.is_file = self.described.has_name and not _is_shown(parent, index)
        self.protected_by = parent.protected_by if parent else ""
        if self.content_type in _PROTECTED:
            self.protected_by = self.protected_by or self.content_type
        self.forwarded = parent is not None and (
            parent.forwarded or parent.content_type == "message/rfc822"
        )
        # A delimiter line may have blanks at its end (RFC 2046 section 5.1.1).
        boundary = self.described.parameters.get("boundary", "").rstrip(" \t")
        multipart = self.content_type.startswith("multipart/") and boundary
        self.boundary = boundary.encode("latin-1") if multipart else None
        self.container = self.boundary is not None or (
            self.content_type == "message/rfc822" and self.described.encoding in IDENTITY
        )

    def part(self, end: int) -> Part:
        return Part(
            headers=self.headers,
            head=self.head,
            start=self.start,
            end=max(self.start, end),
            content_type=self.content_type,
            parameters=self.described.parameters,
            encoding=self.described.encoding,
            disposition=self.described.disposition,
            protected_by=self.protected_by,
            forwarded=self.forwarded,
            container=self.container,
            is_file=self.is_file,
            fault=_fault(self),
            root=self.root,
        )


def _is_shown(parent: _Open | None, index: int) -> bool:
    """Whether mail programs show a part with a name as text, and not as an attached file.

    They do so with the mail itself, each alternative, and the root of related parts (RFC 2387).
    """
    if parent is None or parent.content_type == "multipart/alternative":
        return True
    return parent.content_type == "multipart/related" and index == parent.index + 1


class _Walk:
    """One pass over a body. ``stack`` holds the open parts, outermost first."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.body = message.body
        self.stack: list[_Open] = []
        self.done: list[Part | None] = []
        self.depths: dict[bytes, list[int]] = {}
        """Depths in the stack of the open multiparts that have this boundary, outermost first."""

    def run(self) -> tuple[Part, ...]:
        self._enter(self.message.headers, 0, 0)
        at = self._line(0) if self.depths else -1
        while at >= 0:
            at = self._delimiter(at)
        self._leave(0, len(self.body))
        return tuple(part for part in self.done if part is not None)

    def _line(self, start: int) -> int:
        """The offset of the next line from ``start`` on that begins with ``--``; -1 without one."""
        if start == 0 and self.body.startswith(b"--"):
            return 0
        found = _DASHES.search(self.body, max(0, start - 2))
        return found.end() - 2 if found else -1

    def _delimiter(self, at: int) -> int:
        """Deal with the line at ``at`` if it is a delimiter. Returns the next line to look at."""
        end = self.body.find(b"\r\n", at)
        end = len(self.body) if end < 0 else end
        line = self.body[at:end].rstrip(b" \t")
        name, closing = line[2:], False
        if name not in self.depths and name.endswith(b"--"):
            name, closing = name[:-2], True
        if name not in self.depths:
            return self._line(end)
        depth = self.depths[name][-1]
        before = at - 2 if at >= 2 else 0
        self._leave(depth + 1, before)
        if closing:
            # The multipart ends further down, but no other delimiter of it counts.
            self._forget(depth)
            return self._line(end)
        return self._line(self._child(min(end + 2, len(self.body))))

    def _child(self, head: int) -> int:
        return self._enter(*self._header(head))

    def _header(self, head: int) -> tuple[tuple[Header, ...], int, int]:
        """The fields from ``head`` on, ``head``, and where the content begins.

        A delimiter may follow right behind a header; one with a colon in it looks like a field.
        """
        fields, end = header_block(self.body, head, before=b"--")
        headers = tuple(Header(name, value) for name, value in fields)
        return headers, head, content_start(self.body, end)

    def _enter(self, headers: tuple[Header, ...], head: int, start: int) -> int:
        """Open a part, and the message in it if it has one. Returns where the content begins."""
        while True:
            parent = self.stack[-1] if self.stack else None
            opened = _Open(headers, head, start, parent, len(self.done))
            self.done.append(None)
            self.stack.append(opened)
            if opened.boundary is not None:
                self.depths.setdefault(opened.boundary, []).append(len(self.stack) - 1)
            if not opened.container or opened.boundary is not None:
                return start
            headers, head, start = self._header(start)

    def _leave(self, depth: int, end: int) -> None:
        """End all open parts from ``depth`` on."""
        while len(self.stack) > depth:
            self._forget(len(self.stack) - 1)
            opened = self.stack.pop()
            self.done[opened.index] = opened.part(end)

    def _forget(self, depth: int) -> None:
        boundary = self.stack[depth].boundary
        depths = self.depths.get(boundary, []) if boundary is not None else []
        if boundary is not None and depths and depths[-1] == depth:
            depths.pop()
            if not depths:
                del self.depths[boundary]


def _encoding(fields: list[Header]) -> str:
    """The Content-Transfer-Encoding; empty if there are several that contradict each other.

    ``7bit``, ``8bit`` and ``binary`` do not: of these, one that allows 8-bit bytes counts.
    """
    words = [parameters(field.value)[0] for field in fields]
    if len(set(words)) > 1 and not IDENTITY.issuperset(words):
        return ""
    return next((word for word in words if word != "7bit"), "7bit")


def _fault(opened: _Open) -> str:
    if opened.described.conflicting:
        return f"conflicting {opened.described.conflicting} fields"
    if opened.content_type.startswith("multipart/") and opened.boundary is None:
        return "multipart without boundary"
    return ""
