"""`fletching bounce`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fletching.cli.options import configured, fail, load_or_fail, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fletching.returning.rules import Rule
    from fletching.tokens import Keyring


@click.group()
def bounce() -> None:
    """Read returned mail in files, or deliver it again.

    \b
    Example:
      fletching bounce read bounce.eml
      fletching bounce feed /var/lib/fletching/unreadable/*.eml
    """


@bounce.command("read")
@click.argument(
    "files",
    metavar="FILE",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, allow_dash=True),
)
@click.option("--json", "wants_json", is_flag=True, help="Print one JSON object a line.")
@configured
@click.pass_context
def bounce_read(
    context: click.Context, config_path: Path, files: tuple[Path, ...], wants_json: bool
) -> None:
    """Show what returned mails say, and why.

    Prints for each mail what it is, who failed, the reason, and the rule or table entry that
    decided. A configuration is not needed; with one, its rules count, and its link keys tell
    whether a mail is about a message of yours. `-` reads standard input. Exits with 1 if a file
    cannot be read.

    \b
    Examples:
      fletching bounce read bounce.eml
      fletching bounce read --json /var/lib/fletching/unreadable/*.eml | jq .kind
    """
    from fletching.admin.bounce_read import as_json, as_lines, read_mail

    keys, rules = _opened(context, config_path)
    is_read = True
    for file in files:
        try:
            raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        except OSError as error:
            say(f"{file}: {error.strerror}", err=True)
            is_read = False
            continue
        found = read_mail(str(file), raw, keys, rules)
        if wants_json:
            click.echo(json.dumps(as_json(found), ensure_ascii=True))
            continue
        for line in as_lines(found):
            say(line)
    sys.exit(0 if is_read else 1)


def _opened(context: click.Context, config_path: Path) -> tuple[Keyring, Sequence[Rule]]:
    """The link keys and the rules of the configuration; none if there is none."""
    from click.core import ParameterSource

    from fletching.config.faults import UnusableError
    from fletching.returning.rules import compiled
    from fletching.startup import open_setup
    from fletching.tokens import Keyring

    is_default = context.get_parameter_source("config_path") is ParameterSource.DEFAULT
    if is_default and not config_path.exists():
        return Keyring(()), ()
    config = load_or_fail(config_path)
    try:
        keys = open_setup(config).link_keys
    except UnusableError as error:
        fail(error)
    return keys, compiled(config.bounces.rules)


@bounce.command("feed")
@click.argument("files", metavar="FILE", nargs=-1, required=True, type=click.Path(path_type=Path))
@configured
def bounce_feed(config_path: Path, files: tuple[Path, ...]) -> None:
    """Deliver kept mails to the LMTP service again.

    Takes any number of files, such as those in `state_dir/unreadable` after an update that
    understands more of them. Prints the result for each file; a mail that was recorded before is
    not recorded again. The files are not deleted. Exits with 1 if the service did not accept one of
    them.

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
