"""The commands about what came back: stats, events, suppression, over a real Redis."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click
import pytest
from click.testing import CliRunner
from fletching import events
from fletching.admin import figures
from fletching.admin.escapes import encodable, printable
from fletching.cli.main import main
from fletching.events import Event
from fletching.numbering import Question
from fletching.startup import since
from fletching.store import keys
from fletching.store.campaigns import Campaigns
from fletching.store.events import EventLog
from fletching.store.sent import Sent
from fletching.store.suppression import Suppression
from fletching.store.warnings import Warnings

from sandbox.processes import wait_until
from sandbox.redis_server import RedisServer
from tests.courier_setting import event
from tests.host import Host
from tests.sending import send
from tests.stores import open_store

AWAY = "redis://127.0.0.1:1/0"
OPENED = 1_789_999_200
"""2026-09-21 14:00 UTC; the events of `courier_setting` are of the same hour."""

NEW, OLD = "bbbbbbbb", "aaaaaaaa"
DESTINATIONS = """
events:
  destinations:
    - {name: crm, webhook: "https://crm.example.com/hook"}
    - {name: log, file: /var/log/fletching/events.jsonl}
"""
KEYS = [
    "campaign", "sendid", "mail_class", "sent", "opens", "unique_opens", "clicks", "unique_clicks",
    "bot_clicks", "bot_opens", "unsubscribes", "complaints", "bounces_hard", "bounces_soft",
    "delivered", "seeds", "privacy_opens", "confirmed_opens", "opened",
]  # fmt: skip
STEERING = "\x1b[31m\x9b2J\r\n\x07[bold]\u202e"
"""Escape sequences, and markup of rich."""


@pytest.fixture(scope="module")
def running_redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis(running_redis: RedisServer) -> RedisServer:
    """Redis, empty."""
    running_redis.client.flushall()
    return running_redis


@pytest.fixture
def away(tmp_path: Path) -> Host:
    """A host whose Redis does not answer."""
    host = Host(tmp_path)
    host.config.write_text(host.config.read_text() + DESTINATIONS)
    return host


@pytest.fixture
def host(away: Host, redis: RedisServer) -> Host:
    away.edit(AWAY, redis.url)
    return away


@pytest.fixture
def stream(redis: RedisServer, tmp_path: Path) -> EventLog:
    return EventLog(open_store(redis.url))


def sent(redis: RedisServer, folder: Path, count: int, **more: Any) -> None:
    """Messages that Postfix took."""
    asked: dict[str, Any] = {
        "sendid": "news20260921",
        "mail_class": "news",
        "instance_id": "20260921",
        "monitor": "",
        "now": OPENED,
        "window": 21 * 86400,
        "candidate": NEW,
        "remember": (),
        "bounce_memory": 0,
        "listid": "T100",
    }
    campaigns = Campaigns(open_store(redis.url))
    send(campaigns, Sent(open_store(redis.url)), Question(**asked | more), "a", count)


def of(campaign: str, number: int, type: str = events.CLICK, **more: Any) -> Event:
    """An event of a campaign's message."""
    told = event(number, type, **more)
    return replace(told, facts=replace(told.facts, campaign=campaign))


