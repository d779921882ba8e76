"""`fletching lint`, and its line in `fletching explain`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.host import NOW, Host
from tests.test_lint import GOOD

SUBMITTED = "X-GreenArrow-MailClass: newsletter\n" + GOOD.replace(
    "List-Unsubscribe", "X-Was-List-Unsubscribe"
).replace("https://click.example.com/unsub?x", "##unsubscribetag##https://example.com/bye")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    host = Host(tmp_path)
    host.mail.write_text(SUBMITTED)
    return host


def rules(found: dict[str, Any]) -> list[str]:
    return [each["rule"] for each in found["findings"]]


def change(host: Host, old: str, new: str) -> None:
    text = host.mail.read_text()
    assert old in text
    host.mail.write_text(text.replace(old, new))


def test_submitted_mail_is_judged_as_it_would_leave(host: Host) -> None:
    """It gets its signature, List-Unsubscribe and return path first."""
    result = host.run("lint", str(host.mail), "--now", NOW)
    assert (result.exit_code, result.output) == (0, "")
    found = host.json("lint", str(host.mail))
    assert found == {
        "judged": "as it would leave", "errors": 0, "warnings": 0, "infos": 0, "findings": []
    }  # fmt: skip


def test_findings_are_lines_and_errors_are_the_exit_status(host: Host) -> None:
    change(host, "Subject: Offers of the week\n", "")
    result = host.run("lint", str(host.mail))
    assert result.exit_code == 0
    assert result.stdout.startswith("warning: subject-empty: no Subject field. Write a Subject. [")
    change(host, "<news@example.com>", "<news@example.com>, b@example.com")
    result = host.run("lint", str(host.mail))
    assert result.exit_code == 1
    assert [line.split(":")[1] for line in result.stdout.splitlines()] == [
        " from-invalid",
        " subject-empty",
    ]


def test_json_has_rule_cure_and_sources(host: Host) -> None:
    change(host, "<news@example.com>", "<news@example.com>, b@example.com")
    found = host.json("lint", str(host.mail))
    assert (found["errors"], found["warnings"], found["infos"]) == (1, 0, 0)
    (finding,) = found["findings"]
    assert {key: finding[key] for key in ("rule", "severity", "text")} == {
        "rule": "from-invalid",
        "severity": "error",
        "text": "From has 2 addresses, not one",
    }
    assert finding["sources"][0]["by"] == "Gmail"


def test_mail_that_fletching_sent_is_judged_as_it_is(host: Host, tmp_path: Path) -> None:
    sent = tmp_path / "sent.eml"
    preview = host.run("preview", str(host.mail), "--now", NOW)
    sent.write_bytes(b"Return-Path: <bounces@example.com>\r\n" + preview.stdout_bytes)
    found = host.json("lint", str(sent))
    assert (found["judged"], found["findings"]) == ("as it is", [])
    # Its signature is verified with the key of this configuration.
    sent.write_bytes(sent.read_bytes().replace(b"three coats", b"four coats"))
    found = host.json("lint", str(sent))
    assert rules(found) == ["dkim-invalid", "dkim-not-aligned"]


def test_sent_mail_of_others_is_judged_as_it_is(host: Host, tmp_path: Path) -> None:
    sent = tmp_path / "sent.eml"
    field = "DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=other; bh=x; b=y; h=from"
    sent.write_text(f"Return-Path: <b@example.net>\n{field}\n{GOOD}")
    found = host.json("lint", "--sent", str(sent))
    assert found["judged"] == "as it is"
    assert rules(found) == [
        "unsubscribe-not-signed",
        "dkim-not-verified",
        "return-path-not-aligned",
    ]
    found = host.json("lint", "--sent", "--from", "b@example.com", str(sent))
    assert rules(found) == ["unsubscribe-not-signed", "dkim-not-verified"]
    assert host.json("lint", str(sent))["judged"] == "as it would leave"


def test_refused_mail_is_not_judged(host: Host) -> None:
    change(host, "MailClass: newsletter", "MailClass: crm\nX-GreenArrow-InstanceID: x")
    result = host.run("lint", str(host.mail), "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("550 5.6.0 X-GreenArrow-InstanceID")


def test_tracked_links_are_judged_by_their_destination(host: Host) -> None:
    change(host, "https://example.com/coats", "https://bit.ly/coats")
    assert rules(host.json("lint", str(host.mail))) == ["link-shortener"]


def test_visible_address_that_is_tracked(host: Host) -> None:
    change(host, "https://example.com/coats", "https://www.example.org/coats")
    change(host, ">Coats<", ">www.example.org/coats<")
    assert rules(host.json("lint", str(host.mail))) == []
    host.edit("state_dir: state", "state_dir: state\npreserve_visible_urls: false")
    assert rules(host.json("lint", str(host.mail))) == ["link-tracked-address"]


def test_transactional_class(host: Host) -> None:
    host.edit("newsletter: {", "newsletter: {list_unsubscribe: false, ")
    assert rules(host.json("lint", str(host.mail))) == ["unsubscribe-off"]


def test_reason_of_a_missing_field_is_given(host: Host) -> None:
    """A mail to two recipients cannot have the link of one."""
    words = ("lint", str(host.mail), "--rcpt", "a@example.org", "--rcpt", "b@example.org")
    (finding,) = host.json(*words)["findings"]
    assert finding["rule"] == "unsubscribe-missing"
    assert finding["text"] == "no List-Unsubscribe: needs exactly one recorded recipient"


def test_signing_by_another_program(host: Host) -> None:
    host.edit("dkim: {", "dkim: {enabled: false, ")
    assert rules(host.json("lint", str(host.mail))) == ["dkim-elsewhere"]


def test_text_from_the_mail_cannot_steer_the_terminal(host: Host) -> None:
    change(host, ">Coats<", ">www.\x1b[31mred.example<")
    change(host, "Subject: ", "X-\u00ff\u009b2J: a\nSubject: ")
    result = host.run("lint", str(host.mail))
    assert all(c.isprintable() for c in result.stdout.replace("\n", ""))


def test_explain_counts_the_findings(host: Host) -> None:
    change(host, "<news@example.com>", "<news@example.com>, b@example.com")
    change(host, "Subject: Offers of the week\n", "")
    assert host.json("explain", str(host.mail))["lint"] == {"errors": 1, "warnings": 1, "infos": 0}
    shown = host.run("explain", str(host.mail)).stdout
    assert "Demands of mailbox providers: errors: 1, warnings: 1 (run fletching lint)" in shown
    change(host, "MailClass: newsletter", "MailClass: crm\nX-GreenArrow-InstanceID: x")
    explanation = json.loads(host.run("explain", str(host.mail), "--json").stdout)
    assert explanation["lint"] is None


def test_command_without_a_mail_is_wrong_usage(host: Host) -> None:
    assert host.run("lint").exit_code == 2
    assert host.run("lint", "--help").exit_code == 0
