"""verdict.py: accept, reject or tempfail, from the reply that a mail gets."""

from __future__ import annotations

import pytest
from fletching.policy.decide import TOO_MANY_FIELDS
from fletching.policy.route import ALL_PAUSED
from fletching.policy.store_question import STORE_UNAVAILABLE, SUPPRESSED
from fletching.policy.verdict import Refusal, Verdict, verdict_of

from tests.setting import SITE, Store, carried, newsletter, setup


@pytest.mark.parametrize(
    ("code", "verdict"),
    [(421, "tempfail"), (451, "tempfail"), (499, "tempfail"), (500, "reject"), (550, "reject")],
)
def test_reply_code_decides_the_verdict(code: int, verdict: str) -> None:
    assert verdict_of(Refusal(code, f"{code // 100}.0.0", "text")) == verdict


def test_mail_without_a_refusal_is_accepted() -> None:
    assert verdict_of(None) is Verdict.ACCEPT


@pytest.mark.parametrize(
    ("refusal", "verdict"),
    [
        (ALL_PAUSED, Verdict.TEMPFAIL),
        (STORE_UNAVAILABLE, Verdict.TEMPFAIL),
        (SUPPRESSED, Verdict.REJECT),
        (TOO_MANY_FIELDS, Verdict.REJECT),
    ],
)
def test_verdict_agrees_with_the_enhanced_status_code(refusal: Refusal, verdict: Verdict) -> None:
    assert verdict_of(refusal) is verdict
    assert refusal.enhanced[0] == ("4" if verdict is Verdict.TEMPFAIL else "5")


def test_outcome_has_the_verdict_of_its_refusal() -> None:
    assert carried(newsletter()).verdict is Verdict.ACCEPT
    assert carried(newsletter(), store=Store(None)).verdict is Verdict.TEMPFAIL
    wrong = newsletter("X-GreenArrow-ListID: -")
    strict = setup(f"on_invalid_header: reject\n{SITE}")
    assert carried(wrong, opened=strict).verdict is Verdict.REJECT


def test_refused_outcome_has_no_edits() -> None:
    accepted = carried(newsletter())
    refused = accepted.refused(STORE_UNAVAILABLE)
    assert accepted.edits
    assert (refused.edits, refused.refusal) == ((), STORE_UNAVAILABLE)
    assert refused.verdict is Verdict.TEMPFAIL
