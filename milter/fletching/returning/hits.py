"""A request and its answer, and the event that it is: clicks, opens and unsubscribes. Pure.

Here lives what each method does to a link of ours (docs/tracking.md, RFC 8058). Whoever
asks may be anybody: only what our own key opens leads anywhere or is recorded. How a page looks is
not known here, nor who keeps the event.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple
from urllib.parse import quote, quote_from_bytes, unquote, urlencode

from fletching import events
from fletching.domains import a_labels
from fletching.events import Event, Value
from fletching.returning import bots, bursts
from fletching.returning.bursts import Touch
from fletching.tokens import Keyring, Kind, Token, TokenError, decoded, found_in

LONGEST_TARGET = 32 * 1024
"""Octets of path and query. A destination of 8,000 has a token of 11,000."""

LONGEST_BODY = 8 * 1024
"""Octets of a POST: those of ours and of RFC 8058 have less than 300."""

PIXEL = bytes.fromhex(
    "47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b"
)
"""A GIF of one transparent pixel."""

ONE_CLICK = "List-Unsubscribe=One-Click"
FROM_PAGE = "from=page"
"""What the page's own button sends beside `ONE_CLICK`."""

# A proxy that joins its own path to ours may double the slash.
_NOUN = re.compile(r"/+(click|open|unsub)(?=[/?])")
_CLICKS = frozenset({Kind.CLICK_HTML, Kind.CLICK_TEXT})
_UNSUBSCRIBES = frozenset({Kind.UNSUBSCRIBE_HTML, Kind.UNSUBSCRIBE_TEXT, Kind.LIST_UNSUBSCRIBE})
_TEXT = frozenset({Kind.CLICK_TEXT, Kind.UNSUBSCRIBE_TEXT})
_METHODS = {
    "click": ("GET", "HEAD"),
    "open": ("GET", "HEAD"),
    "unsub": ("GET", "HEAD", "POST", "OPTIONS"),
}

_HTTP = re.compile(r"https?://[^/?#\\]", re.IGNORECASE | re.ASCII)
# What stands before a host that is a name, and the host.
_HOST = re.compile(r"\A(https?://(?:[^/?#\\]*@)?)([^/?#\\@:\[]+)", re.IGNORECASE | re.ASCII)
# Printable ASCII without blank, `"`, `<` and `>`.
_AS_IT_IS = "!#$%&'()*+,-./:;=?@[\\]^_`{|}~"
_PLAIN = re.compile(r"[!#-;=?-~]+")

# RFC 8058, section 3.2: one pair, as of a form, in either of a form's two encodings. A program that
# takes the whole pair for a name encodes its "=", and puts another one behind it. Of several
# names in the header of a part the last one is read on from, so that no line is read twice.
_NAME = r'name="?List-Unsubscribe'
_POSTED = re.compile(
    r"(?:^|&)List-Unsubscribe(?:=|%3D)One-Click=?(?:&|\s*+$)"
    rf"|{_NAME}(?:(?!{_NAME})[^\r\n]|\r?\n(?=[^\r\n]))*+\r?\n\r?\nOne-Click\s",
    re.IGNORECASE,
)
_BUTTON = re.compile(r"(?:^|&)from=page(?:&|$)")
_LONGEST_AGENT = 500

NO_REFERRER = ("referrer-policy", "no-referrer")
NO_STORE = ("cache-control", "no-store")
NO_INDEX = ("x-robots-tag", "noindex, nofollow")
NO_SNIFF = ("x-content-type-options", "nosniff")
_PLAINLY = (NO_STORE, NO_REFERRER, NO_INDEX, NO_SNIFF)

# CORS (Fetch standard, section 3.3). Without credentials, which RFC 8058 forbids: so `*` suffices.
_ANY_ORIGIN = ("access-control-allow-origin", "*")
_PREFLIGHT = (
    _ANY_ORIGIN,
    ("access-control-allow-methods", "POST"),
    ("access-control-allow-headers", "*"),
    ("access-control-max-age", "86400"),
)

