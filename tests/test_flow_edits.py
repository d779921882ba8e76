"""flow.py: changes of the body and of List-Unsubscribe."""

from __future__ import annotations

import pytest
from fletching.mail.message import parse
from fletching.outgoing.edits import (
    ReplaceBody,
)

from tests.setting import (
    CLASSIFIED,
    NEWSLETTER,
    SITE,
    carried,
    kinds,
    mail,
    newsletter,
    setup,
)

# The body.


@pytest.mark.parametrize("value", ["no", "0"])
def test_click_tracking_do_no_leaves_the_body_unchanged(value: str) -> None:
    outcome = carried(newsletter(f"X-GreenArrow-Click-Tracking-Do: {value}"))
    assert outcome.final.body == newsletter().body
    assert not any(isinstance(edit, ReplaceBody) for edit in outcome.edits)
    assert outcome.notes == ()
    # Tokens outside the body are still added.
    assert kinds(outcome) == ["LIST_UNSUBSCRIBE", "LIST_UNSUBSCRIBE", "MAILER_INFO"]


def test_click_tracking_do_yes_tracks_in_any_class() -> None:
    message = parse(NEWSLETTER.replace("newsletter\n", "crm\n").encode())
    assert "CLICK_HTML" not in kinds(carried(message))
    on = parse(b"X-GreenArrow-Click-Tracking-Do: yes\r\n" + bytes(message))
    assert {"CLICK_HTML", "CLICK_TEXT", "OPEN"} <= set(kinds(carried(on)))


def test_signed_mail_is_seven_bit_with_short_lines() -> None:
    message = mail("X-GreenArrow-MailClass: crm", "Content-Type: text/html; charset=utf-8",
                   body="Grüße\n" + "x" * 1200)  # fmt: skip
    signed = carried(message).final.body
    assert signed.isascii()
    assert max(map(len, signed.split(b"\r\n"))) <= 998
    unsigned = carried(message, opened=setup(SITE.replace("dkim: {", "dkim: {enabled: false, ")))
    assert unsigned.final.body == message.body


def test_signed_part_that_stays_eight_bit_is_a_warning() -> None:
    """The sender's own signature is worth more than ours."""
    sealed = 'Content-Type: multipart/signed; protocol="x/y"; boundary=b1'
    body = "--b1\nContent-Type: text/plain; charset=utf-8\n\nGrüße\n--b1--\n"
    outcome = carried(mail("X-GreenArrow-MailClass: crm", "MIME-Version: 1.0", sealed, body=body))
    assert outcome.warnings == (
        "signed, but a signed or encrypted part has 8-bit data or long lines",
    )
    assert "Grüße".encode() in outcome.final.body


def test_old_signature_of_our_domain_is_removed() -> None:
    message = newsletter(
        "DKIM-Signature: v=1; d=example.com; s=x; b=", "DKIM-Signature: d=b.example"
    )
    signatures = [h.text for h in carried(message).final.headers if h.key == b"dkim-signature"]
    assert len(signatures) == 2
    assert b"s=s1" in signatures[0]
    assert signatures[1] == b"d=b.example"


def test_parts_that_are_not_tracked_are_warnings() -> None:
    body = "\n".join((
        "--b1", "Content-Type: text/html; charset=x-unknown", "", "<p>",
        "--b1", "Content-Type: text/html", "Content-Disposition: attachment", "", "<p>",
        "--b1", "Content-Type: text/plain", "Content-Disposition: attachment", "", "<p>",
        "--b1--", "",
    ))  # fmt: skip
    fields = ("MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=b1")
    assert carried(mail(CLASSIFIED, *fields, body=body)).warnings == (
        "not tracked: unknown charset",
        "not tracked: attachment",
        "not tracked: no open pixel: no HTML part may be changed",
    )
    only_clicks = setup(SITE.replace(", opens: true", ""))
    assert carried(mail(CLASSIFIED, *fields, body=body), opened=only_clicks).warnings == (
        "not tracked: unknown charset",
        "not tracked: attachment",
    )
    # No warning if no tracking was wanted.
    off = "X-GreenArrow-Click-Tracking-Do: no"
    for other in ((CLASSIFIED, off), ("X-GreenArrow-MailClass: crm",)):
        assert carried(mail(*other, *fields, body=body)).warnings == ()


def test_mail_over_max_rewrite_size_is_a_warning() -> None:
    site = "max_rewrite_size: 1KiB\n" + SITE
    outcome = carried(newsletter(), opened=setup(site))
    assert outcome.warnings == ()
    large = parse(bytes(newsletter()) + b"x\r\n" * 400)
    outcome = carried(large, opened=setup(site))
    assert outcome.warnings == ("not tracked: larger than max_rewrite_size",)
    assert outcome.final.body == large.body
    assert kinds(outcome) == ["LIST_UNSUBSCRIBE", "LIST_UNSUBSCRIBE", "MAILER_INFO"]
    assert outcome.sender is not None


# List-Unsubscribe.

LINK = "X-GreenArrow-List-Unsubscribe-HTTP-URL"


def unsubscribe(*fields: str) -> list[bytes]:
    final = carried(mail(CLASSIFIED, *fields)).final
    return [h.name + b":" + h.text for h in final.headers if h.key.startswith(b"list-unsub")]


def test_existing_list_unsubscribe_stays() -> None:
    given = ("List-Unsubscribe: <mailto:u@example.com>", "List-Unsubscribe-Post: a=b")
    assert unsubscribe(*given, f"{LINK}: https://example.com/u", f"{LINK}-Post: c=d") == [
        b"List-Unsubscribe:<mailto:u@example.com>",
        b"List-Unsubscribe-Post:a=b",
    ]


def test_custom_link_replaces_ours_in_list_unsubscribe() -> None:
    link, *post = unsubscribe(f"{LINK}: https://example.com/u")
    assert link.startswith(b"List-Unsubscribe:<https://example.com/u>, <mailto:unsubscribe@")
    assert post == []
    _, *post = unsubscribe(f"{LINK}: https://example.com/u", f"{LINK}-Post: a=b")
    assert post == [b"List-Unsubscribe-Post:a=b"]


def test_list_unsubscribe_post_without_list_unsubscribe_is_replaced() -> None:
    """A mail with two of them counts as having none (RFC 8058 section 3.1)."""
    link, *post = unsubscribe("List-Unsubscribe-Post: a=b")
    assert link.startswith(b"List-Unsubscribe:<https://click.example.com/unsub?")
    assert post == [b"List-Unsubscribe-Post:List-Unsubscribe=One-Click"]
    assert len(unsubscribe("List-Unsubscribe-Post: a=b", f"{LINK}: https://e.com")) == 1


def test_longest_unsubscribe_url_stays_on_one_line() -> None:
    url = "https://example.com/".ljust(977, "x")
    final = carried(mail(CLASSIFIED, f"{LINK}: {url}")).final
    (header,) = final.all(b"list-unsubscribe")
    assert f"<{url}>".encode() in header.value
    assert unsubscribe(f"{LINK}: {url}x")[0].startswith(b"List-Unsubscribe:<https://click.")
