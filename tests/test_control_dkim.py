"""control.py: the JSON of X-GreenArrow-DKIM."""

from __future__ import annotations

import json

import pytest
from fletching.policy import offers
from fletching.policy.control import Control
from fletching.policy.offers import DkimRequest

from tests.test_control import control


def dkim(found: Control) -> tuple[DkimRequest, ...] | None:
    offer = found.offers.by_setting.get(offers.DKIM)
    assert offer is None or offer.source == "X-GreenArrow-DKIM"
    return offer and offer.value


ONE_TO_TEN = "must be an object or an array of 1 to 10 objects"
KEYS = "must have only the keys domain, from_domain, selector, use_key_from, allow_duplicate"


@pytest.mark.parametrize(
    ("value", "requests"),
    [
        ("{}", [DkimRequest()]),
        ('{"domain": "Example.COM"}', [DkimRequest(domain="example.com")]),
        ('{"domain": "example.com", "selector": "S1"}',
         [DkimRequest(domain="example.com", selector="s1")]),
        # Selectors are often dates.
        ('{"domain": "example.com", "selector": "20260301"}',
         [DkimRequest(domain="example.com", selector="20260301")]),
        ('{"selector": "s1.2026"}', [DkimRequest(selector="s1.2026")]),
        ('{"from_domain": true}', [DkimRequest(from_domain=True)]),
        ('{"from_domain": 1}', [DkimRequest(from_domain=True)]),
        ('{"from_domain": 1.5}', [DkimRequest(from_domain=True)]),
        ('{"from_domain": 0}', [DkimRequest()]),
        ('{"from_domain": 0.5}', [DkimRequest()]),
        ('{"from_domain": -1}', [DkimRequest()]),
        ('{"from_domain": false}', [DkimRequest()]),
        ('{"domain": null, "selector": null, "use_key_from": null, "allow_duplicate": null}',
         [DkimRequest()]),
        ('{"allow_duplicate": true}', [DkimRequest(allow_duplicate=True)]),
        ('{"selector": "s", "use_key_from": "Key.example.com"}',
         [DkimRequest(selector="s", use_key_from="key.example.com")]),
        ('{"selector": "s", "use_key_from": "key.example.com/20260301"}',
         [DkimRequest(selector="s", use_key_from="key.example.com/20260301")]),
        ('[{"domain": "a.example"}, {"domain": "b.example"}]',
         [DkimRequest(domain="a.example"), DkimRequest(domain="b.example")]),
        ('[\n {"domain":\n  "a.example"}\n ]', [DkimRequest(domain="a.example")]),
        (json.dumps([{}] * 10), [DkimRequest()] * 10),
    ],
)  # fmt: skip
def test_dkim_valid(value: str, requests: list[DkimRequest]) -> None:
    found = control(f"X-GreenArrow-DKIM: {value}")
    assert dkim(found) == tuple(requests)
    assert found.invalid == ()


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("", "must be valid JSON"),
        ("example.com", "must be valid JSON"),
        ('{"domain": "example.com"', "must be valid JSON"),
        ("{'domain': 'example.com'}", "must be valid JSON"),
        ('{"from_domain": NaN}', "must be valid JSON"),
        ('{"from_domain": Infinity}', "must be valid JSON"),
        ("[" * 3000, "must be valid JSON"),
        ("[]", ONE_TO_TEN),
        (json.dumps([{}] * 11), ONE_TO_TEN),
        ("[[]]", ONE_TO_TEN),
        ("true", ONE_TO_TEN),
        ("null", ONE_TO_TEN),
        ('"example.com"', ONE_TO_TEN),
        ('["example.com"]', ONE_TO_TEN),
        ('{"domian": "example.com"}', KEYS),
        ('{"domain": 7}', "domain must be a DNS name"),
        ('{"domain": ""}', "domain must be a DNS name"),
        ('{"domain": "a..b"}', "domain must be a DNS name"),
        ('{"domain": "b\\u20accher.example"}', "domain must be a DNS name"),
        ('{"domain": "x; d=evil.example"}', "domain must be a DNS name"),
        ('{"selector": "s 1"}', "selector must be a DNS name"),
        ('{"selector": ["s"]}', "selector must be a DNS name"),
        ('{"use_key_from": "a.example"}', "must have selector if it has use_key_from"),
        ('{"selector": "s", "use_key_from": "a.example/"}',
         "use_key_from must be DOMAIN or DOMAIN/SELECTOR"),
        ('{"selector": "s", "use_key_from": "a/b/c"}',
         "use_key_from must be DOMAIN or DOMAIN/SELECTOR"),
        ('{"selector": "s", "use_key_from": 1}',
         "use_key_from must be DOMAIN or DOMAIN/SELECTOR"),
        ('{"from_domain": "yes"}', "from_domain must be true, false or a number"),
        ('{"allow_duplicate": {}}', "allow_duplicate must be true, false or a number"),
        ('{"domain": "bücher.example"}', "must be ASCII"),
        ('{"domain": "a.example"' + " " * 4096 + "}", "must be shorter than 4 KB"),
    ],
)  # fmt: skip
def test_dkim_invalid(value: str, rule: str) -> None:
    found = control(f"X-GreenArrow-DKIM: {value}")
    assert [str(invalid) for invalid in found.invalid] == [f"X-GreenArrow-DKIM: {rule}"]
    assert found.invalid[0].strict
    assert dkim(found) is None
    assert found.remove == {0}


def test_dkim_headers_add_up() -> None:
    found = control(
        'X-GreenArrow-DKIM: {"domain": "a.example"}',
        'x-greenarrow-dkim: [{"domain": "b.example"}, {"domain": "a.example"}]',
    )
    assert [request.domain for request in dkim(found) or ()] == [
        "a.example",
        "b.example",
        "a.example",
    ]
    assert found.invalid == ()


def test_invalid_dkim_header_leaves_the_others() -> None:
    found = control("X-GreenArrow-DKIM: nonsense", 'X-GreenArrow-DKIM: {"domain": "a.example"}')
    assert dkim(found) == (DkimRequest(domain="a.example"),)
    assert len(found.invalid) == 1


def test_more_than_ten_signatures_in_all_are_invalid() -> None:
    six = json.dumps([{}] * 6)
    found = control(f"X-GreenArrow-DKIM: {six}", f"X-GreenArrow-DKIM: {six}")
    assert dkim(found) is None
    assert [invalid.rule for invalid in found.invalid] == ["must request at most 10 signatures"]


def test_longest_dkim_header_is_valid() -> None:
    padded = '{"domain": "a.example"' + " " * (4095 - 23) + "}"
    assert len(padded) == 4095
    assert dkim(control(f"X-GreenArrow-DKIM: {padded}")) is not None
    assert dkim(control(f"X-GreenArrow-DKIM: {padded} ")) is not None, "a blank at the end is none"
    assert dkim(control(f"X-GreenArrow-DKIM: {padded[:-1]} }}")) is None


def test_dkim_object_with_all_keys() -> None:
    value = {
        "domain": "a.example",
        "from_domain": True,
        "selector": "s",
        "use_key_from": "b.example/t",
        "allow_duplicate": True,
    }
    found = control(f"X-GreenArrow-DKIM: {json.dumps(value)}")
    assert dkim(found) == (DkimRequest("a.example", True, "s", "b.example/t", True),)
