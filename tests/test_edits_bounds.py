"""How much work one mail may cause in Postfix: each limit, met and exceeded."""

from __future__ import annotations

import pytest
from fletching.mail.message import Header, Message
from fletching.outgoing.edits import (
    MOST_CHANGES,
    AddHeader,
    ChangeHeader,
    ChangeSender,
    DeleteHeader,
    Edit,
    RemoveRecipient,
    ReplaceBody,
    are_too_much,
)
from fletching.outgoing.flow import TOO_MANY_EDITS

from tests.setting import carried, mail, newsletter

GONE: Edit = DeleteHeader(b"A", 1)
CHANGED: Edit = ChangeHeader(b"A", 1, b" b")
ADDED: Edit = AddHeader(b"A", b" b")
OTHERS: list[Edit] = [ChangeSender(""), RemoveRecipient("a@b"), ReplaceBody(b"")]
LONG = [f"A{number}: {'b ' * 600}" for number in range(MOST_CHANGES + 1)]


@pytest.mark.parametrize(
    ("fields", "size", "edits", "too_much"),
    [
        (10, 100, [], False),
        (10, 100, [CHANGED] * 100, False),
        (10, 100, [CHANGED] * 101, True),
        (10, 100, [*[CHANGED] * 100, *[GONE] * 100, ADDED], False),
        (50_000, 1, [GONE] * 100, False),
        (50_000, 1, [GONE] * 101, True),
        (50_000, 1, [*[GONE] * 50, *[ADDED] * 51], True),
        (50_000, 1, [*[GONE] * 100, *OTHERS], False),
        (1_666_667, 1, [GONE] * 3, True),
        (1, 9_999_999, [GONE] * 100, False),
        (1, 10_000_000, [GONE] * 100, True),
        (1, 10_000_000, OTHERS, False),
        (1_000_000, 20, [], False),
    ],
)
def test_too_much_work_for_postfix_is_rejected(
    fields: int, size: int, edits: list[Edit], too_much: bool
) -> None:
    headers = (Header(b"A", b"b" * size),) * fields
    assert are_too_much(Message(headers, b""), edits) == too_much


@pytest.mark.parametrize(("folds", "too_much"), [(49, False), (50, True)])
def test_each_line_of_a_folded_field_counts(folds: int, too_much: bool) -> None:
    headers = (Header(b"A", b" b" + b"\r\n b" * folds),) * 1000
    assert are_too_much(Message(headers, b""), [GONE] * 100) == too_much


@pytest.mark.parametrize("fields", [MOST_CHANGES, MOST_CHANGES + 1])
def test_long_fields_of_a_signed_mail_are_changes(fields: int) -> None:
    outcome = carried(newsletter(*LONG[:fields]))
    refused = fields > MOST_CHANGES
    assert (outcome.refusal == TOO_MANY_EDITS) == refused
    assert bool(outcome.edits) != refused


def test_long_fields_of_a_mail_that_is_not_ours_are_accepted() -> None:
    assert carried(mail(*LONG)).refusal is None
