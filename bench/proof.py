"""That the milters do the work whose time is taken: without this a fast milter may be an idle one.

Nothing is measured here. One mail of a size goes through each set-up to a mailbox, and OpenDKIM
judges the signature that it got; Fletching's own log tells of every mail whether it was accepted,
and what it was warned of.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bench import mails
from bench.setups import DKIMPY, FLETCHING, OPENDKIM, House, Setup
from sandbox.postfix import send
from sandbox.postfix_config import VIRTUAL_DOMAIN
from sandbox.processes import wait_until
from sandbox.verifiers import verify_opendkim

_SIGN = (OPENDKIM, DKIMPY, FLETCHING)
_READER = f"reader@{VIRTUAL_DOMAIN}"
_TRACKED = b"https://click.example.com/click?"


class IdleError(Exception):
    """A milter did not do what it is measured for."""


def prove(house: House, size: str) -> None:
    """Each set-up does its work on a mail of this size. Raises `IdleError`."""
    for setup in house.setups.values():
        arrived = _through(house, setup, mails.SIZES[size])
        if setup.name in _SIGN:
            _signed(arrived, setup)
        if setup.name == FLETCHING and (b"\r\nX-Mailer-Info:" not in arrived):
            raise IdleError(f"{size}: {setup.name} made no X-Mailer-Info")
        if (_TRACKED in arrived.replace(b"=\r\n", b"")) != (setup.name == FLETCHING):
            raise IdleError(f"{size}: tracked links behind {setup.name}: wrong")


def _through(house: House, setup: Setup, mail: bytes) -> bytes:
    """The mail as it stands in a mailbox behind a set-up, with CRLF line ends."""
    before = set(house.postfix.mailbox("virtual"))
    with house.postfix.client(port=setup.port) as smtp:
        reply = send(smtp, mail, mails.SENDER, [_READER])
    if not reply.accepted:
        raise IdleError(f"{setup.name}: {reply.code} {reply.text}")
    house.postfix.wait_empty()
    (arrived,) = set(house.postfix.mailbox("virtual")) - before
    # virtual(8) writes two fields of its own on top; they are in no signature.
    return arrived.replace(b"\n", b"\r\n")


def _signed(arrived: bytes, setup: Setup) -> None:
    verdicts = verify_opendkim(arrived, {"s1._domainkey.example.com": setup.dkim_record()})
    if [verdict.passed for verdict in verdicts] != [True]:
        raise IdleError(f"{setup.name} has not signed: {verdicts}")


def all_accepted(fletching: Setup, said_before: int, count: int) -> None:
    """Behind so many characters, its log tells of so many mails, all accepted, none with a warning.

    The line of a mail is written after its answer, so the last ones may come late.
    """
    check_log(_told(fletching, said_before, count), count)


def all_warned_of(fletching: Setup, said_before: int, count: int) -> None:
    """The same, where each mail has a warning."""
    check_log(_told(fletching, said_before, count), count, warned=True)


def _told(fletching: Setup, said_before: int, count: int) -> list[str]:
    def told() -> list[str]:
        return re.findall(r"(?m)^mail queue_id=.*\n", fletching.log()[said_before:])

    wait_until("Fletching's log does not tell of all mails", lambda: len(told()) >= count)
    return told()


def check_log(told: Sequence[str], count: int, *, warned: bool = False) -> None:
    """So many lines, each of a mail that was accepted, without a warning or with one."""
    fine = [line for line in told if " verdict=accept " in line and (" warning=" in line) == warned]
    if len(fine) != count or len(told) != count:
        odd = next(iter(set(told) - set(fine)), "")
        raise IdleError(f"Fletching accepted {len(fine)} of {count} mails: {odd}")
