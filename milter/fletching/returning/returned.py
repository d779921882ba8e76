"""What a returned mail says: a bounce, a complaint, an unsubscribe, an automatic reply.

Here live the values that reading a mail gives, and their words, which `fletching bounce read` and
events show. How a mail is read is in the files beside this one; which message of ours it is about,
and what follows from it, is not known here.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class MailKind(enum.StrEnum):
    """What a returned mail is."""

    BOUNCE = "bounce"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"
    AUTO_REPLY = "auto_reply"
    NONE = "none"


class BounceType(enum.StrEnum):
    """Whether the address is bad: hard; or may be good another time: soft."""

    HARD = "h"
    SOFT = "s"
    OTHER = "o"


class Reason(enum.StrEnum):
    """Why a mail was not delivered (docs/bounce-reasons.md)."""

    USER_UNKNOWN = "user_unknown"
    MAILBOX_FULL = "mailbox_full"
    MAILBOX_DISABLED = "mailbox_disabled"
    DOMAIN_UNKNOWN = "domain_unknown"
    NO_MAIL_SERVICE = "no_mail_service"
    EXPIRED = "expired"
    NETWORK = "network"
    TOO_BIG = "too_big"
    CONTENT = "content"
    SPAM = "spam"
    VIRUS = "virus"
    POLICY = "policy"
    AUTH_FAILURE = "auth_failure"
    BLOCKED = "blocked"
    RATE_LIMITED = "rate_limited"
    SENDER_REJECTED = "sender_rejected"
    RECIPIENT_FILTERED = "recipient_filtered"
    RELAY_DENIED = "relay_denied"
    PROTOCOL = "protocol"
    SYSTEM = "system"
    MOVED = "moved"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a server refused a mail, or could not deliver it.

    ``status``: the enhanced status code (RFC 3463), empty if unknown. ``code``: the SMTP reply
    code, else the digits of the status as a number, else 0. ``text``: the server's words.
    ``entry``: the rule or the table entry that decided, for people.
    """

    type: BounceType
    reason: Reason
    status: str = ""
    code: int = 0
    text: str = ""
    entry: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class ReturnedRecipient:
    """A recipient that a returned mail names. ``email``: empty if it names none.

    ``failure``: None for a delivered mail, a complaint and an unsubscribe. ``is_delayed``:
    delivery to this one is still tried, even if the mail says that others bounced. ``original``:
    the address to which the mail was sent, if it is named and was replaced by ``email``.
    """

    email: str
    failure: Failure | None = None
    is_delayed: bool = False
    original: str = ""


@dataclass(frozen=True, slots=True)
class ReturnedMail:
    """What a returned mail says.

    ``feedback_type``: of a feedback report (RFC 5965), in lower case. ``mailer_info``: the value of
    X-Mailer-Info in the message that it returns; empty if there is none. ``return_paths``: the
    addresses of the returned message's envelope sender that it quotes. ``unsubscribe``: the text
    that may be the token of a mailed unsubscribe. ``queue_id``: the one that the message had in the
    queue of the Postfix that gave it up; empty if it was not Postfix.
    """

    kind: MailKind
    recipients: tuple[ReturnedRecipient, ...] = ()
    feedback_type: str = ""
    mailer_info: str = ""
    return_paths: tuple[str, ...] = ()
    unsubscribe: str = ""
    queue_id: str = ""
