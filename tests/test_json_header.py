"""Headers of other vendors that contain JSON: their keys and values, in the order of the table."""

from __future__ import annotations

import pytest
from fletching.policy.dialects.json_header import entries
from fletching.policy.dialects.table import Key, VendorError

from tests.cases import for_every

KEYS = tuple(
    Key(path, "", "", "1", lambda _value: ())
    for path in ("data", "options.pool", "options.deep.flag", "tags")
)

READ = {
    "nothing": ("{}", []),
    "in the order of the table": ('{"tags": 1, "data": 2}', [("data", 2), ("tags", 1)]),
    "in objects": (
        '{"options": {"deep": {"flag": 3}, "pool": 4}}',
        [("options.pool", 4), ("options.deep.flag", 3)],
    ),
    "empty objects": ('{"options": {"deep": {}}}', []),
    "unknown keys, last": (
        '{"other": 1, "tags": 2, "options": {"other": 3}}',
        [("tags", 2), ("", None), ("options", None)],
    ),
    "a path as a name": ('{"options.pool": 1}', [("", None)]),
    "part of a name": ('{"tag": 1, "option": {}, "tagss": 2}', [("", None)] * 3),
    "folds": ('{"tags":\t"a b",\t "data": 1}', [("data", 1), ("tags", "a b")]),
    "a fold by a tab inside a text": ('{"tags": "a\tb"}', [("tags", "a b")]),
    "the last of two": ('{"tags": 1, "tags": 2}', [("tags", 2)]),
    "null": ('{"tags": null}', [("tags", None)]),
}

REFUSED = {
    "": "must be valid JSON",
    "{": "must be valid JSON",
    "{'a': 1}": "must be valid JSON",
    '{"a": NaN}': "must be valid JSON",
    '{"a": -Infinity}': "must be valid JSON",
    '{"a": 1} 2': "must be valid JSON",
    '{"a": "\x01"}': "must be valid JSON",
    "[" * 100_000: "must be valid JSON",
    "[]": "must be an object in JSON",
    "1": "must be an object in JSON",
    "null": "must be an object in JSON",
    '{"options": 1}': "options must be an object",
    '{"options": []}': "options must be an object",
    '{"options": {"deep": null}}': "options.deep must be an object",
}


@for_every(READ)
def test_reads(text: str, expected: list[tuple[str, object]]) -> None:
    assert [(entry.path, entry.value) for entry in entries(text, KEYS)] == expected


@for_every(list(REFUSED.items()))
def test_refuses(text: str, rule: str) -> None:
    with pytest.raises(VendorError) as raised:
        entries(text, KEYS)
    assert str(raised.value) == rule


def test_only_a_key_of_the_table_has_a_row() -> None:
    known, unknown = entries('{"tags": 1, "other": 2}', KEYS)
    assert (known.key, unknown.key) == (KEYS[3], None)


def test_longest_length() -> None:
    longest = '{"tags": "' + "x" * (100 * 1024 - 12) + '"}'
    assert len(longest) == 100 * 1024
    assert len(entries(longest, KEYS)) == 1
    with pytest.raises(VendorError, match="must be at most 100 KiB long"):
        entries(longest + " ", KEYS)
