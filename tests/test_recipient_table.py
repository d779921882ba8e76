"""The files of `recipient_in`: what a line may be, and how they are read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fletching.config.faults import with_line
from fletching.config.load import ConfigError, load
from fletching.policy.rules.recipient_table import MOST, RecipientTable, TableError, digest, table
from fletching.policy.setup import Setup
from fletching.startup import open_setup

from tests.cases import for_every
from tests.setting import envelope, mail

RULES = "rules:\n  - when: {recipient_in: [vip.txt, more/bulk.txt]}\n    last: true\n"


def test_addresses_and_domains_are_found_without_regard_to_case() -> None:
    found = table([b"Joe@Example.COM\r\n", b"\n", b"# a comment\n", "bücher.example\n".encode()])
    wanted = ("joe@example.com", "xn--bcher-kva.example")
    assert all(digest(each) in found for each in wanted)
    assert not any(digest(each) in found for each in ("example.com", "# a comment", ""))
    assert len(found.digests) == 2


@for_every(
    [b"Joe Doe", b"joe@", b"@example.com", b"a@b@c d", b"\xff", b"a..b", b"a\tb", b"x" * 400]
)
def test_line_that_is_no_address_and_no_domain(line: bytes) -> None:
    with pytest.raises(TableError, match=r"^line 2: must be a mail address or a domain$"):
        table([b"example.com", line])


def test_empty_file_has_no_recipient() -> None:
    assert digest("example.com") not in table([])


def test_too_many_lines() -> None:
    def lines() -> Iterator[bytes]:
        for _ in range(MOST + 1):
            yield b"\n"

    with pytest.raises(TableError, match="has more than 1000000 lines"):
        table(lines())


def test_entry_takes_eight_bytes() -> None:
    found = table(b"%d@example.com" % number for number in range(10_000))
    assert sys.getsizeof(found.digests) < 8.2 * 10_000


def opened(folder: Path) -> Setup:
    file = folder / "fletching.yaml"
    file.write_text(f"state_dir: state\n{RULES}")
    with with_line(file):
        return open_setup(load(file))


def matches(setup: Setup, *recipients: str) -> bool:
    return bool(setup.rules.matching(mail(), envelope(*recipients), setup.providers).rules)


def test_files_are_read_when_the_configuration_is_opened(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "vip.txt").write_text("joe@example.com\n")
    (tmp_path / "more" / "bulk.txt").write_text("example.net\n")
    setup = opened(tmp_path)
    assert matches(setup, "JOE@example.com")
    assert matches(setup, "joe@example.com", "ann@Example.NET")
    assert not matches(setup, "joe@example.com", "ann@example.com")
    assert not matches(setup, "ann@sub.example.net")
    (tmp_path / "vip.txt").write_text("ann@example.com\n")
    assert matches(setup, "joe@example.com")
    assert not matches(opened(tmp_path), "joe@example.com")


def test_file_that_cannot_be_used_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as missing:
        opened(tmp_path)
    said = "rules[0].when.recipient_in"
    assert str(missing.value) == (
        f"{tmp_path}/fletching.yaml:3: {said}: {tmp_path}/vip.txt: No such file or directory"
    )
    (tmp_path / "vip.txt").write_text("Joe Doe\n")
    with pytest.raises(ConfigError) as wrong:
        opened(tmp_path)
    assert str(wrong.value) == (
        f"{tmp_path}/fletching.yaml:3: {said}: {tmp_path}/vip.txt: line 1: "
        "must be a mail address or a domain"
    )


def test_lookup_of_an_empty_table() -> None:
    assert 7 not in RecipientTable(table([]).digests)
