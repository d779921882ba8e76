"""All of `fletching check --live`, in the order of the steps (docs/check.md)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from dns.resolver import Resolver

from fletching.admin.asking import PATIENT
from fletching.checks.finding import Finding, error, ok, warning
from fletching.checks.live.arrivals import Links, judged, links
from fletching.checks.live.delivery import (
    PARAMETERS,
    Delivered,
    arrived_all,
    delivered,
    obstacle,
)
from fletching.checks.live.returned import Recorded, check_bounces, recorded
from fletching.checks.live.sink import Sink
from fletching.checks.live.trials import MOST, left_out, trials
from fletching.checks.live.web import check_links
from fletching.checks.lookups import Lookups
from fletching.config.faults import UnusableError
from fletching.config.model import Config
from fletching.daemons.health import findings as health
from fletching.daemons.health.milter_socket import milter_answers
from fletching.paused import read as read_paused
from fletching.policy.setup import Setup
from fletching.postfix import postconf
from fletching.postfix.postconf import Installed, PostfixError
from fletching.startup import open_setup
from fletching.store.connection import Store, StoreUnavailable


def check_live(
    config: Config,
    *,
    resolver: Resolver | None = None,
    postconf_command: Sequence[str] = ("postconf",),
) -> Iterator[Finding]:
    """All findings, each once.

    ``resolver``: default: the system's name servers. ``postconf_command``: postconf(1), perhaps
    with -c DIRECTORY.
    """
    lookups = Lookups(resolver or Resolver())
    yield from dict.fromkeys(_steps(config, lookups, postconf_command))


def _steps(config: Config, lookups: Lookups, command: Sequence[str]) -> Iterator[Finding]:
    yield from _health(config)
    with suppress(UnusableError):  # already reported
        setup = open_setup(config, read_paused(config.state_dir))
        if not setup.link_keys:
            yield warning(
                "link_keys",
                "not set: no check mail can be sent, since its mark needs a key",
                "run `fletching key new`, and set link_keys",
            )
            return
        if not milter_answers(config.listen):
            yield error(
                "listen",
                f"the milter does not answer at {config.listen}, so no check mail was sent",
                "start it (systemctl start fletching); if it runs, restart it, and check its log"
                " (journalctl -u fletching)",
            )
            return
        try:
            postfix = postconf.read(command, PARAMETERS)
            yield from _by_postfix(config, setup, postfix, lookups, command)
        except StoreUnavailable as trouble:
            yield error("redis", f"stopped answering: {trouble}", "check Redis' log")
        except PostfixError as trouble:
            yield error("postfix", str(trouble), "install Postfix, or run this command as root")


def _health(config: Config) -> Iterator[Finding]:
    """What `/healthz` calls errors; the milter and Redis have findings of their own."""
    for each in health.findings(config, Store(config.redis, config.state_dir, PATIENT)):
        if each.level is health.Level.ERROR and each.about not in ("milter", "redis"):
            yield error(
                f"health {each.about}",
                each.text,
                "start the daemon that is down or hangs (systemctl restart fletching-NAME), and see"
                ' docs/metrics.md, "Health"',
            )


def _by_postfix(
    config: Config,
    setup: Setup,
    postfix: Installed,
    lookups: Lookups,
    command: Sequence[str],
) -> Iterator[Finding]:
    seen = recorded(config)
    with Sink() as sink:
        made = trials(config, setup, sink.port, sink.has_ipv6)
        against = obstacle(config, made, postfix, command)
        if against is not None:
            yield against
            return
        arrived: list[Delivered] = []
        for found in delivered(config, made, sink, postfix, command):
            if isinstance(found, Finding):
                yield found
            else:
                arrived.append(found)
                yield from judged(found, config, setup, postfix, lookups)
    if not arrived:
        return
    yield arrived_all(arrived)
    if untried := left_out(config, made):
        yield warning(
            "virtual_mtas",
            f"no check mail was sent by {', '.join(untried)}: there are more than {MOST}",
            "none is needed",
        )
    if config.uses_shadow:
        yield ok("mode", "mail in shadow is not changed; check mails are changed like live mail")
    yield from _links(config, setup, arrived, lookups, seen)
    tagged = next((each.arrived.sender for each in arrived if each.trial.expected.plan.verp), None)
    if tagged is not None:
        yield from check_bounces(config, tagged)


def _links(
    config: Config,
    setup: Setup,
    arrived: Sequence[Delivered],
    lookups: Lookups,
    seen: Recorded | None,
) -> Iterator[Finding]:
    """Opens the links of one mail for each tracking host, and looks for the events."""
    tried: set[str] = set()
    first: Links | None = None
    for each in arrived:
        found = links(each, config, setup)
        if found is None:
            continue
        first = first or found
        hosts = {urlsplit(url).netloc for url in (found.click, found.unsubscribe) if url}
        if not hosts or hosts <= tried:
            continue
        tried |= hosts
        for answer in check_links(found, config, lookups):
            if isinstance(answer, Finding):
                yield answer
            elif seen is not None:
                yield from seen.check(found.facts, answer.source)
    if seen is not None:
        if first is not None:
            yield from seen.check_delivery(first.facts)
        yield from seen.check_couriers()
