"""stretches.py: a part that is cut and remembered leaves as one that is read in one piece."""

from __future__ import annotations

import base64
import quopri
import re
from dataclasses import replace

import pytest
from fletching.links.splices import LinkNote
from fletching.links.urls import LinkOptions
from fletching.outgoing import text_parts
from fletching.outgoing.text_parts import LeftAloneError, Reader, Stretch
from fletching.outgoing.tracking_urls import Urls
from fletching.tokens import Kind, Purpose
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.test_links_properties import MARKS, OPEN_TAGS, PIECES, PROSE, TAGS, wishes

QP = "quoted-printable"
WANTED = LinkOptions(clicks=True, preserve_visible_urls=True)
CUTS = ["\r\n<tr>", "\r\n<td\r\n", "\r\n<!--", "\r\n<p>", " \r\n<p>", "=\r\n<div ", "\r\n</tr>"]
TAGGED = [
    '<a href="http://x/">', '<a href="http://x/">www.', "</a>", "www.x", "<opentag/>", "<td>",
    '<a href="##unsubscribetag##http://x/"></a>', "<a href=http://y/ses:no-track>",
    "<!--[if mso]>", "-->", "<style>", "</style>", "<a title='", "'>", "</body>",
    "-----BEGIN PGP MESSAGE-----",
]  # fmt: skip
PAGE = [*PIECES, *OPEN_TAGS, *MARKS, *TAGS]
pages = st.lists(
    st.sampled_from(TAGGED) | st.sampled_from(CUTS) | st.sampled_from(PAGE), min_size=12
)
BLANK = ["\r\n\r\n", "\r\n", "=\r\n\r\n", " \r\n\r\n"]
MARKED = ["http://x/[[", "[[ data-msys-clicktrack=", ' data-msys-clicktrack="0"]]', '"0"]]']
prose = st.lists(
    st.sampled_from(BLANK) | st.sampled_from(MARKED) | st.sampled_from(PROSE), min_size=12
)
forms = st.tuples(
    st.sampled_from([QP, "7bit", "8bit", "base64"]),
    st.sampled_from(["utf-8", "iso8859-1", "ascii", "iso2022_jp", "cp932"]),
)


Left = tuple[bytes, list[LinkNote]]


def ends(kind: Kind, url: str) -> tuple[str, str]:
    """With dashes at all places of a line: at the begin of one they must be escaped."""
    return f"https://t.example/{kind.name}?", f"{'-' * (len(url) % 150)}.{url.encode().hex()}"


def half(purpose: Purpose) -> str:
    return f"-{purpose.value}-{'-' * 80}"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are cut wherever they may be."""
    monkeypatch.setattr(text_parts, "_SHORTEST", 1)


def left(reader: Reader, raw: bytes, pixel: bool = True, trap: bool = True) -> Left | str:
    """What a part becomes: octets, findings."""
    try:
        read = reader.read(raw)
        if reader.content_type == "text/html":
            read = reader.with_pixel(read, pixel, trap)
        octets = reader.filled(read, Urls(ends, half))
    except LeftAloneError:
        # Of several reasons the first one is told, and each has its own first one.
        return "left alone"
    return octets, [finding for stretch in read for finding in stretch.found.notes]


def uncut(reader: Reader, raw: bytes, pixel: bool, trap: bool) -> Left | str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_parts, "_SHORTEST", len(raw) + 1)
        other = Reader(reader.content_type, reader.encoding, reader.wanted)
        return left(other, raw, pixel, trap)


def raw_of(text: str, encoding: str, charset: str, by_others: bool) -> bytes:
    # In CP932 a second code for a character.
    odd = b"\x87\x90" if charset == "cp932" else b"td"
    content = text.encode(charset, "replace").replace(b"td", odd)
    if encoding == "base64":
        return base64.encodebytes(content).replace(b"\n", b"\r\n\r\n")
    if encoding != QP:
        return content
    if not by_others:
        # Soft breaks stay where they are.
        return re.sub(rb"=(?![ \t]*\r\n)", b"=3D", content)
    return quopri.encodestring(content.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("kind", ["text/html", "text/plain"])
@given(
    st.data(),
    forms,
    st.booleans(),
    wishes,
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=800, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_cut_and_whole_are_the_same(
    kind: str,
    data: st.DataObject,
    form: tuple[str, str],
    by_others: bool,
    wanted: LinkOptions,
    pixel: bool,
    trap: bool,
) -> None:
    reader = Reader(kind, form[0], replace(wanted, charset=form[1]))
    for pieces in data.draw(st.lists(pages if kind == "text/html" else prose, max_size=3)):
        raw = raw_of("".join(pieces), *form, by_others)
        whole = uncut(reader, raw, pixel, trap)
        # Not known, known to have been there, and known.
        assert [left(reader, raw, pixel, trap) for _ in range(3)] == [whole] * 3


ROWS = [f'<tr><td><a href="http://x/{n}">more</a> {"w" * 60}</td></tr>' for n in range(100)]


def page(*changed: str) -> bytes:
    rows = [*ROWS]
    rows[50 : 50 + len(changed)] = changed
    return "\r\n".join(["<html><body>", *rows, "</body></html>"]).encode()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The octets that were read anew, and not known."""
    octets: list[int] = []
    read = Reader.read_anew

    def noting(reader: Reader, raw: bytes, goes_on: bool) -> Stretch | None:
        octets.append(len(raw))
        return read(reader, raw, goes_on)

    monkeypatch.setattr(Reader, "read_anew", noting)
    monkeypatch.setattr(text_parts, "_memory", text_parts._Memory())
    return octets


