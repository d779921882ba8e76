"""`fletching`: the one command, and the commands in it.

They are in `commands/`. What a command needs is imported where it runs, so that `fletching key
list` does not wait for the milter's libraries.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

import click

from fletching.cli import check, daemons, events, keys, preview, stats, suppression
from fletching.cli.options import say

INTERNAL_ERROR = 70
"""The status of a command that failed by a fault of its own: EX_SOFTWARE of sysexits.h."""


class Commands(click.Group):
    """The edge round all commands: none ends by accident with a status that is an answer."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except KeyboardInterrupt:
            sys.exit(130)
        except BrokenPipeError:
            # As if SIGPIPE had ended it. Else Python complains that it cannot flush the rest.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)
        except Exception as error:  # noqa: BLE001
            say(f"fletching {ctx.invoked_subcommand}: internal error: {_what(error)}", err=True)
            if sys.flags.dev_mode:
                for line in traceback.format_exception(error):
                    for each in line.splitlines():
                        say(each, err=True)
            sys.exit(INTERNAL_ERROR)


def _what(error: Exception) -> str:
    """The error and where it happened, for a report."""
    *_, last = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__}: {error} ({last.filename}:{last.lineno})"


@click.group(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="fletching", prog_name="fletching")
def main() -> None:
    """Run and ask Fletching, a campaign filter for Postfix.

    Exit 0: success; 1: the answer is no; 2: wrong usage, or the configuration is broken; 70:
    internal error, with a traceback where PYTHONDEVMODE=1 is set.

    \b
    Before the first mail:
      fletching key new && fletching dkim new && fletching check --postfix --dns
      fletching preview newsletter.eml --rcpt joe@example.org | less
    """


for command in (
    daemons.milter,
    daemons.web,
    daemons.courier,
    daemons.run,
    check.check,
    check.postfix,
    check.mta,
    preview.preview,
    preview.explain,
    keys.key,
    keys.dkim,
    keys.token,
    stats.stats,
    events.events,
    suppression.suppression,
):
    main.add_command(command)
