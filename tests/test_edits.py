"""edits.py: law 1, an order that is safe in Postfix, and indexes that change with each edit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from fletching.mail.message import Header, Message
from fletching.outgoing.edits import (
    AddHeader,
    AddRecipient,
    ChangeHeader,
    ChangeSender,
    DeleteHeader,
    Discard,
    Edit,
    EnvelopeChanges,
    Hold,
    InsertHeader,
    RemoveRecipient,
    ReplaceBody,
    between,
    for_postfix,
    of_envelope,
    replay,
    routed,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.effort import is_linear

ROUTE = b"X-Fletching-Route"


def mail(*fields: tuple[bytes, bytes], body: bytes = b"Hello.\r\n") -> Message:
    return Message(tuple(Header(n, v, place) for place, (n, v) in enumerate(fields)), body)


def without(message: Message, *places: int) -> Message:
    return replace(message, headers=tuple(h for h in message.headers if h.position not in places))


THREE = mail((b"X-H", b" 1"), (b"To", b" a"), (b"x-h", b" 2"), (b"X-h", b" 3"))

# Law 1.

names = st.sampled_from([b"To", b"TO", b"to", b"X-H", b"x-h", ROUTE, ROUTE.lower(), b"Subject"])
values = st.sampled_from([b"", b" ", b" a", b" b", b"a\r\n b", b" \xff"])
fields = st.lists(st.tuples(names, values), max_size=12)
made = st.lists(st.builds(Header, names, values), max_size=4).map(tuple)
bodies = st.sampled_from([b"", b"a\r\n", b"b"])


@st.composite
def mail_and_final(draw: st.DrawFn) -> tuple[Message, Message]:
    """A mail, and one made from it: fields removed, changed, and added above and below."""
    message = mail(*draw(fields), body=draw(bodies))
    left: list[Header] = []
    for header in message.headers:
        fate = draw(st.sampled_from(["stays", "goes", "changes"]))
        if fate == "changes":
            left.append(replace(header, value=draw(values)))
        elif fate == "stays":
            left.append(header)
    return message, Message((*draw(made), *left, *draw(made)), draw(bodies))


@given(mail_and_final())
def test_edits_make_the_final_mail(pair: tuple[Message, Message]) -> None:
    message, final = pair
    assert replay(message, between(message, final)) == final


@given(mail_and_final())
def test_edits_come_in_a_safe_order(pair: tuple[Message, Message]) -> None:
    order = [DeleteHeader, ChangeHeader, AddHeader, InsertHeader, ReplaceBody]
    kinds = [order.index(type(edit)) for edit in between(*pair)]
    assert kinds == sorted(kinds)


@given(mail_and_final())
def test_no_edit_is_superfluous(pair: tuple[Message, Message]) -> None:
    message, final = pair
    edits = between(message, final)
    for skipped in range(len(edits)):
        assert replay_or_none(message, edits[:skipped] + edits[skipped + 1 :]) != final


def replay_or_none(message: Message, edits: tuple[Edit, ...]) -> Message | None:
    try:
        return replay(message, edits)
    except ValueError:
        return None


@given(mail_and_final())
def test_same_mail_needs_no_edits(pair: tuple[Message, Message]) -> None:
    assert between(pair[0], pair[0]) == ()


@given(mail_and_final())
def test_route_and_its_forgeries_are_gone_after_the_edits(pair: tuple[Message, Message]) -> None:
    message, final = pair
    headers = tuple(h for h in final.headers if h.key != ROUTE.lower())
    final = replace(final, headers=headers)
    edits = routed(ROUTE, "vmta-a", between(message, final))
    assert replay(message, edits) == final
    at = edits.index(AddHeader(ROUTE, b" vmta-a"))
    assert edits[at + 1] == DeleteHeader(ROUTE, 1)
    added = replay(message, edits[: at + 1])
    assert [h.value for h in added.all(ROUTE.lower())] == [b" vmta-a"]


# Tables.


def test_deletions_go_from_the_highest_index_down() -> None:
    assert between(THREE, without(THREE, 0, 2, 3)) == (
        DeleteHeader(b"X-h", 3),
        DeleteHeader(b"x-h", 2),
        DeleteHeader(b"X-H", 1),
    )


def test_changes_use_indexes_after_the_deletions() -> None:
    final = without(THREE, 0)
    changed = replace(final.headers[-1], value=b" new")
    final = replace(final, headers=(*final.headers[:-1], changed))
    assert between(THREE, final) == (DeleteHeader(b"X-H", 1), ChangeHeader(b"X-h", 2, b" new"))


def test_additions_go_below_and_signatures_on_top_in_order() -> None:
    above = (Header(b"S", b" 1"), Header(b"S", b" 2"))
    below = (Header(b"A", b" 1"), Header(b"A", b" 2"))
    final = replace(THREE, headers=(*above, *THREE.headers, *below))
    assert between(THREE, final) == (
        AddHeader(b"A", b" 1"),
        AddHeader(b"A", b" 2"),
        InsertHeader(b"S", b" 2"),
        InsertHeader(b"S", b" 1"),
    )


def test_indexes_count_fields_as_they_are_at_that_time() -> None:
    """As in Postfix: three fields, the first deleted twice, and the third is left."""
    left = replay(THREE, (DeleteHeader(b"X-H", 1), DeleteHeader(b"X-H", 1)))
    assert [h.value for h in left.all(b"x-h")] == [b" 3"]
    changed = replay(THREE, (DeleteHeader(b"x-H", 2), ChangeHeader(b"X-H", 2, b" new")))
    assert [h.value for h in changed.all(b"x-h")] == [b" 1", b" new"]


@pytest.mark.parametrize("edit", [DeleteHeader(b"X-H", 4), ChangeHeader(b"Cc", 1, b" a")])
def test_edit_of_a_missing_field_is_an_error(edit: Edit) -> None:
    with pytest.raises(ValueError, match="no such field"):
        replay(THREE, (edit,))


@pytest.mark.parametrize("forged", range(4))
def test_forged_routes_go_before_the_route(forged: int) -> None:
    names = (ROUTE, ROUTE.lower(), ROUTE.upper())[:forged]
    message = mail((b"To", b" a"), *((name, b" evil") for name in names), (b"X-H", b" 1"))
    final = without(message, *range(1, forged + 2))
    edits = routed(ROUTE, "vmta-a", between(message, final))
    assert edits == (
        *(DeleteHeader(name, i) for i, name in reversed([*enumerate(names, 1)])),
        AddHeader(ROUTE, b" vmta-a"),
        DeleteHeader(ROUTE, 1),
        DeleteHeader(b"X-H", 1),
    )


def test_envelope_goes_before_the_body() -> None:
    final = replace(without(THREE, 1), body=b"new")
    changes = EnvelopeChanges("a@b", ("c@d", "e@f"), ("g@h",), "checked by hand")
    assert of_envelope(changes, between(THREE, final)) == (
        DeleteHeader(b"To", 1),
        ChangeSender("a@b"),
        RemoveRecipient("c@d"),
        RemoveRecipient("e@f"),
        AddRecipient("g@h"),
        Hold("checked by hand"),
        ReplaceBody(b"new"),
    )
    assert of_envelope(EnvelopeChanges(""), ()) == (ChangeSender(""),)
    assert of_envelope(EnvelopeChanges(), ()) == ()


ROUTE_EDITS = (AddHeader(b"X-Fletching-Route", b" vmta-a"), DeleteHeader(b"X-Fletching-Route", 1))


@pytest.mark.parametrize(
    ("sender", "transport", "expected"),
    [
        (None, None, ()),
        ("a@b.example", None, (ChangeSender("a@b.example"),)),
        ("", None, (ChangeSender(""),)),
        (None, "vmta-a", ROUTE_EDITS),
        ("a@b.example", "vmta-a", (*ROUTE_EDITS, ChangeSender("a@b.example"))),
    ],
)
def test_edits_for_postfix_have_the_route_first_and_the_sender_last(
    sender: str | None, transport: str | None, expected: tuple[Edit, ...]
) -> None:
    assert for_postfix(THREE, THREE, EnvelopeChanges(sender), transport) == expected
    of_others = (ChangeSender("a@b"), RemoveRecipient("c@d"), AddRecipient("e@f"), Hold("why"))
    assert replay(THREE, (*of_others, Discard())) == THREE


H1, TO, H2, H3 = THREE.headers
NEW = Header(b"New", b" 1")


@pytest.mark.parametrize(
    "headers",
    [
        (H1, NEW, TO),
        (NEW, H1, NEW, H3, NEW),
        (TO, H1),
        (H1, H1),
        (H1, replace(TO, name=b"Cc")),
        (H1, replace(TO, name=b"TO")),
        (H1, replace(H3, position=4)),
    ],
    ids=["made amid", "made amid others", "order", "twice", "name", "case", "of no mail"],
)
def test_mail_that_no_edits_can_make_is_an_error(headers: tuple[Header, ...]) -> None:
    with pytest.raises(ValueError, match="header field"):
        between(THREE, replace(THREE, headers=headers))


def test_many_forged_routes_are_linear() -> None:
    def work(size: int) -> Callable[[], object]:
        message = mail(*((ROUTE, b" evil"),) * size)
        edits = between(message, without(message, *range(size)))
        return lambda: routed(ROUTE, "vmta-a", edits)

    assert is_linear(work, 100)
