"""Whether a mail is live or in shadow (docs/shadow.md).

In shadow, nothing of the Plan is carried out: only control headers are removed, unless they stay.

A seed copy and a mail that comes again are live, because the first mail was. A check mail is live,
because it is to show what live mail gets.
"""

from __future__ import annotations

import hashlib

from fletching.config.model import Config, MailClass
from fletching.mail.message import Message
from fletching.policy import control
from fletching.policy.decisions import Decisions, Submission
from fletching.policy.plan import Plan

_WHOLE = 2**64


def decide(
    mail: Submission, mail_class: MailClass | None, decisions: Decisions
) -> frozenset[int] | None:
    """The positions of the header fields to remove from a mail in shadow; None if it is live.

    ``mail``: as it was submitted.
    """
    config = mail.config
    if not config.uses_shadow:
        return None
    is_shadow, source = _chosen(mail, mail_class)
    decisions.record("mode", "shadow" if is_shadow else "live", source)
    if not is_shadow:
        return None
    return frozenset() if _keeps(config, mail_class, decisions) else mail.control.remove


def of_undecided(message: Message, config: Config) -> Plan | None:
    """The Plan of a mail for which nothing could be decided; None if it may be live, or if its
    class says whether its control headers stay.

    Raises nothing that `control.positions` does not raise.
    """
    if not config.is_all_in_shadow:
        return None
    keeps = config.shadow_keeps_headers
    return Plan(
        trusted=True,
        remove=frozenset(),
        shadow=frozenset() if keeps else control.positions(message.headers),
    )


def _chosen(mail: Submission, mail_class: MailClass | None) -> tuple[bool, str]:
    """Whether the mail is in shadow, and the option that says so."""
    if mail_class is not None and mail_class.shadow is not None:
        share = mail_class.shadow
        return is_chosen(mail, mail_class, share), f"shadow: {share:g} of class {mail_class.name}"
    if mail_class is not None and mail_class.mode is not None:
        return mail_class.mode == "shadow", f"class {mail_class.name}"
    return mail.config.mode == "shadow", "global"


def is_chosen(mail: Submission, mail_class: MailClass, share: float) -> bool:
    """Whether the mail is in this share, from 0 to 1, of its class.

    Every host, and `fletching explain`, makes the same choice for the same mail: by its Message-ID
    and its recipients, or by its queue id if it has no Message-ID. A mail that is live in a share
    is live in every smaller one.
    """
    message_id, envelope = mail.message.first(b"message-id"), mail.envelope
    digest = hashlib.sha256(b"fletching shadow\0" + mail_class.name.lower().encode())
    text = message_id.text if message_id is not None else envelope.queue_id.encode()
    digest.update(b"\0" + text)
    for mailbox in sorted({each.mailbox for each in envelope.recipients}):
        digest.update(b"\0" + mailbox.encode("utf-8", "surrogatepass"))
    return int.from_bytes(digest.digest()[:8], "big") < share * _WHOLE


def _keeps(config: Config, mail_class: MailClass | None, decisions: Decisions) -> bool:
    keeps, source = config.shadow_keeps_headers, "global"
    if mail_class is not None and mail_class.shadow_keeps_headers is not None:
        keeps, source = mail_class.shadow_keeps_headers, f"class {mail_class.name}"
    decisions.record("shadow_keeps_headers", keeps, source)
    return keeps
