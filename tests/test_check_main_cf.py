"""`fletching check --postfix`: what main.cf sets twice, and a main.cf that a change left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from fletching.checks.all import Finding, Level, check
from fletching.config.load import parse
from fletching.config.model import Config
from fletching.postfix.postconf import look_up
from fletching.postfix.settings import pieces

from tests.postfix_files import PostfixFiles

LISTEN = "unix:/var/spool/postfix/fletching/milter.sock"
BASE = "redis: embedded\nvirtual_mtas: {a: {transport: vmta-a}}\n"
RSPAMD = "inet:localhost:11332"


def config(listen: str = LISTEN, text: str = "") -> Config:
    return parse(f"listen: {listen}\n{BASE}{text}".encode(), Path("/etc/fletching/fletching.yaml"))


def checked(files: PostfixFiles, settings: Config) -> list[Finding]:
    files.let_rest()
    return check(settings, postfix=True, postconf_command=files.postconf)


def overridden(files: PostfixFiles, settings: Config) -> list[tuple[str, str]]:
    """Line and text of each finding about main.cf."""
    found = [each for each in checked(files, settings) if each.place.startswith(str(files.main_cf))]
    assert {each.level for each in found} <= {Level.ERROR}
    return [(each.place.rpartition(":")[2], each.text) for each in found]


@pytest.mark.parametrize(
    ("earlier", "line", "cure"),
    [
        (f"smtpd_milters = {RSPAMD}\n", "3", f"smtpd_milters = {RSPAMD}, $fletching_milter"),
        (f"smtpd_milters={RSPAMD}\n", "3", f"smtpd_milters = {RSPAMD}, $fletching_milter"),
        (f"smtpd_milters =\n  {RSPAMD},\n\tunix:opendkim/s\n", "3",
         f"smtpd_milters = {RSPAMD}, unix:opendkim/s, $fletching_milter"),
        (f"# a comment\nsmtpd_milters =\n# within\n  {RSPAMD}\n", "4",
         f"smtpd_milters = {RSPAMD}, $fletching_milter"),
        (f"non_smtpd_milters = {RSPAMD}\n", "3",
         f"non_smtpd_milters = {RSPAMD}, $fletching_milter"),
        ("milter_header_checks = pcre:/etc/postfix/mine\n", "3",
         "milter_header_checks = pcre:/etc/postfix/mine,"
         " regexp:$config_directory/milter_header_checks"),
        ("milter_default_action = accept\n", "3", "milter_default_action = tempfail"),
    ],
)  # fmt: skip
def test_earlier_line_that_ours_overrides(
    tmp_path: Path, earlier: str, line: str, cure: str
) -> None:
    files = PostfixFiles(tmp_path / "postfix")
    files.main_cf.write_text(files.main_cf.read_text() + earlier)
    files.add(pieces(config()))
    ((number, text),) = overridden(files, config())
    assert (number, text.endswith(cure)) == (line, True), text


@pytest.mark.parametrize(
    "earlier",
    [
        "smtpd_milters =\n",
        "smtpd_milters = $fletching_milter\n",
        f"# smtpd_milters = {RSPAMD}\n",
        f"smtpd_milter_maps = {RSPAMD}\n",
        "mynetworks = 127.0.0.0/8\nmynetworks = 127.0.0.1\n",
    ],
)
def test_earlier_line_that_loses_nothing(tmp_path: Path, earlier: str) -> None:
    files = PostfixFiles(tmp_path / "postfix")
    files.main_cf.write_text(files.main_cf.read_text() + earlier)
    files.add(pieces(config()))
    assert overridden(files, config()) == []


def test_later_line_that_overrides_ours(tmp_path: Path) -> None:
    files = PostfixFiles(tmp_path / "postfix")
    files.add(pieces(config()))
    files.main_cf.write_text(f"{files.main_cf.read_text()}smtpd_milters = {RSPAMD}\n")
    ((_, text),) = overridden(files, config())
    assert text.endswith(f"smtpd_milters = {RSPAMD}, $fletching_milter"), "who signs comes last"


def test_map_of_senders_that_ours_overrides(tmp_path: Path) -> None:
    by_sender = config(text="route_by: sender\n")
    parameter = "sender_dependent_default_transport_maps"
    files = PostfixFiles(tmp_path / "postfix")
    files.main_cf.write_text(f"{files.main_cf.read_text()}{parameter} = hash:/etc/postfix/mine\n")
    files.add(pieces(by_sender))
    ((_, text),) = overridden(files, by_sender)
    assert f"{parameter} = hash:/etc/postfix/mine, regexp:" in text


# main.cf was made for another listen


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (LISTEN, "unix:/var/spool/postfix/fletching/other.sock"),
        (LISTEN, "inet:8899@127.0.0.1"),
        ("inet:8899@127.0.0.1", "inet:8898@127.0.0.1"),
        ("inet6:8899@[::1]", LISTEN),
    ],
)
@pytest.mark.parametrize(
    ("action", "happens"),
    [
        ("tempfail", "mail gets 451"),
        ("accept", "mail bypasses Fletching"),
        ("reject", "mail is permanently refused"),
    ],
)
def test_main_cf_with_an_outdated_listen_socket(
    tmp_path: Path, before: str, after: str, action: str, happens: str
) -> None:
    files = PostfixFiles(tmp_path / "postfix")
    files.add(pieces(config(before)))
    text = files.main_cf.read_text()
    files.main_cf.write_text(text.replace("default_action=tempfail", f"default_action={action}"))
    found = [each for each in checked(files, config(after)) if "smtpd_milters" in each.place]
    assert [each.place for each in found] == [
        "smtp/inet smtpd_milters",
        "submission/inet smtpd_milters",
        "smtpd_milters",
        "non_smtpd_milters",
    ]
    for finding in (*found[:2], found[3]):
        assert finding.level is Level.ERROR
        assert happens in finding.text
        assert "set fletching_milter in main.cf to" in finding.text
    assert not any("bypasses Fletching" in each.text for each in found) or action == "accept"


@pytest.mark.parametrize("character", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_only_lf_ends_a_line(tmp_path: Path, character: str) -> None:
    files = PostfixFiles(tmp_path / "postfix")
    before = f"# before{character}smtpd_milters = {RSPAMD}\n"
    files.main_cf.write_text(files.main_cf.read_text() + before, "utf-8")
    files.add(pieces(config()))
    assert overridden(files, config()) == []


@pytest.mark.parametrize("character", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_a_table_may_have_any_text(tmp_path: Path, character: str) -> None:
    files = PostfixFiles(tmp_path / "postfix")
    table = tmp_path / "table"
    table.write_text(f"/^a$/ REJECT one{character}two\n", "utf-8")
    assert look_up(files.postconf, f"regexp:{table}", ["a"]) == {"a": f"REJECT one{character}two"}
