"""A configuration, keys, mails and envelopes that the tests of outgoing mail share."""

from __future__ import annotations

import quopri
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fletching.config.load import parse as parse_config
from fletching.config.model import Config
from fletching.mail.dkim import SigningKey
from fletching.mail.envelope import Envelope, Recipient
from fletching.mail.message import Message, parse
from fletching.numbering import Numbered, Question
from fletching.outgoing.flow import Outcome, carry
from fletching.outgoing.text_parts import TextPartCache
from fletching.policy.decide import decide
from fletching.policy.plan import Plan
from fletching.policy.setup import Setup, Stamp
from fletching.tokens import Keyring, LinkKey, Token, TokenError

RECIPIENT = "reader@example.org"
CAMPAIGN = "mbyyqiavuxqo"
NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)

SITE = """\
bounce_mailbox: bounces@example.com
unsubscribe_mailbox: unsubscribe@example.com
url_domain: https://click.example.com
link_keys: link-keys
users:
  crm: {force_mail_class: crm}
  shop: {mail_class: newsletter}
mail_classes:
  newsletter: {list_id: t100, virtual_mta: bulk, track: {clicks: true, opens: true}}
  crm: {list_id: c1}
virtual_mtas:
  a: {transport: vmta-a}
  b: {transport: vmta-b, fallback: a}
  bulk: {pool: {a: 3, b: 1}}
dkim: {keys: [{domain: example.com, selector: s1, file: s1.pem, default: true}]}
"""

UNTRACKED = SITE + "on_store_failure: untracked\n"
CLASSIFIED = "X-GreenArrow-MailClass: newsletter"

NEWSLETTER = """\
From: Shop <news@example.com>
To: reader@example.org
Subject: Offers
Message-ID: <1@example.com>
MIME-Version: 1.0
X-GreenArrow-MailClass: newsletter
X-GreenArrow-InstanceID: 100525
X-GreenArrow-Click-Tracking-ID: order-4711
Content-Type: multipart/alternative; boundary=b1

--b1
Content-Type: text/plain; charset=utf-8

Look: http://www.example.org/a
Bye: ##unsubscribetag##https://example.org/bye

--b1
Content-Type: text/html; charset=utf-8

<html><body><a href="http://www.example.org/a?x=1&amp;y=2">Look</a></body></html>

--b1--
"""

LINK_KEY = LinkKey(1, 0, bytes(range(32)))
KEYRING = Keyring((LINK_KEY,))
ENTROPY = bytes(range(8))


def dkim_key(domain: str, selector: str, default: bool = False) -> SigningKey:
    """One fixed key for each domain and selector."""
    seed = f"{selector}.{domain}".encode().ljust(32, b"\0")[:32]
    return SigningKey(domain, selector, Ed25519PrivateKey.from_private_bytes(seed), default)


DKIM_KEY = dkim_key("example.com", "s1", default=True)


def config(text: str = SITE) -> Config:
    """The configuration in that text."""
    return parse_config(text.encode(), Path("fletching.yaml"))


def mail(*fields: str, body: str = "Hello.\n", sender: str = "Shop <news@example.com>") -> Message:
    """A mail with the usual header fields and these."""
    usual = (
        f"From: {sender}",
        f"To: {RECIPIENT}",
        "Subject: Offers",
        "Message-ID: <1@example.com>",
    )
    text = "\n".join((*usual, *fields, "", body))
    return parse(text.encode("utf-8", "surrogateescape"))


def envelope(
    *recipients: str,
    sender: str = "app@example.com",
    client: str = "127.0.0.1",
    login: str | None = None,
    mailer: str | None = "smtp",
    local: bool = False,
    service: str | None = None,
) -> Envelope:
    """From a trusted client to outbound recipients, unless given otherwise."""
    to = tuple(Recipient(address, mailer) for address in recipients or (RECIPIENT,))
    return Envelope(sender, to, client, login=login, local=local, service=service)


def plan(
    message: Message,
    around: Envelope | None = None,
    site: Config | str = SITE,
    keys: Iterable[SigningKey] = (DKIM_KEY,),
    paused: Iterable[str] = (),
    now: datetime = NOW,
) -> Plan:
    """The Plan of a mail."""
    site = config(site) if isinstance(site, str) else site
    link_keys = KEYRING if site.link_keys else Keyring(())
    opened = Setup(site, link_keys, tuple(keys), frozenset(paused))
    return decide(message, around or envelope(), opened, Stamp(now, ENTROPY))


def reason(decided: Plan, setting: str) -> tuple[str, str]:
    """Value and source of a decision, which was made exactly once."""
    (found,) = ((r.text, r.source) for r in decided.decisions if r.setting == setting)
    return found


class Store:
    """Answers the question as the store does, and records it."""

    def __init__(self, answer: Numbered | None = Numbered(CAMPAIGN, 1)) -> None:  # noqa: B008
        self.answer = answer
        self.questions: list[Question] = []

    def __call__(self, question: Question) -> Numbered | None:
        self.questions.append(question)
        return self.answer


def setup(site: str = SITE, link_keys: Keyring | None = None, paused: Iterable[str] = ()) -> Setup:
    """The Setup for a configuration."""
    found = config(site)
    return Setup(
        config=found,
        link_keys=link_keys or (KEYRING if found.link_keys else Keyring(())),
        dkim_keys=(DKIM_KEY,),
        paused=frozenset(paused),
    )


def carried(
    message: Message,
    around: Envelope | None = None,
    opened: Setup | None = None,
    store: Callable[[Question], Numbered | None] | None = None,
) -> Outcome:
    """The Outcome of a mail."""
    return carry(
        message,
        around or envelope(),
        opened or setup(),
        store or Store(),
        Stamp(NOW, ENTROPY),
        TextPartCache(),
    )


def newsletter(*fields: str) -> Message:
    """The newsletter with more header fields."""
    return parse(("\n".join((*fields, "")) if fields else "").encode() + NEWSLETTER.encode())


def tokens(outcome: Outcome, keys: Keyring = KEYRING) -> list[Token]:
    """Every token of ours in a mail as it leaves, decrypted."""
    final = outcome.final
    texts = ["".join(h.text.decode("latin-1").split()) for h in final.headers]
    texts.append(quopri.decodestring(final.body).decode("latin-1"))
    found = []
    for candidate in re.findall(r"[A-Za-z0-9_-]{40,}", "\n".join(texts)):
        try:
            found.append(keys.open(candidate))
        except TokenError:
            continue
    return found


def kinds(outcome: Outcome) -> list[str]:
    return sorted(token.kind.name for token in tokens(outcome))


def names(message: Message) -> list[bytes]:
    return [header.name for header in message.headers]
