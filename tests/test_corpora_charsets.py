"""Templates that no one here wrote, as text and HTML in five charsets: no word lost, no link lost.

Each mail goes the whole way. With its tracking URLs led back its text is what it was, byte for
byte, and its HTML has the tokens that html5lib saw before, the links among them.
"""

from __future__ import annotations

import re
from functools import cache

import pytest
from fletching.mail.message import parse
from fletching.policy.setup import Setup
from fletching.tokens import Kind, found_in
from mjml import mjml2html

from tests.corpora import KEPT, foundation_emails, mailgen_mails
from tests.link_judges import Token, href_of, requested, tokens, with_href
from tests.rewriting import entity, many, read
from tests.setting import KEYRING, SITE, carried, setup
from tests.test_corpora import CONTROL, PIXEL, TRACKING, USUAL
from tests.test_links_corpus import NEWSLETTER, as_reached, dressed

pytestmark = pytest.mark.slow

# A word of each charset that the others lack, or write in other octets.
GREETINGS = {
    "utf-8": "Žluťoučký",
    "iso-8859-1": "Grüße",
    "koi8-r": "Привет",
    "shift_jis": "こんにちは",
    "gb18030": "你好",
}
PRODUCT = {"name": "Shop", "link": "https://shop.example/?utm_source=mail&utm_medium=footer"}
BUTTON = {"color": "#DC4D2F", "text": "Go", "link": "https://shop.example/go?s=b35&t=1#top"}
ACTION = {"instructions": "Go there:", "button": {**BUTTON, "fallback": True}}
ORDER = {"item": "Node.js", "link": "see https://shop.example/1, (https://shop.example/2_(3))."}
BODIES = {
    "reset": {"name": "Joe", "intro": "Somebody asked for it.", "action": ACTION, "outro": "Bye."},
    "receipt": {
        "name": "Joe",
        "intro": ["Order <a href='https://shop.example/order/1'>1</a>.", "**Thank you!**"],
        "table": {"data": [ORDER, ORDER], "columns": {"customWidth": {"item": "20%"}}},
        "action": [ACTION, {**ACTION, "button": [BUTTON, {**BUTTON, "link": "http://b.example"}]}],
        "signature": "Yours",
    },
    "welcome": {
        "title": "Welcome — https://shop.example/welcome…",
        "dictionary": {"date": "June 11th", "where": "https://shop.example/map?q=1,2"},
        "goToAction": {"text": "Go", "link": "https://shop.example/a", "description": "There"},
        "signature": False,
    },
}
MJML = {
    "newsletter": NEWSLETTER,
    "links everywhere": """
<mjml><mj-head><mj-preview>See https://a.example/preview</mj-preview></mj-head><mj-body>
  <mj-wrapper><mj-section><mj-group>
    <mj-column><mj-image href="https://a.example/?x=1&amp;y=2" src="https://cdn.example/1" />
    </mj-column>
    <mj-column><mj-text>https://b.example/in/text <a href='https://c.example/c'>c</a></mj-text>
    </mj-column></mj-group></mj-section></mj-wrapper>
  <mj-section><mj-column><mj-accordion><mj-accordion-element>
    <mj-accordion-title>Why?</mj-accordion-title>
    <mj-accordion-text><a href="https://d.example/#why">So.</a></mj-accordion-text>
  </mj-accordion-element></mj-accordion>
  <mj-carousel><mj-carousel-image src="https://cdn.example/2" href="https://e.example/" />
    <mj-carousel-image src="https://cdn.example/3" href="https://f.example/" /></mj-carousel>
  <mj-table><tr><td><a href="https://g.example">G</a></td></tr></mj-table>
  </mj-column></mj-section>
</mj-body></mjml>
""",
}


@cache
def opened() -> Setup:
    site = SITE.replace("opens: true", "opens: true, text: true")
    return setup(site + "preserve_visible_urls: false\n")


