"""Links in newsletters and mails that no one here wrote, judged by html5lib."""

from __future__ import annotations

import email
import email.policy
import itertools
import re
from functools import cache
from pathlib import Path

import pytest
from fletching.links.urls import LinkOptions
from mjml import mjml2html

from tests.corpora import KEPT, cpython_mails, foundation_emails
from tests.link_judges import (
    EVERYTHING,
    Minting,
    Token,
    applied,
    href_of,
    html,
    led_back,
    plain,
    requested,
    taken_back,
    tokens,
    with_href,
)

PIXEL = '<img src="https://t.example/open?0" width="1" height="1" alt="">'
LINE_ENDS = {"LF": "\n", "CRLF": "\r\n", "CR": "\r"}
TRACKABLE = re.compile(r"https?://[^/?#\\]", re.IGNORECASE)

# How senders write an href: put in turn where the templates have href="#".
SPELLINGS = [
    'href="https://shop.example/?a=1&amp;b=2#c"',
    "href='https://shop.example/it&#39;s?copy=1&copy=2'",
    "href=https://shop.example/?a&#38;b&#x26;c",
    'HREF = "\thttps://shop.example/a\n  b"',
    'href="mailto:a@shop.example?subject=http://x/"',
    'href="https://shop.example/ü?ü" title="a > b"',
    'title=\'"\' href="http://shop.example"',
    'href="#" href="https://shop.example/second"',
]

NEWSLETTER = """
<mjml><mj-body>
  <mj-section background-url="https://cdn.example/b.png" full-width="full-width">
    <mj-column width="50%"><mj-image src="https://cdn.example/a.png" href="https://a.example/" />
    </mj-column>
    <mj-column width="50%"><mj-button href="https://b.example/?x=1&amp;y=2#z">Go</mj-button>
      <mj-text>Or <a href="https://c.example">c.example</a>, <a href="mailto:a@c">mail</a></mj-text>
    </mj-column>
  </mj-section>
  <mj-hero background-url="https://cdn.example/h.png" mode="fixed-height" height="200px">
    <mj-button href="https://d.example/">Hero</mj-button></mj-hero>
  <mj-section><mj-column>
    <mj-navbar hamburger="hamburger"><mj-navbar-link href="https://e.example/">E</mj-navbar-link>
      <mj-navbar-link href="https://f.example/">F</mj-navbar-link></mj-navbar>
    <mj-social><mj-social-element name="web" href="https://g.example/">G</mj-social-element>
    </mj-social>
    <mj-raw><!--[if mso]><a href="https://h.example/">H</a><![endif]--></mj-raw>
  </mj-column></mj-section>
</mj-body></mjml>
"""


def dressed(text: str) -> str:
    """A template with real links in it, where it has those of its own language, Inky."""
    spellings = itertools.cycle(SPELLINGS)
    text = re.sub(r"(</?)(?:button|item)\b", r"\1a", text)
    return re.sub(r'href="#"', lambda _: next(spellings), text)


@cache
def newsletters() -> dict[str, str]:
    """All HTML there is, by name, with LF line ends."""
    texts = {str(path.relative_to(KEPT)): path.read_text() for path in foundation_emails()}
    texts |= {f"dressed {name}": dressed(text) for name, text in texts.items()}
    texts["mjml"] = mjml2html(NEWSLETTER)
    return {name: re.sub(r"\r\n?", "\n", text) for name, text in texts.items()}


def as_reached(token: Token) -> Token:
    """A link with the destination that must be minted for it."""
    href = requested(href_of(token) or "")
    return with_href(token, href) if TRACKABLE.match(href) else token


@pytest.mark.parametrize("line_end", LINE_ENDS.values(), ids=LINE_ENDS)
def test_html5lib_finds_the_same_links_and_no_other_change(line_end: str) -> None:
    count = 0
    for name, text in newsletters().items():
        text, mint = text.replace("\n", line_end), Minting()
        done = html(text, EVERYTHING, mint, None)
        new = applied(text, done.splices)
        original = tokens(text)
        assert led_back(tokens(new), mint) == [as_reached(token) for token in original], name
        trackable = [t for t in original if TRACKABLE.match(requested(href_of(t) or ""))]
        assert sum(found.rewritten for found in done.notes) == len(trackable), name
        assert taken_back(new, done.splices, text) == text, name
        count += len(trackable)
    assert count > 250


def test_links_of_pages_made_by_mjml() -> None:
    text, mint = newsletters()["mjml"], Minting()
    html(text, LinkOptions(clicks=True), mint, None)
    hosts = sorted(url.removeprefix("https://")[0] for _, url in mint.minted)
    assert hosts == ["a", "b", "d", "e", "f", "g", "h"]  # c shows its URL
    assert "<!--[if mso" in text


def test_the_pixel_is_the_only_new_token() -> None:
    for name, text in newsletters().items():
        done = html(text, LinkOptions(clicks=False), Minting(), PIXEL)
        before, after = tokens(text), tokens(applied(text, done.splices))
        new = [token for token in after if token not in before]
        assert [token.tag for token in new] == ["img"], name
        assert len(after) - len(before) in (1, 2), name  # Text may be cut in two by it.


def test_cpython_mails() -> None:
    parts = [part for path in cpython_mails() for part in text_parts(path)]
    assert {subtype for subtype, _ in parts} >= {"plain", "html"}
    for subtype, text in parts:
        mint = Minting()
        rewrite = (
            html(text, EVERYTHING, mint, None)
            if subtype == "html"
            else plain(text, EVERYTHING, mint)
        )
        new = applied(text, rewrite.splices)
        assert taken_back(new, rewrite.splices, text) == text
        if subtype == "html":
            assert led_back(tokens(new), mint) == [as_reached(token) for token in tokens(text)]
        else:
            words = re.findall(r"\bhttps?://\S+", text)
            assert len(rewrite.notes) == len(words)
            assert all(
                word.startswith(found.url) for word, found in zip(words, rewrite.notes, strict=True)
            )


def text_parts(path: Path) -> list[tuple[str, str]]:
    """Subtype and content of a mail's text parts."""
    mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.compat32)
    leaves = [part for part in mail.walk() if part.get_content_maintype() == "text"]
    contents = [(leaf.get_content_subtype(), leaf.get_payload(decode=True)) for leaf in leaves]
    return [(kind, body.decode("latin-1")) for kind, body in contents if isinstance(body, bytes)]
