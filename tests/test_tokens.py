"""tokens.py: tokens and tags open to what they were made of, and nothing else opens."""

from __future__ import annotations

import base64
import json
import re
import shutil
import string
import subprocess
import sys
from dataclasses import replace
from itertools import product

import pytest
from fletching.numbering import campaign_id, opened_at, opened_before
from fletching.tokens import (
    HIGHEST_KEY_ID,
    PURPOSES,
    TAG_LENGTH,
    VERSION,
    Facts,
    Keyring,
    Kind,
    LinkKey,
    Purpose,
    TokenError,
    found_in,
)
from hypothesis import example, given
from hypothesis import strategies as st

from tests.cases import for_every

FIRST = LinkKey(1, 0, bytes(range(32)))
SECOND = LinkKey(2, 1, bytes(range(32, 64)))
HIGHEST = LinkKey(HIGHEST_KEY_ID, 2, b"\xff" * 32)
KEYS = Keyring((FIRST,))

FACTS = Facts(
    campaign="mbyyqiavuxqo",
    number=4711,
    mail_class="newsletter",
    instance_id="100525",
    listid="t100",
    click_tracking_id="order 7",
    email="reader@example.org",
    mtaid="bulk a",
    sent=1772355600,
)
NOTHING = Facts("", 0, "", "", "", "", "", "", 0)

# Tokens of yesterday's mail must open tomorrow. If one of these has to change, VERSION has to
# change with it, and tokens of both versions have to open.
PINNED = {
    (Kind.CLICK_HTML, "https://www.example.org/a?x=1&y=2#z"): (
        "CAEAX_yhhI4Fnyk1rdaM49KfjgTTPJrX_FcAPLJoiKe_5EdYti9GXz8C8QLRXSIpRhPAZgftZTLyMIrX"
        "M-auBSImoCcc0wBrtxBMkUygZfbT3_ISW7KTi7uqBdk_2BBQdBlyUJb0fTfJVqWRPVH_070NyYuJp6iN"
        "3fJ-XLLRinmssSkID_4N351k9dm9cSApFsATFFE1rQ"
    ),
    (Kind.OPEN, ""): (
        "CAEAX9zVjikFs0IASjXAJBDaFTOHKwVCtdmCHvMy4LqfLJ14x-N-7X7xm6otLEWB-we4EU6Wu2FwH-Hx"
        "jipBFhBQLwxUnGV2RTk3Hvw9tZ5gBueUPR4TqL3lHZ4bnkuZc7QcLBEFc5PLfO6Xr_jIVgHTDhI"
    ),
}
PINNED_TAG = "lkeopnhg4seaabaaaethmbyyqiavuxqo"


def opened(token: str, keys: Keyring = KEYS) -> tuple[Kind, Facts, str]:
    found = keys.open(token)
    return found.kind, found.facts, found.destination


# Made and opened.

CASES = [
    (Kind.CLICK_HTML, FACTS, "https://www.example.org/"),
    (Kind.CLICK_TEXT, FACTS, "http://www.example.org/ä?ö=ü#日本"),
    (Kind.OPEN, FACTS, ""),
    (Kind.UNSUBSCRIBE_HTML, FACTS, "https://example.org/bye?a=%20&b"),
    (Kind.UNSUBSCRIBE_TEXT, FACTS, "x" * 5000),
    (Kind.LIST_UNSUBSCRIBE, FACTS, ""),
    (Kind.MAILER_INFO, FACTS, ""),
    (Kind.MAILER_INFO, NOTHING, ""),
    (Kind.SEED, FACTS, '[1, "127.0.0.1", null]'),
    (Kind.CHECK, replace(NOTHING, email="check@fletching.invalid"), '["[127.0.0.1]:2525"]'),
    (Kind.CLICK_HTML, replace(FACTS, seed=True), "https://www.example.org/"),
    (Kind.MAILER_INFO, replace(NOTHING, seed=True), ""),
    *((Kind.OPEN, replace(FACTS, email="x" * n, seed=True), "") for n in range(3)),
    (Kind.OPEN, replace(FACTS, number=2**30 - 1, sent=2**32 - 1), ""),
    (Kind.OPEN, replace(FACTS, number=127), ""),
    (Kind.OPEN, replace(FACTS, number=128), ""),
    (Kind.OPEN, replace(FACTS, email="l\udce4user@example.org"), ""),
    (Kind.OPEN, replace(FACTS, email="üser@exämple.org", click_tracking_id="x" * 300), ""),
    (Kind.CLICK_HTML, FACTS, "https://example.org/\udcff"),
]


