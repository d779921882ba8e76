"""`fletching check`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fletching.cli.options import configured, fail, load_or_fail, say


@click.command()
@configured
@click.option(
    "--dns", is_flag=True, help="Check DKIM records, tracking hosts and the MX of bounce domains."
)
@click.option("--postfix", is_flag=True, help="Check Postfix's configuration.")
@click.option(
    "--daemon",
    type=click.Choice(["milter", "web", "lmtp", "logtail", "courier", "run"]),
    help="Check only that this daemon, or those of `run`, can load the configuration.",
)
def check(config_path: Path, dns: bool, postfix: bool, daemon: str | None) -> None:
    """Check configuration, keys, Redis; optionally DNS, Postfix.

    Prints one line per finding. Exit status 0: no errors; 1: errors; 2: invalid configuration. Run
    it as root: only root can test file and socket access as the users of Fletching and Postfix.

    \b
    Example:
      fletching check --dns --postfix
    """
    from fletching.checks.access import check_service_user, service_user
    from fletching.checks.all import Level
    from fletching.checks.all import check as checked
    from fletching.checks.daemons import doubtful, unusable
    from fletching.checks.finding import error, warning

    if daemon is not None:
        return load_as(config_path, daemon)
    config = load_or_fail(config_path)
    user = service_user()
    findings = [
        *checked(config, dns=dns, postfix=postfix),
        *(check_service_user(config, config_path, user) if user else ()),
        *(error(wrong.key, wrong.message) for wrong in unusable(config)),
        *(warning(doubt.key, doubt.message) for doubt in doubtful(config)),
    ]
    for finding in findings:
        say(finding)
    sys.exit(1 if any(finding.level is Level.ERROR for finding in findings) else 0)


def load_as(config_path: Path, daemon: str) -> None:
    """Opens everything that the daemon opens when it starts; exits with 2 if that fails."""
    from fletching.checks.daemons import opens_of
    from fletching.config.faults import with_line
    from fletching.config.load import ConfigError

    config = load_or_fail(config_path)
    try:
        with with_line(config_path):
            for opens in opens_of(daemon, config):
                opens(config)
    except ConfigError as error:
        fail(error)
