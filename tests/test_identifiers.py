"""identifiers.py: the tokens, return path and header fields that identify one message."""

from __future__ import annotations

import re
import weakref
from dataclasses import replace
from typing import Any

import pytest
from fletching.config.model import MailClass
from fletching.mail.message import Header
from fletching.outgoing.identifiers import Identifiers
from fletching.outgoing.text_parts import TextPartCache
from fletching.outgoing.tracking_urls import url
from fletching.policy.plan import Member, Plan, Tracking, Unsubscribe
from fletching.policy.return_path import sender_suffix
from fletching.tokens import PURPOSES, Facts, Keyring, Kind, TokenError, found_in
from hypothesis import given
from hypothesis import strategies as st

from tests.setting import CAMPAIGN, KEYRING, RECIPIENT

FACTS = Facts(CAMPAIGN, 7, "newsletter", "100525", "t100", "4711", RECIPIENT, "a", 1772355600)
DOMAIN = "https://click.example.com"
TAG = KEYRING.tag(CAMPAIGN, 7)
LONGEST = replace(
    FACTS,
    mail_class="c" * 64,
    instance_id="1" * 20,
    listid="l" * 20,
    click_tracking_id="i" * 300,
    email="e" * 254,
    mtaid="m" * 200,
)


def plan(**other: Any) -> Plan:
    values: dict[str, Any] = {
        "mail_class": MailClass(),
        "bounce_mailbox": "bounces@example.com",
        "verp": True,
        "tracking": Tracking(body=True, clicks=True, opens=True, domain=DOMAIN),
        "unsubscribe": Unsubscribe(own=True, post="List-Unsubscribe=One-Click", mailbox="u@e.com"),
    }
    return Plan(trusted=True, remove=frozenset(), **(values | other))


TEXT_PARTS = TextPartCache()


def identifiers(facts: Facts = FACTS, keys: Keyring = KEYRING, **other: Any) -> Identifiers:
    transport = other.pop("transport", None)
    if transport is not None:
        other["candidates"] = (Member("a", transport),)
    return Identifiers(plan=plan(**other), facts=facts, keys=keys, text_parts=TEXT_PARTS)


def field(made: Identifiers, name: bytes) -> Header | None:
    found = [header for header in made.headers() if header.name == name]
    assert len(found) < 2
    return found[0] if found else None


# Links.


@pytest.mark.parametrize(
    ("kind", "noun"),
    [
        (Kind.CLICK_HTML, "click"),
        (Kind.CLICK_TEXT, "click"),
        (Kind.OPEN, "open"),
        (Kind.UNSUBSCRIBE_HTML, "unsub"),
        (Kind.UNSUBSCRIBE_TEXT, "unsub"),
        (Kind.LIST_UNSUBSCRIBE, "unsub"),
    ],
)
def test_tracking_urls_have_three_forms(kind: Kind, noun: str) -> None:
    assert url(DOMAIN, "a", kind, "T") == f"{DOMAIN}/{noun}/T"
    assert url(DOMAIN, "b", kind, "T") == f"{DOMAIN}/{noun}?T"
    assert url(DOMAIN, "c", kind, "T") == f"{DOMAIN}/{noun}?qs=T"


def made(kind: Kind, destination: str, form: str = "b") -> str:
    ends, half = identifiers(tracking=Tracking(domain=DOMAIN, form=form)).urls()
    before, behind = ends(kind, destination)
    return before + half(PURPOSES[kind]) + behind


@pytest.mark.parametrize("form", "abc")
def test_click_token_can_be_decrypted(form: str) -> None:
    destination = "https://www.example.org/?a=b&c#d"
    link = made(Kind.CLICK_HTML, destination, form)
    assert link.startswith(f"{DOMAIN}/click")
    token = KEYRING.open(found_in(link))
    assert token.kind is Kind.CLICK_HTML
    assert token.facts == FACTS
    assert token.destination == destination
    # It needs no encoding in HTML, in text and in quoted-printable.
    assert re.fullmatch(r"[A-Za-z0-9:/?=._~-]+", link)


def test_pixel_token_can_be_decrypted() -> None:
    assert KEYRING.open(found_in(made(Kind.OPEN, ""))).kind is Kind.OPEN


def test_tokens_are_deterministic() -> None:
    assert made(Kind.CLICK_HTML, "x") == made(Kind.CLICK_HTML, "x")
    assert made(Kind.CLICK_HTML, "x") != made(Kind.CLICK_TEXT, "x")
    assert made(Kind.CLICK_HTML, "x") != made(Kind.CLICK_HTML, "y")


def test_links_of_a_campaign_share_their_ends() -> None:
    """They are the same object, so that the cache finds what was filled with them."""
    assert (
        identifiers().urls().ends
        == identifiers(replace(FACTS, number=8, email="x@e.com")).urls().ends
    )
    for other in (replace(FACTS, campaign="other"), replace(FACTS, instance_id="7")):
        assert identifiers().urls().ends != identifiers(other).urls().ends


