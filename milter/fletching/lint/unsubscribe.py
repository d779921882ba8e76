"""Rules about unsubscribing, and about naming the list."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fletching.lint.content import Content
from fletching.lint.rule import Finding
from fletching.lint.rules import found
from fletching.lint.sent import Sent

_URI = re.compile(rb"<([^<>]*)>")
_ONE_CLICK = b"list-unsubscribe=one-click"
# The word in the languages of the providers that are judged, and others of their countries.
_WORDS = re.compile(
    r"unsubscri|opt[ -]?out|abmeld|abbestell|austragen|d[ée]sabonn|d[ée]sinscri|se d[ée]sinscr"
    r"|darse de baja|cancelar (?:la |a )?(?:suscripci|subscri|inscri)|disiscri|cancellati|afmeld"
    r"|uitschrij|avregistrera|avanmäl|peruuta tilaus|wypisz|odhl[aá]s|отписа|配信停止|退订",
    re.IGNORECASE,
)
_FIELDS = ("list-unsubscribe", "list-unsubscribe-post")


def judge_unsubscribe(sent: Sent, content: Content) -> Iterator[Finding]:
    """All findings about unsubscribing; none but one for transactional mail."""
    if not sent.subscription and not sent.message.has(b"list-unsubscribe"):
        yield found("unsubscribe-off", "list_unsubscribe is off for this class")
        return
    yield from _fields(sent)
    if not _WORDS.search(content.shown) and not any(map(_unsubscribes, content.urls)):
        yield found("unsubscribe-not-visible", "no unsubscribe link was found in the text")
    if not sent.message.has(b"list-id"):
        yield found("list-id-missing", "no List-Id field")


def _unsubscribes(url: str) -> bool:
    return bool(re.search(r"/unsub|unsubscri|opt-?out", url, re.IGNORECASE))


def _fields(sent: Sent) -> Iterator[Finding]:
    message = sent.message
    header, post = message.first(b"list-unsubscribe"), message.first(b"list-unsubscribe-post")
    if header is None:
        yield found("unsubscribe-missing", sent.why("no List-Unsubscribe"))
        return
    uris = [uri.strip().lower() for uri in _URI.findall(header.text)]
    secure = [uri for uri in uris if uri.startswith(b"https://")]
    if not secure:
        plain = any(uri.startswith(b"http://") for uri in uris)
        has = "an http URL, but no https URL" if plain else "no https URL"
        yield found("unsubscribe-not-one-click", f"List-Unsubscribe has {has}")
    elif post is None:
        yield found("unsubscribe-not-one-click", sent.why("no List-Unsubscribe-Post"))
    elif post.text.lower() != _ONE_CLICK:
        text = "List-Unsubscribe-Post is not List-Unsubscribe=One-Click"
        yield found("unsubscribe-not-one-click", text)
    else:
        yield from _not_signed(sent)
    if len(secure) > 1:
        yield found("unsubscribe-several-urls", f"List-Unsubscribe has {len(secure)} https URLs")


def _not_signed(sent: Sent) -> Iterator[Finding]:
    """The fields that no aligned signature covers; nothing if there is no such signature."""
    aligned = sent.aligned()
    if aligned and not any(each.covered.issuperset(_FIELDS) for each in aligned):
        text = "no aligned signature covers List-Unsubscribe and List-Unsubscribe-Post"
        yield found("unsubscribe-not-signed", text)
