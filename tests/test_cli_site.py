"""The commands about a host: keys, VirtualMTAs, check, postfix."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from fletching.paused import read, write
from fletching.policy.return_path import sender_suffix

from tests.host import Host


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


# key and dkim.


def test_keys(host: Host) -> None:
    listed = host.json("key", "list")
    assert listed == {
        "keys": [
            {"id": 1, "created": "2026-01-01T00:00:00Z", "state": "opening"},
            {"id": 2, "created": "2026-02-01T00:00:00Z", "state": "signing"},
        ]
    }
    result = host.run("key", "new")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "key 3 created; it is used for new tokens after the next reload" in result.stdout
    assert [row["state"] for row in host.json("key", "list")["keys"]] == [
        "opening",
        "opening",
        "signing",
    ]
    assert host.run("key", "retire", "1").exit_code == 0
    table = host.run("key", "list").stdout.splitlines()
    assert table[0].split() == ["id", "created", "state"]
    assert table[1].split() == ["1", "2026-01-01T00:00:00Z", "retired"]


def test_the_first_key(host: Host) -> None:
    (host.folder / "link-keys").unlink()
    assert host.run("key", "new").exit_code == 0
    assert [row["id"] for row in host.json("key", "list")["keys"]] == [1]
    assert os.stat(host.folder / "link-keys").st_mode & 0o777 == 0o640


@pytest.mark.parametrize("words", [("key", "retire", "9"), ("key", "retire", "x"),
                                   ("key", "retire")])  # fmt: skip
def test_unknown_key_is_an_error(words: tuple[str, ...], host: Host) -> None:
    result = host.run(*words)
    assert result.exit_code == 2
    assert result.stderr


@pytest.mark.parametrize("words", [("key", "new"), ("key", "list"), ("token", "x")])
def test_no_link_keys(words: tuple[str, ...], host: Host) -> None:
    host.config.write_text("mail_classes: {a: {}}\n")
    result = host.run(*words)
    assert result.exit_code == 2
    assert "link_keys: not set" in result.stderr


def test_dkim(host: Host) -> None:
    (host.folder / "dkim.pem").unlink()
    assert host.run("dkim", "record").exit_code == 2
    made = host.run("dkim", "new", "--bits", "1024")
    assert (made.exit_code, made.stderr) == (0, "")
    assert made.stdout.startswith("r1._domainkey.example.com. IN TXT ")
    assert host.run("dkim", "record").stdout == made.stdout
    again = host.run("dkim", "new")
    assert (again.exit_code, again.stdout) == (0, "")
    assert "all key files already exist" in again.stderr


def test_dkim_ed25519(host: Host) -> None:
    (host.folder / "dkim.pem").unlink()
    made = host.run("dkim", "new", "example.com", "r1", "--algorithm", "ed25519")
    assert "k=ed25519" in made.stdout


@pytest.mark.parametrize("words", [("new", "other.example"), ("record", "example.com", "s9")])
def test_no_such_dkim_key(words: tuple[str, ...], host: Host) -> None:
    result = host.run("dkim", *words)
    assert result.exit_code == 2
    assert "dkim.keys: no such key" in result.stderr


def test_dkim_bits(host: Host) -> None:
    (host.folder / "dkim.pem").unlink()
    assert host.run("dkim", "new", "--bits", "512").exit_code == 2
    assert not (host.folder / "dkim.pem").exists()


# mta.


def paused(host: Host) -> list[str]:
    return [row["name"] for row in host.json("mta", "list")["virtual_mtas"] if row["paused"]]


def test_mta(host: Host) -> None:
    rows = host.json("mta", "list")["virtual_mtas"]
    assert rows == [
        {"name": "a", "transport": "vmta-a", "relay": None, "pool": None, "fallback": None,
         "paused": False, "vanished": False, "limits": []},
        {"name": "b", "transport": "vmta-b", "relay": None, "pool": None, "fallback": "a",
         "paused": False, "vanished": False, "limits": []},
        {"name": "bulk", "transport": None, "relay": None, "pool": {"a": 3, "b": 1},
         "fallback": None, "paused": False, "vanished": False, "limits": []},
    ]  # fmt: skip
    result = host.run("mta", "pause", "A")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "gets 451" in result.stdout
    assert "other mail for it uses a" in host.run("mta", "pause", "b").stdout
    assert paused(host) == ["a", "b"]
    assert host.run("mta", "pause", "b").exit_code == 0
    assert host.run("mta", "resume", "a").stdout == "a is active\n"
    assert paused(host) == ["b"]
    assert host.json("preview", str(host.mail))["virtual_mta"] == "a"
    host.run("mta", "resume", "b")
    host.run("mta", "pause", "a")
    assert host.json("preview", str(host.mail))["virtual_mta"] == "b"


def test_mta_list_as_a_table(host: Host) -> None:
    host.run("mta", "pause", "b")
    table = [line.split("  ") for line in host.run("mta", "list").stdout.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in table]
    assert cells == [
        ["name", "transport", "relay", "pool", "fallback", "paused", "vanished"],
        ["a", "vmta-a", "-", "-", "-", "no", "no"],
        ["b", "vmta-b", "-", "-", "a", "yes", "no"],
        ["bulk", "-", "-", "a 3, b 1", "-", "no", "no"],
    ]


def test_mta_list_with_limits_does_not_require_redis(host: Host) -> None:
    host.edit("transport: vmta-b", "transport: vmta-b, limits: {day: 1}")
    result = host.run("mta", "list")
    assert result.exit_code == 0
    assert "redis: does not answer: " in result.stderr


def test_pause_follows_no_link_that_waits_under_the_name_of_its_new_file(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / f"paused.{os.getpid()}").symlink_to(precious)
    write(tmp_path, frozenset({"a"}))
    assert precious.read_text() == "kept"
    assert read(tmp_path) == {"a"}


@pytest.mark.parametrize(
    ("name", "said"),
    [("nosuch", "unknown VirtualMTA"), ("bulk", "is a pool: pause its members, a, b"),
     ("B ", "did you mean b?")],
)  # fmt: skip
@pytest.mark.parametrize("word", ["pause", "resume"])
def test_mta_that_cannot_be_paused(word: str, name: str, said: str, host: Host) -> None:
    result = host.run("mta", word, name)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""
    assert paused(host) == []


def test_mta_pause_creates_the_state_directory(host: Host) -> None:
    (host.folder / "state").rmdir()
    assert host.run("mta", "pause", "a").exit_code == 0
    assert paused(host) == ["a"]


def test_mta_pause_without_a_writable_state_directory(host: Host) -> None:
    (host.folder / "state").rmdir()
    (host.folder / "state").write_text("a file")
    result = host.run("mta", "pause", "a")
    assert result.exit_code == 2
    assert str(host.folder / "state" / "paused") in result.stderr


def test_no_virtual_mtas(host: Host) -> None:
    host.config.write_text("mail_classes: {a: {}}\n")
    assert host.json("mta", "list") == {"virtual_mtas": []}
    assert host.run("mta", "list").stdout == ""


# check and postfix.


def test_check(host: Host) -> None:
    result = host.run("check")
    lines = result.stdout.splitlines()
    assert result.exit_code == 1, "no Redis is there"
    assert any(line.startswith("error: redis: ") for line in lines)
    assert all(line.startswith(("error: ", "warning: ", "ok: ")) for line in lines)


def test_check_without_errors(host: Host) -> None:
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server")
    host.edit("redis://127.0.0.1:1/0", "embedded")
    result = host.run("check")
    assert result.exit_code == 0, result.stdout


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("web: {templates: none}", "error: web.templates: {folder}/none: not a directory"),
        (
            "web: {admin_password_file: none}",
            "error: web.admin_password_file: {folder}/none:"
            " cannot be read: No such file or directory",
        ),
        (
            "web: {admin_password_file: open}",
            "warning: web.admin_password_file: {folder}/open: mode 0644: should be 0600 or 0640",
        ),
        (
            "events: {destinations: [{name: a, webhook: 'https://x/', secret_file: none}]}",
            "error: events.destinations[0].secret_file: {folder}/none: No such file or directory",
        ),
        (
            "events: {destinations: [{name: a, webhook: 'https://x/', auth_file: open}]}",
            "warning: events.destinations[0].auth_file: {folder}/open: mode 0644:"
            " should be 0600 or 0640",
        ),
        (
            "events: {destinations: [{name: a, file: none/events.jsonl}]}",
            "error: events.destinations[0].file: {folder}/none: missing directory:"
            " create it for the service's user: install -d -o fletching {folder}/none",
        ),
        (
            "events: {destinations: [{name: a, file: .}]}",
            "error: events.destinations[0].file: {folder}: is a directory:"
            " name a file in it, such as {folder}/events.jsonl",
        ),
        (
            "listen: unix:/none/s",
            "warning: listen: /none: not a directory; it must exist when the daemon starts",
        ),
        (
            "web: {listen: 'unix:/none/s'}",
            "warning: web.listen: /none: not a directory; it must exist when the daemon starts",
        ),
    ],
    ids=[
        "templates",
        "no password",
        "mode",
        "no secret",
        "auth",
        "no folder",
        "a folder",
        "socket",
        "web's",
    ],
)
def test_check_reports_what_keeps_a_daemon_from_starting(
    options: str, line: str, host: Host
) -> None:
    (host.folder / "open").write_text("user:a long enough password")
    (host.folder / "open").chmod(0o644)
    host.edit("link_keys:", f"{options}\nlink_keys:")
    lines = host.run("check").stdout.splitlines()
    assert line.replace("{folder}", str(host.folder)) in lines


def test_check_reports_a_readable_redis_password_file(host: Host) -> None:
    (host.folder / "open").write_text("pw")
    (host.folder / "open").chmod(0o644)
    host.edit("127.0.0.1:1/0", f"127.0.0.1:1/0?password_file={host.folder}/open")
    lines = host.run("check").stdout.splitlines()
    told = f"warning: redis: {host.folder}/open: mode 0644: should be 0600 or 0640"
    assert told in lines


@pytest.mark.parametrize(
    ("old", "new", "refusing"),
    [
        ("link_keys", "link_keys", ()),
        ("crm: {on_invalid", "CRM: {}\n  crm: {on_invalid", ("milter", "web", "lmtp", "courier")),
        ("link_keys: link-keys", "link_keys: none", ("milter", "web", "lmtp", "courier")),
        ("file: dkim.pem", "file: none.pem", ("milter",)),
        ("link_keys:", "web: {templates: none}\nlink_keys:", ("web",)),
        ("link_keys:", "web: {admin_password_file: none}\nlink_keys:", ("web",)),
        (
            "link_keys:",
            "events: {destinations: [{name: a, webhook: 'https://x/', secret_file: none}]}"
            "\nlink_keys:",
            ("courier",),
        ),
        (
            "link_keys:",
            "events: {destinations: [{name: a, file: .}]}\nlink_keys:",
            ("courier",),
        ),
        (
            "redis://127.0.0.1:1/0",
            "redis://127.0.0.1:1/0?password_file=/none",
            ("milter", "web", "lmtp", "courier"),
        ),
    ],
    ids=[
        *("good", "broken", "link keys", "DKIM key", "templates", "password", "secret", "file"),
        "redis password",
    ],
)
@pytest.mark.parametrize("daemon", ["milter", "web", "lmtp", "courier", "run"])
def test_check_daemon_reports_what_it_cannot_load(
    daemon: str, old: str, new: str, refusing: tuple[str, ...], host: Host
) -> None:
    host.edit(old, new)
    result = host.run("check", "--daemon", daemon)
    refuses = daemon in refusing or (daemon == "run" and bool(refusing))
    assert (result.exit_code, result.stdout) == (2 if refuses else 0, "")
    assert result.stderr.startswith(f"{host.config}:") is refuses


def test_postfix(host: Host) -> None:
    result = host.run("postfix")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "milter_header_checks" in result.stdout
    assert "vmta-b" in result.stdout
    other = host.run("postfix", "--one-recipient")
    assert other.exit_code == 0
    assert other.stdout != result.stdout


def test_postfix_with_indistinguishable_transports(host: Host) -> None:
    # Two transports with one suffix: among 2^20 suffixes they are found soon.
    seen: dict[str, str] = {}
    for number in range(100_000):
        name = f"t{number}"
        other = seen.setdefault(sender_suffix(name), name)
        if other != name:
            break
    host.config.write_text(
        f"route_by: sender\nvirtual_mtas: {{a: {{transport: {name}}}, b: {{transport: {other}}}}}\n"
    )
    result = host.run("postfix")
    assert result.exit_code == 2
    assert "cannot be distinguished" in " ".join(result.stderr.split())
    assert result.stdout == ""
