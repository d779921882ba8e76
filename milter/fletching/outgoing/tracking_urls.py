"""Tracking URLs: their three forms, and the two ends that are the same in a campaign.

A tracking URL is domain and path, the message's half of its token, and the link's half. The first
and the last are the same in all mails of a campaign. What a token holds is in `tokens.py`; which
links get a tracking URL is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
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


def url(domain: str, form: str, kind: Kind, token: str) -> str:
    """A tracking URL in one of the three forms (docs/tracking.md, "URL formats")."""
    return f"{domain}/{_NOUNS[kind]}{_PATHS[form]}{token}"


Ends = Callable[[Kind, str], tuple[str, str]]
"""What the tracking URL for a destination has before and behind the message's half of its token. It
is the same in all mails of a campaign."""


@dataclass(frozen=True, eq=False)
class CampaignUrls:
    """The tracking URLs of one campaign. `TextPartCache.campaign_urls` has one for equal values."""

    keys: Keyring
    domain: str
    form: str
    campaign: str
    sendid: str

    def ends(self, kind: Kind, destination: str) -> tuple[str, str]:
        """As `Ends`."""
        half = self.keys.link_half(kind, self.campaign, self.sendid, destination)
        return url(self.domain, self.form, kind, ""), half

    @cached_property
    def half_without_destination(self) -> Callable[[Kind], str]:
        """The link's half of tokens of a kind that has no destination."""
        # No method of `self`: it would keep itself alive.
        keys, campaign, sendid = self.keys, self.campaign, self.sendid
        return cache(lambda kind: keys.link_half(kind, campaign, sendid, ""))


class MessageUrls(NamedTuple):
    """What the tracking URLs of one message consist of. ``half``: the message's half of tokens."""

    ends: Ends
    half: Callable[[Purpose], str]
