"""A working set-up: what `fletching check --live` says of it, and what it leaves behind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fletching.checks.finding import Level
from fletching.checks.live import all as live
from fletching.cli.main import main
from fletching.store.events import EventLog

from sandbox.name_server import NameServer
from tests.brokensetup.setting import BrokenSetup
from tests.stores import open_store

pytestmark = pytest.mark.slow


def command(broken: BrokenSetup, monkeypatch: pytest.MonkeyPatch, *options: str) -> Result:
    """`fletching check`, with our name server and our Postfix."""
    monkeypatch.setenv("MAIL_CONFIG", str(broken.postfix.config_directory))
    with NameServer(broken.records) as names:
        for module in ("fletching.checks.all", live.__name__):
            monkeypatch.setattr(f"{module}.Resolver", lambda: names.resolver)
        words = ["check", "--config", str(broken.fletching.config_path), *options]
        return CliRunner().invoke(main, words)


def test_working_set_up_has_no_errors_and_no_warnings(broken: BrokenSetup) -> None:
    broken.findings()  # Postfix has logged a mail then.
    assert [str(each) for each in broken.findings() if each.level is not Level.OK] == []


def test_findings_name_what_was_tried(broken: BrokenSetup) -> None:
    by = {each.place: each.text for each in broken.findings()}
    assert by["check mail by a"] == (
        "left without control headers by vmta-a, from 127.0.0.1 as mx.fletching.example, signed by"
        " example.com (s1), which the DNS verifies"
    )
    assert by[f"click.example.com:{broken.proxy.port}"].startswith("opens the link of a check mail")
    assert {"events", "courier", "bounces", "web.listen"} <= by.keys()


def test_check_mails_count_nowhere(broken: BrokenSetup) -> None:
    # A milter with other link keys takes a check mail for any mail, as in an earlier test.
    before = broken.fletching.command("stats", "--json")
    broken.findings()
    assert broken.fletching.command("stats", "--json") == before
    assert broken.fletching.command("suppression", "export").count("\n") == 1
    assert broken.postfix.queue() == ()
    log = EventLog(open_store(broken.redis.url))
    events: list[Mapping[str, Any]] = [json.loads(event) for _, event in log.read("0", 1000)]
    unsubscribes = [each for each in events if each["event_type"] == "engine_unsub"]
    assert unsubscribes
    assert all(each["is_seed"] for each in unsubscribes)


def test_command_prints_one_line_for_each_finding(
    broken: BrokenSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = command(broken, monkeypatch, "--live")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0, result.output
    assert {line.partition(":")[0] for line in lines} <= {"ok", "warning"}
    assert any(line.startswith("ok: check mail by a: ") for line in lines)


def test_command_prints_one_json_object_and_fails_for_errors(
    broken: BrokenSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    with broken.proxy.broken("return 401;"):
        result = command(broken, monkeypatch, "--live", "--json")
    shown = json.loads(result.stdout)
    assert result.exit_code == 1
    errors = [each for each in shown["findings"] if each["level"] == "error"]
    assert shown["errors"] == len(errors) >= 1
    assert set(errors[0]) == {"level", "place", "text", "cure"}
    assert any("remove login and access rules" in each["cure"] for each in errors)