@pytest.mark.parametrize(("kind", "facts", "destination"), CASES)
def test_a_token_opens_to_what_it_was_made_of(kind: Kind, facts: Facts, destination: str) -> None:
    token = KEYS.seal(kind, facts, destination)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", token)
    assert opened(token) == (kind, facts, destination)


@pytest.mark.parametrize(("kind", "facts", "destination"), CASES)
def test_an_opened_token_is_made_again_with_the_same_text(
    kind: Kind, facts: Facts, destination: str
) -> None:
    token = KEYS.seal(kind, facts, destination)
    found = KEYS.open(token)
    assert KEYS.seal(found.kind, found.facts, found.destination) == token
    assert found.key_id == 1


def test_the_table_above_has_every_kind() -> None:
    assert {kind for kind, _, _ in CASES} == set(Kind)


def test_tokens_of_yesterday_open() -> None:
    for (kind, destination), token in PINNED.items():
        assert KEYS.seal(kind, FACTS, destination) == token
        assert opened(token) == (kind, FACTS, destination)


def test_a_token_has_no_destination_by_default() -> None:
    assert KEYS.open(KEYS.seal(Kind.OPEN, FACTS)).destination == ""


def test_kinds_keep_their_numbers() -> None:
    assert {kind.name: kind.value for kind in Kind} == {
        "CLICK_HTML": 1,
        "CLICK_TEXT": 2,
        "OPEN": 3,
        "UNSUBSCRIBE_HTML": 4,
        "UNSUBSCRIBE_TEXT": 5,
        "LIST_UNSUBSCRIBE": 6,
        "MAILER_INFO": 7,
        "SEED": 8,
        "CHECK": 9,
    }


ANY_TEXT = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        # What is no UTF-8 in SMTP.
        st.integers(0xDC80, 0xDCFF).map(chr),
    ),
    max_size=60,
).filter(lambda text: text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
         == text)  # fmt: skip
ANY_FACTS = st.builds(
    Facts,
    campaign=ANY_TEXT,
    number=st.integers(0, 2**40),
    mail_class=ANY_TEXT,
    instance_id=ANY_TEXT,
    listid=ANY_TEXT,
    click_tracking_id=ANY_TEXT,
    email=ANY_TEXT,
    mtaid=ANY_TEXT,
    sent=st.integers(0, 2**40),
)


@given(st.sampled_from(Kind), ANY_FACTS, ANY_TEXT)
def test_any_facts_can_be_in_a_token(kind: Kind, facts: Facts, destination: str) -> None:
    token = KEYS.seal(kind, facts, destination)
    assert opened(token) == (kind, facts, destination)


def facts_of(
    campaign: str, mail_class: str, instance: str, listid: str, click: str, email: str, mtaid: str
) -> Facts:
    return Facts(campaign, 1, mail_class, instance, listid, click, email, mtaid, 1)


@given(st.lists(ANY_TEXT, min_size=7, max_size=7), st.lists(ANY_TEXT, min_size=7, max_size=7))
@example(["a", "", "", "", "", "", ""], ["", "a", "", "", "", "", ""])
def test_different_facts_have_different_tokens(one: list[str], other: list[str]) -> None:
    first, second = facts_of(*one), facts_of(*other)
    tokens = {KEYS.seal(Kind.OPEN, facts) for facts in (first, second)}
    assert len(tokens) == (1 if first == second else 2)


def test_the_same_facts_make_the_same_token() -> None:
    """Nothing is random: a link that occurs twice in a message has one token."""
    assert KEYS.seal(Kind.OPEN, FACTS) == KEYS.seal(Kind.OPEN, FACTS)


def test_a_token_hides_what_it_holds() -> None:
    token = KEYS.seal(Kind.CLICK_HTML, FACTS, "https://www.example.org/secret")
    octets = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    for hidden in (b"reader", b"example.org", b"secret", b"newsletter", b"t100", b"order"):
        assert hidden not in octets


# Nothing else opens.

TOKEN = KEYS.seal(Kind.CLICK_HTML, FACTS, "https://www.example.org/")
LETTERS = string.ascii_letters + string.digits + "-_"


