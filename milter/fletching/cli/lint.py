"""`fletching lint`."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from fletching.cli.options import fail, resolver_or_fail, say
from fletching.cli.preview import carried_with, message_options


@click.command()
@message_options
@click.option(
    "--sent",
    is_flag=True,
    help="Judge MESSAGE as it is: a mail that was sent already, not one that an application"
    " submits. A mail with our X-Mailer-Info and no control headers is always judged so.",
)
@click.option(
    "--dns",
    is_flag=True,
    help="Ask the DNS for SPF, DKIM keys, DMARC, PTR and MX records, and the tracking host for its"
    " certificate.",
)
@click.option(
    "--name-server",
    metavar="ADDRESS",
    help="With --dns, ask this name server (IP address, or IPv4:PORT) instead of the host's.",
)
def lint(wants_json: bool, sent: bool, dns: bool, name_server: str | None, **given: Any) -> None:
    """Check MESSAGE against the demands of mailbox providers.

    MESSAGE, a file or - for stdin, is carried through Fletching first, as preview does, and what
    would leave is judged; in shadow mode, what would leave in live mode. Prints one line per
    finding: severity, rule, what is wrong, the cure, and who demands it. docs/lint.md has all
    rules. Exit status 0: no errors; 1: errors, or the mail would be refused; 2: wrong usage or
    invalid configuration.

    \b
    Example:
      fletching lint newsletter.eml --rcpt joe@example.org
      fletching lint --sent --dns received.eml
    """
    from fletching.admin.lint import as_json, linted

    outcome, message, envelope, setup = carried_with(**given)
    outcome = outcome.would or outcome
    if outcome.refusal is not None and not sent:
        fail(outcome.refusal, 1)
    judged = linted(outcome, message, envelope, setup, as_sent=sent, sender=given["sender"])
    findings = judged.findings
    if dns:
        from fletching.checks.sending import with_dns

        findings = with_dns(judged, outcome, setup.config, resolver_or_fail(name_server))
    if wants_json:
        click.echo(json.dumps(as_json(findings, judged.how), ensure_ascii=True))
    else:
        for finding in findings:
            say(finding)
    sys.exit(1 if any(finding.rule.severity == "error" for finding in findings) else 0)
