"""redirects.py: exact URLs of redirects. More about hosts is in `test_redirects_hosts.py`."""

from __future__ import annotations

import pytest
from fletching.returning.redirects import location, with_recipient
from fletching.tokens import Facts

FACTS = Facts("abcdefghijkl", 7, "News", "0101", "T100", "", "r\u00fc\udcff@example.org", "", 0)
ADDED = "email=r%C3%BC%FF%40example.org&sendid=News0101&listid=T100"


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        ("HTTPS://Shop.Example/A", "HTTPS://Shop.Example/A"),
        ("hTtP://b\u00fccher.example/", "hTtP://xn--bcher-kva.example/"),
        # A long s is an s only to a program that ignores case beyond ASCII.
        ("http\u017f://shop.example/", None),
        ("https://shop.example/A?b=c&d='e'#f", "https://shop.example/A?b=c&d='e'#f"),
        ("https://shop.example/%20%zz", "https://shop.example/%20%zz"),
        ('https://shop.example/ "<>', "https://shop.example/%20%22%3C%3E"),
        ("https://shop.example/\u00fc\n\udcff\x7f", "https://shop.example/%C3%BC%0A%FF%7F"),
        (
            "https://shop.example/!$()*+,;[\\]^`{|}~@ ",
            "https://shop.example/!$()*+,;[\\]^`{|}~@%20",
        ),
        # A host that cannot be one: percent-encoded, as it is.
        ("https://\u00fc\udcff.example/", "https://%C3%BC%FF.example/"),
        ("https://%FF.example/", "https://%FF.example/"),
        # A symbol in a host, which browsers accept.
        ("https://\u2603.example/", "https://xn--n3h.example/"),
        ("https:///path", None),
        ("ftp://shop.example/", None),
    ],
)
def test_location_of_a_destination(destination: str, expected: str | None) -> None:
    assert location(destination) == expected


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        ("https://a.example/", f"https://a.example/?{ADDED}"),
        ("https://a.example/?", f"https://a.example/?{ADDED}"),
        ("https://a.example/?b=c", f"https://a.example/?b=c&{ADDED}"),
        ("https://a.example/?b=c&", f"https://a.example/?b=c&{ADDED}"),
        ("https://a.example/#d?e", f"https://a.example/?{ADDED}#d?e"),
        ("https://a.example/?b#", f"https://a.example/?b&{ADDED}#"),
    ],
)
def test_recipient_and_list_are_added_to_the_query(destination: str, expected: str) -> None:
    assert with_recipient(destination, FACTS) == expected
