"""`fletching check --live` on a working set-up: what it says, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fletching.checks.finding import Finding, Level
from fletching.checks.live.all import check_live
from fletching.config.load import load

from sandbox.name_server import NameServer
from sandbox.postfix import Postfix
from tests.real.fletching import Fletching

pytestmark = pytest.mark.slow

_STRING = 200


@pytest.fixture
def names(fletching: Fletching) -> Iterator[NameServer]:
    """A name server with the DKIM records of the set-up."""
    with NameServer(
        {(name, "TXT"): [_strings(text)] for name, text in fletching.records.items()}
    ) as server:
        yield server


def _strings(text: str) -> str:
    return " ".join(f'"{text[at : at + _STRING]}"' for at in range(0, len(text), _STRING))


def checked(fletching: Fletching, postfix: Postfix, names: NameServer) -> list[Finding]:
    fletching.configure({"seeds": {"submit": f"127.0.0.1:{postfix.port}"}})
    config = load(fletching.config_path)
    command = ("postconf", "-c", str(postfix.config_directory))
    return list(check_live(config, resolver=names.resolver, postconf_command=command))


def test_check_mail_arrives_by_each_virtual_mta(
    fletching: Fletching, postfix: Postfix, names: NameServer
) -> None:
    found = checked(fletching, postfix, names)
    assert {each.level for each in found} == {Level.OK}, found
    by = {each.place: each.text for each in found}
    for name in ("transactional", "a", "b"):
        assert (
            f"by vmta-{name}, from 127.0.0.1 as mx.fletching.example, signed by example.com"
            in (by[f"check mail by {name}"])
        )


def test_check_mails_count_nowhere(
    fletching: Fletching, postfix: Postfix, names: NameServer
) -> None:
    checked(fletching, postfix, names)
    assert '"campaigns": []' in fletching.command("stats", "--json")
    assert postfix.queue() == ()
