"""How often an address may try a password: by time, by network, and in bounded memory."""

from __future__ import annotations

import gc
import tracemalloc

import pytest
from fletching.daemons.dashboard.guesses import AT_ONCE, MOST, SECONDS_EACH, Guesses
from hypothesis import given
from hypothesis import strategies as st

GUESSER = "192.0.2.9"


def guessed(address: str, times: int, now: float = 0.0) -> Guesses:
    made = Guesses()
    for _ in range(times):
        made.count_wrong(address, now)
    return made


@pytest.mark.parametrize(
    ("name", "times", "later", "wait"),
    [
        ("none", 0, 0.0, 0.0),
        ("one", 1, 0.0, 0.0),
        ("the last one without a pause", AT_ONCE - 1, 0.0, 0.0),
        ("all at once", AT_ONCE, 0.0, SECONDS_EACH),
        ("half a pause later", AT_ONCE, SECONDS_EACH / 2, SECONDS_EACH / 2),
        ("a pause later", AT_ONCE, SECONDS_EACH, 0.0),
        ("one too many", AT_ONCE + 1, 0.0, 2 * SECONDS_EACH),
        ("long ago", AT_ONCE, 3600.0, 0.0),
    ],
)
def test_pause_before_the_next_password(name: str, times: int, later: float, wait: float) -> None:
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
def test_only_the_guessing_network_waits(one: str, other: str, shares: bool) -> None:
    assert (guessed(one, AT_ONCE + 1).wait(other, 0.0) > 0) == shares


def test_only_the_latest_addresses_are_remembered() -> None:
    guesses = guessed(GUESSER, AT_ONCE)
    others = [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(MOST)]
    for other in others[:-1]:
        guesses.count_wrong(other, 0.0)
    assert guesses.wait(GUESSER, 0.0) == SECONDS_EACH, "forgotten before there were too many"
    # A further wrong password makes an address the latest one again.
    guesses.count_wrong(GUESSER, 0.0)
    guesses.count_wrong(others[-1], 0.0)
    assert guesses.wait(GUESSER, 0.0) == 2 * SECONDS_EACH
    for other in others:
        guesses.count_wrong(other, 0.0)
    assert guesses.wait(GUESSER, 0.0) == 0, "remembered beside as many others as there may be"


def test_memory_is_bounded() -> None:
    """More addresses than are remembered take no more memory than those that are."""

    def memory(addresses: int) -> int:
        gc.collect()
        tracemalloc.start()
        guesses = Guesses()
        for number in range(addresses):
            guesses.count_wrong(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0.0)
        gc.collect()
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return size

    assert memory(3 * MOST) < 1.5 * memory(MOST)


@given(st.lists(st.floats(0, 5), min_size=1, max_size=200))
def test_number_of_checked_passwords_is_limited(steps: list[float]) -> None:
    """Whoever tries again whenever he may has the first ones, and one in each pause."""
    guesses, now, answered = Guesses(), 0.0, 0
    for step in steps:
        now += step
        if guesses.wait(GUESSER, now) == 0:
            guesses.count_wrong(GUESSER, now)
            answered += 1
    assert answered <= AT_ONCE + now / SECONDS_EACH
