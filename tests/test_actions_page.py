"""The examples of docs/actions.md and docs/mail.md do what the pages say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fletching.mail.envelope import Envelope
from fletching.outgoing.edits import AddRecipient, Discard, Edit, Hold, RemoveRecipient

from tests.setting import CAMPAIGN, carried, envelope, mail, newsletter, setup


def examples(page: str) -> list[str]:
    """The YAML of a page."""
    text = (Path(__file__).parent.parent / "docs" / page).read_text("utf-8")
    return re.findall(r"(?ms)^```yaml\n(.*?)^```", text)


@pytest.mark.parametrize(
    ("around", "fields", "edits"),
    [
        (
            envelope("support@example.com"),
            (),
            (
                RemoveRecipient("support@example.com"),
                AddRecipient("anna@example.com"),
                AddRecipient("ben@example.com"),
            ),
        ),
        (envelope(), ("X-Document: Contract",), (AddRecipient("archive@example.com"),)),
        (envelope(client="192.0.2.3", login="shop"), (), (Discard(),)),
        (envelope(sender="shop@example.com"), (), ()),
    ],
    ids=["redirect", "bcc", "discard", "hold needs a large mail"],
)
def test_examples_of_the_page(
    around: Envelope, fields: tuple[str, ...], edits: tuple[Edit, ...]
) -> None:
    (text,) = examples("actions.md")
    assert carried(mail(*fields), around, setup(text)).edits == edits


def test_large_mail_of_the_page_is_held() -> None:
    (text,) = examples("actions.md")
    large = mail(body="x\n" * 6 * 2**20)
    outcome = carried(large, envelope(sender="shop@example.com"), setup(text))
    assert outcome.edits == (Hold("large mail of the shop"),)


def test_added_headers_of_the_page() -> None:
    (text,) = examples("mail.md")
    base = "link_keys: link-keys\n"
    keys = "dkim: {keys: [{domain: example.com, selector: s1, file: s1.pem, default: true}]}\n"
    final = carried(newsletter(), opened=setup(base + keys + text)).final
    added = {each.key: each.text.decode() for each in final.headers}
    assert added[b"feedback-id"] == f"{CAMPAIGN}:newsletter:t100:shop"
    assert added[b"cfbl-address"] == "fbl@example.com; report=arf"
    assert added[b"cfbl-feedback-id"] == f"{CAMPAIGN}:1"
    assert added[b"list-id"] == "Shop news <news.example.com>"