@pytest.fixture
def counted(redis: RedisServer, stream: EventLog, tmp_path: Path) -> None:
    """Two campaigns; the newer one has 8 messages, opened by 2, clicked by 3."""
    sent(redis, tmp_path, 3, sendid="crm1", mail_class="crm", candidate=OLD, now=OPENED - 86400)
    sent(redis, tmp_path, 8)
    told = [of(NEW, number, events.OPEN) for number in (1, 1, 2)]
    told += [of(NEW, number) for number in (1, 2, 2, 3)]
    told += [
        of(NEW, 4, is_bot=True),
        of(NEW, 5, click_url=f"https://shop.example.com/{STEERING}"),
        of(NEW, 6, events.UNSUBSCRIBE),
        of(NEW, 7, events.BOUNCE, bounce_type="h"),
    ]
    stream.append(told)
    Warnings(open_store(redis.url)).count(NEW, {f"unknown list {STEERING}": 1})


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def harmless(text: str) -> bool:
    return all(c.isprintable() for c in text.replace("\n", ""))


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
def test_redis_is_away(words: tuple[str, ...], away: Host) -> None:
    result = away.run(*words, stdin=b"a@example.org\n")
    assert result.exit_code == 2
    assert result.stderr.startswith("redis: does not answer: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout in ("", "listid,address,reason,since\n")


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


# stats.


@pytest.mark.usefixtures("counted")
def test_campaigns_for_scripts(host: Host) -> None:
    told = host.json("stats")
    assert list(told) == ["campaigns"]
    newer, older = told["campaigns"]
    assert list(newer) == KEYS
    assert newer == {
        "campaign": NEW,
        "sendid": "news20260921",
        "mail_class": "news",
        "sent": 8,
        "opens": 3,
        "unique_opens": 4,
        "clicks": 5,
        "unique_clicks": 4,
        "bot_clicks": 1,
        "bot_opens": 0,
        "unsubscribes": 1,
        "complaints": None,
        "bounces_hard": 1,
        "bounces_soft": 0,
        "delivered": None,
        "seeds": None,
        "privacy_opens": 0,
        "confirmed_opens": 4,
        "opened": "2026-09-21T14:00:00Z",
    }
    assert (older["campaign"], older["sent"]) == (OLD, 3)


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("name", [NEW, "news20260921", "NEWS20260921"])
def test_one_campaign(name: str, host: Host) -> None:
    (found,) = host.json("stats", name)["campaigns"]
    assert found["campaign"] == NEW


@pytest.mark.usefixtures("counted")
def test_a_sendid_is_its_newest_campaign(host: Host, redis: RedisServer, tmp_path: Path) -> None:
    redis.client.delete(keys.sendid("news20260921"))
    sent(redis, tmp_path, 1, candidate="cccccccc", now=OPENED + 30 * 86400)
    assert host.json("stats", "news20260921")["campaigns"][0]["campaign"] == "cccccccc"
    assert len(host.json("stats")["campaigns"]) == 3


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("more", [(), ("--json",), ("--csv",), ("--by", "link"), ("--by", "day")])
def test_an_unknown_campaign(more: tuple[str, ...], host: Host) -> None:
    result = host.run("stats", f"no{STEERING}", *more)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "no\\x1b[31m\\x9b2J\\r\\n\\x07[bold]\\u202e: no such campaign: must be a campaign id"
        " or a SendID\n"
    )


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        pytest.param((), 20, id="newest 20"),
        pytest.param(("--all",), 25, id="all"),
        pytest.param(("--class", "CRM"), 5, id="a class"),
        pytest.param(("--class", "nosuch"), 0, id="no class"),
        pytest.param(("--since", "2026-09-21"), 15, id="since a day"),
        pytest.param(("--since", "2026-09-21T14:00:10Z", "--class", "news"), 4, id="both"),
        pytest.param(("--search", "SEND1"), 11, id="a text in the SendID"),
        pytest.param(("--page", "1"), 20, id="the first page"),
        pytest.param(("--page", "2"), 5, id="the second page"),
    ],
)
def test_which_campaigns(
    words: tuple[str, ...], shown: int, host: Host, redis: RedisServer, tmp_path: Path
) -> None:
    host.config.write_text(host.config.read_text() + "timezone: UTC\n")
    for number in range(25):
        day = 0 if number < 15 else 86400
        more = {"mail_class": "crm" if number % 5 == 4 else "news", "now": OPENED + number - day}
        id = "a" * 7 + chr(97 + number)
        sent(redis, tmp_path, 1, sendid=f"send{number}", candidate=id, **more)
    result = host.run("stats", *words)
    assert result.exit_code == 0
    assert sum("send" in line for line in result.stdout.splitlines()) == shown
    older = {20: "older campaigns: --page 2, or --all\n", 0: "no campaigns\n"}
    assert result.stderr == older.get(shown, "")
    scripts = len(host.json("stats", *words)["campaigns"])
    assert scripts == (shown if words else 25)


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("--class", "NEWS"), ["news"]),
        (("--since", "2026-09-21T00:00:00Z"), ["news"]),
        (("--search", "crm"), ["crm"]),
        (("--search", "nosuch"), []),
    ],
)
def test_breakdown_of_some_campaigns(words: tuple[str, ...], names: list[str], host: Host) -> None:
    rows = host.json("stats", "--by", "mail_class", *words)["rows"]
    assert [row["mail_class"] for row in rows] == names


