"""A request to a link of ours becomes an answer and an event: clicks, opens, unsubscribes. Pure.

Here lives what each method does to each kind of link (docs/tracking.md, RFC 8058). Anybody may send
a request: only a token that our own key opens leads anywhere or is recorded. What a page looks like
and who keeps the event is not known here.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from fletching import events
from fletching.events import Event, Value
from fletching.returning import bots, bursts
from fletching.returning.bursts import Touch
from fletching.returning.redirects import location, with_recipient
from fletching.tokens import Keyring, Kind, Token, TokenError, decoded, found_in

LONGEST_TARGET = 32 * 1024
"""Bytes of path and query. The token of a destination with 8,000 bytes has 11,000."""

LONGEST_BODY = 8 * 1024
"""Bytes of a POST: those from our page and those of RFC 8058 have fewer than 300."""

PIXEL = bytes.fromhex(
    "47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b"
)
"""A GIF of one transparent pixel."""

# A proxy that joins its own path to ours may double the slash.
_PATH = re.compile(r"/+(click|open|unsub)(?=[/?])")
_CLICKS = frozenset({Kind.CLICK_HTML, Kind.CLICK_TEXT})
_UNSUBSCRIBES = frozenset({Kind.UNSUBSCRIBE_HTML, Kind.UNSUBSCRIBE_TEXT, Kind.LIST_UNSUBSCRIBE})
_TEXT = frozenset({Kind.CLICK_TEXT, Kind.UNSUBSCRIBE_TEXT})
_METHODS = {
    "click": ("GET", "HEAD"),
    "open": ("GET", "HEAD"),
    "unsub": ("GET", "HEAD", "POST", "OPTIONS"),
}

# RFC 8058, section 3.2: one name and value, as of a form, in either of a form's two encodings. Some
# programs take the whole `List-Unsubscribe=One-Click` for a name: they encode its "=" and append
# another. If a part's header repeats the name, matching starts at the last: no line is read twice.
_NAME = r'name="?List-Unsubscribe'
_POSTED = re.compile(
    r"(?:^|&)List-Unsubscribe(?:=|%3D)One-Click=?(?:&|\s*+$)"
    rf"|{_NAME}(?:(?!{_NAME})[^\r\n]|\r?\n(?=[^\r\n]))*+\r?\n\r?\nOne-Click\s",
    re.IGNORECASE,
)
# The button of our own page also sends this.
_BUTTON = re.compile(r"(?:^|&)from=page(?:&|$)")
_LONGEST_AGENT = 500

NO_REFERRER = ("referrer-policy", "no-referrer")
NO_STORE = ("cache-control", "no-store")
NO_INDEX = ("x-robots-tag", "noindex, nofollow")
NO_SNIFF = ("x-content-type-options", "nosniff")
_COMMON = (NO_STORE, NO_REFERRER, NO_INDEX, NO_SNIFF)

# CORS (Fetch standard, section 3.3). RFC 8058 forbids credentials, so `*` suffices.
_ANY_ORIGIN = ("access-control-allow-origin", "*")
_PREFLIGHT = (
    _ANY_ORIGIN,
    ("access-control-allow-methods", "POST"),
    ("access-control-allow-headers", "*"),
    ("access-control-max-age", "86400"),
)

Headers = tuple[tuple[str, str], ...]


class Body(enum.Enum):
    """The body of an answer; the value is the name of a page's template."""

    NOTHING = ""
    PIXEL = "pixel"
    UNSUBSCRIBE = "unsubscribe"
    NO_RECIPIENT = "no_recipient"
    DONE = "done"
    UNKNOWN = "unknown"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request. ``target``: path and query as sent; names of headers in lower case."""

    method: str
    target: str
    address: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. ``destination``: the URL that a page's form may redirect to; empty for none.

    ``mailbox``: the address that a page shows; empty for none.
    """

    status: int
    headers: Headers = ()
    body: Body = Body.NOTHING
    destination: str = ""
    mailbox: str = ""


