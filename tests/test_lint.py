"""The rules of `fletching lint` on single mails: which ones a mail breaks, and which not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fletching.lint.all import judge
from fletching.lint.organization import Alignment
from fletching.lint.rules import RULES
from fletching.lint.sent import Sent
from fletching.lint.signatures import SignatureField, signatures
from fletching.mail.message import Message, parse
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import for_every

GOOD = """\
From: Shop <news@example.com>
To: reader@example.org
Subject: Offers of the week
Date: Mon, 30 Nov 2026 09:00:00 +0100
Message-ID: <1@example.com>
List-Id: Offers <offers.example.com>
List-Unsubscribe: <https://click.example.com/unsub?x>, <mailto:u@example.com>
List-Unsubscribe-Post: List-Unsubscribe=One-Click
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary=b

--b
Content-Type: text/plain; charset=utf-8

This is what our shop has for you this week, and a bit more than that: three coats, two hats.
To unsubscribe: https://click.example.com/unsub?x
--b
Content-Type: text/html; charset=utf-8

<html><body><p>This is what our shop has for you this week, and a bit more: three coats.</p>
<img src="https://example.com/coat.png" alt="A coat">
<a href="https://example.com/coats">Coats</a>
<a href="https://click.example.com/unsub?x">Unsubscribe</a></body></html>
--b--
"""

ALL_LISTED = frozenset({"from", "list-unsubscribe", "list-unsubscribe-post"})
SIGNED = SignatureField("example.com", "s1", "rsa-sha256", ALL_LISTED, limited=False, objection="")


def good(*changes: tuple[str, str]) -> Message:
    """The mail without fault, with these replacements."""
    text = GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse(text.encode("utf-8", "surrogateescape"))


def broken(message: Message, *signed: SignatureField, **known: Any) -> list[str]:
    """The names of the rules that a mail breaks, once each."""
    sent = Sent(message=message, return_path="bounces@example.com", signatures=signed or (SIGNED,))
    findings = judge(replace(sent, **known))
    return list(dict.fromkeys(finding.rule.name for finding in findings))


def test_good_mail_breaks_no_rule() -> None:
    assert broken(good()) == []


LONG_HTML = "<p>" + "word " * 22_000
NEARLY = "<p>" + "=3D " * 25_600

CHANGES: dict[str, tuple[tuple[str, str], list[str]]] = {
    # The header.
    "no From": (("From: Shop <news@example.com>\n", ""), ["field-missing"]),
    "no Date": (("Date: Mon, 30 Nov 2026 09:00:00 +0100\n", ""), ["field-missing"]),
    "no Message-ID": (("Message-ID: <1@example.com>\n", ""), ["field-missing"]),
    "two Dates": (("Date: ", "Date: Mon, 30 Nov 2026 10:00:00 +0100\nDate: "), ["field-repeated"]),
    "two Subjects": (("Subject: ", "subject: x\nSubject: "), ["field-repeated"]),
    "From of two": (("<news@example.com>", "<news@example.com>, b@example.com"), ["from-invalid"]),
    "From without a domain": (("<news@example.com>", "<news>"), ["from-invalid"]),
    "From of Gmail": (("news@example.com", "shop@gmail.com"), ["from-gmail", "dkim-not-aligned",
        "return-path-not-aligned"]),
    "address as name": (("From: Shop <", 'From: "shop@gmail.com" <'), ["from-name-is-address"]),
    "own address in capitals as name": (("From: Shop <", "From: news@EXAMPLE.COM <"), []),
    "reply by References": (("Subject: Offers", "References: <1@a.example>\nSubject: Re: O"), []),
    "From of Googlemail": (("news@example.com", "shop@googlemail.com"), ["from-gmail",
        "dkim-not-aligned", "return-path-not-aligned"]),
    "own address as name": (("From: Shop <", "From: news@example.com <"), []),
    "reply": (("Offers of", "RE: Offers of"), ["subject-of-reply"]),
    "encoded reply": (("Offers of the week", "=?utf-8?q?Re=3A_F=C3=BCr_Sie?="),
        ["subject-of-reply"]),
    "encoded Subject": (("Offers of the week", "=?utf-8?q?F=C3=BCr_Sie?="), []),
    "real reply": (("Subject: Offers", "In-Reply-To: <1@a.example>\nSubject: Re: Offers"), []),
    "Date that is none": (("Mon, 30 Nov 2026 09:00:00 +0100", "soon"), ["date-invalid"]),
    "bare Message-ID": (("<1@example.com>", "1@example.com"), ["message-id-invalid"]),
    "no Subject": (("Subject: Offers of the week\n", ""), ["subject-empty"]),
    "empty Subject": (("Offers of the week", ""), ["subject-empty"]),
    "no To": (("To: reader@example.org\n", ""), ["to-missing"]),
    "UTF-8 in Subject": (("Offers of", "Für"), ["header-not-ascii"]),
    "Latin-1 in Subject": (("Offers of", "F\udcfcr"), ["header-not-text"]),
    "long field": (("Subject: ", f"X-Long: {'x' * 999}\nSubject: "), ["line-too-long"]),
    "folded field": (("Subject: ", f"X-Long: {'x' * 900}\n {'x' * 900}\nSubject: "), []),
    # Lines and encodings.
    "long line": (("three coats.</p>", f"{'x' * 999}</p>"), ["line-too-long"]),
    "undeclared 8-bit": (("two hats", "zwei Hüte"), ["body-not-declared"]),
    "declared 8-bit": (("Content-Type: text/plain; charset=utf-8\n\nThis",
        "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nFür"), []),
    "unknown charset": (("html; charset=utf-8", "html; charset=x-none"), ["part-unreadable"]),
    "broken base64": (("text/plain; charset=utf-8",
        "text/plain; charset=utf-8\nContent-Transfer-Encoding: base64"), ["part-unreadable"]),
    # Unsubscribing.
    "no List-Unsubscribe": (("List-Unsubscribe: ", "X-Was: "), ["unsubscribe-missing"]),
    "no https": (("<https://click.example.com/unsub?x>, ", ""), ["unsubscribe-not-one-click"]),
    "http": (("<https://click", "<http://click"), ["unsubscribe-not-one-click"]),
    "no Post field": (("List-Unsubscribe-Post: ", "X-Was: "), ["unsubscribe-not-one-click"]),
    "other Post field": (("=One-Click", "=Two"), ["unsubscribe-not-one-click"]),
    "two https": ((", <mailto:u@example.com>", ", <https://example.com/u>"),
        ["unsubscribe-several-urls"]),
    "no List-Id": (("List-Id: ", "X-Was: "), ["list-id-missing"]),
    # The content.
    "long HTML": (("<p>This", f"{LONG_HTML[:900]}\n{(LONG_HTML[3:800] + chr(10)) * 140}<p>This"),
        ["html-too-large"]),
    "images alone": (("This is what our shop has for you this week, and a bit more: three coats.",
        "Hi"), ["only-images"]),
    "no alt": ((' alt="A coat"', ""), ["alt-missing"]),
    "empty alt": (('"A coat"', '""'), []),
    "shortener": (("https://example.com/coats", "https://bit.ly/coats"), ["link-shortener"]),
    "other address": ((">Coats<", ">www.other.example<"), ["link-misleads"]),
    "other address with scheme": ((">Coats<", ">https://other.example/a?b<"), ["link-misleads"]),
    "same address": ((">Coats<", ">www.example.com/coats<"), []),
    "name of a program": ((">Coats<", ">Node.js<"), []),
    "name of a file": ((">Coats<", ">readme.md<"), []),
    "address of any country": ((">Coats<", ">www.other.pl<"), ["link-misleads"]),
    "words with a dot": ((">Coats<", ">Coats. Now<"), []),
}  # fmt: skip


@for_every(CHANGES)
def test_change_breaks_rule(change: tuple[str, str], rules: list[str]) -> None:
    assert sorted(broken(good(change))) == sorted(rules)


ONCE = (
    *("From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Subject", "Date", "Message-ID"),
    *("In-Reply-To", "References", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"),
    *("List-Id", "List-Unsubscribe", "List-Unsubscribe-Post"),
)


@for_every(ONCE)
def test_fields_that_may_be_there_once(name: str) -> None:
    message = parse(f"{name}: a\n{name.upper()}: b\n\nx".encode())
    texts = [
        each.text for each in judge(Sent(message=message)) if each.rule.name == "field-repeated"
    ]
    assert texts == [f"2 {name} fields"]


def test_other_fields_may_be_there_twice() -> None:
    fields = "Received: a\nReceived: b\nX-A: c\nX-A: d\nDKIM-Signature: e\nDKIM-Signature: f\n"
    assert broken(good(("Subject: ", f"{fields}Subject: "))) == []


TEXTS = {
    "Subject: Offers of the week\n": ("", "no Subject field"),
    "Offers of the week": (" ", "Subject is empty"),
    "List-Id: ": ("X-Was: ", "no List-Id field"),
    "To: reader@example.org\n": ("", "no To field"),
    "<news@example.com>": ("<news>", "From has 0 addresses, not one"),
    "Offers of": ("F\udcfcr", "fields with 8-bit bytes that are not UTF-8: Subject"),
    "Date: M": (
        f"Referenced: {'x' * 990}\nDate: M",
        "fields with a line of more than 998 bytes: Referenced",
    ),
}


@for_every(tuple(TEXTS))
def test_texts(old: str) -> None:
    new, text = TEXTS[old]
    findings = judge(Sent(message=good((old, new)), signatures=(SIGNED,)))
    assert text in [finding.text for finding in findings]


def test_longest_line_of_a_field() -> None:
    for length, rules in ((990, []), (991, ["line-too-long"])):
        assert broken(good(("Subject: ", f"X-Long: {'x' * length}\n y\nSubject: "))) == rules


def test_fields_with_the_same_fault_are_one_finding() -> None:
    fields = "".join(f"X-{number}: ü\n" for number in range(7))
    (finding,) = judge(
        Sent(message=good(("Subject: ", f"{fields}Subject: ")), signatures=(SIGNED,))
    )
    wanted = "fields with characters that are not ASCII: X-0, X-1, X-2, X-3, X-4"
    assert finding.text == f"{wanted} and 2 more"
    message = good(("Subject: ", f"{fields[: -2 * len(fields) // 7]}Subject: "))
    (finding,) = judge(Sent(message=message, signatures=(SIGNED,)))
    assert finding.text == wanted


def test_missing_text_part_and_empty_one() -> None:
    plain = GOOD[
        GOOD.index("--b\nContent-Type: text/plain") : GOOD.index("--b\nContent-Type: text/html")
    ]
    assert broken(good((plain, ""))) == ["text-part-missing"]
    text = plain.partition("\n\n")[2]
    assert broken(good((text, "\n"))) == ["text-part-empty"]


def test_unsubscribe_link_in_the_text_is_looked_for_in_all_parts() -> None:
    without = (
        ("To unsubscribe: https://click.example.com/unsub?x\n", ""),
        ('<a href="https://click.example.com/unsub?x">Unsubscribe</a>', ""),
    )
    assert broken(good(*without)) == ["unsubscribe-not-visible"]
    for words in ("Hier abmelden", "Se desabonner", '<a href="https://example.com/unsub/1">x</a>'):
        assert broken(good(*without, ("</p>", f" {words}</p>"))) == []


def test_encoded_html_over_the_limit_is_only_worth_knowing() -> None:
    html = "<p>Unsubscribe " + "".join(f"{'=E4=F6=FC' * 8} =\n" for _ in range(1500))
    message = parse(
        "Content-Type: text/html; charset=latin-1\n"
        f"Content-Transfer-Encoding: quoted-printable\n\n{html}".encode()
    )
    rules = broken(message)
    assert "html-nearly-too-large" in rules
    assert "html-too-large" not in rules


def test_large_mail() -> None:
    attachment = "\n".join(["x" * 76] * 140_000)
    rules = broken(good(("--b--", f"--b\nContent-Type: application/zip\n\n{attachment}\n--b--")))
    assert rules == ["mail-too-large"]


def test_tracked_address_is_no_misleading_link() -> None:
    message = good(
        ("https://example.com/coats", "https://t.example/click?T"), (">Coats<", ">example.com<")
    )
    leads = {"https://t.example/click?T": "https://example.com/coats"}.get
    assert broken(message, destination=leads) == ["link-tracked-address"]
    leads = {"https://t.example/click?T": "https://other.example/"}.get
    assert broken(message, destination=leads) == ["link-misleads"]
    assert broken(message) == ["link-misleads"]


def test_shortener_behind_a_tracking_link_is_found() -> None:
    message = good(("https://example.com/coats", "https://t.example/click?T"))
    assert broken(message, destination=lambda url: "https://bit.ly/x") == ["link-shortener"]


# Signatures, and the domain of From.

UNVERIFIED = replace(SIGNED, objection=None)
OTHERS = replace(SIGNED, domain="esp.example.net")

SIGNATURES: dict[str, tuple[tuple[SignatureField, ...], list[str]]] = {
    "aligned": ((SIGNED,), []),
    "a subdomain": ((replace(SIGNED, domain="mail.example.com"),), []),
    "nobody verified it": ((UNVERIFIED,), ["dkim-not-verified"]),
    "not verifying": ((replace(SIGNED, objection="bad"),), ["dkim-invalid", "dkim-not-aligned"]),
    "another organization": ((OTHERS,), ["dkim-not-aligned"]),
    "both": ((OTHERS, SIGNED), []),
    "SHA-1": ((replace(SIGNED, algorithm="rsa-sha1"),), ["dkim-sha1"]),
    "body length": ((replace(SIGNED, limited=True),), ["dkim-body-length"]),
    "fields not covered": ((replace(SIGNED, covered=frozenset({"from"})),),
        ["unsubscribe-not-signed"]),
    "covered by the wrong one": ((replace(SIGNED, covered=frozenset({"from"})), OTHERS),
        ["unsubscribe-not-signed"]),
}  # fmt: skip


@for_every(SIGNATURES)
def test_signatures(signed: tuple[SignatureField, ...], rules: list[str]) -> None:
    assert broken(good(), *signed) == rules


def test_mail_without_signature() -> None:
    unsigned = Sent(message=good(), return_path="bounces@example.com")
    assert [each.rule.name for each in judge(unsigned)] == ["dkim-missing"]
    later = replace(unsigned, signed_later=True)
    assert [each.rule.name for each in judge(later)] == ["dkim-elsewhere"]


RETURN_PATHS = {
    None: [],
    "": [],
    "b@example.com": [],
    "b@bounce.example.com": [],
    "b@example.net": ["return-path-not-aligned"],
}


@for_every(tuple(RETURN_PATHS))
def test_return_paths(path: str | None) -> None:
    assert broken(good(), return_path=path) == RETURN_PATHS[path]


def test_strict_alignment() -> None:
    strict = Alignment(strict_dkim=True, strict_spf=True)
    subdomain = replace(SIGNED, domain="mail.example.com")
    rules = broken(good(), subdomain, alignment=strict, return_path="b@bounce.example.com")
    assert rules == ["dkim-not-aligned", "return-path-not-aligned"]


def test_transactional_mail_needs_no_unsubscribe() -> None:
    fields = ("List-Id", "List-Unsubscribe:", "List-Unsubscribe-Post")
    message = good(*((f"\n{name}", f"\nX-{name}") for name in fields))
    assert broken(message, subscription=False) == ["unsubscribe-off"]
    # A List-Unsubscribe of its own is judged all the same.
    message = good(("List-Unsubscribe-Post: ", "X-Was: "))
    assert broken(message, subscription=False) == ["unsubscribe-not-one-click"]


def test_severe_findings_come_first() -> None:
    message = good(("List-Id: ", "X-Was: "), ("Date: ", "X-Date: "))
    severities = [
        each.rule.severity.value for each in judge(Sent(message=message, return_path="a@b.example"))
    ]
    assert severities == ["error", "error", "warning", "info"]


def test_finding_is_one_line_with_rule_cure_and_source() -> None:
    (finding,) = judge(Sent(message=good(("List-Id: ", "X-Was: ")), signatures=(SIGNED,)))
    line = str(finding)
    assert line.startswith("warning: list-id-missing: no List-Id field. Write `List-Id: ")
    assert line.endswith(
        "[Gmail, RFC 2919: https://support.google.com/a/answer/15263077, read 2026-11-30]"
    )


# Laws.


@given(st.binary())
def test_no_bytes_raise(raw: bytes) -> None:
    for finding in judge(Sent(message=parse(raw), signatures=signatures(parse(raw)))):
        assert str(finding).isprintable() or not raw.isascii()


NAMES = st.sampled_from(
    ["From", "Date", "Message-ID", "List-Unsubscribe", "DKIM-Signature", "Content-Type", "Subject"]
)
VALUES = st.one_of(
    st.text(max_size=60),
    st.sampled_from(["text/html", "text/html; charset=x", "<https://a.example>", "a@b.example"]),
)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=8), st.text(max_size=300))
def test_no_mail_raises(fields: list[tuple[str, str]], body: str) -> None:
    text = "".join(f"{name}: {value}\n" for name, value in fields) + f"\n{body}"
    message = parse(text.encode("utf-8", "surrogateescape"))
    findings = judge(Sent(message=message, signatures=signatures(message)))
    assert all("\n" not in str(finding) for finding in findings)


@given(st.text(alphabet="<a href='https://x.example'>imgalt=/-! www.b.c"))
def test_no_html_raises(text: str) -> None:
    judge(Sent(message=parse(b"Content-Type: text/html; charset=utf-8\n\n" + text.encode())))


def test_every_rule_has_what_is_printed() -> None:
    for name, rule in RULES.items():
        assert name == rule.name == name.lower()
        assert rule.demand
        assert rule.cure[0].isupper()
        assert not rule.cure.endswith(".")
        assert rule.sources
        for source in rule.sources:
            assert source.url.startswith("https://")
            assert source.read or "rfc-editor" in source.url or source.by in ("WCAG 2.2", "Postfix")


@pytest.mark.parametrize("hostile", ["<", "<a ", "&", "a.", "-", "https://", "[", "(", "<img alt "])
def test_hostile_text_takes_linear_time(hostile: str) -> None:
    """It ends: quadratic work on this would take minutes."""
    body = (hostile * 200_000).encode()
    for kind in (b"text/html", b"text/plain"):
        judge(Sent(message=parse(b"Content-Type: " + kind + b"\n\n" + body)))
