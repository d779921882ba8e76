"""`for_every` runs all cases, and a failure names those that break the test."""

from __future__ import annotations

import pytest

from tests.cases import for_every


def test_every_case_runs_and_those_that_fail_are_named() -> None:
    ran = []

    @for_every({"one": 1, "two": 2, "three": 3})
    def is_even(number: int) -> None:
        ran.append(number)
        assert number % 2 == 0

    with pytest.raises(AssertionError) as raised:
        is_even()
    assert ran == [1, 2, 3]
    (note,) = raised.value.__notes__
    assert note.startswith("2 of 3 cases fail")
    assert note.splitlines()[1:] == ["  one", "  three"]


def test_a_missing_exception_fails_as_well() -> None:
    @for_every([("a", ValueError), ("1", ValueError)])
    def is_no_number(text: str, error: type[Exception]) -> None:
        with pytest.raises(error):
            int(text)

    with pytest.raises(pytest.fail.Exception) as raised:
        is_no_number()
    assert "1-ValueError" in raised.value.__notes__[0]


def test_without_cases_it_fails() -> None:
    with pytest.raises(AssertionError, match="no cases"):
        for_every([])(lambda case: None)()
