"""`fletching rules`: test them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from fletching.cli.options import show_rows
from fletching.cli.preview import opened, rule_options


@click.group()
def rules() -> None:
    """Show which rules of the configuration match a message.

    \b
    Example:
      fletching rules test newsletter.eml --auth shop
    """


@rules.command("test")
@rule_options
def rules_test(wants_json: bool, config_path: Path, **given: Any) -> None:
    """Show which rules match MESSAGE, a file or - for stdin.

    Prints each rule with yes or no, and the first test that failed, with the values that the
    message has there. Needs neither Redis nor Postfix. Exit status 0: a rule applies; 1: none does;
    2: wrong usage or invalid configuration.

    \b
    Example:
      fletching rules test newsletter.eml --rcpt joe@example.org --auth shop
    """
    from fletching.admin.rules import lines, tested

    setup, message, envelope = opened(config_path, **given)
    answer = tested(message, envelope, setup)
    if wants_json:
        click.echo(json.dumps(answer, ensure_ascii=True))
    else:
        if not answer["trusted"]:
            click.echo(f"the client is not trusted ({answer['why']}): no rule applies", err=True)
        show_rows(lines(answer), False, "rules")
    if not any(row["applies"] for row in answer["rules"]):
        raise SystemExit(1)
