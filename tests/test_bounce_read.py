"""The command `fletching bounce read`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fletching.keys.link_keys import read_link_keys
from fletching.tokens import Facts, Kind

from tests.host import Host
from tests.test_reading import ONE, bounce, feedback, report

FACTS = Facts("a" * 12, 7, "news", "0101", "t100", "id", "joe@a.example", "", 1_795_000_000)
FIELDS = {
    "email", "bounce_type", "bounce_reason", "bounce_status", "bounce_code", "bounce_text",
    "attributed",
}  # fmt: skip


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def read(host: Host, raw: bytes, config: str | None = None) -> dict[str, Any]:
    result = host.run("bounce", "read", "--json", "-", stdin=raw, config=config)
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_json(host: Host) -> None:
    told = read(host, report(f"{ONE}\nDiagnostic-Code: smtp; 550 5.1.1 no such user"))
    assert set(told) == {"file", "kind", "feedback_type", "recipients"}
    assert (told["file"], told["kind"], told["feedback_type"]) == ("-", "bounce", "")
    (recipient,) = told["recipients"]
    assert set(recipient) == FIELDS
    assert recipient == {
        "email": "joe@a.example",
        "bounce_type": "h",
        "bounce_reason": "user_unknown",
        "bounce_status": "5.1.1",
        "bounce_code": 550,
        "bounce_text": "550 5.1.1 no such user",
        "attributed": False,
    }


def test_json_of_a_complaint_has_no_bounce(host: Host) -> None:
    told = read(host, feedback("Feedback-Type: abuse"))
    assert (told["kind"], told["feedback_type"]) == ("complaint", "abuse")
    assert told["recipients"][0]["bounce_type"] is None
    assert told["recipients"][0]["bounce_reason"] is None


def test_forwarded_recipient_has_two_entries(host: Host) -> None:
    told = read(host, report(f"{ONE}\nOriginal-Recipient: rfc822; ann@b.example"))
    assert [each["email"] for each in told["recipients"]] == ["joe@a.example", "ann@b.example"]


def test_token_of_the_returned_message_attributes(host: Host) -> None:
    keys = read_link_keys(host.folder / "link-keys")
    info = f"X-Mailer-Info: {keys.seal(Kind.MAILER_INFO, FACTS)}"
    assert read(host, report(ONE, returned=info))["recipients"][0]["attributed"]
    assert not read(host, report(ONE, returned=f"{info}x"))["recipients"][0]["attributed"]


def test_tag_in_the_address_of_the_mail_attributes(host: Host) -> None:
    tag = read_link_keys(host.folder / "link-keys").tag(FACTS.campaign, FACTS.number)
    raw = bounce("<joe@a.example>: mailbox full", To=f"bounces+{tag}@example.com")
    assert read(host, raw)["recipients"][0]["attributed"]


def test_lines_name_what_decided(host: Host) -> None:
    host.edit(
        "state_dir: state\n",
        'state_dir: state\nbounces: {rules: [{pattern: "/zzz/", reason: spam}]}\n',
    )
    for text, decided in (("zzz", "rule /zzz/"), ("over quota", 'words "over quota" (many)')):
        raw = report(f"{ONE}\nDiagnostic-Code: smtp; 550 {text}")
        result = host.run("bounce", "read", "-", stdin=raw)
        assert result.stdout.splitlines()[:2] == [
            "-: bounce, not attributed",
            "  recipient    joe@a.example",
        ]
        assert f"    decided by {decided}" in result.stdout.splitlines()


def test_no_configuration_is_needed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner
    from fletching.cli.main import main

    monkeypatch.delenv("FLETCHING_CONFIG", raising=False)
    result = CliRunner().invoke(main, ["bounce", "read", "-"], input=report(ONE))
    assert result.exit_code == 0
    assert "user_unknown" in result.stdout


def test_configuration_that_is_named_must_exist(host: Host) -> None:
    result = host.run("bounce", "read", "-", stdin=report(ONE), config="/nonexistent/file")
    assert result.exit_code == 2


def test_unreadable_file_is_an_error_and_the_others_are_read(host: Host) -> None:
    file = host.folder / "bounce.eml"
    file.write_bytes(report(ONE))
    result = host.run("bounce", "read", "--json", str(host.folder / "missing"), str(file))
    assert result.exit_code == 1
    assert "missing: No such file or directory" in result.stderr
    assert json.loads(result.stdout)["file"] == str(file)


def test_control_characters_of_a_mail_do_not_reach_the_terminal(host: Host) -> None:
    raw = report(f"{ONE}\nDiagnostic-Code: smtp; 550 \x1b[2Jno\u202euser")
    result = host.run("bounce", "read", "-", stdin=raw)
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout
