"""The commands about one mail: preview, explain, token."""

from __future__ import annotations

import base64
import json
import os
import pty
import quopri
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fletching.admin.dkim_verify import NOT_TRIED, objection
from fletching.config.load import load
from fletching.keys.dkim_keys import dkim_record, read_dkim_keys
from fletching.keys.link_keys import read_link_keys
from fletching.store.suppression import BY_HAND, REASONS
from fletching.tokens import Facts, Kind

from tests.host import NOW, Host
from tests.setting import NEWSLETTER


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


# preview.

PREVIEW = {
    "verdict", "reply", "mail_from", "transport", "virtual_mta", "mail_class", "instance_id",
    "sendid", "listid", "campaign", "message_number", "warnings", "edits", "message",
}  # fmt: skip


def test_preview(host: Host) -> None:
    result = host.run("preview", str(host.mail), "--now", NOW)
    assert result.exit_code == 0
    assert result.stderr == ""
    raw = result.stdout_bytes
    assert raw.count(b"\n") == raw.count(b"\r\n") > 20
    assert b"X-GreenArrow" not in raw
    assert raw.startswith(b"DKIM-Signature:")


def test_preview_json(host: Host) -> None:
    told = host.json("preview", str(host.mail), "--now", NOW)
    assert set(told) == PREVIEW
    assert told["verdict"] == "accept"
    assert told["reply"] is None
    assert told["mail_from"].startswith("bounces+")
    assert told["mail_from"].endswith("@example.com")
    assert (told["transport"], told["virtual_mta"]) in (("vmta-a", "a"), ("vmta-b", "b"))
    assert told["mail_class"] == "newsletter"
    assert told["instance_id"] == "100525"
    assert told["sendid"] == "newsletter100525"
    assert told["listid"] == "t100"
    assert told["campaign"] == "preview"
    assert told["message_number"] == 1
    assert told["warnings"] == []
    plain = host.run("preview", str(host.mail), "--now", NOW).stdout_bytes
    assert base64.b64decode(told["message"]) == plain


def test_preview_reads_stdin(host: Host) -> None:
    piped = host.run("preview", "-", "--now", NOW, stdin=NEWSLETTER.replace("\n", "\r\n").encode())
    assert piped.stdout_bytes == host.run("preview", str(host.mail), "--now", NOW).stdout_bytes


def test_preview_of_a_refused_mail(host: Host) -> None:
    host.mail.write_text("X-GreenArrow-MailClass: crm\nX-GreenArrow-InstanceID: x\n\n")
    result = host.run("preview", str(host.mail))
    assert result.exit_code == 1
    assert result.stdout == ""
    reply = "550 5.6.0 X-GreenArrow-InstanceID: must start with a digit"
    assert result.stderr == f"{reply}\n"
    result = host.run("preview", str(host.mail), "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert set(told) == PREVIEW
    assert (told["verdict"], told["reply"]) == ("reject", reply)
    assert told["message"] == "", "it does not leave"


def test_preview_of_a_deferred_message(host: Host) -> None:
    host.run("mta", "pause", "a")
    host.run("mta", "pause", "b")
    result = host.run("preview", str(host.mail), "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["verdict"] == "tempfail"
    assert told["reply"].startswith("451 4.3.0 ")
    assert told["reply"] in result.stderr


def test_preview_of_an_empty_message(host: Host) -> None:
    for raw in (b"", b"\n", b"\xff\0", b"Subject: \xff\n\n\xff"):
        result = host.run("preview", "-", "--json", stdin=raw)
        assert result.exit_code == 0
        assert json.loads(result.stdout)["edits"] == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), {"mail_from": "bounces@example.com"}),
        (("--from", "app@example.org"), {"mail_from": "bounces@example.com"}),
        (("--from", "<>"), {"mail_from": ""}),
        (("--from", ""), {"mail_from": ""}),
        (("--auth", "crm"), {"mail_class": "crm", "virtual_mta": None}),
        (("--client", "198.51.100.7"), {"mail_class": None, "mail_from": "news@example.com"}),
        (("--client", "198.51.100.7", "--auth", "x"), {"mail_class": "newsletter"}),
        (("--client", "::1"), {"mail_class": "newsletter"}),
    ],
)
def test_sender_login_and_client_options(
    options: tuple[str, ...], told: dict[str, Any], host: Host
) -> None:
    host.edit("link_keys:", "verp: false\nlink_keys:")
    found = host.json("preview", str(host.mail), *options)
    assert {name: found[name] for name in told} == told


