"""message.py: where the header of a mail ends, what its fields are, and whose address is in one."""

from __future__ import annotations

import email
from collections.abc import Callable

import pytest
from fletching.mail.message import Header, Message, address_domain, addresses, parse
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import for_every
from tests.effort import is_linear

Fields = list[tuple[bytes, bytes]]


def fields(message: Message) -> Fields:
    return [(header.name, header.value) for header in message.headers]


# The border between header and body is where Postfix 3.7 was seen to draw it.

A: tuple[bytes, bytes] = (b"From", b" a@b.example")

BORDERS: dict[str, tuple[bytes, Fields, bytes]] = {
    "usual": (b"From: a@b.example\r\n\r\nHi.\r\n", [A], b"Hi.\r\n"),
    "bare LF": (b"From: a@b.example\nX: 1\n\nHi\nyou", [A, (b"X", b" 1")], b"Hi\r\nyou"),
    "LF and CRLF": (b"From: a@b.example\nX: 1\r\n\nHi\r\n\nyou\n", [A, (b"X", b" 1")],
                    b"Hi\r\n\r\nyou\r\n"),
    "CR ends no line": (b"X: a\rY: b\r\n\r\na\rb\r\n", [(b"X", b" a\rY: b")], b"a\rb\r\n"),
    "CR before CRLF": (b"X: a\r\r\n\r\na\r\r\n", [(b"X", b" a\r")], b"a\r\r\n"),
    "NUL": (b"X: a\0b\r\n\r\na\0b", [(b"X", b" a\0b")], b"a\0b"),
    "nothing": (b"", [], b""),
    "only an empty line": (b"\r\n", [], b""),
    "no header": (b"\r\nHi.\r\n", [], b"Hi.\r\n"),
    "no header, no empty line": (b"Hi.\r\nX: 1\r\n", [], b"Hi.\r\nX: 1\r\n"),
    "no body": (b"From: a@b.example\r\n", [A], b""),
    "no body, empty line": (b"From: a@b.example\r\n\r\n", [A], b""),
    "header without line end": (b"From: a@b.example", [A], b""),
    "body without line end": (b"From: a@b.example\r\n\r\nHi", [A], b"Hi"),
    "no empty line between": (b"From: a@b.example\r\nHi you\r\nX: 1\r\n", [A],
                              b"Hi you\r\nX: 1\r\n"),
    "two empty lines": (b"From: a@b.example\r\n\r\n\r\nHi", [A], b"\r\nHi"),
    "white space first": (b" a\r\nFrom: a@b.example\r\n", [], b" a\r\nFrom: a@b.example\r\n"),
    "continued": (b"X: a\r\n b\r\n\tc\r\nY:d\r\n\r\n", [(b"X", b" a\r\n b\r\n\tc"), (b"Y", b"d")],
                  b""),
    "continued by blanks": (b"X: a\r\n \t\r\nY: b\r\n\r\nHi", [(b"X", b" a\r\n \t"), (b"Y", b" b")],
                            b"Hi"),
    "continued at the end": (b"X: a\r\n b", [(b"X", b" a\r\n b")], b""),
    "white space before the colon": (b"X \t: 1\r\n\r\n", [(b"X", b" 1")], b""),
    "8-bit name": (b"X: 1\r\nS\xfc: 2\r\n\r\n", [(b"X", b" 1")], b"S\xfc: 2\r\n\r\n"),
    "8-bit value": (b"X: \xfc\r\n\r\n", [(b"X", b" \xfc")], b""),
    "no name": (b": 1\r\n\r\n", [], b": 1\r\n\r\n"),
    "name with a blank in it": (b"X Y: 1\r\n\r\n", [], b"X Y: 1\r\n\r\n"),
    "no value": (b"X:\r\n\r\n", [(b"X", b"")], b""),
    "name like a delimiter": (b"X: 1\r\n--b: 2\r\n\r\n", [(b"X", b" 1"), (b"--b", b" 2")], b""),
    "mbox line": (b"From me Fri\r\nX: 1\r\n\r\n", [(b"X", b" 1")], b""),
    "quoted mbox line": (b">From me Fri\nX: 1\n\n", [(b"X", b" 1")], b""),
    "mbox line alone": (b"From me", [], b""),
    "60 kB": (b"X: " + b"a" * 60_000 + b"\r\n\r\nHi", [(b"X", b" " + b"a" * 60_000)], b"Hi"),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "wanted", "body"), BORDERS.values(), ids=BORDERS)
def test_where_header_ends_and_body_begins(raw: bytes, wanted: Fields, body: bytes) -> None:
    message = parse(raw)
    assert fields(message) == wanted
    assert message.body == body
    assert [header.position for header in message.headers] == [*range(len(wanted))]


