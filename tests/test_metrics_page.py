"""docs/metrics.md names each metric that there is, and no other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fletching.daemons.health import findings as health
from fletching.daemons.health import milter_socket
from fletching.daemons.intake import journal
from fletching.metrics import export, reference, shared_files
from prometheus_client.parser import text_string_to_metric_families

from sandbox.processes import program

PAGE = (Path(__file__).parent.parent / "docs" / "metrics.md").read_text("utf-8")

EXPORTING = """
import sys
from pathlib import Path
from fletching.metrics.reference import every_metric
print(every_metric(Path(sys.argv[1])), end="")
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What is exported, made in a process of its own: a worker changes the library."""
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", EXPORTING, str(tmp_path_factory.mktemp("state"))],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_table_is_generated_from_what_is_exported(exported: str) -> None:
    """`make docs` rewrites it."""
    assert reference.page(PAGE, exported) == PAGE


def test_each_metric_is_exported_once(exported: str) -> None:
    families = list(text_string_to_metric_families(exported))
    found = re.findall(r"(?m)^# TYPE (\S+) (\S+)$", exported)
    assert len(dict(found)) == len(found) == len(families)


def test_metrics_keep_the_conventions_of_prometheus(exported: str) -> None:
    checker = [program("promtool", "prometheus"), "check", "metrics"]
    done = subprocess.run(checker, input=exported, text=True, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_metric_of_the_source_is_exported(exported: str) -> None:
    names = {each.name for each in text_string_to_metric_families(exported)}
    for path in Path(reference.__file__).parent.glob("*.py"):
        named = re.findall(r'"(fletching_\w+)"', path.read_text("utf-8"))
        assert {*named} <= names, path.name


def test_export_without_other_daemons(tmp_path: Path) -> None:
    shared_files.begin(shared_files.of_milter(tmp_path))
    families = text_string_to_metric_families(export.export(tmp_path).decode())
    assert {each.name for each in families if each.samples} == {
        "fletching_build_info",
        "fletching_journal_bytes",
    }


def test_limits_of_the_page_are_those_of_the_code() -> None:
    assert f"({health.LARGEST_JOURNAL // 2**20} MiB)" in PAGE
    assert f"N of {journal.LARGEST // 2**20} MiB are used" in PAGE
    assert f"within {milter_socket.TIMEOUT:.0f} seconds" in PAGE
    assert health.OLDEST_WAITING == 3600
    assert "waits for over an hour" in PAGE
