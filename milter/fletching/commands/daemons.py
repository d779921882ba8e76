"""The commands that stay: `fletching milter` and `fletching run`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fletching.commands.command import configured


@click.command()
@configured
def milter(config_path: Path) -> None:
    """Run the milter in the foreground.

    SIGHUP reloads the configuration; SIGTERM finishes the mails in hand and ends.
    """
    from fletching.daemons.milter import serve

    sys.exit(serve(config_path))


@click.command()
@configured
def run(config_path: Path) -> None:
    """Run everything under one supervisor.

    For one-host set-ups, containers and the demo. With `redis: embedded` a private redis-server
    runs with it.
    """
    from fletching.daemons.supervisor import run as supervise

    sys.exit(supervise(config_path))
