"""Why a mail was not delivered: from the words and codes of a server to a reason and a type.

Both readers share this: that of returned mail, and that of Postfix's log. The tables are in files
of their own: the admin's rules come first, then words that mean one thing (`provider_texts.py`,
`refusal_texts.py`, `mailbox_texts.py`, `delivery_texts.py`), enhanced status codes that mean one
thing (`status_codes.py`), vague words, generic status codes, and reply codes (`reply_codes.py`).
What a returned mail looks like is not known here. The work is linear in the text's size, which is
bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from fletching.returning import (
    delivery_texts,
    mailbox_texts,
    provider_texts,
    refusal_texts,
    reply_codes,
    status_codes,
)
from fletching.returning.entries import Entry, Table, plain
from fletching.returning.returned import BounceType, Failure, Reason

LONGEST = 1000
"""Characters of the server's words that are kept and looked at."""

_ORDER = (
    Reason.VIRUS,
    Reason.CONTENT,
    Reason.AUTH_FAILURE,
    Reason.MAILBOX_FULL,
    Reason.MAILBOX_DISABLED,
    Reason.MOVED,
    Reason.SENDER_REJECTED,
    Reason.RELAY_DENIED,
    Reason.RATE_LIMITED,
    Reason.BLOCKED,
    Reason.SPAM,
    Reason.TOO_BIG,
    Reason.PROTOCOL,
    Reason.NO_MAIL_SERVICE,
    Reason.DOMAIN_UNKNOWN,
    Reason.RECIPIENT_FILTERED,
    Reason.USER_UNKNOWN,
    Reason.POLICY,
    Reason.NETWORK,
    Reason.SYSTEM,
    Reason.EXPIRED,
)
"""Which reason decides if a text has words of several: causes before their consequences."""

_CERTAIN = Table(
    (
        *provider_texts.PROVIDERS,
        *sorted(
            (*refusal_texts.TEXTS, *mailbox_texts.TEXTS, *delivery_texts.TEXTS),
            key=lambda entry: _ORDER.index(entry.reason),
        ),
    )
)
_VAGUE = Table(delivery_texts.VAGUE)
_HARD = (Reason.USER_UNKNOWN, Reason.DOMAIN_UNKNOWN, Reason.MOVED)
_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.]*\d)")
_REPLY = re.compile(r"(?<![\d.])([245][0-5]\d)(?![\d.]*\d)(?=[ -]|$)")
_REPLY_START = re.compile(r"(?:smtp; ?)?([245][0-5]\d)(?=[ =:.#-]|$)", re.IGNORECASE)
_HOST_SAID = re.compile(r"host \S+ (?:said|refused to talk to me): ")
_REFUSED_TO_TALK = "refused to talk to me: "
_IN_REPLY = re.compile(r"\(in reply to (?:end of )?([A-Z]+)")
# What IronPort writes before the server's own words.
_PREFACE = re.compile(r"5\.[13]\.0 - (?:Unknown address error|Other mail system problem)")


class Rule(Protocol):
    """A rule of the admin's own (`rules.py`)."""

    @property
    def name(self) -> str: ...

    def decide(self, text: str) -> tuple[Reason, BounceType | None] | None:
        """The reason, and the type if the rule sets it; None if the rule does not match."""


@dataclass(frozen=True, slots=True)
class _Reply:
    """What a server said, prepared for the tables. ``command``: what it replied to, or empty."""

    status: str
    code: int
    text: str
    command: str

    @property
    def is_temporary(self) -> bool:
        return self.status.startswith("4") or (not self.status and 400 <= self.code < 500)

    @property
    def is_about_the_address(self) -> bool:
        """Whether the codes allow that the address is bad: permanent, and no matter of policy."""
        return not self.is_temporary and ".7." not in self.status

    @property
    def plain(self) -> str:
        """The words, after the codes and between blanks (`entries.py`)."""
        text = _PREFACE.sub("", _HOST_SAID.sub("", self.text))
        if self.code:
            # The code that repeats at each line of a reply.
            text = re.sub(rf"(?<=\s){self.code}[ -](?:[245]\.\d+\.\d+\b)?", " ", text)
        return f" {self.code or ''} {self.status} {plain(text)} "


