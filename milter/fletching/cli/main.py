"""The command `fletching` and its subcommands.

Each command imports what it needs when it runs, so that `fletching key list` does not wait for the
milter's libraries.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

import click

from fletching.cli import (
    archive,
    bench,
    bounce,
    check,
    daemons,
    dkim,
    events,
    held,
    keys,
    lint,
    monitor,
    mta,
    postfix,
    preview,
    rules,
    seeds,
    shadow,
    stats,
    suppression,
    trace,
)
from fletching.cli.options import say
from fletching.cli.version import version

INTERNAL_ERROR = 70
"""Exit status of a command that failed through a bug: EX_SOFTWARE of sysexits.h."""


class Commands(click.Group):
    """Catches every exception, so that no bug exits with a status that means an answer."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except KeyboardInterrupt:
            sys.exit(130)
        except BrokenPipeError:
            # As if SIGPIPE had ended it. Otherwise Python complains that it cannot flush the rest.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)
        except Exception as error:  # noqa: BLE001
            say(
                f"fletching {ctx.invoked_subcommand}: internal error: {_described(error)}", err=True
            )
            # The package's Python takes no options from the environment (python3(1), -I).
            if sys.flags.dev_mode or os.environ.get("PYTHONDEVMODE"):
                for line in traceback.format_exception(error):
                    for each in line.splitlines():
                        say(each, err=True)
            sys.exit(INTERNAL_ERROR)


def _described(error: Exception) -> str:
    """The error and where it happened, for a bug report."""
    *_, last = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__}: {error} ({last.filename}:{last.lineno})"


def show_version(context: click.Context) -> None:
    click.echo(f"fletching, version {version()}")
    context.exit()


@click.group(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda context, _, wanted: show_version(context) if wanted else None,
    help="Show the version and the git commit, and exit.",
)
def main() -> None:
    """Run and manage Fletching, a campaign filter for Postfix.

    Exit status 0: success; 1: refused, not found, or a check failed; 2: wrong usage or an invalid
    configuration; 70: internal error, with a traceback if PYTHONDEVMODE=1 is set.

    \b
    Before the first mail:
      fletching key new && fletching dkim new && fletching check --postfix --dns
      fletching preview newsletter.eml --rcpt joe@example.org | less
    """


for command in (
    daemons.milter,
    daemons.web,
    daemons.logtail,
    daemons.lmtp,
    daemons.courier,
    daemons.run,
    check.check,
    postfix.postfix,
    mta.mta,
    preview.preview,
    preview.explain,
    rules.rules,
    lint.lint,
    keys.key,
    dkim.dkim,
    keys.token,
    bounce.bounce,
    stats.stats,
    events.events,
    suppression.suppression,
    trace.trace,
    archive.archive,
    bench.bench,
    held.held,
    seeds.seeds,
    shadow.shadow,
    monitor.monitor,
):
    main.add_command(command)
