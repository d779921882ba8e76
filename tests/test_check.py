"""`fletching check`: this host's part. Postfix and the DNS: test_check_postfix, test_check_dns."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest
from fletching.checks.all import Finding, Level, check
from fletching.config.load import parse
from fletching.config.model import Config
from fletching.keys.dkim_keys import new_dkim_key
from fletching.keys.link_keys import new_link_key

from sandbox.processes import free_port
from sandbox.redis_server import RedisServer

# VirtualMTAs vmta-404 and vmta-496 would have the same four characters in a return path.
COLLIDING = ("404", "496")
DKIM = "{domain: example.com, selector: %s, file: %s.pem}"
DEFAULT = DKIM.replace("}", ", default: true}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path


def config(folder: Path, text: str = "") -> Config:
    base = f"state_dir: state\nredis: redis://127.0.0.1:{free_port()}/0\n"
    return parse(f"{base}{text}\n".encode(), folder / "fletching.yaml")


def found(findings: list[Finding], place: str) -> Finding:
    """The one finding about a place."""
    (finding,) = (each for each in findings if each.place == place)
    return finding


def test_good_configuration_has_only_ok_findings(folder: Path) -> None:
    new_link_key(folder / "link-keys", 0)
    new_link_key(folder / "link-keys", 1)
    new_dkim_key(folder / "s1.pem", "ed25519")
    with RedisServer() as redis, socket.create_server(("127.0.0.1", 0)) as milter:
        listen = f"inet:{milter.getsockname()[1]}@127.0.0.1"
        good = config(folder, f"link_keys: link-keys\ndkim: {{keys: [{DEFAULT % ('s1', 's1')}]}}")
        good = good.model_copy(update={"redis": f"unix://{redis.socket}", "listen": listen})
        findings = check(good)
    assert {finding.level for finding in findings} == {Level.OK}
    assert [str(finding) for finding in findings] == [
        "ok: link_keys: key 2 is used for new tokens, 2 can decrypt",
        "ok: dkim.keys s1 of example.com: can sign",
        "ok: redis: answers",
        f"ok: state_dir: {folder}/state is writable",
    ]


def test_mode_of_each_class_is_shown_if_mail_is_in_shadow(folder: Path) -> None:
    classes = "mail_classes: {a: {shadow: 0.95}, b: {mode: live}, c: {}}"
    finding = found(check(config(folder, f"mode: shadow\n{classes}")), "mode")
    expected = "mail without a class: shadow; a: 95% shadow; b: live; c: shadow"
    assert (finding.level, finding.text) == (Level.OK, expected)


@pytest.mark.parametrize("listen", ["unix:{folder}/s", "inet:{port}@127.0.0.1"])
def test_stopped_milter_is_a_warning_without_postfix(folder: Path, listen: str) -> None:
    listen = listen.format(folder=folder, port=free_port())
    away = config(folder).model_copy(update={"listen": listen})
    finding = found(check(away), "listen")
    assert finding.level is Level.WARNING
    assert f"nothing accepts connections at {listen}" in finding.text
    assert "systemctl start fletching" in finding.text


def test_running_milter_on_a_unix_socket_is_ok(folder: Path) -> None:
    running = config(folder).model_copy(update={"listen": f"unix:{folder}/s"})
    with socket.socket(socket.AF_UNIX) as milter:
        milter.bind(f"{folder}/s")
        milter.listen()
        assert not any(each.place == "listen" for each in check(running))


def test_level_prints_as_a_word() -> None:
    words: list[str] = list(Level)
    assert words == ["error", "warning", "ok"]
    assert f"{Level.ERROR}" == "error"


def test_a_finding_is_one_line() -> None:
    assert str(Finding(Level.ERROR, "a", "b\n c")) == "error: a: b c"


def test_every_key_file_is_checked(folder: Path) -> None:
    new_dkim_key(folder / "open.pem", "ed25519")
    (folder / "open.pem").chmod(0o644)
    (folder / "text.pem").write_text("no key")
    (folder / "text.pem").chmod(0o600)
    new_dkim_key(folder / "good.pem", "ed25519")
    keys = ", ".join(DKIM % (name, name) for name in ("open", "text", "gone", "good"))
    findings = check(config(folder, f"link_keys: nowhere\ndkim: {{keys: [{keys}]}}"))
    for selector, level, text in (
        ("open", Level.ERROR, "mode 0644"),
        ("text", Level.ERROR, "no readable private key"),
        ("gone", Level.ERROR, "No such file"),
        ("good", Level.OK, "can sign"),
    ):
        finding = found(findings, f"dkim.keys {selector} of example.com")
        assert (finding.level, text in finding.text) == (level, True)
    link_keys = found(findings, "link_keys")
    assert link_keys.level is Level.ERROR
    assert f"{folder}/nowhere" in link_keys.text


def test_redis_that_does_not_answer_is_an_error(folder: Path) -> None:
    finding = found(check(config(folder)), "redis")
    assert finding.level is Level.ERROR
    assert "does not answer: " in finding.text


def test_redis_password_is_not_printed(folder: Path) -> None:
    away = config(folder).model_copy(
        update={"redis": f"redis://user:hunter2@127.0.0.1:{free_port()}/0"}
    )
    assert not any("hunter2" in str(finding) for finding in check(away))


def test_embedded_redis_may_not_run_yet(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded = config(folder).model_copy(update={"redis": "embedded"})
    assert found(check(embedded), "redis").level is Level.OK
    monkeypatch.setenv("PATH", str(folder))
    finding = found(check(embedded), "redis")
    assert (finding.level, "apt-get install redis-server" in finding.text) == (Level.ERROR, True)


def test_state_dir_must_be_a_writable_directory(folder: Path) -> None:
    (folder / "state").rmdir()
    assert "No such file" in found(check(config(folder)), "state_dir").text
    (folder / "state").write_text("")
    assert found(check(config(folder)), "state_dir").level is Level.ERROR


@pytest.mark.skipif(os.geteuid() != 0, reason="a file system is mounted by root")
@pytest.mark.parametrize(
    ("options", "level", "saying"),
    [
        ("size=4k,nr_inodes=2", Level.ERROR, "No space left"),
        ("size=4k,nr_inodes=1", Level.ERROR, "No space left"),
        ("size=32m,nr_inodes=1000", Level.WARNING, "only 32 MiB"),
        ("size=128m,nr_inodes=50", Level.WARNING, "inodes are free"),
        ("size=128m,nr_inodes=1000", Level.OK, "is writable"),
    ],
)
def test_state_dir_needs_free_space_and_inodes(
    folder: Path, options: str, level: Level, saying: str
) -> None:
    state = str(folder / "state")
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", state], check=True)
    try:
        finding = found(check(config(folder)), "state_dir")
    finally:
        subprocess.run(["umount", state], check=True)
    assert (finding.level, saying in finding.text) == (level, True), finding.text


@pytest.mark.skipif(os.geteuid() != 0, reason="a file system is mounted by root")
def test_full_state_dir_is_an_error(folder: Path) -> None:
    state = folder / "state"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", state], check=True)
    try:
        (state / "filling").write_bytes(bytes(64 * 1024))
        finding = found(check(config(folder)), "state_dir")
    finally:
        subprocess.run(["umount", state], check=True)
    assert (finding.level, "No space left" in finding.text) == (Level.ERROR, True)


CLASSES = "url_domain: https://x.example\nlink_keys: k\nmail_classes: {News: {%s}}\n"
DESTINATION = "events: {destinations: [{name: d, webhook: 'https://d.example/', %s}]}\n"


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        (CLASSES % "", True),
        (CLASSES % "" + "suppress: refuse", False),
        (CLASSES % "" + "suppress: report", False),
        (CLASSES % "suppress: refuse", False),
        (CLASSES % "suppress: off" + "suppress: refuse", True),
        (CLASSES % "list_unsubscribe: false", False),
        (CLASSES % "" + DESTINATION % "", False),
        (CLASSES % "" + DESTINATION % "types: [engine_unsub, engine_click]", False),
        (CLASSES % "" + DESTINATION % "types: [engine_click]", True),
        (CLASSES % "" + DESTINATION % "classes: [news]", False),
        (CLASSES.replace("{News", "{crm: {suppress: refuse}, News") % ""
         + DESTINATION % "classes: [crm]", True),
        ("unsubscribe_mailbox: a@example.com\nlink_keys: k\nmail_classes: {News: }", False),
        ("mail_classes: {News: }", False),
    ],
)  # fmt: skip
def test_unsubscribes_without_effect(folder: Path, text: str, warned: bool) -> None:
    findings = [each for each in check(config(folder, text)) if each.place == "suppress"]
    assert [each.level for each in findings] == [Level.WARNING] * warned
    assert all("unsubscribes of News have no effect:" in each.text for each in findings)


@pytest.mark.parametrize(
    ("keys", "domains"),
    [
        ([DEFAULT % ("a", "a")], []),
        ([DKIM % ("a", "a")], ["example.com"]),
        ([DKIM % ("a", "a"), DEFAULT % ("b", "b")], []),
        ([DEFAULT % ("a", "a"), (DKIM % ("b", "b")).replace("example.com", "b.example")],
         ["b.example"]),
    ],
)  # fmt: skip
def test_domain_without_default_key(folder: Path, keys: list[str], domains: list[str]) -> None:
    findings = check(config(folder, f"dkim: {{keys: [{', '.join(keys)}]}}"))
    texts = [each.text for each in findings if each.place == "dkim.keys"]
    assert [text.split()[3] for text in texts] == domains


@pytest.mark.parametrize(
    ("text", "place", "saying"),
    [
        (
            "link_keys: k\nseed_lists: {a: []}\nmail_classes: {news: {seed: {list: a, end: 9}}}",
            "mail_classes.news.seed.list",
            "the seed list is empty",
        ),
        ("dkim: {keys: []}", "dkim.keys", "mail is not signed"),
        (
            "virtual_mtas: {a: {transport: smtp, relay: '[x.org]', fallback_relay: ['[y.org]']}}",
            "virtual_mtas.a.fallback_relay",
            "smtp is a service of Postfix's own",
        ),
        (
            "virtual_mtas: {a: {transport: t, address: 192.0.2.1}, b: {transport: t}}",
            "virtual_mtas.b",
            "uses the transport of a",
        ),
    ],
)
def test_options_that_may_be_a_mistake(folder: Path, text: str, place: str, saying: str) -> None:
    finding = found(check(config(folder, text)), place)
    assert (finding.level, saying in finding.text) == (Level.WARNING, True)


def test_missing_key_is_fine_without_signing(folder: Path) -> None:
    findings = check(config(folder, "dkim: {enabled: false}"))
    assert not any(finding.place == "dkim.keys" for finding in findings)


def test_transports_with_the_same_suffix(folder: Path) -> None:
    text = "virtual_mtas: {a: {transport: vmta-%s}, b: {transport: vmta-%s}}\nroute_by: %s"
    findings = check(config(folder, text % (*COLLIDING, "sender")))
    assert found(findings, "route_by").level is Level.ERROR
    findings = check(config(folder, text % (*COLLIDING, "header")))
    assert not any(finding.place == "route_by" for finding in findings)


def test_dns_and_postfix_are_checked_only_on_request(folder: Path) -> None:
    """Neither would answer: a resolver without servers, a command that is not there."""
    nowhere = (os.fspath(folder / "postconf"),)
    quiet = check(config(folder), postconf_command=nowhere)
    told = check(config(folder), postfix=True, postconf_command=nowhere)
    assert not any(finding.place == "postfix" for finding in quiet)
    assert found(told, "postfix").level is Level.ERROR
