"""The SMTP envelope of a mail: its sender, its recipients, and the client that submitted it.

Here live the values that Postfix gives beside the mail itself. MIME, configuration and what is
decided from these values may not be known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_PLAIN = re.compile(r"[^\s\"()<>\\:,;@]*(?:@[^\s\"()<>\\:,;@]*)?")
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|\\(.)|(.)', re.S)
_QUOTED_PAIR = re.compile(r"\\(.)", re.S)
_NEEDS_QUOTES = re.compile(r"[\s\"()<>\\:,;@\[\]\x00-\x1f\x7f]")


def address_of(path: str) -> str:
    """The address in the path of MAIL or RCPT, as Postfix will have it in its queue.

    A client may write one address in many ways: with a source route, comments, blanks, further
    brackets, quotes that are not needed. Postfix takes all of these away, so who names the address
    in another way would name nobody.
    """
    inner = path[1:-1] if path.startswith("<") and path.endswith(">") else path
    if _PLAIN.fullmatch(inner):
        return inner
    words = list(_without_comments(path))
    for opening in [place for place, word in enumerate(words) if word == ("<", False)][-1:]:
        words = words[opening + 1 :]
    words = [word for word in words if word not in ((">", False), ("<", False))]
    if words[:1] == [("@", False)] and (":", False) in words:
        words = words[words.index((":", False)) + 1 :]
    ats = [place for place, word in enumerate(words) if word == ("@", False)]
    end = ats[-1] if ats else len(words)
    local = "".join(text for text, _ in words[:end])
    if _NEEDS_QUOTES.search(local) or (not local and words):
        local = '"' + re.sub(r'(["\\])', r"\\\1", local) + '"'
    return local + "".join(text for text, _ in words[end:])


def _without_comments(path: str) -> Iterator[tuple[str, bool]]:
    """The characters of a path, each with whether it is quoted; no comments, and no blanks outside
    of quotes."""
    depth = 0
    for quoted, escaped, other in _WORD.findall(path):
        if other == "(":
            depth += 1
        elif other == ")":
            depth -= 1
        elif depth <= 0 and other:
            if not other.isspace():
                yield other, False
        elif depth <= 0:
            # Empty quotes are a word, too.
            for character in _QUOTED_PAIR.sub(r"\1", quoted) or (escaped,):
                yield character, True


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
