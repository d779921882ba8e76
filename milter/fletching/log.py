"""What the operator reads: one function per fact, one line per fact on stderr.

Here live the wording of every log line and the one form of all of them: `name key=value ...`.
Nothing that came from a client can break a line, forge a second one or colour a terminal. Logging
never fails a mail: a stderr that is gone or full is no reason to keep a mail back.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import sys
import traceback
from collections.abc import Iterable, Mapping

Facts = Iterable[tuple[str, object]]

ERROR, WARNING, NOTICE, INFO = 3, 4, 5, 6
"""Priorities of syslog(3), which the journal takes from a `<N>` before the line."""

LONGEST = 2048
"""Octets of a line; of what keeps a daemon from its start there is a line for each problem."""

_LONGEST_VALUE = 512
"""Octets of a value as it stands in a line."""

# What may stand in a value without quotes: no blank, no quote, no `=`.
_PLAIN = re.compile(r"[A-Za-z0-9_.,:;@/+*%<>()\[\]{}|~^!?#$&-]+")


def mails(answered: Iterable[tuple[str, bool, Facts]]) -> None:
    """Mails were answered: the one line that each of them has. A refused one is a warning."""
    lines = [
        _line(WARNING if refused else INFO, "mail", [("queue_id", queue_id), *facts])
        for queue_id, refused, facts in answered
    ]
    _put(lines)


def mail_failed(queue_id: str, verdict: str, error: BaseException, source: Facts = ()) -> None:
    """Something unexpected happened to a mail, which gets this verdict."""
    who = ("queue_id", queue_id)
    _write(ERROR, "mail_failed", [who, ("verdict", verdict), *source, ("error", _said(error))])
    _trace(who, error)


def crashed(daemon: str, error: BaseException) -> None:
    """A process cannot go on."""
    who = ("daemon", daemon)
    _write(ERROR, "crashed", [who, ("error", _said(error))])
    _trace(who, error)


def redis_unavailable(reason: str) -> None:
    """Redis does not answer, or not in time; said once for as long as it lasts."""
    _write(ERROR, "redis_unavailable", [("reason", reason)])


def redis_available() -> None:
    """Redis answers again."""
    _write(NOTICE, "redis_available", [])


def started(daemon: str, facts: Facts) -> None:
    """A daemon is ready."""
    _write(NOTICE, "started", [("daemon", daemon), *facts])


def stopping(daemon: str, signal: str) -> None:
    """A daemon was told to end and finishes what it has in hand."""
    _write(NOTICE, "stopping", [("daemon", daemon), ("signal", signal)])


def draining(mails: int) -> None:
    """A worker waits for the end of the mails that it has in hand."""
    _write(NOTICE, "draining", [("mails", mails)])


def stopped(daemon: str) -> None:
    """A daemon is gone."""
    _write(NOTICE, "stopped", [("daemon", daemon)])


def mails_interrupted(mails: int) -> None:
    """Mails whose end did not come in time at a stop; Postfix answers them 451."""
    _write(WARNING, "mails_interrupted", [("mails", mails)])


def worker_recycled(worker: int, mails: int) -> None:
    """A worker has had its share of mails: it finishes its sessions, and another follows it."""
    _write(NOTICE, "worker_recycled", [("worker", worker), ("mails", mails)])


def child_died(what: str, how: str, pause: float | None) -> None:
    """A process ended that should not have; without a pause, another has its place already."""
    restart = [] if pause is None else [("restart_in", f"{pause:g}s")]
    _write(ERROR, "child_died", [("what", what), ("how", how), *restart])


def child_killed(what: str, pid: int) -> None:
    """A process did not end in time and was killed."""
    _write(ERROR, "child_killed", [("what", what), ("pid", pid)])


def cannot_start(problems: str) -> None:
    """What is wrong with the configuration, a line each, as `check` writes it; nothing starts."""
    _put(_marked(ERROR, _printable(line)) for line in problems.splitlines())


def out_of_file_descriptors(most: int, left_out: int) -> None:
    """All file descriptors of a process are in use: connections are answered 503 and ended."""
    facts = [("limit", most), ("connections", left_out + 1)]
    _write(ERROR, "out_of_file_descriptors", facts)


def library(
    name: str, message: str, error: BaseException | None, left_out: int, *, is_error: bool
) -> None:
    """A library reported an error. ``left_out``: its reports since the last line about it."""
    who = ("library", name)
    facts = [who, ("message", message), *([("left_out", left_out)] if left_out else [])]
    _write(ERROR if is_error else WARNING, "library", facts)
    if error is not None:
        _trace(who, error)


def reloaded(daemon: str) -> None:
    """The configuration was read anew and is in force."""
    _write(NOTICE, "configuration", [("daemon", daemon), ("reload", "done")])


def reload_failed(daemon: str, problems: Iterable[str]) -> None:
    """The configuration is broken; the one before it stays in force."""
    for problem in problems:
        facts = [("daemon", daemon), ("reload", "failed"), ("problem", problem)]
        _write(ERROR, "configuration", facts)


def needs_restart(daemon: str, options: Iterable[str]) -> None:
    """Options that a reload cannot change."""
    facts = [("daemon", daemon), ("restart_for", ",".join(options))]
    _write(WARNING, "configuration", facts)


def page_failed(daemon: str, error: BaseException) -> None:
    """Something unexpected happened to a page of the web, which is answered 500."""
    who = ("daemon", daemon)
    _write(ERROR, "page_failed", [who, ("error", _said(error))])
    _trace(who, error)


def counting_failed(campaign: str, error: BaseException) -> None:
    """Events are kept, but Redis could not count them with their campaign."""
    _write(ERROR, "counting_failed", [("campaign", campaign), ("error", _said(error))])


def logging_failed(mails: int, error: BaseException) -> None:
    """Something unexpected happened while log lines and counts of answered mails were written."""
    _write(ERROR, "logging_failed", [("mails", mails), ("error", _said(error))])
    _trace(("daemon", "milter"), error)


def recording_failed(error: BaseException) -> None:
    """Something unexpected happened while events were written to Redis; they wait on disk."""
    _write(ERROR, "recording_failed", [("error", _said(error))])
    _trace(("daemon", "web"), error)


def dashboard_refused(client: str) -> None:
    """A client gave a wrong password."""
    _write(WARNING, "dashboard_refused", [("client", client)])


def delivery_failed(destination: str, error: BaseException) -> None:
    """Something unexpected happened on the way to a destination; it is tried again."""
    who = ("destination", destination)
    _write(ERROR, "delivery_failed", [who, ("error", _said(error))])
    _trace(who, error)


def clock_jumped(start: int, to: int) -> None:
    """Redis' clock went from one unix time to another unseen, which makes no event older."""
    facts = [("from", start), ("to", to), ("seconds", to - start)]
    _write(WARNING, "clock_jumped", facts)