def test_what_a_class_does_not_track_is_unknown(
    host: Host, redis: RedisServer, tmp_path: Path
) -> None:
    host.edit("  crm: {", "  crm: {track: {clicks: true}, ")
    for name, id in (("Newsletter", NEW), ("crm", OLD), ("gone", "c" * 12)):
        sent(redis, tmp_path, 1, sendid=name, mail_class=name, candidate=id)
    found = {row["mail_class"]: row for row in host.json("stats")["campaigns"]}
    names = ("opens", "bot_opens", "unique_opens", "clicks", "unsubscribes", "delivered")
    assert [found["Newsletter"][name] for name in names] == [0, 0, 0, 0, 0, None]
    assert [found["crm"][name] for name in names] == [None, None, None, 0, 0, None]
    assert [found["gone"][name] for name in names] == [0, 0, 0, 0, 0, None]


@pytest.mark.usefixtures("counted")
def test_campaigns_for_people(host: Host) -> None:
    titles, newer, older = host.run("stats").stdout.splitlines()
    assert cells(titles) == [
        *("SendID", "Opened", "Campaign", "Sent", "Unique opens", "Confirmed", "Unique clicks"),
        *("Unsub.", "Compl.", "Bounced"),
    ]
    assert cells(newer) == [
        *("news20260921", "2026-09-21 14:00", NEW, "8", "4", "50.0%", "4", "4", "50.0%"),
        *("1", "-", "1"),
    ]
    assert cells(older)[:4] == ["crm1", "2026-09-20 14:00", OLD, "3"]


@pytest.mark.usefixtures("counted")
def test_one_campaign_for_people(host: Host) -> None:
    lines = host.run("stats", NEW).stdout.splitlines()
    assert lines[:4] == [
        "news20260921",
        f"campaign {NEW}, class news",
        "opened 2026-09-21 14:00 UTC",
        "",
    ]
    numbers = {cells(line)[0]: cells(line)[1:] for line in lines[4:19]}
    assert numbers["Unique opens"] == ["4", "50.0%"]
    assert numbers["Delivered"] == ["-"]
    assert (numbers["Hard bounces"], numbers["Soft bounces"]) == (["1"], ["0"])
    assert numbers["Opens"] == ["3"]
    assert numbers["Bot clicks"] == ["1"]
    assert "2026-09-21 14:00 to 2026-09-21 15:00 UTC, one column is an hour" in lines
    assert f"{'sent':12} {8:9} █" in lines
    shop = next(line for line in lines if line.rstrip().endswith("?a=1&b=ü"))
    assert cells(shop)[:3] == ["3", "4", "1"]
    warning = next(line for line in lines if "unknown list" in line)
    assert cells(warning)[0] == "1"


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("mail_class", ["crm", "news"]),
        ("list", ["t100"]),
        ("mta", ["a"]),
        ("day", ["2026-09-20", "2026-09-21"]),
    ],
)
def test_breakdowns(by: str, names: list[str], host: Host) -> None:
    told = host.json("stats", "--by", by)
    assert told["by"] == by
    assert [row[by] for row in told["rows"]] == names
    assert sum(row["sent"] for row in told["rows"]) == 11
    written = host.run("stats", "--by", by, "--csv").stdout
    assert [row[by] for row in csv.DictReader(io.StringIO(written))] == names
    shown = host.run("stats", "--by", by).stdout.splitlines()
    assert [cells(line)[0] for line in shown[1:]] == names
    one = host.json("stats", NEW, "--by", by)["rows"]
    assert sum(row["sent"] for row in one) == 8


@pytest.mark.usefixtures("counted")
def test_links(host: Host) -> None:
    rows = host.json("stats", NEW, "--by", "link")["rows"]
    assert rows[0] == {
        "link": "https://shop.example.com/?a=1&b=\xfc",
        "clicks": 4,
        "unique_clicks": 3,
        "bot_clicks": 1,
    }
    assert rows[1]["link"] == f"https://shop.example.com/{STEERING}"
    written = csv.DictReader(io.StringIO(host.run("stats", NEW, "--by", "link", "--csv").stdout))
    assert [row["clicks"] for row in written] == ["4", "1"]


