"""docs/metrics.md names each metric that there is, and no other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from fletching import metrics
from fletching.daemons.health import troubles as health
from fletching.daemons.intake import journal
from prometheus_client.parser import text_string_to_metric_families

PAGE = (Path(__file__).parent.parent / "docs" / "metrics.md").read_text("utf-8")
TABLE = PAGE.partition("\n## Metrics\n")[2]
ROWS = dict(re.findall(r"(?m)^\| `(fletching_\w+)` \| (counter|gauge|histogram)[ ;]", TABLE))

COUNTING = """
import sys
from pathlib import Path
from fletching import metrics
state = Path(sys.argv[1])
metrics.begin(state)
# Before the worker, which makes the library count in shared files.
metrics.Deliveries().write(state)
metrics.LogLines(state).write()
metrics.ReturnedMails().write(state)
worker = metrics.Metrics(state, 0)
worker.mail("news", "accept", 0.1)
worker.warnings(["a warning"])
worker.untracked()
worker.over_limit()
worker.archive(1, 1)
sys.stdout.buffer.write(metrics.export(state))
"""


def exported(state_dir: Path) -> dict[str, str]:
    """Name and type of each metric, in a process of its own: a worker changes the library."""
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", COUNTING, str(state_dir)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    families = list(text_string_to_metric_families(done.stdout))
    assert all(name.startswith("fletching_") for name in (each.name for each in families))
    found = re.findall(r"(?m)^# TYPE (\S+) (\S+)$", done.stdout)
    assert len(dict(found)) == len(found) == len(families), "a metric is exported twice"
    return dict(found)


def test_page_and_export_have_the_same_metrics(tmp_path: Path) -> None:
    assert exported(tmp_path) == ROWS


def test_export_without_other_daemons(tmp_path: Path) -> None:
    metrics.begin(tmp_path)
    assert metrics.export(tmp_path).endswith(b"# TYPE fletching_metrics_updated_seconds gauge\n")


def test_limits_of_the_page_are_those_of_the_code() -> None:
    assert f"({health.LARGEST_JOURNAL // 2**20} MiB)" in PAGE
    assert f"N of {journal.LARGEST // 2**20} MiB are used" in PAGE
    assert f"within {health.MILTER_TIMEOUT:.0f} seconds" in PAGE
    assert health.OLDEST_WAITING == 3600
    assert "waits for over an hour" in PAGE
