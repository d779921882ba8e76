"""`fletching events`, over a real Redis."""

from __future__ import annotations

import json
import signal
import time
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from fletching import events
from fletching.events import Event
from fletching.figures import moment
from fletching.startup import since
from fletching.store.events import EventLog

from sandbox.redis_server import RedisServer
from tests.cli_setting import harmless, started
from tests.courier_setting import event
from tests.host import Host
from tests.stores import open_store


def lines_of(text: str) -> list[str]:
    return [json.loads(line)["event_unique_id"] for line in text.splitlines()]


def test_events_are_printed_unchanged(host: Host, stream: EventLog) -> None:
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
def test_event_types(
    types: tuple[str, ...], shown: list[str], host: Host, stream: EventLog
) -> None:
    stream.append([event(1), event(2, events.OPEN), event(3, events.COMPLAINT)])
    words = [word for name in types for word in ("--type", name)]
    assert lines_of(host.run("events", *words).stdout) == shown


def rfc3339(milliseconds: int) -> str:
    return f"{moment(milliseconds // 1000)[:-1]}.{milliseconds % 1000:03}Z"


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


def test_follow_continues_after_an_outage(host: Host, tmp_path: Path) -> None:
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


def test_replay_never_skips_events(host: Host, stream: EventLog) -> None:
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
    assert crm["oldest"] == moment(int(got[1][0].partition("-")[0]) / 1000)
    assert 0 <= crm["age"] < 600
    titles, first, _ = host.run("events", "status").stdout.splitlines()
    assert titles.split() == list(crm)
    assert first.split()[:5] == ["crm", "1", "1", "1", crm["oldest"]]


def test_status_without_events(host: Host) -> None:
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
