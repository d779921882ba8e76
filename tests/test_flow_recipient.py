"""flow.py: where the recipient's address is recorded, and where not."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from fletching.numbering import Numbered, Question
from fletching.outgoing.flow import Outcome

from tests.setting import (
    CAMPAIGN,
    RECIPIENT,
    SITE,
    UNTRACKED,
    Store,
    carried,
    envelope,
    kinds,
    newsletter,
    setup,
    tokens,
)

SECRET = "secret.person@private.example"
HIDDEN = "X-GreenArrow-Obscured-Email: userid-1"


def everything(outcome: Outcome, questions: Iterable[Question]) -> str:
    """All that is added, stored, logged or shown."""
    plan = outcome.plan
    written = (outcome.edits, outcome.facts, outcome.sender, outcome.warnings, outcome.notes,
            plan.decisions, plan.logged, plan.email, plan.monitor, plan.warnings,
            tokens(outcome), list(questions))  # fmt: skip
    return repr(written)


@pytest.mark.parametrize(
    ("fields", "site", "stands"),
    [
        ((HIDDEN,), SITE, "userid-1"),
        ((HIDDEN,), UNTRACKED, "userid-1"),
        ((HIDDEN,), SITE.replace("{list_id: t100", "{list_id: t100, privacy: aggregate"), ""),
        (("X-GreenArrow-Obscured-Email: üser",), SITE, ""),
        ((HIDDEN, "X-GreenArrow-Obscured-Email: userid-2"), SITE, ""),
        ((HIDDEN, "X-GreenArrow-MtaID: nosuch", "X-GreenArrow-Foo: bar"), SITE, "userid-1"),
    ],
)
@pytest.mark.parametrize("answer", [Numbered(CAMPAIGN, 1), None])
def test_obscured_address_is_written_nowhere(
    fields: tuple[str, ...], site: str, stands: str, answer: Numbered | None
) -> None:
    store = Store(answer)
    message = newsletter(*fields)
    outcome = carried(message, envelope(SECRET), setup(site), store)
    written = everything(outcome, store.questions)
    for part in (SECRET, "secret.person", "private.example"):
        assert part not in written
        assert part.encode() not in bytes(outcome.final)
    for token in tokens(outcome):
        assert token.facts.email == stands
    assert dict(store.questions[0].remember)["email"] == stands


@pytest.mark.parametrize(
    ("fields", "site", "kept"),
    [
        ((), SITE, f"{SECRET}\nsecond@example.net"),
        ((HIDDEN,), SITE, None),
        (("X-GreenArrow-Obscured-Email: üser",), SITE, None),
        ((), SITE.replace("{list_id: t100", "{list_id: t100, privacy: aggregate"), None),
    ],
    ids=["full", "obscured", "obscured, invalid", "aggregate"],
)
def test_several_recipients_are_kept_if_they_may_be_named(
    fields: tuple[str, ...], site: str, kept: str | None
) -> None:
    store = Store()
    several = envelope(SECRET, "second@example.net")
    outcome = carried(newsletter(*fields), several, setup(site), store)
    assert dict(store.questions[0].remember).get("recipients") == kept
    assert (SECRET in everything(outcome, store.questions)) == (kept is not None)


def test_address_that_is_not_obscured_is_written() -> None:
    store = Store()
    outcome = carried(newsletter(), envelope(SECRET), store=store)
    assert SECRET in everything(outcome, store.questions)


def test_aggregate_privacy_records_nobody() -> None:
    store = Store()
    site = SITE.replace("{list_id: t100", "{list_id: t100, privacy: aggregate")
    outcome = carried(newsletter(), envelope(SECRET), setup(site), store)
    written = everything(outcome, store.questions)
    assert SECRET not in written
    assert "order-4711" not in written.replace("X-GreenArrow-Click-Tracking-ID", "")
    assert {token.facts.number for token in tokens(outcome)} == {1}
    assert "LIST_UNSUBSCRIBE" not in kinds(outcome)


def test_several_recipients_share_one_body() -> None:
    outcome = carried(newsletter(), envelope(SECRET, RECIPIENT))
    assert {token.facts.email for token in tokens(outcome)} == {""}
    assert "LIST_UNSUBSCRIBE" not in kinds(outcome)
    assert [text for text in outcome.warnings if text.startswith("several recipients")]
