"""Checks Postfix's log: that it can be read, and that Postfix writes to it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from fletching.checks.finding import Finding, error, ok, warning
from fletching.config.model import Config
from fletching.postfix.logline import Active, parse
from fletching.postfix.postconf import Installed

PARAMETERS = ("maillog_file",)
"""What of main.cf is needed."""

_PLACE = "postfix.log"
_END = 2 * 2**20
"""Bytes at the end of a log that are looked at."""

_NEWEST = (*("journalctl", "--no-pager", "--lines=1", "--output=cat"), "SYSLOG_FACILITY=2")
_TIMEOUT = 20


def check_log(config: Config, postfix: Installed | None = None) -> Iterator[Finding]:
    """``postfix``: its configuration, None if that is not to be checked."""
    if config.postfix is None or config.postfix.log is None:
        return
    path = config.postfix.log
    written = Path(postfix.parameters.get("maillog_file", "")) if postfix else Path()
    if path == "journal":
        if written != Path():
            yield error(
                _PLACE, f"Postfix does not log to the journal: set postfix.log to {written}"
            )
            return
        yield _journal()
        return
    if written not in (Path(), path):
        yield error(_PLACE, f"Postfix logs to {written} (maillog_file): set postfix.log to it")
        return
    yield _file(path)


def _file(path: Path) -> Finding:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _END))
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return warning(_PLACE, f"{path}: does not exist yet; is Postfix's log elsewhere?")
    except OSError as wrong:
        return error(_PLACE, f"{path}: cannot be read: {wrong.strerror}")
    says = (parse(line) for line in lines)
    if any(each is not None and isinstance(each.said, Active) for each in says):
        return ok(_PLACE, f"{path}: Postfix logs deliveries there")
    return warning(
        _PLACE, f"{path}: its end has no line of Postfix's qmgr(8); is the log elsewhere?"
    )


def _journal() -> Finding:
    try:
        done = subprocess.run(
            _NEWEST, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except FileNotFoundError:
        return error(_PLACE, "journal: there is no journalctl(1): set postfix.log to a file")
    except subprocess.TimeoutExpired:
        return warning(_PLACE, f"journal: journalctl(1) has not answered in {_TIMEOUT} seconds")
    if done.returncode:
        why = done.stderr.strip().rpartition("\n")[2]
        return error(_PLACE, f"journal: cannot be read: {why}")
    if done.stdout.strip():
        return ok(_PLACE, "the journal has lines of the facility mail")
    return warning(_PLACE, "the journal has no line of the facility mail; is the log elsewhere?")
