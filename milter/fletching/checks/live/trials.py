"""Trials: the check mails of one command, and what should come of each.

What should come of a mail is what `carry()` makes of it here, as `fletching preview` would show.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from ipaddress import IPv6Address

from fletching.admin.preview import preview
from fletching.config.model import Config, VirtualMta
from fletching.mail.envelope import Envelope, Recipient
from fletching.mail.message import parse
from fletching.outgoing.flow import Outcome
from fletching.policy import check_mail
from fletching.policy.control import CHECK_HEADER
from fletching.policy.setup import Setup
from fletching.startup import stamp, zone

MOST = 20
"""Mails of one command."""

DOMAIN = "fletching.invalid"
"""Of the recipients: no mail for it can leave (RFC 6761), whatever is broken."""

INSTANCE_ID = "0check"
"""An InstanceID begins with a digit."""

_LINE = 70


@dataclass(frozen=True, slots=True)
class Trial:
    """One check mail. ``virtual_mta``: the one that it asks for; None if there are none.

    ``destination``: of its link. ``expected``: what the milter should make of it.
    """

    virtual_mta: VirtualMta | None
    message_id: str
    sender: str
    recipient: str
    destination: str
    raw: bytes
    expected: Outcome

    @property
    def name(self) -> str:
        """What stands for it in a finding."""
        return (
            "check mail" if self.virtual_mta is None else f"check mail by {self.virtual_mta.name}"
        )

    @property
    def transport(self) -> str:
        """The Postfix transport that should carry it."""
        member = self.expected.plan.member
        return member.transport if member is not None else check_mail.UNROUTED


def trials(config: Config, setup: Setup, port: int, has_ipv6: bool) -> tuple[Trial, ...]:
    """One for each VirtualMTA, Mail Class and domain with a DKIM key, as few as possible.

    ``port``: of the sink.
    """
    singles = [each for each in config.virtual_mtas.values() if each.transport is not None]
    classes = list(config.mail_classes)
    domains = list(dict.fromkeys(key.domain for key in setup.dkim_keys)) or [_domain(config)]
    count = min(MOST, max(1, len(singles), len(classes), len(domains)))
    return tuple(
        _trial(
            config,
            setup,
            singles[at % len(singles)] if singles else None,
            classes[at % len(classes)] if classes else None,
            domains[at % len(domains)],
            port,
            has_ipv6,
        )
        for at in range(count)
    )


def _domain(config: Config) -> str:
    """The sender's domain if none has a key."""
    mailbox = config.bounce_mailbox or config.unsubscribe_mailbox
    return mailbox.rpartition("@")[2] if mailbox else DOMAIN


def _trial(
    config: Config,
    setup: Setup,
    virtual_mta: VirtualMta | None,
    mail_class: str | None,
    domain: str,
    port: int,
    has_ipv6: bool,
) -> Trial:
    id = secrets.token_hex(8)
    recipient = f"check-{id}@{DOMAIN}"
    address = virtual_mta.address if virtual_mta is not None else None
    host = "::1" if has_ipv6 and isinstance(address, IPv6Address) else "127.0.0.1"
    now = stamp(zone(config))
    controls = {
        "X-GreenArrow-MailClass": mail_class,
        "X-GreenArrow-InstanceID": INSTANCE_ID if mail_class else None,
        "X-GreenArrow-MtaID": virtual_mta.name if virtual_mta and mail_class else None,
        "X-GreenArrow-SeedDo": "no" if mail_class else None,
    }
    mark = check_mail.mark(setup.link_keys, recipient, f"[{host}]:{port}", now.seconds)
    destination = f"https://www.{DOMAIN}/check/{id}"
    message_id = f"<{id}@{DOMAIN}>"
    fields = [
        f"From: Fletching check <fletching-check@{domain}>",
        f"To: {recipient}",
        "Subject: Check mail of fletching check --live",
        f"Date: {formatdate(now.seconds, localtime=True)}",
        f"Message-ID: {message_id}",
        "MIME-Version: 1.0",
        *(f"{name}: {value}" for name, value in controls.items() if value is not None),
        f"{CHECK_HEADER.decode()}: " + "\r\n ".join(_pieces(mark)),
        'Content-Type: multipart/alternative; boundary="check"',
    ]
    sender = f"fletching-check@{domain}"
    raw = ("\r\n".join(fields) + "\r\n\r\n" + _body(destination)).encode()
    envelope = Envelope(sender, (Recipient(recipient, "smtp"),), "127.0.0.1")
    expected = preview(parse(raw), envelope, setup, now)
    return Trial(virtual_mta, message_id, sender, recipient, destination, raw, expected)


def _body(destination: str) -> str:
    """Text and HTML with 8-bit characters, since Postfix may have to convert them."""
    parts = {
        "plain": f"Fletching sends this mail to itself: \u00a1{destination}\r\n",
        "html": "<html><body><p>Fletching sends this mail to itself:"
        f' \u00a1<a href="{destination}">link</a>.</p></body></html>\r\n',
    }
    return (
        "".join(
            f"--check\r\nContent-Type: text/{kind}; charset=utf-8\r\n"
            f"Content-Transfer-Encoding: 8bit\r\n\r\n{text}\r\n"
            for kind, text in parts.items()
        )
        + "--check--\r\n"
    )


def _pieces(text: str) -> Iterator[str]:
    return (text[at : at + _LINE] for at in range(0, len(text), _LINE))


def left_out(config: Config, made: Sequence[Trial]) -> tuple[str, ...]:
    """The VirtualMTAs that no trial asks for."""
    tried = {each.virtual_mta.name for each in made if each.virtual_mta is not None}
    every = (each.name for each in config.virtual_mtas.values() if each.transport is not None)
    return tuple(name for name in every if name not in tried)
