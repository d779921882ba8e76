"""YAML text as plain values: which tags are allowed, and how deep values may be nested."""

from __future__ import annotations

import pytest
from fletching.config.nodes import DEEPEST, NotYaml, read


@pytest.mark.parametrize(
    "value",
    ["!!str [1, 2]", "!!int {b: 1}", "!!float []", "!!null {}", "!!bool [true]", "!!seq {}",
     "!!map []", "!!seq text", "!!map 1", "!!set {a}", "!!binary aGk=", "!local 1"],
)  # fmt: skip
def test_a_tag_that_does_not_fit_its_node_is_an_error(value: str) -> None:
    document = read(f"before: 1\na: {value}\nafter: 2\n")
    assert document.value == {"before": 1, "a": None, "after": 2}
    assert [(fault.line, fault.place, fault.lost) for fault in document.faults] == [
        (2, ("a",), True)
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("!!str 12", "12"),
        ("!!int '12'", 12),
        ("!!float '1.5'", 1.5),
        ("!!bool 'yes'", True),
        ("!!null ''", None),
        ("!!seq [1]", [1]),
        ("!!map {b: 1}", {"b": 1}),
        # A value that does not fit its tag stays a text, which the option then refuses.
        ("!!int many", "many"),
    ],
)
def test_a_tag_that_fits_its_node_is_allowed(value: str, expected: object) -> None:
    document = read(f"a: {value}")
    assert (document.value, document.faults) == ({"a": expected}, ())


def nested(levels: int) -> str:
    """A list in lists: so many brackets, and a number inside the innermost."""
    return "[" * levels + "1" + "]" * levels


def test_the_deepest_allowed_nesting_is_read() -> None:
    value: object = 1
    for _ in range(DEEPEST):
        value = [value]
    document = read(nested(DEEPEST))
    assert (document.value, document.faults) == (value, ())


def test_one_level_more_than_the_deepest_is_refused_with_its_line() -> None:
    with pytest.raises(NotYaml, match=str(DEEPEST)) as refused:
        read("\n" + nested(DEEPEST + 1))
    assert refused.value.line == 2
