"""The curves of a campaign: its first hours in steps of ten minutes, then hours and days."""

from __future__ import annotations

from collections import Counter

import pytest
from fletching.daemons.dashboard.curves import curve
from fletching.store.counts import HOUR, STEP
from hypothesis import given
from hypothesis import strategies as st

OPENED = 1_795_248_000
BEGAN = OPENED + 1234
"""20 minutes later, in the same hour."""

FIRST, WHOLE = "The first 24 hours", "The whole campaign"


def by_hour(steps: dict[int, int]) -> dict[int, int]:
    found = Counter[int]()
    for time, count in steps.items():
        found[time // HOUR * HOUR] += count
    return dict(found)


def titles(hours: dict[int, int], steps: dict[int, int]) -> list[str]:
    return [span.title for span in curve({"opens": hours}, {"opens": steps}, BEGAN)]


def test_first_hours_are_drawn_in_steps() -> None:
    steps = {OPENED + 2 * STEP: 5, OPENED + 3 * STEP: 7, OPENED + 14 * STEP: 1}
    (span,) = curve({"opens": by_hour(steps)}, {"opens": steps}, BEGAN)
    delivery, activity = span.panels
    assert delivery.title == "Delivery per ten minutes"
    assert "13 opens, 0 clicks, 0 unsubscribes; at most 7 per ten minutes" in activity.description
    assert activity.lines[0].path.count("L") == 12
    assert 'datetime="2026-11-21T08:20:00Z"' in activity.begin
    assert 'datetime="2026-11-21T10:30:00Z"' in activity.end


@pytest.mark.parametrize(
    ("hours", "steps", "shown"),
    [
        pytest.param({}, {}, [], id="nothing was counted"),
        pytest.param({OPENED: 5}, {OPENED: 5}, [FIRST], id="the first hour"),
        pytest.param(
            {OPENED: 5, OPENED + 24 * HOUR: 1}, {OPENED: 5}, [FIRST, WHOLE], id="the next day"
        ),
        pytest.param({OPENED: 5}, {}, [WHOLE], id="before steps were counted"),
        pytest.param(
            {OPENED: 500, OPENED + HOUR: 5},
            {OPENED + HOUR: 5},
            [WHOLE],
            id="steps of a part only",
        ),
        pytest.param({OPENED: 5}, {OPENED: 6}, [FIRST], id="one more while they were read"),
        pytest.param(
            {OPENED: 5, OPENED - HOUR: 1}, {OPENED: 5}, [FIRST, WHOLE], id="a clock that is behind"
        ),
    ],
)
def test_which_spans_are_shown(
    hours: dict[int, int], steps: dict[int, int], shown: list[str]
) -> None:
    assert titles(hours, steps) == shown


@pytest.mark.parametrize(
    ("hours", "unit"),
    [
        (1, " hour"),
        (118, " hour"),
        (200, " 2 hours"),
        (21 * 24, " 6 hours"),
        (100 * 24, " day"),
        (400 * 24, " 4 days"),
    ],
)
def test_points_of_long_campaigns_are_hours_or_days(hours: int, unit: str) -> None:
    counted = {OPENED: 1, OPENED + (hours - 1) * HOUR: 1}
    (span,) = curve({"clicks": counted}, {}, BEGAN)
    assert [panel.title.partition(" per")[2] for panel in span.panels] == [unit, unit]


@given(
    st.dictionaries(st.integers(0, 143), st.integers(1, 10**9)),
    st.dictionaries(st.integers(24, 400 * 24), st.integers(1, 10**9), min_size=1),
)
def test_curves_keep_all_counts_and_are_short(first: dict[int, int], later: dict[int, int]) -> None:
    steps = {OPENED + step * STEP: count for step, count in first.items()}
    hours = by_hour(steps) | {OPENED + hour * HOUR: count for hour, count in later.items()}
    drawn = curve({"clicks": hours}, {"clicks": steps}, BEGAN)
    sums = [sum(first.values())] * bool(first) + [sum(hours.values())]
    assert len(drawn) == len(sums)
    for span, clicks in zip(drawn, sums, strict=True):
        assert f"{clicks:,} clicks" in span.panels[1].description
        for panel in span.panels:
            for line in panel.lines:
                points = [tuple(map(float, at.split())) for at in line.path[1:].split("L")]
                assert 2 <= len(points) <= 145
                assert all(0 <= x <= panel.width and 0 <= y <= panel.height for x, y in points)
