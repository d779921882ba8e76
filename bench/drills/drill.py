"""One round: a fleet under load, a fault in the middle, and what is kept when all is whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import redis
from fletching.keys.link_keys import read_link_keys
from fletching.store.events import STREAM
from fletching.tokens import Keyring

from bench.drills.fleet import CommandError, Host, House
from bench.drills.judge import Findings, Kept, Mail, Request, Sending, judge
from bench.drills.load import Application, Recipients
from bench.drills.network import LOOPBACK, Network
from bench.drills.scenarios import Scenario, Scene
from bench.drills.stores import Store
from sandbox.processes import wait_until
from sandbox.sinks import SunkMail

FAULT_AT = 0.3
"""The share of the campaign after which the fault begins."""
_AFTER = 3.0
"""Seconds that recipients go on when all mails are accepted and Redis is whole."""
_WHOLE = 120.0
"""Seconds that Redis may take until every server follows whom it should."""
_ACCEPTED = 120.0
"""Seconds from the fault's end within which the last mail must be accepted."""
_STILL = 6.0
"""Seconds without a change: then nothing comes any more. Clicks are held for some of them."""
_SETTLED, _STUCK = 60.0, 20.0
"""Seconds, at most and without a change, until what is missing is given up."""
_BETWEEN = 2.0
"""Seconds between two looks."""


@dataclass(frozen=True, slots=True)
class Amount:
    """How much load there is: that many mails, evenly in so many seconds."""

    mails: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Seen:
    """All that a round has seen; ``wrong``: status codes that no recipient should get."""

    mails: tuple[Mail, ...]
    requests: tuple[Request, ...]
    sending: Sending
    kept: Kept
    wrong: tuple[int, ...]

    @property
    def findings(self) -> Findings:
        return judge(self.mails, self.requests, self.sending, self.kept)


def run(
    house: House, scenario: Scenario, number: int, amount: Amount, tell: Callable[[str], None]
) -> Seen:
    """One round of a scenario, the servers fresh. ``tell`` hears what is being done."""
    with ExitStack() as running:
        tell("starting Redis")
        network = running.enter_context(Network()) if scenario.has_network else None
        sites = network.sites if network else (LOOPBACK, LOOPBACK)
        folder = Path(running.enter_context(TemporaryDirectory(prefix="drill-", dir="/var/tmp")))
        store = running.enter_context(scenario.store(folder, sites))
        tell("starting the fleet")
        hosts = running.enter_context(house.fleet(store.url, sites))
        application = Application(house.ports, amount.mails, amount.seconds)
        recipients = Recipients(house.sink, [host.web for host in hosts])
        application.start()
        recipients.start()
        tell("sending")
        time.sleep(amount.seconds * FAULT_AT)
        try:
            tell("failing")
            scenario.fault(Scene(store, _key(house, number), hosts, network))
            tell("healing")
            wait_until("Redis is not whole again", lambda: _is_whole(store), _WHOLE)
            tell("sending the rest")
        finally:
            application.wait(_ACCEPTED)
            time.sleep(_AFTER)
            recipients.stop()
        tell("waiting for the last event")
        house.drain()
        keys = read_link_keys(house.keys)
        mails = tuple(_arrived(keys, mail) for mail in house.sink.mails)
        return _settled(hosts[-1], mails, recipients, application.seen())


def _is_whole(store: Store) -> bool:
    try:
        return store.is_whole()
    except redis.RedisError:  # a server goes away while it is asked
        return False


def _key(house: House, number: int) -> str:
    """Which shard is hurt: in turn the stream's, the campaign's and the suppression list's."""
    first = _arrived(read_link_keys(house.keys), house.sink.mails[0])
    return (STREAM, f"fletching:campaign:{{{first.campaign}}}", "fletching:suppressed:t100")[
        number % 3
    ]


def _arrived(keys: Keyring, mail: SunkMail) -> Mail:
    """A mail by its X-Mailer-Info."""
    facts = keys.open("".join(str(mail.message["X-Mailer-Info"]).split())).facts
    return Mail(mail.recipients[0], facts.campaign, facts.number, mail.sender)


def _settled(host: Host, mails: tuple[Mail, ...], recipients: Recipients, sending: Sending) -> Seen:
    """What is kept when it does not change any more; what is missing has a minute to come."""
    end, seen, since = time.monotonic() + _SETTLED, None, time.monotonic()
    while True:
        now = time.monotonic()
        try:
            kept = host.kept()
        except CommandError:
            if now > end:
                raise
            time.sleep(_BETWEEN)
            continue
        if seen is None or seen.kept != kept:
            seen = Seen(mails, recipients.seen(), sending, kept, recipients.wrong())
            since = now
        if now > min(end, since + (_STUCK if seen.findings.broken else _STILL)):
            return seen
        time.sleep(_BETWEEN)
