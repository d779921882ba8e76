"""`fletching trace`, over a real Redis."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from fletching import events
from fletching.keys.link_keys import read_link_keys
from fletching.tokens import Kind

from sandbox.redis_server import RedisServer
from tests.cli_setting import STEERING, harmless, in_terminal
from tests.host import Host
from tests.trace_setting import RECIPIENT, Site


@pytest.fixture
def site(redis: RedisServer) -> Site:
    return Site(redis)


def test_time_line(host: Host, site: Site) -> None:
    facts = site.accepted(warnings=("no key",))
    site.write(
        [
            site.event(
                facts,
                events.DELIVERY,
                3,
                status="success",
                message="250 2.0.0 Ok: queued as 12345",
                mx_hostname="mx.example.org",
            )
        ]
    )
    shown = host.run("trace", RECIPIENT)
    assert (shown.exit_code, shown.stderr) == (0, "")
    lines = shown.stdout.splitlines()
    assert lines[0] == "Message 1 of campaign News1"
    assert "  Recipient   Reader@Example.org" in lines
    assert "  It was delivered to the recipient's mail server." in lines
    accepted, warning, delivered, words = lines[-4:]
    assert accepted.endswith(
        " ago  Accepted from the application, to be sent by VirtualMTA vmta-a."
    )
    assert warning.strip() == "Warning: no key"
    assert delivered.endswith(" 3 seconds later  Delivered: accepted by mx.example.org.")
    assert words.strip() == '"250 2.0.0 Ok: queued as 12345"'


def test_json_of_each_name(host: Host, site: Site) -> None:
    facts = site.accepted()
    keys = read_link_keys(host.folder / "link-keys")
    names = (
        *(RECIPIENT, "4F1A2B3C", "<4F1A2B3C@shop.example>"),
        f"bounces+{keys.tag(facts.campaign, facts.number)}@example.com",
        f"https://click.example.com/click?{keys.seal(Kind.OPEN, facts)}",
    )
    for name in names:
        (message,) = host.json("trace", name)["messages"]
        assert (message["campaign"], message["message_number"]) == (facts.campaign, facts.number)
        assert [each["event_type"] for each in message["events"]] == ["accepted"]


def test_json_is_documented(host: Host, site: Site) -> None:
    facts = site.accepted()
    details = {"status": "failure", "bounce_status": "5.1.1", "bounce_reason": "user_unknown"}
    more = {"outmtaid": "a", "message": "550", "mx_hostname": "mx", "recipients": 2}
    delivery: dict[str, Any] = {**details, **more}
    bounce: dict[str, Any] = {"bounce_type": "h", "bounce_text": "550", "synchronous": False}
    visit: dict[str, Any] = {"is_bot": True, "bot_reason": "agent", "is_privacy_open": True}
    site.write(
        [
            site.event(facts, events.DELIVERY, **delivery),
            site.event(facts, events.BOUNCE, **bounce),
            site.event(facts, events.BOUNCE, synchronous=True),
            site.event(facts, events.COMPLAINT, feedback_type="abuse"),
            site.event(facts, events.UNSUBSCRIBE, html_or_text="h"),
            site.event(facts, events.CLICK, click_url="https://a.example/", **visit),
        ]
    )
    (message,) = host.json("trace", RECIPIENT)["messages"]
    page = (Path(__file__).parents[2] / "docs" / "trace.md").read_text("utf-8")
    documented = set(re.findall(r"`(\w+)`", page.partition("## fletching trace --json")[2]))
    named = {*message, *(name for each in message["events"] for name in each)}
    assert named <= documented
    assert len(named) > 25


def test_newest_messages_first_up_to_the_limit(host: Host, site: Site) -> None:
    for at in range(12):
        site.accepted(f"4F{at:02}")
    shown = host.run("trace", RECIPIENT)
    assert shown.stdout.count("Message ") == 10
    assert shown.stderr == "there are older messages: --limit 20 shows more\n"
    (message,) = host.json("trace", RECIPIENT, "--limit", "1")["messages"]
    assert message["queue_id"] == "4F11"


def test_nothing_found(host: Host) -> None:
    shown = host.run("trace", "nobody@example.org")
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert shown.stderr.startswith("no message of the last 7d (trace_memory) has this address")
    assert host.run("trace", "nobody@example.org", "--json").exit_code == 1


def test_traces_switched_off(host: Host) -> None:
    host.edit("state_dir: state\n", "state_dir: state\ntrace_memory: 0\n")
    shown = host.run("trace", RECIPIENT)
    assert (shown.exit_code, shown.stderr) == (
        1,
        "traces are switched off: trace_memory is 0\n",
    )


def test_redis_unavailable(away: Host) -> None:
    shown = away.run("trace", RECIPIENT)
    assert shown.exit_code == 2
    assert shown.stderr.startswith("redis: does not answer: ")


def test_missing_link_keys(host: Host) -> None:
    (host.folder / "link-keys").unlink()
    shown = host.run("trace", RECIPIENT)
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert "link-keys: " in shown.stderr


def test_texts_from_outside_are_escaped(host: Host, site: Site) -> None:
    facts = site.accepted(warnings=(STEERING,))
    words: dict[str, Any] = {
        "status": "failure",
        "message": f"550 {STEERING}",
        "mx_hostname": STEERING,
    }
    site.write([site.event(facts, events.DELIVERY, **words)])
    shown = in_terminal(host, "trace", RECIPIENT, columns=200)
    assert harmless(shown)
    assert "550 " in shown
