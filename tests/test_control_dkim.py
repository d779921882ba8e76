"""control.py: the JSON of X-GreenArrow-DKIM."""

from __future__ import annotations

import json

import pytest
from fletching.policy.control import DkimWish

from tests.test_control import asked

ONE_TO_TEN = "must be an object or an array of 1 to 10 objects"
KEYS = "must have no other keys than domain, from_domain, selector, use_key_from, allow_duplicate"


@pytest.mark.parametrize(
    ("value", "wishes"),
    [
        ("{}", [DkimWish()]),
        ('{"domain": "Example.COM"}', [DkimWish(domain="example.com")]),
        ('{"domain": "example.com", "selector": "S1"}',
         [DkimWish(domain="example.com", selector="s1")]),
        # Selectors are often dates.
        ('{"domain": "example.com", "selector": "20260301"}',
         [DkimWish(domain="example.com", selector="20260301")]),
        ('{"selector": "s1.2026"}', [DkimWish(selector="s1.2026")]),
        ('{"from_domain": true}', [DkimWish(from_domain=True)]),
        ('{"from_domain": 1}', [DkimWish(from_domain=True)]),
        ('{"from_domain": 1.5}', [DkimWish(from_domain=True)]),
        ('{"from_domain": 0}', [DkimWish()]),
        ('{"from_domain": 0.5}', [DkimWish()]),
        ('{"from_domain": -1}', [DkimWish()]),
        ('{"from_domain": false}', [DkimWish()]),
        ('{"domain": null, "selector": null, "use_key_from": null, "allow_duplicate": null}',
         [DkimWish()]),
        ('{"allow_duplicate": true}', [DkimWish(allow_duplicate=True)]),
        ('{"selector": "s", "use_key_from": "Key.example.com"}',
         [DkimWish(selector="s", use_key_from="key.example.com")]),
        ('{"selector": "s", "use_key_from": "key.example.com/20260301"}',
         [DkimWish(selector="s", use_key_from="key.example.com/20260301")]),
        ('[{"domain": "a.example"}, {"domain": "b.example"}]',
         [DkimWish(domain="a.example"), DkimWish(domain="b.example")]),
        ('[\n {"domain":\n  "a.example"}\n ]', [DkimWish(domain="a.example")]),
        (json.dumps([{}] * 10), [DkimWish()] * 10),
    ],
)  # fmt: skip
def test_dkim_valid(value: str, wishes: list[DkimWish]) -> None:
    found = asked(f"X-GreenArrow-DKIM: {value}")
    assert found.dkim == tuple(wishes)
    assert found.problems == ()


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("", "must be JSON"),
        ("example.com", "must be JSON"),
        ('{"domain": "example.com"', "must be JSON"),
        ("{'domain': 'example.com'}", "must be JSON"),
        ('{"from_domain": NaN}', "must be JSON"),
        ('{"from_domain": Infinity}', "must be JSON"),
        ("[" * 3000, "must be JSON"),
        ("[]", ONE_TO_TEN),
        (json.dumps([{}] * 11), ONE_TO_TEN),
        ("[[]]", ONE_TO_TEN),
        ("true", ONE_TO_TEN),
        ("null", ONE_TO_TEN),
        ('"example.com"', ONE_TO_TEN),
        ('["example.com"]', ONE_TO_TEN),
        ('{"domian": "example.com"}', KEYS),
        ('{"domain": 7}', "must have a DNS name as domain"),
        ('{"domain": ""}', "must have a DNS name as domain"),
        ('{"domain": "a..b"}', "must have a DNS name as domain"),
        ('{"domain": "b\\u20accher.example"}', "must have a DNS name as domain"),
        ('{"domain": "x; d=evil.example"}', "must have a DNS name as domain"),
        ('{"selector": "s 1"}', "must have a DNS name as selector"),
        ('{"selector": ["s"]}', "must have a DNS name as selector"),
        ('{"use_key_from": "a.example"}', "must have selector where it has use_key_from"),
        ('{"selector": "s", "use_key_from": "a.example/"}',
         "must have domain or domain/selector as use_key_from"),
        ('{"selector": "s", "use_key_from": "a/b/c"}',
         "must have domain or domain/selector as use_key_from"),
        ('{"selector": "s", "use_key_from": 1}',
         "must have domain or domain/selector as use_key_from"),
        ('{"from_domain": "yes"}', "must have true, false or a number as from_domain"),
        ('{"allow_duplicate": {}}', "must have true, false or a number as allow_duplicate"),
        ('{"domain": "bücher.example"}', "must be in ASCII"),
        ('{"domain": "a.example"' + " " * 4096 + "}", "must be shorter than 4 KB"),
    ],
)  # fmt: skip
def test_dkim_invalid(value: str, rule: str) -> None:
    found = asked(f"X-GreenArrow-DKIM: {value}")
    assert [str(problem) for problem in found.problems] == [f"X-GreenArrow-DKIM: {rule}"]
    assert found.problems[0].strict
    assert found.dkim is None
    assert found.places == {0}


def test_dkim_fields_are_cumulative() -> None:
    found = asked(
        'X-GreenArrow-DKIM: {"domain": "a.example"}',
        'x-greenarrow-dkim: [{"domain": "b.example"}, {"domain": "a.example"}]',
    )
    assert [wish.domain for wish in found.dkim or ()] == ["a.example", "b.example", "a.example"]
    assert found.problems == ()


def test_an_invalid_dkim_field_leaves_the_others() -> None:
    found = asked("X-GreenArrow-DKIM: nonsense", 'X-GreenArrow-DKIM: {"domain": "a.example"}')
    assert found.dkim == (DkimWish(domain="a.example"),)
    assert len(found.problems) == 1


def test_more_than_ten_signatures_in_all() -> None:
    six = json.dumps([{}] * 6)
    found = asked(f"X-GreenArrow-DKIM: {six}", f"X-GreenArrow-DKIM: {six}")
    assert found.dkim is None
    assert [problem.rule for problem in found.problems] == ["must ask for at most 10 signatures"]


def test_dkim_just_short_enough() -> None:
    padded = '{"domain": "a.example"' + " " * (4095 - 23) + "}"
    assert len(padded) == 4095
    assert asked(f"X-GreenArrow-DKIM: {padded}").dkim is not None
    assert asked(f"X-GreenArrow-DKIM: {padded} ").dkim is not None, "a blank at the end is none"
    assert asked(f"X-GreenArrow-DKIM: {padded[:-1]} }}").dkim is None


def test_dkim_with_all_keys() -> None:
    value = {
        "domain": "a.example",
        "from_domain": True,
        "selector": "s",
        "use_key_from": "b.example/t",
        "allow_duplicate": True,
    }
    found = asked(f"X-GreenArrow-DKIM: {json.dumps(value)}")
    assert found.dkim == (DkimWish("a.example", True, "s", "b.example/t", True),)