def test_a_token_with_one_changed_character_does_not_open() -> None:
    for place in range(len(TOKEN)):
        for letter in LETTERS.replace(TOKEN[place], ""):
            with pytest.raises(TokenError):
                KEYS.open(TOKEN[:place] + letter + TOKEN[place + 1 :])


@pytest.mark.parametrize(
    "token",
    [
        *(KEYS.seal(Kind.CLICK_HTML, FACTS, "x" * length) for length in range(3)),
        *(KEYS.seal(Kind.OPEN, replace(FACTS, listid="x" * length)) for length in range(3)),
        *PINNED.values(),
    ],
)
def test_a_token_has_one_spelling(token: str) -> None:
    """Also where base64 has unused bits: one token, one event."""
    assert KEYS.open(token)
    for letter in LETTERS.replace(token[-1], ""):
        with pytest.raises(TokenError):
            KEYS.open(token[:-1] + letter)


def test_a_token_cut_off_anywhere_does_not_open() -> None:
    for length in range(len(TOKEN)):
        with pytest.raises(TokenError):
            KEYS.open(TOKEN[:length])
        with pytest.raises(TokenError):
            KEYS.open(TOKEN[len(TOKEN) - length :])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A",
        "AA",
        "====",
        TOKEN + "=",
        TOKEN + "A",
        TOKEN + "\n",
        "\n" + TOKEN,
        " " + TOKEN,
        TOKEN[:10] + "\n" + TOKEN[10:],
        TOKEN[:10] + "!" + TOKEN[10:],
        TOKEN.replace("-", "+").replace("_", "/") + "+",
        "ä" * 40,
        "\udcff" * 40,
        "A" * 100000,
        TOKEN * 2,
    ],
)
def test_other_text_does_not_open(text: str) -> None:
    with pytest.raises(TokenError):
        KEYS.open(text)


@given(st.text())
def test_any_text_opens_or_raises_our_error(text: str) -> None:
    for parse in (KEYS.open, KEYS.open_tag, found_in):
        try:
            parse(text)
        except TokenError:
            continue


@given(st.binary(min_size=17))
def test_other_bytes_in_the_form_of_a_token_do_not_open(octets: bytes) -> None:
    text = base64.urlsafe_b64encode(b"\x08\x01" + octets).rstrip(b"=").decode()
    with pytest.raises(TokenError, match="changed"):
        KEYS.open(text)


@pytest.mark.parametrize("octets", range(19))
def test_a_text_too_short_for_a_token_does_not_open(octets: int) -> None:
    text = base64.urlsafe_b64encode(b"\x08\x01".ljust(octets, b"x")[:octets]).rstrip(b"=").decode()
    with pytest.raises(TokenError, match="too short"):
        KEYS.open(text)


@pytest.mark.parametrize("version", [version for version in range(64) if version != VERSION])
def test_a_token_of_another_version_does_not_open(version: int) -> None:
    sealed = base64.urlsafe_b64decode(TOKEN + "=" * (-len(TOKEN) % 4))
    head = (version << 10 | FIRST.id).to_bytes(2, "big")
    text = base64.urlsafe_b64encode(head + sealed[2:]).rstrip(b"=").decode()
    with pytest.raises(TokenError, match="version"):
        KEYS.open(text)


def test_a_kind_of_a_later_version_does_not_open() -> None:
    first = KEYS.message_half(Purpose.CLICK, FACTS.packed)
    context = [FIRST.head, FACTS.campaign.encode(), FACTS.sendid.encode()]
    sealed = base64.urlsafe_b64decode(first) + FIRST.cipher.encrypt(b"\x0ahttps://x", context)
    with pytest.raises(TokenError, match="kind 10"):
        KEYS.open(base64.urlsafe_b64encode(sealed).rstrip(b"=").decode())


def test_encrypted_content_opens_with_its_key_alone() -> None:
    for content in (b"", b"a", bytes(range(256)) * 1000):
        sealed = KEYS.encrypt(content)
        assert KEYS.decrypt(sealed) == content
        assert content not in sealed or not content
        for wrong in (sealed[:-1], b"", sealed[:2], sealed[:5] + b"x" + sealed[6:], b"x" + sealed):
            with pytest.raises(TokenError):
                KEYS.decrypt(wrong)


