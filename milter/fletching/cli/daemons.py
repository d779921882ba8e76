"""The daemons: `fletching milter`, `web`, `lmtp`, `logtail`, `courier` and `run`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fletching.cli.options import configured


@click.command()
@configured
def milter(config_path: Path) -> None:
    """Run the milter in the foreground.

    With the section `metrics` in the configuration, it also serves /metrics and /healthz.

    SIGHUP reloads the configuration. SIGTERM finishes mail in progress and exits.

    \b
    Example:
      fletching milter --config /etc/fletching/fletching.yaml
    """
    from fletching.daemons.run import milter as serve

    sys.exit(serve(config_path))


@click.command()
@configured
def web(config_path: Path) -> None:
    """Run the tracking web service in the foreground.

    Answers clicks, opens and unsubscribes from tracked mail, and serves the dashboard. Speaks plain
    HTTP, for a reverse proxy such as nginx or Caddy. SIGHUP reloads the configuration. SIGTERM
    finishes requests in progress and exits.

    \b
    Example:
      fletching web --config /etc/fletching/fletching.yaml
    """
    from fletching.daemons.run import web as serve

    sys.exit(serve(config_path))


@click.command()
@configured
def lmtp(config_path: Path) -> None:
    """Run the LMTP service in the foreground.

    Receives the mailboxes of bounces, unsubscribes by mail and feedback loops from Postfix;
    `fletching postfix` prints the settings. SIGHUP reloads the configuration. SIGTERM finishes
    mail in progress and exits.

    \b
    Example:
      fletching lmtp --config /etc/fletching/fletching.yaml
    """
    from fletching.daemons.run import lmtp as serve

    sys.exit(serve(config_path))


@click.command()
@configured
def courier(config_path: Path) -> None:
    """Deliver events to their destinations, in the foreground.

    Several couriers, on one host or many, share the work. SIGHUP reloads the configuration and
    reopens files. SIGTERM finishes batches in progress and exits.

    \b
    Example:
      fletching courier --config /etc/fletching/fletching.yaml
    """
    from fletching.daemons.run import courier as serve

    sys.exit(serve(config_path))


@click.command()
@configured
def logtail(config_path: Path) -> None:
    """Read deliveries from Postfix's log, in the foreground.

    Requires the option `postfix.log`. SIGHUP reloads the configuration. SIGTERM notes the position
    in the log and exits.

    \b
    Example:
      fletching logtail --config /etc/fletching/fletching.yaml
    """
    from fletching.daemons.run import logtail as serve

    sys.exit(serve(config_path))


@click.command()
@configured
def run(config_path: Path) -> None:
    """Run all daemons under one supervisor.

    For single hosts, containers and the demo. With `redis: embedded`, starts a private redis-server
    too.

    \b
    Example:
      fletching run --config /etc/fletching/fletching.yaml
    """
    from fletching.daemons.run import run as supervise

    sys.exit(supervise(config_path))
