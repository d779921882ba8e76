"""The commands as an admin meets them: help, usage, a broken configuration."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from fletching.cli.main import INTERNAL_ERROR, main

from tests.host import Host
from tests.setting import NEWSLETTER


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def commands(group: click.Group = main, *before: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with the words that call it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *before, name)
        else:
            yield (*before, name), command


ALL = dict(commands())


# Help.


def test_list_of_commands() -> None:
    """The commands in README.md."""
    assert {" ".join(words) for words in ALL} == {
        "milter", "web", "logtail", "courier", "run", "check", "preview", "explain", "postfix",
        "token", "key new", "key list", "key retire", "dkim new", "dkim record",
        "dkim list", "dkim rotate", "dkim retire",
        "mta list", "mta pause", "mta resume", "stats", "events status", "events dead",
        "suppression list", "suppression add", "suppression remove", "suppression export",
        "suppression find", "suppression import", "rules test", "lmtp",
        "bounce feed", "bounce read", "trace",
            "archive", "bench", "held", "seeds", "lint", "monitor", "shadow report",
    }  # fmt: skip


@pytest.mark.parametrize("words", ALL, ids=" ".join)
@pytest.mark.parametrize("width", [80, 100])
def test_help(words: tuple[str, ...], width: int) -> None:
    result = CliRunner().invoke(main, [*words, "--help"], terminal_width=width)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: main {' '.join(words)} [OPTIONS]")
    assert "--config FILE" in result.stdout
    assert "/etc/fletching/fletching.yaml" in result.stdout
    assert "FLETCHING_CONFIG" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= width
    assert "..." not in result.stdout.replace("BAFvhA...", "")
    assert CliRunner().invoke(main, [*words, "-h"], terminal_width=width).stdout == result.stdout


@pytest.mark.parametrize("words", [(), ("key",), ("dkim",), ("mta",)], ids=" ".join)
@pytest.mark.parametrize("width", [80, 100])
def test_help_of_groups(words: tuple[str, ...], width: int) -> None:
    result = CliRunner().invoke(main, [*words, "--help"], terminal_width=width)
    assert result.exit_code == 0
    lines = result.stdout.split("Commands:")[1]
    assert "..." not in lines, "what is said of a command fits into its line"
    assert max(map(len, result.stdout.splitlines())) <= width


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_option_has_a_help_text(words: tuple[str, ...]) -> None:
    for parameter in ALL[words].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_examples_work(words: tuple[str, ...], host: Host) -> None:
    """The options and arguments in an example are those of the command."""
    lines = ALL[words].help.splitlines()
    name = f"fletching {' '.join(words)}"
    example = next(line.strip() for line in lines if line.strip().startswith(name))
    given = re.split(r" [|>&<]", example)[0].split()[1 + len(words) :]
    files = [str(host.mail) if word.endswith((".eml", ".csv")) else word for word in given]
    # Without its parent, the command would keep a help option that has no -h.
    parent = click.Context(main, **main.context_settings)
    assert ALL[words].make_context(words[-1], files, parent=parent)


def test_as_a_module(host: Host) -> None:
    """`python -m fletching`, which is what the entry point does too."""
    command = [sys.executable, "-m", "fletching", "preview", "-", "--config", str(host.config)]
    ended = subprocess.run(command, input=NEWSLETTER.encode(), capture_output=True, check=False)
    assert ended.returncode == 0
    assert ended.stdout.startswith(b"DKIM-Signature:")
    ended = subprocess.run([*command[:3], "nosuch"], capture_output=True, check=False)
    assert ended.returncode == 2
    assert b"Usage: fletching" in ended.stderr


VERBS = {
    "Add", "Check", "Create", "Decode", "Deliver", "Destroy", "Explain", "Find", "List", "Manage",
    "Measure",
    "Print", "Read", "Remove", "Replace", "Resume", "Run", "Show", "Stop",
}  # fmt: skip


def groups(group: click.Group = main, *before: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield before, group
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from groups(command, *before, name)


HELPS: dict[tuple[str, ...], Any] = {**ALL, **dict(groups())}


@pytest.mark.parametrize("words", HELPS, ids=" ".join)
def test_every_help_begins_with_a_verb_and_has_an_example(words: tuple[str, ...]) -> None:
    told = HELPS[words].help
    assert told.split()[0] in VERBS
    assert " ".join(("  fletching", *words)) in told


# An internal error is no answer.


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        pytest.param(
            RecursionError("too \x1b[31m deep\u202e"),
            INTERNAL_ERROR,
            "fletching mta: internal error: RecursionError: too \\x1b[31m deep\\u202e (",
            id="a fault of ours",
        ),
        pytest.param(MemoryError(), INTERNAL_ERROR, "fletching mta: internal error: ", id="memory"),
        pytest.param(OSError(28, "full"), INTERNAL_ERROR, "[Errno 28] full", id="full disk"),
        pytest.param(KeyboardInterrupt(), 130, "", id="Ctrl-C"),
    ],
)
def test_exit_status_of_unexpected_errors(
    error: BaseException, status: int, said: str, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object) -> None:
        raise error

    monkeypatch.setattr("fletching.admin.mta.listing", fails)
    result = host.run("mta", "list")
    assert (result.exit_code, result.stdout) == (status, "")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == (1 if said else 0)


def test_traceback_only_in_development_mode(host: Host) -> None:
    script = (
        "import fletching.admin.mta as mta\n"
        "mta.listing = lambda config: 1 / 0\n"
        "from fletching.cli.main import main\n"
        "main(['mta', 'list'])\n"
    )
    for more, traced in (((), False), (("-X", "dev"), True)):
        ended = subprocess.run(
            [sys.executable, *more, "-c", script],
            env={**os.environ, "FLETCHING_CONFIG": str(host.config)},
            capture_output=True,
            check=False,
        )
        assert ended.returncode == INTERNAL_ERROR
        assert b"internal error: ZeroDivisionError" in ended.stderr
        assert (b"Traceback" in ended.stderr) == traced


def test_closed_pipe_has_its_own_exit_status(host: Host) -> None:
    command = [sys.executable, "-m", "fletching", "preview", "-", "--config", str(host.config)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        running.stdin.write(NEWSLETTER.encode())
        running.stdin.close()
        assert running.stderr.read() == b""
        assert running.wait(60) == 141


# The configuration.


@pytest.mark.parametrize(
    "words",
    [("check",), ("preview", "mail.eml"), ("explain", "mail.eml"), ("postfix",), ("key", "new"),
     ("key", "list"), ("key", "retire", "1"), ("dkim", "new"), ("dkim", "record"),
     ("token", "x"), ("mta", "list"), ("mta", "pause", "a"), ("mta", "resume", "a")],
    ids=" ".join,
)  # fmt: skip
def test_a_broken_configuration(words: tuple[str, ...], host: Host) -> None:
    host.edit("transport: vmta-b", "transprot: vmta-b")
    host.config.write_text(host.config.read_text() + "nosuch: 1\n")
    given = [str(host.mail) if word == "mail.eml" else word for word in words]
    result = host.run(*given)
    assert result.exit_code == 2
    assert result.stdout == ""
    first, second, *_ = result.stderr.splitlines()
    assert first.startswith(f"{host.config}:13: virtual_mtas.b.transprot: ")
    assert second.startswith(f"{host.config}:")


def test_no_configuration(host: Host) -> None:
    result = host.run("mta", "list", config=str(host.folder / "nosuch.yaml"))
    assert result.exit_code == 2
    assert "nosuch.yaml: cannot be read" in result.stderr
    assert result.stdout == ""


def test_option_overrides_the_environment(host: Host) -> None:
    result = host.run("mta", "list", "--config", str(host.config), config="/nosuch")
    assert result.exit_code == 0
    assert "vmta-a" in result.stdout


@pytest.mark.parametrize("words", [("preview",), ("explain",)])
def test_broken_keys(words: tuple[str, ...], host: Host) -> None:
    (host.folder / "link-keys").chmod(0o644)
    result = host.run(*words, str(host.mail))
    assert result.exit_code == 2
    assert "readable by others" in result.stderr
