"""All of `fletching check --live`, in the order of the steps (docs/check.md)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from dns.resolver import Resolver

from fletching.checks.finding import Finding, error, ok, warning
from fletching.checks.live.arrivals import judged, links
from fletching.checks.live.delivery import (
    PARAMETERS,
    Delivered,
    arrived_all,
    delivered,
    obstacle,
)
from fletching.checks.live.sink import Sink
from fletching.checks.live.trials import left_out, trials
from fletching.checks.lookups import Lookups
from fletching.config.faults import UnusableError
from fletching.config.model import Config
from fletching.daemons.health.milter_socket import milter_answers
from fletching.paused import read as read_paused
from fletching.policy.setup import Setup
from fletching.postfix import postconf
from fletching.postfix.postconf import Installed, PostfixError
from fletching.startup import open_setup


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
        except PostfixError as trouble:
            yield error("postfix", str(trouble), "install Postfix, or run this command as root")


def _by_postfix(
    config: Config,
    setup: Setup,
    postfix: Installed,
    lookups: Lookups,
    command: Sequence[str],
) -> Iterator[Finding]:
    with Sink() as sink:
        made = trials(config, setup, sink.port, sink.has_ipv6)
        against = obstacle(config, made, postfix, command)
        if against is not None:
            yield against
            return
        arrived: list[Delivered] = []
        for found in delivered(config, made, sink, command):
            if isinstance(found, Finding):
                yield found
            else:
                arrived.append(found)
                yield from judged(found, config, setup, postfix, lookups)
    if arrived:
        yield arrived_all(arrived)
    if untried := left_out(config, made):
        yield warning("virtual_mtas", f"no check mail was sent by {', '.join(untried)}", "none")
    _ = ok, links
