"""What holds for all commands that need Redis: errors, help, usage, closed pipes."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from fletching import events
from fletching.cli.main import main
from fletching.store.events import EventLog

from sandbox.redis_server import RedisServer
from tests.cli_setting import NEW, harmless, sent, started
from tests.courier_setting import event
from tests.host import Host

# Of all these commands.

COMMANDS: list[tuple[str, ...]] = [
    ("stats",),
    ("stats", NEW),
    ("stats", NEW, "--by", "link"),
    ("stats", "--by", "day"),
    ("stats", "--json"),
    ("events",),
    ("events", "--follow"),
    ("events", "--replay", "crm", "--since", "2026-03-01T09:00:00Z"),
    ("events", "status"),
    ("events", "dead", "crm"),
    ("suppression", "list"),
    ("suppression", "add", "t100", "a@example.org"),
    ("suppression", "add", "t100", "-"),
    ("suppression", "remove", "t100", "a@example.org"),
    ("suppression", "export"),
    ("suppression", "find", "a@example.org"),
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_redis_does_not_answer(words: tuple[str, ...], away: Host) -> None:
    result = away.run(*words, stdin=b"a@example.org\n")
    assert result.exit_code == 2
    assert result.stderr.startswith("redis: does not answer: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout in ("", "listid,address,reason,since,source\n")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_broken_configuration(words: tuple[str, ...], away: Host) -> None:
    away.config.write_text("nosuch: 1\n")
    result = away.run(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"{away.config}:1: nosuch: ")


LEAVES = [
    "stats", "events", "events status", "events dead", "suppression list", "suppression add",
    "suppression remove", "suppression export", "suppression find",
]  # fmt: skip


@pytest.mark.parametrize("name", LEAVES)
@pytest.mark.parametrize("width", [80, 100])
def test_help_has_examples_that_work(name: str, width: int, away: Host) -> None:
    words = name.split()
    result = CliRunner().invoke(main, [*words, "--help"], terminal_width=width)
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= width
    command: click.Command = main
    for word in words:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    examples = result.stdout.partition("Example:\n")[2].partition("\n\n")[0].splitlines()
    assert examples
    for example in examples:
        given = example.strip().removeprefix(f"fletching {name}").split()
        assert given != example.split(), "it is an example of this command"
        bare = given[: given.index("<")] if "<" in given else given
        bare = bare[: bare.index(">")] if ">" in bare else bare
        assert command.make_context(words[-1], list(bare))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(("stats", "--json", "--csv"), "cannot be combined", id="two forms"),
        pytest.param(("stats", "--by", "link"), "requires a CAMPAIGN", id="links of no campaign"),
        pytest.param(
            ("stats", NEW, "--class", "news"),
            "CAMPAIGN cannot be combined with --class",
            id="filter of one",
        ),
        pytest.param(
            ("stats", NEW, "--page", "2"), "CAMPAIGN cannot be combined", id="page of one"
        ),
        pytest.param(
            ("stats", "--page", "2", "--all"), "--page cannot be combined", id="page of all"
        ),
        pytest.param(
            ("stats", "--page", "2", "--by", "day"), "--page cannot be combined", id="page by day"
        ),
        pytest.param(("stats", "--page", "0"), "0 is not in the range", id="page 0"),
        pytest.param(("stats", "--page", "9" * 19), "is not in the range", id="page of no end"),
        pytest.param(("stats", "--since", "yesterday"), "must be RFC 3339", id="stats since"),
        pytest.param(("stats", "--since", "0001-01-01"), "must be from 1970", id="since year 1"),
        pytest.param(("stats", "--by", "nosuch"), "'nosuch' is not one of", id="by nothing"),
        pytest.param(("events", "--since", "yesterday"), "must be RFC 3339", id="no time"),
        pytest.param(("events", "--type", "click"), "must be one of engine_click,", id="no type"),
        pytest.param(("events", "--replay", "crm"), "requires --since", id="replay from when"),
        pytest.param(
            ("events", "--replay", "crm", "--since", "2026-03-01T09:00:00Z", "--follow"),
            "--since only",
            id="replay and follow",
        ),
        pytest.param(
            ("events", "--follow", "status"), "put options after status", id="lost options"
        ),
        pytest.param(("suppression", "add", "t 1", "a@b"), "LISTID: must be", id="no list"),
        pytest.param(("suppression", "add", "t1", "a\x1b@b"), "ADDRESS: must be", id="no address"),
        pytest.param(("suppression", "add", "t1", ""), "ADDRESS: must be", id="empty address"),
    ],
)
def test_wrong_usage(words: tuple[str, ...], said: str, host: Host) -> None:
    result = host.run(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in " ".join(result.stderr.split())
    assert harmless(result.stderr)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("events",),
        ("events", "--follow"),
        ("events", "dead", "crm"),
        ("suppression", "list"),
        ("suppression", "export"),
        ("stats",),
        ("stats", "--csv"),
    ],
)
def test_closed_pipe_ends_a_command_silently(
    words: tuple[str, ...], host: Host, stream: EventLog, redis: RedisServer, tmp_path: Path
) -> None:
    stream.append([event(number, events.COMPLAINT) for number in range(3000)])
    stream.add_dead_letters("crm", [("1-0", event(1).json(), "status 406")])
    sent(redis, tmp_path, 1)
    with started(host, *words) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(30) == 0
