"""What `fletching postfix` prints, read by Postfix's own commands."""

from __future__ import annotations

import itertools
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from fletching.config.load import parse
from fletching.config.model import Config
from fletching.policy.return_path import sender_suffix
from fletching.postfix.one_recipient import one_recipient
from fletching.postfix.settings import endpoint, pieces

from tests.postfix_files import PostfixFiles

VIRTUAL_MTAS = """
virtual_mtas:
  a: {transport: vmta-a, address: 192.0.2.10, helo: a.example.com}
  six: {transport: vmta_6, address: "2001:db8::6"}
  plain: {transport: plain}
  default: {transport: smtp}
  bulk: {pool: {a: 3, six: 1}}
"""
TAG = "abcdefghijklmnopqrstuvwxyz234567"


def config(text: str = "", folder: Path = Path("/etc/fletching")) -> Config:
    listen = "listen: unix:/var/spool/postfix/fletching/milter.sock\n"
    return parse((listen + text).encode(), folder / "fletching.yaml")


@pytest.fixture
def files(tmp_path: Path) -> PostfixFiles:
    return PostfixFiles(tmp_path / "postfix")


def take_out(text: str, files: PostfixFiles) -> None:
    """Follows what a piece says, on our files in place of the machine's."""
    commands = re.findall(r"(?m)^#\s+(?:Remove:\s+)?((?:sed -i|postconf -MX) .*)$", text)
    assert commands
    for command in commands:
        argv = shlex.split(command.replace("/etc/postfix", str(files.directory)))
        if argv[0] == "sed":
            subprocess.run(argv, check=True)
        else:
            files.shell([command])


def test_main_cf_is_read_as_intended(files: PostfixFiles) -> None:
    files.add(pieces(config(VIRTUAL_MTAS)))
    asked = ("smtpd_milters", "non_smtpd_milters", "milter_default_action", "milter_protocol")
    smtpd, local, action, protocol = files.ask("postconf", "-xh", *asked).splitlines()
    assert smtpd.startswith("{ unix:fletching/milter.sock, default_action=tempfail, ")
    assert local == smtpd
    assert (action, protocol) == ("tempfail", "6")
    table = files.ask("postconf", "-xh", "milter_header_checks").strip()
    assert table == f"regexp:{files.directory}/milter_header_checks"


def test_each_virtual_mta_has_a_service(files: PostfixFiles) -> None:
    before = files.ask("postconf", "-M")
    files.add(pieces(config(VIRTUAL_MTAS)))
    services = files.ask("postconf", "-M").removeprefix(before)
    assert re.findall(r"(?m)^(\S+) +unix +- +- +n +- +- +smtp", services) == [
        "plain",
        "vmta-a",
        "vmta_6",
    ]
    settings = files.ask("postconf", "-P")
    for line in (
        "vmta-a/unix/smtp_bind_address = 192.0.2.10",
        "vmta-a/unix/smtp_bind_address_enforce = yes",
        "vmta-a/unix/inet_protocols = ipv4",
        "vmta-a/unix/smtp_helo_name = a.example.com",
        "vmta-a/unix/syslog_name = postfix/vmta-a",
        "vmta_6/unix/smtp_bind_address6 = 2001:db8::6",
        "vmta_6/unix/inet_protocols = ipv6",
    ):
        assert f"{line}\n" in settings
    assert "plain/unix/smtp_bind" not in settings
    assert "vmta_6/unix/smtp_helo_name" not in settings


def test_without_virtual_mtas_nothing_is_added_to_master_cf(files: PostfixFiles) -> None:
    before = files.services
    files.add(pieces(config()))
    assert files.services == before
    assert files.look_up("regexp:milter_header_checks", "X-Fletching-Route: smtp") == ""


