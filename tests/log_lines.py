"""Lines as Postfix 3.7 logs them, for messages of ours and of others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fletching.daemons.logtail.lines import Line
from fletching.tokens import Keyring, LinkKey

KEYS = Keyring((LinkKey(1, 0, bytes(range(32))),))
CAMPAIGN = "a" * 12

OK = "dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 12345)"
UNKNOWN = "550 5.1.1 <{to}>: Recipient address rejected: User unknown in virtual mailbox table"
FULL = "452 4.2.2 Mailbox full"
_SAID = "host mx.example.org[192.0.2.25] said: {words} (in reply to RCPT TO command)"


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail in Postfix's queue. ``campaign`` empty: not ours."""

    queue_id: str
    number: int = 1
    campaign: str = CAMPAIGN
    to: str = "ann@example.org"
    recipients: int = 1
    name: str = "postfix"
    keys: Keyring = KEYS

    @property
    def sender(self) -> str:
        if not self.campaign:
            return "someone@example.net"
        return f"bounces+{self.keys.tag(self.campaign, self.number)}@example.com"

    def to_other(self, address: str) -> Mail:
        return replace(self, to=address)

    def line(self, program: str, text: str) -> str:
        time = "2026-11-30T15:54:50.000000+00:00"
        return f"{time} mx1 {self.name}/{program}[123]: {self.queue_id}: {text}"

    def queued(self) -> str:
        return self.line("cleanup", f"message-id=<{self.queue_id}@app.example>")

    def active(self) -> str:
        return self.line(
            "qmgr", f"from=<{self.sender}>, size=322, nrcpt={self.recipients} (queue active)"
        )

    def attempt(self, rest: str, alias: str = "") -> str:
        original = f"orig_to=<{alias}>, " if alias else ""
        where = "relay=mx.example.org[192.0.2.25]:25, delay=0.53, delays=0.01/0.02/0.4/0.1"
        return self.line("vmta-a/smtp", f"to=<{self.to}>, {original}{where}, {rest}")

    def sent(self, reply: str = "250 2.0.0 Ok: queued as 12345") -> str:
        return self.attempt(f"dsn=2.0.0, status=sent ({reply})")

    def bounced(self, words: str = UNKNOWN, dsn: str = "5.1.1", alias: str = "") -> str:
        said = _SAID.format(words=words.format(to=self.to))
        return self.attempt(f"dsn={dsn}, status=bounced ({said})", alias)

    def deferred(self, words: str = FULL, dsn: str = "4.2.2") -> str:
        said = _SAID.format(words=words.format(to=self.to))
        return self.attempt(f"dsn={dsn}, status=deferred ({said})")

    def expired(self) -> str:
        return self.line("qmgr", f"from=<{self.sender}>, status=expired, returned to sender")

    def removed(self) -> str:
        return self.line("qmgr", "removed")

    def delivered(self) -> list[str]:
        """All lines of a mail that is delivered at once."""
        client = self.line("smtpd", "client=app.example[192.0.2.1]")
        return [client, self.queued(), self.active(), self.sent(), self.removed()]


def placed(lines: list[str], start: int = 0) -> list[Line]:
    """Lines as they stand in a file."""

    def each() -> Iterator[Line]:
        at = start
        for line in lines:
            yield Line(b"%d" % at, line.encode())
            at += len(line.encode()) + 1

    return list(each())
