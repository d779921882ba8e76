"""The log: one function for each event, one line `name key=value ...` on stderr for each.

Values that come from clients are escaped, so that they cannot break a line, forge one, or control a
terminal. Logging never raises: a closed or full stderr must not stop mail.
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
"""Priorities of syslog(3); the systemd journal reads them from `<N>` before the line."""

LONGEST = 2048
"""Bytes of a line. Errors that keep a daemon from starting get a line each."""

_LONGEST_VALUE = 512
"""Bytes of a value in a line."""

# A value that needs no quotes: no space, no quote, no `=`.
_PLAIN = re.compile(r"[A-Za-z0-9_.,:;@/+*%<>()\[\]{}|~^!?#$&-]+")


def mails(answered: Iterable[tuple[str, bool, Facts]]) -> None:
    """Messages were answered: one line each. A refused message is logged as a warning."""
    lines = [
        _line(WARNING if refused else INFO, "mail", [("queue_id", queue_id), *facts])
        for queue_id, refused, facts in answered
    ]
    _write_lines(lines)


def mail_failed(queue_id: str, verdict: str, error: BaseException, source: Facts = ()) -> None:
    """An unexpected error while processing a message, which gets this verdict."""
    who = ("queue_id", queue_id)
    _write(ERROR, "mail_failed", [who, ("verdict", verdict), *source, ("error", _text(error))])
    _trace(who, error)


def crashed(daemon: str, error: BaseException) -> None:
    """An unexpected error ends a process."""
    who = ("daemon", daemon)
    _write(ERROR, "crashed", [who, ("error", _text(error))])
    _trace(who, error)


def redis_unavailable(reason: str) -> None:
    """Redis does not answer, or not in time; logged once per outage."""
    _write(ERROR, "redis_unavailable", [("reason", reason)])


def redis_available() -> None:
    """Redis answers again."""
    _write(NOTICE, "redis_available", [])


def started(daemon: str, facts: Facts) -> None:
    """A daemon is ready."""
    _write(NOTICE, "started", [("daemon", daemon), *facts])


def stopping(daemon: str, signal: str) -> None:
    """A daemon got a signal to stop, and finishes its work in progress."""
    _write(NOTICE, "stopping", [("daemon", daemon), ("signal", signal)])


def draining(mails: int) -> None:
    """A worker waits for messages in progress."""
    _write(NOTICE, "draining", [("mails", mails)])


def stopped(daemon: str) -> None:
    """A daemon has stopped."""
    _write(NOTICE, "stopped", [("daemon", daemon)])


def mails_interrupted(mails: int) -> None:
    """Messages that did not end in time when a worker stopped; Postfix replies 451."""
    _write(WARNING, "mails_interrupted", [("mails", mails)])


def worker_recycled(worker: int, mails: int) -> None:
    """A worker has processed `worker_max_messages`: a new one starts, it finishes its sessions."""
    _write(NOTICE, "worker_recycled", [("worker", worker), ("mails", mails)])


def address_changed(virtual_mta: str, address: str, *, is_here: bool) -> None:
    """The address of a VirtualMTA has vanished from this host, or is here again."""
    facts = [("virtual_mta", virtual_mta), ("address", address)]
    if is_here:
        _write(NOTICE, "address_returned", facts)
    else:
        _write(ERROR, "address_vanished", facts)


def child_died(what: str, how: str, pause: float | None) -> None:
    """A process ended unexpectedly. ``pause``: seconds to its restart; None: already restarted."""
    restart = [] if pause is None else [("restart_in", f"{pause:g}s")]
    _write(ERROR, "child_died", [("what", what), ("how", how), *restart])


def child_killed(what: str, pid: int) -> None:
    """A process did not stop in time and was killed."""
    _write(ERROR, "child_killed", [("what", what), ("pid", pid)])


def cannot_start(problems: str) -> None:
    """The errors that keep a daemon from starting, one line each, as `check` prints them."""
    _write_lines(_with_priority(ERROR, _printable(line)) for line in problems.splitlines())


def out_of_file_descriptors(most: int, left_out: int) -> None:
    """All file descriptors of a process are in use; connections get 503 and are closed."""
    facts = [("limit", most), ("connections", left_out + 1)]
    _write(ERROR, "out_of_file_descriptors", facts)


def library(
    name: str, message: str, error: BaseException | None, left_out: int, *, is_error: bool
) -> None:
    """A library logged an error. ``left_out``: its messages since the last line, not logged."""
    who = ("library", name)
    facts = [who, ("message", message), *([("left_out", left_out)] if left_out else [])]
    _write(ERROR if is_error else WARNING, "library", facts)
    if error is not None:
        _trace(who, error)


def reloaded(daemon: str) -> None:
    """The configuration was reloaded and is in force."""
    _write(NOTICE, "configuration", [("daemon", daemon), ("reload", "done")])


def reload_failed(daemon: str, problems: Iterable[str]) -> None:
    """The new configuration is invalid; the old one stays in force."""
    for problem in problems:
        facts = [("daemon", daemon), ("reload", "failed"), ("problem", problem)]
        _write(ERROR, "configuration", facts)


def seeds_claimed(campaign: str, number: int, seeds: int) -> None:
    """A message passed the due points of seeds, which get a copy of it."""
    _write(INFO, "seeds_due", [("campaign", campaign), ("number", number), ("seeds", seeds)])


def seed_sent(campaign: str, seed: str) -> None:
    """Postfix has the copy for a seed."""
    _write(INFO, "seed_sent", [("campaign", campaign), ("seed", seed)])


def seed_deferred(campaign: str, seed: str, reply: str) -> None:
    """Postfix did not take the copy for a seed; the courier tries again."""
    _write(WARNING, "seed_deferred", [("campaign", campaign), ("seed", seed), ("reply", reply)])


def seed_failed(campaign: str, seed: str, reply: str) -> None:
    """A seed gets no copy."""
    _write(ERROR, "seed_failed", [("campaign", campaign), ("seed", seed), ("reply", reply)])


def courier_failed(what: str, error: BaseException) -> None:
    """An unexpected error while seed copies are submitted (`seeds`) or looked for (`monitor`); it
    is tried again.
    """
    who = ("what", what)
    _write(ERROR, "courier_failed", [who, ("error", _text(error))])
    _trace(who, error)


def needs_restart(daemon: str, options: Iterable[str]) -> None:
    """Options that take effect only after a restart."""
    facts = [("daemon", daemon), ("restart_for", ",".join(options))]
    _write(WARNING, "configuration", facts)


def page_failed(daemon: str, error: BaseException) -> None:
    """An unexpected error while answering a web request, which gets 500."""
    who = ("daemon", daemon)
    _write(ERROR, "page_failed", [who, ("error", _text(error))])
    _trace(who, error)


def counting_failed(campaign: str, error: BaseException) -> None:
    """Events are stored, but Redis could not count them for their campaign."""
    _write(ERROR, "counting_failed", [("campaign", campaign), ("error", _text(error))])


def logging_failed(mails: int, error: BaseException) -> None:
    """An unexpected error while writing log lines and counts of answered messages."""
    _write(ERROR, "logging_failed", [("mails", mails), ("error", _text(error))])
    _trace(("daemon", "milter"), error)


def recording_failed(error: BaseException) -> None:
    """An unexpected error while writing events to Redis; they wait on disk."""
    _write(ERROR, "recording_failed", [("error", _text(error))])
    _trace(("what", "events"), error)


def returned_mail(kind: str, recipient: str, facts: Facts) -> None:
    """A returned mail was recorded or kept. ``recipient``: the mailbox of ours that it came to."""
    _write(INFO, "returned_mail", [("kind", kind), ("recipient", recipient), *facts])


def returned_mail_failed(error: BaseException) -> None:
    """An unexpected error while receiving a returned mail; Postfix gets 451 and tries again."""
    _write(ERROR, "returned_mail_failed", [("error", _text(error))])
    _trace(("daemon", "lmtp"), error)


def not_copied(reason: str) -> None:
    """A returned mail is recorded, but not copied to `bounces.copy_to`; Postfix gets 451 and sends
    it again.
    """
    _write(WARNING, "not_copied", [("reason", reason)])


def copy_refused(address: str, reply: str) -> None:
    """The SMTP server refused a copy of a returned mail for `bounces.copy_to`."""
    _write(WARNING, "copy_refused", [("to", address), ("reply", reply)])


def unreadable_deleted(count: int) -> None:
    """The oldest mails in `state_dir/unreadable` were deleted, because there were too many."""
    _write(WARNING, "unreadable_deleted", [("count", count)])


def dashboard_refused(client: str) -> None:
    """A client sent a wrong password."""
    _write(WARNING, "dashboard_refused", [("client", client)])


def delivery_failed(destination: str, error: BaseException) -> None:
    """An unexpected error while delivering to a destination; delivery is retried."""
    who = ("destination", destination)
    _write(ERROR, "delivery_failed", [who, ("error", _text(error))])
    _trace(who, error)


def clock_jumped(start: int, to: int) -> None:
    """Redis' clock jumped between two unix times; the jump does not count as age of events."""
    facts = [("from", start), ("to", to), ("seconds", to - start)]
    _write(WARNING, "clock_jumped", facts)


