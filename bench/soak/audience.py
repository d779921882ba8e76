"""The recipients of a soak and their providers: they click, unsubscribe, complain and send bounces.

Here lives what came to the sink, and every request and returned mail that followed, with its
answers. A request without its proper answer is sent again, as a person or Postfix does.
"""

from __future__ import annotations

import heapq
import html
import re
import smtplib
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException

from fletching.tokens import Keyring

from bench.soak import orders
from bench.soak.orders import Order
from sandbox import returned_mails
from sandbox.postfix import Postfix, send
from sandbox.sinks import Sink, SunkMail
from sandbox.verifiers import verify_dkimpy
from sandbox.web import ask

CLICK, OPEN, UNSUBSCRIBE = "click", "open", "unsubscribe"
BOUNCE, SOFT_BOUNCE, COMPLAINT, MAILED_UNSUBSCRIBE = (
    *("bounce", "soft bounce", "complaint", "unsubscribe by mail"),
)
_THREADS = 4
_RETRY = 0.5
"""Seconds until a request without its answer is sent again."""
_REACT_AFTER = 2.5
"""Seconds after a mail's delivery; an earlier click counts as a bot's."""
_AGAIN_AFTER = 3.0
"""Seconds until the same request is made once more, by those who do."""
_VERIFIED = 19
"""One in so many mails has its signatures verified; prime to the number of cases."""
_LINK = re.compile(rf"https://{re.escape(orders.URL_HOST)}/[^\s\"<>]+")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A mail as the recipient's server got it."""

    number: int
    queue_id: str
    campaign: str
    message_number: int
    return_path: str


@dataclass(slots=True)
class Reaction:
    """One request or returned mail. ``answered``: how often it had its proper answer; ``unknown``:
    how often the connection ended without one. ``parts``: sender, recipient and content of a mail.
    """

    kind: str
    number: int
    url: str = ""
    parts: tuple[str, str, str] = ("", "", "")
    answered: int = 0
    unknown: int = 0
    wrong: Counter[int] = field(default_factory=Counter)

    @property
    def is_mail(self) -> bool:
        """Whether it goes by mail."""
        return bool(self.parts[1])