Headers = tuple[tuple[str, str], ...]


class Body(enum.Enum):
    """What stands under an answer's headers; the value is the name of a page's template."""

    NOTHING = ""
    PIXEL = "pixel"
    UNSUBSCRIBE = "unsubscribe"
    NO_RECIPIENT = "no_recipient"
    DONE = "done"
    UNKNOWN = "unknown"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked. ``target``: path and query as sent; names of headers in lower case."""

    method: str
    target: str
    address: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered. ``destination``: where a page may lead on to; empty for nowhere.

    ``mailbox``: the address that a page shows; empty for none.
    """

    status: int
    headers: Headers = ()
    body: Body = Body.NOTHING
    destination: str = ""
    mailbox: str = ""


class Hit(NamedTuple):
    """An answer, and what is to be kept before it is given.

    ``touch``: what others who judge requests about the same message have to know. ``for_program``:
    the answer, without an event, where what they know makes the client a program.
    """

    answer: Answer
    event: Event | None = None
    touch: Touch | None = None
    message: str = ""
    for_program: Answer | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """When: unix milliseconds, and at least 10 random octets."""

    milliseconds: int
    entropy: bytes


@dataclass(frozen=True)
class Setup:
    """What stays from request to request.

    ``immediate``: whether a link made by ##unsubscribetag## unsubscribes at once; ``mailboxes``:
    where unsubscribes by mail go, empty for none. Both by Mail Class in lower case; the class "" is
    all others.
    """

    keys: Keyring
    server_id: str
    lists: bots.Lists = bots.NO_LISTS
    immediate: Mapping[str, bool] = field(default_factory=dict)
    mailboxes: Mapping[str, str] = field(default_factory=dict)

    def is_immediate(self, mail_class: str) -> bool:
        return self.immediate.get(mail_class.lower(), self.immediate.get("", False))

    def mailbox(self, mail_class: str) -> str:
        return self.mailboxes.get(mail_class.lower(), self.mailboxes.get("", ""))


_EMPTY_PIXEL = Answer(200, (("content-type", "image/gif"), *_PLAINLY), Body.PIXEL)
UNKNOWN = Answer(404, _PLAINLY, Body.UNKNOWN)
TOO_LONG = Answer(414, _PLAINLY, Body.ERROR)
TOO_LARGE = Answer(413, _PLAINLY, Body.ERROR)
FAILED = Answer(500, _PLAINLY, Body.ERROR)


def answer(request: Request, moment: Moment, setup: Setup) -> Hit:
    """The answer to any request, its event, and what it tells of the client."""
    if len(request.target) > LONGEST_TARGET:
        return Hit(TOO_LONG)
    if len(request.body) > LONGEST_BODY:
        return Hit(TOO_LARGE)
    noun = _NOUN.match(decoded(request.target))
    if noun is None:
        return Hit(UNKNOWN)
    allowed = _METHODS[noun[1]]
    if request.method not in allowed:
        return Hit(Answer(405, (_allow(allowed), *_PLAINLY), Body.ERROR))
    try:
        token = setup.keys.open(found_in(request.target))
    except TokenError:
        return Hit(_EMPTY_PIXEL if noun[1] == "open" else UNKNOWN)
    hit = _Hit(request, moment, setup, token)
    if noun[1] == "open":
        return hit.open()
    found = hit.click() if noun[1] == "click" else hit.unsubscribe()
    return found._replace(message=bursts.message_name(token.facts), touch=hit.seen())


def location(destination: str) -> str | None:
    """A destination as a Location header has it, None for one that is no http or https URL.

    An international host becomes A-labels, as browsers have it: other programs do not follow it in
    UTF-8. What else is not printable ASCII is percent-encoded, as are blanks, `"`, `<` and `>`,
    which no URL has and every browser encodes (URL standard, query percent-encode set). Nothing
    else changes.
    """
    if not _HTTP.match(destination):
        return None
    destination = _HOST.sub(_with_a_labels, destination)
    if _PLAIN.fullmatch(destination):
        return destination
    return quote_from_bytes(destination.encode("utf-8", "surrogateescape"), safe=_AS_IT_IS)


