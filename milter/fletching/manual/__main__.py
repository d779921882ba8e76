"""`python -m fletching.manual DIRECTORY`: writes all manual pages."""

from __future__ import annotations

import os
import sys
from datetime import UTC, date, datetime
from importlib import metadata
from pathlib import Path

from fletching.manual import commands, configuration


def write(directory: Path, day: date) -> None:
    """Writes every page into an existing or new directory. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    version = metadata.version("fletching")
    for page in (*commands.pages(), configuration.page()):
        (directory / page.file).write_text(page.source(day, version), "utf-8")


def _day() -> date:
    """Today, or the day of SOURCE_DATE_EPOCH (reproducible-builds.org), in UTC."""
    seconds = os.environ.get("SOURCE_DATE_EPOCH")
    now = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(int(seconds), UTC)
    return now.date()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m fletching.manual DIRECTORY")
    write(Path(sys.argv[1]), _day())