@pytest.mark.parametrize(
    ("header", "action"),
    [
        ("X-Fletching-Route: vmta-a", "FILTER vmta-a:"),
        ("X-Fletching-Route: vmta_6", "FILTER vmta_6:"),
        ("X-Fletching-Route: smtp", "FILTER smtp:"),
        ("X-Fletching-Route: relay", ""),
        ("X-Fletching-Route: vmta-a:[192.0.2.1]", ""),
        ("X-Fletching-Route: vmta-ab", ""),
        ("X-Fletching-Route: xvmta-a", ""),
        ("X-Fletching-Route:  vmta-a", ""),
        ("X-Fletching-Route-Too: vmta-a", ""),
        ("Subject: X-Fletching-Route: vmta-a", ""),
        ("DKIM-Signature: v=1", ""),
    ],
)
def test_table_selects_only_configured_transports(
    files: PostfixFiles, header: str, action: str
) -> None:
    files.add(pieces(config(VIRTUAL_MTAS)))
    assert files.look_up("regexp:milter_header_checks", header) == action


RELAYS = """
virtual_mtas:
  far: {transport: relay-far, relay: "[smtp.example.net]:587",
        fallback_relay: ["[b.example.net]:587", "c.example.net"]}
  six: {transport: relay-far, relay: "[2001:db8::1]"}
  near: {transport: relay-near, relay: near.example.net}
"""
FAR, SIX = "relay-far:[smtp.example.net]:587", "relay-far:[2001:db8::1]"


@pytest.mark.parametrize(
    ("header", "action"),
    [
        (f"X-Fletching-Route: {FAR}", f"FILTER {FAR}"),
        (f"X-Fletching-Route: {SIX}", f"FILTER {SIX}"),
        ("X-Fletching-Route: relay-near:near.example.net", "FILTER relay-near:near.example.net"),
        ("X-Fletching-Route: relay-far", ""),
        ("X-Fletching-Route: relay-far:", ""),
        ("X-Fletching-Route: relay-near:[smtp.example.net]:587", ""),
        (f"X-Fletching-Route: {FAR}7", ""),
        ("X-Fletching-Route: relay-near:nearXexample.net", ""),
        ("X-Fletching-Route: relay-far:s:587", ""),
    ],
)
def test_table_selects_only_configured_relays(
    files: PostfixFiles, header: str, action: str
) -> None:
    files.add(pieces(config(RELAYS)))
    assert files.look_up("regexp:milter_header_checks", header) == action


def test_service_of_a_relay_has_its_fallback_relays(files: PostfixFiles) -> None:
    made = pieces(config(RELAYS))
    files.add(made)
    settings = files.ask("postconf", "-P")
    fallback = "smtp_fallback_relay = [b.example.net]:587,c.example.net"
    assert f"relay-far/unix/{fallback}\n" in settings
    assert "relay-near/unix/smtp_fallback" not in settings
    assert "smtp_sasl_password_maps" in made.master_cf
    assert "smtp_sasl_password_maps" not in pieces(config(VIRTUAL_MTAS)).master_cf


def test_return_paths_select_their_relay(files: PostfixFiles) -> None:
    files.add(pieces(config(f"{RELAYS}route_by: sender\n")))
    for route in (FAR, SIX, "relay-near:near.example.net"):
        sender = f"bounces+{TAG}-{sender_suffix(route)}@example.com"
        assert files.look_up("regexp:fletching_senders", sender) == route


@pytest.mark.parametrize("route_by", ["header", "sender"])
def test_printed_settings_can_be_removed(files: PostfixFiles, route_by: str) -> None:
    before = files.main_cf.read_bytes(), files.services
    made = pieces(config(f"{VIRTUAL_MTAS}\nroute_by: {route_by}\n"))
    files.add(made)
    # An admin's own change in the meantime. It makes postconf(1) move comments in master.cf.
    files.ask("postconf", "-P", "submission/inet/smtpd_tls_security_level=encrypt")
    files.ask("postconf", "-PX", "submission/inet/smtpd_tls_security_level")
    take_out(made.main_cf, files)
    take_out(made.master_cf, files)
    assert (files.main_cf.read_bytes(), files.services) == before


