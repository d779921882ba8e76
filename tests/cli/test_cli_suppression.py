"""`fletching suppression`, over a real Redis."""

from __future__ import annotations

import csv
import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from fletching import events
from fletching.store.events import EventLog
from fletching.store.suppression import Suppression

from sandbox.processes import wait_until
from sandbox.redis_server import RedisServer
from tests.cli_setting import STEERING, harmless, in_terminal
from tests.courier_setting import event
from tests.host import Host
from tests.stores import open_store


def test_add_list_export_and_remove(host: Host) -> None:
    added = host.run("suppression", "add", "T100", "Reader@example.org")
    assert (added.exit_code, added.stderr) == (0, "")
    assert added.stdout == "Reader@example.org: added to T100\n"
    before = host.json("suppression", "list")
    (entry,) = before["suppression"]
    since = entry.pop("since")
    assert entry == {
        "listid": "t100",
        "address": "reader@example.org",
        "reason": "by_hand",
        "source": "command",
    }
    assert since.endswith("Z")
    again = host.run("suppression", "add", "t100", "reader@EXAMPLE.org")
    assert (again.exit_code, again.stdout) == (0, "reader@EXAMPLE.org: is already on t100\n")
    assert host.json("suppression", "list", "T100") == {"suppression": [{**entry, "since": since}]}
    assert host.run("suppression", "export").stdout == (
        f"listid,address,reason,since,source\nt100,reader@example.org,by_hand,{since},command\n"
    )
    assert host.run("suppression", "remove", "t100", "reader@example.org").exit_code == 0
    gone = host.run("suppression", "remove", "t100", "reader@example.org")
    assert (gone.exit_code, gone.stdout) == (1, "")
    assert gone.stderr == "reader@example.org: is not on t100\n"
    assert host.json("suppression", "list") == {"suppression": []}


def test_add_keeps_an_existing_entry(host: Host, stream: EventLog) -> None:
    stream.append([event(1, events.UNSUBSCRIBE)])
    host.run("suppression", "add", "t100", "reader1@example.org")
    titles, row = host.run("suppression", "list", "t100").stdout.splitlines()
    assert titles.split() == ["listid", "address", "reason", "since", "source"]
    assert row.split() == [
        *("t100", "reader1@example.org", "unsubscribed", "2026-09-21T14:13:20Z", "web")
    ]


def test_entries_are_sorted_by_list(host: Host) -> None:
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


def test_invalid_lines_are_reported(host: Host) -> None:
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
def test_invalid_address_is_refused(address: str, host: Host) -> None:
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


def test_obscured_address_needs_the_option(host: Host) -> None:
    assert host.run("suppression", "add", "t100", "userid-1").exit_code == 2
    assert host.run("suppression", "add", "t100", "userid-1", "--obscured").exit_code == 0
    assert host.run("suppression", "add", "t100", "ünï", "--obscured").exit_code == 2
    assert len(host.json("suppression", "find", "userid-1")["suppression"]) == 1


def test_unknown_list_is_warned_of_once(host: Host) -> None:
    result = host.run("suppression", "add", "t1000", "a@example.org")
    assert (result.exit_code, result.stdout) == (0, "a@example.org: added to t1000\n")
    assert result.stderr == "warning: t1000: no Mail Class uses this list, and it has no entries\n"
    assert host.run("suppression", "add", "t1000", "b@example.org").stderr == ""
    assert host.run("suppression", "add", "T100", "b@example.org").stderr == ""


@pytest.mark.slow
def test_csv_is_exact_and_a_terminal_is_safe(
    host: Host, redis: RedisServer, tmp_path: Path
) -> None:
    address = f'"a,b"{STEERING}@example.org'
    Suppression(open_store(redis.url)).add("t100", address, "by_hand", 0)
    piped = host.run("suppression", "export").stdout_bytes.decode()
    rows = list(csv.reader(io.StringIO(piped, newline="")))
    assert rows[1] == ["t100", address.lower(), "by_hand", "1970-01-01T00:00:00Z", "command"]
    assert harmless(in_terminal(host, "suppression", "export"))
    assert harmless(host.run("suppression", "list").stdout)


def test_export_can_be_imported(host: Host, stream: EventLog, redis: RedisServer) -> None:
    stream.append([event(1, events.UNSUBSCRIBE), event(2, events.COMPLAINT)])
    lists = Suppression(open_store(redis.url))
    lists.add("t200", '"a,b"@example.org', "bad_address", 1000, "log")
    lists.add("t200", "user-7", "by_hand", 2000, "dashboard")
    exported = host.run("suppression", "export")
    before = host.json("suppression", "list")
    assert len(before["suppression"]) == 4
    redis.client.flushall()
    result = host.run("suppression", "import", "-", "--obscured", stdin=exported.stdout_bytes)
    assert (result.exit_code, result.stdout) == (0, "4 added, 0 already on the list\n")
    assert host.json("suppression", "list") == before
    again = host.run("suppression", "import", "-", "--obscured", stdin=exported.stdout_bytes)
    assert again.stdout == "0 added, 4 already on the list\n"


def test_import_of_a_file_reports_invalid_lines(host: Host) -> None:
    file = host.folder / "list.csv"
    file.write_text("Email,Name\na@example.org,Ann\nb,Bob\n\nc@example.org\n,Dan\n")
    result = host.run("suppression", "import", str(file), "t100")
    assert (result.exit_code, result.stdout) == (1, "2 added, 0 already on the list\n")
    rule = "must be a bare mail address such as name@example.com"
    assert result.stderr == f"line 3: {rule}\nline 6: {rule}\n"
    rows = host.json("suppression", "list", "t100")["suppression"]
    assert [(row["address"], row["reason"], row["source"]) for row in rows] == [
        ("a@example.org", "by_hand", "import"),
        ("c@example.org", "by_hand", "import"),
    ]


def test_import_needs_a_list(host: Host) -> None:
    for lines in (b"a@example.org\n", b"email\na@example.org\n", b""):
        result = host.run("suppression", "import", "-", stdin=lines)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr == ("no list: LISTID is missing, and the file has no column listid\n")
    wrong = host.run("suppression", "import", "-", "a list", stdin=b"a@example.org\n")
    assert wrong.exit_code == 2
    assert wrong.stderr.startswith("LISTID: must be ")
    assert host.json("suppression", "list") == {"suppression": []}


@pytest.mark.slow
def test_progress_bar_on_a_terminal(host: Host, tmp_path: Path) -> None:
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