def recorded(host: Host, *options: str) -> str:
    raw = host.run("preview", str(host.mail), *options).stdout_bytes
    (field,) = re.findall(rb"(?m)^X-Mailer-Info:[^\n]*\n(?:[ \t][^\n]*\n)*", raw)
    return str(host.json("token", field.decode().strip())["email"])


def test_recipient_options(host: Host) -> None:
    assert recorded(host) == "reader@example.org"
    assert recorded(host, "--rcpt", "other@example.org") == "other@example.org"
    assert recorded(host, "--rcpt", "<other@example.org>") == "other@example.org"
    assert recorded(host, "--rcpt", "a@example.org", "--rcpt", "b@example.org") == ""
    host.mail.write_text(NEWSLETTER.replace("To: ", "To: Bob <b@example.org>, "))
    assert recorded(host) == ""
    host.mail.write_text(NEWSLETTER.replace("To: ", "X-To: "))
    assert recorded(host) == "recipient@example.com"


@pytest.mark.parametrize(
    "options",
    [
        ("--now", "yesterday"),
        ("--now", "2026-03-01"),
        ("--now", "2026-03-01T09:00:00"),
        ("--now", "1969-12-31T23:59:59Z"),
        ("--now", "9999-12-31T23:59:59Z"),
        ("--now", "0001-01-01T00:00:00+14:00"),
        ("--now", ""),
        ("--client", "localhost"),
        ("--client", ""),
        ("--rcpt", ""),
        ("--rcpt", "<>"),
        ("--nosuch",),
        ("another.eml",),
    ],
)
@pytest.mark.parametrize("command", ["preview", "explain"])
def test_wrong_usage(command: str, options: tuple[str, ...], host: Host) -> None:
    result = host.run(command, str(host.mail), *options)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("now", "sendid"),
    [
        ("2026-03-01T09:00:00Z", "crm260301"),
        ("2026-03-01T23:30:00+00:00", "crm260302"),
        ("2026-03-01t23:30:00.123456789z", "crm260302"),
        ("2026-03-01 23:30:00Z", "crm260302"),
        ("2026-03-02T12:00:00+14:00", "crm260301"),
    ],
)
def test_now_option(now: str, sendid: str, host: Host) -> None:
    host.edit("state_dir:", "timezone: Europe/Berlin\nstate_dir:")
    host.mail.write_text("From: a@example.com\nX-GreenArrow-MailClass: crm\n\n")
    assert host.json("preview", str(host.mail), "--now", now)["sendid"] == sendid


def test_message_file_that_does_not_exist(host: Host) -> None:
    for name in ("nosuch.eml", "."):
        result = host.run("preview", str(host.folder / name))
        assert result.exit_code == 2
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "sender",
    [
        pytest.param("(" * 1200 + ")" * 1200 + " Shop <shop@example.com>", id="closed"),
        pytest.param("Shop <shop@example.com> " + "(" * 1200, id="open"),
        pytest.param("<" * 1200 + "shop@example.com", id="brackets"),
    ],
)
@pytest.mark.parametrize("command", ["preview", "explain"])
def test_deeply_nested_address_field(command: str, sender: str, host: Host) -> None:
    host.edit("link_keys:", "verp: false\nlink_keys:")
    raw = f"From: {sender}\nTo: {sender.replace('shop@', 'a@')}\n\nHello.\n"
    result = host.run(command, "-", "--json", stdin=raw.encode())
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout)["mail_from"] == "shop@example.com"


SUPPRESSED = "550 5.7.1 the recipient is suppressed for this list"


