"""Follows the systemd journal, through journalctl(1).

Here lives the process, and how an entry becomes a line as syslogd would write it. The position is
the cursor of the last entry. What the lines say is not known here.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fletching.daemons.logtail.lines import Batch, Line
from fletching.postfix.logline import LONGEST

MOST = 256 * 1024
"""Bytes that are read at once."""

_FIELDS = "MESSAGE,SYSLOG_IDENTIFIER,SYSLOG_PID,_PID,_HOSTNAME"
FOLLOW = ("journalctl", "--follow", "--merge", "--no-pager", "--all", "--output=json")
"""The command, without what it reads. Without --merge, --follow leaves out what was logged before
the last boot."""
_MAIL = "SYSLOG_FACILITY=2"
"""The facility `mail` (RFC 3164 section 4.1.1): every service of every Postfix instance, whatever
its `syslog_name` and its unit."""

_MACHINE = Path("/etc/machine-id")
"""Journals of other machines may lie beside that of this one (systemd-journal-remote(8))."""


class SystemdJournal:
    """The mail entries of the journal after a cursor; without a cursor, of the last ``days``."""

    def __init__(self, cursor: str, days: int, command: Sequence[str] = FOLLOW) -> None:
        self._cursor, self._days, self._command = cursor, days, command
        self.process: subprocess.Popen[bytes] | None = None
        self._half = b""

    def read(self) -> Batch:
        """The next entries. Raises OSError if journalctl does not run, or has ended."""
        process = self.process or self._start()
        assert process.stdout is not None
        try:
            data = os.read(process.stdout.fileno(), MOST)
        except BlockingIOError:
            return Batch([], self._cursor)
        if not data:
            self._ended(process)
        whole, newline, half = (self._half + data).rpartition(b"\n")
        self._half = half
        lines = []
        for entry in whole.split(b"\n") if newline else ():
            line = self._line(entry)
            if line is not None:
                lines.append(line)
        return Batch(lines, self._cursor)

    def close(self) -> None:
        """Ends journalctl."""
        process, self.process, self._half = self.process, None, b""
        if process is not None:
            # It has nothing to lose, and SIGTERM is blocked in what a worker starts.
            process.kill()
            process.communicate()

    def _start(self) -> subprocess.Popen[bytes]:
        since = f"--after-cursor={self._cursor}" if self._cursor else f"--since=-{self._days}d"
        machine = f"_MACHINE_ID={_MACHINE.read_text().strip()}"
        fields = f"--output-fields={_FIELDS}"
        command = [*self._command, fields, "--lines=all", since, _MAIL, machine]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        return self.process

    def _ended(self, process: subprocess.Popen[bytes]) -> None:
        self.process, self._half = None, b""
        _, errors = process.communicate()
        why = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise OSError(f"journalctl ended with status {process.returncode}: {why}")

    def _line(self, entry: bytes) -> Line | None:
        """The line of an entry; None if it has no text, or is not one."""
        with suppress(ValueError):
            fields = json.loads(entry)
            cursor = str(fields["__CURSOR"])
            self._cursor = cursor
            text = _text(fields)
            return Line(cursor.encode(), text) if text else None
        return None


def _text(fields: dict[str, Any]) -> bytes:
    """As syslogd writes it, with the time in RFC 3339; empty for an entry without a text."""
    message = fields.get("MESSAGE")
    if isinstance(message, list):
        # journalctl(1) writes bytes that are not UTF-8 as numbers.
        message = bytes(message).decode("utf-8", "replace")
    if not isinstance(message, str) or len(message) > LONGEST:
        return b""
    microseconds = int(fields["__REALTIME_TIMESTAMP"])
    when = datetime.fromtimestamp(microseconds / 1_000_000, UTC).isoformat()
    pid = fields.get("SYSLOG_PID") or fields.get("_PID") or 0
    name, host = fields.get("SYSLOG_IDENTIFIER", ""), fields.get("_HOSTNAME", "localhost")
    return f"{when} {host} {name}[{pid}]: {message}".encode("utf-8", "replace")
