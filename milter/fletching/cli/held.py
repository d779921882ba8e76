"""`fletching held`."""

from __future__ import annotations

from pathlib import Path

import click

from fletching.cli.options import as_json, configured, fail, load_or_fail, show_rows


@click.command()
@configured
@as_json
def held(config_path: Path, wants_json: bool) -> None:
    """List the mails in Postfix's hold queue, with reasons.

    A mail without a reason was put on hold by somebody else, such as `postsuper -h`. Sizes are in
    bytes, times are UTC. Release mail with `postsuper -H QUEUE_ID`.

    Exit status 0: shown; 2: wrong usage, invalid configuration, or Postfix does not answer.

    \b
    Example:
      fletching held
      fletching held --json | jq -r '.mails_on_hold[].queue_id'
    """
    from fletching.admin.held import HeldError, rows
    from fletching.postfix.postconf import PostfixError

    try:
        found = rows(load_or_fail(config_path))
    except (HeldError, PostfixError) as error:
        fail(error)
    if not wants_json:
        found = [row | {"recipients": ", ".join(row["recipients"])} for row in found]
    show_rows(found, wants_json, "mails_on_hold")
