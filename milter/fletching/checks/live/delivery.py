"""Submits the trials to Postfix, waits for them at the sink, and says why one does not arrive.

Nothing is submitted that Postfix would not hand to Fletching first, or that would not end at the
sink. What does not arrive is deleted from the queue.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fletching.checks.filters import passes_us_later
from fletching.checks.finding import Finding, error, ok, warning
from fletching.checks.live.sink import Arrived, Sink
from fletching.checks.live.trials import DOMAIN, Trial
from fletching.checks.postfix import PARAMETERS as OF_POSTFIX
from fletching.checks.postfix import asking
from fletching.config.model import Config
from fletching.config.values import host_and_port
from fletching.daemons.courier.submission import Reply, submit
from fletching.policy.control import ROUTE_HEADER
from fletching.postfix import postconf
from fletching.postfix.one_recipient import SPLIT
from fletching.postfix.postconf import Installed, PostfixError, Service
from fletching.postfix.queue import delete, waiting

PATIENCE = 20.0
"""Seconds for all mails to arrive."""

PARAMETERS = (
    *("queue_directory", "smtp_tls_security_level", "smtp_tls_wrappermode"),
    *OF_POSTFIX,
)

_LOOK_EVERY = 1.0
"""Seconds between two looks at the queue."""

_PAUSES = (0.5, 1.0)
"""Seconds before the second and the third attempt to submit a mail."""

_VERIFYING = ("secure", "verify", "fingerprint", "dane-only")
"""Values of smtp_tls_security_level."""

_QUEUED = re.compile(r"queued as (\w+)")
_INSTALL = "run `fletching postfix --install`"


@dataclass(frozen=True, slots=True)
class Delivered:
    """A trial that arrived at the sink."""

    trial: Trial
    arrived: Arrived
    queue_id: str


def obstacle(
    config: Config, trials: Sequence[Trial], postfix: Installed, command: Sequence[str]
) -> Finding | None:
    """Why no check mail may be submitted; None if they may be."""
    ours = asking(config, postfix)
    receiver = _receiver(config.seeds.submit, postfix)
    if receiver is not None and receiver not in ours:
        later = postfix.value("content_filter", receiver).startswith(f"{SPLIT}:")
        if not later and not passes_us_later(postfix, receiver, ours):
            return error(
                f"{receiver} smtpd_milters",
                "no check mail was sent: this service, which seeds.submit names, does not pass"
                " its mail to Fletching, so that mail leaves as it was submitted",
                f"{_INSTALL}, and remove -o smtpd_milters from this service in master.cf",
            )
    if not ours:
        return error(
            "smtpd_milters",
            "no check mail was sent: no service has Fletching as a milter",
            _INSTALL,
        )
    if config.route_by == "sender":
        return warning(
            "route_by",
            "no check mail was sent: with route_by: sender, no mail can be routed to this command",
            "send a mail to a mailbox of your own, and look at it with `fletching trace`",
        )
    header = ROUTE_HEADER.decode("ascii")
    routes = {f"{header}: {each.transport}:[127.0.0.1]:1" for each in trials}
    tables = postfix.value("milter_header_checks", postfix.service("cleanup"))
    answers = postconf.first_answers(command, tables, routes)
    if missing := sorted(routes - answers.keys()):
        return error(
            "milter_header_checks",
            f"no check mail was sent: no rule routes `{missing[0]}` to this command, so the table"
            " is missing, or older than this version",
            f"{_INSTALL}, which writes the table anew",
        )
    return None


def _receiver(server: str, postfix: Installed) -> Service | None:
    """The service of this Postfix that listens where check mails are submitted."""
    host, port = host_and_port(server) or ("", 0)
    for service in postfix.smtp_servers:
        place, _, name = service.name.rpartition(":")
        if place.strip("[]") not in ("", host) or service.kind != "inet":
            continue
        try:
            number = int(name) if name.isdigit() else socket.getservbyname(name, "tcp")
        except OSError:
            continue
        if number == port:
            return service
    return None


# Submission and arrival


def delivered(
    config: Config,
    trials: Sequence[Trial],
    sink: Sink,
    postfix: Installed,
    command: Sequence[str],
) -> Iterator[Delivered | Finding]:
    """Every trial that arrived, and a finding for each that did not."""
    queued: list[tuple[Trial, str]] = []
    for trial in trials:
        if trial.expected.refusal is not None:
            yield warning(
                trial.name,
                f"not sent, as it would be refused: {trial.expected.refusal}",
                "resume the VirtualMTA (`fletching mta resume`), if it is paused by mistake",
            )
            continue
        if verifies := _verifies(trial, postfix):
            yield warning(
                f"transport {trial.transport}",
                f"not tried: with {verifies}, it does not deliver to this command, whose"
                " certificate is self-signed",
                "none is needed; look at its next delivery in Postfix's log",
            )
            continue
        reply = _submitted(config, trial)
        found = _QUEUED.search(reply.text)
        if reply.code != 250:
            yield _refused(config, trial, reply)
            return
        queued.append((trial, found[1] if found else ""))
    until = time.monotonic() + PATIENCE
    for trial, queue_id in queued:
        arrived = sink.wait(trial.message_id, _LOOK_EVERY)
        while arrived is None and time.monotonic() < until and _moves(queue_id, command):
            arrived = sink.wait(trial.message_id, _LOOK_EVERY)
        # It may have arrived and left the queue between two looks.
        arrived = arrived or sink.wait(trial.message_id, 0)
        if arrived is not None:
            yield Delivered(trial, arrived, queue_id)
        else:
            yield _missing(trial, queue_id, sink.port, command)


def _verifies(trial: Trial, postfix: Installed) -> str:
    """The setting by which a transport does not deliver to the sink; empty if there is none. It
    would try its smtp_fallback_relay, which is on another host."""
    agent = postfix.service(trial.transport)
    level = postfix.value("smtp_tls_security_level", agent)
    if level in _VERIFYING:
        return f"smtp_tls_security_level={level}"
    if postfix.value("smtp_tls_wrappermode", agent) == "yes":
        return "smtp_tls_wrappermode=yes"
    return ""


def _submitted(config: Config, trial: Trial) -> Reply:
    """The reply to a mail; again after a 451, since Redis may be slow for a moment."""
    for pause in (*_PAUSES, 0.0):
        reply = submit(config.seeds.submit, trial.sender, trial.recipient, trial.raw)
        if reply.code != 451 or not pause:
            return reply
        time.sleep(pause)
    raise AssertionError("the last pause is 0")


def _moves(queue_id: str, command: Sequence[str]) -> bool:
    """Whether a mail may still arrive by itself."""
    try:
        mail = waiting(queue_id, command)
    except PostfixError:
        return True
    return mail is not None and mail.queue not in ("hold", "deferred")


_REFUSALS = (
    (
        r"campaign store is not available",
        "the milter does not reach Redis",
        "see the findings about redis; check the milter's log (journalctl -u fletching)",
    ),
    (
        r"Service unavailable - try again later|^4\S+ 4\.7\.1 Service",
        "Postfix does not reach the milter",
        "see the findings about listen; check the milter's log (journalctl -u fletching)",
    ),
    (
        r"(?i)message size|size limit|exceeds|too big|size exceeds",
        "message_size_limit of Postfix is smaller than a mail of 3 KB",
        "set message_size_limit in main.cf, such as 26214400",
    ),
    (
        r"(?i)relay access denied|access denied|must issue a STARTTLS|authenticat",
        "Postfix does not take mail for other hosts from 127.0.0.1",
        "add 127.0.0.0/8 to mynetworks, or set seeds.submit to a port that takes mail of this host",
    ),
    (
        r"(?i)domain not found|unknown (?:recipient|sender) domain|does not resolve",
        "Postfix looks up the domains of addresses, even for mail of this host",
        "put permit_mynetworks before reject_unknown_recipient_domain and"
        " reject_unknown_sender_domain",
    ),
)


def _refused(config: Config, trial: Trial, reply: Reply) -> Finding:
    place = f"Postfix at {config.seeds.submit}"
    if not reply.code:
        return error(
            place,
            f"does not answer: {reply}",
            "start Postfix (systemctl start postfix), or set seeds.submit to where it listens",
        )
    for pattern, means, cure in _REFUSALS:
        if re.search(pattern, str(reply)):
            return error(place, f"refused the {trial.name}: {reply}: {means}", cure)
    return error(
        place,
        f"refused the {trial.name}: {reply}",
        "change the restriction in main.cf or master.cf that Postfix's log names for this mail",
    )


_DELAYS = (
    (
        r"^deferred transport$",
        "it is in defer_transports",
        "remove it from defer_transports in main.cf, then: postfix reload && postqueue -f",
    ),
    (
        r"mail transport unavailable",
        "the service is missing in master.cf, or its program does not start",
        f"{_INSTALL}, and check Postfix's log for the service",
    ),
    (
        r"(?i)TLS is required|Must issue|encryption",
        "the transport's smtp_tls_security_level does not fit",
        "check smtp_tls_security_level of the transport in master.cf",
    ),
    (
        r"(?i)bind|cannot assign|server configuration error|unreachable",
        "probably its source address is not on this host",
        "add the address to an interface, or correct `address` of the VirtualMTA, and run"
        " `fletching postfix --install`",
    ),
)


def _missing(trial: Trial, queue_id: str, port: int, command: Sequence[str]) -> Finding:
    """Why a mail that Postfix accepted did not arrive. It is deleted from the queue."""
    try:
        mail = waiting(queue_id, command)
        if mail is not None:
            delete(queue_id, command)
    except PostfixError as trouble:
        return error(
            trial.name,
            f"did not arrive, and the queue cannot be read: {trouble}",
            "run `fletching check --live` as root",
        )
    if mail is None or _is_elsewhere(mail.reason, port):
        return error(
            trial.name,
            f"was not routed to this command ({queue_id}): the milter in use does not recognize its"
            " mark, since it has another version or other link keys",
            "restart all daemons (systemctl restart fletching), and check Postfix's log for"
            f" {queue_id}",
        )
    place = f"transport {trial.transport}"
    if mail.queue == "hold":
        return error(
            trial.name,
            f"was put on hold ({queue_id})",
            "remove HOLD from header_checks, access tables and milters for mail of this host",
        )
    for pattern, means, cure in _DELAYS:
        if re.search(pattern, mail.reason):
            return error(place, f"did not deliver the {trial.name}: {mail.reason}: {means}", cure)
    return error(
        place,
        f"did not deliver the {trial.name}: {mail.reason or f'still in the queue {mail.queue}'}",
        f"check Postfix's log for {queue_id}",
    )


def _is_elsewhere(reason: str, port: int) -> bool:
    """Whether Postfix tried to deliver a mail to another place than the sink."""
    tried = re.findall(r"\]:(\d+): ", reason)
    return DOMAIN in reason or (bool(tried) and str(port) not in tried)


def arrived_all(found: Sequence[Delivered]) -> Finding:
    names = sorted({each.trial.transport for each in found})
    return ok("postfix", f"check mails arrived by {', '.join(names)}")
