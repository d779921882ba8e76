"""`dealt` begins each share of the tests with a part of what takes long."""

from __future__ import annotations

from tests.cases import for_every
from tests.dealing import dealt


def long(*groups: str) -> list[tuple[str, str]]:
    """Two items of each group."""
    return [(group, f"{group}{number}") for group in groups for number in (1, 2)]


@for_every(
    {
        "the longest files begin the shares": (
            long("a", "b", "c"), "12345678", 2,
            ["a1", "a2", *"12345", "b1", "b2", "c1", "c2", *"678"],
        ),
        "there and back": (
            long("a", "b", "c", "d"), "", 2,
            ["a1", "a2", "d1", "d2", "b1", "b2", "c1", "c2"],
        ),
        "items of a group come together": (
            [("a", "1"), ("b", "2"), ("a", "3")], "45", 1, ["1", "3", "2", "4", "5"],
        ),
        "more of one share than others have": (
            long("a"), "1", 2, ["a1", "a2", "1"],
        ),
        "nothing is long": ([], "1234", 2, ["1", "2", "3", "4"]),
        "nothing at all": ([], "", 4, []),
    }
)  # fmt: skip
def test_order(
    groups: list[tuple[str, str]], short: str, processes: int, expected: list[str]
) -> None:
    assert dealt(groups, short, processes) == expected
