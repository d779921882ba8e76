"""How often an address may try a password: by time, by network, and in bounded memory."""

from __future__ import annotations

import pytest
from fletching.daemons.dashboard.guesses import AT_ONCE, EACH, MOST, Guesses
from hypothesis import given
from hypothesis import strategies as st

GUESSER = "192.0.2.9"


def guessed(address: str, times: int, now: float = 0.0) -> Guesses:
    made = Guesses()
    for _ in range(times):
        made.wrong(address, now)
    return made


@pytest.mark.parametrize(
    ("name", "times", "later", "wait"),
    [
        ("none", 0, 0.0, 0.0),
        ("one", 1, 0.0, 0.0),
        ("the last one without a pause", AT_ONCE - 1, 0.0, 0.0),
        ("all at once", AT_ONCE, 0.0, EACH),
        ("half a pause later", AT_ONCE, EACH / 2, EACH / 2),
        ("a pause later", AT_ONCE, EACH, 0.0),
        ("one too many", AT_ONCE + 1, 0.0, 2 * EACH),
        ("long ago", AT_ONCE, 3600.0, 0.0),
    ],
)
def test_pauses(name: str, times: int, later: float, wait: float) -> None:
    assert guessed(GUESSER, times).wait(GUESSER, later) == wait


@pytest.mark.parametrize(
    ("one", "other", "shares"),
    [
        (GUESSER, GUESSER, True),
        (GUESSER, "192.0.2.10", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("2001:db8::1", "192.0.2.9", False),
        ("", "", True),
        ("", GUESSER, False),
    ],
)
def test_only_the_network_that_guessed_waits(one: str, other: str, shares: bool) -> None:
    assert (guessed(one, AT_ONCE + 1).wait(other, 0.0) > 0) == shares


def test_memory_is_bounded() -> None:
    guesses = guessed(GUESSER, AT_ONCE)
    for number in range(MOST):
        guesses.wrong(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0.0)
    assert len(guesses._paid) == MOST
    assert guesses.wait(GUESSER, 0.0) == 0


@given(st.lists(st.floats(0, 5), min_size=1, max_size=200))
def test_however_it_is_tried_no_more_are_answered_than_is_said(steps: list[float]) -> None:
    """Whoever tries again whenever he may has the first ones, and one in each pause."""
    guesses, now, answered = Guesses(), 0.0, 0
    for step in steps:
        now += step
        if guesses.wait(GUESSER, now) == 0:
            guesses.wrong(GUESSER, now)
            answered += 1
    assert answered <= AT_ONCE + now / EACH
