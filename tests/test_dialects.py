"""Dialects: what Fletching makes of the headers of other vendors.

`tests/cases/dialects` has a file for each vendor. Lines with `>` are the headers of a mail; what
becomes of it is below. Where something else comes out, it is written beside as `got.VENDOR.txt`:
look at the difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from fletching.config.steering import DialectName
from fletching.outgoing.flow import Outcome
from fletching.policy.dialects import DIALECTS, reference
from fletching.policy.vendor_headers import read

from tests.cases import for_every
from tests.setting import SITE, carried, mail, names, setup

CASES = Path(__file__).parent / "cases" / "dialects"
PAGE = Path(__file__).parent.parent / "docs" / "dialects.md"

SITE_OF_CASES = (
    SITE.replace("  crm:", "  my_stream: {}\n  crm:").replace(
        "  bulk:", "  192.0.2.10: {transport: vmta-a}\n  bulk:"
    )
    + "default_mail_class: newsletter\n"
)
BODY = """\
--b1
Content-Type: text/plain

Look: http://www.example.org/a
--b1
Content-Type: text/html

<p><a href="http://www.example.org/b">Look</a></p>
--b1--
"""
PARTS = ("MIME-Version: 1.0", "Content-Type: multipart/alternative; boundary=b1")


def sent(fields: tuple[str, ...], dialects: str, reaction: str = "ignore") -> Outcome:
    """A mail with these fields, a plain-text part and an HTML part."""
    site = f"{SITE_OF_CASES}dialects: [{dialects}]\non_invalid_header: {reaction}\n"
    return carried(mail(*fields, *PARTS, body=BODY), opened=setup(site))


def described(fields: tuple[str, ...], dialect: str) -> Iterator[str]:
    """What becomes of a mail with these fields, in lines."""
    outcome = sent(fields, dialect)
    headers = tuple(row.header.rstrip("*") for row in DIALECTS[dialect].rows)
    for each in outcome.plan.decisions:
        if each.source.startswith(headers):
            yield f"{each.setting}: {each.text} ({each.source})"
    yield f"tracked: {', '.join(tracked(outcome)) or 'nothing'}"
    yield from (f"warning: {warning}" for warning in outcome.warnings)
    left = {name.decode() for name in names(outcome.final)}
    given = dict.fromkeys(line.partition(":")[0] for line in "\n".join(fields).splitlines())
    if stays := left & given.keys():
        yield f"stays: {', '.join(sorted(stays))}"
    if refusal := sent(fields, dialect, "reject").refusal:
        yield f"if strict: {refusal}"


def tracked(outcome: Outcome) -> Iterator[str]:
    """What has links of ours."""
    text, _, html = outcome.final.body.partition(b"text/html")
    if b"/click?" in text:
        yield "text"
    if b"/click?" in html:
        yield "html"
    if b"/open?" in html:
        yield "opens"


def mails(dialect: str) -> list[tuple[str, ...]]:
    """The header fields of each case; a field may have several lines."""
    text = (CASES / f"{dialect}.txt").read_text("utf-8")
    return [
        tuple(line[2:] for line in block.splitlines() if line.startswith("> "))
        for block in text.split("\n\n")
    ]


@for_every(list(DIALECTS))
def test_golden_mails(dialect: str) -> None:
    blocks = [
        "\n".join([*(f"> {line}" for line in fields), *described(fields, dialect)])
        for fields in mails(dialect)
    ]
    got = "\n\n".join(blocks) + "\n"
    beside = CASES / f"got.{dialect}.txt"
    beside.unlink(missing_ok=True)
    expected = (CASES / f"{dialect}.txt").read_text("utf-8")
    if got != expected:
        beside.write_text(got, "utf-8")
    assert got == expected


@for_every(list(DIALECTS))
def test_every_header_and_key_has_a_golden_mail(dialect: str) -> None:
    text = (CASES / f"{dialect}.txt").read_text("utf-8").lower()
    for row in DIALECTS[dialect].rows:
        assert f"> {row.header.rstrip('*').lower()}" in text, row.header
        for key in row.keys:
            assert f'"{key.path.rpartition(".")[2]}"' in text, key.path


@for_every(list(DIALECTS))
def test_mail_without_the_vendor_s_headers_asks_for_nothing(dialect: str) -> None:
    assert read(mail("X-Other: 1"), (dialect,)) == ()


def test_every_dialect_of_the_option_has_a_table() -> None:
    assert get_args(DialectName) == tuple(DIALECTS)


def test_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == reference.page(), "make docs"
