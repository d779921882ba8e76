"""`fletching postfix`."""

from __future__ import annotations

from pathlib import Path

import click

from fletching.cli.options import configured, fail, load_or_fail
from fletching.cli.terminal import write


@click.command()
@configured
@click.option(
    "--one-recipient", is_flag=True, help="Print the setup that splits mail by recipient instead."
)
def postfix(config_path: Path, one_recipient: bool) -> None:
    """Print settings for Postfix's main.cf, master.cf and tables.

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
