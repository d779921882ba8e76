"""Finds CSS selectors that select links by URL and no longer match after rewriting.

`fletching explain` warns of them. CSS is never changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from turbohtml import TokenType, tokenize

from fletching.mail import charsets, mime, transfer
from fletching.mail.message import Message
from fletching.outgoing import tracking_urls
from fletching.outgoing.rewrite import PartNote
from fletching.policy.plan import Tracking
from fletching.tokens import Kind

_MOST = 100
"""The most selectors that are examined, so that any message takes linear time."""

# Selectors Level 4 section 6, CSS Syntax Level 3 section 4. Comments and strings are skipped; an
# unterminated one takes the rest of the text, so that it is read once.
_STRING = r"""(?:"(?:[^"\\\n]|\\.)*+"|'(?:[^'\\\n]|\\.)*+')"""
_PASSED_OVER = r"""/\*(?:[^*]|\*(?!/))*+ | "(?:[^"\\\n]|\\.)*+"? | '(?:[^'\\\n]|\\.)*+'?"""
_ADDRESS = re.compile(
    rf"""
    {_PASSED_OVER} |
    \[\s*+ (?:[\w*-]*+\|(?!=))?+ href \s*+ ([~|^$*]?=) \s*+
    ({_STRING}|(?:[^\s"'\]\\]|\\.){{1,200}}+) \s*+ ([is]?) \s*+ \]
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:([0-9a-f]{1,6})\s?|\n|(.))", re.IGNORECASE | re.DOTALL)


class _Selector(NamedTuple):
    """An attribute selector; ``text``: as written."""

    text: str
    operator: str
    value: str
    any_case: bool


def warnings(message: Message, notes: Sequence[PartNote], tracking: Tracking) -> list[str]:
    """A warning for each selector that matches a link before it is rewritten, but not after."""
    html = (note for note in notes if note.content_type == "text/html")
    before = [link.url for note in html for link in note.links if link.rewritten]
    if not before:
        return []
    after = tracking_urls.url(tracking.domain or "", tracking.form, Kind.CLICK_HTML, "")
    selectors = islice(dict.fromkeys(_selectors(message)), _MOST)
    # One text, so that each selector needs one search. No URL contains a line end.
    addresses = "\n".join(["", *before, ""])
    folded = addresses.lower()
    return [
        f"CSS selector {selector.text} no longer matches rewritten links"
        for selector in selectors
        if _matches(selector, folded if selector.any_case else addresses)
        and not _still_matches(selector, after)
    ]


def _selectors(message: Message) -> Iterator[_Selector]:
    for part in mime.parts(message):
        if (
            part.content_type != "text/html"
            or part.protected_by
            or part.is_file
            or part.disposition == "attachment"
        ):
            continue
        try:
            content = transfer.decode(message.body[part.start : part.end], part.encoding)
        except transfer.TransferError:
            continue
        charset = charsets.codec(part.parameters.get("charset", "")) or "latin-1"
        for style in _styles(content.decode(charset, "replace")):
            yield from _by_address(style)


def _styles(text: str) -> Iterator[str]:
    in_style = False
    for token in tokenize(text):
        if token.type is TokenType.TEXT and in_style:
            yield token.data or ""
        else:
            in_style = token.type is TokenType.START_TAG and token.tag == "style"


def _by_address(css: str) -> Iterator[_Selector]:
    for found in _ADDRESS.finditer(css):
        operator, value, flag = found.groups()
        if operator is None:
            continue
        if value[0] in "\"'":
            value = value[1:-1]
        any_case = flag in ("i", "I")
        value = _ESCAPE.sub(_unescaped, value)
        yield _Selector(found[0], operator, value.lower() if any_case else value, any_case)


def _unescaped(escape: re.Match[str]) -> str:
    code, character = escape.groups()
    if code is None:
        return character or ""
    return chr(int(code, 16)) if int(code, 16) <= 0x10FFFF else "\ufffd"


def _matches(selector: _Selector, addresses: str) -> bool:
    """Whether it matches one of the URLs, one per line."""
    value = selector.value
    if not value or "\n" in value:
        return False
    wanted = {
        "*=": (value,),
        "^=": (f"\n{value}",),
        "$=": (f"{value}\n",),
        "|=": (f"\n{value}\n", f"\n{value}-"),
    }
    return any(part in addresses for part in wanted.get(selector.operator, (f"\n{value}\n",)))


def _still_matches(selector: _Selector, after: str) -> bool:
    """Whether it also matches every tracking URL, of which only the beginning is known."""
    if selector.any_case:
        after = after.lower()
    if selector.operator == "^=":
        return after.startswith(selector.value)
    return selector.operator == "*=" and selector.value in after
