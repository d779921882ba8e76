"""One round: two hosts under load, a fault, and what Redis has when it is healthy again."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import redis
from fletching.keys.link_keys import read_link_keys
from fletching.store import keys
from fletching.tokens import Keyring

from bench.drills.fleet import CommandError, Host, Servers
from bench.drills.judge import Findings, Kept, Mail, Request, Sending, judge
from bench.drills.load import Application, Recipients
from bench.drills.network import LOOPBACK, Network
from bench.drills.scenarios import Scenario, Scene
from bench.drills.stores import Store
from sandbox.processes import wait_until
from sandbox.sinks import SunkMail

FAULT_AT = 0.3
"""Share of the campaign after which the fault begins."""
_AFTER = 3.0
"""Seconds that recipients continue when all mails are accepted and Redis is healthy."""
_WHOLE = 120.0
"""Maximum seconds until every Redis server is up and has its proper role."""
_ACCEPTED = 120.0
"""Seconds after the end of the fault within which the last mail must be accepted."""
_STILL = 6.0
"""Seconds without a change until the round ends. Clicks wait a few seconds to be judged."""
_SETTLED, _STUCK = 60.0, 20.0
"""Seconds, at most and without a change, until missing events count as lost."""
_BETWEEN = 2.0
"""Seconds between two checks."""


@dataclass(frozen=True, slots=True)
class Amount:
    """The load: the number of mails, sent evenly over ``seconds``."""

    mails: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Seen:
    """The observations of a round; ``wrong``: status codes that no recipient should get."""

    mails: tuple[Mail, ...]
    requests: tuple[Request, ...]
    sending: Sending
    kept: Kept
    wrong: tuple[int, ...]

    @property
    def findings(self) -> Findings:
        return judge(self.mails, self.requests, self.sending, self.kept)


def run(
    servers: Servers, scenario: Scenario, number: int, amount: Amount, tell: Callable[[str], None]
) -> Seen:
    """Run one round of a scenario with fresh servers. ``tell`` reports progress."""
    with ExitStack() as running:
        tell("starting Redis")
        network = running.enter_context(Network()) if scenario.has_network else None
        sites = network.sites if network else (LOOPBACK, LOOPBACK)
        folder = Path(running.enter_context(TemporaryDirectory(prefix="drill-", dir="/var/tmp")))
        store = running.enter_context(scenario.store(folder, sites))
        tell("starting the hosts")
        hosts = running.enter_context(servers.fleet(store.url, sites))
        application = Application(servers.ports, amount.mails, amount.seconds)
        recipients = Recipients(servers.sink, [host.web for host in hosts])
        application.start()
        recipients.start()
        tell("sending")
        time.sleep(amount.seconds * FAULT_AT)
        try:
            tell("failing")
            scenario.fault(Scene(store, _key(servers, number), hosts, network))
            tell("healing")
            wait_until("Redis is not healthy again", lambda: _is_whole(store), _WHOLE)
            tell("sending the rest")
        finally:
            application.wait(_ACCEPTED)
            time.sleep(_AFTER)
            recipients.stop()
        tell("waiting for the last event")
        servers.drain()
        link_keys = read_link_keys(servers.keys)
        mails = tuple(_arrived(link_keys, mail) for mail in servers.sink.mails)
        return _settled(hosts[-1], mails, recipients, application.seen())


def _is_whole(store: Store) -> bool:
    try:
        return store.is_whole()
    except redis.RedisError:  # a server goes away while it is asked
        return False


def _key(servers: Servers, number: int) -> str:
    """A key of the shard to break: in turn the stream, the campaign, the suppression list."""
    first = _arrived(read_link_keys(servers.keys), servers.sink.mails[0])
    return (keys.EVENTS, keys.campaign(first.campaign), keys.suppressed("t100"))[number % 3]


def _arrived(keys: Keyring, mail: SunkMail) -> Mail:
    """A delivered mail, read from its X-Mailer-Info."""
    facts = keys.open("".join(str(mail.message["X-Mailer-Info"]).split())).facts
    return Mail(mail.recipients[0], facts.campaign, facts.number, mail.sender)


def _settled(host: Host, mails: tuple[Mail, ...], recipients: Recipients, sending: Sending) -> Seen:
    """What Redis has, once it no longer changes; missing events get a minute to arrive."""
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
