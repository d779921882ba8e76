"""`fletching bounce`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fletching.cli.options import configured, fail, load_or_fail, say


@click.group()
def bounce() -> None:
    """Manage returned mail in files.

    \b
    Example:
      fletching bounce feed /var/lib/fletching/unreadable/*.eml
    """


@bounce.command("feed")
@click.argument("files", metavar="FILE", nargs=-1, required=True, type=click.Path(path_type=Path))
@configured
def bounce_feed(config_path: Path, files: tuple[Path, ...]) -> None:
    """Deliver kept mails to the LMTP service again.

    For any number of files, such as those in `state_dir/unreadable` after an update that reads more
    of them. Prints what came of each one; a mail that was recorded before is not recorded again.
    The files stay. Exits with 1 if the service did not accept one of them.

    \b
    Example:
      fletching bounce feed /var/lib/fletching/unreadable/*.eml
    """
    from fletching.admin.bounce_feed import FeedError, feed

    config = load_or_fail(config_path)
    is_accepted = True
    try:
        for fed in feed(config, files):
            is_accepted = is_accepted and fed.is_accepted
            say(f"{fed.file}: {fed.reply}")
    except FeedError as error:
        fail(f"{config_path}: {error}", code=1)
    sys.exit(0 if is_accepted else 1)
