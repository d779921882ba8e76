"""`fletching`: the one command, and the commands in it.

They are in `commands/`. What a command needs is imported where it runs, so that `fletching key
list` does not wait for the milter's libraries.
"""

from __future__ import annotations

import click

from fletching.commands import daemons, events, keys, mail, site, stats, suppression


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="fletching", prog_name="fletching")
def main() -> None:
    """A campaign filter for Postfix.

    \b
    Before the first mail:
      fletching key new && fletching dkim new && fletching check --postfix --dns
      fletching preview newsletter.eml --rcpt reader@example.org | less
    """


for command in (
    daemons.milter,
    daemons.web,
    daemons.courier,
    daemons.run,
    site.check,
    site.postfix,
    site.mta,
    mail.preview,
    mail.explain,
    keys.key,
    keys.dkim,
    keys.token,
    stats.stats,
    events.events,
    suppression.suppression,
):
    main.add_command(command)
