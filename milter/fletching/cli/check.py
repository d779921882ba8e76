"""`fletching check`."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fletching.cli.options import as_json, configured, fail, load_or_fail, say

if TYPE_CHECKING:
    from fletching.checks.finding import Finding


@click.command()
@configured
@click.option(
    "--dns", is_flag=True, help="Check DKIM records, tracking hosts and the MX of bounce domains."
)
@click.option("--postfix", is_flag=True, help="Check Postfix's configuration.")
@click.option(
    "--live",
    is_flag=True,
    help="Check everything, then send mail through Postfix to this command, verify its signature,"
    " open its link and unsubscribe.",
)
@as_json
@click.option(
    "--daemon",
    type=click.Choice(["milter", "web", "lmtp", "logtail", "courier", "run"]),
    help="Check only that this daemon, or those of `run`, can load the configuration.",
)
def check(
    config_path: Path, dns: bool, postfix: bool, live: bool, wants_json: bool, daemon: str | None
) -> None:
    """Check configuration, keys, Redis, DNS, Postfix and test mails.

    Prints one line per finding. Exit status 0: no errors; 1: errors; 2: invalid configuration. Run
    it as root: only root can test file and socket access as the users of Fletching and Postfix.

    \b
    Example:
      fletching check --live
    """
    from fletching.checks.access import check_service_user, service_user
    from fletching.checks.all import Level
    from fletching.checks.all import check as checked
    from fletching.checks.daemons import doubtful, unusable
    from fletching.checks.finding import error, warning
    from fletching.checks.live.all import check_live

    if daemon is not None:
        return load_as(config_path, daemon)
    config = load_or_fail(config_path)
    user = service_user()
    findings = [
        *checked(config, dns=dns or live, postfix=postfix or live),
        *(check_service_user(config, config_path, user) if user else ()),
        *(error(wrong.key, wrong.message) for wrong in unusable(config)),
        *(warning(doubt.key, doubt.message) for doubt in doubtful(config)),
    ]
    if live:
        findings += check_live(config)
    report(findings, wants_json)
    sys.exit(1 if any(finding.level is Level.ERROR for finding in findings) else 0)


def report(findings: Sequence[Finding], wants_json: bool) -> None:
    """Prints one line for each finding, or one JSON object."""
    if not wants_json:
        for finding in findings:
            say(finding)
        return
    count = Counter(str(finding.level) for finding in findings)
    shown = {
        "findings": [asdict(finding) for finding in findings],
        "errors": count["error"],
        "warnings": count["warning"],
    }
    click.echo(json.dumps(shown, indent=2))


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