PIECES = [b"X", b"-", b":", b" ", b"\t", b"\r", b"\n", b"\r\n", b"\0", b"\xe9", b"From ", b"--"]
raw_mails = st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join) | st.binary(max_size=60)


@given(raw_mails)
def test_parsing_again_gives_the_same_mail(raw: bytes) -> None:
    message = parse(raw)
    assert b"\n" not in bytes(message).replace(b"\r\n", b"")
    # A name of ">From" and blanks before its colon are gone after the first time.
    assert parse(bytes(message)) == message


@given(st.lists(st.tuples(st.from_regex(rb"[!-9;-~]{1,9}", fullmatch=True), st.binary())))
def test_header_fields_are_those_of_pythons_email_package(given_fields: Fields) -> None:
    """For values without CR and LF, of which it has ideas of its own."""
    clean = [(name, value.translate(None, b"\r\n")) for name, value in given_fields]
    raw = b"".join(name + b":" + value + b"\r\n" for name, value in clean) + b"\r\nHi"
    message = parse(raw)
    theirs = email.message_from_bytes(raw)
    assert fields(message) == clean
    assert [name.encode() for name in theirs] == [name for name, _ in clean]
    assert theirs.get_payload() == "Hi"


def test_key_and_text_of_a_field() -> None:
    header = Header(b"X-Thing \t", b" \t a\r\n\tb \r\n ")
    assert header.key == b"x-thing"
    assert header.text == b"a\tb"


def test_fields_by_name() -> None:
    message = parse(b"A: 1\r\nb: 2\r\na: 3\r\n\r\n")
    assert [header.value for header in message.all(b"a")] == [b" 1", b" 3"]
    assert message.first(b"a") == Header(b"A", b" 1", 0)
    assert message.first(b"c") is None
    assert message.has(b"b")
    assert not message.has(b"c")


# Addresses.

DOMAINS: dict[str, str | None] = {
    "a@b.example": "b.example",
    " Ann <a@b.example> ": "b.example",
    "<a@b.example>": "b.example",
    "<A@B.Example>": "b.example",
    "<a@b.example.>": "b.example",
    '"a@b.example" <c@d.example>': "d.example",
    '"Ann, of b@c.example" <a@d.example>': "d.example",
    '"a \\" <x@y.example>" <c@d.example>': "d.example",
    '"a,b@c"@d.example': "d.example",
    "a@b.example <c@d.example>": "d.example",
    "Ann (a@b.example) <c@d.example>": "d.example",
    "a@b.example (Ann (of <c@d.example>))": "b.example",
    "a@b.example (\\) <c@d.example>)": "b.example",
    '(") <a@b.example> (") <c@d.example>': "b.example",
    "a@b.example, c@d.example": "b.example",
    "a@b.example, Ann <c@d.example>": "b.example",
    "<a@b.example>, <c@d.example>": "b.example",
    "<a@b.example> <c@d.example>": "b.example",
    "Ann, of Sales <a@b.example>": "b.example",
    "Ann, c@d.example": "d.example",
    "Team: a@b.example, c@d.example;": "b.example",
    "Team: Ann <a@b.example>;": "b.example",
    "Team: a@b.example;": "b.example",
    "nobody:;": None,
    "nobody:;, a@b.example": "b.example",
    "<@r.example,@s.example:a@b.example>": "b.example",
    "a@b@c.example": "c.example",
    "=?utf-8?q?a=40b?= <c@d.example>": "d.example",
    "Ann\r\n <a@b.example>": "b.example",
    "<a@\r\n b.example>": "b.example",
    "<a@bücher.example>": "bücher.example",
    "<ä@BÜCHER.example>": "bücher.example",
    "<a@xn--bcher-kva.example>": "xn--bcher-kva.example",
    "<a@[192.0.2.1]>": "[192.0.2.1]",
    "": None,
    "Ann": None,
    "<>": None,
    "<Ann>": None,
    "@": None,
    "a@": None,
    "a@.": None,
    "a@b c": None,
    "a@b\0c": None,
    "a@b\x7fc": None,
    '"a@b.example': None,
    "(a@b.example": None,
    "<a@b.example": "b.example",
    "Joe :) <joe@b.example>": "b.example",
    "a@b.example>": None,
    "\\": None,
    ",;:<>()": None,
}


@for_every(DOMAINS.items())
def test_address_domain(field: str, domain: str | None) -> None:
    assert address_domain(field.encode()) == domain


