"""The page docs/configuration.md: it is what the model says, and it says all."""

from __future__ import annotations

import re
from pathlib import Path

from fletching.config import reference
from fletching.config.consistency import doubts
from fletching.config.load import parse
from fletching.config.model import Config
from fletching.config.sections import Options
from fletching.config.wording import section

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"


def test_page_is_up_to_date() -> None:
    assert PAGE.read_text() == reference.page(), (
        "python -m fletching.config.reference > docs/configuration.md"
    )


def test_every_option_is_on_the_page_once() -> None:
    named = [name for names in reference.GROUPS.values() for name in names]
    assert sorted(named) == sorted(Config.model_fields)


def test_example_on_the_page_is_valid() -> None:
    config = parse(reference.EXAMPLE.encode(), Path("fletching.yaml"))
    assert list(doubts(config)) == []


def _sections(top: type[Options], place: tuple[str | int, ...]) -> set[type[Options]]:
    """The section at a place and all below it."""
    found = {top}
    for name in top.model_fields:
        for below in ((name,), (name, "x"), (name, 0)):
            inner = section(Config, (*place, *below))
            if inner is not None and inner not in found:
                found |= _sections(inner, (*place, *below))
    return found


def test_every_option_has_one_sentence() -> None:
    sections = _sections(Config, ())
    assert {each.__name__ for each in sections} >= {"Track", "VirtualMta", "DkimKey", "Destination"}
    for each in sections:
        for name, field in each.model_fields.items():
            sentence = " ".join((field.description or "").split())
            assert re.fullmatch(r"[A-Z].*[^.]\.", sentence), f"{each.__name__}.{name}"
