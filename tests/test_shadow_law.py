"""Shadow mode, for many mails: only control headers are removed, and shares are kept."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from fletching.config.load import load
from fletching.mail.message import parse
from fletching.numbering import Numbered
from fletching.policy.setup import Setup
from fletching.startup import open_setup
from hypothesis import given
from hypothesis import strategies as st

from tests import test_corpora
from tests.cases import for_every
from tests.setting import CAMPAIGN, Store, carried, config, envelope, mail, setup
from tests.test_shadow import ALL, KEEPS, check_law, is_shadow, of_class

pytestmark = pytest.mark.slow

CASES = Path(__file__).parent / "cases"


@cache
def opened_corpus(keeps: bool) -> Setup:
    site = (KEEPS if keeps else ALL) + "preserve_visible_urls: false\n"
    return replace(setup(site), dkim_keys=test_corpora.opened().dkim_keys)


@pytest.mark.parametrize("keeps", [False, True])
def test_law_holds_for_all_mails_of_the_corpora(keeps: bool) -> None:
    for name, content in test_corpora.mails().items():
        message = parse(test_corpora.CONTROL + content)
        outcome = carried(message, opened=opened_corpus(keeps))
        try:
            check_law(message, outcome, keeps=keeps)
        except AssertionError as error:
            error.add_note(name)
            raise


@pytest.mark.parametrize("keeps", [False, True])
def test_law_holds_for_all_golden_mails(keeps: bool, tmp_path: Path) -> None:
    shutil.copytree(CASES / "keys", tmp_path / "keys")
    for key in (tmp_path / "keys").iterdir():
        key.chmod(0o600)
    site = tmp_path / "config.yaml"
    text = (CASES / "config.yaml").read_text()
    site.write_text(f"mode: shadow\nshadow_keeps_headers: {str(keeps).lower()}\n{text}")
    opened = open_setup(load(site), frozenset())
    found = sorted(CASES.glob("*/in.eml"))
    for case in found:
        message = parse(case.read_bytes())
        outcome = carried(message, envelope(login="shop"), opened)
        if outcome.plan.trusted and outcome.is_in_shadow:
            check_law(message, outcome, keeps=keeps)
        else:
            assert [each.setting for each in outcome.plan.decisions][1] == "second pass", case
    assert len(found) > 20


FIELDS = st.tuples(
    st.sampled_from(
        [
            *("X-GreenArrow-MailClass", "X-GreenArrow-DKIM", "X-greenarrow-x", "Subject"),
            *("X-Fletching-Route", "X-Fletching-Seed", "List-Unsubscribe", "X-Mailer-Info"),
        ]
    ),
    st.sampled_from(["newsletter", "", "{", "x\n y", "crm", "[{}]", "é"]),
)


@given(
    st.lists(FIELDS, max_size=8),
    st.text(max_size=60),
    st.booleans(),
    st.sampled_from([Numbered(CAMPAIGN, 1), Numbered("", 0, ("by_hand",)), None]),
)
def test_law_holds_for_any_mail(
    fields: list[tuple[str, str]], text: str, keeps: bool, answer: Numbered | None
) -> None:
    body = f'<a href="https://example.org/{text}">{text}</a>\n'
    lines = (f"{name}: {value}" for name, value in fields)
    message = mail(*lines, "Content-Type: text/html; charset=utf-8", body=body)
    site = "suppress: refuse\non_invalid_header: reject\n" + (KEEPS if keeps else ALL)
    check_law(message, carried(message, opened=setup(site), store=Store(answer)), keeps=keeps)


CHOICES: dict[str, Callable[[str, int], bool]] = {
    "by Message-ID": is_shadow,
    "by recipient": lambda site, n: is_shadow(site, 1, f"r{n}@example.org"),
    "by queue id": lambda site, n: is_shadow(site, 1, queue_id=f"4Q{n}"),
}


@for_every(CHOICES)
def test_share_of_2000_messages_is_in_shadow(choose: Callable[[str, int], bool]) -> None:
    site = config(of_class("shadow: 0.95"))
    count = sum(choose(site, n) for n in range(2000))  # type: ignore[arg-type]
    # Chosen by a digest: four standard deviations are 39.
    assert 1861 <= count <= 1939
