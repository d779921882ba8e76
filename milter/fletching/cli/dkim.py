"""`fletching dkim`: keys, their DNS records, rotation."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fletching.cli.completion import dkim_domains
from fletching.cli.options import (
    as_json,
    configured,
    fail,
    load_or_fail,
    resolver_or_fail,
    say,
    show_rows,
)

if TYPE_CHECKING:
    from fletching.admin.dkim import Step


@click.group()
def dkim() -> None:
    """Manage DKIM keys and print their DNS records.

    \b
    Example:
      fletching dkim record
    """


def key_options(default: str | None) -> Callable[[Any], Any]:
    """The options of a new key."""

    def add(command: Any) -> Any:
        command = click.option(
            "--bits", type=int, default=2048, show_default=True, help="Set the length of RSA keys."
        )(command)
        return click.option(
            "--algorithm",
            type=click.Choice(["rsa", "ed25519"]),
            default=default,
            show_default=default or "that of the old key",
            help="Set the signature algorithm.",
        )(command)

    return add


@contextmanager
def reported(config_path: Path) -> Iterator[None]:
    """Ends the command with 2 if a key cannot be used."""
    from fletching.admin.dkim import NoSuchKeyError
    from fletching.keys.secret_file import KeyFileError

    try:
        yield
    except NoSuchKeyError as error:
        fail(f"{config_path}: {error}")
    except KeyFileError as error:
        fail(error)


@dkim.command("new")
@click.argument("domain", required=False, shell_complete=dkim_domains)
@click.argument("selector", required=False)
@key_options("rsa")
@configured
def dkim_new(
    config_path: Path, domain: str | None, selector: str | None, algorithm: Any, bits: int
) -> None:
    """Create the configured key files that do not exist yet.

    With DOMAIN, or DOMAIN and SELECTOR, only those. Prints the DNS record of each new key as a line
    of a zone file.

    \b
    Example:
      fletching dkim new example.com s2 --algorithm ed25519
    """
    from fletching.admin.dkim import create_missing, entries
    from fletching.keys.dkim_keys import dkim_zone_line

    config = load_or_fail(config_path)
    with reported(config_path):
        made = create_missing(entries(config, domain, selector), algorithm, bits)
    for key in made:
        say(dkim_zone_line(key))
    if not made:
        say("all key files already exist", err=True)


@dkim.command("record")
@click.argument("domain", required=False, shell_complete=dkim_domains)
@click.argument("selector", required=False)
@configured
def dkim_record(config_path: Path, domain: str | None, selector: str | None) -> None:
    """Print the DNS records of the keys as lines of a zone file.

    During a rotation these are the records of the old key and of the new one.

    \b
    Example:
      fletching dkim record >> example.com.zone
    """
    from fletching.admin.dkim import entries, live_keys
    from fletching.keys.dkim_keys import dkim_zone_line

    config = load_or_fail(config_path)
    with reported(config_path):
        found = live_keys(entries(config, domain, selector))
    for key in found:
        say(dkim_zone_line(key))


@dkim.command("list")
@configured
@as_json
def dkim_list(config_path: Path, wants_json: bool) -> None:
    """List the keys, without their secrets.

    \b
    Example:
      fletching dkim list
    """
    from fletching.admin.dkim import rows

    config = load_or_fail(config_path)
    with reported(config_path):
        found = rows(config)
    show_rows(found, wants_json, "dkim_keys")


@dkim.command("rotate")
@click.argument("domain", shell_complete=dkim_domains)
@click.argument("selector", required=False)
@key_options(None)
@click.option("--now", "at_once", is_flag=True, help="Let the new key sign without asking the DNS.")
@click.option(
    "--name-server",
    metavar="ADDRESS",
    help="Ask this name server (IP address, or IPv4:PORT) instead of the host's.",
)
@configured
def dkim_rotate(
    config_path: Path,
    domain: str,
    selector: str | None,
    algorithm: Any,
    bits: int,
    at_once: bool,
    name_server: str | None,
) -> None:
    """Replace the DKIM keys of DOMAIN, or only the one with SELECTOR.

    Run it twice. The first run creates a new key and prints its DNS record. Publish the record,
    then run the command again: if the DNS has the record, the new key signs after the next reload.
    If not, nothing changes, and the exit status is 1. The old key is kept until `fletching dkim
    retire`.

    \b
    Example:
      fletching dkim rotate example.com
      fletching dkim rotate example.com && systemctl reload fletching
    """
    from fletching.admin.dkim import rotate

    config = load_or_fail(config_path)
    resolver = resolver_or_fail(name_server)
    missing = False
    with reported(config_path):
        for step in rotate(
            config,
            domain.lower(),
            selector,
            now=int(time.time()),
            at_once=at_once,
            resolver=resolver,
            algorithm=algorithm,
            bits=bits,
        ):
            show_step(step)
            missing = missing or step.state == "missing"
    sys.exit(1 if missing else 0)


def show_step(step: Step) -> None:
    """The record on stdout, if it has to be published; the rest on stderr."""
    from fletching.keys.dkim_keys import dkim_zone_line, record_name

    domain, new, old = step.key.domain, step.key.selector, step.old
    match step.state:
        case "created":
            say(dkim_zone_line(step.key))
            say(f"{step.file}: created; {old} still signs for {domain}", err=True)
            say("publish this record, then run the command again", err=True)
        case "missing":
            say(dkim_zone_line(step.key))
            say(f"{record_name(step.key)}: {step.why}; {old} still signs", err=True)
        case "switched":
            if step.why:
                say(f"{record_name(step.key)}: {step.why}", err=True)
            say(
                f"{domain}: {new} signs after the next reload; {old} is kept until"
                f" `fletching dkim retire {domain} {old}`"
            )
        case "finished":
            say(f"{domain}: {new} signs; first retire {old}, the key that it replaced", err=True)


@dkim.command("retire")
@click.argument("domain", shell_complete=dkim_domains)
@click.argument("selector")
@configured
def dkim_retire(config_path: Path, domain: str, selector: str) -> None:
    """Destroy a DKIM key that does not sign.

    Leave its DNS record for some days: recipients verify mail that is still on its way.

    \b
    Example:
      fletching dkim retire example.com s1
    """
    from fletching.admin.dkim import retire

    config = load_or_fail(config_path)
    with reported(config_path):
        retire(config, domain.lower(), selector.lower())
    say(
        f"{domain}: key {selector} is retired; remove its DNS record when all mail that it signed"
        " has arrived, such as in a week"
    )
