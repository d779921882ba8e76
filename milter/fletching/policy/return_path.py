"""The return path: its mailbox, its VERP tag, and the transport that it can show
(docs/return-path.md).

With ``route_by: sender``, Postfix reads the transport from the envelope sender. The milter, which
writes such senders, and `postfix/settings.py`, which writes the table that Postfix looks them up
in, share one rule: the local part of a return path is

    mailbox, recipient_delimiter, tag, "-", suffix of the transport

A tag has no "-", so the suffix is what follows the last one.
"""

from __future__ import annotations

import base64
import hashlib

from fletching.config.values import BOUNCE_LOCAL_PART
from fletching.policy import offers
from fletching.policy.decisions import Decisions, Submission
from fletching.policy.offers import RankedOffers

SUFFIX_LENGTH = 4


def bounce_mailbox(mail: Submission, ranked: RankedOffers, decisions: Decisions) -> str | None:
    """The mailbox of the return path, None if the envelope sender stays."""
    if not mail.envelope.sender:
        # Nothing may bounce to the null sender (RFC 5321 section 4.5.5).
        decisions.record(offers.BOUNCE_MAILBOX.name, "<>", "null sender")
        return None
    return decisions.choose(ranked, offers.BOUNCE_MAILBOX)


def verp(mail: Submission, ranked: RankedOffers, decisions: Decisions, mailbox: str | None) -> bool:
    """Whether the return path gets a tag."""
    if mailbox is None or not decisions.choose(ranked, offers.VERP):
        return False
    config = mail.config
    room = BOUNCE_LOCAL_PART - (SUFFIX_LENGTH + 1 if config.route_by == "sender" else 0)
    if len(mailbox.rpartition("@")[0]) > room:
        decisions.warn("VERP disabled: local part of the bounce mailbox too long")
        return False
    if config.link_keys is None:
        decisions.warn("VERP disabled: link_keys is not set")
        return False
    return True


def sender_suffix(route: str) -> str:
    """Four of a-z and 2-7 that stand for a transport, with its next hop if there is one.

    Not the transport's name: a tag and a long name do not fit into the 64 bytes of a local part.
    Not its position in the configuration: mail that is queued already must keep its transport when
    another VirtualMTA is added.
    """
    digest = hashlib.sha256(route.encode("utf-8")).digest()
    return base64.b32encode(digest).decode("ascii")[:SUFFIX_LENGTH].lower()