def _with_a_labels(url: re.Match[str]) -> str:
    """The beginning of a URL up to the end of its host, which stays where it cannot be one."""
    before, host = url.groups()
    try:
        named = unquote(host, errors="strict")
        return url[0] if named.isascii() else before + a_labels(named, symbols=True)
    except ValueError:
        return url[0]


def with_reader(destination: str, token: Token) -> str:
    """The destination of an unsubscribe link, told who it was (docs/tracking.md)."""
    facts = token.facts
    told = {"email": facts.email, "sendid": facts.sendid, "listid": facts.listid}
    pairs = urlencode(told, errors="surrogateescape", quote_via=quote)
    before, mark, fragment = destination.partition("#")
    joint = "" if before.endswith(("?", "&")) else "&" if "?" in before else "?"
    return f"{before}{joint}{pairs}{mark}{fragment}"


@dataclass(frozen=True, slots=True)
class _Hit:
    """A request whose token our key has opened."""

    request: Request
    moment: Moment
    setup: Setup
    token: Token

    def seen(self) -> Touch | None:
        """What the client did with a link, unless it sent what a page had asked for."""
        if self.request.method not in ("GET", "HEAD"):
            return None
        what = bursts.HEAD if self.request.method == "HEAD" else bursts.LINK
        if self.token.kind in _CLICKS and not self.token.destination:
            what = bursts.HIDDEN
        link = bursts.link_name(self.token.destination)
        return Touch(self.moment.milliseconds, self.request.address, what, link)

    def click(self) -> Hit:
        if self.token.kind not in _CLICKS:
            return Hit(UNKNOWN)
        if not self.token.destination:
            return self._hidden()
        to = location(self.token.destination)
        if to is None:
            return Hit(UNKNOWN)
        redirect = Answer(302, (("location", to), NO_STORE, NO_REFERRER, NO_INDEX))
        if self.request.method == "HEAD":
            return Hit(redirect)
        return Hit(redirect, self._event(events.CLICK, self._reader(self._why_a_program())))

    def _hidden(self) -> Hit:
        """The link that no person sees (`web.honeypot`); it leads nowhere."""
        if self.request.method == "HEAD":
            return Hit(UNKNOWN)
        return Hit(UNKNOWN, self._event(events.CLICK, self._reader(bots.HIDDEN_LINK)))

    def open(self) -> Hit:
        if self.token.kind is not Kind.OPEN or self.request.method == "HEAD":
            return Hit(_EMPTY_PIXEL)
        reason = self._why_a_program()
        return Hit(_EMPTY_PIXEL, self._event(events.OPEN, self._reader(reason)))

    def unsubscribe(self) -> Hit:
        if self.token.kind not in _UNSUBSCRIBES:
            return Hit(UNKNOWN)
        # The address of the header, alone, is one that a mailbox provider's page may post to.
        is_one_click = self.token.kind is Kind.LIST_UNSUBSCRIBE
        if self.request.method == "OPTIONS":
            cors = _PREFLIGHT if is_one_click else ()
            return Hit(Answer(200, (_allow(_METHODS["unsub"]), *cors, *_PLAINLY)))
        if self.request.method == "POST":
            hit = self._posted()
            return _with(hit, _ANY_ORIGIN) if is_one_click else hit
        if not self.token.facts.email:
            return Hit(self._no_recipient(200))
        destination = self._destination()
        page = Answer(200, _PLAINLY, Body.UNSUBSCRIBE, destination)
        if self._is_at_once() and destination:
            redirect = _led_on(destination)
            if self.request.method == "HEAD":
                return Hit(redirect)
            return Hit(redirect, self._unsubscribed(), for_program=page)
        return Hit(page)

    def _posted(self) -> Hit:
        """From the page's button, or from a mailbox provider (RFC 8058)."""
        if not self.token.facts.email:
            # Understood, but nobody can be unsubscribed by it (RFC 9110, section 15.5.21).
            return Hit(self._no_recipient(422))
        form = decoded(self.request.body.decode("latin-1"))
        if not _POSTED.search(form):
            return Hit(Answer(400, _PLAINLY, Body.UNSUBSCRIBE, self._destination()))
        destination = self._destination()
        if destination and _BUTTON.search(form):
            return Hit(_led_on(destination), self._unsubscribed())
        return Hit(Answer(200, _PLAINLY, Body.DONE), self._unsubscribed())

    def _no_recipient(self, status: int) -> Answer:
        mailbox = self.setup.mailbox(self.token.facts.mail_class)
        return Answer(status, _PLAINLY, Body.NO_RECIPIENT, mailbox=mailbox)

    def _destination(self) -> str:
        """Where the sender wants the reader to go from here; empty for nowhere."""
        if not self.token.destination:
            return ""
        return location(with_reader(self.token.destination, self.token)) or ""

    def _is_at_once(self) -> bool:
        """GreenArrow's way; but nobody is unsubscribed by a program that looks at links."""
        if self.token.kind is Kind.LIST_UNSUBSCRIBE:
            return False
        if not self.setup.is_immediate(self.token.facts.mail_class):
            return False
        return not self._why_a_program()

    def _why_a_program(self) -> str:
        """Why this request alone is no person's; empty for a person's."""
        agent, lists = self._agent(), self.setup.lists
        if bots.is_prefetch(self.request.headers):
            return bots.PREFETCH
        is_open = self.token.kind is Kind.OPEN
        if lists.is_scanner(agent) or (lists.is_prefetcher(agent) and not is_open):
            return bots.KNOWN_SCANNER
        if self.moment.milliseconds - self.token.facts.sent * 1000 < bots.SOONEST:
            return bots.TOO_SOON
        return ""

    def _reader(self, reason: str) -> dict[str, Value]:
        """The fields of a click or an open."""
        agent, address = self._agent(), self.request.address
        is_open = self.token.kind is Kind.OPEN
        return {
            **self._asked(),
            "is_privacy_open": is_open and self.setup.lists.is_privacy_open(agent, address),
            "is_bot": bool(reason),
            "bot_reason": reason,
        }

    def _asked(self) -> dict[str, Value]:
        return {
            "click_url": self.token.destination,
            "engine_ip": self.request.address,
            "user_agent": self._agent(),
            "html_or_text": "text" if self.token.kind in _TEXT else "html",
        }

    def _unsubscribed(self) -> Event:
        asked = self._asked()
        if self.token.kind is Kind.LIST_UNSUBSCRIBE:
            # The link stands in a header.
            del asked["html_or_text"]
        return self._event(events.UNSUBSCRIBE, asked)

    def _event(self, kind: str, details: Mapping[str, Value]) -> Event:
        at, entropy = self.moment.milliseconds, self.moment.entropy
        told = events.unique_id(at, entropy)
        return Event(kind, at, told, self.setup.server_id, self.token.facts, details)

    def _agent(self) -> str:
        return self._header("user-agent")[:_LONGEST_AGENT]

    def _header(self, name: str) -> str:
        return self.request.headers.get(name, "")


def _allow(methods: tuple[str, ...]) -> tuple[str, str]:
    return "allow", ", ".join(methods)


def _with(hit: Hit, header: tuple[str, str]) -> Hit:
    """The same with one header more."""
    return hit._replace(answer=replace(hit.answer, headers=(*hit.answer.headers, header)))


def _led_on(destination: str) -> Answer:
    """303 (RFC 9110, section 15.4.4): on to another page, by GET."""
    return Answer(303, (("location", destination), NO_STORE, NO_REFERRER, NO_INDEX))
