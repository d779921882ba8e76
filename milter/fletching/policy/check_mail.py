"""A check mail, which `fletching check --live` submits to see what becomes of it (docs/check.md).

Its X-Fletching-Check authenticates it. It is carried like any other mail of the client that
submitted it, with three exceptions: its route ends at the sink of the command, a port on loopback;
no rule adds, removes or holds anything for it but header fields; and it counts nowhere, as its
tokens say that it is a seed copy, its campaign is in no list, and it uses no limit.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace

from fletching.mail.envelope import Envelope
from fletching.mail.message import Message
from fletching.policy.control import CHECK_HEADER
from fletching.policy.plan import CheckMail, Plan
from fletching.tokens import Facts, Keyring, Kind, TokenError

LIFETIME = 600
"""Seconds for which a mark is valid, before and after the time in it: clocks of hosts differ."""

SENDID = "*check"
"""The SendID of all check mails, which no Mail Class can have."""

KEPT = 3600
"""Seconds for which the store keeps what belongs to check mails."""

UNROUTED = "smtp"
"""The transport to the sink if the mail has no VirtualMTA."""

_SINK = re.compile(r"\[(?:127\.0\.0\.1|::1)\]:[0-9]{1,5}")


def mark(keys: Keyring, recipient: str, sink: str, seconds: int) -> str:
    """The value of X-Fletching-Check. ``sink``: a next hop, as in `CheckMail`."""
    return keys.seal(Kind.CHECK, Facts(email=recipient, sent=seconds), json.dumps([sink]))


def read(message: Message, envelope: Envelope, keys: Keyring, seconds: int) -> CheckMail | None:
    """What proves that a mail is a check mail for its only recipient; None for other mail.

    ``seconds``: unix time.
    """
    for header in message.all(CHECK_HEADER.lower()):
        try:
            token = keys.open("".join(header.text.decode("ascii", "replace").split()))
        except TokenError:
            continue
        if token.kind is not Kind.CHECK or abs(seconds - token.facts.sent) > LIFETIME:
            continue
        (sink,) = json.loads(token.destination)
        recipients = {each.address.lower() for each in envelope.recipients}
        if _SINK.fullmatch(sink) and recipients == {token.facts.email.lower()}:
            return CheckMail(sink)
    return None


def planned(plan: Plan, check: CheckMail) -> Plan:
    """The Plan of a check mail, from that of such a mail without a mark."""
    return replace(
        plan,
        check_mail=check,
        candidates=tuple(each._replace(periods=()) for each in plan.candidates),
        counted=(),
        suppress="off",
        recipients=(),
        seeding=None,
        campaign_ids=None,
        archive=None,
    )
