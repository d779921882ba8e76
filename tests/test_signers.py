"""signers.py: which keys sign what, by the requests of X-GreenArrow-DKIM and without."""

from __future__ import annotations

import pytest
from fletching.mail.message import Message, parse
from fletching.policy.offers import DkimRequest
from fletching.policy.signers import choose

from tests.setting import dkim_key

KEYS = (
    dkim_key("example.com", "s1", default=True),
    dkim_key("example.com", "s2"),
    dkim_key("other.example", "s1"),
    dkim_key("shared.example", "k1", default=True),
    dkim_key("shared.example", "k2"),
    dkim_key("xn--bcher-kva.example", "s1", default=True),
)
FROM = "From: Shop <news@example.com>"


def mail(*fields: str) -> Message:
    return parse("\n".join((*fields, "", "")).encode())


def chosen(
    message: Message, *requests: DkimRequest
) -> tuple[list[tuple[str, str, str, str]], list[str]]:
    """d=, s=, and the key's own domain and selector; what could not be signed, and why."""
    signatures, warnings = choose(message, requests or None, KEYS)
    names = [(each.domain, each.selector, each.key.domain, each.key.selector)
             for each in signatures]  # fmt: skip
    return names, [text.removeprefix("no DKIM signature: ") for text in warnings]


S1 = ("example.com", "s1", "example.com", "s1")
S2 = ("example.com", "s2", "example.com", "s2")


@pytest.mark.parametrize(
    ("fields", "signature", "warning"),
    [
        ((FROM,), S1, None),
        (("From: news@EXAMPLE.com",), S1, None),
        (('From: "x@evil.example, y" <news@example.com>',), S1, None),
        (("Sender: bot@example.com", "From: a@other.example"), S1, None),
        ((FROM, "Sender: bot@other.example"), None, "no default key for other.example"),
        (("Sender: nobody", FROM), None, "neither Sender nor From has a usable domain"),
        (("From: a@other.example",), None, "no default key for other.example"),
        (("From: a@sub.example.com",), None, "no default key for sub.example.com"),
        (("From: a@b\u00fccher.example",),
         ("xn--bcher-kva.example", "s1", "xn--bcher-kva.example", "s1"), None),
        (("From: a@xn--bcher-kva.example",),
         ("xn--bcher-kva.example", "s1", "xn--bcher-kva.example", "s1"), None),
        (("From: undisclosed",), None, "neither Sender nor From has a usable domain"),
        (("From: a@",), None, "neither Sender nor From has a usable domain"),
        (("From: a@exa..mple",), None, "neither Sender nor From has a usable domain"),
        (("Subject: x",), None, "neither Sender nor From has a usable domain"),
        ((), None, "neither Sender nor From has a usable domain"),
    ],
)  # fmt: skip
def test_default_key_signs_without_requests(
    fields: tuple[str, ...], signature: tuple[str, str, str, str] | None, warning: str | None
) -> None:
    names, warnings = chosen(mail(*fields))
    assert names == ([signature] if signature else [])
    assert warnings == ([warning] if warning else [])


@pytest.mark.parametrize(
    ("asked", "signature"),
    [
        (DkimRequest(), S1),
        (DkimRequest(domain="example.com"), S1),
        (DkimRequest(domain="example.com", selector="s1"), S1),
        (DkimRequest(domain="example.com", selector="s2"), S2),
        (DkimRequest(selector="s2"), S2),
        (DkimRequest(from_domain=True), S1),
        (DkimRequest(from_domain=True, selector="s2"), S2),
        # from_domain wins over a domain that is given, too.
        (DkimRequest(domain="other.example", from_domain=True), S1),
        (DkimRequest(domain="other.example", selector="s1"),
         ("other.example", "s1", "other.example", "s1")),
        # The key of another domain, with the requested d= and s=.
        (DkimRequest(domain="customer.example", selector="c1", use_key_from="shared.example"),
         ("customer.example", "c1", "shared.example", "k1")),
        (DkimRequest(domain="customer.example", selector="c1", use_key_from="shared.example/k2"),
         ("customer.example", "c1", "shared.example", "k2")),
        (DkimRequest(from_domain=True, selector="c1", use_key_from="shared.example"),
         ("example.com", "c1", "shared.example", "k1")),
        (DkimRequest(selector="c1", use_key_from="shared.example"),
         ("example.com", "c1", "shared.example", "k1")),
    ],
)  # fmt: skip
def test_signature_asked_for(asked: DkimRequest, signature: tuple[str, str, str, str]) -> None:
    assert chosen(mail(FROM), asked) == ([signature], [])


@pytest.mark.parametrize(
    ("asked", "warning"),
    [
        (DkimRequest(domain="nowhere.example"), "no default key for nowhere.example"),
        (DkimRequest(domain="other.example"), "no default key for other.example"),
        (DkimRequest(domain="example.com", selector="s9"), "no key s9 for example.com"),
        (DkimRequest(selector="c1", use_key_from="nowhere.example"),
         "no default key for nowhere.example"),
        (DkimRequest(selector="c1", use_key_from="shared.example/k9"),
         "no key k9 for shared.example"),
        # With use_key_from, the selector does not choose the key.
        (DkimRequest(selector="k2", use_key_from="other.example"),
         "no default key for other.example"),
    ],
)  # fmt: skip
def test_signature_that_cannot_be_made(asked: DkimRequest, warning: str) -> None:
    assert chosen(mail(FROM), asked) == ([], [warning])


def test_no_domain_to_sign_for() -> None:
    """Such a mail is sent without a signature."""
    broken = mail("From: a@exa..mple")
    request = DkimRequest(from_domain=True, selector="c1", use_key_from="shared.example")
    assert chosen(broken, request) == ([], ["neither Sender nor From has a usable domain"])


def test_several_signatures_keep_their_order() -> None:
    requests = [
        DkimRequest(domain="other.example", selector="s1"),
        DkimRequest(domain="nowhere.example"),
        DkimRequest(selector="s2"),
        DkimRequest(),
    ]
    names, warnings = chosen(mail(FROM), *requests)
    assert names == [("other.example", "s1", "other.example", "s1"), S2, S1]
    assert warnings == ["no default key for nowhere.example"]


def test_same_signature_is_made_once() -> None:
    again = [
        DkimRequest(),
        DkimRequest(domain="example.com", selector="s1"),
        DkimRequest(from_domain=True),
    ]
    assert chosen(mail(FROM), *again) == ([S1], [])


def test_same_signature_is_made_twice_with_allow_duplicate() -> None:
    requests = [DkimRequest(), DkimRequest(allow_duplicate=True)]
    assert chosen(mail(FROM), *requests) == ([S1, S1], [])
    # The second request has to allow it.
    assert chosen(mail(FROM), *reversed(requests)) == ([S1], [])


def test_one_key_for_two_domains_makes_two_signatures() -> None:
    requests = [
        DkimRequest(domain=domain, selector="c1", use_key_from="shared.example")
        for domain in ("a.example", "b.example")
    ]
    names, _ = chosen(mail(FROM), *requests)
    assert [name for name, *_ in names] == ["a.example", "b.example"]


def test_failed_requests_do_not_use_the_default_key() -> None:
    names, warnings = chosen(mail(FROM), DkimRequest(selector="s9"))
    assert names == []
    assert len(warnings) == 1


def test_no_keys_make_no_signature() -> None:
    assert choose(mail(FROM), None, ()) == (
        (),
        ["no DKIM signature: no default key for example.com"],
    )
