"""`fletching dkim rotate`, `retire` and `list`, with a name server that answers over UDP."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import Result
from fletching.config.faults import UnusableError
from fletching.config.load import load
from fletching.mail.message import parse
from fletching.policy.offers import DkimRequest
from fletching.policy.signers import choose
from fletching.startup import open_setup

from sandbox.name_server import NameServer
from tests.host import Host
from tests.test_docs import keys

pytestmark = pytest.mark.slow

DOMAIN = "example.com"
NEW = "r2._domainkey.example.com"
MAIL = parse(b"From: a@example.com\r\n\r\n")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def record_of(output: str) -> tuple[str, str]:
    """Name and strings of the one record that a command printed."""
    (line,) = (line for line in output.splitlines() if " IN TXT " in line)
    name, _, strings = line.partition(". IN TXT ")
    return name, strings


def rotate(host: Host, records: Mapping[str, str], *words: str) -> Result:
    """`dkim rotate`, with a name server that has these records."""
    table = {(name, "TXT"): [strings] for name, strings in records.items()}
    with NameServer(table) as server:
        resolver = server.resolver
        address = f"{resolver.nameservers[0]}:{resolver.port}"
        return host.run("dkim", "rotate", DOMAIN, "--name-server", address, *words)


def switched(host: Host, *words: str) -> None:
    """Both steps of a rotation."""
    name, strings = record_of(rotate(host, {}, *words).stdout)
    result = rotate(host, {name: strings})
    assert result.exit_code == 0, result.stderr


def states(host: Host) -> list[tuple[str, str]]:
    return [(row["selector"], row["state"]) for row in host.json("dkim", "list")["dkim_keys"]]


def selectors(host: Host, request: DkimRequest | None = None) -> list[tuple[str, str]]:
    """s= of the signatures of a mail, and the selector of the key that makes each."""
    keys = open_setup(load(host.config)).dkim_keys
    signatures, _ = choose(MAIL, [request] if request else None, keys)
    return [(each.selector, each.key.selector) for each in signatures]


def test_first_run_creates_a_key_that_does_not_sign(host: Host) -> None:
    result = rotate(host, {})
    assert result.exit_code == 0
    assert record_of(result.stdout)[0] == NEW
    assert "r1 still signs for example.com" in result.stderr
    assert states(host) == [("r1", "signing"), ("r2", "waiting")]
    assert selectors(host) == [("r1", "r1")]
    assert (host.folder / "example.com.r2.pem").exists()


def test_second_run_moves_signing_when_the_record_is_found(host: Host) -> None:
    name, strings = record_of(rotate(host, {}).stdout)
    result = rotate(host, {name: strings})
    assert result.exit_code == 0
    assert result.stderr == f"{NEW}: matches our private key; a test signature verifies\n"
    assert "r2 signs after the next reload; r1 is kept until" in result.stdout
    assert states(host) == [("r1", "kept"), ("r2", "signing")]
    assert selectors(host) == [("r2", "r2")]


def test_third_run_changes_nothing(host: Host) -> None:
    switched(host)
    before = sorted(os.listdir(host.folder))
    result = rotate(host, {})
    assert (result.exit_code, result.stdout) == (0, "")
    assert "first retire r1" in result.stderr
    assert sorted(os.listdir(host.folder)) == before


@pytest.mark.parametrize(
    "records",
    [
        pytest.param({}, id="no record"),
        pytest.param({NEW: "old"}, id="the record of the old key"),
        pytest.param({NEW: '"v=spf1 -all"'}, id="another text"),
        pytest.param({NEW: '"v=DKIM1; k=rsa; p="'}, id="a revoked key"),
    ],
)
def test_signing_stays_without_the_right_record(records: dict[str, str], host: Host) -> None:
    old = record_of(host.run("dkim", "record").stdout)[1]
    first = rotate(host, {})
    result = rotate(host, {name: old if text == "old" else text for name, text in records.items()})
    assert result.exit_code == 1
    assert result.stdout == first.stdout
    assert result.stderr.startswith(f"{NEW}: ")
    assert result.stderr.endswith("; r1 still signs\n")
    assert states(host) == [("r1", "signing"), ("r2", "waiting")]
    assert selectors(host) == [("r1", "r1")]


def test_signing_stays_if_the_name_server_fails(host: Host) -> None:
    rotate(host, {})
    with NameServer({}, broken=[NEW]) as server:
        address = f"127.0.0.1:{server.resolver.port}"
        result = host.run("dkim", "rotate", DOMAIN, "--name-server", address)
    assert result.exit_code == 1
    assert "no answer" in result.stderr
    assert selectors(host) == [("r1", "r1")]


def test_now_asks_no_name_server(host: Host) -> None:
    result = host.run("dkim", "rotate", DOMAIN, "--now", "--name-server", "127.0.0.1:1")
    assert result.exit_code == 0
    assert states(host) == [("r1", "kept"), ("r2", "signing")]


def test_new_key_has_the_algorithm_of_the_old_one(host: Host) -> None:
    (host.folder / "dkim.pem").unlink()
    host.run("dkim", "new", "--algorithm", "ed25519")
    assert "k=ed25519" in rotate(host, {}).stdout


def test_algorithm_can_change(host: Host) -> None:
    switched(host, "--algorithm", "ed25519")
    rows = host.json("dkim", "list")["dkim_keys"]
    assert [row["algorithm"] for row in rows] == ["rsa-sha256", "ed25519-sha256"]


def test_new_files_have_owner_and_mode_of_the_old_key(host: Host) -> None:
    old = host.folder / "dkim.pem"
    if os.geteuid() == 0:
        os.chown(old, 65534, 65534)
    old.chmod(0o640)
    rotate(host, {})
    for name in ("example.com.r2.pem", "example.com.r1.rotation"):
        made = (host.folder / name).stat()
        assert stat.S_IMODE(made.st_mode) == 0o640, name
        assert (made.st_uid, made.st_gid) == (old.stat().st_uid, old.stat().st_gid), name


def test_both_records_are_printed_during_the_change(host: Host) -> None:
    rotate(host, {})
    lines = host.run("dkim", "record").stdout.splitlines()
    assert [line.partition(".")[0] for line in lines] == ["r1", "r2"]


def test_check_knows_both_keys(host: Host) -> None:
    rotate(host, {})
    output = host.run("check").stdout
    assert "ok: dkim.keys r1 of example.com: can sign" in output
    assert "ok: dkim.keys r2 of example.com: waits for its DNS record" in output


def test_mail_verifies_with_the_new_key(host: Host) -> None:
    switched(host)
    assert host.json("explain", str(host.mail))["signatures"] == [
        {"domain": DOMAIN, "selector": "r2", "verified": True, "reason": None}
    ]


def test_json_of_the_list_is_documented(host: Host) -> None:
    (key,) = host.json("dkim", "list")["dkim_keys"]
    assert key.keys() == keys("fletching dkim list --json")


# What a mail asks for


def borrowed(key: str) -> DkimRequest:
    """Another domain signs with a key of ours; its record has a name of its own."""
    return DkimRequest(domain="b.example", selector="b1", use_key_from=key)


@pytest.mark.parametrize(
    ("request_", "signature"),
    [
        (None, ("r2", "r2")),
        (DkimRequest(domain=DOMAIN), ("r2", "r2")),
        (DkimRequest(selector="r1"), ("r2", "r2")),
        (DkimRequest(selector="r2"), ("r2", "r2")),
        (borrowed(DOMAIN), ("b1", "r1")),
        (borrowed(f"{DOMAIN}/r1"), ("b1", "r1")),
        (borrowed(f"{DOMAIN}/r2"), ("b1", "r2")),
    ],
)
def test_key_that_signs_while_the_old_one_is_kept(
    request_: DkimRequest | None, signature: tuple[str, str], host: Host
) -> None:
    switched(host)
    assert selectors(host, request_) == [signature]


def test_old_selector_means_the_new_key_after_retiring(host: Host) -> None:
    switched(host)
    assert host.run("dkim", "retire", DOMAIN, "r1").exit_code == 0
    assert selectors(host, DkimRequest(selector="r1")) == [("r2", "r2")]
    assert selectors(host, borrowed(f"{DOMAIN}/r1")) == [("b1", "r2")]


# Retiring


def test_retired_key_is_destroyed_and_its_selector_not_used_again(host: Host) -> None:
    switched(host)
    result = host.run("dkim", "retire", DOMAIN, "r1")
    assert result.exit_code == 0
    assert "remove its DNS record when all mail that it signed has arrived" in result.stdout
    assert not (host.folder / "dkim.pem").exists()
    assert states(host) == [("r1", "retired"), ("r2", "signing")]
    assert selectors(host) == [("r2", "r2")]
    assert host.run("dkim", "new").stderr == "all key files already exist\n"
    assert not (host.folder / "dkim.pem").exists()
    switched(host)
    assert states(host) == [("r1", "retired"), ("r2", "kept"), ("r3", "signing")]


def test_key_that_signs_is_not_retired(host: Host) -> None:
    rotate(host, {})
    result = host.run("dkim", "retire", DOMAIN, "r1")
    assert result.exit_code == 2
    assert "key r1 signs; first replace it with `fletching dkim rotate`" in result.stderr
    assert (host.folder / "dkim.pem").exists()


def test_waiting_key_can_be_given_up(host: Host) -> None:
    rotate(host, {})
    assert host.run("dkim", "retire", DOMAIN, "r2").exit_code == 0
    assert states(host) == [("r1", "signing"), ("r2", "retired")]
    assert not (host.folder / "example.com.r2.pem").exists()
    assert record_of(rotate(host, {}).stdout)[0] == "r3._domainkey.example.com"


@pytest.mark.parametrize("words", [("other.example", "r1"), (DOMAIN, "r9")])
def test_unknown_key_is_not_retired(words: tuple[str, str], host: Host) -> None:
    result = host.run("dkim", "retire", *words)
    assert result.exit_code == 2
    assert "no such key" in result.stderr


def test_key_is_retired_once(host: Host) -> None:
    switched(host)
    assert host.run("dkim", "retire", DOMAIN, "r1").exit_code == 0
    result = host.run("dkim", "retire", DOMAIN, "r1")
    assert result.exit_code == 2
    assert "already retired" in result.stderr


# Several keys


def test_all_keys_of_a_domain_are_rotated(host: Host) -> None:
    second = "{domain: example.com, selector: ed, file: ed.pem}"
    host.edit("default: true}", f"default: true}}, {second}")
    host.run("dkim", "new", "--algorithm", "ed25519")
    lines = rotate(host, {}).stdout.splitlines()
    assert [line.partition(".")[0] for line in lines] == ["r2", "ed2"]


def test_one_key_of_a_domain_is_rotated(host: Host) -> None:
    second = "{domain: example.com, selector: r2, file: ed.pem}"
    host.edit("default: true}", f"default: true}}, {second}")
    host.run("dkim", "new", "--algorithm", "ed25519")
    lines = rotate(host, {}, "--algorithm", "ed25519").stdout.splitlines()
    # r2 is in use.
    assert [line.partition(".")[0] for line in lines] == ["r3", "r4"]
    result = host.run("dkim", "rotate", DOMAIN, "r2", "--now")
    assert result.stdout.startswith("example.com: r4 signs after the next reload; r2 is kept")


def test_file_that_another_domain_uses_stays(host: Host) -> None:
    second = "{domain: b.example, selector: r1, file: dkim.pem}"
    host.edit("default: true}", f"default: true}}, {second}")
    switched(host)
    assert host.run("dkim", "retire", DOMAIN, "r1").exit_code == 0
    assert (host.folder / "dkim.pem").exists()
    assert ("r1", "signing") in states(host)


# The list of keys


ROTATION = "example.com.r1.rotation"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "must begin with the key r1"),
        ("r2 - signing\n", "must begin with the key r1"),
        ("r1 - kept\n", "exactly one key must have the state signing"),
        ("r1 - signing\nr2 - signing\n", "exactly one key must have"),
        ("r1 - kept\nr1 - signing\n", "names a selector twice"),
        ("r1 - signing\nr2 - ready\n", ":2: must be SELECTOR CREATED STATE"),
        ("r1 - signing\n../../etc/x - kept\n", ":2: must begin with a DKIM selector"),
        ("r1 - signing\n\xe9 - kept\n", ":2: must begin with a DKIM selector"),
    ],
)
def test_broken_list_is_refused(text: str, fault: str, host: Host) -> None:
    path = host.folder / ROTATION
    path.write_bytes(text.encode("latin-1"))
    path.chmod(0o640)
    with pytest.raises(UnusableError) as caught:
        open_setup(load(host.config))
    assert caught.value.key == "dkim.keys[0].file"
    assert caught.value.message.startswith(str(path))
    assert fault in caught.value.message


def test_list_that_others_can_change_is_refused(host: Host) -> None:
    rotate(host, {})
    (host.folder / ROTATION).chmod(0o646)
    result = host.run("dkim", "list")
    assert result.exit_code == 2
    assert "must be 0600 or 0640" in result.stderr


def test_list_that_leads_nowhere_is_refused(host: Host) -> None:
    """Not as if there were none: an earlier key would sign."""
    (host.folder / ROTATION).symlink_to(host.folder / "none")
    result = host.run("dkim", "list")
    assert result.exit_code == 2
    assert f"{ROTATION}: No such file or directory" in result.stderr


def test_key_that_is_missing_is_named(host: Host) -> None:
    switched(host)
    (host.folder / "example.com.r2.pem").unlink()
    result = host.run("preview", str(host.mail))
    assert result.exit_code == 2
    assert "example.com.r2.pem: No such file or directory" in result.stderr
