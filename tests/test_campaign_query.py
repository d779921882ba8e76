"""The URL of the dashboard's list of campaigns: which campaigns it asks for."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import pytest
from fletching.daemons.dashboard.campaign_query import ORDERS, Query, parsed, rank
from fletching.store.counts import Campaign, Counts
from hypothesis import given
from hypothesis import strategies as st


@given(
    st.builds(
        Query,
        search=st.text(st.characters(exclude_categories=["C", "Z"]), max_size=20),
        first=st.none() | st.dates(date(1970, 1, 1), date(2099, 12, 31)),
        last=st.none() | st.dates(date(1970, 1, 1), date(2099, 12, 31)),
        order=st.sampled_from(list(ORDERS)),
        page=st.integers(1, 999_999),
    )
)
def test_url_of_a_list_leads_to_the_same_list(query: Query) -> None:
    parts = urlsplit(query.address())
    assert parsed(dict(parse_qsl(parts.query))) == query


@pytest.mark.parametrize("page", ["0", "-1", "x", "1e3", "9999999", "\u0661", ""])
def test_invalid_page_is_the_first(page: str) -> None:
    assert parsed({"page": page}).page == 1


@pytest.mark.parametrize(
    "zone",
    ["", "..", "/etc/localtime", "../../etc/passwd", "Europe", "x\0y", "a" * 300, "Europe/Nowhere"],
)
def test_unknown_zone_is_utc(zone: str) -> None:
    query = parsed({"zone": zone, "from": "2026-11-21"})
    assert query.zone == ""
    assert query.wanted.since == datetime(2026, 11, 21, tzinfo=UTC).timestamp()


def test_days_are_those_of_the_zone() -> None:
    query = parsed({"from": "2026-03-29", "to": "2026-03-29", "zone": "Europe/Berlin"})
    berlin = ZoneInfo("Europe/Berlin")
    assert query.wanted.since == datetime(2026, 3, 29, tzinfo=berlin).timestamp()
    assert query.wanted.until - query.wanted.since == 23 * 3600, "the clock goes forward that day"


def test_every_order_ranks_any_campaign() -> None:
    unknown: dict[str, Any] = {each.name: None for each in fields(Counts) if each.name != "sent"}
    for found in (Campaign(), replace(Campaign(sent=5), **unknown)):
        for order in ORDERS:
            if order:
                assert isinstance(rank(found, order), float)