def destination_failed(destination: str, why: str) -> None:
    """A destination does not accept events; logged once per outage."""
    _write(WARNING, "destination_failed", [("destination", destination), ("reason", why)])


def destination_recovered(destination: str) -> None:
    """A destination accepts events again."""
    _write(NOTICE, "destination_recovered", [("destination", destination)])


def destination_stopped(destination: str, why: str) -> None:
    """A destination accepts nothing any more (410); from now on its events are dead-lettered."""
    _write(ERROR, "destination_stopped", [("destination", destination), ("reason", why)])


def dead_lettered(destination: str, events: int, why: str) -> None:
    """Events were moved to a destination's dead letters."""
    facts = [("destination", destination), ("events", events), ("reason", why)]
    _write(WARNING, "dead_lettered", facts)


def state_write_failed(what: str, error: BaseException) -> None:
    """A state file could not be written (or read); work continues without it."""
    _write(WARNING, "state_write_failed", [("what", what), ("error", _text(error))])


def not_archived(count: int, why: str) -> None:
    """Messages that are sent, but could not be written to the archive."""
    _write(WARNING, "not_archived", [("count", count), ("reason", why)])


def mailbox_unreadable(address: str, reason: str, others: int) -> None:
    """A seed mailbox cannot be read. ``others``: how many more cannot be read either."""
    facts = [("seed", address), ("reason", reason), ("others", others)]
    _write(WARNING, "mailbox_unreadable", facts)


