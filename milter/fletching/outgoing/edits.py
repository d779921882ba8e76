"""Edits: what has to be asked of Postfix so that one mail becomes another.

Here lives how two mails become a list of edits, and how edits make a mail again. An edit is a
value; who applies it is the milter daemon, and nobody else. The order is the one that is safe in
Postfix: deletions from the highest index down, changes, additions, signatures on top, the sender,
and the body in one run (requests between two pieces of a body end the replacement).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from fletching.mail.message import Header, Message
from fletching.policy.control import ROUTE_HEADER


@dataclass(frozen=True, slots=True)
class AddHeader:
    """A field at the end of the header. Values are as in `Header.value`."""

    name: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class InsertHeader:
    """A field above all that a milter sees: below Postfix's own Received."""

    name: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class ChangeHeader:
    """``index`` counts the fields of that name from 1, as they stand when it is their turn."""

    name: bytes
    index: int
    value: bytes


@dataclass(frozen=True, slots=True)
class DeleteHeader:
    """``index`` as in `ChangeHeader`."""

    name: bytes
    index: int


@dataclass(frozen=True, slots=True)
class ChangeSender:
    """The envelope sender, without angle brackets; empty for the null sender."""

    address: str


@dataclass(frozen=True, slots=True)
class ReplaceBody:
    """The whole body, with CRLF line ends."""

    body: bytes


MOST_WORK = 5_000_000
"""Edits of the header times lines of the header in a mail that Postfix is asked for: to find a
field, cleanup(8) reads all lines before it, each time from the start. So many take it about 0.2 s
of CPU, measured with Postfix 3.7 on the machine of docs/performance.md (docs/limits.md)."""

MOST_CHANGES = 100
"""Fields changed in one mail. A changed field stands at the end of the queue file, and the search
for the next one jumps there and back: cleanup(8) gives up where it has jumped 10,000 times ("too
many reverse jump records"), seen from 142 changes on."""

MOST_OCTETS = 10**9
"""Edits times octets of the header: those are read, too, a gigabyte in about 0.3 s of CPU."""

Edit = AddHeader | InsertHeader | ChangeHeader | DeleteHeader | ChangeSender | ReplaceBody


def between(mail: Message, final: Message) -> tuple[Edit, ...]:
    """The edits that make ``final`` of ``mail``, all of whose fields have a place.

    A field of ``final`` with a place is one of ``mail``, perhaps with another value; they stand in
    the order they had. Fields without a place stand before the first or behind the last of those.
    Raises `ValueError` where that is not so: no edits of ours could make such a mail.
    """
    kept = _kept(mail, final)
    above, below = _made(final)
    edits: list[Edit] = [
        *_deletions(mail, kept),
        *_changes(mail, kept),
        *(AddHeader(header.name, header.value) for header in below),
        *(InsertHeader(header.name, header.value) for header in reversed(above)),
    ]
    if final.body != mail.body:
        edits.append(ReplaceBody(final.body))
    return tuple(edits)


def for_postfix(
    mail: Message, final: Message, sender: str | None, transport: str | None
) -> tuple[Edit, ...]:
    """All that Postfix has to do so that ``mail`` becomes ``final``, in a safe order.

    ``sender``: the new envelope sender, None if it stays. ``transport``: where the route header
    leads, None for no route.
    """
    found = between(mail, final)
    if sender is not None:
        found = from_sender(sender, found)
    if transport is not None:
        found = routed(ROUTE_HEADER, transport, found)
    return found


def routed(name: bytes, transport: str, edits: Iterable[Edit]) -> tuple[Edit, ...]:
    """The edits with the route before them: a field that Postfix reads as it is added, and that is
    gone again with the next edit (docs/routing.md).

    Those that a client sent are deleted first, so that the added one is the first of its name.
    """
    forged: list[Edit] = []
    others: list[Edit] = []
    for edit in edits:
        is_forged = isinstance(edit, DeleteHeader) and edit.name.lower() == name.lower()
        (forged if is_forged else others).append(edit)
    route = (AddHeader(name, b" " + transport.encode("ascii")), DeleteHeader(name, 1))
    return (*forged, *route, *others)


