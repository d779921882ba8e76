"""`fletching check --dns`, against a name server that answers over UDP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from fletching.checks.all import Finding, Level, check
from fletching.config.load import parse
from fletching.config.model import Config
from fletching.keys.dkim_keys import dkim_record, dkim_zone_line, new_dkim_key, read_dkim_keys

from sandbox.name_server import NameServer

NAME = "s1._domainkey.example.com"
REVOKED = "v=DKIM1; k=rsa; p="


def config(folder: Path, text: str = "") -> Config:
    (folder / "state").mkdir(exist_ok=True)
    base = "state_dir: state\nredis: embedded\n"
    return parse(f"{base}{text}\n".encode(), folder / "fletching.yaml")


@pytest.fixture(params=["rsa", "ed25519"])
def signing(request: pytest.FixtureRequest, tmp_path: Path) -> Config:
    new_dkim_key(tmp_path / "s1.pem", request.param)
    return config(tmp_path, "dkim: {keys: [{domain: example.com, selector: s1, file: s1.pem}]}")


def record(settings: Config) -> str:
    (key,) = read_dkim_keys(settings.dkim.keys)
    return dkim_record(key)


def asked(
    settings: Config,
    records: Mapping[tuple[str, str], Sequence[str]],
    place: str,
    broken: Sequence[str] = (),
) -> Finding:
    """The one finding about a name, from a server with these records."""
    with NameServer(records, broken) as server:
        findings = check(settings, dns=True, resolver=server.resolver)
    (finding,) = (each for each in findings if each.place == place)
    return finding


def quoted(text: str) -> str:
    """As strings of a TXT record, which have at most 255 octets each."""
    return " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))


def test_published_key_is_found(signing: Config) -> None:
    (key,) = read_dkim_keys(signing.dkim.keys)
    text = dkim_zone_line(key).partition(" IN TXT ")[2]
    finding = asked(signing, {(NAME, "TXT"): [text, '"unrelated text"']}, NAME)
    assert finding == Finding(Level.OK, NAME, "matches our private key; a test signature verifies")


def test_harmless_changes_to_a_record_are_accepted(signing: Config) -> None:
    text = record(signing).replace("v=DKIM1; ", "").replace("p=", "t=s; s=email; h=sha256; p= ")
    middle = len(text) - 20
    text = f"{text[:middle]} {text[middle:]};"
    assert asked(signing, {(NAME, "TXT"): [quoted(text)]}, NAME).level is Level.OK


def test_record_without_k_means_rsa(tmp_path: Path) -> None:
    for algorithm, level in (("rsa", Level.OK), ("ed25519", Level.ERROR)):
        new_dkim_key(tmp_path / f"{algorithm}.pem", algorithm)  # type: ignore[arg-type]
        key = f"{{domain: example.com, selector: s1, file: {algorithm}.pem}}"
        settings = config(tmp_path, f"dkim: {{keys: [{key}]}}")
        text = record(settings).replace(f"k={algorithm}; ", "")
        assert asked(settings, {(NAME, "TXT"): [quoted(text)]}, NAME).level is level


@pytest.mark.parametrize(
    ("change", "level", "text"),
    [
        (("p=", "p=AAAA"), Level.ERROR, "does not match our private"),
        (("v=DKIM1", "v=DKIM2"), Level.ERROR, "must begin with v=DKIM1"),
        (("; p=", "; n=a; n=b; p="), Level.ERROR, "dkimpy cannot verify a test"),
        (("; p=", "; h=sha1; p="), Level.ERROR, "does not allow sha256"),
        (("; p=", "; s=tlsrpt; p="), Level.ERROR, "not valid for email"),
        (("; p=", "; t=y:s; p="), Level.WARNING, "test mode"),
    ],
)
def test_wrong_records(signing: Config, change: tuple[str, str], level: Level, text: str) -> None:
    wrong = record(signing).replace(*change)
    finding = asked(signing, {(NAME, "TXT"): [quoted(wrong)]}, NAME)
    assert (finding.level, text in finding.text) == (level, True)


@pytest.mark.parametrize(
    ("texts", "text"),
    [
        ([], "no DKIM record"),
        (['"v=spf1 -all"'], "no DKIM record"),
        ([f'"{REVOKED}"'], "revoked"),
        ([f'"{REVOKED}A"', f'"{REVOKED}B"'], "several"),
    ],
)
def test_missing_and_revoked_records(signing: Config, texts: list[str], text: str) -> None:
    finding = asked(signing, {(NAME, "TXT"): texts} if texts else {}, NAME)
    assert (finding.level, text in finding.text) == (Level.ERROR, True)


def test_failing_name_server_is_not_a_missing_record(signing: Config) -> None:
    finding = asked(signing, {}, NAME, broken=[NAME])
    assert finding.level is Level.ERROR
    assert finding.text.startswith("no answer: ")


def test_keys_that_do_not_sign_need_no_record(tmp_path: Path) -> None:
    new_dkim_key(tmp_path / "s1.pem", "ed25519")
    key = "{domain: example.com, selector: s1, file: s1.pem}"
    settings = config(tmp_path, f"dkim: {{enabled: false, keys: [{key}]}}")
    with NameServer({}) as server:
        findings = check(settings, dns=True, resolver=server.resolver)
    assert not any(finding.place == NAME for finding in findings)


TRACKING = """
link_keys: link-keys
url_domain: https://click.example.com:8443
mail_classes: {own: {url_domain: 'https://go.example.net'}, six: {url_domain: 'http://[::1]'}}
"""


@pytest.mark.parametrize(
    ("records", "level", "text"),
    [
        ({("click.example.com", "A"): ["192.0.2.1"]}, Level.OK, "resolves to 192.0.2.1"),
        ({("click.example.com", "AAAA"): ["2001:db8::1"]}, Level.OK, "resolves to 2001:db8::1"),
        ({("click.example.com", "TXT"): ["x"]}, Level.ERROR, "has no A or AAAA record"),
        ({}, Level.ERROR, "has no A or AAAA record"),
    ],
)
def test_tracking_hosts(
    tmp_path: Path, records: dict[tuple[str, str], list[str]], level: Level, text: str
) -> None:
    finding = asked(config(tmp_path, TRACKING), records, "click.example.com")
    assert (finding.level, text in finding.text) == (level, True)


ELSEWHERE = ("redis", "state_dir", "dkim.keys", "link_keys", "suppress", "listen")
"""What `check` has to say of the rest of that configuration."""


def test_hosts_of_all_classes_are_checked_but_not_ip_addresses(tmp_path: Path) -> None:
    with NameServer({}) as server:
        findings = check(config(tmp_path, TRACKING), dns=True, resolver=server.resolver)
    places = {each.place for each in findings} - {*ELSEWHERE}
    assert places == {"click.example.com", "go.example.net"}


MAILBOXES = """
bounce_mailbox: bounces@bounce.example.com
unsubscribe_mailbox: unsubscribe@example.net
mail_classes: {own: {bounce_mailbox: b@example.org, list_unsubscribe: false}}
link_keys: link-keys
"""


@pytest.mark.parametrize(
    ("records", "level", "text"),
    [
        (
            {("bounce.example.com", "MX"): ["10 mx1.", "20 mx2."]},
            Level.OK,
            "MX for bounces and unsubscribes: mx1, mx2",
        ),
        ({("bounce.example.com", "MX"): ["0 ."]}, Level.ERROR, "null MX"),
        ({("bounce.example.com", "A"): ["192.0.2.1"]}, Level.WARNING, "has no MX"),
        (
            {("bounce.example.com", "TXT"): ["x"]},
            Level.ERROR,
            "neither an MX nor an address record",
        ),
        ({}, Level.ERROR, "neither an MX nor an address record"),
    ],
)
def test_bounce_domain(
    tmp_path: Path, records: dict[tuple[str, str], list[str]], level: Level, text: str
) -> None:
    finding = asked(config(tmp_path, MAILBOXES), records, "bounce.example.com")
    assert (finding.level, text in finding.text) == (level, True)


def test_domains_of_all_mailboxes_are_checked(tmp_path: Path) -> None:
    with NameServer({}) as server:
        findings = check(config(tmp_path, MAILBOXES), dns=True, resolver=server.resolver)
    places = {finding.place for finding in findings}
    assert {"bounce.example.com", "example.net", "example.org"} <= places