def events_lost(count: int) -> None:
    """Events were lost because Redis is unavailable and the disk or the journal is full."""
    _write(ERROR, "events_lost", [("count", count)])


def journal_replay() -> None:
    """Redis restarted, or another server took over: the journal is written to it again."""
    _write(NOTICE, "journal_replay", [])


def journal_drained(events: int, lost: int) -> None:
    """Redis has everything in the journal. ``lost``: events lost since this process started."""
    _write(NOTICE, "journal_drained", [("events", events), ("lost", lost)])


def log_unreadable(reason: str) -> None:
    """Postfix's log cannot be read for now."""
    _write(ERROR, "log_unreadable", [("reason", reason)])


def log_gap(reason: str) -> None:
    """Lines of Postfix's log may be missing."""
    _write(WARNING, "log_gap", [("reason", reason)])


def _trace(who: tuple[str, object], error: BaseException) -> None:
    for line in "".join(traceback.format_exception(error)).splitlines():
        _write(ERROR, "traceback", [who], tail=_printable(line)[:_LONGEST_VALUE])


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _write(priority: int, name: str, facts: Iterable[tuple[str, object]], tail: str = "") -> None:
    _write_lines([_line(priority, name, list(facts), tail)])


def _line(priority: int, name: str, facts: list[tuple[str, object]], tail: str = "") -> bytes:
    """At most `LONGEST` bytes; facts that do not fit are counted as `left_out`."""
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


def _write_lines(lines: Iterable[bytes]) -> None:
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