def from_sender(address: str, edits: Iterable[Edit]) -> tuple[Edit, ...]:
    """The edits with a new envelope sender, before the body."""
    edits = tuple(edits)
    body = tuple(edit for edit in edits if isinstance(edit, ReplaceBody))
    return (*edits[: len(edits) - len(body)], ChangeSender(address), *body)


def are_too_much(mail: Message, edits: Collection[Edit]) -> bool:
    """Whether the edits would be more work for Postfix than one mail may be."""
    octets = sum(len(header.name) + len(header.value) for header in mail.headers)
    if len(edits) <= MOST_CHANGES and len(edits) * octets <= MOST_WORK:
        # Nearly every mail: a header has no more lines than octets.
        return False
    of_header = [each for each in edits if not isinstance(each, ChangeSender | ReplaceBody)]
    lines = sum(1 + header.value.count(b"\n") for header in mail.headers)
    if len(of_header) * lines > MOST_WORK:
        return True
    if sum(isinstance(each, ChangeHeader) for each in of_header) > MOST_CHANGES:
        return True
    return len(of_header) * octets > MOST_OCTETS


def replay(mail: Message, edits: Iterable[Edit]) -> Message:
    """The mail after the edits, done as Postfix does them. A sender is not part of a mail."""
    headers = list(mail.headers)
    body = mail.body
    for edit in edits:
        match edit:
            case AddHeader():
                headers.append(Header(edit.name, edit.value))
            case InsertHeader():
                headers.insert(0, Header(edit.name, edit.value))
            case ChangeHeader() | DeleteHeader():
                place = _place(headers, edit.name, edit.index)
                if isinstance(edit, DeleteHeader):
                    del headers[place]
                else:
                    old = headers[place]
                    headers[place] = Header(old.name, edit.value, old.place)
            case ReplaceBody():
                body = edit.body
    return Message(tuple(headers), body)


def _kept(mail: Message, final: Message) -> Mapping[int, Header]:
    """The fields of ``mail`` that are in ``final``, by their places."""
    names = {header.place: header.name for header in mail.headers}
    kept: dict[int, Header] = {}
    last = -1
    for header in final.headers:
        if header.place is None:
            continue
        if header.place <= last or names.get(header.place) != header.name:
            raise ValueError("a header field of the mail has changed its name or its place")
        kept[header.place] = header
        last = header.place
    return kept


def _made(final: Message) -> tuple[list[Header], list[Header]]:
    """The fields without a place: those above the mail's own, and those below."""
    places = [at for at, header in enumerate(final.headers) if header.place is not None]
    if not places:
        return list(final.headers), []
    first, last = places[0], places[-1]
    if len(places) <= last - first:
        raise ValueError("a made header field stands among those of the mail")
    return list(final.headers[:first]), list(final.headers[last + 1 :])


def _indexed(headers: Iterable[Header]) -> Iterator[tuple[int, Header]]:
    """The fields with their index among those of the same name."""
    seen: dict[bytes, int] = {}
    for header in headers:
        index = seen[header.key] = seen.get(header.key, 0) + 1
        yield index, header


def _deletions(mail: Message, kept: Mapping[int, Header]) -> list[Edit]:
    """From the last field up: an index below is not touched by a deletion above it."""
    gone = [(index, header) for index, header in _indexed(mail.headers) if header.place not in kept]
    return [DeleteHeader(header.name, index) for index, header in reversed(gone)]


def _changes(mail: Message, kept: Mapping[int, Header]) -> Iterator[Edit]:
    """With the indexes that are left after the deletions."""
    old = {header.place: header.value for header in mail.headers}
    for index, header in _indexed(kept.values()):
        if header.value != old[header.place]:
            yield ChangeHeader(header.name, index, header.value)


def _place(headers: list[Header], name: bytes, index: int) -> int:
    key = Header(name, b"").key
    for place, header in enumerate(headers):
        if header.key == key:
            index -= 1
            if index == 0:
                return place
    raise ValueError(f"there is no such field: {name!r}")
