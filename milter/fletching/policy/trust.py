"""Whose control headers count: a client that authenticated, or one in a trusted network
(docs/mail.md, "Trusted clients").
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address

from fletching.config.model import Config
from fletching.mail.envelope import Envelope
from fletching.mail.message import Header
from fletching.policy import vendor_headers
from fletching.policy.control import PREFIX


def trusted(envelope: Envelope, config: Config) -> tuple[bool, str]:
    """Whether the client is trusted, and the option or the fact that says so."""
    # Nobody authenticates with an empty login.
    if envelope.login and config.trusted.authenticated:
        return True, "SMTP AUTH"
    services = config.trusted.services
    # sendmail(1) is no smtpd service; whoever can run it is on this host.
    if services and not envelope.local and envelope.service not in services:
        return False, "trusted.services"
    return _in_networks(envelope.client, config.trusted.networks), "trusted.networks"


def needs_body(headers: tuple[Header, ...], envelope: Envelope, config: Config) -> bool:
    """Whether the body of such a mail can matter; if not, an edge need not keep it.

    Only the body of mail that has a Mail Class, or that is signed, is read.
    """
    if not trusted(envelope, config)[0]:
        return False
    return (
        config.dkim.sign_unclassified
        or config.default_mail_class is not None
        or config.user_name(envelope.login) is not None
        or any(header.key.startswith(PREFIX) for header in headers)
        or any(alias.control == "mail_class" for alias in config.header_aliases.values())
        or config.rules_need_body
        or vendor_headers.is_asked(headers, config.dialects)
    )


@lru_cache(maxsize=1024)  # A pure function, and few clients send most of the mail.
def _in_networks(client: str, networks: tuple[object, ...]) -> bool:
    try:
        address = ip_address(client)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)  # type: ignore[operator]