def test_identifiers_have_no_reference_cycle() -> None:
    one = identifiers()
    one.headers()
    one.urls().half(PURPOSES[Kind.OPEN])
    gone = weakref.ref(one)
    del one
    assert gone() is None


# Return path.


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({}, f"bounces+{TAG}@example.com"),
        ({"delimiter": "="}, f"bounces={TAG}@example.com"),
        ({"verp": False}, "bounces@example.com"),
        ({"bounce_mailbox": None}, None),
        ({"bounce_mailbox": None, "verp": False}, None),
        ({"by_sender": True}, f"bounces+{TAG}@example.com"),
        (
            {"by_sender": True, "transport": "vmta-a"},
            f"bounces+{TAG}-{sender_suffix('vmta-a')}@example.com",
        ),
        ({"by_sender": False, "transport": "vmta-a"}, f"bounces+{TAG}@example.com"),
    ],
)
def test_return_path_has_mailbox_and_tag(other: dict[str, Any], expected: str | None) -> None:
    assert identifiers(**other).sender == expected


def test_mail_without_number_has_no_tag() -> None:
    away = replace(FACTS, campaign="", number=0)
    assert identifiers(away).sender == "bounces@example.com"
    assert identifiers(away, by_sender=True, transport="vmta-a").sender == "bounces@example.com"


@pytest.mark.parametrize(("local", "transport"), [("b" * 31, None), ("b" * 26, "vmta-a")])
def test_local_part_of_the_return_path_fits(local: str, transport: str | None) -> None:
    made = identifiers(
        replace(FACTS, number=2**30 - 1),
        bounce_mailbox=f"{local}@example.com",
        by_sender=transport is not None,
        transport=transport,
    ).sender
    assert made is not None
    assert len(made.rpartition("@")[0]) == 64


# X-Mailer-Info.


@pytest.mark.parametrize("facts", [FACTS, LONGEST, replace(FACTS, email="l\udce4@example.org")])
def test_mailer_info(facts: Facts) -> None:
    header = field(identifiers(facts), b"X-Mailer-Info")
    assert header is not None
    lines = header.value.split(b"\r\n")
    assert all(line.startswith(b" ") and 2 <= len(line) <= 73 for line in lines)
    token = KEYRING.open(found_in(header.text.decode()))
    assert token.kind is Kind.MAILER_INFO
    assert token.facts == facts


def test_no_mailer_info_without_link_keys() -> None:
    assert identifiers(keys=Keyring(()), unsubscribe=None).headers() == ()


# List-Unsubscribe.

FORM = re.compile(rb" <(?P<link>[^>]+)>(?:,\r\n <mailto:(?P<box>[^?]+)\?subject=(?P<subject>.+)>)?")


def test_list_unsubscribe() -> None:
    made = identifiers()
    header = field(made, b"List-Unsubscribe")
    assert header is not None
    match = FORM.fullmatch(header.value)
    assert match is not None
    assert match["link"].startswith(b"https://click.example.com/unsub?")
    assert match["box"] == b"u@e.com"
    for text in (match["link"], match["subject"]):
        token = KEYRING.open(found_in(text.decode()))
        assert token.kind is Kind.LIST_UNSUBSCRIBE
        assert token.facts == FACTS
        assert token.destination == ""
    post = field(made, b"List-Unsubscribe-Post")
    assert post is not None
    assert post.value == b" List-Unsubscribe=One-Click"


@pytest.mark.parametrize(
    ("wanted", "starts", "post"),
    [
        (None, [], None),
        (Unsubscribe(own=True), [b"https://click.example.com/unsub?"], None),
        (Unsubscribe(mailbox="u@e.com"), [b"mailto:u@e.com?subject="], None),
        # No Post header without a link.
        (Unsubscribe(post="a=b", mailbox="u@e.com"), [b"mailto:u@e.com?subject="], None),
        (Unsubscribe(url="https://h.example.com/u"), [b"https://h.example.com/u"], None),
        (
            Unsubscribe(url="https://h.example.com/u", post="a=b", mailbox="u@e.com"),
            [b"https://h.example.com/u", b"mailto:u@e.com?subject="],
            b" a=b",
        ),
    ],
)
def test_list_unsubscribe_has_link_mailto_and_post(
    wanted: Unsubscribe | None, starts: list[bytes], post: bytes | None
) -> None:
    made = identifiers(unsubscribe=wanted)
    header = field(made, b"List-Unsubscribe")
    uris = re.findall(rb" <([^>]*)>", header.value) if header else []
    assert len(uris) == len(starts)
    assert all(uri.startswith(start) for uri, start in zip(uris, starts, strict=True))
    found = field(made, b"List-Unsubscribe-Post")
    assert (found.value if found else None) == post


