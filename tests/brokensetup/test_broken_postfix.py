"""Broken set-ups: Postfix. `fletching check --live` must find each, and say the right cure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fletching.checks.finding import Level

from tests.brokensetup.setting import BrokenSetup, Case

pytestmark = pytest.mark.slow

ERROR, WARNING = Level.ERROR, Level.WARNING


# Ways to break


@contextmanager
def receiver(broken: BrokenSetup, setting: str) -> Iterator[None]:
    """Another -o setting of the service that takes mail of this host."""
    with broken.master(f"127.0.0.1:{broken.postfix.port}/inet/{setting}"):
        yield


@contextmanager
def chrooted(broken: BrokenSetup) -> Iterator[None]:
    with broken.master():
        service = f"127.0.0.1:{broken.postfix.port}/inet"
        broken.postfix.command("postconf", "-F", f"{service}/chroot=y")
        broken.postfix.restart()
        yield


@contextmanager
def transport_removed(broken: BrokenSetup) -> Iterator[None]:
    with broken.master():
        broken.postfix.command("postconf", "-MX", "vmta-a/unix")
        broken.postfix.restart()
        yield


@contextmanager
def table(broken: BrokenSetup, pattern: str, new: str) -> Iterator[None]:
    """Another milter_header_checks."""
    path = broken.postfix.config_directory / "milter_header_checks"
    before = path.read_text()
    after = re.sub(pattern, new, before)
    assert after != before
    path.write_text(after)
    broken.postfix.restart()
    yield
    path.write_text(before)
    broken.postfix.restart()


@contextmanager
def postfix_stopped(broken: BrokenSetup) -> Iterator[None]:
    broken.postfix.stop()
    yield
    broken.postfix.restart()


def accepting(broken: BrokenSetup) -> str:
    """Our entry of the milter lists, with a default action that lets mail pass."""
    return f"{{ unix:{broken.fletching.socket}, default_action=accept }}"


INSTALL = "`fletching postfix --install`"


def case(*fields: Any) -> Case:
    return Case(*fields)


CASES = (
    case(
        *("no smtpd service has the milter", lambda b: b.postfix_set(smtpd_milters=""), ERROR),
        *("smtpd_milters", "no check mail was sent", INSTALL),
    ),
    case(
        *("service with milters of its own", lambda b: receiver(b, "smtpd_milters="), ERROR),
        *("smtpd_milters", "no check mail was sent", "remove -o smtpd_milters from this service"),
    ),
    case(
        "service without milters",
        lambda b: receiver(b, "receive_override_options=no_milters"),
        *(ERROR, "smtpd_milters", "no check mail was sent", INSTALL),
    ),
    case(
        "milter entry with a socket of before",
        lambda b: b.postfix_set(fletching_milter="unix:/nonexistent/milter.sock"),
        *(ERROR, "smtpd_milters", "but listen is", "set fletching_milter in main.cf"),
    ),
    case(
        *("chrooted smtpd with a socket outside", chrooted, ERROR, "smtpd_milters", "is chrooted"),
        "set listen: unix:",
    ),
    case(
        "mail passes while the milter is down",
        lambda b: b.postfix_set(fletching_milter=accepting(b)),
        *(ERROR, "milter_default_action", "leaves with its control headers", "set it to tempfail"),
    ),
    case(
        *("no milter for sendmail", lambda b: b.postfix_set(non_smtpd_milters=""), ERROR),
        *("non_smtpd_milters", "does not include Fletching", "$fletching_milter"),
    ),
    case(
        "a milter after ours",
        lambda b: b.postfix_set(smtpd_milters="$fletching_milter, inet:127.0.0.1:9"),
        *(WARNING, "smtpd_milters", "comes after Fletching", ""),
    ),
    case(
        *("no milter_header_checks", lambda b: b.postfix_set(milter_header_checks=""), ERROR),
        *("milter_header_checks", "no rule routes", INSTALL),
    ),
    case(
        "milter_header_checks of an older version",
        lambda b: table(b, r"(?m)^/.*\[\$\{2\}\].*$", ""),
        *(ERROR, "milter_header_checks", "older than this version", INSTALL),
    ),
    case(
        "milter_header_checks with a wrong transport",
        lambda b: table(b, r"FILTER vmta-a:", "FILTER vmta-b:"),
        *(ERROR, "milter_header_checks", "must map", INSTALL),
    ),
    case(
        *("transport missing in master.cf", transport_removed, ERROR, "transport vmta-a"),
        *("mail transport unavailable", INSTALL),
    ),
    case(
        "source address of another VirtualMTA",
        lambda b: b.configured(virtual_mtas={"a": {"address": "127.0.0.9"}}),
        *(ERROR, "master.cf vmta-a", "sends from 127.0.0.1, not from 127.0.0.9"),
        "smtp_bind_address=127.0.0.9",
    ),
    case(
        "source address that this host does not have",
        lambda b: b.master(
            "vmta-a/unix/smtp_bind_address=192.0.2.77", "vmta-a/unix/smtp_bind_address_enforce=yes"
        ),
        *(ERROR, "transport vmta-a", "source address is not on this host", "add the address"),
    ),
    case(
        *("EHLO name of another VirtualMTA", lambda b: b.master("vmta-a/unix/smtp_helo_name=b")),
        *(ERROR, "master.cf vmta-a", "greets as b", "smtp_helo_name=mx.fletching.example"),
    ),
    case(
        "transport that verifies certificates",
        lambda b: b.master(
            "tlsmgr unix - - n 1000? 1 tlsmgr", "vmta-a/unix/smtp_tls_security_level=secure"
        ),
        *(WARNING, "transport vmta-a", "not tried: with smtp_tls_security_level=secure", "none"),
    ),
    case(
        *("this host is in no network", lambda b: b.postfix_set(mynetworks="192.0.2.0/24"), ERROR),
        *("Postfix at", "does not take mail for other hosts", "add 127.0.0.0/8 to mynetworks"),
    ),
    case(
        "domains are looked up first",
        lambda b: b.postfix_set(
            smtpd_recipient_restrictions="reject_unknown_recipient_domain, permit"
        ),
        *(ERROR, "Postfix at", "looks up the domains", "put permit_mynetworks before"),
    ),
    case(
        *("message_size_limit too small", lambda b: b.postfix_set(message_size_limit="1000")),
        *(ERROR, "Postfix at", "message_size_limit", "set message_size_limit in main.cf"),
    ),
    case(
        "mail on hold",
        lambda b: b.postfix_set(header_checks="regexp:{{/^Subject: Check mail/ HOLD}}"),
        *(ERROR, "check mail by a", "was put on hold", "remove HOLD"),
    ),
    case(
        "List-Unsubscribe removed",
        lambda b: b.postfix_set(smtp_header_checks="regexp:{{/^List-Unsubscribe:/ IGNORE}}"),
        *(ERROR, "check mail by a", "without List-Unsubscribe", "remove the rule for this field"),
    ),
    case(
        "signed field changed",
        lambda b: b.postfix_set(
            smtp_header_checks="regexp:{{/^Subject: (.*)/ REPLACE Subject: X}}"
        ),
        *(ERROR, "s1._domainkey.example.com", "does not verify", "smtp_header_checks"),
    ),
    case(
        "body changed",
        lambda b: b.postfix_set(smtp_body_checks="regexp:{{/Fletching sends/ IGNORE}}"),
        *(ERROR, "s1._domainkey.example.com", "body hash", "remove what changes mail after"),
    ),
    case(
        "X-Mailer-Info removed",
        lambda b: b.postfix_set(smtp_header_checks="regexp:{{/^X-Mailer-Info:/ IGNORE}}"),
        *(ERROR, "check mail by a", "without a valid X-Mailer-Info", "header_checks"),
    ),
    case(
        "control header added after us",
        lambda b: b.postfix_set(
            smtp_header_checks="regexp:{{/^X-Mailer-Info:/ PREPEND X-GreenArrow-MailClass: news}}"
        ),
        *(ERROR, "check mail by a", "left with control headers: x-greenarrow-mailclass", "PREPEND"),
    ),
    case(
        *("a copy of all mail", lambda b: b.postfix_set(always_bcc="boss@example.org"), WARNING),
        *("always_bcc", "also went to boss@example.org", "remove always_bcc"),
    ),
    case(
        "return path changed",
        lambda b: b.postfix_set(smtp_generic_maps="regexp:{{/^bounces/ shop@example.com}}"),
        *(ERROR, "return path", "left with <shop@example.com>", "smtp_generic_maps"),
    ),
    case(
        "bounces for a mailbox that Postfix does not know",
        lambda b: b.postfix_set(relay_domains="", mydestination="local.example, example.com"),
        *(ERROR, "bounces", "refuses mail for bounces+", INSTALL),
    ),
    case(
        *("bounces for no transport", lambda b: b.postfix_set(transport_maps=""), ERROR),
        *("transport_maps", "must have the LMTP service", INSTALL),
    ),
    case(
        *("Postfix stopped", postfix_stopped, ERROR, "Postfix at", "does not answer"),
        "systemctl start postfix",
    ),
)


@pytest.mark.parametrize("broken_by", CASES, ids=[each.name for each in CASES])
def test_broken_postfix_is_found_with_its_cure(broken: BrokenSetup, broken_by: Case) -> None:
    broken_by.assert_found(broken)


def test_check_mail_arrives_by_a_transport_that_demands_tls(broken: BrokenSetup) -> None:
    with broken.master(
        "tlsmgr unix - - n 1000? 1 tlsmgr", "vmta-a/unix/smtp_tls_security_level=encrypt"
    ):
        by = {each.place: each for each in broken.findings()}
    assert by["check mail by a"].level is Level.OK