@pytest.mark.parametrize(
    ("listen", "words"),
    [
        ("unix:/run/fletching/milter.sock", "unix:/run/fletching/milter.sock"),
        ("unix:/var/spool/postfix/fletching/m", "unix:fletching/m"),
        ("unix:/var/spool/postfix-2/m", "unix:/var/spool/postfix-2/m"),
        ("inet:8899@127.0.0.1", "inet:127.0.0.1:8899"),
        ("inet:8899@0.0.0.0", "inet:127.0.0.1:8899"),
        ("inet:8899@milter.example.com", "inet:milter.example.com:8899"),
        ("inet6:8899@[::1]", "inet:[::1]:8899"),
        ("inet6:8899@[::]", "inet:[::1]:8899"),
    ],
)
def test_listen_in_postfix_notation(listen: str, words: str) -> None:
    assert endpoint(listen) == words


@pytest.mark.parametrize(
    ("listen", "warning"),
    [
        ("unix:/run/fletching/milter.sock", "would look for this path below"),
        ("inet:8899@127.0.0.1", "can have mail signed"),
    ],
)
def test_main_cf_warns_about_its_socket(listen: str, warning: str) -> None:
    assert warning in pieces(parse(f"listen: {listen}".encode(), Path("x"))).main_cf


# route_by: sender


@pytest.mark.parametrize("delimiter", ["+", "-", "=", "_", ".", "~", "#"])
def test_return_paths_select_their_transport(files: PostfixFiles, delimiter: str) -> None:
    by_sender = f"{VIRTUAL_MTAS}\nroute_by: sender\nrecipient_delimiter: '{delimiter}'\n"
    made = pieces(config(by_sender))
    files.add(made)
    assert "milter_header_checks" not in made.tables
    maps = files.ask("postconf", "-xh", "sender_dependent_default_transport_maps").strip()
    assert maps == f"regexp:{files.directory}/fletching_senders"
    for transport in ("vmta-a", "vmta_6", "plain", "smtp"):
        sender = f"bounces{delimiter}{TAG}-{sender_suffix(transport)}@example.com"
        for each in (sender, sender.upper(), sender.replace(TAG, TAG[:21])):
            assert files.look_up("regexp:fletching_senders", each) == f"{transport}:"


@pytest.mark.parametrize(
    "sender",
    [
        "bounces@example.com",
        f"bounces+{TAG}@example.com",
        f"bounces+{TAG}-{sender_suffix('relay')}@example.com",
        f"bounces+abc-{sender_suffix('vmta-a')}@example.com",
        f"{TAG}-{sender_suffix('vmta-a')}@example.com",
        f"someone@{TAG}-{sender_suffix('vmta-a')}.example.com",
        f"bounces+{TAG}-{sender_suffix('vmta-a')}",
    ],
)
def test_other_senders_select_no_transport(files: PostfixFiles, sender: str) -> None:
    files.add(pieces(config(f"{VIRTUAL_MTAS}\nroute_by: sender\n")))
    assert files.look_up("regexp:fletching_senders", sender) == ""


def test_suffix_never_changes() -> None:
    """Mail in a queue has it: another value would send that mail another way."""
    assert [sender_suffix(name) for name in ("vmta-a", "vmta-b")] == ["xbf4", "go4c"]


def test_transports_of_one_suffix_are_refused() -> None:
    seen: dict[str, str] = {}
    for number in itertools.count():
        name = f"vmta-{number}"
        other = seen.setdefault(sender_suffix(name), name)
        if other != name:
            break
    text = f"virtual_mtas: {{a: {{transport: {name}}}, b: {{transport: {other}}}}}\n"
    with pytest.raises(ValueError, match=f"{other} and {name}|{name} and {other}"):
        pieces(config(f"{text}route_by: sender\n"))
    pieces(config(text))


# One recipient each

USERS = "users: {crm: {}, 'a.b+c@example.com': {}, 'DOMAIN\\x': {}}\n"


