"""The commands that stay: `fletching milter`, `web`, `courier` and `run`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fletching.cli.options import configured


@click.command()
@configured
def milter(config_path: Path) -> None:
    """Run the milter in the foreground.

    SIGHUP reloads the configuration; SIGTERM finishes the mails in hand and ends.

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

    It answers the links in tracked mail: clicks, opens, unsubscribes. It speaks plain HTTP, for
    nginx or Caddy in front of it. The dashboard comes with it. SIGHUP reloads the configuration;
    SIGTERM ends the requests in hand and then itself.

    \b
    Example:
      fletching web --config /etc/fletching/fletching.yaml
    """
    from fletching.daemons.run import web as serve

    sys.exit(serve(config_path))


@click.command()
@configured
def courier(config_path: Path) -> None:
    """Carry events to their destinations, in the foreground.

    Several couriers, on one host or many, share the work. SIGHUP reloads the configuration and
    opens files anew; SIGTERM finishes the batches in hand and ends.

    \b
    Example:
      fletching courier --config /etc/fletching/fletching.yaml
    """
    from fletching.daemons.run import courier as serve

    sys.exit(serve(config_path))


@click.command()
@configured
def run(config_path: Path) -> None:
    """Run everything under one supervisor.

    For one-host set-ups, containers and the demo. With `redis: embedded` a private redis-server
    runs with it.

    \b
    Example:
      fletching run --config /etc/fletching/fletching.yaml
    """
    from fletching.daemons.run import run as supervise

    sys.exit(supervise(config_path))