@pytest.mark.parametrize("reason", [*REASONS.values(), BY_HAND])
@pytest.mark.parametrize(
    ("suppress", "status", "verdict", "reply", "warned"),
    [
        ("refuse", 1, "reject", SUPPRESSED, False),
        ("report", 0, "accept", None, True),
        ("off", 0, "accept", None, False),
    ],
)
@pytest.mark.parametrize("command", ["preview", "explain"])
def test_a_suppressed_recipient(
    command: str,
    suppress: str,
    status: int,
    verdict: str,
    reply: str | None,
    warned: bool,
    reason: str,
    host: Host,
) -> None:
    host.edit("link_keys:", f"suppress: {suppress}\nlink_keys:")
    result = host.run(command, str(host.mail), "--suppressed", reason, "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["verdict"], told["reply"]) == (status, verdict, reply)
    assert told["warnings"] == ([f"suppressed: {reason}"] if warned else [])


def test_explain_says_that_the_recipient_is_suppressed(host: Host) -> None:
    host.edit("link_keys:", "suppress: refuse\nlink_keys:")
    result = host.run("explain", str(host.mail), "--suppressed", "complained")
    assert result.stdout.startswith(f"reject: {SUPPRESSED}\n")


@pytest.mark.parametrize(
    ("suppressed", "status", "removed"),
    [
        (["a@example.org=complained"], 0, ["a@example.org"]),
        (["A@Example.org=by_hand", "c@example.org=complained"], 0, ["a@example.org"]),
        (["a@example.org=by_hand", "b@example.org=complained"], 1, []),
        (["unsubscribed"], 1, []),
        ([], 0, []),
    ],
)
def test_suppressed_recipients_of_several(
    suppressed: list[str], status: int, removed: list[str], host: Host
) -> None:
    host.edit("link_keys:", "suppress: refuse\nlink_keys:")
    words = [word for each in suppressed for word in ("--suppressed", each)]
    to = ("--rcpt", "a@example.org", "--rcpt", "b@example.org")
    result = host.run("preview", str(host.mail), "--json", *to, *words)
    told = json.loads(result.stdout)
    assert (result.exit_code, told["reply"]) == (status, SUPPRESSED if status else None)
    found = [each["address"] for each in told["edits"] if each["edit"] == "remove_recipient"]
    assert found == removed
    assert ("suppressed recipients removed: 1" in told["warnings"]) == bool(removed)
    assert ("remove recipient" in host.run("explain", str(host.mail), *to, *words).stdout) == (
        bool(removed)
    )


@pytest.mark.parametrize("wrong", ["", "bored", "a@example.org", "a@example.org=", "=bored"])
def test_suppressed_needs_a_reason(wrong: str, host: Host) -> None:
    result = host.run("preview", str(host.mail), "--suppressed", wrong)
    assert result.exit_code == 2
    assert "REASON must be one of unsubscribed, complained, bad_address, by_hand" in result.stderr


# explain.


def test_explain(host: Host) -> None:
    result = host.run("explain", str(host.mail), "--now", NOW)
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 120
    for said in (
        "accept: newsletter100525, message 1 of campaign preview, routed to ",
        "X-GreenArrow-MailClass",
        "class newsletter",
        "http://www.example.org/a?x=1&y=2",
        "unsubscribe",
        "change sender",
        "bounces+",
        "replace body",
        " bytes",
    ):
        assert said in result.stdout


def test_explain_json(host: Host) -> None:
    told = host.json("explain", str(host.mail))
    more = {"trusted", "decisions", "removed", "parts", "signatures", "lint", "offers"}
    assert set(told) == (PREVIEW - {"message"}) | more
    assert {"setting": "mail_class", "value": "newsletter", "source": "X-GreenArrow-MailClass"} in (
        told["decisions"]
    )
    assert {each["setting"] for each in told["offers"]} >= {"mail_class", "list_id", "verp"}
    text, page = told["parts"]
    assert text["content_type"] == "text/plain"
    assert text["left_alone"] is None
    assert [link["reason"] for link in text["links"]] == ["click", "unsubscribe"]
    assert page["links"] == [
        {"url": "http://www.example.org/a?x=1&y=2", "rewritten": True, "reason": "click"}
    ]
    assert len(told["removed"]) == 3


def test_explain_what_is_left_alone_and_warned_of(host: Host) -> None:
    host.mail.write_text(
        "X-GreenArrow-MailClass: newsletter\nX-GreenArrow-Foo: \x1b[31m\nFrom: a@\x1b[31m.example\n"
        "Content-Type: text/html; charset=x-unknown\n\n<p>"
    )
    result = host.run("explain", str(host.mail))
    assert "warning: X-GreenArrow-Foo: unknown control header" in result.stdout
    assert "text/html: unknown charset" in result.stdout
    assert "\x1b" not in result.stdout


def test_explain_unclosed_html(host: Host) -> None:
    host.mail.write_text(
        "X-GreenArrow-MailClass: newsletter\nContent-Type: text/html\n\n<p><a href='http://x/"
    )
    reason = "no open pixel: the HTML ends inside a tag, a comment or an element such as style"
    shown = host.run("explain", str(host.mail)).stdout
    assert f"warning: not tracked: {reason}" in shown
    assert f"Message: {reason}" in shown
    assert f"not tracked: {reason}" in host.json("explain", str(host.mail))["warnings"]


@pytest.mark.parametrize(
    ("field", "options", "said"),
    [
        ("Subject: x", (), "accept: no changes"),
        ("X-GreenArrow-InstanceID: 1", (), "accept: no Mail Class"),
        ("X-GreenArrow-MailClass: crm", (), "routed by Postfix"),
        ("X-GreenArrow-MailClass: crm", ("--client", "198.51.100.7"), "client is not trusted"),
    ],
)
def test_explain_in_one_line(field: str, options: tuple[str, ...], said: str, host: Host) -> None:
    host.mail.write_text(f"{field}\n\n")
    assert said in host.run("explain", str(host.mail), *options).stdout


def test_explain_verifies_its_signatures(host: Host) -> None:
    told = host.json("explain", str(host.mail))
    assert told["signatures"] == [
        {"domain": "example.com", "selector": "r1", "verified": True, "reason": None}
    ]
    shown = host.run("explain", str(host.mail)).stdout
    assert "DKIM signature r1 of example.com: verifies\n" in shown


def test_a_changed_mail_does_not_verify(host: Host) -> None:
    raw = host.run("preview", str(host.mail)).stdout_bytes
    (entry,) = load(host.config).dkim.keys
    record = dkim_record(read_dkim_keys([entry])[0]).encode()
    assert objection(raw, 0, record) == ""
    assert objection(raw + b"more\r\n", 0, record).startswith("ValidationError: body hash mismatch")
    assert objection(raw.replace(b"Offers", b"Other"), 0, record)
    assert objection(raw, 1, record)


@pytest.mark.parametrize("run", [" " * 100_000 + "x", (" " * 5000 + "x") * 20])
def test_dkimpy_is_not_given_quadratic_messages(run: str, host: Host) -> None:
    octets = f"From: a@example.com\r\n\r\n{run}\r\n".encode()
    assert objection(octets, 0, b"") == NOT_TRIED


def test_explain_parts(host: Host) -> None:
    host.mail.write_text(
        "X-GreenArrow-MailClass: newsletter\nMIME-Version: 1.0\n"
        "Content-Type: multipart/mixed; boundary=b1\n\n--b1\n\nno link\n"
        "--b1\n\nhttp://example.org/ mailto:x ftp://example.org/\n--b1--\n"
    )
    shown = host.run("explain", str(host.mail)).stdout
    assert "text/plain: no links" in shown
    assert "text/plain: 1 of 1 links rewritten" in shown
    assert "Message: no open pixel: no HTML part may be changed" in shown


def test_explain_a_body_that_is_not_rewritten(host: Host) -> None:
    host.edit("link_keys:", "max_rewrite_size: 1\nlink_keys:")
    host.mail.write_text(
        "X-GreenArrow-MailClass: newsletter\nX-GreenArrow-Click-Tracking-Do: no\n"
        "Content-Type: text/html\n\n"
        '<a href="http://example.org/1">1</a><a href="##unsubscribetag##http://example.org/2">2</a>'
        '<a href="mailto:x@example.org">3</a>\n'
    )
    (part,) = host.json("explain", str(host.mail))["parts"]
    assert [(link["rewritten"], link["reason"]) for link in part["links"]] == [
        (False, "body not rewritten"),
        (False, "body not rewritten"),
        (False, "scheme mailto"),
    ]


def test_explain_a_second_pass(host: Host) -> None:
    first = host.run("preview", str(host.mail)).stdout_bytes
    told = host.run("explain", "-", stdin=first)
    assert told.stdout.startswith("accept: already processed; routed to ")


def test_explain_a_refused_mail(host: Host) -> None:
    host.mail.write_text("X-GreenArrow-MailClass: crm\nX-GreenArrow-InstanceID: x\n\n")
    result = host.run("explain", str(host.mail))
    assert result.exit_code == 1
    assert "reject: 550 5.6.0 X-GreenArrow-InstanceID: must start with a digit" in result.stdout
    assert "Edits" not in result.stdout


# token.

TOKEN = {
    "kind", "click_url", "html_or_text", "email", "listid", "sendid", "click_tracking_id",
    "mail_class", "instance_id", "campaign", "message_number", "mtaid", "sent", "is_seed", "key",
}  # fmt: skip


def links(host: Host) -> list[str]:
    raw = host.run("preview", str(host.mail), "--now", NOW).stdout_bytes
    return re.findall(
        r"https://click\.example\.com/[^\s\"<>]+", quopri.decodestring(raw).decode("latin-1")
    )


def test_token(host: Host) -> None:
    told = [host.json("token", link) for link in links(host)]
    assert {each["kind"] for each in told} == {"click", "open", "unsub", "list-unsubscribe"}
    for each in told:
        assert set(each) == TOKEN
        assert each["email"] == "reader@example.org"
        assert each["sendid"] == "newsletter100525"
        assert each["sent"] == "2026-03-01T09:00:00Z"
        assert each["click_tracking_id"] == "order-4711"
        assert each["key"] == 2
    assert {each["click_url"] for each in told} == {
        "",
        "http://www.example.org/a",
        "http://www.example.org/a?x=1&y=2",
        "https://example.org/bye",
    }


def test_token_of_a_return_path(host: Host) -> None:
    path = host.json("preview", str(host.mail))["mail_from"]
    for written in (
        path,
        f"<{path}>",
        path.upper(),
        path.replace("@example.com", "@other.example"),
    ):
        told = host.json("token", written)
        assert told == {"kind": "return-path", "campaign": "preview", "message_number": 1}


@pytest.mark.parametrize(
    "setting", ["recipient_delimiter: '-'", "recipient_delimiter: '='", "route_by: sender",
                "route_by: sender\nrecipient_delimiter: '-'"]
)  # fmt: skip
def test_token_of_other_return_paths(setting: str, host: Host) -> None:
    host.edit("link_keys:", f"{setting}\nlink_keys:")
    path = host.json("preview", str(host.mail))["mail_from"]
    assert host.json("token", path)["campaign"] == "preview"


def test_token_as_text(host: Host) -> None:
    result = host.run("token", links(host)[0])
    assert result.exit_code == 0
    assert "email              reader@example.org\n" in result.stdout
    assert "kind               " in result.stdout


STEERING = "\x1b[31m\x9b2J\x07\u202e[red]"


def in_terminal(host: Host, *words: str) -> str:
    """What a command prints on a terminal."""
    ours, its = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "fletching", *words, "--config", str(host.config)],
        # Without the bold titles of tables.
        env={**os.environ, "TERM": "dumb"},
        stdin=subprocess.DEVNULL,
        stdout=its,
        stderr=its,
    ) as running:
        os.close(its)
        seen = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:
                # So Linux says that the other end is closed.
                break
            if not piece:
                break
            seen += piece
        os.close(ours)
    assert running.returncode == 0
    return seen.decode()