class Hit(NamedTuple):
    """An answer, and what has to be recorded before it is sent.

    ``touch``: what the client did with the message named ``message``, for other processes too.
    ``for_program``: the answer to send, without an event, if the touches of all processes show that
    the client is a program.
    """

    answer: Answer
    event: Event | None = None
    touch: Touch | None = None
    message: str = ""
    for_program: Answer | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """When a request came, in unix milliseconds, and at least 10 random bytes for an event id."""

    milliseconds: int
    entropy: bytes


@dataclass(frozen=True)
class Settings:
    """What is the same for all requests.

    ``immediate``: whether a link made by ##unsubscribetag## unsubscribes without a page;
    ``mailboxes``: the address for unsubscribes by mail, empty for none. Both by Mail Class in lower
    case; "" stands for all other classes.
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


_EMPTY_PIXEL = Answer(200, (("content-type", "image/gif"), *_COMMON), Body.PIXEL)
UNKNOWN = Answer(404, _COMMON, Body.UNKNOWN)
TOO_LONG = Answer(414, _COMMON, Body.ERROR)
TOO_LARGE = Answer(413, _COMMON, Body.ERROR)
FAILED = Answer(500, _COMMON, Body.ERROR)


def answer(
    request: Request, moment: Moment, settings: Settings, longest_body: int = LONGEST_BODY
) -> Hit:
    """The answer to a request, the event if there is one, and what the client did with the link."""
    if len(request.target) > LONGEST_TARGET:
        return Hit(TOO_LONG)
    if len(request.body) > longest_body:
        return Hit(TOO_LARGE)
    path = _PATH.match(decoded(request.target))
    if path is None:
        return Hit(UNKNOWN)
    action = path[1]
    allowed = _METHODS[action]
    if request.method not in allowed:
        return Hit(Answer(405, (_allow(allowed), *_COMMON), Body.ERROR))
    try:
        token = settings.keys.open(found_in(request.target))
    except TokenError:
        return Hit(_EMPTY_PIXEL if action == "open" else UNKNOWN)
    opened = _Opened(request, moment, settings, token)
    if action == "open":
        return opened.open()
    hit = opened.click() if action == "click" else opened.unsubscribe()
    return hit._replace(message=bursts.message_name(token.facts), touch=opened.touched())


@dataclass(frozen=True, slots=True)
class _Opened:
    """A request whose token our key has opened."""

    request: Request
    moment: Moment
    settings: Settings
    token: Token

    def touched(self) -> Touch | None:
        """What the client did with a link; None for the POST of a page's form and for OPTIONS."""
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
        url = location(self.token.destination)
        if url is None:
            return Hit(UNKNOWN)
        redirect = Answer(302, (("location", url), NO_STORE, NO_REFERRER, NO_INDEX))
        if self.request.method == "HEAD":
            return Hit(redirect)
        return Hit(redirect, self._event(events.CLICK, self._visit(self._bot_reason())))

    def _hidden(self) -> Hit:
        """The link that no person sees (`web.honeypot`); it leads nowhere. HEAD is no click."""
        if self.request.method == "HEAD":
            return Hit(UNKNOWN)
        return Hit(UNKNOWN, self._event(events.CLICK, self._visit(bots.HIDDEN_LINK)))

    def open(self) -> Hit:
        if self.token.kind is not Kind.OPEN or self.request.method == "HEAD":
            return Hit(_EMPTY_PIXEL)
        return Hit(_EMPTY_PIXEL, self._event(events.OPEN, self._visit(self._bot_reason())))

    def unsubscribe(self) -> Hit:
        if self.token.kind not in _UNSUBSCRIBES:
            return Hit(UNKNOWN)
        # A mailbox provider's web page posts to the URL of the header, and to no other.
        is_one_click = self.token.kind is Kind.LIST_UNSUBSCRIBE
        if self.request.method == "OPTIONS":
            cors = _PREFLIGHT if is_one_click else ()
            return Hit(Answer(200, (_allow(_METHODS["unsub"]), *cors, *_COMMON)))
        if self.request.method == "POST":
            hit = self._posted()
            return _with(hit, _ANY_ORIGIN) if is_one_click else hit
        if not self.token.facts.email:
            return Hit(self._no_recipient(200))
        destination = self._destination()
        page = Answer(200, _COMMON, Body.UNSUBSCRIBE, destination)
        if self._is_immediate() and destination:
            redirect = _see_other(destination)
            if self.request.method == "HEAD":
                return Hit(redirect)
            return Hit(redirect, self._unsubscribed(), for_program=page)
        return Hit(page)

    def _posted(self) -> Hit:
        """From the page's button, or from a mailbox provider (RFC 8058)."""
        if not self.token.facts.email:
            # The request is valid, but names nobody to unsubscribe (RFC 9110, section 15.5.21).
            return Hit(self._no_recipient(422))
        form = decoded(self.request.body.decode("latin-1"))
        if not _POSTED.search(form):
            return Hit(Answer(400, _COMMON, Body.UNSUBSCRIBE, self._destination()))
        destination = self._destination()
        if destination and _BUTTON.search(form):
            return Hit(_see_other(destination), self._unsubscribed())
        return Hit(Answer(200, _COMMON, Body.DONE), self._unsubscribed())

    def _no_recipient(self, status: int) -> Answer:
        mailbox = self.settings.mailbox(self.token.facts.mail_class)
        return Answer(status, _COMMON, Body.NO_RECIPIENT, mailbox=mailbox)

    def _destination(self) -> str:
        """The page to which the sender wants the recipient redirected; empty for none."""
        if not self.token.destination:
            return ""
        return location(with_recipient(self.token.destination, self.token.facts)) or ""

    def _is_immediate(self) -> bool:
        """Whether GET unsubscribes, as with GreenArrow; never for a program that checks links."""
        if self.token.kind is Kind.LIST_UNSUBSCRIBE:
            return False
        if not self.settings.is_immediate(self.token.facts.mail_class):
            return False
        return not self._bot_reason()

    def _bot_reason(self) -> str:
        """Why this request, by itself, comes from a program; empty if it may be a person's."""
        return bots.reason(
            self.settings.lists,
            self.request.headers,
            self._agent(),
            after_sending=self.moment.milliseconds - self.token.facts.sent * 1000,
            is_open=self.token.kind is Kind.OPEN,
        )

    def _visit(self, bot_reason: str) -> dict[str, Value]:
        """The fields of a click or an open."""
        agent, address = self._agent(), self.request.address
        is_open = self.token.kind is Kind.OPEN
        return {
            **self._request_fields(),
            "is_privacy_open": is_open and self.settings.lists.is_privacy_open(agent, address),
            "is_bot": bool(bot_reason),
            "bot_reason": bot_reason,
        }

    def _request_fields(self) -> dict[str, Value]:
        return {
            "click_url": self.token.destination,
            "engine_ip": self.request.address,
            "user_agent": self._agent(),
            "html_or_text": "text" if self.token.kind in _TEXT else "html",
        }

    def _unsubscribed(self) -> Event:
        fields = self._request_fields()
        if self.token.kind is Kind.LIST_UNSUBSCRIBE:
            # The link is in a header field.
            del fields["html_or_text"]
        return self._event(events.UNSUBSCRIBE, fields)

    def _event(self, event_type: str, details: Mapping[str, Value]) -> Event:
        time = self.moment.milliseconds
        id = events.unique_id(time, self.moment.entropy)
        return Event(event_type, time, id, self.settings.server_id, self.token.facts, details)

    def _agent(self) -> str:
        return self.request.headers.get("user-agent", "")[:_LONGEST_AGENT]


def _allow(methods: tuple[str, ...]) -> tuple[str, str]:
    return "allow", ", ".join(methods)


def _with(hit: Hit, header: tuple[str, str]) -> Hit:
    """The same with one more header."""
    return hit._replace(answer=replace(hit.answer, headers=(*hit.answer.headers, header)))


def _see_other(destination: str) -> Answer:
    """303 (RFC 9110, section 15.4.4): the browser fetches the destination by GET."""
    return Answer(303, (("location", destination), NO_STORE, NO_REFERRER, NO_INDEX))