def classify(
    status: str, code: int, text: str, *, rules: Iterable[Rule] = (), command: str = ""
) -> Failure:
    """Why a mail was not delivered.

    ``status``: the enhanced status code, or empty; ``code``: the SMTP reply code, or 0: both are
    searched in the text if missing. ``text``: the words of the server, or of the host that gave up,
    also with what Postfix puts around them. ``command``: the SMTP command that was refused (CONN,
    HELO, MAIL, RCPT, DATA) where it is known; Postfix says it in the text.
    """
    reply = _reply(status, code, text, command)
    for rule in rules:
        if decision := rule.decide(reply.text):
            reason, type_ = decision
            return _failure(reply, reason, f"rule {rule.name}", type_)
    reason, entry = _looked_up(reply)
    return _failure(reply, reason, entry)


def bounce_type(reason: Reason, is_temporary: bool) -> BounceType:
    """The type of a reason. ``is_temporary``: the code is 4xx."""
    if reason in _HARD or (reason is Reason.NO_MAIL_SERVICE and not is_temporary):
        return BounceType.HARD
    return BounceType.OTHER if reason is Reason.OTHER else BounceType.SOFT


def _reply(status: str, code: int, text: str, command: str) -> _Reply:
    text = "".join(c if c.isprintable() else " " for c in text[: 4 * LONGEST])
    text = " ".join(text.split())[:LONGEST]
    said = _HOST_SAID.sub("", text)
    found = _REPLY_START.match(said) or _REPLY.search(said)
    code = code or (int(found[1]) if found else 0)
    if not status or status.endswith(".0.0"):
        in_text = _STATUS.search(said)
        status = in_text[1] if in_text else status
    if asked := _IN_REPLY.search(text):
        command = command or asked[1]
    elif _REFUSED_TO_TALK in text:
        command = command or "CONN"
    return _Reply(status, code, text, command)


def _looked_up(reply: _Reply) -> tuple[Reason, str]:
    """The reason, and the table entry that gives it."""
    text = reply.plain
    if found := _CERTAIN.first(text):
        return _in_context(found.reason, reply), _shown(found)
    if reason := status_codes.reason(reply.status, status_codes.SPECIFIC):
        return _in_context(reason, reply), f"status {reply.status}"
    if reply.command in ("CONN", "EHLO", "HELO"):
        return Reason.BLOCKED, f"refused after {reply.command}"
    if reply.command == "MAIL":
        return Reason.SENDER_REJECTED, "refused after MAIL"
    vague = _VAGUE.first(text)
    if vague and (vague.reason not in _HARD or reply.is_about_the_address):
        return _in_context(vague.reason, reply), _shown(vague)
    if reason := status_codes.reason(reply.status, status_codes.GENERIC):
        return reason, f"status {reply.status}"
    if reply.code in reply_codes.REPLIES:
        return reply_codes.REPLIES[reply.code], f"reply code {reply.code}"
    return Reason.OTHER, "no entry"


def _shown(entry: Entry) -> str:
    return f'words "{entry.words}" ({entry.source})'


def _in_context(reason: Reason, reply: _Reply) -> Reason:
    """The reason, with regard to when the server said so, and whether it may change its mind."""
    if reason is Reason.USER_UNKNOWN and reply.command == "DATA":
        # The server accepted the address before it saw the mail.
        return Reason.RECIPIENT_FILTERED
    if reason is Reason.NO_MAIL_SERVICE and reply.command == "CONN":
        # It serves others.
        return Reason.BLOCKED
    if reason is Reason.DOMAIN_UNKNOWN and reply.is_temporary:
        # Nobody knows that a domain does not exist while its name servers fail.
        return Reason.NETWORK
    return reason


def _failure(reply: _Reply, reason: Reason, entry: str, type_: BounceType | None = None) -> Failure:
    digits = reply.status.replace(".", "")
    return Failure(
        type_ or bounce_type(reason, reply.is_temporary),
        reason,
        reply.status,
        reply.code or (int(digits) if digits.isdigit() else 0),
        reply.text,
        entry,
    )
