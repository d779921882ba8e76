"""Edits: what Postfix has to do so that one mail becomes another.

Here is how two mails become a list of edits, and what a mail is after edits. An edit is a value;
only the milter daemon applies it. The order is the one that is safe in Postfix: route, deletions
from the highest index down, changes, additions, signatures on top, the sender, recipients (removed
ones first), the hold, and the body in one run (another request between two pieces of a body ends
the replacement). A mail that is discarded gets no other edit.
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
    """A field above all fields that a milter sees, so right below Postfix's own Received."""

    name: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class ChangeHeader:
    """``index`` counts the fields of that name from 1, as they are when the edit is applied."""

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
class RemoveRecipient:
    """A recipient of the envelope who does not get the mail, as RCPT TO named it, without angle
    brackets."""

    address: str


@dataclass(frozen=True, slots=True)
class AddRecipient:
    """A further recipient of the envelope, without angle brackets."""

    address: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Postfix's hold queue, where the mail stays until an admin releases it. The reason is for the
    log."""

    reason: str


@dataclass(frozen=True, slots=True)
class Discard:
    """The client is told that the mail was accepted, and nobody gets it. Always the only edit."""


@dataclass(frozen=True, slots=True)
class ReplaceBody:
    """The whole body, with CRLF line ends."""

    body: bytes


MOST_WORK = 5_000_000
"""Edits of the header times lines of the header that one mail may need: to find a field, cleanup(8)
reads all lines before it, each time from the start. This much takes about 0.2 s of CPU, measured
with Postfix 3.7 on the machine of docs/performance.md (docs/limits.md)."""

MOST_CHANGES = 100
"""Fields changed in one mail. Postfix writes a changed field to the end of the queue file, and the
search for the next one jumps there and back: cleanup(8) gives up after 10,000 jumps ("too many
reverse jump records"), which was seen from 142 changes on."""

MOST_BYTES = 10**9
"""Edits times bytes of the header: cleanup(8) reads those, too, 1 GB in about 0.3 s of CPU."""

Edit = (
    AddHeader
    | InsertHeader
    | ChangeHeader
    | DeleteHeader
    | ChangeSender
    | RemoveRecipient
    | AddRecipient
    | Hold
    | Discard
    | ReplaceBody
)

OfHeader = AddHeader | InsertHeader | ChangeHeader | DeleteHeader


@dataclass(frozen=True, slots=True)
class EnvelopeChanges:
    """What becomes of the envelope. ``sender``: None if it stays, empty for the null sender.
    ``removed`` and ``added``: recipients. ``hold``: why the mail is put on hold, None if not.
    """

    sender: str | None = None
    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    hold: str | None = None

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The edits, in their order."""
        return (
            *(() if self.sender is None else (ChangeSender(self.sender),)),
            *map(RemoveRecipient, self.removed),
            *map(AddRecipient, self.added),
            *(() if self.hold is None else (Hold(self.hold),)),
        )


def between(mail: Message, final: Message) -> tuple[Edit, ...]:
    """The edits that make ``final`` out of ``mail``, all of whose fields have a position.

    A field of ``final`` with a position is that field of ``mail``, perhaps with another value; they
    keep their order. Fields without a position come before the first or after the last of those.
    Raises `ValueError` if that is not so: no edits could make such a mail.
    """
    kept = _kept(mail, final)
    above, below = _new(final)
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
    mail: Message,
    final: Message,
    envelope: EnvelopeChanges,
    transport: str | None,
) -> tuple[Edit, ...]:
    """All that Postfix has to do so that ``mail`` becomes ``final``, in a safe order.

    ``transport``: where the route header leads, None for no route.
    """
    found = of_envelope(envelope, between(mail, final))
    if transport is not None:
        found = routed(ROUTE_HEADER, transport, found)
    return found


def routed(name: bytes, transport: str, edits: Iterable[Edit]) -> tuple[Edit, ...]:
    """The edits with the route before them: a field that Postfix reads when it is added, and that
    the next edit deletes (docs/routing.md).

    Copies that a client sent are deleted first, so that the added one is the first of its name.
    """
    forged: list[Edit] = []
    others: list[Edit] = []
    for edit in edits:
        is_forged = isinstance(edit, DeleteHeader) and edit.name.lower() == name.lower()
        (forged if is_forged else others).append(edit)
    route = (AddHeader(name, b" " + transport.encode("ascii")), DeleteHeader(name, 1))
    return (*forged, *route, *others)


def of_envelope(envelope: EnvelopeChanges, edits: Iterable[Edit]) -> tuple[Edit, ...]:
    """The edits with those of the envelope, which come before the body."""
    edits = tuple(edits)
    body = tuple(edit for edit in edits if isinstance(edit, ReplaceBody))
    return (*edits[: len(edits) - len(body)], *envelope.edits, *body)


def are_too_much(mail: Message, edits: Collection[Edit]) -> bool:
    """Whether the edits would be more work for Postfix than one mail may cause."""
    size = sum(len(header.name) + len(header.value) for header in mail.headers)
    if len(edits) <= MOST_CHANGES and len(edits) * size <= MOST_WORK:
        # Nearly every mail: a header has no more lines than bytes.
        return False
    of_header = [each for each in edits if isinstance(each, OfHeader)]
    lines = sum(1 + header.value.count(b"\n") for header in mail.headers)
    if len(of_header) * lines > MOST_WORK:
        return True
    if sum(isinstance(each, ChangeHeader) for each in of_header) > MOST_CHANGES:
        return True
    return len(of_header) * size > MOST_BYTES


def replay(mail: Message, edits: Iterable[Edit]) -> Message:
    """The mail after the edits, applied as Postfix applies them. The envelope is not part of a
    mail."""
    headers = list(mail.headers)
    body = mail.body
    for edit in edits:
        match edit:
            case AddHeader():
                headers.append(Header(edit.name, edit.value))
            case InsertHeader():
                headers.insert(0, Header(edit.name, edit.value))
            case ChangeHeader() | DeleteHeader():
                at = _find(headers, edit.name, edit.index)
                if isinstance(edit, DeleteHeader):
                    del headers[at]
                else:
                    old = headers[at]
                    headers[at] = Header(old.name, edit.value, old.position)
            case ReplaceBody():
                body = edit.body
            case _:  # of the envelope
                pass
    return Message(tuple(headers), body)


def _kept(mail: Message, final: Message) -> Mapping[int, Header]:
    """The fields of ``mail`` that are still in ``final``, by position."""
    names = {header.position: header.name for header in mail.headers}
    kept: dict[int, Header] = {}
    last = -1
    for header in final.headers:
        if header.position is None:
            continue
        if header.position <= last or names.get(header.position) != header.name:
            raise ValueError("a header field of the mail has another name or another order")
        kept[header.position] = header
        last = header.position
    return kept


def _new(final: Message) -> tuple[list[Header], list[Header]]:
    """The fields without a position: those above the mail's own, and those below."""
    own = [at for at, header in enumerate(final.headers) if header.position is not None]
    if not own:
        return list(final.headers), []
    first, last = own[0], own[-1]
    if len(own) <= last - first:
        raise ValueError("a new header field is between those of the mail")
    return list(final.headers[:first]), list(final.headers[last + 1 :])


def _indexed(headers: Iterable[Header]) -> Iterator[tuple[int, Header]]:
    """The fields with their index among those of the same name."""
    seen: dict[bytes, int] = {}
    for header in headers:
        index = seen[header.key] = seen.get(header.key, 0) + 1
        yield index, header


def _deletions(mail: Message, kept: Mapping[int, Header]) -> list[Edit]:
    """From the last field up: a deletion does not change the index of a field above it."""
    gone = [
        (index, header) for index, header in _indexed(mail.headers) if header.position not in kept
    ]
    return [DeleteHeader(header.name, index) for index, header in reversed(gone)]


def _changes(mail: Message, kept: Mapping[int, Header]) -> Iterator[Edit]:
    """With the indexes after the deletions."""
    old = {header.position: header.value for header in mail.headers}
    for index, header in _indexed(kept.values()):
        if header.value != old[header.position]:
            yield ChangeHeader(header.name, index, header.value)


def _find(headers: list[Header], name: bytes, index: int) -> int:
    key = Header(name, b"").key
    for at, header in enumerate(headers):
        if header.key == key:
            index -= 1
            if index == 0:
                return at
    raise ValueError(f"no such field: {name!r}")
