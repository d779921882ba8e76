"""Whether what comes back is taken: bounces by Postfix and the LMTP service, events by Redis.

Of a bounce only the recipient is tried; no mail is sent.
"""

from __future__ import annotations

import json
import smtplib
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from fletching import events
from fletching.admin.asking import PATIENT
from fletching.checks.finding import Finding, error, ok, warning
from fletching.config.model import Config
from fletching.config.values import host_and_port
from fletching.store.connection import Store, StoreUnavailable
from fletching.store.events import EventLog
from fletching.store.find_traces import Traces
from fletching.store.lease import is_held
from fletching.tokens import Facts

PATIENCE = 20.0
"""Seconds for each answer of Postfix and of the LMTP service."""

RECORDED = 10.0
"""Seconds within which an event must be recorded."""
_POLL = 0.2
_PAGE = 1000


# Bounces


def check_bounces(config: Config, sender: str) -> Iterator[Finding]:
    """Whether a bounce of a check mail would be taken. ``sender``: its return path."""
    if config.lmtp is None:
        return
    wrong = _lmtp(config.lmtp.listen, sender)
    if wrong is not None:
        yield wrong
    reply = _reply_to_recipient(
        lambda: smtplib.SMTP(*(host_and_port(config.seeds.submit) or ("", 0)), timeout=PATIENCE),
        sender,
    )
    if reply is None:
        return
    code, text = reply
    if code == 250:
        if wrong is None:
            yield ok("bounces", f"Postfix and the LMTP service take mail for {sender}")
    else:
        make = error if code // 100 == 5 else warning
        yield make(
            "bounces",
            f"Postfix refuses mail for {sender}, a return path: {code} {text}",
            "install the tables and relay_domains that `fletching postfix` prints (`fletching"
            " postfix --install`); recipient_delimiter of Postfix and of Fletching must agree",
        )


def _lmtp(listen: str, sender: str) -> Finding | None:
    place = host_and_port(listen)
    where = place if place is not None else (listen.removeprefix("unix:"), 0)
    reply = _reply_to_recipient(lambda: smtplib.LMTP(*where, timeout=PATIENCE), sender)
    if reply is None:
        return error(
            "lmtp.listen",
            f"the LMTP service does not answer at {listen}, so bounces stay in Postfix's queue",
            "start it (systemctl start fletching-lmtp); if it runs, restart it, and check its log"
            " (journalctl -u fletching-lmtp)",
        )
    if reply[0] != 250:
        return error(
            "lmtp.listen",
            f"the LMTP service refuses {sender}: {reply[0]} {reply[1]}",
            "restart it after a change of the configuration (systemctl restart fletching-lmtp)",
        )
    return None


def _reply_to_recipient(
    connect: Callable[[], smtplib.SMTP], recipient: str
) -> tuple[int, str] | None:
    """The reply to RCPT TO of a bounce; None without an answer."""
    try:
        with connect() as client:
            client.ehlo_or_helo_if_needed()
            code, text = client.mail("")
            if code == 250:
                code, text = client.rcpt(recipient)
            return code, text.decode("utf-8", "replace")
    except smtplib.SMTPResponseException as refused:
        return refused.smtp_code, str(refused.smtp_error)
    except (OSError, smtplib.SMTPException):
        return None


# Events


class Recorded:
    """The events since it was made. Raises StoreUnavailable, as each method does."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._store = Store(config.redis, config.state_dir, PATIENT)
        self._log = EventLog(self._store)
        self._after = self._log.last_id()
        self._seen: list[dict[str, Any]] = []

    def wait(self, type: str, facts: Facts, seconds: float) -> dict[str, Any] | None:
        """The first event of this type and message; None if none comes in so many seconds."""
        until = time.monotonic() + seconds
        while True:
            for id, event in self._log.read(self._after, _PAGE):
                self._after = id
                self._seen.append(json.loads(event))
            for fields in self._seen:
                named = fields.get("campaign"), fields.get("message_number")
                if fields["event_type"] == type and named == (facts.campaign, facts.number):
                    return fields
            if time.monotonic() >= until:
                return None
            time.sleep(_POLL)

    def check(self, facts: Facts, source: str) -> Iterator[Finding]:
        """Whether the unsubscribe of a check mail was recorded, and with which address.

        ``source``: the address from which the tracking host was asked; empty if it was not.
        """
        found = self.wait(events.UNSUBSCRIBE, facts, RECORDED)
        if found is None:
            yield error(
                "events",
                f"the unsubscribe of a check mail is not in Redis after {RECORDED:.0f} s: the web"
                " service uses another Redis, or cannot write",
                "set redis to the same URL on all hosts; check the web service's log (journalctl -u"
                " fletching-web)",
            )
            return
        yield ok("events", "the unsubscribe of a check mail was recorded, and suppresses nobody")
        shown = str(found.get("engine_ip", ""))
        if source and _is_of_proxy(shown, source):
            yield warning(
                "web.trusted_proxies",
                f"the request of {source} was recorded as one of {shown}, the proxy, so all"
                " recipients seem to have one address",
                f"add {shown} to web.trusted_proxies, and have the proxy set X-Forwarded-For",
            )

    def check_delivery(self, facts: Facts) -> Iterator[Finding]:
        """Whether Postfix's log was read: the delivery of a check mail is an event."""
        log = self._config.postfix.log if self._config.postfix is not None else None
        if log is None or not facts.number or not self._config.trace_memory:
            return
        if not self._is_traced(facts, RECORDED):
            yield warning(
                "postfix.log",
                f"the delivery of a check mail is no event after {RECORDED:.0f} s: the log reader"
                f" does not run, or Postfix does not log to {log}",
                "start it (systemctl start fletching-logtail), and set postfix.log to the file that"
                " Postfix's log is in",
            )
        else:
            yield ok("postfix.log", "the delivery of a check mail was read from it")

    def _is_traced(self, facts: Facts, seconds: float) -> bool:
        """Whether a trace has the delivery: not every stream has such events."""
        traces = Traces(self._store, self._config.trace_memory)
        until = time.monotonic() + seconds
        while True:
            for trace in traces.of([(facts.campaign, facts.number)]):
                if any(each.type == events.DELIVERY for each in trace.moments):
                    return True
            if time.monotonic() >= until:
                return False
            time.sleep(_POLL)

    def check_couriers(self) -> Iterator[Finding]:
        """Whether a courier works for each destination, and for seeds."""
        config = self._config
        destinations = config.events.destinations if config.events is not None else ()
        names = [f"courier:{each.name}" for each in destinations]
        if config.seed_lists and config.link_keys is not None:
            names.append("seeds")
        idle = [name for name in names if not is_held(self._store, name)]
        for name in idle:
            what = name.removeprefix("courier:")
            place = what if name == "seeds" else f"events.destinations {what}"
            yield error(
                place,
                "no courier works for it, on no host",
                "start one (systemctl start fletching-courier), or check its log (journalctl -u"
                " fletching-courier)",
            )
        if names and not idle:
            yield ok("courier", "works for all destinations")


def recorded(config: Config) -> Recorded | None:
    """None if Redis does not answer, which is reported elsewhere."""
    with suppress(StoreUnavailable):
        return Recorded(config)
    return None


def _is_of_proxy(shown: str, source: str) -> bool:
    try:
        address = ip_address(shown)
    except ValueError:
        return False
    return shown != source and address.is_loopback