def test_campaigns_in_csv(host: Host, counted: None) -> None:
    rows = list(csv.DictReader(io.StringIO(host.run("stats", "--csv").stdout)))
    assert list(rows[0]) == KEYS
    assert [(row["sendid"], row["sent"]) for row in rows] == [("news20260921", "8"), ("crm1", "3")]
    # That nobody counts it is not 0; and the older one's class does not track opens.
    assert [row["delivered"] for row in rows] == ["", ""]
    assert [row["opens"] for row in rows] == ["3", ""]


def test_nothing_was_counted(host: Host) -> None:
    assert host.json("stats") == {"campaigns": []}
    assert host.run("stats", "--csv").stdout == ",".join(KEYS) + "\n"
    result = host.run("stats")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no campaigns\n")
    assert host.run("stats", "--by", "day").stderr == "no numbers\n"


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("words", [(), (NEW,), (NEW, "--by", "link"), ("--by", "mail_class")])
def test_nothing_steers_a_terminal(words: tuple[str, ...], host: Host, redis: RedisServer) -> None:
    redis.client.hset(keys.campaign(NEW), "sendid", f"n{STEERING}")
    redis.client.hset(keys.campaign(NEW), "mail_class", f"m{STEERING}")
    shown = host.run("stats", *words).stdout
    assert harmless(shown)
    whole = "".join(shown.split())
    assert "\\x1b[31m\\x9b2" in whole
    assert "[bold]" in whole, "it is not read as markup"


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize(
    ("encoding", "has", "has_not"), [("utf-8", "█", "###"), ("ascii", "#", "█")]
)
def test_the_terminals_encoding(encoding: str, has: str, has_not: str, host: Host) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "fletching", "stats", NEW, "--config", str(host.config)],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=True,
    )
    shown = ended.stdout.decode(encoding)
    assert has in shown
    assert has_not not in shown
    assert ("b=\\xfc" in shown) == (encoding == "ascii")


def in_terminal(host: Host, *words: str, columns: int = 80) -> str:
    """What a command shows in a terminal."""
    ours, its = pty.openpty()
    started = subprocess.Popen(
        [sys.executable, "-m", "fletching", *words, "--config", str(host.config)],
        env={**os.environ, "COLUMNS": str(columns), "TERM": "dumb", "PYTHONIOENCODING": "utf-8"},
        stdin=subprocess.DEVNULL,
        stdout=its,
        stderr=its,
    )
    os.close(its)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:
        pass  # how Linux says that nobody has the terminal any more
    os.close(ours)
    assert started.wait() == 0, shown
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("words", [(), (NEW,), ("--by", "day"), (NEW, "--by", "link")])
def test_eighty_columns(words: tuple[str, ...], host: Host) -> None:
    lines = in_terminal(host, "stats", *words).splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)


@pytest.mark.usefixtures("counted")
def test_great_numbers_are_not_cut(host: Host, redis: RedisServer) -> None:
    redis.client.hincrby(keys.counts(NEW), "sent|1|a|t", 1_234_559)
    for kind in ("unique_opens", "unique_clicks", "unsubscribes"):
        redis.client.hincrby(keys.counts(NEW), f"{kind}|1|a|t", 1_200_000)
    shown = in_terminal(host, "stats")
    assert "  1,234,567  1,200,004  97.2%  1,200,004  97.2%  1,200,001" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_pipe_gets_each_row_in_one_line(host: Host, redis: RedisServer, tmp_path: Path) -> None:
    long = "news" + "2" * 60
    sent(redis, tmp_path, 1, sendid=long)
    assert long in host.run("stats").stdout


# The chart.

HOUR = 3600


@pytest.mark.parametrize(
    ("hours", "width", "blocks", "drawn"),
    [
        pytest.param({}, 80, True, [], id="nothing"),
        pytest.param({"sent": {}}, 80, True, [], id="no hour"),
        pytest.param(
            {"sent": {0: 24, HOUR: 1, 3 * HOUR: 12}},
            80,
            True,
            [
                "1970-01-01 00:00 to 1970-01-01 04:00 UTC, one column is an hour",
                "sent                24 █",
                "                       █  ▄",
                "                       █▁ █",
            ],
            id="blocks; little is more than nothing",
        ),
        pytest.param(
            {"sent": {0: 9}, "opens": {HOUR: 5}, "nosuch": {9 * HOUR: 1}},
            80,
            False,
            [
                "1970-01-01 00:00 to 1970-01-01 02:00 UTC, one column is an hour",
                "sent                 9 #",
                "                       #",
                "                       #",
                "opens                5  #",
                "                        #",
                "                        #",
            ],
            id="plain; one axis for all",
        ),
        pytest.param(
            {"clicks": {0: 1, 20 * HOUR: 1234}},
            33,
            False,
            [
                "1970-01-01 00:00 to 1970-01-01 21:00 UTC, one column is 3 hours",
                "clicks           1,234       #",
                "                             #",
                "                       .     #",
            ],
            id="several hours in a column",
        ),
    ],
)
def test_chart(
    hours: dict[str, dict[int, int]], width: int, blocks: bool, drawn: list[str]
) -> None:
    assert figures.chart(hours, width, blocks) == drawn