def test_recipe_can_be_switched_on_and_off(files: PostfixFiles) -> None:
    settings = config(USERS + VIRTUAL_MTAS)
    files.add(pieces(settings))
    before = files.main_cf.read_bytes(), files.services
    recipe = one_recipient(settings)
    files.add(recipe)
    files.shell(recipe.switch_on)
    settings_on = files.ask("postconf", "-P")
    for line in (
        "submission/inet/smtpd_milters =",
        "submission/inet/content_filter = fletching-split:[127.0.0.1]:10588",
        "smtp/inet/smtpd_milter_maps = cidr:$config_directory/fletching_networks_milters",
        "127.0.0.1:10587/inet/content_filter =",
        "127.0.0.1:10589/inet/smtpd_milters = $fletching_milter",
        "127.0.0.1:10589/inet/milter_macro_defaults = {auth_type=forwarded},{auth_authen=crm}",
    ):
        assert f"{line}\n" in settings_on
    assert "127.0.0.1:10587/inet/milter_macro_defaults" not in settings_on
    limit = files.ask("postconf", "-h", "fletching-split_destination_recipient_limit")
    assert limit == "1\n"

    files.shell(recipe.switch_off)
    take_out(recipe.master_cf, files)
    assert (files.main_cf.read_bytes(), files.services) == before


def test_recipe_contains_its_commands() -> None:
    recipe = one_recipient(config(USERS))
    told = re.findall(r"(?m)^#       (postconf -PX? .*)$", recipe.master_cf)
    assert tuple(told) == (*recipe.switch_on, *recipe.switch_off)


@pytest.mark.parametrize(
    ("login", "port"),
    [
        ("crm", 10589),
        ("CRM", 10589),
        ("a.b+c@example.com", 10590),
        ("DOMAIN\\x", 10591),
        ("aXb+c@example.com", None),
        ("crm2", None),
        ("crm@shop.example", 10589),
        ("crm@", 10589),
        ("crm@a@b", None),
        ("a.b+c@example.com@realm", 10590),
        ("a.b+c@example.org", None),
        ("forwarded", None),
    ],
)
def test_logins_go_to_their_listener(files: PostfixFiles, login: str, port: int | None) -> None:
    files.add(one_recipient(config(USERS)))
    wanted = f"FILTER fletching-split:[127.0.0.1]:{port}" if port else ""
    assert files.look_up("regexp:fletching_logins", login) == wanted


def test_only_trusted_networks_are_sent_to_their_listener(files: PostfixFiles) -> None:
    files.add(one_recipient(config("trusted: {networks: [127.0.0.0/8, '2001:db8::/32']}")))
    for address in ("127.0.0.1", "2001:db8::5"):
        wanted = "FILTER fletching-split:[127.0.0.1]:10587"
        assert files.look_up("cidr:fletching_networks", address) == wanted
        assert files.look_up("cidr:fletching_networks_milters", address) == "DISABLE"
    for address in ("192.0.2.1", "::1"):
        assert files.look_up("cidr:fletching_networks", address) == ""
        assert files.look_up("cidr:fletching_networks_milters", address) == ""


def test_recipe_redirects_only_trusted_clients() -> None:
    no_logins = one_recipient(config("trusted: {authenticated: false}\n" + USERS))
    assert not any("submission" in command for command in no_logins.switch_on)
    assert "auth_authen" not in no_logins.master_cf
    assert "fletching_logins" not in no_logins.tables
    no_networks = one_recipient(config("trusted: {networks: []}"))
    assert not any("smtp/inet" in command for command in no_networks.switch_on)
    assert set(no_networks.tables) == {"fletching_logins"}
    elsewhere = one_recipient(config("trusted: {networks: [192.0.2.0/24]}"))
    assert "BEFORE USE: add 127.0.0.1 to trusted.networks" in elsewhere.master_cf
    assert "BEFORE USE" not in one_recipient(config()).master_cf


@pytest.mark.parametrize("login", ["two words", "a,b", "{a}", "$a"])
def test_recipe_refuses_a_login_that_master_cf_cannot_hold(login: str) -> None:
    with pytest.raises(ValueError, match="this login cannot be written"):
        one_recipient(config(f"users: {{'{login}': {{}}}}"))


def test_printed_names_each_file() -> None:
    names = re.findall(r"(?m)^######## (\S+) ########$", str(pieces(config(VIRTUAL_MTAS))))
    assert names == ["main.cf", "master.cf", "milter_header_checks"]
    recipe = str(one_recipient(config(VIRTUAL_MTAS)))
    assert re.findall(r"(?m)^######## (\S+) ########$", recipe) == [
        "main.cf",
        "master.cf",
        "fletching_logins",
        "fletching_networks",
        "fletching_networks_milters",
    ]