def destination_failed(destination: str, why: str) -> None:
    """A destination does not take events; said once for as long as it lasts."""
    _write(WARNING, "destination_failed", [("destination", destination), ("reason", why)])


def destination_recovered(destination: str) -> None:
    """A destination answers again."""
    _write(NOTICE, "destination_recovered", [("destination", destination)])


def destination_stopped(destination: str, why: str) -> None:
    """A destination wants nothing any more; from now on its events are buried."""
    _write(ERROR, "destination_stopped", [("destination", destination), ("reason", why)])


def dead_lettered(destination: str, events: int, why: str) -> None:
    """Events went to the dead letters of a destination."""
    facts = [("destination", destination), ("events", events), ("reason", why)]
    _write(WARNING, "dead_lettered", facts)


def state_write_failed(what: str, error: BaseException) -> None:
    """A file of ours could not be read or written; the work goes on without it."""
    _write(WARNING, "state_write_failed", [("what", what), ("error", _said(error))])


def events_lost(count: int) -> None:
    """Redis is away and the disk or the journal full: so many events of this process are gone."""
    _write(ERROR, "events_lost", [("count", count)])


def journal_replay() -> None:
    """Redis started again, or another one took over: it gets all again that the journal has."""
    _write(NOTICE, "journal_replay", [])


def journal_drained(events: int, lost: int) -> None:
    """Redis has all that the journal has; so many events were lost since this process began."""
    _write(NOTICE, "journal_drained", [("events", events), ("lost", lost)])


def _trace(who: tuple[str, object], error: BaseException) -> None:
    for line in "".join(traceback.format_exception(error)).splitlines():
        _write(ERROR, "traceback", [who], behind=_printable(line)[:_LONGEST_VALUE])


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _write(priority: int, name: str, facts: Iterable[tuple[str, object]], behind: str = "") -> None:
    _put([_line(priority, name, list(facts), behind)])


def _line(priority: int, name: str, facts: list[tuple[str, object]], behind: str = "") -> bytes:
    """At most `LONGEST` octets: of the facts that have no room stands how many there are."""
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
    return _marked(priority, f"{line} | {behind}" if behind else line)


def _marked(priority: int, line: str) -> bytes:
    mark = f"<{priority}>" if _to_journal(os.environ) else ""
    return f"{mark}{line}\n".encode("utf-8", "backslashreplace")


def _put(lines: Iterable[bytes]) -> None:
    """As few writes as keep lines whole: several processes share this stderr, and what is written
    to a pipe at once stays together up to PIPE_BUF octets (pipe(7))."""
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
    """A value as it stands in a line: plain where it is harmless, else quoted and escaped; what is
    too long then is cut, so that no value takes the room of those behind it."""
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
    r"""Without characters that steer a terminal or end a line: those become \n, \x1b, ..."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _to_journal(environment: Mapping[str, str]) -> bool:
    """Whether stderr is the journal (systemd.exec(5), JOURNAL_STREAM)."""
    stream = environment.get("JOURNAL_STREAM", "")
    if not stream:
        return False
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return stream == f"{status.st_dev}:{status.st_ino}"
