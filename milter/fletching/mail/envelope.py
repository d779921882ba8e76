"""What SMTP said about a mail: who sends it, to whom, from where.

Here live the values that Postfix tells us beside the mail itself. They know nothing of MIME,
of configuration or of what will be decided from them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recipient:
    """One RCPT TO.

    ``address`` has no angle brackets; octets that are not UTF-8 are surrogate escapes.
    ``mailer`` is Postfix's ``{rcpt_mailer}`` (``smtp``, ``relay``, ``local``, ...), None where
    Postfix did not say, as for mail submitted by sendmail(1).
    """

    address: str
    mailer: str | None = None

    @property
    def domain(self) -> str:
        """What stands behind the last ``@``, in lower case; empty without one."""
        return self.address.rpartition("@")[2].lower() if "@" in self.address else ""

    @property
    def mailbox(self) -> str:
        """The address with its domain in lower case: two spellings are one recipient."""
        local, at, domain = self.address.rpartition("@")
        return f"{local}@{domain.lower()}" if at else self.address


@dataclass(frozen=True, slots=True)
class Envelope:
    """The SMTP transaction around one mail (RFC 5321 section 2.3.1).

    ``sender`` is empty for the null sender. ``client`` is the address of the client as text, empty
    where it has none. ``login`` is the name given to SMTP AUTH, None without. ``local`` is true for
    mail that came through ``non_smtpd_milters`` (sendmail(1)). ``service`` is Postfix's
    ``{daemon_name}``, None where Postfix did not say.
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
        """The mailers of the recipients, each once."""
        return tuple(dict.fromkeys(recipient.mailer for recipient in self.recipients))

    @property
    def mailers_told(self) -> bool:
        """Whether Postfix said which mailers the recipients have: it does for mail from SMTP."""
        return any(mailer is not None for mailer in self.mailers)