def test_only_what_differs_is_read_again(reads: list[int]) -> None:
    octets = reads
    reader = Reader("text/html", "7bit", WANTED)
    raw = page()
    left(reader, raw)
    assert sum(octets) == len(raw)
    for name in ("Ann", "Bartholomew", "Eve", "Maximiliana", "Zoe", "Valentinian"):
        octets.clear()
        left(reader, page(f"<tr><td>{name}</td></tr>", f'<tr><td><a href="http://y/{name}">'))
    # Of the last one. Where a name of another length moves the cuts, its lines are read once more.
    assert 0 < sum(octets) < len(raw) / 4
    left(Reader("text/html", "7bit", WANTED), raw)
    assert sum(octets) > len(raw)


def test_each_url_is_asked_for_once_in_a_campaign() -> None:
    asked: list[tuple[Kind, str]] = []

    def asking(kind: Kind, url: str) -> tuple[str, str]:
        asked.append((kind, url))
        return ends(kind, url)

    reader = Reader("text/html", "7bit", WANTED)
    unsubscribe = '<a href="##unsubscribetag##http://x/0">leave</a>'
    raw = page(ROWS[0], unsubscribe)
    for _ in range(3):
        reader.filled(reader.with_pixel(reader.read(raw), True, True), Urls(asking, half))
    # The first mail's stretches are not remembered, the second's are.
    assert asked[: len(asked) // 2] == asked[len(asked) // 2 :]
    clicks = [(Kind.CLICK_HTML, f"http://x/{n}") for n in range(100)]
    clicks[50:52] = [clicks[0], (Kind.UNSUBSCRIBE_HTML, "http://x/0")]
    assert asked[: len(asked) // 2] == [*clicks, (Kind.CLICK_HTML, ""), (Kind.OPEN, "")]


def test_campaigns_have_links_of_their_own() -> None:
    def others(kind: Kind, url: str) -> tuple[str, str]:
        return "https://other.example/", ends(kind, url)[1]

    reader = Reader("text/html", "7bit", WANTED)
    first = [reader.filled(reader.read(page()), Urls(ends, half)) for _ in range(3)]
    other = [reader.filled(reader.read(page()), Urls(others, half)) for _ in range(3)]
    before = b"https://t.example/CLICK_HTML?"
    assert other == [first[0].replace(before, b"https://other.example/")] * 3


OPEN = [
    "<a href=http://x>\r\n<p>",
    "<!--\r\n<p>",
    "\r\n<p><style>",
    "\r\n<p>",
    " \r\n<p>",
    "<a\r\n<p>",
]


@pytest.mark.parametrize("piece", OPEN)
def test_work_is_linear(piece: str, reads: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_parts, "_LONGEST_CUT", 10**9)
    raw = piece.encode() * 20_000
    Reader("text/html", "7bit", WANTED).read(raw)
    # What is open is read in ever longer pieces, each twice as long as the one before.
    assert sum(reads) <= 4 * len(raw)


def test_what_is_full_of_links_is_not_remembered(reads: list[int]) -> None:
    reader = Reader("text/plain", "7bit", WANTED)
    raw = b"http://x/y\r\n" * 100
    for _ in range(3):
        left(reader, raw)
    assert sum(reads) == 3 * len(raw)
    reads.clear()
    for _ in range(3):
        left(reader, raw[:240])
    assert sum(reads) == 2 * 240
