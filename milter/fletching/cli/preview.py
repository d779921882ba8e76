"""What becomes of one message: `fletching preview` and `fletching explain`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fletching.cli.options import F, as_json, configured, fail, load_or_fail
from fletching.cli.terminal import write

if TYPE_CHECKING:
    from fletching.config.model import Config
    from fletching.mail.envelope import Envelope
    from fletching.mail.message import Message
    from fletching.outgoing.flow import Outcome
    from fletching.policy.setup import Setup

_REASONS = ("unsubscribed", "complained", "bad_address", "by_hand")


def client_address(_: click.Context, __: click.Parameter, value: str) -> str:
    try:
        return str(ip_address(value))
    except ValueError:
        raise click.BadParameter("must be an IPv4 or IPv6 address") from None


def recipients(_: click.Context, __: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    bare = tuple(map(without_brackets, value))
    if not all(bare):
        raise click.BadParameter("must be a mail address")
    return bare


def suppressed_addresses(
    _: click.Context, __: click.Parameter, value: tuple[str, ...]
) -> Mapping[str, str]:
    """The reasons by address in lower case; an empty one stands for all."""
    reasons: dict[str, str] = {}
    for each in value:
        address, reason = each.rpartition("=")[::2]
        if reason not in _REASONS:
            raise click.BadParameter(f"REASON must be one of {', '.join(_REASONS)}")
        reasons[address.lower()] = reason
    return reasons


def without_brackets(address: str) -> str:
    """The address of `<address>`; that of `<>` is empty."""
    bracketed = address.startswith("<") and address.endswith(">")
    return address[1:-1] if bracketed else address


_ABOUT_AN_ENVELOPE: tuple[Callable[[Any], Any], ...] = (
    click.argument("message", type=click.File("rb")),
    click.option(
        "--rcpt",
        multiple=True,
        metavar="A",
        callback=recipients,
        help="Add a recipient; repeatable. Default: the addresses in To.",
    ),
    click.option(
        "--from",
        "sender",
        metavar="A",
        help="Set the envelope sender; <> is the null sender. Default: the address in From.",
    ),
    click.option("--auth", "login", metavar="LOGIN", help="Set the SMTP AUTH login."),
    click.option(
        "--client",
        default="127.0.0.1",
        show_default=True,
        metavar="IP",
        callback=client_address,
        help="Set the client's IP address.",
    ),
)
_ABOUT_A_MESSAGE: tuple[Callable[[Any], Any], ...] = (
    *_ABOUT_AN_ENVELOPE,
    click.option("--now", metavar="RFC3339", help="Set the time of sending. Default: now."),
    click.option(
        "--suppressed",
        multiple=True,
        metavar="[A=]REASON",
        callback=suppressed_addresses,
        help="Treat recipient A, or every recipient, as suppressed: unsubscribed, complained,"
        " bad_address or by_hand.",
    ),
    as_json,
    configured,
)


def rule_options(command: F) -> F:
    """Adds the options of `rules test`."""
    for option in reversed((*_ABOUT_AN_ENVELOPE, as_json, configured)):
        command = option(command)
    return command


def message_options(command: F) -> F:
    """Adds the options of `preview` and `explain`."""
    for option in reversed(_ABOUT_A_MESSAGE):
        command = option(command)
    return command


@click.command()
@message_options
def preview(wants_json: bool, **given: Any) -> None:
    """Print MESSAGE, a file or - for stdin, as it would be sent.

    Needs neither Redis nor Postfix: the campaign is `preview`, the message number 1. The member of
    a pool is chosen at random. Exit status 0: accepted; 1: refused, with the reply on stderr; 2:
    wrong usage or invalid configuration.

    \b
    Example:
      fletching preview newsletter.eml --rcpt joe@example.org --auth shop
    """
    from fletching.admin.preview import as_json as as_object

    outcome, _, envelope = carried(**given)
    if wants_json:
        click.echo(json.dumps(as_object(outcome, envelope), ensure_ascii=True))
    elif outcome.plan.discarded is not None:
        click.echo(f"discarded by {outcome.plan.discarded}", err=True)
    elif outcome.refusal is None:
        write(bytes(outcome.final))
    if outcome.refusal is not None:
        fail(outcome.refusal, 1)


@click.command()
@message_options
def explain(wants_json: bool, **given: Any) -> None:
    """Explain each decision about MESSAGE, a file or - for stdin.

    Prints every decision and its source, every link and why it was or was not rewritten, and every
    edit; of a message in shadow, what would happen if it were live. Exit status as for preview.

    \b
    Example:
      fletching explain newsletter.eml --rcpt joe@example.org
    """
    from rich.console import Console

    from fletching.admin.explain import explained, show

    outcome, message, envelope, setup = carried_with(**given)
    explanation = explained(outcome, message, envelope, setup)
    if wants_json:
        click.echo(json.dumps(explanation, ensure_ascii=True))
    else:
        show(explanation, Console(width=None if sys.stdout.isatty() else 120, highlight=False))
    sys.exit(0 if outcome.refusal is None else 1)


def carried(**given: Any) -> tuple[Outcome, Message, Envelope]:
    """The outcome for a message given on the command line."""
    return carried_with(**given)[:3]


def carried_with(
    config_path: Path,
    message: Any,
    rcpt: tuple[str, ...],
    sender: str | None,
    login: str | None,
    client: str,
    now: str | None,
    suppressed: Mapping[str, str],
) -> tuple[Outcome, Message, Envelope, Setup]:
    """The same with what it was carried with."""
    from fletching.admin.preview import preview as previewed
    from fletching.startup import at_time, stamp, zone

    setup, parsed, envelope = opened(config_path, message, rcpt, sender, login, client)
    in_zone = zone(setup.config)
    try:
        when = at_time(now, in_zone) if now is not None else stamp(in_zone)
    except ValueError as error:
        fail(f"--now {error}")
    return previewed(parsed, envelope, setup, when, suppressed), parsed, envelope, setup


def opened(
    config_path: Path,
    message: Any,
    rcpt: tuple[str, ...],
    sender: str | None,
    login: str | None,
    client: str,
) -> tuple[Setup, Message, Envelope]:
    """The opened configuration, and the message and envelope given on the command line."""
    from fletching.admin.preview import envelope_of
    from fletching.config.faults import with_line
    from fletching.config.load import ConfigError
    from fletching.mail.message import parse
    from fletching.startup import open_setup

    config = load_or_fail(config_path)
    try:
        with with_line(config_path):
            setup = open_setup(config, paused_or_none(config))
    except ConfigError as error:
        fail(error)
    parsed = parse(message.read())
    sender = None if sender is None else without_brackets(sender)
    return setup, parsed, envelope_of(parsed, sender, rcpt, client, login)


def paused_or_none(config: Config) -> frozenset[str]:
    """The paused VirtualMTAs; none if they cannot be read, as on a host that sends no mail."""
    from fletching.admin.mta import MtaError, paused

    try:
        return paused(config)
    except MtaError:
        return frozenset()
