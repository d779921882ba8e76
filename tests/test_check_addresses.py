"""`fletching check --postfix`: the addresses and names that mail of a VirtualMTA leaves with."""

from __future__ import annotations

from pathlib import Path

import pytest
from fletching.checks.all import Finding, Level, check
from fletching.config.load import parse
from fletching.config.model import Config
from fletching.postfix.settings import pieces

from tests.postfix_files import PostfixFiles

LOCAL = "127.0.0.2"
NOT_HERE = "192.0.2.10"


def config(options: str) -> Config:
    text = f"redis: embedded\nvirtual_mtas: {{a: {{transport: vmta-a, {options}}}}}\n"
    return parse(text.encode(), Path("/etc/fletching/fletching.yaml"))


def found(files: PostfixFiles, settings: Config) -> list[Finding]:
    """What is not well about the VirtualMTA."""
    files.let_rest()
    findings = check(settings, postfix=True, postconf_command=files.postconf)
    places = ("virtual_mtas.", "master.cf")
    return [
        each for each in findings if each.place.startswith(places) and each.level is not Level.OK
    ]


@pytest.fixture
def files(tmp_path: Path) -> PostfixFiles:
    return PostfixFiles(tmp_path / "postfix")


@pytest.mark.parametrize("options", [f"address: {LOCAL}", f"address: {LOCAL}, helo: a.example"])
def test_what_we_print_is_right(files: PostfixFiles, options: str) -> None:
    files.add(pieces(config(options)))
    assert found(files, config(options)) == []


@pytest.mark.parametrize(
    ("address", "enforce", "happens"),
    [
        (NOT_HERE, "yes", "waits in the queue"),
        (NOT_HERE, "no", "leaves from another address"),
        ("2001:db8::10", "yes", "waits in the queue"),
    ],
)
def test_address_that_is_not_on_this_host(
    files: PostfixFiles, address: str, enforce: str, happens: str
) -> None:
    settings = config(f"address: '{address}'")
    files.add(pieces(settings))
    files.ask("postconf", "-P", f"vmta-a/unix/smtp_bind_address_enforce={enforce}")
    (finding,) = found(files, settings)
    assert (finding.level, finding.place) == (Level.ERROR, "virtual_mtas.a.address")
    assert happens in finding.text
    assert f"ip address add {address} dev" in finding.text


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ("smtp_bind_address=127.0.0.3", "smtp_bind_address is 127.0.0.3, but"),
        ("smtp_bind_address=", "smtp_bind_address is empty, but"),
        ("smtp_bind_address=::1", "smtp_bind_address is ::1, but"),
    ],
)
def test_address_that_differs_from_master_cf(files: PostfixFiles, edit: str, says: str) -> None:
    settings = config(f"address: {LOCAL}")
    files.add(pieces(settings))
    files.ask("postconf", "-P", f"vmta-a/unix/{edit}")
    (finding,) = found(files, settings)
    assert (finding.level, finding.place) == (Level.ERROR, "master.cf vmta-a")
    assert says in finding.text


def test_address_in_another_spelling_is_the_same(files: PostfixFiles) -> None:
    settings = config("address: '::1'")
    files.add(pieces(settings))
    files.ask("postconf", "-P", "vmta-a/unix/smtp_bind_address6=0:0:0:0:0:0:0:1")
    assert [each for each in found(files, settings) if each.place == "master.cf vmta-a"] == []


def test_address_of_main_cf_counts_where_the_service_has_none(files: PostfixFiles) -> None:
    files.add(pieces(config("helo: a.example")))
    files.set(f"smtp_bind_address={LOCAL}")
    assert found(files, config(f"address: {LOCAL}, helo: a.example")) == []


@pytest.mark.parametrize("service", ["smtp_helo_name=b.example", "smtp_helo_name=$myhostname"])
def test_ehlo_name_that_differs_from_master_cf(files: PostfixFiles, service: str) -> None:
    settings = config("helo: a.example")
    files.add(pieces(settings))
    files.ask("postconf", "-P", f"vmta-a/unix/{service}")
    (finding,) = found(files, settings)
    assert (finding.level, finding.place) == (Level.ERROR, "master.cf vmta-a")
    assert "smtp_helo_name is " in finding.text
    assert "virtual_mtas.a.helo is a.example" in finding.text


def test_ehlo_name_is_compared_without_case(files: PostfixFiles) -> None:
    settings = config("helo: a.example")
    files.add(pieces(settings))
    files.ask("postconf", "-P", "vmta-a/unix/smtp_helo_name=A.Example")
    assert found(files, settings) == []
