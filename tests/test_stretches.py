"""stretches.py: a part that is cut and remembered leaves as one that is read in one piece."""

from __future__ import annotations

import base64
import quopri
from collections.abc import Callable, Iterator
from itertools import count

import pytest
from fletching.outgoing import stretches
from fletching.outgoing.links import Finding, Wanted
from fletching.outgoing.stretches import LeftAloneError, Reader, Stretch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.effort import calls
from tests.test_links_properties import MARKS, OPEN_TAGS, PIECES, PROSE, TAGS

QP = "quoted-printable"
PIXEL, TRAP = '<img src="https://t.example/open?0">', '<a href="https://t.example/click?0"></a>'
WANTED = Wanted(clicks=True, preserve_visible_urls=True)
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
    st.sampled_from(["utf-8", "iso8859-1", "iso2022_jp", "gb18030"]),
)


Left = tuple[bytes, list[Finding], list[tuple[int, str, str]]]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are cut wherever they may be."""
    monkeypatch.setattr(stretches, "_SHORTEST", 1)


def left(reader: Reader, raw: bytes) -> Left | str:
    """What a part becomes: octets, findings, what was minted."""
    numbers = count()
    minted: list[tuple[int, str, str]] = []

    def mint(kind: str, url: str) -> str:
        minted.append((next(numbers), kind, url))
        return f"https://t.example/{kind}?{len(minted)}{'--' * (len(url) % 60)}"

    try:
        read = reader.read(raw)
        if reader.content_type == "text/html":
            read = reader.with_pixel(read, PIXEL, TRAP)
    except LeftAloneError:
        # Of several reasons the first one is told, and each has its own first one.
        return "left alone"
    octets = reader.filled(read, lambda url: mint("click", url), lambda url: mint("unsub", url))
    return octets, [finding for stretch in read for finding in stretch.found.findings], minted


def uncut(reader: Reader, raw: bytes) -> Left | str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stretches, "_SHORTEST", len(raw) + 1)
        return left(Reader(reader.content_type, reader.encoding, reader.charset, WANTED), raw)


def raw_of(text: str, encoding: str, charset: str, by_others: bool) -> bytes:
    content = text.encode(charset, "replace")
    if not by_others:
        return content
    if encoding == "base64":
        return base64.encodebytes(content).replace(b"\n", b"\r\n\r\n")
    if encoding != QP:
        return content
    return quopri.encodestring(content.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("kind", ["text/html", "text/plain"])
@given(st.data(), forms, st.booleans())
@settings(max_examples=800, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_cut_and_whole_are_the_same(
    kind: str, data: st.DataObject, form: tuple[str, str], by_others: bool
) -> None:
    reader = Reader(kind, *form, WANTED)
    for pieces in data.draw(st.lists(pages if kind == "text/html" else prose, max_size=3)):
        raw = raw_of("".join(pieces), *form, by_others)
        whole = uncut(reader, raw)
        # Not known, known to have been there, and known.
        assert [left(reader, raw) for _ in range(3)] == [whole] * 3


ROWS = [f'<tr><td><a href="http://x/{n}">more</a> {"w" * 60}</td></tr>' for n in range(100)]


def page(*changed: str) -> bytes:
    rows = [*ROWS]
    rows[50 : 50 + len(changed)] = changed
    return "\r\n".join(["<html><body>", *rows, "</body></html>"]).encode()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The octets that were read anew, and not known."""
    octets: list[int] = []
    read = Reader.read_anew

    def noting(reader: Reader, raw: bytes, goes_on: bool) -> Stretch | None:
        octets.append(len(raw))
        return read(reader, raw, goes_on)

    monkeypatch.setattr(Reader, "read_anew", noting)
    monkeypatch.setattr(stretches, "_memory", stretches._Memory())
    return iter([octets])


def test_only_what_differs_is_read_again(reads: Iterator[list[int]]) -> None:
    (octets,) = reads
    reader = Reader("text/html", "7bit", "utf-8", WANTED)
    raw = page()
    left(reader, raw)
    assert sum(octets) == len(raw)
    for name in ("Ann", "Bartholomew", "Eve", "Maximiliana", "Zoe", "Valentinian"):
        octets.clear()
        left(reader, page(f"<tr><td>{name}</td></tr>", f'<tr><td><a href="http://y/{name}">'))
    # Of the last one. Where a name of another length moves the cuts, its lines are read once more.
    assert 0 < sum(octets) < len(raw) / 4
    left(Reader("text/html", "7bit", "utf-8", WANTED), raw)
    assert sum(octets) > len(raw)


def test_a_url_has_one_tracking_url_for_each_kind() -> None:
    reader = Reader("text/html", "7bit", "utf-8", WANTED)
    unsubscribe = '<a href="##unsubscribetag##http://x/0">leave</a>'
    result = left(reader, page(ROWS[0], unsubscribe, unsubscribe))
    assert isinstance(result, tuple)
    minted = [[*to] for _, *to in result[2]]
    assert minted == [["click", f"http://x/{n}"] for n in range(50)] + [
        ["unsub", "http://x/0"],
        *(["click", f"http://x/{n}"] for n in range(53, 100)),
    ]


OPEN = [
    "<a href=http://x>\r\n<p>",
    "<!--\r\n<p>",
    "\r\n<p><style>",
    "\r\n<p>",
    " \r\n<p>",
    "<a\r\n<p>",
]


@pytest.mark.parametrize("piece", OPEN)
def test_work_is_linear(piece: str) -> None:
    def work(size: int) -> Callable[[], object]:
        raw = piece.encode() * size
        # Nothing is known to a new one.
        return lambda: Reader("text/html", "7bit", "utf-8", WANTED).read(raw)

    # A text that has to be read together is read in ever longer pieces: at most twice as much.
    assert calls(work(20_000)) <= 2 * 10 * calls(work(2_000))
