"""The SMTP envelope of a mail: its sender, its recipients, and the client that submitted it.

Here live the values that Postfix gives beside the mail itself. MIME, configuration and what is
decided from these values may not be known here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recipient:
    """One RCPT TO.

    ``address``: without angle brackets; bytes that are not UTF-8 are surrogate escapes.
    ``mailer``: Postfix's ``{rcpt_mailer}`` (``smtp``, ``relay``, ``local``, ...); None without that
    macro, as for mail submitted with sendmail(1).
    """

    address: str
    mailer: str | None = None

    @property
    def domain(self) -> str:
        """The text behind the last ``@``, in lower case; empty without an ``@``."""
        return self.address.rpartition("@")[2].lower() if "@" in self.address else ""

    @property
    def mailbox(self) -> str:
        """The address with its domain in lower case: the case of a domain does not matter."""
        local, at, domain = self.address.rpartition("@")
        return f"{local}@{domain.lower()}" if at else self.address


@dataclass(frozen=True, slots=True)
class Envelope:
    """The SMTP transaction around one mail (RFC 5321 section 2.3.1).

    ``sender``: empty for the null sender. ``client``: the IP address of the client, empty without
    one. ``login``: the user name of SMTP AUTH, None without. ``local``: whether the mail came
    through ``non_smtpd_milters``, as from sendmail(1). ``service``: Postfix's ``{daemon_name}``,
    None without that macro.
    """

    sender: str
    recipients: tuple[Recipient, ...]
    client: str
    login: str | None = None
    local: bool = False
    queue_id: str = ""
    service: str | None = None

    @property
    def mailers(self) -> tuple[str | None, ...]:
        """The mailers of the recipients, without duplicates."""
        return tuple(dict.fromkeys(recipient.mailer for recipient in self.recipients))

    @property
    def mailers_told(self) -> bool:
        """Whether Postfix gave the mailer of any recipient, as it does for mail from SMTP."""
        return any(mailer is not None for mailer in self.mailers)
