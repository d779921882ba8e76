"""`fletching check --postfix`, on configuration directories that Postfix's commands read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fletching.checks.all import Finding, Level, check
from fletching.config.load import parse
from fletching.config.model import Config
from fletching.postfix import postconf
from fletching.postfix.one_recipient import one_recipient
from fletching.postfix.settings import pieces

from sandbox.processes import program
from tests.postfix_files import PostfixFiles

SOCKET = "unix:/var/spool/postfix/fletching/milter.sock"
BASE = """
redis: embedded
bounce_mailbox: bounces@example.com
virtual_mtas:
  a: {transport: vmta-a}
  b: {transport: vmta-b}
  bulk: {pool: {a: 3, b: 1}}
"""


def config(text: str = "", listen: str = SOCKET) -> Config:
    whole = f"listen: {listen}\n{BASE}{text}\n"
    return parse(whole.encode(), Path("/etc/fletching/fletching.yaml"))


@pytest.fixture
def files(tmp_path: Path) -> PostfixFiles:
    """A Postfix that is set up as `fletching postfix` says."""
    files = PostfixFiles(tmp_path / "postfix")
    files.add(pieces(config()))
    return files


def troubles(files: PostfixFiles, settings: Config) -> list[Finding]:
    """What is not ok about Postfix."""
    files.let_rest()
    findings = check(settings, postfix=True, postconf_command=files.postconf)
    ours = {"redis", "state_dir", "dkim.keys", "listen"}
    return [each for each in findings if each.level is not Level.OK and each.place not in ours]


def placed(found: list[Finding]) -> list[tuple[Level, str]]:
    return [(each.level, each.place) for each in found]


def both(level: Level, parameter: str) -> list[tuple[Level, str]]:
    """The same about the two services of this Postfix."""
    return [(level, f"{service} {parameter}") for service in ("smtp/inet", "submission/inet")]


def everywhere(level: Level, parameter: str) -> list[tuple[Level, str]]:
    """The same about them, and about mail from sendmail(1)."""
    return [*both(level, parameter), (level, f"cleanup/unix {parameter}")]


def test_what_we_print_is_right(files: PostfixFiles) -> None:
    files.let_rest()
    findings = check(config(), postfix=True, postconf_command=files.postconf)
    assert [str(each) for each in findings if each.place != "listen"][-5:] == [
        "ok: smtp/inet smtpd_milters: configured, default_action=tempfail",
        "ok: submission/inet smtpd_milters: configured, default_action=tempfail",
        "ok: non_smtpd_milters: configured, default_action=tempfail",
        "ok: milter_header_checks: routes to vmta-a, vmta-b",
        "ok: master.cf: defines vmta-a, vmta-b",
    ]


def test_printed_settings_have_no_findings_with_route_by_sender(tmp_path: Path) -> None:
    files = PostfixFiles(tmp_path / "postfix")
    by_sender = config("route_by: sender")
    files.add(pieces(by_sender))
    assert troubles(files, by_sender) == []
    files.set("sender_dependent_default_transport_maps=")
    parameter = "sender_dependent_default_transport_maps"
    assert placed(troubles(files, by_sender)) == [(Level.ERROR, parameter)] * 2


@pytest.mark.parametrize("text", ["", "users: {crm: {}, shop: {}}"])
def test_one_recipient_recipe_has_no_findings(files: PostfixFiles, text: str) -> None:
    recipe = one_recipient(config(text))
    files.add(recipe)
    files.shell(recipe.switch_on)
    assert troubles(files, config(text)) == []


NOTHING: list[tuple[Level, str]] = []


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("accept", everywhere(Level.ERROR, "milter_default_action")),
        ("quarantine", everywhere(Level.ERROR, "milter_default_action")),
        ("reject", everywhere(Level.WARNING, "milter_default_action")),
        ("shutdown", everywhere(Level.ERROR, "milter_default_action")),
        ("tempfail", NOTHING),
    ],
)
@pytest.mark.parametrize("of_entry", [True, False])
def test_default_action(
    files: PostfixFiles, assignment: str, expected: list[tuple[Level, str]], of_entry: bool
) -> None:
    socket = "unix:fletching/milter.sock"
    if of_entry:
        files.set(f"fletching_milter={{ {socket}, default_action={assignment} }}")
    else:
        files.set(f"fletching_milter={socket}", f"milter_default_action={assignment}")
    assert placed(troubles(files, config())) == expected


def test_default_action_of_our_entry_overrides_main_cf(files: PostfixFiles) -> None:
    files.set("milter_default_action=accept")
    assert troubles(files, config()) == []


def test_shutdown_is_accepted_from_postfix_3_11(files: PostfixFiles, tmp_path: Path) -> None:
    files.set("fletching_milter={ unix:fletching/milter.sock, default_action=shutdown }")
    # A later Postfix: the real commands, but for the version.
    tool = tmp_path / "postconf"
    real = program("postconf", "postfix")
    tool.write_text(f'#!/bin/sh\ncase "$*" in *-dh*) echo 3.11.6;; *) exec {real} "$@";; esac\n')
    tool.chmod(0o755)
    (tmp_path / "postmap").symlink_to(program("postmap", "postfix"))
    files.let_rest()
    command = (str(tool), "-c", str(files.directory))
    findings = check(config(), postfix=True, postconf_command=command)
    assert [each for each in findings if "milter" in each.place and each.level is Level.OK]
    assert not any("milter_default_action" in each.place for each in findings)


@pytest.mark.parametrize(
    ("text", "assignments", "expected"),
    [
        (
            "",
            ["smtpd_milters="],
            [*both(Level.WARNING, "smtpd_milters"), (Level.ERROR, "smtpd_milters")],
        ),
        ("", ["smtpd_milters=inet:127.0.0.1:7357, $fletching_milter"], NOTHING),
        (
            "",
            ["smtpd_milters=unix:opendkim/x.sock $fletching_milter"],
            both(Level.WARNING, "smtpd_milters"),
        ),
        (
            "",
            ["smtpd_milters={ inet:localhost:11332, default_action=accept } $fletching_milter"],
            both(Level.WARNING, "smtpd_milters"),
        ),
        (
            "",
            ["smtpd_milters=$fletching_milter, inet:127.0.0.1:7357"],
            both(Level.WARNING, "smtpd_milters"),
        ),
        (
            "dkim: {enabled: false}",
            ["smtpd_milters=$fletching_milter, inet:127.0.0.1:8891"],
            NOTHING,
        ),
        ("", ["non_smtpd_milters="], [(Level.ERROR, "non_smtpd_milters")]),
        ("", ["milter_protocol=4"], NOTHING),
        (
            "",
            [
                "milter_protocol=4",
                "fletching_milter={ unix:fletching/milter.sock, default_action=tempfail }",
            ],
            everywhere(Level.ERROR, "milter_protocol"),
        ),
        ("", ["milter_header_checks="], [(Level.ERROR, "milter_header_checks")] * 2),
        ("", ["milter_header_checks=regexp:/nowhere/table"], [(Level.ERROR, "postfix")]),
        ("", ["content_filter=scan:[127.0.0.1]:10024"], both(Level.WARNING, "content_filter")),
        ("", ["smtpd_milter_maps=cidr:/etc/postfix/x"], both(Level.WARNING, "smtpd_milter_maps")),
        (
            "",
            ["receive_override_options=no_milters"],
            [*both(Level.WARNING, "smtpd_milters"), (Level.ERROR, "smtpd_milters")],
        ),
        ("", ["smtp_header_checks=regexp:/etc/postfix/x"], [(Level.WARNING, "smtp_header_checks")]),
        ("", ["smtp_body_checks=regexp:/etc/postfix/x"], [(Level.WARNING, "smtp_body_checks")]),
        ("", ["smtp_generic_maps=texthash:/x"], [(Level.WARNING, "smtp_generic_maps")]),
        ("dkim: {enabled: false}", ["smtp_generic_maps=texthash:/x"], NOTHING),
        ("", ["recipient_delimiter="], [(Level.WARNING, "recipient_delimiter")]),
        ("", ["recipient_delimiter=-+"], NOTHING),
        ("recipient_delimiter: '='", [], [(Level.WARNING, "recipient_delimiter")]),
        ("", ["sender_canonical_maps=texthash:/x"], [(Level.WARNING, "sender_canonical_maps")]),
        ("", ["canonical_maps=texthash:/x"], [(Level.WARNING, "canonical_maps")] * 2),
        ("", ["canonical_maps=texthash:/x", "canonical_classes=header_sender"], NOTHING),
        ("", ["masquerade_domains=example.com"], [(Level.WARNING, "masquerade_domains")]),
    ],
)
def test_main_cf(
    files: PostfixFiles,
    text: str,
    assignments: list[str],
    expected: list[tuple[Level, str]],
) -> None:
    if assignments:
        files.set(*assignments)
    assert placed(troubles(files, config(text))) == expected


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        (
            ["-P", "submission/inet/smtpd_milters="],
            [(Level.WARNING, "submission/inet smtpd_milters")],
        ),
        (["-P", "submission/inet/milter_default_action=accept"], NOTHING),
        (
            ["-P", "submission/inet/content_filter=scan:"],
            [(Level.WARNING, "submission/inet content_filter")],
        ),
        (
            ["-P", "submission/inet/receive_override_options=no_milters"],
            [(Level.WARNING, "submission/inet smtpd_milters")],
        ),
        (
            ["-P", "vmta-b/unix/smtp_generic_maps=texthash:/x"],
            [(Level.WARNING, "smtp_generic_maps")],
        ),
        (["-P", "cleanup/unix/milter_header_checks="], [(Level.ERROR, "milter_header_checks")] * 2),
        (["-P", "cleanup/unix/non_smtpd_milters="], [(Level.ERROR, "non_smtpd_milters")]),
        (["-MX", "vmta-b/unix"], [(Level.ERROR, "master.cf vmta-b")]),
        (["-M", "10025/inet=127.0.0.1:10025 inet n - y - - smtpd -o smtpd_milters="], NOTHING),
        (
            ["-M", "10026/inet=10026 inet n - y - - smtpd -o smtpd_milters="],
            [(Level.WARNING, "10026/inet smtpd_milters")],
        ),
        (
            ["-M", "smtpd/pass=smtpd pass - - y - - smtpd -o smtpd_milters="],
            [(Level.WARNING, "smtpd/pass smtpd_milters")],
        ),
        (["-M", "smtp/inet=smtp inet n - y - 1 postscreen"], NOTHING),
    ],
)
def test_master_cf(
    files: PostfixFiles, edits: list[str], expected: list[tuple[Level, str]]
) -> None:
    files.ask("postconf", *edits)
    assert placed(troubles(files, config())) == expected


@pytest.mark.parametrize(
    ("place", "spoken", "lacks"),
    [
        ("inet:7357@127.0.0.1", "ipv4", ""),
        ("inet:7357@127.0.0.1", "all", ""),
        ("inet:7357@127.0.0.1", "ipv6, ipv4", ""),
        ("inet:7357@127.0.0.1", "ipv6", "ipv4"),
        ("inet6:7357@[::1]", "ipv6", ""),
        ("inet6:7357@[::1]", "all", ""),
        ("inet6:7357@[::1]", "ipv4 ipv6", ""),
        ("inet6:7357@[::1]", "ipv4", "ipv6"),
        ("unix:/var/spool/postfix/fletching/milter.sock", "ipv6", ""),
    ],
)
def test_inet_protocols_has_the_family_of_listen(
    tmp_path: Path, place: str, spoken: str, lacks: str
) -> None:
    settings = config(listen=place)
    files = PostfixFiles(tmp_path / "postfix")
    files.add(pieces(settings))
    files.set(f"inet_protocols={spoken}")
    found = troubles(files, settings)
    assert placed(found) == (everywhere(Level.ERROR, "inet_protocols") if lacks else [])
    assert all(str(each).endswith(f"set inet_protocols = {spoken}, {lacks}") for each in found)


def test_default_action_of_a_service(files: PostfixFiles) -> None:
    files.set("fletching_milter=unix:fletching/milter.sock")
    files.ask("postconf", "-P", "submission/inet/milter_default_action=accept")
    assert placed(troubles(files, config())) == [
        (Level.ERROR, "submission/inet milter_default_action")
    ]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("/^X-Fletching-Route: (vmta-a|vmta-b)$/ FILTER $1:", NOTHING),
        ("/^X-Fletching-Route: (vmta-a|vmta-b)$/ filter  $1:", NOTHING),
        ("/^X-Fletching-Route: (.*)$/ FILTER $1:", [(Level.WARNING, "milter_header_checks")]),
        ("/^X-Fletching-Route: vmta-a$/ FILTER vmta-a:", [(Level.ERROR, "milter_header_checks")]),
        (
            "/^X-Fletching-Route: (vmta-[ab])$/ FILTER smtp:",
            [(Level.ERROR, "milter_header_checks")] * 2,
        ),
        ("/^X-Fletching-Route/ IGNORE", [(Level.ERROR, "milter_header_checks")] * 2),
    ],
)
def test_table_must_map_to_all_transports_and_no_others(
    files: PostfixFiles, table: str, expected: list[tuple[Level, str]]
) -> None:
    (files.directory / "milter_header_checks").write_text(f"{table}\n")
    assert placed(troubles(files, config())) == expected


def test_first_table_with_a_result_counts(files: PostfixFiles) -> None:
    (files.directory / "first").write_text("/^X-Fletching-Route: vmta-a/ WARN\n")
    ours = "regexp:$config_directory/milter_header_checks"
    files.set(f"milter_header_checks=regexp:$config_directory/first, {ours}")
    assert placed(troubles(files, config())) == [(Level.ERROR, "milter_header_checks")]
    files.set(f"milter_header_checks={ours} regexp:$config_directory/first")
    assert troubles(files, config()) == []


def test_transport_without_service_and_rule(files: PostfixFiles) -> None:
    text = f"listen: {SOCKET}\nredis: embedded\nvirtual_mtas: {{c: {{transport: vmta-c}}}}"
    more = parse(text.encode(), Path("/etc/fletching/fletching.yaml"))
    assert placed(troubles(files, more)) == [
        (Level.ERROR, "milter_header_checks"),
        (Level.ERROR, "master.cf vmta-c"),
    ]


# Sockets


def test_chroot_hides_a_socket_outside(tmp_path: Path) -> None:
    files = PostfixFiles(tmp_path / "postfix")
    outside = config(listen="unix:/run/fletching/milter.sock")
    files.add(pieces(outside))
    found = troubles(files, outside)
    assert placed(found) == [
        *both(Level.ERROR, "smtpd_milters"),
        (Level.ERROR, "smtpd_milters"),
        (Level.ERROR, "non_smtpd_milters"),
    ]
    assert "is chrooted and looks for the socket at /var/spool/postfix/run" in found[0].text
    files.ask("postconf", "-F", "*/*/chroot=n")
    assert troubles(files, outside) == []


@pytest.mark.parametrize(
    ("listen", "endpoint", "asked"),
    [
        (SOCKET, "unix:fletching/milter.sock", True),
        (SOCKET, "local:fletching/milter.sock", True),
        (SOCKET, "unix:/fletching/milter.sock", True),
        (SOCKET, "unix:fletching/../fletching/milter.sock", True),
        (SOCKET, "unix:fletching/other.sock", False),
        ("inet:8899@127.0.0.1", "inet:localhost:8899", True),
        ("inet:8899@0.0.0.0", "inet:127.0.0.1:8899", True),
        ("inet:8899@127.0.0.1", "inet:127.0.0.1:8898", False),
        ("inet:8899@192.0.2.1", "inet:127.0.0.1:8899", False),
        ("inet:8899@milter.example.com", "inet:milter.example.com:8899", True),
        ("inet6:8899@[::1]", "inet:[::1]:8899", True),
        ("inet6:8899@[::1]", "inet:[ipv6:0:0::1]:8899", True),
        ("inet6:8899@[::]", "inet:[::1]:8899", True),
        ("inet6:8899@[2001:db8::1]", "inet:[2001:DB8::1]:8899", True),
        ("inet6:8899@[::1]", "inet:127.0.0.1:8899", False),
        ("inet6:8899@[::1]", "inet:[::1]:8898", False),
    ],
)
def test_our_socket_is_recognized_in_all_spellings(
    files: PostfixFiles, listen: str, endpoint: str, asked: bool
) -> None:
    files.set(f"fletching_milter={endpoint}")
    assert (troubles(files, config(listen=listen)) == []) is asked


# The commands themselves


def test_missing_postfix_is_an_error(tmp_path: Path) -> None:
    for command in ((str(tmp_path / "postconf"),), ("postconf", "-c", str(tmp_path))):
        findings = check(config(), postfix=True, postconf_command=command)
        (finding,) = (each for each in findings if each.place == "postfix")
        assert finding.level is Level.ERROR


def test_postconf_is_found_without_sbin_in_the_path(
    files: PostfixFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    files.let_rest()
    command = ("postconf", "-c", os.fspath(files.directory))
    assert "postfix" not in {
        each.place for each in check(config(), postfix=True, postconf_command=command)
    }


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("", []),
        ("unix:a, inet:b:1  unix:c", [("unix:a", {}), ("inet:b:1", {}), ("unix:c", {})]),
        (
            "{ unix:a, default_action=accept, {protocol = 6} }, unix:b",
            [("unix:a", {"default_action": "accept", "protocol": "6"}), ("unix:b", {})],
        ),
        ("{unix:a}", [("unix:a", {})]),
        ("{}", [("", {})]),
    ],
)
def test_milter_lists(text: str, entries: list[tuple[str, dict[str, str]]]) -> None:
    assert [(each.endpoint, each.options) for each in postconf.milters(text)] == entries
