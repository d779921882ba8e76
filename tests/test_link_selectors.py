"""CSS that selects links by address: what `explain` warns of, and what not."""

from __future__ import annotations

from pathlib import Path

import pytest
from fletching.admin.link_selectors import warnings
from fletching.links.splices import LinkNote
from fletching.mail.message import Message, parse
from fletching.outgoing.rewrite import PartNote
from fletching.policy.plan import Tracking

from tests.host import Host
from tests.rewriting import entity, many

TRACKING = Tracking(body=True, clicks=True, domain="https://click.example.com")
NOTES = (
    PartNote(
        "text/html",
        "",
        (
            LinkNote("https://shop.example/Sale?a=1", True, "click"),
            LinkNote("https://www.example.org/x-y", True, "click"),
            LinkNote("tel:+491", False, "scheme tel"),
            LinkNote("https://own.example/", False, "own host"),
        ),
    ),
    PartNote("text/plain", "", (LinkNote("https://text.example/", True, "click"),)),
)


def page(css: str) -> Message:
    return parse(entity("text/html", f"<head><style>{css}</style><p>".encode(), None))


def selectors(message: Message, notes: tuple[PartNote, ...] = NOTES) -> list[str]:
    before, after = "CSS selector ", " no longer matches rewritten links"
    said = warnings(message, notes, TRACKING)
    assert all(each.startswith(before) and each.endswith(after) for each in said)
    return [each[len(before) : -len(after)] for each in said]


# CSS, and the selector in it.
LOST = {
    "begins": ('a[href^="https://shop"] {}', '[href^="https://shop"]'),
    "contains": ("a[href*='shop']{}", "[href*='shop']"),
    "ends": ('a[href$="a=1"] {}', '[href$="a=1"]'),
    "is": ('a[href="https://www.example.org/x-y"] {}', '[href="https://www.example.org/x-y"]'),
    "is, or begins with a dash": (
        'a[href|="https://www.example.org/x"] {}',
        '[href|="https://www.example.org/x"]',
    ),
    "one word": (
        'a[href~="https://www.example.org/x-y"] {}',
        '[href~="https://www.example.org/x-y"]',
    ),
    "without quotes": ("a[href*=shop]{}", "[href*=shop]"),
    "escaped": (r"a[href^=https\:\/\/shop]{}", r"[href^=https\:\/\/shop]"),
    "escaped by number": (r'a[href*="\73 hop"]{}', r'[href*="\73 hop"]'),
    "any case": ('a[href*="SALE" i] {}', '[href*="SALE" i]'),
    "spaces and upper case": ('A[ HREF ^= "https://shop" ] {}', '[ HREF ^= "https://shop" ]'),
    "any namespace": ('a[*|href*="shop"] {}', '[*|href*="shop"]'),
    "in @media": (
        '@media (max-width: 9px) { p {} a[href*="shop"]:hover { color: red } }',
        '[href*="shop"]',
    ),
    "in :not": ('a:not([href*="shop"]) {}', '[href*="shop"]'),
    "behind a string": ('p::after {content: "\\"a[href"} a[href*="shop"] {}', '[href*="shop"]'),
    "behind a comment": ('/* don\'t * */ a[href*="shop"] {}', '[href*="shop"]'),
    "in the comment of old": ('<!-- a[href*="shop"] {} -->', '[href*="shop"]'),
}
KEPT = {
    "any link": "a[href] {}",
    "no rewritten link": 'a[href^="tel:"], a[href^="mailto:"], a[href*="own"] {}',
    "link of the text": 'a[href*="text.example"] {}',
    "other case": 'a[href*="SALE"] {}',
    "case that counts": 'a[href*="SALE" s] {}',
    "still begins so": 'a[href^="http"], a[href^="https://"] {}',
    "still contains it": 'a[href*="example"], a[href*="HTTPS://" i] {}',
    "empty": 'a[href^=""], a[href=""] {}',
    "other attribute": 'img[src*="shop"], a[data-href*="shop"], a[hreflang*="s"] {}',
    "in a comment": '/* a[href*="shop"] {} */',
    "in a string": "p::after { content: 'a[href*=shop]' }",
    "never closed": 'a[href*="shop"',
}


@pytest.mark.parametrize(("css", "selector"), LOST.values(), ids=LOST)
def test_selectors_that_no_longer_match(css: str, selector: str) -> None:
    assert selectors(page(css)) == [selector]


@pytest.mark.parametrize("css", KEPT.values(), ids=KEPT)
def test_selectors_that_match_as_before(css: str) -> None:
    assert selectors(page(css)) == []


SHOP = b"a[href*=shop]{}"
MAILS = {
    "in base64": (entity("text/html", b"<style>" + SHOP, "base64"), 1),
    "second style, and twice": (
        entity("text/html", b"<style></style><style>" + 2 * SHOP + b"</style>", None),
        1,
    ),
    "attached file": (
        b"Content-Disposition: attachment\r\n" + entity("text/html", b"<style>" + SHOP, None),
        0,
    ),
    "in the body": (entity("text/html", b"<body><p><style media=x>" + SHOP, None), 1),
    "no style": (entity("text/html", b"<p>" + SHOP + b"<title>" + SHOP, None), 0),
    "for Outlook only": (
        entity("text/html", b"<!--[if mso]><style>" + SHOP + b"</style><![endif]-->", None),
        0,
    ),
    "text": (entity("text/plain", b"<style>" + SHOP, None), 0),
    "second part": (
        many(entity("text/plain", b"", None), entity("text/html", b"<style>" + SHOP, None)),
        1,
    ),
    "unknown encoding": (entity("text/html", b"<style>" + SHOP, "x-unknown"), 0),
}


@pytest.mark.parametrize(("raw", "count"), MAILS.values(), ids=MAILS)
def test_parts_that_are_searched_for_css(raw: bytes, count: int) -> None:
    assert len(selectors(parse(raw))) == count


@pytest.mark.parametrize(
    "piece", ["[", "[href", '[href="', "[href=\\", '"\\', "'\\'", "/*", "'", "[ ", "<style>"]
)
def test_time_is_linear(piece: str) -> None:
    # Ten times the text is a thousand times the time where it is cubic: this would not end.
    assert selectors(page(piece * 100_000)) == []


def test_number_of_examined_selectors_is_limited() -> None:
    css = "".join(f"a[href*=shop]:nth-child({n}) {{}} a[href*='p{n}'] {{}}" for n in range(50_000))
    assert selectors(page(css)) == ["[href*=shop]"]


def test_explain_warns(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.mail.write_text(
        "X-GreenArrow-MailClass: newsletter\nContent-Type: text/html\n\n"
        "<style>a[href^='https://shop']{} a[href^='tel:']{}</style>"
        "<a href='https://shop.example/'>Buy</a>"
    )
    said = "CSS selector [href^='https://shop'] no longer matches rewritten links"
    assert f"warning: {said}\n" in host.run("explain", str(host.mail)).stdout
    assert said in host.json("explain", str(host.mail))["warnings"]
    host.mail.write_text(
        host.mail.read_text().replace("\n\n", "\nX-GreenArrow-Click-Tracking-Do: no\n\n", 1)
    )
    assert "CSS selector" not in host.run("explain", str(host.mail)).stdout
