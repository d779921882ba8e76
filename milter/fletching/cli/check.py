"""The commands about this host: `fletching check`, `fletching postfix`, `fletching mta`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fletching.cli.options import as_json, configured, fail, load_or_fail, say, show_rows
from fletching.cli.terminal import write


@click.command()
@configured
@click.option("--dns", is_flag=True, help="Check DKIM records, tracking hosts, bounce domain's MX.")
@click.option("--postfix", is_flag=True, help="Check that Postfix's configuration fits this one.")
@click.option(
    "--daemon",
    type=click.Choice(["milter", "web", "courier"]),
    help="Only check that this daemon can load the configuration.",
)
def check(config_path: Path, dns: bool, postfix: bool, daemon: str | None) -> None:
    """Check configuration, keys, Redis; optionally DNS, Postfix.

    One line a finding. Exit 0: nothing is wrong; 1: something is; 2: the configuration is broken.
    Run it as root: only then are files and the milter socket tried as the users of Fletching and
    Postfix.

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
    """Opens what the daemon opens, says nothing if it can, and ends with 2 if it cannot."""
    from fletching.checks.daemons import OPENS
    from fletching.config.faults import told_of
    from fletching.config.load import ConfigError

    config = load_or_fail(config_path)
    try:
        with told_of(config_path):
            for opens in OPENS[daemon]:
                opens(config)
    except ConfigError as error:
        fail(error)


@click.command()
@configured
@click.option(
    "--one-recipient", is_flag=True, help="Instead: the recipe that splits mail by recipient."
)
def postfix(config_path: Path, one_recipient: bool) -> None:
    """Print what belongs into Postfix's main.cf, master.cf, tables.

    \b
    Example:
      fletching postfix | less
    """
    from fletching.postfix.settings import printed

    config = load_or_fail(config_path)
    try:
        write(printed(config, one_recipient=one_recipient).encode("utf-8", "surrogateescape"))
    except ValueError as error:
        fail(f"{config_path}: {error}")


@click.group()
def mta() -> None:
    """Manage the VirtualMTAs of this host.

    \b
    Example:
      fletching mta list
    """


@mta.command("list")
@configured
@as_json
def mta_list(config_path: Path, wants_json: bool) -> None:
    """Show the VirtualMTAs, their transports, and which are paused.

    \b
    Example:
      fletching mta list
    """
    from fletching.admin.mta import MtaError, rows

    try:
        show_rows(rows(load_or_fail(config_path)), wants_json, "virtual_mtas")
    except MtaError as error:
        fail(error)


@mta.command("pause")
@click.argument("name")
@configured
def mta_pause(config_path: Path, name: str) -> None:
    """Stop routing new mail to NAME.

    Pools skip it, and its fallback takes its own mail. Without a fallback its own mail is answered
    451, so that the application tries again. What is in Postfix's queue already stays on its way.

    \b
    Example:
      fletching mta pause vmta_a
    """
    set_paused(config_path, name, True)


@mta.command("resume")
@click.argument("name")
@configured
def mta_resume(config_path: Path, name: str) -> None:
    """Use NAME again.

    \b
    Example:
      fletching mta resume vmta_a
    """
    set_paused(config_path, name, False)


def set_paused(config_path: Path, name: str, paused: bool) -> None:
    from fletching.admin.mta import MtaError, pause

    try:
        say(pause(load_or_fail(config_path), name, paused))
    except MtaError as error:
        fail(error)
