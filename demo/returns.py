"""What comes back in the demo: refusals, a bounce that arrives later, a complaint, an unsubscribe.

This file contains the servers' replies and the mails that come back, and what Fletching must have
recorded afterwards. Every run is the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from demo import newsletter
from sandbox.postfix import Postfix
from sandbox.processes import wait_until
from sandbox.sinks import Sink, SunkMail

FEEDBACK = "feedback@example.com"
"""The mailbox for complaints from feedback loops."""

_UNKNOWN, _GONE, _FULL, _SLOW, _LATER, _COMPLAINS, _LEAVES = (
    newsletter.recipient(number) for number in (11, 22, 33, 44, 12, 13, 14)
)
_REFUSALS = {
    _UNKNOWN: f"550 5.1.1 <{_UNKNOWN}>: Recipient address rejected: User unknown",
    _GONE: "550 5.1.1 The email account that you tried to reach does not exist",
    _FULL: "552 5.2.2 Mailbox full, quota exceeded",
}
_DEFERRAL = {_SLOW: "451 4.7.1 Greylisted, please try again later"}

TRACED = _LATER
"""The recipient whose trace is shown: delivered, and returned later."""

REFUSED = frozenset(_REFUSALS)
"""Recipients whose server refuses the mail for good."""

EXPECTED = Counter({"bounce_all": 4, "bounce_bad_address": 3, "scomp": 1, "engine_unsub": 1})
"""Events that are recorded, by type."""

SUPPRESSED = {
    **dict.fromkeys((_UNKNOWN, _GONE, _LATER), "bad_address"),
    _COMPLAINS: "complained",
    _LEAVES: "unsubscribed",
}
"""Why addresses are suppressed."""


def refuse(sinks: Iterable[Sink]) -> None:
    """The recipients' servers refuse some recipients, and one of them only at first."""
    replies = _REFUSALS | _DEFERRAL
    for sink in sinks:
        sink.answer_to = lambda address: replies.get(address, "250 2.1.5 ok")


def accept_later(postfix: Postfix, sinks: Iterable[Sink]) -> None:
    """Waits for the deferral, and then has the server accept that recipient."""
    wait_until("nothing was deferred", lambda: "status=deferred" in postfix.log())
    for sink in sinks:
        sink.answer_to = lambda address: _REFUSALS.get(address, "250 2.1.5 ok")


def send_back(postfix: Postfix, arrived: Mapping[str, SunkMail]) -> None:
    """A server, a provider and a recipient send mail to our mailboxes."""
    late, complained, left = (arrived[each] for each in (_LATER, _COMPLAINS, _LEAVES))
    field = str(left.message["List-Unsubscribe"])
    mailto = re.search(r"<mailto:([^?>]+)\?subject=([^>\s]+)>", field)
    assert mailto is not None, "no mailto in List-Unsubscribe"
    for sender, recipient, mail in (
        ("", late.sender, _bounce(late)),
        ("fbl@provider.example", FEEDBACK, _complaint(complained)),
        (_LEAVES, mailto[1], _unsubscribe(mailto[1], mailto[2])),
    ):
        reply = postfix.submit(mail.replace("\n", "\r\n").encode(), sender, [recipient])
        assert reply.accepted, reply
    postfix.wait_empty()


def checks(
    campaign: Mapping[str, object], sent: int, suppressed: Iterable[Mapping[str, str]], trace: str
) -> Iterator[tuple[str, bool]]:
    """Everything that must be true. ``campaign``: its object from `fletching stats --json`.

    ``suppressed``: the entries of `fletching suppression list --json`. ``trace``: the text about
    `TRACED`.
    """
    bounces = {"bounces_hard": 3, "bounces_soft": 1}
    numbers = {"delivered": sent - len(REFUSED), **bounces, "complaints": 1}
    counted = ", ".join(f"{campaign[name]} {name}" for name in numbers)
    yield f"statistics: {counted}", all(campaign[name] == n for name, n in numbers.items())
    found = {each["address"]: each["reason"] for each in suppressed}
    yield (
        f"{len(SUPPRESSED)} addresses are suppressed because of what came back",
        found.items() >= SUPPRESSED.items() and _FULL not in found,
    )
    lines = ("accepted", "delivered", "5.1.1")
    yield "the trace has delivery and bounce", all(line in trace.lower() for line in lines)


def _bounce(mail: SunkMail) -> str:
    """A delivery status notification (RFC 3464) of a server that had accepted the mail."""
    status = (
        f"Reporting-MTA: dns; mx.provider.example\n\nFinal-Recipient: rfc822; {_LATER}\n"
        "Action: failed\nStatus: 5.1.1\n"
        f"Diagnostic-Code: smtp; 550 5.1.1 <{_LATER}> no longer works here\n"
    )
    head = f"From: MAILER-DAEMON@provider.example\nTo: {mail.sender}\nSubject: Undelivered mail\n"
    return head + _report("delivery-status", "Your mail was not delivered.", status, mail)


def _complaint(mail: SunkMail) -> str:
    """A report of a feedback loop (RFC 5965); some providers leave the recipient out."""
    feedback = "Feedback-Type: abuse\nUser-Agent: provider/1.0\nVersion: 1\n"
    head = f"From: fbl@provider.example\nTo: {FEEDBACK}\nSubject: Abuse report\n"
    return head + _report("feedback-report", "A recipient complained.", feedback, mail)


def _unsubscribe(mailbox: str, token: str) -> str:
    """What a mail program sends when its user presses the button to unsubscribe."""
    return f"From: {_LEAVES}\nTo: {mailbox}\nSubject: {token}\n\nUnsubscribe\n"


def _report(kind: str, text: str, machine: str, about: SunkMail) -> str:
    """A multipart/report (RFC 6522) with the header of the mail that it is about."""
    header = about.raw.partition(b"\r\n\r\n")[0].decode().replace("\r\n", "\n")
    return (
        "MIME-Version: 1.0\n"
        f"Content-Type: multipart/report; report-type={kind}; boundary=part\n\n"
        f"--part\nContent-Type: text/plain\n\n{text}\n"
        f"--part\nContent-Type: message/{kind}\n\n{machine}\n"
        f"--part\nContent-Type: text/rfc822-headers\n\n{header}\n\n--part--\n"
    )