@pytest.mark.parametrize("hours", [1, 2, 57, 58, 1000, 9600])
@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_chart_is_as_wide_as_the_terminal(hours: int, width: int) -> None:
    counts = {"opens": {hour * HOUR: hour + 1 for hour in range(hours)}}
    assert max(map(len, figures.chart(counts, width, True))) <= width


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-5, "0s"), (0, "0s"), (59, "59s"), (61, "1m 1s"), (3600, "1h"), (90_061, "1d 1h")],
)
def test_age(seconds: float, said: str) -> None:
    assert figures.age(seconds) == said


@pytest.mark.parametrize(
    ("text", "encoding", "shown"),
    [
        ("a\x1b\x9b\x7f", "utf-8", "a\\x1b\\x9b\\x7f"),
        ("\udcff", "utf-8", "\\udcff"),
        ("ü", "utf-8", "ü"),
        ("ü", "ascii", "\\xfc"),
    ],
)
def test_escapes(text: str, encoding: str, shown: str) -> None:
    assert printable(text, encoding) == shown
    assert encodable(shown, encoding) == shown


# events.


def lines_of(text: str) -> list[str]:
    return [json.loads(line)["event_unique_id"] for line in text.splitlines()]


def test_events_as_they_are_kept(host: Host, stream: EventLog) -> None:
    told = [event(number) for number in range(2100)]
    stream.append(told)
    result = host.run("events")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "".join(each.json() + "\n" for each in told)


@pytest.mark.parametrize(
    ("types", "shown"),
    [
        ((), ["id000001", "id000002", "id000003"]),
        ((events.OPEN,), ["id000002"]),
        ((events.OPEN, events.COMPLAINT), ["id000002", "id000003"]),
        ((events.SEED,), []),
    ],
)
def test_types(types: tuple[str, ...], shown: list[str], host: Host, stream: EventLog) -> None:
    stream.append([event(1), event(2, events.OPEN), event(3, events.COMPLAINT)])
    words = [word for name in types for word in ("--type", name)]
    assert lines_of(host.run("events", *words).stdout) == shown


def rfc3339(milliseconds: int) -> str:
    return f"{figures.moment(milliseconds // 1000)[:-1]}.{milliseconds % 1000:03}Z"


def later(stream: EventLog, told: list[Event]) -> str:
    """Appends events, in milliseconds of their own; when the first one was, in RFC 3339."""
    before = stream.last_id()
    time.sleep(0.003)
    stream.append(told)
    ((first, _),) = stream.read(before, 1)
    return rfc3339(int(first.partition("-")[0]))


def test_since(host: Host, stream: EventLog) -> None:
    stream.append([event(1)])
    at = later(stream, [event(2)])
    assert len(lines_of(host.run("events", "--since", "2001-01-01").stdout)) == 2
    assert lines_of(host.run("events", "--since", at).stdout) == ["id000002"]
    assert lines_of(host.run("events", "--since", "1970-01-01T00:00:00Z").stdout)[0] == "id000001"
    assert host.run("events", "--since", "2100-01-01T00:00:00Z").stdout == ""


@pytest.mark.parametrize(
    ("given", "zone", "instant"),
    [
        ("2026-11-30", "Europe/Berlin", "2026-11-29T23:00:00"),
        ("2026-07-01", "Europe/Berlin", "2026-06-30T22:00:00"),
        ("2026-11-30T12:00", "America/New_York", "2026-11-30T17:00:00"),
        ("2026-11-30T12:00:00Z", "America/New_York", "2026-11-30T12:00:00"),
        ("2026-11-30", "UTC", "2026-11-30T00:00:00"),
    ],
)
def test_since_takes_the_configured_time_zone(given: str, zone: str, instant: str) -> None:
    expected = datetime.fromisoformat(f"{instant}+00:00").timestamp() * 1000
    assert since(given, ZoneInfo(zone)) == expected


