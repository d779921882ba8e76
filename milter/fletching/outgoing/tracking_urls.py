"""Tracking URLs: their three forms, and what all mails of a campaign have of them in common.

A tracking URL is domain and path, the message's half of its token, and the link's half. The first
and the last are the same in all mails of a campaign. What a token holds, `tokens.py` knows; which
links get one is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from fletching.tokens import Keyring, Kind, Purpose

_PATHS = {"a": "/", "b": "?", "c": "?qs="}
_NOUNS = {
    Kind.CLICK_HTML: "click",
    Kind.CLICK_TEXT: "click",
    Kind.OPEN: "open",
    Kind.UNSUBSCRIBE_HTML: "unsub",
    Kind.UNSUBSCRIBE_TEXT: "unsub",
    Kind.LIST_UNSUBSCRIBE: "unsub",
}

Ends = Callable[[Kind, str], tuple[str, str]]
"""What stands in the tracking URL for a destination in front of the message's half of its token,
and behind it: the same for all mails of a campaign."""


class Urls(NamedTuple):
    """What the tracking URLs of one message are made of. ``half``: the message's half of tokens."""

    ends: Ends
    half: Callable[[Purpose], str]


def url(domain: str, form: str, kind: Kind, token: str) -> str:
    """A tracking URL in one of the three forms (docs/tracking.md, "URL forms")."""
    return f"{domain}/{_NOUNS[kind]}{_PATHS[form]}{token}"


@dataclass(frozen=True, eq=False)
class Series:
    """The tracking URLs of one campaign. `series` makes one for equal values."""

    keys: Keyring
    domain: str
    form: str
    campaign: str
    sendid: str

    def ends(self, kind: Kind, destination: str) -> tuple[str, str]:
        """As `Ends`."""
        half = self.keys.link_half(kind, self.campaign, self.sendid, destination)
        return url(self.domain, self.form, kind, ""), half


series = lru_cache(maxsize=1024)(Series)


@lru_cache(maxsize=2048)
def leading_nowhere(one: Series, kind: Kind) -> str:
    """The link's half of tokens without a destination."""
    return one.keys.link_half(kind, one.campaign, one.sendid, "")