def test_purposes_keep_their_numbers() -> None:
    assert {purpose.name: purpose.value for purpose in Purpose} == {
        "CLICK": 1,
        "OPEN": 2,
        "UNSUBSCRIBE": 3,
        "LIST_UNSUBSCRIBE": 4,
        "MAILER_INFO": 5,
        "SEED": 6,
        "CHECK": 7,
    }
    assert set(PURPOSES) == set(Kind)


# Halves.


def halves(kind: Kind, facts: Facts = FACTS, destination: str = "https://x/") -> tuple[str, str]:
    first = KEYS.message_half(PURPOSES[kind], facts.packed)
    second = KEYS.link_half(kind, facts.campaign, facts.sendid, destination)
    assert KEYS.seal(kind, facts, destination) == first + second
    return first, second


def test_a_link_half_is_the_same_in_a_campaign() -> None:
    other = replace(FACTS, number=4712, email="other@example.org", click_tracking_id="order 8")
    mine, others = halves(Kind.CLICK_HTML), halves(Kind.CLICK_HTML, other)
    assert mine[0] != others[0]
    assert mine[1] == others[1]
    assert opened(others[0] + mine[1]) == (Kind.CLICK_HTML, other, "https://x/")


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize(
    "other",
    [
        replace(FACTS, campaign="mbyyqiavuxqp"),
        replace(FACTS, campaign=""),
        replace(FACTS, mail_class="newsletters"),
        replace(FACTS, instance_id="100526"),
        # Nor may a letter pass from one name to the other.
        replace(FACTS, campaign="mbyyqiavuxqon", mail_class="ewsletter"),
    ],
)
def test_halves_of_two_campaigns_do_not_open(other: Facts, kind: Kind) -> None:
    for one, another in ((FACTS, other), (other, FACTS)):
        with pytest.raises(TokenError):
            KEYS.open(halves(kind, one)[0] + halves(kind, another)[1])


@for_every([*product(Kind, Kind)])
def test_halves_of_two_purposes_do_not_open(one: Kind, other: Kind) -> None:
    """Otherwise a recipient's click link could become an unsubscribe link, or a List-Unsubscribe
    token, which reveals no address, a link to a page that does.
    """
    text = halves(one)[0] + halves(other)[1]
    if PURPOSES[one] is PURPOSES[other]:
        assert KEYS.open(text).kind is other
    else:
        with pytest.raises(TokenError):
            KEYS.open(text)


@pytest.mark.parametrize("kind", Kind)
def test_half_a_token_does_not_open(kind: Kind) -> None:
    """A link that a mail program cut off after the first half is invalid."""
    for half in (*halves(kind), *halves(kind, destination="")):
        with pytest.raises(TokenError):
            KEYS.open(half)


# Keys.


def test_the_newest_key_signs_and_all_open() -> None:
    old = Keyring((FIRST,)).seal(Kind.OPEN, FACTS)
    both = Keyring((FIRST, SECOND))
    new = both.seal(Kind.OPEN, FACTS)
    assert both.open(old).key_id == 1
    assert both.open(new).key_id == 2
    assert opened(old, both) == opened(new, both)
    assert both.open_tag(Keyring((FIRST,)).tag("mbyyqiavuxqo", 7)) == ("mbyyqiavuxqo", 7)


def test_a_retired_key_opens_nothing() -> None:
    rest = Keyring((SECOND,))
    with pytest.raises(TokenError, match="key 1, which is not in the key file"):
        rest.open(TOKEN)
    with pytest.raises(TokenError, match="not in the key file"):
        rest.open_tag(KEYS.tag("mbyyqiavuxqo", 1))


def test_a_key_with_the_same_id_and_another_secret_opens_nothing() -> None:
    other = Keyring((LinkKey(1, 0, b"x" * 32),))
    with pytest.raises(TokenError, match="changed"):
        other.open(TOKEN)
    with pytest.raises(TokenError, match="changed"):
        other.open_tag(KEYS.tag("mbyyqiavuxqo", 1))


def test_a_keyring_without_keys_opens_nothing() -> None:
    assert not Keyring(())
    assert KEYS
    with pytest.raises(TokenError):
        Keyring(()).open(TOKEN)


@pytest.mark.parametrize("key_id", [0, -1, HIGHEST_KEY_ID + 1])
def test_a_key_id_out_of_range_is_refused(key_id: int) -> None:
    with pytest.raises(ValueError, match="1 to 1023"):
        LinkKey(key_id, 0, bytes(32))


