"""Rules about the content: sizes, alternatives, images and links."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fletching.links.page import Anchor, Page
from fletching.links.urls import Target, target
from fletching.lint.content import Content, Text
from fletching.lint.rule import Finding
from fletching.lint.rules import found
from fletching.lint.sent import Sent, ascii_or_same, short
from fletching.mail.transfer import LONGEST_LINE

LARGEST_HTML = 102 * 1024
"""Bytes after which Gmail clips."""

LARGEST_MAIL = 10_240_000
"""Bytes: the default of Postfix's message_size_limit."""

_LITTLE_TEXT = 60
"""Characters: a greeting or a footer, and no message."""

_LONGEST_ADDRESS = 2000

_SHORTENERS = frozenset(
    (
        *("adf.ly", "bit.do", "bit.ly", "buff.ly", "clck.ru", "cutt.ly", "dlvr.it", "fb.me"),
        *("goo.gl", "ift.tt", "is.gd", "j.mp", "lnkd.in", "ow.ly", "po.st", "rb.gy", "rebrand.ly"),
        *("s.id", "shorturl.at", "shrtco.de", "short.gy", "snip.ly", "soo.gd", "su.pr", "t.co"),
        *("t.ly", "t2m.io", "tiny.cc", "tinyurl.com", "trib.al", "u.to", "v.gd", "wp.me"),
    )
)
_ADDRESS = re.compile(
    r"(https?://|(?=www\.))?((?:[^\W_](?:[\w-]*[^\W_])?\.)+[^\W\d_]{2,63})(?::\d+)?(?:[/?#]\S*)?",
    re.IGNORECASE,
)
# A name without http:// or www. may be that of a program or a file, as node.js and readme.md.
_TOP_LEVEL = frozenset(
    (
        *("com", "net", "org", "info", "biz", "edu", "gov", "eu", "example", "test"),
        *("at", "be", "ch", "de", "es", "fr", "it", "nl", "uk", "us"),
    )
)
_INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"


def judge_body(sent: Sent, content: Content) -> Iterator[Finding]:
    """All findings about the content."""
    yield from _whole(sent)
    for kind, reason in content.unreadable:
        yield found("part-unreadable", f"{kind}: {reason}")
    for kind in dict.fromkeys(content.undeclared):
        yield found("body-not-declared", f"{short(kind)} has 8-bit bytes, but is declared as 7bit")
    for html in content.html:
        yield from _html(html)
    yield from _alternatives(content)
    yield from _links(sent, content)


def _whole(sent: Sent) -> Iterator[Finding]:
    body = sent.message.body
    longest = max(map(len, body.split(b"\r\n")))
    if longest > LONGEST_LINE:
        yield found("line-too-long", f"the body has a line of {longest} bytes")
    size = len(body) + sum(len(h.name) + len(h.value) + 3 for h in sent.message.headers)
    if size > LARGEST_MAIL:
        yield found("mail-too-large", f"the mail has {size:,} bytes")


def _html(html: Text) -> Iterator[Finding]:
    if html.size > LARGEST_HTML:
        yield found("html-too-large", f"the HTML has {html.size / 1024:.0f} kB")
    elif html.encoded_size > LARGEST_HTML:
        text = f"the HTML has {html.encoded_size / 1024:.0f} kB encoded, {html.size / 1024:.0f} kB"
        yield found("html-nearly-too-large", f"{text} decoded")
    page = html.page
    if page is None:
        return
    shown = [image for image in page.images if not image.pixel]
    without = sum(image.alt is None for image in shown)
    if without:
        yield found("alt-missing", f"images without alt text: {without} of {len(shown)}")
    if shown and len(page.text) < _LITTLE_TEXT:
        text = f"images in the HTML: {len(shown)}, characters of text: {len(page.text)}"
        yield found("only-images", text)


def _alternatives(content: Content) -> Iterator[Finding]:
    if not content.html:
        return
    if any(kind == "text/plain" for kind, _ in content.unreadable):
        return
    if not content.plain:
        yield found("text-part-missing", "no text part beside the HTML")
    elif not any(text.text.strip() for text in content.plain):
        yield found("text-part-empty", "the text part beside the HTML is empty")


def _links(sent: Sent, content: Content) -> Iterator[Finding]:
    hosts = {_host(sent.destination(url) or url) for url in content.urls}
    for host in sorted(hosts & _SHORTENERS):
        yield found("link-shortener", f"a link goes through {host}")
    pages = [html.page for html in content.html if html.page is not None]
    findings = (finding for page in pages for finding in _shown_addresses(sent, page))
    yield from dict.fromkeys(findings)


def _shown_addresses(sent: Sent, page: Page) -> Iterator[Finding]:
    for link in page.links:
        shown, leads = _shown_host(link), _host(link.url)
        if not shown or not leads or sent.alignment.related(shown, leads):
            continue
        destination = sent.destination(link.url)
        if destination is not None and sent.alignment.related(shown, _host(destination)):
            text = f"the text is {short(shown)}, the link leads to {short(leads)} first"
            yield found("link-tracked-address", text)
        else:
            leads = _host(destination) if destination else leads
            text = f"the text is {short(shown)}, the link leads to {short(leads)}"
            yield found("link-misleads", text)


def _shown_host(link: Anchor) -> str:
    """The host in the visible text of a link, if that is an address; else empty."""
    if len(link.text) > _LONGEST_ADDRESS:
        return ""
    match = _ADDRESS.fullmatch(link.text.strip(_INVISIBLE + " "))
    if match is None:
        return ""
    begins, host = match.groups()
    is_address = begins is not None or host.rpartition(".")[2].lower() in _TOP_LEVEL
    return ascii_or_same(host.lower()) if is_address else ""


def _host(url: str) -> str:
    """The host of an http or https URL, empty for others."""
    found_target = target(url)
    return ascii_or_same(found_target.host) if isinstance(found_target, Target) else ""
