"""`fletching postfix`."""

from __future__ import annotations

import difflib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from fletching.cli.options import configured, fail, load_or_fail, printable, say
from fletching.cli.terminal import write

if TYPE_CHECKING:
    from fletching.admin.postfix import Instance, Plan
    from fletching.checks.finding import Finding
    from fletching.config.model import Config

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


@click.command()
@configured
@click.argument("piece", required=False, metavar="[FILE]")
@click.option(
    "--one-recipient", is_flag=True, help="Print the setup that splits mail by recipient instead."
)
@click.option("--install", is_flag=True, help="Change Postfix's files, and reload Postfix.")
@click.option("--remove", is_flag=True, help="Remove Fletching from Postfix's files.")
@click.option("--yes", is_flag=True, help="Change files without asking.")
def postfix(
    config_path: Path,
    piece: str | None,
    one_recipient: bool,
    install: bool,
    remove: bool,
    yes: bool,
) -> None:
    """Print settings for Postfix, or install or remove them.

    With FILE, such as main.cf, master.cf or milter_header_checks, prints only the lines for that
    file. --install and --remove show what changes in each file, and ask. --remove needs no
    configuration. The environment variable MAIL_CONFIG selects another Postfix instance.

    \b
    Examples:
      fletching postfix main.cf
      fletching postfix --install
      fletching postfix --remove --yes
    """
    if install and remove:
        fail("--install and --remove exclude each other: give one of them")
    if (install or remove) and (piece is not None or one_recipient):
        fail("--install and --remove take neither FILE nor --one-recipient")
    if yes and not (install or remove):
        fail("--yes is only for --install and --remove")
    if install:
        _install(load_or_fail(config_path), yes)
    elif remove:
        _remove(yes)
    else:
        _print(load_or_fail(config_path), config_path, piece, one_recipient)


def _print(config: Config, config_path: Path, piece: str | None, one_recipient: bool) -> None:
    from fletching.postfix.one_recipient import one_recipient as recipe
    from fletching.postfix.settings import pieces

    try:
        found = recipe(config) if one_recipient else pieces(config)
    except ValueError as error:
        fail(f"{config_path}: {error}")
    text = str(found)
    if piece is not None:
        files = found.files
        if piece not in files:
            fail(f"{piece}: there are no settings for this file; choose one of {', '.join(files)}")
        text = files[piece]
    write(text.encode("utf-8", "surrogateescape"))


def _install(config: Config, yes: bool) -> None:
    from fletching.admin.postfix import ImpossibleError, instance, plan_install, undo
    from fletching.postfix.postconf import PostfixError
    from fletching.postfix.record import RecordError
    from fletching.postfix.transaction import TransactionError, locked

    _require_root("--install")
    try:
        postfix = instance()
        with locked(postfix.directory):
            if undo(postfix.directory):
                say("An interrupted change was undone.", err=True)
            plan = plan_install(config, postfix)
            _show(postfix.directory, plan)
            _warn_of_queue(postfix.directory, plan)
            _judge(config, postfix, plan)
            if not plan.changes:
                _apply(postfix.directory, plan)
                say("Nothing to do: Fletching is installed.")
            elif _confirmed(yes):
                _apply(postfix.directory, plan)
                say(f"Installed. The previous files are in {postfix.directory}/fletching-backup.")
    except (ImpossibleError, PostfixError, RecordError, TransactionError, OSError) as error:
        _unchanged(error)


def _remove(yes: bool) -> None:
    from fletching.admin.postfix import directory, loses_relay_recipients, plan_remove, undo
    from fletching.postfix.mailboxes import TRANSPORTS
    from fletching.postfix.postconf import PostfixError
    from fletching.postfix.record import RecordError
    from fletching.postfix.transaction import TransactionError, locked

    _require_root("--remove")
    folder = directory()
    if not folder.is_dir():
        return say(f"Nothing to do: {folder} does not exist.")
    try:
        with locked(folder):
            if undo(folder):
                say("An interrupted change was undone.", err=True)
            plan = plan_remove(folder)
            if plan is None:
                return say(
                    f"Nothing to do: `fletching postfix --install` has not changed {folder}."
                )
            _show(folder, plan)
            _warn_of_queue(folder, plan)
            if TRANSPORTS in plan.changes:
                say(
                    "warning: mail to the mailboxes of `lmtp` will not reach Fletching any more;"
                    " docs/postfix.md says how to keep them for late bounces",
                    err=True,
                )
            if loses_relay_recipients(folder, plan):
                say(
                    "warning: relay_recipient_maps will be empty, so that Postfix accepts mail for"
                    " every address in relay_domains; take the domain of the mailboxes out of"
                    " relay_domains",
                    err=True,
                )
            if _confirmed(yes):
                _apply(folder, plan)
                say("Removed.")
    except (PostfixError, RecordError, TransactionError, OSError) as error:
        _unchanged(error)