@pytest.mark.parametrize("secret", [b"", bytes(31), bytes(33)])
def test_a_secret_of_another_length_is_refused(secret: bytes) -> None:
    with pytest.raises(ValueError, match="32"):
        LinkKey(1, 0, secret)


def test_a_key_does_not_show_its_secret() -> None:
    assert "secret" not in repr(FIRST)
    assert repr(bytes(range(32)))[2:-1] not in repr(Keyring((FIRST,)))


def test_the_highest_key_id_makes_and_opens_tokens_and_tags() -> None:
    keys = Keyring((HIGHEST,))
    assert keys.open(keys.seal(Kind.OPEN, FACTS)).key_id == HIGHEST_KEY_ID
    assert keys.open_tag(keys.tag("mbyyqiavuxqo", 1)) == ("mbyyqiavuxqo", 1)


# Tags.

TAG = KEYS.tag("mbyyqiavuxqo", 4711)
HIGH_TAG = KEYS.tag("mbyyqiavuxqo", 2**44 + 4711)
BASE32 = "abcdefghijklmnopqrstuvwxyz234567"


@pytest.mark.parametrize("number", [1, 2, 31, 32, 4711, 2**30 - 1])
@pytest.mark.parametrize("campaign", ["mbyyqiavuxqo", "preview", "a", "777777777777"])
def test_a_tag_opens_to_what_it_was_made_of(campaign: str, number: int) -> None:
    tag = KEYS.tag(campaign, number)
    assert re.fullmatch(r"[a-z2-7]{21,32}", tag)
    assert KEYS.open_tag(tag) == (campaign, number)
    assert KEYS.tag(*KEYS.open_tag(tag)) == tag


@pytest.mark.parametrize("number", [2**30, 2**30 + 1, 2**44 + 5, 2**50 - 1])
@pytest.mark.parametrize("campaign", ["mbyyqiavuxqo", "aaaaaaaaaaaa", "777777777777"])
def test_a_tag_of_a_high_number_is_no_longer(campaign: str, number: int) -> None:
    tag = KEYS.tag(campaign, number)
    assert re.fullmatch(r"[a-z2-7]{32}", tag)
    assert KEYS.open_tag(tag.upper()) == (campaign, number)


def test_a_tag_fits_into_a_local_part() -> None:
    assert len(TAG) == TAG_LENGTH == 32


def test_tags_of_yesterday_open() -> None:
    assert TAG == PINNED_TAG
    assert KEYS.open_tag(PINNED_TAG) == ("mbyyqiavuxqo", 4711)


def test_a_tag_opens_in_any_case() -> None:
    assert KEYS.open_tag(TAG.upper()) == ("mbyyqiavuxqo", 4711)
    assert KEYS.open_tag(TAG.title()) == ("mbyyqiavuxqo", 4711)


@pytest.mark.parametrize("tag", [TAG, HIGH_TAG], ids=["ordinary", "high"])
def test_a_tag_with_one_changed_character_does_not_open(tag: str) -> None:
    for place in range(len(tag)):
        for letter in BASE32.replace(tag[place], ""):
            with pytest.raises(TokenError):
                KEYS.open_tag(tag[:place] + letter + tag[place + 1 :])


@pytest.mark.parametrize("tag", [TAG, HIGH_TAG], ids=["ordinary", "high"])
def test_a_tag_cut_off_anywhere_does_not_open(tag: str) -> None:
    for length in range(len(tag)):
        with pytest.raises(TokenError):
            KEYS.open_tag(tag[:length])


# The lower case of the Kelvin sign is k.
KELVIN = KEYS.tag("kkkkkkkkkkkk", 1).replace("k", "\N{KELVIN SIGN}")


@pytest.mark.parametrize("tag", ["", TAG + "\n", TAG + "a", " " + TAG, TAG[:-1] + "1", KELVIN,
                                 "ä" * 32, "a" * 32])  # fmt: skip
def test_other_text_is_no_tag(tag: str) -> None:
    with pytest.raises(TokenError):
        KEYS.open_tag(tag)


