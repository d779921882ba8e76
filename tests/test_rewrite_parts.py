"""rewrite.py: which parts of a mail are rewritten, and that all others stay to the octet."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from fletching.mail import mime
from fletching.mail.message import Message, parse
from fletching.outgoing.rewrite import Rewritten, rewrite
from fletching.outgoing.text_parts import TextPartCache
from fletching.policy.plan import Tracking
from fletching.tokens import Kind
from hypothesis import given
from hypothesis import strategies as st

from tests.effort import is_linear
from tests.rewriting import (
    ALL,
    HIDDEN_LINK,
    PIXEL,
    TRACKER,
    URLS,
    done,
    entity,
    many,
    not_rewritten,
    read,
)

# M3, M4: what is never touched.


LINKS = b'<a href="http://x.example/">x</a> http://x.example/\r\n'
HTML = b"Content-Type: text/html\r\n"
PAGE_PART = HTML + b"\r\n" + LINKS
PGP = b"-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA256\r\n\r\nhttp://x.example/\r\n"
FORWARDED = b"Content-Type: message/rfc822\r\n\r\n"

NEVER: dict[str, tuple[bytes, str]] = {
    "attached HTML": (HTML + b"Content-Disposition: attachment\r\n\r\n" + LINKS, "attachment"),
    "attached text": (b"Content-Disposition: ATTACHMENT; filename=a\r\n\r\n" + LINKS, "attachment"),
    "broken disposition": (HTML + b"Content-Disposition: attachment filename=a\r\n\r\n" + LINKS,
                           "attachment"),
    "unknown disposition": (HTML + b"Content-Disposition: form-data\r\n\r\n" + LINKS, "attachment"),
    "two dispositions": (
        HTML + b"Content-Disposition: inline\r\nContent-Disposition: attachment\r\n\r\n" + LINKS,
        "conflicting Content-Disposition fields"),
    "two types": (
        HTML + b"Content-Type: text/plain\r\n\r\n" + LINKS,
        "conflicting Content-Type fields"),
    "two encodings": (
        b"Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: 8bit\r\n" + PAGE_PART,
        "conflicting Content-Transfer-Encoding fields"),
    "forwarded": (many(FORWARDED + PAGE_PART), "in message/rfc822"),
    "forwarded in a digest": (many(b"\r\n" + PAGE_PART, kind="multipart/digest"),
                              "in message/rfc822"),
    "forwarded multipart": (many(FORWARDED + many(PAGE_PART, boundary="c")),
                            "in message/rfc822"),
    "signed": (many(PAGE_PART, kind="multipart/signed"), "in multipart/signed"),
    "signed within": (
        many(many(many(PAGE_PART, boundary="c"), boundary="d", kind="multipart/signed")),
        "in multipart/signed"),
    "encrypted": (many(PAGE_PART, kind="multipart/encrypted"), "in multipart/encrypted"),
    "S/MIME": (b"Content-Type: application/pkcs7-mime\r\n\r\n" + LINKS,
               "in application/pkcs7-mime"),
    "S/MIME, old name": (b"Content-Type: application/x-pkcs7-mime\r\n\r\n" + LINKS,
                         "in application/x-pkcs7-mime"),
    "inline PGP": (b"\r\nHello,\r\n\r\n" + PGP, "inline PGP"),
    "inline PGP, encrypted": (b"\r\n-----BEGIN PGP MESSAGE-----\r\n" + LINKS, "inline PGP"),
    "inline PGP in base64": (entity("text/plain", PGP, "base64"), "inline PGP"),
    "inline PGP in HTML": (HTML + b"\r\n<pre>" + PGP + b"</pre>", "inline PGP"),
    "broken base64": (HTML + b"Content-Transfer-Encoding: base64\r\n\r\n" + LINKS, "broken base64"),
    "broken quoted-printable": (
        HTML + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + LINKS,
        "broken quoted-printable"),
    "unknown encoding": (HTML + b"Content-Transfer-Encoding: x-gzip\r\n\r\n" + LINKS,
                         "unknown Content-Transfer-Encoding"),
    "empty": (HTML + b"\r\n", "empty"),
    "empty before a delimiter": (
        many(HTML), "empty"),
    "no empty line before a delimiter": (many(HTML[:-2]), "empty"),
    "no HTML for a pixel": (b"Content-Type: text/x\r\n\r\n" + LINKS,
                            "no open pixel: no HTML part may be changed"),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "reason"), NEVER.values(), ids=NEVER)
def test_parts_that_are_never_rewritten(raw: bytes, reason: str) -> None:
    not_rewritten(raw, reason)


@pytest.mark.parametrize(
    ("kind", "reasons"),
    [
        ("text/calendar", ["calendar"]),
        ("text/x-amp-html", ["AMP"]),
        ("text/x-amp-html\r\nContent-Disposition: attachment", []),
        ("application/xhtml+xml", []),
        ("image/svg+xml", []),
        ("text/css", []),
    ],
)
def test_other_content_types_are_never_rewritten(kind: str, reasons: list[str]) -> None:
    raw = many(f"Content-Type: {kind}\r\n\r\n".encode() + LINKS)
    found = done(raw, replace(ALL, opens=False))
    assert found.message == parse(raw)
    assert [note.not_rewritten for note in found.notes] == reasons
    forwarded = done(many(FORWARDED + raw), replace(ALL, opens=False)).notes
    assert [note.not_rewritten for note in forwarded] == ["in message/rfc822"] * len(reasons)


def test_mail_that_is_too_large_is_not_rewritten() -> None:
    raw = PAGE_PART
    size = len(parse(raw).body)
    assert done(raw, replace(ALL, largest=size)).message != parse(raw)
    found = done(raw, replace(ALL, largest=size - 1))
    assert found.message == parse(raw)
    assert [note.not_rewritten for note in found.notes] == ["larger than max_rewrite_size"]


def test_body_is_not_parsed_without_tracking() -> None:
    raw = PAGE_PART
    assert done(raw, Tracking()) == Rewritten(parse(raw))


# Switches, and the pixel.


def sent(raw: bytes, tracking: Tracking) -> str:
    return done(raw, tracking).message.body.decode()


def test_clicks_opens_and_text_are_independent() -> None:
    text = entity("text/plain", b"http://x.example/", None)
    raw = many(text, entity("text/html", b'<a href="http://x.example/">', None))
    kinds = {Kind.CLICK_HTML, Kind.CLICK_TEXT, Kind.OPEN}
    wanted: list[tuple[Tracking, set[Kind]]] = [
        (ALL, kinds),
        (replace(ALL, text=False), kinds - {Kind.CLICK_TEXT}),
        (replace(ALL, opens=False), kinds - {Kind.OPEN}),
        (replace(ALL, clicks=False), {Kind.OPEN}),
        (replace(ALL, clicks=False, opens=False), set()),
    ]
    for tracking, kinds in wanted:
        found = re.findall(rf"{TRACKER}/(\d)", sent(raw, tracking))
        assert sorted(found) == sorted(str(kind.value) for kind in kinds)


def test_unsubscribe_links_are_rewritten_without_click_tracking() -> None:
    tagged = b"##unsubscribetag##http://x.example/"
    raw = many(
        entity("text/plain", tagged, None), entity("text/html", b'<a href="' + tagged + b'">', None)
    )
    body = sent(raw, replace(ALL, clicks=False, opens=False, text=False))
    assert f"{TRACKER}/{Kind.UNSUBSCRIBE_TEXT.value}?17" in body
    assert f'<a href="{TRACKER}/{Kind.UNSUBSCRIBE_HTML.value}?17">' in body


def test_first_html_part_that_may_be_changed_gets_the_pixel() -> None:
    raw = many(
        HTML + b"Content-Disposition: attachment\r\n\r\n<p>0",
        HTML + b"\r\n",
        HTML + b"\r\n<p>1</body>",
        HTML + b"\r\n<p>2",
    )
    body = done(raw).message.body.decode()
    assert body.count("<img") == 1
    assert f"<p>1{PIXEL}</body>" in body


def test_pixel_replaces_the_open_tag() -> None:
    raw = HTML + b"\r\n<p><opentag/></p></body>"
    assert done(raw).message.body.decode() == f"<p>{PIXEL}</p></body>"
    assert done(raw, replace(ALL, opens=False)).message.body == b"<p></p></body>"


TRAPPED = replace(ALL, trap=True)


@pytest.mark.parametrize(
    ("tracking", "expected"),
    {
        "with the pixel": (TRAPPED, f"<p>1{HIDDEN_LINK}{PIXEL}</body>"),
        "without it": (replace(TRAPPED, opens=False), f"<p>1{HIDDEN_LINK}</body>"),
        "not without clicks": (replace(TRAPPED, clicks=False), f"<p>1{PIXEL}</body>"),
    }.values(),
)
def test_first_html_part_gets_the_hidden_link(tracking: Tracking, expected: str) -> None:
    raw = many(HTML + b"\r\n<p>1</body>", HTML + b"\r\n<p>2")
    body = sent(raw, tracking)
    assert expected in body
    assert body.count("<a ") == expected.count("<a ")


def test_open_tag_moves_the_pixel_but_not_the_hidden_link() -> None:
    raw = HTML + b"\r\n<p><opentag/></p></body>"
    assert sent(raw, TRAPPED) == f"<p>{PIXEL}</p>{HIDDEN_LINK}</body>"


# M5: the whole tree, and nothing else of it.


def test_parts_at_any_depth_are_rewritten() -> None:
    page, text = entity("text/html", LINKS, "7bit"), entity("text/plain", LINKS, None)
    image = b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA"
    related = many(page, image, kind="multipart/related", boundary="c")
    alternative = many(text, related, kind="multipart/alternative", boundary="d")
    raw = many(many(alternative, boundary="e"), image, page, many(FORWARDED + page, boundary="f"))
    found = done(raw)
    assert [len(note.links) for note in found.notes] == [2, 1, 1, 0]
    kinds = [kind for kind, _ in read(found.message)]
    assert kinds == [kind for kind, _ in read(parse(raw))]
    touched = [TRACKER.encode() in content for _, content in read(found.message)]
    assert touched == [True, True, False, False, True, False]


@given(
    st.lists(
        st.sampled_from(
            [
                entity("text/html", LINKS, None),
                entity("text/plain", LINKS, "quoted-printable"),
                entity("text/html", LINKS, "base64"),
                FORWARDED + entity("text/html", LINKS, None),
                b"Content-Type: image/png\r\n\r\n\x89PNG\0",
                b"no header\r\n",
                b"",
                many(entity("text/html", b"x" * 990 + LINKS, "8bit"), boundary="c"),
                many(entity("text/html", LINKS, None), boundary="d", kind="multipart/signed"),
            ]
        ),
        max_size=5,
    )
)
def test_other_parts_are_the_same_byte_for_byte(entities: list[bytes]) -> None:
    raw = b"Subject: a\r\n" + many(*entities)
    before = parse(raw)
    after = done(raw).message
    assert after.headers == before.headers
    old, new = mime.parts(before), mime.parts(after)
    assert len(old) == len(new)
    for was, now in zip(old, new, strict=True):
        assert was.content_type == now.content_type
        if not was.container and (
            was.protected_by or was.forwarded or not was.content_type.startswith("text/")
        ):
            assert before.body[was.start : was.end] == after.body[now.start : now.end]
    # Taken out of both, what was changed leaves the same behind.
    assert frame(before) == frame(after)


def frame(message: Message) -> bytes:
    """All of a body but the content and the labels of its leaves."""
    pieces, at = [], 0
    for part in mime.parts(message):
        if not part.container:
            pieces.append(message.body[at : part.start])
            at = part.end
    frame = b"".join(pieces) + message.body[at:]
    return re.sub(rb"Content-Transfer-Encoding: [^\r]*\r\n", b"", frame)


# The work.


@pytest.mark.parametrize(
    "made",
    [
        lambda size: many(*[entity("text/html", LINKS, "quoted-printable")] * size),
        lambda size: many(*[b"Content-Type: text/calendar\r\n\r\n" + LINKS] * size),
        lambda size: entity("text/html", LINKS * size, "8bit"),
        lambda size: entity("text/html", LINKS * size, "quoted-printable"),
        lambda size: entity("text/plain", LINKS * size, "base64"),
    ],
    ids=["parts", "other parts", "links", "links in quoted-printable", "links in base64"],
)
def test_work_is_linear(made: Callable[[int], bytes]) -> None:
    def work(size: int) -> Callable[[], object]:
        message = parse(made(size))
        return lambda: rewrite(message, ALL, URLS, TextPartCache())

    assert is_linear(work, 20)