def _unchanged(error: Exception) -> NoReturn:
    say(error, err=True)
    fail("All files are as before.", code=1)


def _require_root(option: str) -> None:
    if os.geteuid() != 0:
        fail(
            f"{option} must be run as root, because it changes Postfix's files: sudo fletching"
            f" postfix {option}"
        )


def _show(folder: Path, plan: Plan) -> None:
    """The changes as a unified diff."""
    for name, content in plan.changes.items():
        old = folder / name
        before = old.read_bytes() if old.exists() else None
        for line in _difference(str(old), before, content):
            click.secho(printable(line), fg=_COLOURS.get(line[:1]))
    for name in plan.left:
        say(f"{folder / name} was changed since it was installed, so it stays.", err=True)


def _warn_of_queue(folder: Path, plan: Plan) -> None:
    from fletching.admin.postfix import stranded
    from fletching.postfix.postconf import PostfixError

    try:
        found = stranded(folder, plan)
    except PostfixError as error:
        say(f"warning: the queue cannot be read: {error}", err=True)
        return
    if found:
        counts = ", ".join(f"{count} for {name}" for name, count in found.items())
        say(
            f"warning: the queue has mail for transports that go away ({counts}): it would stay"
            " there and bounce in the end. Deliver it first (postqueue -f, then run this again), or"
            " let it leave by Postfix's default transport afterwards: postsuper -r ALL",
            err=True,
        )


def _difference(name: str, before: bytes | None, after: bytes | None) -> Iterator[str]:
    old, new = (_lines(content) for content in (before, after))
    names = ("/dev/null" if before is None else name, "/dev/null" if after is None else name)
    for line in difflib.unified_diff(old, new, *names, lineterm=""):
        if line.endswith("\n"):
            yield line[:-1]
        else:
            yield line
            if line[:3] not in ("---", "+++") and not line.startswith("@@"):
                yield "\\ No newline at end of file"


def _lines(content: bytes | None) -> list[str]:
    text = (content or b"").decode("utf-8", "surrogateescape")
    return list(io.StringIO(text, newline="\n"))


def _judge(config: Config, postfix: Instance, plan: Plan) -> None:
    """Prints what `fletching check` would find with the changes; exits if there is an error."""
    from fletching.admin.postfix import proposed
    from fletching.checks.finding import Level
    from fletching.checks.postfix import PARAMETERS, check_postfix
    from fletching.checks.socket import check_running
    from fletching.postfix import postconf

    with proposed(postfix.directory, plan) as copy:
        command = ("postconf", "-c", str(copy))
        installed = postconf.read(command, dict.fromkeys(PARAMETERS))
        findings = [*check_postfix(config, installed, command), *check_running(config)]
    for finding in _not_ok(findings):
        say(finding, err=True)
    if any(each.level is Level.ERROR for each in findings):
        fail("Nothing was changed. Repair the errors first, then run this again.", code=1)


def _not_ok(findings: list[Finding]) -> Iterator[Finding]:
    return (each for each in findings if each.level != "ok")


def _confirmed(yes: bool) -> bool:
    if yes:
        return True
    if not sys.stdin.isatty():
        fail(
            "Nothing was changed: a terminal is needed to confirm. Add --yes to change the files"
            " without asking."
        )
    if not click.confirm("Change these files and reload Postfix?"):
        fail("Nothing was changed.", code=1)
    return True


def _apply(folder: Path, plan: Plan) -> None:
    from fletching.admin.postfix import apply

    for line in apply(folder, plan):
        say(line, err=True)
