"""The alert rules of deploy/monitoring: each fires when it should, and not otherwise."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from sandbox.processes import program

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
RULES = ROOT / "deploy" / "monitoring" / "fletching.rules.yml"
EXAMPLES = ROOT / "tests" / "alerts.yml"


def alerts() -> dict[str, dict[str, str]]:
    """The annotations of each alert."""
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule["annotations"] for rule in group["rules"]}


def with_annotations(examples: str) -> str:
    """The examples, in which alerts that fire have the annotations of the rules."""
    loaded = yaml.safe_load(examples)
    for test in loaded["tests"]:
        for each in test["alert_rule_test"]:
            for fired in each.get("exp_alerts", ()):
                texts = alerts()[each["alertname"]]
                labels = fired["exp_labels"]
                fired["exp_annotations"] = {name: filled(texts[name], labels) for name in texts}
    return yaml.safe_dump(loaded)


def filled(text: str, labels: Mapping[str, str]) -> str:
    """An annotation as Prometheus shows it."""
    return re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], text)


def test_each_alert_fires_only_when_it_should(tmp_path: Path) -> None:
    (tmp_path / RULES.name).write_text(RULES.read_text())
    (tmp_path / "alerts.yml").write_text(with_annotations(EXAMPLES.read_text()))
    promtool = [program("promtool", "prometheus"), "test", "rules", str(tmp_path / "alerts.yml")]
    done = subprocess.run(promtool, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_an_example_that_fires() -> None:
    tests = yaml.safe_load(EXAMPLES.read_text())["tests"]
    fired = {
        each["alertname"]
        for test in tests
        for each in test["alert_rule_test"]
        if each.get("exp_alerts")
    }
    assert fired == alerts().keys()