def test_no_unsubscribe_link_without_a_url_domain() -> None:
    made = identifiers(tracking=Tracking(), unsubscribe=Unsubscribe(own=True, post="x"))
    assert [header.name for header in made.headers()] == [b"X-Mailer-Info"]


@pytest.mark.parametrize(
    ("mailbox", "written"),
    [
        ("unsub@example.com", b"unsub@example.com"),
        ("unsub+x@example.com", b"unsub+x@example.com"),
        ("un?sub&x=1@example.com", b"un%3Fsub%26x%3D1@example.com"),
        ("a#b%c/d@example.com", b"a%23b%25c%2Fd@example.com"),
        ("a'b!c$d*e@example.com", b"a'b!c$d*e@example.com"),
        ("{a|b}^`c@example.com", b"%7Ba%7Cb%7D%5E%60c@example.com"),
    ],
)
def test_mailbox_is_encoded_in_mailto(mailbox: str, written: bytes) -> None:
    """RFC 6068: characters with a meaning in a URI are percent-encoded."""
    header = field(identifiers(unsubscribe=Unsubscribe(mailbox=mailbox)), b"List-Unsubscribe")
    assert header is not None
    assert header.value.startswith(b" <mailto:" + written + b"?subject=")


# Postfix breaks lines of more than 998 bytes, whatever they contain.


def longest_line(header: Header) -> int:
    return max(map(len, (header.name + b":" + header.value).split(b"\r\n")))


LONG_DOMAIN = "https://" + ".".join(["d" * 63, "e" * 63, "f" * 63, "g" * 61]) + ":65535"


def test_longest_values_fit_on_a_line() -> None:
    made = identifiers(
        LONGEST,
        tracking=Tracking(domain=LONG_DOMAIN, form="c"),
        unsubscribe=Unsubscribe(own=True, post="x", mailbox="u" * 64 + "@" + LONG_DOMAIN[8:-6]),
    )
    headers = made.headers()
    assert [header.name for header in headers] == [
        b"List-Unsubscribe",
        b"List-Unsubscribe-Post",
        b"X-Mailer-Info",
    ]
    assert all(longest_line(header) <= 998 for header in headers)
    link, mail = re.findall(rb"<([^>]*)>", headers[0].value)
    for uri in (link, mail.rpartition(b"=")[2]):
        facts = KEYRING.open(found_in(uri.decode())).facts
        # What is needed to unsubscribe is there.
        assert (facts.email, facts.listid, facts.sendid) == (
            LONGEST.email,
            LONGEST.listid,
            LONGEST.sendid,
        )
        assert facts.mtaid == ""
        assert facts.click_tracking_id == ""


def test_virtual_mta_is_left_out_of_a_long_token_first() -> None:
    def facts_with(click_tracking_id: str) -> Facts:
        made = identifiers(replace(FACTS, click_tracking_id=click_tracking_id, mtaid="m" * 200,
                             email="e" * 200))  # fmt: skip
        header = field(made, b"List-Unsubscribe")
        assert header is not None
        return KEYRING.open(found_in(header.text.decode())).facts

    assert facts_with("i" * 100).mtaid == "m" * 200
    assert facts_with("i" * 300).mtaid == ""
    assert facts_with("i" * 300).click_tracking_id == "i" * 300


def test_link_that_does_not_fit_is_left_out() -> None:
    """Postfix accepts addresses that are too long for any link."""
    made = identifiers(replace(FACTS, email="e" * 1500 + "@example.org"))
    assert [header.name for header in made.headers()] == [b"X-Mailer-Info"]


@given(st.builds(Facts, campaign=st.just(CAMPAIGN), number=st.integers(1, 2**30 - 1),
                 mail_class=st.text("ab_", min_size=1, max_size=64),
                 instance_id=st.text("0a", max_size=20), listid=st.text("t+", max_size=20),
                 click_tracking_id=st.text(st.characters(min_codepoint=32, max_codepoint=126),
                                           max_size=300),
                 email=st.text(st.characters(exclude_categories=["Cs"]), max_size=900),
                 mtaid=st.text("m ", max_size=200), sent=st.integers(0, 2**32 - 1)),
       st.sampled_from("abc"))  # fmt: skip
def test_lines_are_at_most_998_bytes(facts: Facts, form: str) -> None:
    made = identifiers(facts, tracking=Tracking(domain=LONG_DOMAIN, form=form))
    for header in made.headers():
        assert longest_line(header) <= 998
        assert header.value.startswith(b" ")
        assert header.value.isascii()
        assert not re.search(rb"\r\n(?! [!-~])", header.value)


def test_other_key_decrypts_nothing() -> None:
    header = field(identifiers(), b"X-Mailer-Info")
    assert header is not None
    with pytest.raises(TokenError):
        Keyring(()).open(found_in(header.text.decode()))