def test_control_characters_of_a_destination_are_escaped(host: Host) -> None:
    keys = read_link_keys(host.folder / "link-keys")
    facts = Facts("c" * 12, 7, "news", "1", STEERING, STEERING, STEERING, "", 1_795_000_000)
    token = keys.seal(Kind.CLICK_HTML, facts, f"https://example.com/{STEERING}")
    result = host.run("token", token)
    assert result.exit_code == 0
    for name in ("click_url", "email", "listid", "click_tracking_id"):
        (line,) = (each for each in result.stdout.splitlines() if each.split()[0] == name)
        assert line.endswith("\\x1b[31m\\x9b2J\\x07\\u202e[red]")
    assert result.stdout.replace("\n", "").isprintable()
    assert host.json("token", token)["click_url"] == f"https://example.com/{STEERING}"


@pytest.mark.parametrize("command", ["preview", "explain"])
def test_control_characters_of_a_message_are_escaped(command: str, host: Host) -> None:
    host.mail.write_text(
        f"From: a@example.com\nSubject: {STEERING}\nX-GreenArrow-MailClass: newsletter\n"
        f"X-GreenArrow-{STEERING}: {STEERING}\nContent-Type: text/html; charset=utf-8\n\n"
        f"<a href='http://example.org/{STEERING}'>x</a>\n"
    )
    shown = in_terminal(host, command, str(host.mail))
    assert shown.replace("\r\n", "").isprintable()
    if command == "preview":
        piped = host.run(command, str(host.mail)).stdout_bytes
        assert f"Subject: {STEERING}".encode() in piped


@pytest.mark.parametrize(
    "text", ["", "x", "https://click.example.com/click?x", "bounces+x@example.com", "b@example.com",
             "A" * 5000, "bounces+ajk3ca6tcvruacaaaaabpreview@example.com", "ü"]
)  # fmt: skip
def test_invalid_token_is_reported(text: str, host: Host) -> None:
    result = host.run("token", text)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("invalid token: ")
