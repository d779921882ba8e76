"""`fletching check`: whether the directories of the archive can be written to."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

from fletching.checks.finding import Finding, error, ok
from fletching.config.model import Config


def check_archives(config: Config) -> Iterator[Finding]:
    """A finding for each directory that exists. The milter creates missing ones in `state_dir`."""
    classes = [each for each in config.mail_classes.values() if each.archive is not None]
    by_folder = {
        config.state_dir / each.archive.directory: each for each in classes if each.archive
    }
    for folder, mail_class in by_folder.items():
        option = f"mail_classes.{mail_class.name}.archive"
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except FileNotFoundError:
            continue
        except OSError as wrong:
            yield error(option, f"{folder}: not writable: {wrong.strerror}")
        else:
            yield ok(option, f"{folder} is writable")
