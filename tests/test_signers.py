"""signers.py: which keys sign what, by the wishes of X-GreenArrow-DKIM and without."""

from __future__ import annotations

import pytest
from fletching.mail.message import Message, parse
from fletching.policy.control import DkimWish
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
    message: Message, *wishes: DkimWish
) -> tuple[list[tuple[str, str, str, str]], list[str]]:
    """d=, s=, and the key's own domain and selector; what could not be signed, and why."""
    signatures, warnings = choose(message, wishes or None, KEYS)
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
        ((FROM, "Sender: bot@other.example"), None, "there is no default key of other.example"),
        (("Sender: nobody", FROM), None, "Sender and From have no usable domain"),
        (("From: a@other.example",), None, "there is no default key of other.example"),
        (("From: a@sub.example.com",), None, "there is no default key of sub.example.com"),
        (("From: a@b\u00fccher.example",),
         ("xn--bcher-kva.example", "s1", "xn--bcher-kva.example", "s1"), None),
        (("From: a@xn--bcher-kva.example",),
         ("xn--bcher-kva.example", "s1", "xn--bcher-kva.example", "s1"), None),
        (("From: undisclosed",), None, "Sender and From have no usable domain"),
        (("From: a@",), None, "Sender and From have no usable domain"),
        (("From: a@exa..mple",), None, "Sender and From have no usable domain"),
        (("Subject: x",), None, "Sender and From have no usable domain"),
        ((), None, "Sender and From have no usable domain"),
    ],
)  # fmt: skip
def test_without_wishes(
    fields: tuple[str, ...], signature: tuple[str, str, str, str] | None, warning: str | None
) -> None:
    names, warnings = chosen(mail(*fields))
    assert names == ([signature] if signature else [])
    assert warnings == ([warning] if warning else [])


@pytest.mark.parametrize(
    ("wish", "signature"),
    [
        (DkimWish(), S1),
        (DkimWish(domain="example.com"), S1),
        (DkimWish(domain="example.com", selector="s1"), S1),
        (DkimWish(domain="example.com", selector="s2"), S2),
        (DkimWish(selector="s2"), S2),
        (DkimWish(from_domain=True), S1),
        (DkimWish(from_domain=True, selector="s2"), S2),
        # from_domain takes the place of a domain that is given, too.
        (DkimWish(domain="other.example", from_domain=True), S1),
        (DkimWish(domain="other.example", selector="s1"),
         ("other.example", "s1", "other.example", "s1")),
        # The key of another domain; d= and s= are what was asked for.
        (DkimWish(domain="customer.example", selector="c1", use_key_from="shared.example"),
         ("customer.example", "c1", "shared.example", "k1")),
        (DkimWish(domain="customer.example", selector="c1", use_key_from="shared.example/k2"),
         ("customer.example", "c1", "shared.example", "k2")),
        (DkimWish(from_domain=True, selector="c1", use_key_from="shared.example"),
         ("example.com", "c1", "shared.example", "k1")),
        (DkimWish(selector="c1", use_key_from="shared.example"),
         ("example.com", "c1", "shared.example", "k1")),
    ],
)  # fmt: skip
def test_a_wish(wish: DkimWish, signature: tuple[str, str, str, str]) -> None:
    assert chosen(mail(FROM), wish) == ([signature], [])


@pytest.mark.parametrize(
    ("wish", "warning"),
    [
        (DkimWish(domain="nowhere.example"), "there is no default key of nowhere.example"),
        (DkimWish(domain="other.example"), "there is no default key of other.example"),
        (DkimWish(domain="example.com", selector="s9"), "there is no key s9 of example.com"),
        (DkimWish(selector="c1", use_key_from="nowhere.example"),
         "there is no default key of nowhere.example"),
        (DkimWish(selector="c1", use_key_from="shared.example/k9"),
         "there is no key k9 of shared.example"),
        # A key is not looked up by the selector that stands for another one.
        (DkimWish(selector="k2", use_key_from="other.example"),
         "there is no default key of other.example"),
    ],
)  # fmt: skip
def test_a_wish_that_cannot_be(wish: DkimWish, warning: str) -> None:
    assert chosen(mail(FROM), wish) == ([], [warning])


def test_no_domain_to_sign_for() -> None:
    """Such a mail is sent all the same: there is no signature, and nothing fails."""
    broken = mail("From: a@exa..mple")
    wish = DkimWish(from_domain=True, selector="c1", use_key_from="shared.example")
    assert chosen(broken, wish) == ([], ["Sender and From have no usable domain"])


def test_several_in_order() -> None:
    wishes = [
        DkimWish(domain="other.example", selector="s1"),
        DkimWish(domain="nowhere.example"),
        DkimWish(selector="s2"),
        DkimWish(),
    ]
    names, warnings = chosen(mail(FROM), *wishes)
    assert names == [("other.example", "s1", "other.example", "s1"), S2, S1]
    assert warnings == ["there is no default key of nowhere.example"]


def test_the_same_key_twice_signs_once() -> None:
    again = [DkimWish(), DkimWish(domain="example.com", selector="s1"), DkimWish(from_domain=True)]
    assert chosen(mail(FROM), *again) == ([S1], [])


def test_the_same_key_twice_where_wanted() -> None:
    wishes = [DkimWish(), DkimWish(allow_duplicate=True)]
    assert chosen(mail(FROM), *wishes) == ([S1, S1], [])
    # It is the second wish that has to allow it.
    assert chosen(mail(FROM), *reversed(wishes)) == ([S1], [])


def test_one_key_for_two_domains_is_two_signatures() -> None:
    wishes = [
        DkimWish(domain=domain, selector="c1", use_key_from="shared.example")
        for domain in ("a.example", "b.example")
    ]
    names, _ = chosen(mail(FROM), *wishes)
    assert [name for name, *_ in names] == ["a.example", "b.example"]


def test_all_wishes_in_vain_are_no_default_key() -> None:
    names, warnings = chosen(mail(FROM), DkimWish(selector="s9"))
    assert names == []
    assert len(warnings) == 1


def test_no_keys() -> None:
    assert choose(mail(FROM), None, ()) == (
        (),
        ["no DKIM signature: there is no default key of example.com"],
    )
