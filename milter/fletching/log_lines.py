"""How a line of the log is written: `name key=value ...` on stderr, each line whole.

Values that come from clients are escaped, so that they cannot break a line, forge one, or control a
terminal. Writing never raises: a closed or full stderr must not stop mail. What is logged is in
`log.py`.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import sys
import traceback
from collections.abc import Iterable, Mapping

ERROR, WARNING, NOTICE, INFO = 3, 4, 5, 6
"""Priorities of syslog(3); the systemd journal reads them from `<N>` before the line."""

LONGEST = 2048
"""Bytes of a line. Errors that keep a daemon from starting get a line each."""

_LONGEST_VALUE = 512
"""Bytes of a value in a line."""

# A value that needs no quotes: no space, no quote, no `=`.
_PLAIN = re.compile(r"[A-Za-z0-9_.,:;@/+*%<>()\[\]{}|~^!?#$&-]+")


def write(priority: int, name: str, facts: Iterable[tuple[str, object]], tail: str = "") -> None:
    """Writes one line. ``tail``: what follows the facts, as it is."""
    write_lines([formatted(priority, name, list(facts), tail)])


def write_text(priority: int, text: str) -> None:
    """Writes each line of a text, escaped."""
    write_lines(_with_priority(priority, _printable(line)) for line in text.splitlines())


def write_traceback(who: tuple[str, object], error: BaseException) -> None:
    """Writes the traceback of an error, each line with ``who``."""
    for line in "".join(traceback.format_exception(error)).splitlines():
        write(ERROR, "traceback", [who], tail=_printable(line)[:_LONGEST_VALUE])


def error_text(error: BaseException) -> str:
    """The type of an error and what it says."""
    return f"{type(error).__name__}: {error}"


def formatted(priority: int, name: str, facts: list[tuple[str, object]], tail: str = "") -> bytes:
    """A line of at most `LONGEST` bytes; facts that do not fit are counted as `left_out`."""
    words, room = [name], LONGEST - len(name) - len(" left_out=1000000")
    for place, (key, value) in enumerate(facts):
        word = f"{key}={value_text(value)}"
        ascii_only = word.isascii()
        room -= 1 + (len(word) if ascii_only else len(word.encode("utf-8", "backslashreplace")))
        if room < 0:
            words.append(f"left_out={len(facts) - place}")
            break
        words.append(word)
    line = " ".join(words)
    return _with_priority(priority, f"{line} | {tail}" if tail else line)


def _with_priority(priority: int, line: str) -> bytes:
    prefix = f"<{priority}>" if _to_journal(os.environ) else ""
    return f"{prefix}{line}\n".encode("utf-8", "backslashreplace")


def write_lines(lines: Iterable[bytes]) -> None:
    """Writes lines in few writes that keep each line whole: several processes share this stderr,
    and a write to a pipe is atomic up to PIPE_BUF bytes (pipe(7))."""
    with contextlib.suppress(OSError, ValueError):
        batch = b""
        for line in lines:
            if len(batch) + len(line) > select.PIPE_BUF:
                os.write(sys.stderr.fileno(), batch)
                batch = b""
            batch += line
        if batch:
            os.write(sys.stderr.fileno(), batch)


def value_text(value: object) -> str:
    """A value in a line: plain if it is harmless, else quoted and escaped. Long values are cut, so
    that they leave room for the values after them."""
    text = str(value)
    if len(text) <= _LONGEST_VALUE and _PLAIN.fullmatch(text):
        return text
    shown = text[:_LONGEST_VALUE]
    while (size := len(_quoted(shown).encode()) - len('""')) > _LONGEST_VALUE:
        shown = shown[: len(shown) * _LONGEST_VALUE // size]
    return _quoted(shown if shown == text else f"{shown}...")


def _quoted(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_printable(escaped)}"'


def _printable(text: str) -> str:
    r"""A text with control characters and line ends escaped: \n, \x1b, ..."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _to_journal(environment: Mapping[str, str]) -> bool:
    """Whether stderr is the systemd journal (systemd.exec(5), JOURNAL_STREAM)."""
    stream = environment.get("JOURNAL_STREAM", "")
    if not stream:
        return False
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return stream == f"{status.st_dev}:{status.st_ino}"
