"""Proof that the milters do the work that is measured: a fast milter might be an idle one.

Nothing is measured here. One mail of each size goes through each setup to a mailbox, and OpenDKIM
verifies its signature. Fletching's log shows whether every mail was accepted, and its warnings.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bench import mails
from bench.setups import DKIMPY, FLETCHING, OPENDKIM, Servers, Setup
from sandbox.postfix import send
from sandbox.postfix_config import VIRTUAL_DOMAIN
from sandbox.processes import wait_until
from sandbox.verifiers import verify_opendkim

_SIGN = (OPENDKIM, DKIMPY, FLETCHING)
_RECIPIENT = f"reader@{VIRTUAL_DOMAIN}"
_TRACKED = b"https://click.example.com/click?"


class IdleError(Exception):
    """A milter did not do what it is measured for."""


def prove(servers: Servers, size: str) -> None:
    """Check that each setup does its work on a mail of this size. Raises `IdleError`."""
    for setup in servers.setups.values():
        arrived = _through(servers, setup, mails.SIZES[size])
        if setup.name in _SIGN:
            _signed(arrived, setup)
        if setup.name == FLETCHING and (b"\r\nX-Mailer-Info:" not in arrived):
            raise IdleError(f"{size}: {setup.name} made no X-Mailer-Info")
        if (_TRACKED in arrived.replace(b"=\r\n", b"")) != (setup.name == FLETCHING):
            raise IdleError(f"{size}: {setup.name}: wrong number of tracked links")


def _through(servers: Servers, setup: Setup, mail: bytes) -> bytes:
    """The mail as delivered to a mailbox behind a setup, with CRLF line ends."""
    before = set(servers.postfix.mailbox("virtual"))
    with servers.postfix.client(port=setup.port) as smtp:
        reply = send(smtp, mail, mails.SENDER, [_RECIPIENT])
    if not reply.accepted:
        raise IdleError(f"{setup.name}: {reply.code} {reply.text}")
    servers.postfix.wait_empty()
    (arrived,) = set(servers.postfix.mailbox("virtual")) - before
    # virtual(8) adds two header fields on top, which no signature covers.
    return arrived.replace(b"\n", b"\r\n")


def _signed(arrived: bytes, setup: Setup) -> None:
    verdicts = verify_opendkim(arrived, {"s1._domainkey.example.com": setup.dkim_record()})
    if [verdict.passed for verdict in verdicts] != [True]:
        raise IdleError(f"{setup.name} has not signed: {verdicts}")


def all_accepted(fletching: Setup, log_start: int, count: int) -> None:
    """Check Fletching's log: ``count`` mails, all accepted without a warning.

    ``log_start``: characters of the log to skip. The log line of a mail is written after its
    reply, so the last ones may come late.
    """
    check_log(_mail_lines(fletching, log_start, count), count)


def all_warned_of(fletching: Setup, log_start: int, count: int) -> None:
    """The same, but each mail must have a warning."""
    check_log(_mail_lines(fletching, log_start, count), count, warned=True)


def _mail_lines(fletching: Setup, log_start: int, count: int) -> list[str]:
    def lines() -> list[str]:
        return re.findall(r"(?m)^mail queue_id=.*\n", fletching.log()[log_start:])

    wait_until("Fletching's log lacks some mails", lambda: len(lines()) >= count)
    return lines()


def check_log(lines: Sequence[str], count: int, *, warned: bool = False) -> None:
    """Check that there are ``count`` lines, all of accepted mails, with a warning or without."""
    fine = [
        line for line in lines if " verdict=accept " in line and (" warning=" in line) == warned
    ]
    if len(fine) != count or len(lines) != count:
        odd = next(iter(set(lines) - set(fine)), "")
        raise IdleError(f"Fletching accepted {len(fine)} of {count} mails: {odd}")