@pytest.mark.parametrize(
    ("campaign", "number"),
    [("", 1), ("x" * 13, 1), ("UPPER", 1), ("a-b", 1), ("mbyyqiavuxqo", -1),
     ("mbyyqiavuxqo", 2**50), ("mbyyqiavuxq", 2**30), ("abc\n", 1)],
)  # fmt: skip
def test_a_campaign_or_number_that_does_not_fit_in_a_tag_is_refused(
    campaign: str, number: int
) -> None:
    with pytest.raises(ValueError, match=r"must be 1 to 12|does not fit"):
        KEYS.tag(campaign, number)


# Where a token is found.

D = "https://click.example.com"


NOUNS = ("click", "open", "unsub")
APPENDED = (
    "", "&utm_x=y", "&amp;utm_x=y", ".", ")", ">", "%22", "#top", "/", "?utm_x=y", "=", ",", "\"",
    "'", "]", "&", "&qs=other", " ", "\r\n",
)  # fmt: skip


@for_every([*product(NOUNS, ("/{}", "?{}", "?qs={}"), APPENDED)])
def test_a_token_is_found_in_a_url(noun: str, form: str, appended: str) -> None:
    assert found_in(f"{D}/{noun}{form.format(TOKEN)}{appended}") == TOKEN


@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        f" {TOKEN} ",
        f" {TOKEN[:72]}\r\n {TOKEN[72:144]}\r\n\t{TOKEN[144:]}",
        f"<{D}/unsub?{TOKEN}>,\r\n <mailto:unsubscribe@example.com?subject={TOKEN}>",
        f"{D}/click?utm_source=x&qs={TOKEN}",
        f"{D}/click?utm_source=x&utm_medium=y&{TOKEN}",
        f"http://click/click/{TOKEN}",
        f"http://open/click?{TOKEN}",
        f"http://unsub:8080/open?qs={TOKEN}",
        f"HTTPS://CLICK.EXAMPLE.COM/click?{TOKEN}",
        f"/click/{TOKEN}",
        f"/open?qs={TOKEN}&x=y",
        f"/click?{TOKEN}&u=https://a.example/open/x",
        f"http://click/open/{TOKEN}/",
        f"{D}/click?{TOKEN[:60]}\r\n{TOKEN[60:]}",
    ],
)
def test_a_token_is_found_in_other_text(text: str) -> None:
    assert found_in(text) == TOKEN


def encoded(text: str, characters: str) -> str:
    return "".join(f"%{ord(c):02x}" if c in characters else c for c in text)


# Programs that parse a query and write it again, or percent-encode what needs it not.
QUERIES = (
    f"?{TOKEN}=",
    f"?{TOKEN}=&fbclid=1",
    f"?a=b&{TOKEN}=&c=d",
    f"?a=b&{TOKEN}=",
    f"?a=&{TOKEN}=&c=",
    f"?a=&{TOKEN}",
    f"?=x&{TOKEN}=",
    f"?a=b&qs={TOKEN}&c=d",
    f"?fbclid={'x' * 61}&{TOKEN}=&c=d",
    f"?{'x' * 61}=y&{TOKEN}=&c=d",
    f"?{encoded(TOKEN, '-_')}",
    f"?{encoded(TOKEN, '_')}=&a=b",
    f"?qs={encoded(TOKEN, '-_')}&a=b",
    f"/{encoded(TOKEN, '-_')}?a=b",
    f"?a=b&{encoded(TOKEN, '-_')}=&c=d",
    f"?{encoded(TOKEN, TOKEN)}=",
    f"/{TOKEN}?fbclid=1",
    f"/?{TOKEN}",
    f"/?{TOKEN}=&a=b",
    f"/?qs={TOKEN}",
    f"/?a=b&{encoded(TOKEN, '-_')}=&c=d",
    f"//?{TOKEN}",
    f"//{TOKEN}?fbclid=1",
    f"/{TOKEN}/",
    f"/{TOKEN}/?a=b",
    f"?{encoded('qs', 'qs')}={TOKEN}",
)


