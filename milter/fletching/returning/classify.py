"""Why a mail was not delivered: from the words and codes of a server to a reason and a type.

Both readers share this: that of returned mail, and that of Postfix's log. The tables are in files
of their own: the admin's rules come first, then words that mean one thing (`provider_texts.py`,
`product_texts.py`, `refusal_texts.py`, `mailbox_texts.py`, `delivery_texts.py`), enhanced status
codes that mean one thing (`status_codes.py`), vague words, generic status codes, and reply codes
(`reply_codes.py`).
What a returned mail looks like is not known here. The work is linear in the text's size, which is
bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fletching.returning import (
    delivery_texts,
    mailbox_texts,
    product_texts,
    provider_texts,
    refusal_texts,
    reply_codes,
    status_codes,
)
from fletching.returning.entries import MANY, Entry, Table, plain
from fletching.returning.returned import BounceType, Failure, Reason
from fletching.returning.rules import Rule

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
        *product_texts.PRODUCTS,
        *sorted(
            (*refusal_texts.TEXTS, *mailbox_texts.TEXTS, *delivery_texts.TEXTS),
            key=lambda entry: _ORDER.index(entry.reason),
        ),
    )
)
_VAGUE = Table(delivery_texts.VAGUE)
_HARD = (Reason.USER_UNKNOWN, Reason.DOMAIN_UNKNOWN, Reason.MOVED)
_ABOUT_THE_SENDER = (".1.7", ".1.8")
_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.]*\d)")
_REPLY = re.compile(r"(?<![\d.])([245][0-5]\d)(?![\d.]*\d)(?=[ -]|$)")
_NO_SUCH_ADDRESS = re.compile(r"5\.1\.[1-3]")
_REPLY_START = re.compile(r"(?:smtp; ?)?([245][0-5]\d)(?=[ =:.#-]|$)", re.IGNORECASE)
_HOST_SAID = re.compile(r"host \S+ (?:said|refused to talk to me): ")
_REFUSED_TO_TALK = "refused to talk to me: "
_IN_REPLY = re.compile(r"\(in reply to (?:end of )?([A-Z]+)[^()]{0,40}\)")
# What IronPort writes before the server's own words.
_PREFACE = re.compile(r"5\.[13]\.0 - (?:Unknown address error|Other mail system problem)")


@dataclass(frozen=True, slots=True)
class _Reply:
    """What a server said, prepared for the tables.

    ``command``: what it replied to, or empty. ``is_policy``: it gave a status code of policy.
    """

    status: str
    code: int
    text: str
    command: str
    is_policy: bool

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
        text = _PREFACE.sub("", _HOST_SAID.sub("", _IN_REPLY.sub("", self.text)))
        if self.code:
            # The code that repeats at each line of a reply.
            text = re.sub(rf"(?<=\s){self.code}[ -](?:[245]\.\d+\.\d+\b)?", " ", text)
        return f" {self.code or ''} {self.status} {plain(text)} $ "


def classify(
    status: str, code: int, text: str, *, rules: Iterable[Rule] = (), command: str = ""
) -> Failure:
    """Why a mail was not delivered.

    ``status``: the enhanced status code, or empty; ``code``: the SMTP reply code, or 0: both are
    searched in the text if missing. ``text``: the words of the server, or of the host that gave up,
    also with what Postfix puts around them. ``command``: the SMTP command that was refused (CONN,
    HELO, MAIL, RCPT, DATA) where it is known; Postfix says it in the text.
    """
    return classify_first(status, code, (text,), rules=rules, command=command)


def classify_first(
    status: str, code: int, texts: Sequence[str], *, rules: Iterable[Rule] = (), command: str = ""
) -> Failure:
    """Why a mail was not delivered, by several texts: the best first.

    The words and the exact codes of the first are looked up before the words of the others, and
    vague words and generic codes last. ``texts``: at least one. The failure has the text that
    decided, else the first.
    """
    replies = [_reply(status, code, text, command) for text in texts]
    for rule in rules:
        for reply in replies:
            if decision := rule.decide(reply.text):
                reason, type_ = decision
                return _failure(replies, reply, reason, f"rule {rule.name}", type_)
    for look_up, looked_at in (
        (_certain, replies[:1]),
        (_coded, replies[:1]),
        (_certain, replies[1:]),
        (_vague, replies),
    ):
        for reply in looked_at:
            if found := look_up(reply):
                return _failure(replies, reply, *found)
    return _failure(replies, replies[0], Reason.OTHER, "no entry")


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
    in_text = _STATUS.search(said)
    if in_text and (not status or status.endswith(".0.0")):
        status = in_text[1]
    if asked := _IN_REPLY.search(text):
        command = command or asked[1]
    elif _REFUSED_TO_TALK in text:
        command = command or "CONN"
    is_policy = in_text is not None and ".7." in in_text[1]
    return _Reply(status, code, text, command, is_policy)


def _certain(reply: _Reply) -> tuple[Reason, str] | None:
    """What words that mean one thing say."""
    found = _CERTAIN.first(reply.plain)
    if found is None:
        return None
    # A provider's own words mean the same whenever it says them.
    reason = _in_context(found.reason, reply) if found.source == MANY else found.reason
    return reason, _shown(found)


def _coded(reply: _Reply) -> tuple[Reason, str] | None:
    """What an enhanced status code says that means one thing."""
    if reason := status_codes.reason(reply.status, status_codes.SPECIFIC):
        return _in_context(reason, reply), f"status {reply.status}"
    return None


def _vague(reply: _Reply) -> tuple[Reason, str] | None:
    """What the refused command, vague words and generic codes say."""
    if coded := _coded(reply):
        return coded
    if reply.command in ("CONN", "EHLO", "HELO"):
        return Reason.BLOCKED, f"refused after {reply.command}"
    if reply.command == "MAIL":
        return Reason.SENDER_REJECTED, "refused after MAIL"
    vague = _VAGUE.first(reply.plain)
    if vague and (vague.reason not in _HARD or reply.is_about_the_address):
        return _in_context(vague.reason, reply), _shown(vague)
    if reason := status_codes.reason(reply.status, status_codes.GENERIC):
        return reason, f"status {reply.status}"
    if reply.code in reply_codes.REPLIES:
        return reply_codes.REPLIES[reply.code], f"reply code {reply.code}"
    return None


def _shown(entry: Entry) -> str:
    return f'words "{entry.words}" ({entry.source})'


def _in_context(reason: Reason, reply: _Reply) -> Reason:
    """The reason, with regard to when the server said so, and whether it may change its mind."""
    is_late = reply.command == "DATA" and not _NO_SUCH_ADDRESS.fullmatch(reply.status)
    if reason is Reason.USER_UNKNOWN and (is_late or reply.is_policy):
        # The server accepted the address before it saw the mail, and does not say by its code that
        # there is no such address, or it says that its policy forbids the mail: the address may be
        # good.
        return Reason.RECIPIENT_FILTERED
    if reason in _HARD and (reply.command == "MAIL" or reply.status[1:] in _ABOUT_THE_SENDER):
        # The unknown user or domain is the sender's.
        return Reason.SENDER_REJECTED
    if reason is Reason.NO_MAIL_SERVICE and reply.command == "CONN":
        # It serves others.
        return Reason.BLOCKED
    if reason is Reason.DOMAIN_UNKNOWN and reply.is_temporary:
        # Nobody knows that a domain does not exist while its name servers fail.
        return Reason.NETWORK
    return reason


def _failure(
    replies: Sequence[_Reply],
    decisive: _Reply,
    reason: Reason,
    entry: str,
    type_: BounceType | None = None,
) -> Failure:
    in_order = (decisive, *replies)
    status = next((each.status for each in in_order if each.status), "")
    code = next((each.code for each in in_order if each.code), 0)
    digits = status.replace(".", "")
    return Failure(
        type_ or bounce_type(reason, decisive.is_temporary),
        reason,
        status,
        code or (int(digits) if digits.isdigit() else 0),
        next((each.text for each in in_order if each.text), ""),
        entry,
    )
