"""Every example of docs/rules.md works: its configuration, its mail, and what becomes of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from fletching.admin.preview import as_json, envelope_of, preview
from fletching.config.load import parse
from fletching.mail.message import parse as parse_mail
from fletching.policy.plan import Plan
from fletching.policy.setup import Setup, Stamp
from fletching.startup import providers, recipient_tables

from tests.setting import ENTROPY, KEYRING, NOW

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "rules.md").read_text("utf-8")
FILES = {"best-customers.txt": "# exported by the shop\nann@customer.example\n"}

USES = (
    "Department", "Urgency", "Recipient location", "Several domains", "Load balancing", "Fail-over",
    "Triggers", "Filters", "Forwarding to several agents", "CRM segments", "X-Tracking-ID",
    "X-Original-To", "X-Priority",
)  # fmt: skip


def block(text: str, kind: str) -> str:
    """The content of the only code block of that kind."""
    (found,) = re.findall(rf"(?s)^```{kind}\n(.*?)^```$", text, re.MULTILINE)
    return str(found)


@dataclass(frozen=True, slots=True)
class Example:
    config: str
    mail: str
    results: tuple[str, ...]
    paused: frozenset[str]


def examples() -> dict[str, Example]:
    intro, *sections = PAGE.partition("\n## Examples\n")[2].split("\n### ")
    base = block(intro, "yaml")
    found = {}
    for section in sections:
        paused = re.findall(r"fletching mta pause (\w+)", section)
        found[section.partition("\n")[0]] = Example(
            base + block(section, "yaml"),
            block(section, "eml"),
            tuple(block(section, "text").splitlines()),
            frozenset(paused),
        )
    return found


EXAMPLES = examples()


def outcome(example: Example, folder: Path) -> tuple[Plan, dict[str, object], list[str]]:
    """The plan, the object of `preview --json`, and its edits in words."""
    for name, text in FILES.items():
        (folder / name).write_text(text)
    config = parse(example.config.encode(), folder / "fletching.yaml")
    setup = Setup(
        config, KEYRING, (), example.paused, providers(config),
        recipient_tables=recipient_tables(config),
    )  # fmt: skip
    message = parse_mail(f"{example.mail}\nHello.\n".encode())
    envelope = envelope_of(message, None, (), "127.0.0.1", "shop")
    carried = preview(message, envelope, setup, Stamp(NOW, ENTROPY))
    found = as_json(carried, envelope)
    edits = []
    for each in found["edits"]:
        words = [each["edit"].replace("_", " "), *(str(v) for k, v in each.items() if k in _SHOWN)]
        edits.append(" ".join(words))
    return carried.plan, found, edits


_SHOWN = ("name", "value", "address", "reason")


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name: str, tmp_path: Path) -> None:
    example = EXAMPLES[name]
    plan, found, edits = outcome(example, tmp_path)
    decisions = {f"{each.setting} {each.text} {each.source}" for each in plan.decisions}
    decisions.add(f"transport {found['transport']}")
    assert example.results
    for line in example.results:
        result = " ".join(line.split())
        assert result in decisions or result in edits, (result, decisions, edits)


@pytest.mark.parametrize("use", USES)
def test_use_has_an_example(use: str) -> None:
    assert any(use in name for name in EXAMPLES)


def test_first_rule_of_the_page_loads() -> None:
    text = PAGE.partition("\n## Examples\n")
    parse((block(text[2].split("\n### ")[0], "yaml") + block(text[0], "yaml")).encode(), Path("f"))