class Audience:
    """All recipients of the mail in a sink. ``records``: the DNS records of the DKIM keys."""

    def __init__(
        self, sink: Sink, web: int, postfix: Postfix, keys: Keyring, records: Mapping[str, str]
    ) -> None:
        self._sink, self._web, self._postfix = sink, web, postfix
        self._keys, self._records = keys, records
        self._waited: set[str] = set()
        self._lock = threading.Lock()
        self._due: list[tuple[float, int, Reaction]] = []
        self._open = 0
        self.arrivals: list[Arrival] = []
        self.reactions: list[Reaction] = []
        self.verified = 0
        self.unsigned: list[str] = []
        """Queue ids of mails with a signature that does not verify, or with too few of them."""
        self._known: set[int] = set()
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=work) for work in (self._watch, *[self._react] * _THREADS)
        ]

    def start(self) -> None:
        """Start reacting."""
        self._sink.answer_to = self._answer
        for thread in self._threads:
            thread.start()

    def wait(self, patience: float) -> int:
        """Wait until everybody has reacted, and end; how many reactions are left undone."""
        end = time.monotonic() + patience
        while (self._due or self._open) and time.monotonic() < end:
            time.sleep(0.05)
        self._ended.set()
        for thread in self._threads:
            thread.join()
        return len(self._due)

    def _answer(self, address: str) -> str:
        number = orders.number_of(address)
        case = Order(number).case if number is not None else orders.QUIET
        if case == orders.REFUSED:
            return f"550 5.1.1 <{address}>: no such user here"
        if case == orders.DEFERRED and address not in self._waited:
            self._waited.add(address)
            return f"451 4.2.1 <{address}>: try again later"
        return "250 2.1.5 recipient accepted"

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            for mail in self._sink.take():
                self._arrived(mail)

    def _arrived(self, mail: SunkMail) -> None:
        number = orders.number_of(mail.recipients[0])
        if number is None:
            return
        message = mail.message
        found = re.search(r"\bid (\w+)", str(message["Received"]))
        facts = self._keys.open("".join(str(message["X-Mailer-Info"]).split())).facts
        queue_id = found[1] if found else ""
        self.arrivals.append(Arrival(number, queue_id, facts.campaign, facts.number, mail.sender))
        if number % _VERIFIED == 0:
            verdicts = verify_dkimpy(mail.raw, self._records)
            self.verified += 1
            if len(verdicts) != len(self._records) or not all(each.passed for each in verdicts):
                self.unsigned.append(queue_id)
        if number in self._known:
            return
        self._known.add(number)
        for delay, reaction in self._reactions(number, mail):
            self.reactions.append(reaction)
            self._plan(delay, reaction)

    def _plan(self, delay: float, reaction: Reaction) -> None:
        with self._lock:
            heapq.heappush(self._due, (time.monotonic() + delay, id(reaction), reaction))

    def _reactions(self, number: int, mail: SunkMail) -> list[tuple[float, Reaction]]:
        case = Order(number).case
        if case in (orders.CLICKED, orders.TWICE, orders.OPENED):
            return self._requests(number, case, mail)
        message = mail.message
        unsubscribe = "".join(str(message["List-Unsubscribe"]).split())
        if case == orders.UNSUBSCRIBED:
            url = _found(r"<(https[^>]+)>", unsubscribe)
            return [(_REACT_AFTER, Reaction(UNSUBSCRIBE, number, url))]
        to, header = mail.recipients[0], mail.raw.partition(b"\r\n\r\n")[0].decode()
        if case == orders.BOUNCED:
            parts = (
                "",
                mail.sender,
                returned_mails.bounce(to, header, "5.1.1", "550 5.1.1 no mailbox"),
            )
            return [(0, Reaction(BOUNCE, number, parts=parts))]
        if case == orders.FULL:
            parts = (
                "",
                mail.sender,
                returned_mails.bounce(to, header, "4.2.2", "452 4.2.2 over quota"),
            )
            return [(0, Reaction(SOFT_BOUNCE, number, parts=parts))]
        if case == orders.COMPLAINED:
            parts = "fbl@isp.example", orders.FEEDBACK, returned_mails.complaint(to, header)
            return [(0, Reaction(COMPLAINT, number, parts=parts))]
        if case == orders.MAILED:
            mailbox = _found(r"<mailto:([^?>]+)", unsubscribe)
            subject = _found(r"\?subject=([^>]+)>", unsubscribe)
            parts = to, mailbox, returned_mails.unsubscribe(to, mailbox, subject)
            return [(0, Reaction(MAILED_UNSUBSCRIBE, number, parts=parts))]
        return []

    def _requests(self, number: int, case: str, mail: SunkMail) -> list[tuple[float, Reaction]]:
        body = mail.message.get_body(("html", "plain"))
        links = [html.unescape(url) for url in _LINK.findall(body.get_content() if body else "")]
        if case == orders.OPENED:
            return [(_REACT_AFTER, Reaction(OPEN, number, links[-1]))]
        clicks = [(_REACT_AFTER, Reaction(CLICK, number, links[0]))]
        if case == orders.TWICE:
            clicks += [
                (_REACT_AFTER + 1, Reaction(CLICK, number, links[1])),
                (_REACT_AFTER + _AGAIN_AFTER, Reaction(CLICK, number, links[0])),
            ]
        return clicks

    def _react(self) -> None:
        while not self._ended.is_set():
            with self._lock:
                is_due = self._due and self._due[0][0] <= time.monotonic()
                reaction = heapq.heappop(self._due)[2] if is_due else None
                self._open += reaction is not None
            if reaction is None:
                time.sleep(0.01)
                continue
            try:
                if reaction.is_mail:
                    self._mail(reaction)
                else:
                    self._request(reaction)
            finally:
                if not reaction.answered:
                    self._plan(_RETRY, reaction)
                with self._lock:
                    self._open -= 1

    def _request(self, reaction: Reaction) -> None:
        try:
            if reaction.kind == UNSUBSCRIBE:
                answer = ask(self._web, reaction.url, "POST", "List-Unsubscribe=One-Click")
            else:
                answer = ask(self._web, reaction.url)
        except ConnectionRefusedError:
            return
        except (OSError, HTTPException):
            reaction.unknown += 1
            return
        proper = {CLICK: 302, OPEN: 200, UNSUBSCRIBE: 200}[reaction.kind]
        if answer.status == proper:
            reaction.answered += 1
        else:
            reaction.unknown += 1
            reaction.wrong[answer.status] += 1

    def _mail(self, reaction: Reaction) -> None:
        sender, to, content = reaction.parts
        begun = False
        try:
            with self._postfix.client() as smtp:
                begun = True
                reply = send(smtp, content.encode("ascii"), sender, [to])
        except (OSError, smtplib.SMTPException):
            reaction.unknown += begun
            return
        if reply.accepted:
            reaction.answered += 1
        elif reply.code >= 500:
            reaction.wrong[reply.code] += 1


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise ValueError(f"no {pattern} in {text}")
    return found[1]