def started(host: Host, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "fletching", *words, "--config", str(host.config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A suite in the background ignores SIGINT, and so would what it starts.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def test_follow(host: Host, stream: EventLog) -> None:
    stream.append([event(1), event(2, events.OPEN)])
    with started(host, "events", "--follow", "--type", events.CLICK) as following:
        assert following.stdout is not None
        assert lines_of(following.stdout.readline().decode()) == ["id000001"]
        stream.append([event(3, events.OPEN), event(4)])
        assert lines_of(following.stdout.readline().decode()) == ["id000004"]
        following.send_signal(signal.SIGINT)
        assert following.communicate(timeout=30) == (b"", b"")
        assert following.returncode == 0


def test_follow_outlives_an_outage(host: Host, tmp_path: Path) -> None:
    with RedisServer() as server:
        text = host.config.read_text().splitlines()
        host.config.write_text("\n".join([f"redis: {server.url}", *text[1:]]) + "\n")
        stream = EventLog(open_store(server.url))
        stream.append([event(1)])
        with started(host, "events", "--follow") as following:
            assert following.stdout is not None
            assert following.stderr is not None
            following.stdout.readline()
            server.stop()
            assert following.stderr.readline().startswith(b"redis: does not answer: ")
            server.start()
            assert following.stderr.readline() == b"redis: answers again\n"
            stream.append([event(2)])
            assert lines_of(following.stdout.readline().decode()) == ["id000002"]
            following.send_signal(signal.SIGINT)
            assert following.communicate(timeout=30) == (b"", b"")
            assert following.returncode == 0


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
def test_a_reader_that_has_seen_enough(
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


def taken(stream: EventLog, group: str) -> list[str]:
    """What a destination gets next; it has it then."""
    got = stream.take(group, "courier", 100, 1)
    stream.acknowledge(group, [id for id, _ in got])
    return [json.loads(line)["event_unique_id"] for _, line in got]


def test_replay(host: Host, stream: EventLog) -> None:
    stream.create_group("crm", "0")
    stream.append([event(1)])
    at = later(stream, [event(2), event(3)])
    assert taken(stream, "crm") == ["id000001", "id000002", "id000003"]
    result = host.run("events", "--replay", "crm", "--since", at)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "crm: 2 events will be redelivered\n"
    assert host.json("events", "status")["destinations"][0]["waiting"] == 2
    assert taken(stream, "crm") == ["id000002", "id000003"]


def test_replay_never_skips_an_event(host: Host, stream: EventLog) -> None:
    stream.create_group("crm", "0")
    stream.append([event(1)])
    at = later(stream, [event(2)])
    result = host.run("events", "--replay", "crm", "--since", at)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "events since 20" in result.stderr
    assert taken(stream, "crm") == ["id000001", "id000002"]
    result = host.run("events", "--replay", "crm", "--since", "2100-01-01T00:00:00Z")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "crm: no events since then, so there is nothing to redeliver\n"
    stream.append([event(3)])
    assert taken(stream, "crm") == ["id000003"]


@pytest.mark.parametrize(
    "words", [("--replay", "nosuch", "--since", "2026-03-01T09:00:00Z"), ("dead", "nosuch")]
)
def test_an_unknown_destination(words: tuple[str, ...], host: Host) -> None:
    result = host.run("events", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "nosuch: unknown destination: must be one of crm, log\n"
    host.config.write_text("mail_classes: {a: {}}\n")
    assert host.run("events", *words).stderr == "nosuch: unknown destination: none is configured\n"


def test_status(host: Host, stream: EventLog) -> None:
    stream.create_group("crm", "0")
    stream.append([event(1), event(2), event(3)])
    got = stream.take("crm", "courier", 2, 1)
    stream.add_dead_letters("crm", [(*got[0], "status 406")])
    stream.acknowledge("crm", [got[0][0]])
    crm, log = host.json("events", "status")["destinations"]
    assert list(crm) == ["destination", "waiting", "in_hand", "dead_letters", "oldest", "age"]
    assert (crm["waiting"], crm["in_hand"], crm["dead_letters"]) == (1, 1, 1)
    assert (log["waiting"], log["in_hand"], log["dead_letters"]) == (3, 0, 0)
    assert crm["oldest"] == figures.moment(int(got[1][0].partition("-")[0]) / 1000)
    assert 0 <= crm["age"] < 600
    titles, first, _ = host.run("events", "status").stdout.splitlines()
    assert titles.split() == list(crm)
    assert first.split()[:5] == ["crm", "1", "1", "1", crm["oldest"]]


def test_status_of_nothing(host: Host) -> None:
    (crm, _) = host.json("events", "status")["destinations"]
    assert (crm["waiting"], crm["oldest"], crm["age"]) == (0, None, None)
    host.config.write_text("mail_classes: {a: {}}\n")
    assert host.run("events", "status").stderr.startswith(("no destinations", "redis: "))


def test_dead_letters(host: Host, stream: EventLog) -> None:
    told = event(1)
    dead = [("1-0", told.json(), "status 406"), ("2-0", "\x1bno event", "not an event")]
    stream.add_dead_letters("crm", dead)
    result = host.run("events", "dead", "crm")
    assert harmless(result.stdout)
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"id": "1-0", "why": "status 406", "event": told.fields()},
        {"id": "2-0", "why": "not an event", "event": "\x1bno event"},
    ]
    assert host.run("events", "dead", "log").stdout == ""


# suppression.


def test_a_round_trip(host: Host) -> None:
    added = host.run("suppression", "add", "T100", "Reader@example.org")
    assert (added.exit_code, added.stderr) == (0, "")
    assert added.stdout == "Reader@example.org: added to T100\n"
    before = host.json("suppression", "list")
    (entry,) = before["suppression"]
    since = entry.pop("since")
    assert entry == {"listid": "t100", "address": "reader@example.org", "reason": "by_hand"}
    assert since.endswith("Z")
    again = host.run("suppression", "add", "t100", "reader@EXAMPLE.org")
    assert (again.exit_code, again.stdout) == (0, "reader@EXAMPLE.org: is already on t100\n")
    assert host.json("suppression", "list", "T100") == {"suppression": [{**entry, "since": since}]}
    assert host.run("suppression", "export").stdout == (
        f"listid,address,reason,since\nt100,reader@example.org,by_hand,{since}\n"
    )
    assert host.run("suppression", "remove", "t100", "reader@example.org").exit_code == 0
    gone = host.run("suppression", "remove", "t100", "reader@example.org")
    assert (gone.exit_code, gone.stdout) == (1, "")
    assert gone.stderr == "reader@example.org: is not on t100\n"
    assert host.json("suppression", "list") == {"suppression": []}


def test_what_readers_did_stays_as_it_was(host: Host, stream: EventLog) -> None:
    stream.append([event(1, events.UNSUBSCRIBE)])
    host.run("suppression", "add", "t100", "reader1@example.org")
    titles, row = host.run("suppression", "list", "t100").stdout.splitlines()
    assert titles.split() == ["listid", "address", "reason", "since"]
    assert row.split() == ["t100", "reader1@example.org", "unsubscribed", "2026-09-21T14:13:20Z"]


def test_lists_apart(host: Host) -> None:
    for listid in ("t2", "t1"):
        for reader in ("b", "a"):
            host.run("suppression", "add", listid, f"{reader}@example.org")
    rows = host.json("suppression", "list")["suppression"]
    assert [(row["listid"], row["address"][0]) for row in rows] == [
        *(("t1", "a"), ("t1", "b"), ("t2", "a"), ("t2", "b")),
    ]
    assert len(host.run("suppression", "export", "t1").stdout.splitlines()) == 3
    empty = host.run("suppression", "list", "nosuch")
    assert (empty.exit_code, empty.stdout) == (0, "")


def test_addresses_from_stdin(host: Host) -> None:
    many = b"".join(b"reader%d@example.org\r\n" % number for number in range(300))
    result = host.run("suppression", "add", "t100", "-", stdin=many + b"\n\n  last@example.org  ")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "301 added, 0 already on the list\n"
    result = host.run("suppression", "add", "t100", "-", stdin=many)
    assert result.stdout == "0 added, 300 already on the list\n"
    exported = csv.DictReader(io.StringIO(host.run("suppression", "export", "t100").stdout))
    assert {row["address"] for row in exported} == {
        *(f"reader{number}@example.org" for number in range(300)),
        "last@example.org",
    }


def test_lines_that_are_no_address(host: Host) -> None:
    lines = [b"a@example.org", b"\x1b[31m", b"b@\xff.example", b"Bob <b@example.org>"]
    stdin = b"\n".join([*lines, b"c@example.org", b"x" * 400])
    result = host.run("suppression", "add", "t100", "-", stdin=stdin)
    assert result.exit_code == 1
    assert [line.partition(":")[0] for line in result.stderr.splitlines()] == [
        *("line 2", "line 3", "line 4", "line 6"),
    ]
    assert result.stdout == "2 added, 0 already on the list\n"


@pytest.mark.parametrize(
    "address",
    ["a", "a@", "@b.example", "a b@c.example", "<a@b.example>", "a@b.example,c@d.example",
     "a@b..example", "a@b_!.example", "a@b.example (Ann)", "a@b.example\n", "x" * 321 + "@b.c"],
)  # fmt: skip
def test_no_address_is_refused(address: str, host: Host) -> None:
    result = host.run("suppression", "add", "t100", address)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == ("ADDRESS: must be a bare mail address such as name@example.com\n")
    assert host.json("suppression", "list") == {"suppression": []}


@pytest.mark.parametrize(
    "address", ["a.b+c@d.example", '"a b"@c.example', "ä@bücher.example", "a@[192.0.2.1]", "a@host"]
)
def test_an_address_is_added_and_found_on_all_lists(address: str, host: Host) -> None:
    for listid in ("t200", "T100"):
        assert host.run("suppression", "add", listid, address).exit_code == 0
    host.run("suppression", "add", "t300", "another@example.org")
    rows = host.json("suppression", "find", address.upper())["suppression"]
    assert [(row["listid"], row["address"], row["reason"]) for row in rows] == [
        ("t100", address, "by_hand"),
        ("t200", address, "by_hand"),
    ]
    nowhere = host.run("suppression", "find", f"x{address}")
    assert (nowhere.exit_code, nowhere.stdout, nowhere.stderr) == (1, "", "no suppression\n")


def test_an_obscured_address_is_added_as_such(host: Host) -> None:
    assert host.run("suppression", "add", "t100", "userid-1").exit_code == 2
    assert host.run("suppression", "add", "t100", "userid-1", "--obscured").exit_code == 0
    assert host.run("suppression", "add", "t100", "ünï", "--obscured").exit_code == 2
    assert len(host.json("suppression", "find", "userid-1")["suppression"]) == 1


def test_an_unknown_list_is_warned_of_once(host: Host) -> None:
    result = host.run("suppression", "add", "t1000", "a@example.org")
    assert (result.exit_code, result.stdout) == (0, "a@example.org: added to t1000\n")
    assert result.stderr == "warning: t1000: no Mail Class uses this list, and it has no entries\n"
    assert host.run("suppression", "add", "t1000", "b@example.org").stderr == ""
    assert host.run("suppression", "add", "T100", "b@example.org").stderr == ""


def test_csv_is_exact_and_a_terminal_is_safe(
    host: Host, redis: RedisServer, tmp_path: Path
) -> None:
    address = f'"a,b"{STEERING}@example.org'
    Suppression(open_store(redis.url)).add("t100", address, "by_hand", 0)
    piped = host.run("suppression", "export").stdout_bytes.decode()
    rows = list(csv.reader(io.StringIO(piped, newline="")))
    assert rows[1] == ["t100", address.lower(), "by_hand", "1970-01-01T00:00:00Z"]
    assert harmless(in_terminal(host, "suppression", "export"))
    assert harmless(host.run("suppression", "list").stdout)


def test_a_bar_on_a_terminal(host: Host, tmp_path: Path) -> None:
    ours, its = pty.openpty()
    lines = tmp_path / "addresses"
    lines.write_bytes(b"".join(b"r%d@example.org\n" % number for number in range(3000)))
    with lines.open("rb") as given:
        ended = subprocess.run(
            [sys.executable, "-m", "fletching", "suppression", "add", "t100", "-"],
            env={**os.environ, "FLETCHING_CONFIG": str(host.config), "TERM": "xterm"},
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=its,
            check=True,
        )
    os.close(its)
    wait_until("no bar", lambda: b"100%" in os.read(ours, 65536))
    os.close(ours)
    assert ended.stdout == b"3000 added, 0 already on the list\n"
