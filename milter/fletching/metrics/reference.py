"""Generates the table of docs/metrics.md from what is exported.

`python -m fletching.metrics.reference docs/metrics.md` replaces the table in the page. What a
metric means is written in its help text only.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from fletching.metrics import export, shared_files
from fletching.metrics.deliveries import Deliveries
from fletching.metrics.log_lines import LogLines
from fletching.metrics.mails import Mails
from fletching.metrics.returned_mails import ReturnedMails
from fletching.metrics.web_requests import WebRequests

HEADING = "| metric | type, labels | meaning |\n|---|---|---|\n"


def every_metric(state_dir: Path) -> str:
    """What a host exports whose daemons have counted each thing once.

    For a process that ends afterwards: a worker changes how the library counts.
    """
    shared_files.begin(shared_files.of_milter(state_dir))
    shared_files.begin(shared_files.of_web(state_dir))
    courier, lmtp, logtail = Deliveries(), ReturnedMails(), LogLines(state_dir)
    courier.delivered("crm", 1)
    courier.failed("crm")
    courier.dead("crm", 1)
    courier.seed_copy("sent")
    courier.waiting({"crm": 1})
    courier.write(state_dir)
    lmtp.received("bounce")
    lmtp.write(state_dir)
    logtail.write()
    mails = Mails(state_dir, 0)
    mails.mail("newsletter", "accept", 0.01)
    mails.warnings(["a warning"])
    mails.untracked()
    mails.shadow("accept")
    mails.over_limit()
    mails.archive(1, 1)
    WebRequests(state_dir, 0).answered("engine_click", 302, 0.001)
    return export.export(state_dir).decode()


def table(exported: str) -> str:
    """The table, one row for each metric, in the order of their names."""
    rows = []
    for family in text_string_to_metric_families(exported):
        labels = {name for sample in family.samples for name in sample.labels} - {"le"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        kind = f"{family.type}; {', '.join(f'`{each}`' for each in sorted(labels))}"
        meaning = family.documentation.rstrip(".")
        rows.append(f"| `{name}` | {kind.removesuffix('; ')} | {meaning} |\n")
    return HEADING + "".join(sorted(rows))


def page(old: str, exported: str) -> str:
    """The page with its table replaced."""
    before, heading, rest = old.partition(HEADING)
    assert heading, "the page has no table of metrics"
    _, blank, after = rest.partition("\n\n")
    return before + table(exported) + blank[1:] + after


def main() -> None:
    """Rewrites the page that the command line names."""
    path = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        path.write_text(page(path.read_text("utf-8"), every_metric(Path(folder))), "utf-8")


if __name__ == "__main__":
    main()