@for_every([*product(NOUNS, QUERIES)])
def test_a_token_is_found_in_a_query_that_a_program_wrote_again(noun: str, query: str) -> None:
    assert found_in(f"{D}/{noun}{query}") == TOKEN
    assert found_in(f"/{noun}{query}") == TOKEN
    assert found_in(f"{D}//{noun}{query}") == TOKEN
    assert found_in(f"//{noun}{query}") == TOKEN
    assert found_in(f"{D}/{encoded(noun, noun)}{query}") == TOKEN


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_a_token_is_found_in_a_query_that_a_browser_wrote() -> None:
    script = """
        const urls = []
        for (const text of process.argv.slice(1)) for (const change of [
            p => p.set('fbclid', '1'), p => {p.sort()}, p => {p.append('a', ''); p.sort()},
            p => {p.delete('x')}, p => {p.append('z', 'a b&c=d'); p.append('0', '')}
        ]) { const url = new URL(text); change(url.searchParams); urls.push(url.href) }
        console.log(JSON.stringify(urls))
    """
    forms = [f"{D}/click?{TOKEN}", f"{D}/click?qs={TOKEN}", f"{D}/click/{TOKEN}"]
    run = subprocess.run(["node", "-e", script, *forms], capture_output=True, check=True)
    assert [found_in(url) for url in json.loads(run.stdout)] == [TOKEN] * 15


@pytest.mark.parametrize(
    "text",
    ["", " ", ".", f"{D}/click?", f"{D}/click/", f"{D}/click/?", f"{D}//click//", "ä", "?", "=x"],
)
def test_a_text_without_a_token_is_an_error(text: str) -> None:
    with pytest.raises(TokenError, match="no token"):
        found_in(text)


# The beginning of a text, what is repeated, how often; and the length of the token that is found.
LONG_TEXTS = {
    ("", "/click?", 200_000): 0,
    ("/click?", "a=b&", 300_000): 0,
    ("/click?", "a", 1_000_000): 1_000_000,
    ("", "a", 1_000_000): 1_000_000,
    ("", "://", 300_000): 0,
    ("", "/", 1_000_000): 0,
    ("/click", "/", 1_000_000): 0,
    ("", "/click////////", 100_000): len("click"),
    ("", "%2", 500_000): 0,
    ("", "%63", 300_000): 300_000,
}
SEARCH = """
import json, resource, sys
from fletching.tokens import TokenError, found_in

from tests.cases import for_every
resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
for start, piece, times in json.load(sys.stdin):
    try:
        print(len(found_in(start + piece * times)))
    except TokenError:
        print(0)
"""


def test_search_is_linear() -> None:
    """Together they take half a second of CPU time; a search that looks at each piece again for
    each other would take hours, and the kernel ends it after 30 seconds of CPU time."""
    given = json.dumps([*LONG_TEXTS])
    argv = [sys.executable, "-c", SEARCH]
    done = subprocess.run(argv, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ended with {done.returncode} after {done.stdout!r}"
    assert [int(line) for line in done.stdout.split()] == [*LONG_TEXTS.values()]


# Campaigns.


def test_a_campaign_id_contains_the_second_of_its_opening() -> None:
    early, late = campaign_id(1772355600, b"\xff" * 8), campaign_id(1772355601, b"\0" * 8)
    assert re.fullmatch(r"[a-z2-7]{12}", early)
    assert early != late
    # Digits stand behind letters in base32 and before them in ASCII.
    order = str.maketrans(BASE32, "0123456789abcdefghijklmnopqrstuv")
    assert early.translate(order) < late.translate(order)


def test_campaigns_of_one_second_have_different_ids() -> None:
    assert len({campaign_id(1772355600, bytes((n, 0, 0, 0x10))) for n in range(256)}) == 256
    assert campaign_id(1772355600, b"\0\0\0\x10") != campaign_id(1772355600, b"\0\0\0\x20")


def test_which_campaign_was_opened_first() -> None:
    ids = [
        campaign_id(seconds, entropy)
        for seconds in (0, 1_772_355_600, 1_772_355_601, 2**32 - 1)
        for entropy in (bytes(4), bytes((0, 0, 0, 16)), b"\xff" * 4)
    ]
    assert [opened_at(each) for each in ids[::3]] == [0, 1_772_355_600, 1_772_355_601, 2**32 - 1]
    for place, each in enumerate(ids):
        assert [opened_before(each, other) for other in ids] == [place < i for i in range(len(ids))]


def test_a_campaign_id_can_be_in_a_tag() -> None:
    made = campaign_id(2**32 - 1, b"\xff" * 8)
    assert KEYS.open_tag(KEYS.tag(made, 1)) == (made, 1)


def test_sendid_is_class_name_and_instance_id() -> None:
    assert FACTS.sendid == "newsletter100525"