ADDRESSES: dict[str, list[str]] = {
    "a@b.example": ["a@b.example"],
    "Ann <A@B.Example>, c@d.example": ["A@B.Example", "c@d.example"],
    "a@b.example,c@d.example;e@f.example": ["a@b.example", "c@d.example", "e@f.example"],
    "Ann, of Sales <a@b.example>": ["a@b.example"],
    '"Ann, of b@c.example" <a@d.example>': ["a@d.example"],
    '"a, b"@c.example': ['"a, b"@c.example'],
    'Ann <"a\\" <x@y>"@c.example>': ['"a\\" <x@y>"@c.example'],
    "a@b.example (Ann (of <c@d.example>))": ["a@b.example"],
    "Joe :) <joe@b.example>": ["joe@b.example"],
    r"(a \) b) c@d.example": ["c@d.example"],
    r'"Ann \\" <a@b.example>': ["a@b.example"],
    "<a@b.example> c@d.example": ["a@b.example"],
    "<a@b.example> Ann, c@d.example": ["a@b.example", "c@d.example"],
    "Joe ) <joe@b.example>, (:) ann@c.example": ["joe@b.example", "ann@c.example"],
    "(c)a(c)@(c)b.example(c)": ["a@b.example"],
    "a @ b . example": ["a@b.example"],
    "<a@b.example": ["a@b.example"],
    "<a@b.example ": ["a@b.example"],
    "Ann a@b.example": ["a@b.example"],
    "Team: a@b.example, Ann <c@d.example>;, e@f.example": [
        *("a@b.example", "c@d.example", "e@f.example"),
    ],
    "undisclosed-recipients:;": [],
    "<@r.example,@s.example:a@b.example>": ["a@b.example"],
    "<a@[192.0.2.1]>": ["a@[192.0.2.1]"],
    "ä@bücher.example": ["ä@bücher.example"],
    "=?utf-8?q?a=40b?= <c@d.example>": ["c@d.example"],
    "a@b.example.": ["a@b.example"],
    "<>": [],
    "@b.example": [],
    "a@": [],
    "Ann": [],
    '"a@b.example': [],
    "(a@b.example": [],
    "<;a@b.example>": [],
    "<a,c@b.example>": [],
    '<"a,c"@b.example>': ['"a,c"@b.example'],
}


@pytest.mark.parametrize(("field", "found"), ADDRESSES.items())
def test_addresses(field: str, found: list[str]) -> None:
    assert addresses(field.encode()) == found


def test_local_part_may_have_any_bytes_but_domain_may_not() -> None:
    assert addresses(b"<J\xfcrgen@b.example>") == ["J\udcfcrgen@b.example"]
    assert addresses(b"<a@b\xfc.example>") == []


@given(st.text(alphabet='a@.b,;:<>()"\\ é', max_size=30))
def test_each_address_found_is_an_address_by_itself(field: str) -> None:
    for address in addresses(field.encode()):
        assert addresses(address.encode()) == [address]
        assert address_domain(address.encode()) == address.rpartition("@")[2].lower()


@pytest.mark.parametrize("repeated", ["(", "(x)", '"', "<", "a@b.c,", "a <", "a:", " a", "a@b.c> "])
def test_addresses_take_linear_time_at_any_nesting(repeated: str) -> None:
    def work(size: int) -> Callable[[], object]:
        field = (repeated * size).encode()
        return lambda: addresses(field)

    assert is_linear(work, 100)


def test_domain_that_is_not_utf_8_is_ignored() -> None:
    assert address_domain(b"<a@b\xfccher.example>") is None
    assert address_domain(b"J\xfcrgen <a@b.example>") == "b.example"


@given(st.text(alphabet='a@.b,;:<>()"\\ é', max_size=30))
def test_domain_has_only_allowed_characters(field: str) -> None:
    domain = address_domain(field.encode())
    assert domain is None or set(domain) <= set(field) - set('@ ,;:<>()"\\')


@pytest.mark.parametrize("repeated", [b"X: 1\r\n", b"a\r\n ", b"a\n", b"X", b"\r", b": ", b"-"])
def test_parsing_takes_linear_time(repeated: bytes) -> None:
    def work(size: int) -> Callable[[], object]:
        raw = b"X: " + repeated * size
        return lambda: parse(raw)

    assert is_linear(work, 100)


@pytest.mark.parametrize("repeated", ["(", ")", '"', "\\", "<", ">", ",", ";", "@", "a@b c,", "()"])
def test_address_domain_takes_linear_time(repeated: str) -> None:
    def work(size: int) -> Callable[[], object]:
        field = (repeated * size).encode()
        return lambda: address_domain(field)

    assert is_linear(work, 100)