@cache
def templates() -> dict[str, tuple[str, str]]:
    """Text and HTML of all templates, by name. Where there is no text, html5lib makes it."""
    pages = {str(path.relative_to(KEPT)): path.read_text() for path in foundation_emails()}
    # What a charset makes of a query is tested with the links themselves.
    pages = {name: dressed(page).replace("ü?ü", "u?u") for name, page in pages.items()}
    pages |= {f"mjml {name}": mjml2html(text) for name, text in MJML.items()}
    made = {name: (as_text(page), page) for name, page in pages.items()}
    return made | mailgen_mails(PRODUCT, BODIES)


def as_text(page: str) -> str:
    """The words of a page, and each of its links in angle brackets."""
    words: list[str] = []
    styled = False
    for token in tokens(page):
        styled = (token.tag == "style" and token.kind == "StartTag") or (
            styled and token.kind == "Text"
        )
        words.append(token.data if token.kind == "Text" and not styled else "")
        if (href := href_of(token)) is not None:
            words.append(f" <{requested(href)}> ")
    return "".join(words)


def greeted(name: str, charset: str) -> tuple[bytes, bytes]:
    """Text and HTML of a template with a word of the charset in it, and in a link."""
    text, page = templates()[name]
    word = GREETINGS[charset]
    link = f"https://shop.example/{word}/1"
    text = f"{word} <{link}> {word}\n\n{text}"
    page = re.sub(
        r"(<body[^>]*>)",
        rf'\1<p>{word} <a href="{link}" title="{word}">{word}</a></p>',
        page,
        count=1,
    )
    page = re.sub(r"charset=\"?[\w-]+", f"charset={charset}", page)
    lines = (re.sub(r"\r\n?|\n", "\r\n", content) for content in (text, page))
    octets = zip(lines, ("replace", "xmlcharrefreplace"), strict=True)
    plain, html = (content.encode(charset, errors) for content, errors in octets)
    return plain, html


def destination(url: str) -> str | None:
    """Where a tracking URL of ours leads; None for any other URL."""
    return KEYRING.open(found_in(url)).destination if TRACKING.fullmatch(url.encode()) else None


def led_back(token: Token) -> Token:
    """A link with the destination that its tracking URL leads to."""
    leads = destination(href_of(token) or "")
    return token if leads is None else with_href(token, leads)


@pytest.mark.parametrize("charset", GREETINGS)
def test_words_and_links_are_the_same_in_every_charset(charset: str) -> None:
    links = 0
    for name in templates():
        plain, page = greeted(name, charset)
        parts = (
            entity("text/plain", plain, "8bit", charset),
            entity("text/html", page, "quoted-printable", charset),
        )
        mail = CONTROL + USUAL + many(*parts, kind="multipart/alternative")
        outcome = carried(parse(mail), opened=opened())
        assert outcome.refusal is None, name
        (_, new_plain), (_, new_page) = read(outcome.final)

        found = led_to(new_plain)
        assert back(new_plain, charset) == plain, name
        assert found == http_links(plain.decode(charset)), name

        before = tokens(page.decode(charset))
        after = tokens(PIXEL.sub(b"", new_page).decode(charset))
        assert list(map(led_back, after)) == list(map(as_reached, before)), name
        links += len(found)
    assert links > 300


def back(content: bytes, charset: str) -> bytes:
    """A text with each tracking URL replaced by what it leads to."""

    def leads(url: re.Match[bytes]) -> bytes:
        return (destination(url[0].decode()) or "").encode(charset)

    return TRACKING.sub(leads, content)


def led_to(content: bytes) -> list[str]:
    """What the tracking URLs of a text lead to."""
    opened = [KEYRING.open(found_in(url.decode())) for url in TRACKING.findall(content)]
    assert {token.kind for token in opened} <= {Kind.CLICK_TEXT}
    return [token.destination for token in opened]


def http_links(text: str) -> list[str]:
    """The URLs of a text that has blanks or ``< >`` round each, and punctuation."""
    words = re.findall(r"(?<![^\s<>(\"])https?://[^\s<>\"…]+", text)
    trimmed = (word.rstrip(".,;?!") for word in words)
    return [
        word.removesuffix(")") if word.count("(") < word.count(")") else word for word in trimmed
    ]
