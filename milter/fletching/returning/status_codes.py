"""Table: what enhanced status codes mean (RFC 3463).

Sources: the IANA registry "SMTP Enhanced Status Codes" with RFC 3463, 3886, 4954, 5248, 6710, 7293,
7372, 7505, 7681; Microsoft's list of non-delivery reports in Exchange Online for codes with a
detail above 100, and for 5.1.10, 5.4.1 and 5.4.14, which Microsoft uses in its own way.

To extend: add a code. ``X`` stands for the classes 4 and 5, ``*`` at the end for two digits. A code
with a class is looked up before one with ``X``, and ``*`` last. `GENERIC` has the codes that
servers use for many things: words are looked at first.
"""

from __future__ import annotations

from fletching.returning.returned import Reason

SPECIFIC = {
    # X.1: the addresses.
    "X.1.1": Reason.USER_UNKNOWN,
    "X.1.2": Reason.DOMAIN_UNKNOWN,
    "X.1.3": Reason.USER_UNKNOWN,
    "X.1.4": Reason.USER_UNKNOWN,
    "X.1.6": Reason.MOVED,
    "X.1.7": Reason.SENDER_REJECTED,
    "X.1.8": Reason.SENDER_REJECTED,
    "X.1.9": Reason.SYSTEM,
    "X.1.10": Reason.NO_MAIL_SERVICE,
    "5.1.90": Reason.RATE_LIMITED,
    "5.1.350": Reason.USER_UNKNOWN,
    "5.1.351": Reason.USER_UNKNOWN,
    # X.2: the mailbox.
    "X.2.1": Reason.MAILBOX_DISABLED,
    "X.2.2": Reason.MAILBOX_FULL,
    "X.2.3": Reason.TOO_BIG,
    "X.2.4": Reason.SYSTEM,
    "5.2.121": Reason.RATE_LIMITED,
    "5.2.122": Reason.RATE_LIMITED,
    # X.3: the mail system.
    "X.3.1": Reason.SYSTEM,
    "X.3.2": Reason.NO_MAIL_SERVICE,
    "X.3.3": Reason.SYSTEM,
    "X.3.4": Reason.TOO_BIG,
    "X.3.5": Reason.SYSTEM,
    # X.4: network and routing.
    "X.4.1": Reason.NETWORK,
    "X.4.2": Reason.NETWORK,
    "X.4.3": Reason.NETWORK,
    "5.4.4": Reason.DOMAIN_UNKNOWN,
    "X.4.4": Reason.NETWORK,
    "X.4.5": Reason.RATE_LIMITED,
    "X.4.6": Reason.NETWORK,
    "X.4.14": Reason.NETWORK,
    "X.4.300": Reason.EXPIRED,
    "5.4.310": Reason.DOMAIN_UNKNOWN,
    "X.4.312": Reason.NETWORK,
    "X.4.316": Reason.EXPIRED,
    "X.4.317": Reason.NETWORK,
    # X.5: the protocol.
    "X.5.1": Reason.PROTOCOL,
    "X.5.2": Reason.PROTOCOL,
    "X.5.3": Reason.RATE_LIMITED,
    "X.5.4": Reason.PROTOCOL,
    "X.5.5": Reason.PROTOCOL,
    "X.5.6": Reason.PROTOCOL,
    # X.6: the content.
    "X.6.0": Reason.CONTENT,
    "X.6.1": Reason.CONTENT,
    "X.6.2": Reason.CONTENT,
    "X.6.3": Reason.CONTENT,
    "X.6.4": Reason.CONTENT,
    "X.6.5": Reason.CONTENT,
    "X.6.6": Reason.CONTENT,
    "X.6.7": Reason.PROTOCOL,
    "X.6.8": Reason.PROTOCOL,
    "X.6.9": Reason.PROTOCOL,
    "X.6.10": Reason.PROTOCOL,
    # X.7: security and policy.
    "X.7.2": Reason.POLICY,
    "X.7.3": Reason.POLICY,
    "X.7.4": Reason.POLICY,
    "X.7.5": Reason.POLICY,
    "X.7.6": Reason.POLICY,
    "X.7.7": Reason.POLICY,
    "X.7.8": Reason.POLICY,
    "X.7.9": Reason.POLICY,
    "X.7.10": Reason.POLICY,
    "X.7.11": Reason.POLICY,
    "X.7.12": Reason.POLICY,
    "X.7.13": Reason.MAILBOX_DISABLED,
    "X.7.14": Reason.POLICY,
    "X.7.15": Reason.POLICY,
    "X.7.16": Reason.TOO_BIG,
    "X.7.17": Reason.MOVED,
    "X.7.18": Reason.MOVED,
    "X.7.19": Reason.POLICY,
    "X.7.20": Reason.AUTH_FAILURE,
    "X.7.21": Reason.AUTH_FAILURE,
    "X.7.22": Reason.AUTH_FAILURE,
    "X.7.23": Reason.AUTH_FAILURE,
    "X.7.24": Reason.AUTH_FAILURE,
    "X.7.25": Reason.BLOCKED,
    "X.7.26": Reason.AUTH_FAILURE,
    "X.7.27": Reason.SENDER_REJECTED,
    "X.7.28": Reason.RATE_LIMITED,
    "X.7.29": Reason.AUTH_FAILURE,
    "X.7.30": Reason.POLICY,
    "X.7.32": Reason.AUTH_FAILURE,
    "5.7.57": Reason.POLICY,
    "5.7.124": Reason.RECIPIENT_FILTERED,
    "5.7.133": Reason.RECIPIENT_FILTERED,
    "5.7.134": Reason.RECIPIENT_FILTERED,
    "5.7.136": Reason.RECIPIENT_FILTERED,
    "5.7.501": Reason.SPAM,
    "5.7.502": Reason.SPAM,
    "5.7.503": Reason.SPAM,
    "5.7.505": Reason.SENDER_REJECTED,
    "5.7.506": Reason.PROTOCOL,
    "5.7.507": Reason.RECIPIENT_FILTERED,
    "X.7.508": Reason.RATE_LIMITED,
    "5.7.509": Reason.AUTH_FAILURE,
    "5.7.510": Reason.PROTOCOL,
    "5.7.511": Reason.BLOCKED,
    "5.7.512": Reason.PROTOCOL,
    "5.7.513": Reason.RECIPIENT_FILTERED,
    "5.7.515": Reason.AUTH_FAILURE,
    "X.7.6*": Reason.BLOCKED,
    "5.7.705": Reason.RATE_LIMITED,
    "5.7.708": Reason.BLOCKED,
    "5.7.750": Reason.SENDER_REJECTED,
    "4.7.5*": Reason.RATE_LIMITED,
    "4.7.7*": Reason.RATE_LIMITED,
    "4.7.8*": Reason.NETWORK,
}

GENERIC = {
    "X.2.0": Reason.RECIPIENT_FILTERED,
    "X.3.0": Reason.SYSTEM,
    "X.4.0": Reason.NETWORK,
    "X.4.7": Reason.EXPIRED,
    "X.7.0": Reason.POLICY,
    "X.7.1": Reason.POLICY,
}


def reason(status: str, table: dict[str, Reason]) -> Reason | None:
    """The reason of a status code; None if the table does not have it."""
    _, _, rest = status.partition(".")
    subject, _, detail = rest.partition(".")
    for key in (status, f"X.{rest}", f"{status[:1]}.{subject}.{detail[:1]}*"):
        if key in table and (not key.endswith("*") or len(detail) == 3):
            return table[key]
    wild = f"X.{subject}.{detail[:1]}*"
    return table.get(wild) if len(detail) == 3 else None
