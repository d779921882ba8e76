"""text_parts.py: a part read in pieces, or from the cache, becomes the same as if read whole."""

from __future__ import annotations

import base64
import quopri
import re
from dataclasses import replace

import pytest
from fletching.links.splices import LinkNote
from fletching.links.urls import LinkOptions
from fletching.outgoing import text_parts
from fletching.outgoing.text_parts import NotRewrittenError, Piece, TextForm, TextPartCache
from fletching.outgoing.tracking_urls import MessageUrls
from fletching.tokens import Keyring, Kind, LinkKey, Purpose
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_links_properties import MARKS, OPEN_TAGS, PIECES, PROSE, TAGS, wishes

QP = "quoted-printable"
OPTIONS = LinkOptions(clicks=True, preserve_visible_urls=True)
CUTS = ["\r\n<tr>", "\r\n<td\r\n", "\r\n<!--", "\r\n<p>", " \r\n<p>", "=\r\n<div ", "\r\n</tr>"]
TAGGED = [
    '<a href="http://x/">', '<a href="http://x/">www.', "</a>", "www.x", "<opentag/>", "<td>",
    '<a href="##unsubscribetag##http://x/"></a>', "<a href=http://y/ses:no-track>",
    "<!--[if mso]>", "-->", "<style>", "</style>", "<a title='", "'>", "</body>",
    "-----BEGIN PGP MESSAGE-----",
]  # fmt: skip
PAGE = [*PIECES, *OPEN_TAGS, *MARKS, *TAGS]


def twelve_or_more(*tables: list[str]) -> st.SearchStrategy[list[str]]:
    """Pieces of all tables alike. Two octets choose one: single draws take ten times as long."""

    def chosen(octets: bytes) -> list[str]:
        pairs = zip(octets[::2], octets[1::2], strict=False)
        rows = ((tables[table % len(tables)], row) for table, row in pairs)
        return [table[row % len(table)] for table, row in rows]

    return st.binary(min_size=2 * 12).map(chosen)


pages = twelve_or_more(TAGGED, CUTS, PAGE)
BLANK = ["\r\n\r\n", "\r\n", "=\r\n\r\n", " \r\n\r\n"]
MARKED = ["http://x/[[", "[[ data-msys-clicktrack=", ' data-msys-clicktrack="0"]]', '"0"]]']
prose = twelve_or_more(BLANK, MARKED, PROSE)
forms = st.tuples(
    st.sampled_from([QP, "7bit", "8bit", "base64"]),
    st.sampled_from(["utf-8", "iso8859-1", "ascii", "iso2022_jp", "cp932"]),
)


Result = tuple[bytes, list[LinkNote]]


def ends(kind: Kind, url: str) -> tuple[str, str]:
    """With a dash at each offset of a line: at its beginning, two of them must be escaped."""
    return f"https://t.example/{kind.name}?", f"{'-' * (len(url) % 150)}.{url.encode().hex()}"


def half(purpose: Purpose) -> str:
    return f"-{purpose.value}-{'-' * 80}"


URLS = MessageUrls(ends, half)


def cut_everywhere() -> TextPartCache:
    """Cuts parts wherever that is allowed."""
    return TextPartCache(shortest_piece=1)


def result(
    cache: TextPartCache, form: TextForm, raw: bytes, pixel: bool = True, hidden_link: bool = True
) -> Result | str:
    """What a part becomes, and the notes about its links."""
    try:
        pieces = cache.read(form, raw)
        if form.content_type == "text/html":
            pieces = cache.with_pixel(pieces, pixel, hidden_link)
        content = cache.fill(pieces, URLS)
    except NotRewrittenError:
        # Of several reasons the first one counts, and pieces differ in which is the first.
        return "not rewritten"
    return content, [note for piece in pieces for note in piece.links.notes]


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


@pytest.mark.parametrize("content_type", ["text/html", "text/plain"])
@given(st.data(), forms, st.booleans(), wishes, st.booleans(), st.booleans())
@settings(max_examples=800)
def test_cut_part_gives_the_same_as_whole_part(
    content_type: str,
    data: st.DataObject,
    encoding_and_charset: tuple[str, str],
    by_others: bool,
    options: LinkOptions,
    pixel: bool,
    hidden_link: bool,
) -> None:
    encoding, charset = encoding_and_charset
    form = TextForm(content_type, encoding, replace(options, charset=charset))
    cache = cut_everywhere()
    pages_or_prose = pages if content_type == "text/html" else prose
    for pieces in data.draw(st.lists(pages_or_prose, max_size=3)):
        raw = raw_of("".join(pieces), encoding, charset, by_others)
        whole = result(TextPartCache(shortest_piece=len(raw) + 1), form, raw, pixel, hidden_link)
        # The first time it is read, the second time it is remembered.
        cut = [result(cache, form, raw, pixel, hidden_link) for _ in range(2)]
        assert cut == [whole] * 2


ROWS = [f'<tr><td><a href="http://x/{n}">more</a> {"w" * 60}</td></tr>' for n in range(100)]


