"""`fletching stats`, over a real Redis."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fletching import events
from fletching.admin import figures
from fletching.admin.escapes import encodable, printable
from fletching.events import Event
from fletching.store import keys
from fletching.store.events import EventLog

from sandbox.redis_server import RedisServer
from tests.cli_setting import (
    KEYS,
    NEW,
    OLD,
    OPENED,
    STEERING,
    cells,
    harmless,
    in_terminal,
    of,
    sent,
)
from tests.host import Host


@pytest.mark.usefixtures("counted")
def test_campaigns_as_json(host: Host) -> None:
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
        "deferred": None,
        "bounces_other": 0,
        "blocked": 0,
        "opened": "2026-09-21T14:00:00Z",
        "subject": "",
        "listid": "T100",
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
def test_filters_choose_the_campaigns(
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
def test_campaigns_as_a_table(host: Host) -> None:
    titles, newer, older = host.run("stats").stdout.splitlines()
    assert cells(titles) == [
        *("SendID", "Opened", "Campaign", "Sent", "Delivered", "Unique opens", "Confirmed"),
        *("Unique clicks", "Unsub.", "Compl.", "Bounced"),
    ]
    assert cells(newer) == [
        *("news20260921", "2026-09-21 14:00", NEW, "8", "-", "4", "50.0%", "4", "4"),
        *("50.0%", "1", "-", "1"),
    ]
    assert cells(older)[:4] == ["crm1", "2026-09-20 14:00", OLD, "3"]


@pytest.mark.usefixtures("counted")
def test_one_campaign_as_a_table(host: Host) -> None:
    lines = host.run("stats", NEW).stdout.splitlines()
    assert lines[:4] == [
        "news20260921",
        f"campaign {NEW}, class news",
        "opened 2026-09-21 14:00 UTC",
        "",
    ]
    numbers = {cells(line)[0]: cells(line)[1:] for line in lines[4:22]}
    assert numbers["Unique opens"] == ["4", "50.0% of sent"]
    assert numbers["Delivered"] == ["-"]
    assert (numbers["Hard bounces"], numbers["Soft bounces"]) == (
        ["1", "12.5% of sent"],
        ["0", "0.0% of sent"],
    )
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


@pytest.fixture
def delivered(counted: None, stream: EventLog) -> None:
    """What became of the messages of the newer campaign."""
    google, other = "reader@gmail.com", "reader@example.org"
    words = {"bounce_text": f"550 5.1.1 <{google}> unknown{STEERING}", "bounce_type": "h"}
    slow = {"message": "421 4.7.0 slow down", "bounce_reason": "rate_limited"}

    def happened(number: int, email: str, type: str, **more: object) -> Event:
        found = of(NEW, number, type, **more)
        return replace(found, facts=replace(found.facts, email=email))

    stream.append(
        [
            *(happened(at, google, events.DELIVERY, status="success") for at in (1, 2, 3)),
            happened(4, google, events.BOUNCE, bounce_reason="user_unknown", **words),
            happened(5, other, events.DELIVERY, status="deferral", **slow),
        ]
    )


@pytest.mark.usefixtures("delivered")
def test_breakdown_by_provider(host: Host) -> None:
    first, second = host.json("stats", NEW, "--by", "provider")["rows"]
    assert first.items() >= {"provider": "google", "delivered": 3, "bounces_hard": 1}.items()
    assert second.items() >= {"provider": "other", "deferred": 1, "blocked": 1}.items()
    assert (first["sent"], first["opens"], first["deferred"]) == (None, None, 0)
    titles, *lines = host.run("stats", "--by", "provider").stdout.splitlines()
    assert cells(titles)[:4] == ["provider", "Delivered", "Share", "Deferred"]
    assert cells(lines[0]) == ["google", "3", "75.0%", "0", "1", "0", "0", "-"]


@pytest.mark.usefixtures("delivered")
def test_breakdown_by_reason(host: Host) -> None:
    rows = {row["reason"]: row for row in host.json("stats", "--by", "reason")["rows"]}
    assert rows["user_unknown"]["bounces_hard"] == 1
    assert rows["rate_limited"]["deferred"] == 1
    assert rows["rate_limited"]["delivered"] is None
    titles, *lines = host.run("stats", NEW, "--by", "reason").stdout.splitlines()
    assert cells(titles) == ["reason", "Hard", "Soft", "Other", "Deferred"]
    assert cells(next(line for line in lines if "rate" in line)) == [
        *("rate_limited", "0", "0", "0", "1")
    ]


@pytest.mark.usefixtures("delivered")
def test_campaign_shows_providers_and_reasons(host: Host) -> None:
    shown = host.run("stats", NEW).stdout
    assert harmless(shown)
    lines = [cells(line) for line in shown.splitlines()]
    assert ["google", "3", "75.0%", "0", "1", "0", "0", "-"] in lines
    assert ["0", "1", "other", "rate_limited: 421 4.7.0 slow down"] in lines
    unknown = next(line for line in lines if "google user_unknown" in " ".join(line))
    assert "550 5.1.1 <address> unknown" in " ".join(unknown)
    assert f"{'delivered':12} {3:9} █" in shown
    assert ["Delivered", "3", "37.5% of sent"] in lines


def test_campaigns_in_csv(host: Host, counted: None) -> None:
    rows = list(csv.DictReader(io.StringIO(host.run("stats", "--csv").stdout)))
    assert list(rows[0]) == KEYS
    assert [(row["sendid"], row["sent"]) for row in rows] == [("news20260921", "8"), ("crm1", "3")]
    # That nobody counts it is not 0; and the older one's class does not track opens.
    assert [row["delivered"] for row in rows] == ["", ""]
    assert [row["opens"] for row in rows] == ["3", ""]


def test_stats_without_campaigns(host: Host) -> None:
    assert host.json("stats") == {"campaigns": []}
    assert host.run("stats", "--csv").stdout == ",".join(KEYS) + "\n"
    result = host.run("stats")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no campaigns\n")
    assert host.run("stats", "--by", "day").stderr == "no data\n"


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("words", [(), (NEW,), (NEW, "--by", "link"), ("--by", "mail_class")])
def test_output_is_escaped(words: tuple[str, ...], host: Host, redis: RedisServer) -> None:
    redis.client.hset(keys.campaign(NEW), "sendid", f"n{STEERING}")
    redis.client.hset(keys.campaign(NEW), "mail_class", f"m{STEERING}")
    shown = host.run("stats", *words).stdout
    assert harmless(shown)
    whole = "".join(shown.split())
    assert "\\x1b[31m\\x9b2" in whole
    assert "[bold]" in whole, "it is not read as markup"


@pytest.mark.slow
@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize(
    ("encoding", "has", "has_not"), [("utf-8", "█", "###"), ("ascii", "#", "█")]
)
def test_chart_fits_the_encoding(encoding: str, has: str, has_not: str, host: Host) -> None:
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


@pytest.mark.slow
@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("words", [(), (NEW,), ("--by", "day"), (NEW, "--by", "link")])
def test_tables_fit_80_columns(words: tuple[str, ...], host: Host) -> None:
    lines = in_terminal(host, "stats", *words).splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)


@pytest.mark.slow
@pytest.mark.usefixtures("counted")
def test_large_numbers_are_not_cut(host: Host, redis: RedisServer) -> None:
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


@pytest.mark.usefixtures("counted")
def test_campaigns_by_monitor_group(host: Host) -> None:
    rows = host.json("stats", "--by", "monitor")["rows"]
    assert list(rows[0])[:3] == ["monitor", "sendids", "sent"]
    assert sorted(name for row in rows for name in row["sendids"]) == ["crm1", "news20260921"]
    assert sum(row["sent"] for row in rows) == 11
    table = host.run("stats", "--by", "monitor").stdout
    assert "news20260921" in table
    (_, *lines) = host.run("stats", "--by", "monitor", "--csv").stdout.splitlines()
    assert len(lines) == len(rows)
