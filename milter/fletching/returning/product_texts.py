"""Table: what single mail servers and filters say, in words or codes of their own.

Sources: the documentation of the products that are named; their replies as they are quoted in
returned mail, or commonly known; an entry without an address above it was not looked up.
`entries.py` says how an entry is written. These come before the general words.
"""

from __future__ import annotations

from fletching.returning.entries import Entry, entries
from fletching.returning.returned import Reason

PRODUCTS: tuple[Entry, ...] = (
    *entries(Reason.NETWORK, "Postfix", "host not found try again"),
    *entries(Reason.SYSTEM, "Postfix", "4.3.0 .. temporary lookup failure"),
    *entries(
        Reason.PROTOCOL,
        "Postfix, qmail",
        """
        improper use of smtp | *smtplf
        """,
    ),
    *entries(Reason.DOMAIN_UNKNOWN, "Exim", "mx records point to non existent hosts"),
    *entries(Reason.SYSTEM, "qmail", "home directory is writable"),
    *entries(Reason.SENDER_REJECTED, "Courier", "517 domain | 517 .. domain does not exist"),
    *entries(Reason.USER_UNKNOWN, "Haraka", "i cannot deliver mail for"),
    *entries(Reason.SENDER_REJECTED, "cPanel", "may not exist .. sender verify failed"),
    *entries(Reason.DOMAIN_UNKNOWN, "cPanel", "account or domain may not exist"),
    *entries(Reason.USER_UNKNOWN, "Domino", "not listed in .. directory | not listed in .. book"),
    *entries(Reason.SPAM, "SURBL, URIBL", "blacklisted url | url blacklist | blacklisted link"),
    *entries(Reason.SPAM, "Barracuda", "for one or more recipients @ blocked"),
    *entries(Reason.BLOCKED, "Symantec.cloud", "global bad senders"),
    *entries(Reason.SPAM, "MX Logic", "denied cs"),
    *entries(Reason.USER_UNKNOWN, "Symantec.cloud", "542 @ rejected"),
    *entries(
        Reason.POLICY,
        "Mimecast, Symantec.cloud",
        """
        host network not allowed | turn on smtp authentication in your mail client |
        administrative prohibition envelope blocked | submitter failed to authenticate |
        internal resources are temporarily unavailable
        """,
    ),
    *entries(Reason.BLOCKED, "Proofpoint", "*proofpoint.com/dnsbl | *ipcheck.proofpoint.com"),
    *entries(Reason.USER_UNKNOWN, "Ironport", "#5.1.0 address rejected"),
)
