"""The index of rules finds what a plain evaluation finds, for random mail and random rules."""

from __future__ import annotations

import pytest
import re2
from fletching.policy.rules import index
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.random_rules import Draw, compiled, differences

pytestmark = pytest.mark.slow


@given(st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_index_finds_the_rules_of_a_plain_evaluation(seed: int) -> None:
    draw = Draw(seed)
    rules = compiled(draw.rules(40))
    assert list(differences(rules, (draw.mail() for _ in range(20)))) == []


def test_expressions_out_of_memory_are_tried_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """RE2 cannot even compile them in so little."""
    monkeypatch.setattr(index, "_SET_BYTES", 20_000)
    draw = Draw(7)
    rules = compiled(draw.rules(300))
    assert list(differences(rules, (draw.mail() for _ in range(50)))) == []


class Exhausted:
    """A set of expressions of RE2 that ran out of memory: it finds nothing, without an error."""

    @classmethod
    def SearchSet(cls, _options: object) -> Exhausted:
        return cls()

    def Add(self, _expression: str) -> None:
        pass

    def Compile(self) -> None:
        pass

    def Match(self, _octets: bytes) -> None:
        return None


def test_set_that_ran_out_of_memory_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(re2, "Set", Exhausted)
    draw = Draw(8)
    rules = compiled(draw.rules(100))
    assert list(differences(rules, (draw.mail() for _ in range(50)))) == []
