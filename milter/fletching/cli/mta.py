"""`fletching mta`: list, pause, resume."""

from __future__ import annotations

from pathlib import Path

import click

from fletching.cli.completion import virtual_mtas
from fletching.cli.options import as_json, configured, fail, load_or_fail, say, show_rows


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
    """List the VirtualMTAs, pauses and use of limits.

    A VirtualMTA has vanished if its address is not an address of this host. Limits count
    recipients, over all hosts, in this hour and on this day. If Redis does not answer, what is used
    of them is not known, and a warning says so.

    Exit status 0: shown; 2: wrong usage or invalid configuration.

    \b
    Example:
      fletching mta list
    """
    from fletching.admin.mta import MtaError, listing

    try:
        found, unknown = listing(load_or_fail(config_path))
    except MtaError as error:
        fail(error)
    if unknown:
        say(f"warning: what is used of the limits is unknown: {unknown}", err=True)
    if wants_json:
        show_rows(found, wants_json, "virtual_mtas")
        return
    limits = [{"name": row["name"], **limit} for row in found for limit in row.pop("limits")]
    show_rows(found, wants_json, "virtual_mtas")
    if limits:
        click.echo()
        show_rows(limits, wants_json, "limits")


@mta.command("pause")
@click.argument("name", shell_complete=virtual_mtas)
@configured
def mta_pause(config_path: Path, name: str) -> None:
    """Stop routing new mail to NAME.

    Pools skip it. Other mail for NAME uses its fallback, or, without one, gets 451, so that the
    application tries again. Mail already in Postfix's queue is not affected.

    \b
    Example:
      fletching mta pause vmta_a
    """
    set_paused(config_path, name, True)


@mta.command("resume")
@click.argument("name", shell_complete=virtual_mtas)
@configured
def mta_resume(config_path: Path, name: str) -> None:
    """Resume routing mail to NAME.

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
