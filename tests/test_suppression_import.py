"""What `fletching suppression import` reads in a file: addresses by line, or CSV of any program."""

from __future__ import annotations

import re

import pytest
from fletching.admin.suppression import SuppressionError
from fletching.admin.suppression_import import Form, Wrong, entries
from fletching.mail import address
from fletching.mail.address import is_address
from fletching.store.suppression import SuppressedAddress
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import for_every

NOW = 1_790_000_000_000
FORM = Form("t1", "import", NOW)
RULE = "must be a bare mail address such as name@example.com"


def entry(
    address: str,
    reason: str = "by_hand",
    ms: int = NOW,
    source: str = "import",
    listid: str = "t1",
) -> SuppressedAddress:
    return SuppressedAddress(listid, address, reason, ms, source)


FILES = {
    "nothing": (b"", []),
    "an address on each line": (b"a@x.org\r\n\n  b@x.org ", [entry("a@x.org"), entry("b@x.org")]),
    "a quoted local part": (b'"a b"@x.org\n', [entry('"a b"@x.org')]),
    "one column": (b"email\na@x.org\n", [entry("a@x.org")]),
    "a byte order mark": (b'\xef\xbb\xbf"Email"\na@x.org', [entry("a@x.org")]),
    "semicolons": (b"Name;E-Mail\nM\xfcller; a@x.org\n", [entry("a@x.org")]),
    "tabs": (b"Email Address\tName\na@x.org\tAnn\n", [entry("a@x.org")]),
    "a postal address beside it": (b"address,email\n1 High St,a@x.org\n", [entry("a@x.org")]),
    "quotes and line ends in a value": (
        b'email,why\r\na@x.org,"said ""no"",\r\ntwice"\r\nb@x.org,\r\n',
        [entry("a@x.org"), entry("b@x.org")],
    ),
    "more and fewer values than columns": (
        b"id,email,a\n1,a@x.org\n2,b@x.org,b,c\n",
        [entry("a@x.org"), entry("b@x.org")],
    ),
    "reason, time and source of ours": (
        b"listid,address,reason,since,source\nt9,a@x.org,complained,2026-09-01T00:00:00Z,mail\n",
        [entry("a@x.org", "complained", 1788220800000, "mail")],
    ),
    "reason, time and source of another program": (
        b"email,reason,since,source\na@x.org,550 5.1.1 unknown user,yesterday,api\n",
        [entry("a@x.org")],
    ),
    "a time in the future, and one without a zone": (
        b"email,since\na@x.org,2999-01-01T00:00:00Z\nb@x.org,2020-01-01T00:00:00\n",
        [entry("a@x.org"), entry("b@x.org")],
    ),
    "no address": (
        b"email,n\nb,1\n,2\nc@x.org,3\n",
        [Wrong(2, RULE), Wrong(3, RULE), entry("c@x.org")],
    ),
    "a value that is not UTF-8": (b"a@x.org\n\xff@x.org\n", [entry("a@x.org"), Wrong(2, RULE)]),
    "a quote that never ends": (b'email\n"a@x.org\n' + b"x" * 200_000, [Wrong(3, "not CSV")]),
}  # fmt: skip


@for_every(FILES)
def test_entries_of_a_file(file: bytes, expected: list[SuppressedAddress | Wrong]) -> None:
    assert list(entries(file.splitlines(keepends=True), FORM)) == expected


def test_list_of_each_line_counts_without_a_list() -> None:
    lines = [b"listid,email\n", b"t7,a@x.org\n", b"no list,b@x.org\n", b",c@x.org\n"]
    found = list(entries(lines, Form(None, "import", NOW)))
    rule = "must be 1 to 20 of A to Z, a to z, 0 to 9, _ and +"
    assert found == [entry("a@x.org", listid="t7"), Wrong(3, rule), Wrong(4, rule)]
    assert [each.listid for each in entries(lines, FORM) if not isinstance(each, Wrong)] == (
        ["t1", "t1", "t1"]
    )


def test_file_without_lists_needs_one() -> None:
    for lines in ([], [b"a@x.org\n"], [b"email\n", b"a@x.org\n"]):
        with pytest.raises(SuppressionError, match="no list: LISTID is missing"):
            list(entries(lines, Form(None, "import", NOW)))


def test_obscured_values_are_read_if_they_are_allowed() -> None:
    lines = [b"user-7\n", "\xe4@b\xfccher.example\n".encode(), "\xe4\n".encode()]
    obscured = Form("t1", "import", NOW, obscured=True)
    rule = "must be a mail address, or 1 to 255 printable ASCII characters"
    assert list(entries(lines, obscured)) == [
        *(entry("user-7"), entry("\xe4@b\xfccher.example"), Wrong(3, rule)),
    ]
    assert list(entries(lines[:1], FORM)) == [Wrong(1, RULE)]


@given(st.binary(max_size=200) | st.text('email,;\t"\n\r@x.', max_size=60).map(str.encode))
def test_any_bytes_are_entries_or_invalid_lines(file: bytes) -> None:
    list(entries(file.splitlines(keepends=True), FORM))


_WORD = st.text("aZ09_-+.", max_size=8)


@given(st.builds("{}@{}.{}".format, _WORD, _WORD, _WORD))
def test_usual_addresses_are_checked_as_all_others(text: str) -> None:
    with pytest.MonkeyPatch.context() as patched:
        usual = is_address(text)
        patched.setattr(address, "_USUAL", re.compile("(?!)"))
        assert is_address(text) or not usual