def page(*changed: str) -> bytes:
    rows = [*ROWS]
    rows[50 : 50 + len(changed)] = changed
    return "\r\n".join(["<html><body>", *rows, "</body></html>"]).encode()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes in bytes of the pieces that were read, and not remembered."""
    sizes: list[int] = []
    read = text_parts._read_piece

    def noting(form: TextForm, raw: bytes, is_last: bool) -> Piece | None:
        sizes.append(len(raw))
        return read(form, raw, is_last)

    monkeypatch.setattr(text_parts, "_read_piece", noting)
    return sizes


HTML_7BIT = TextForm("text/html", "7bit", OPTIONS)


def test_only_what_differs_is_read_again(reads: list[int]) -> None:
    cache = TextPartCache()
    raw = page()
    result(cache, HTML_7BIT, raw)
    assert sum(reads) == len(raw)
    for name in ("Ann", "Bartholomew", "Eve", "Maximiliana", "Zoe", "Valentinian"):
        reads.clear()
        row = f'<tr><td><a href="http://y/{name}">'
        result(cache, HTML_7BIT, page(f"<tr><td>{name}</td></tr>", row))
    # Of the last one. A name of another length moves the cuts: lines behind it are read again.
    assert 0 < sum(reads) < len(raw) / 4
    reads.clear()
    result(cache, TextForm("text/html", "7bit", OPTIONS), raw)
    assert sum(reads) == len(raw), "another form shares nothing"
    reads.clear()
    result(TextPartCache(), HTML_7BIT, raw)
    assert sum(reads) == len(raw), "another cache shares nothing"


def test_each_destination_gets_one_tracking_url_per_campaign() -> None:
    requests: list[tuple[Kind, str]] = []

    def noting(kind: Kind, url: str) -> tuple[str, str]:
        requests.append((kind, url))
        return ends(kind, url)

    cache = TextPartCache()
    unsubscribe = '<a href="##unsubscribetag##http://x/0">leave</a>'
    raw = page(ROWS[0], unsubscribe)
    for _ in range(3):
        pieces = cache.with_pixel(cache.read(HTML_7BIT, raw), True, True)
        cache.fill(pieces, MessageUrls(noting, half))
    clicks = [(Kind.CLICK_HTML, f"http://x/{n}") for n in range(100)]
    clicks[50:52] = [clicks[0], (Kind.UNSUBSCRIBE_HTML, "http://x/0")]
    assert requests == [*clicks, (Kind.CLICK_HTML, ""), (Kind.OPEN, "")]


def test_each_campaign_has_its_own_tracking_urls() -> None:
    def others(kind: Kind, url: str) -> tuple[str, str]:
        return "https://other.example/", ends(kind, url)[1]

    cache = TextPartCache()
    pieces = cache.read(HTML_7BIT, page())
    first = [cache.fill(pieces, URLS) for _ in range(2)]
    other = [cache.fill(pieces, MessageUrls(others, half)) for _ in range(2)]
    before = b"https://t.example/CLICK_HTML?"
    assert other == [first[0].replace(before, b"https://other.example/")] * 2
    assert cache.fill(pieces, URLS) == first[0] == first[1]


def test_equal_campaigns_share_their_urls() -> None:
    keys = Keyring((LinkKey(1, 0, bytes(32)),))
    cache = TextPartCache()
    urls = cache.campaign_urls(keys, "https://t.example", "b", "c" * 12, "s")
    assert cache.campaign_urls(keys, "https://t.example", "b", "c" * 12, "s") is urls
    assert cache.campaign_urls(keys, "https://t.example", "b", "c" * 12, "t") is not urls


OPEN = [
    "<a href=http://x>\r\n<p>",
    "<!--\r\n<p>",
    "\r\n<p><style>",
    "\r\n<p>",
    " \r\n<p>",
    "<a\r\n<p>",
]


@pytest.mark.parametrize("piece", OPEN)
def test_work_is_linear(piece: str, reads: list[int]) -> None:
    raw = piece.encode() * 20_000
    TextPartCache(longest_cut=len(raw)).read(HTML_7BIT, raw)
    # What is open is read in ever longer pieces, each twice as long as the one before.
    assert sum(reads) <= 4 * len(raw)


def test_piece_full_of_links_is_not_remembered(reads: list[int]) -> None:
    cache = TextPartCache()
    form = TextForm("text/plain", "7bit", OPTIONS)
    raw = b"http://x/y\r\n" * 100
    assert len({str(result(cache, form, raw)) for _ in range(3)}) == 1
    assert sum(reads) == 3 * len(raw)
    reads.clear()
    for _ in range(3):
        result(cache, form, raw[:240])
    assert sum(reads) == 240


def test_long_piece_is_not_remembered(reads: list[int]) -> None:
    cache = TextPartCache()
    raw = b"<p>" + b"x" * 2046
    for _ in range(2):
        result(cache, HTML_7BIT, raw)
    assert sum(reads) == 2 * len(raw)
    reads.clear()
    for _ in range(2):
        result(cache, HTML_7BIT, raw[:2048])
    assert sum(reads) == 2048
