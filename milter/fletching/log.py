"""The log: one function for each event, one line `name key=value ...` on stderr for each.

Here is what is logged; how a line is written, and values are escaped, is in `log_lines.py`. Logging
never raises.
"""

from __future__ import annotations

from collections.abc import Iterable

from fletching.log_lines import (
    ERROR,
    INFO,
    NOTICE,
    WARNING,
    error_text,
    formatted,
    write,
    write_lines,
    write_text,
    write_traceback,
)

Facts = Iterable[tuple[str, object]]


def mails(answered: Iterable[tuple[str, bool, Facts]]) -> None:
    """Messages were answered: one line each. A refused message is logged as a warning."""
    lines = [
        formatted(WARNING if refused else INFO, "mail", [("queue_id", queue_id), *facts])
        for queue_id, refused, facts in answered
    ]
    write_lines(lines)


def mail_failed(queue_id: str, verdict: str, error: BaseException, source: Facts = ()) -> None:
    """An unexpected error while processing a message, which gets this verdict."""
    who = ("queue_id", queue_id)
    write(ERROR, "mail_failed", [who, ("verdict", verdict), *source, ("error", error_text(error))])
    write_traceback(who, error)


def session_lost(queue_id: str, verdict: str, error: BaseException, source: Facts = ()) -> None:
    """Postfix ended the session before it had all edits of a message, and did not take it."""
    who = ("queue_id", queue_id)
    write(
        WARNING, "session_lost", [who, ("verdict", verdict), *source, ("error", error_text(error))]
    )


def crashed(daemon: str, error: BaseException) -> None:
    """An unexpected error ends a process."""
    who = ("daemon", daemon)
    write(ERROR, "crashed", [who, ("error", error_text(error))])
    write_traceback(who, error)


def redis_unavailable(reason: str) -> None:
    """Redis does not answer, or not in time; logged once per outage."""
    write(ERROR, "redis_unavailable", [("reason", reason)])


def redis_available() -> None:
    """Redis answers again."""
    write(NOTICE, "redis_available", [])


def started(daemon: str, facts: Facts) -> None:
    """A daemon is ready."""
    write(NOTICE, "started", [("daemon", daemon), *facts])


def stopping(daemon: str, signal: str) -> None:
    """A daemon got a signal to stop, and finishes its work in progress."""
    write(NOTICE, "stopping", [("daemon", daemon), ("signal", signal)])


def draining(mails: int) -> None:
    """A worker waits for messages in progress."""
    write(NOTICE, "draining", [("mails", mails)])


def stopped(daemon: str) -> None:
    """A daemon has stopped."""
    write(NOTICE, "stopped", [("daemon", daemon)])


def mails_interrupted(mails: int) -> None:
    """Messages that did not end in time when a worker stopped; Postfix replies 451."""
    write(WARNING, "mails_interrupted", [("mails", mails)])


def worker_recycled(worker: int, mails: int) -> None:
    """A worker has processed `worker_max_messages`: a new one starts, it finishes its sessions."""
    write(NOTICE, "worker_recycled", [("worker", worker), ("mails", mails)])


def address_changed(virtual_mta: str, address: str, *, is_here: bool) -> None:
    """The address of a VirtualMTA has vanished from this host, or is here again."""
    facts = [("virtual_mta", virtual_mta), ("address", address)]
    if is_here:
        write(NOTICE, "address_returned", facts)
    else:
        write(ERROR, "address_vanished", facts)


def child_died(what: str, how: str, pause: float | None) -> None:
    """A process ended unexpectedly. ``pause``: seconds to its restart; None: already restarted."""
    restart = [] if pause is None else [("restart_in", f"{pause:g}s")]
    write(ERROR, "child_died", [("what", what), ("how", how), *restart])


def child_killed(what: str, pid: int) -> None:
    """A process did not stop in time and was killed."""
    write(ERROR, "child_killed", [("what", what), ("pid", pid)])


def cannot_start(problems: str) -> None:
    """The errors that keep a daemon from starting, one line each, as `check` prints them."""
    write_text(ERROR, problems)


def out_of_file_descriptors(most: int, left_out: int) -> None:
    """All file descriptors of a process are in use; connections get 503 and are closed."""
    facts = [("limit", most), ("connections", left_out + 1)]
    write(ERROR, "out_of_file_descriptors", facts)


def library(
    name: str, message: str, error: BaseException | None, left_out: int, *, is_error: bool
) -> None:
    """A library logged an error. ``left_out``: its messages since the last line, not logged."""
    who = ("library", name)
    facts = [who, ("message", message), *([("left_out", left_out)] if left_out else [])]
    write(ERROR if is_error else WARNING, "library", facts)
    if error is not None:
        write_traceback(who, error)


def reloaded(daemon: str) -> None:
    """The configuration was reloaded and is in force."""
    write(NOTICE, "configuration", [("daemon", daemon), ("reload", "done")])


def reload_failed(daemon: str, problems: Iterable[str]) -> None:
    """The new configuration is invalid; the old one stays in force."""
    for problem in problems:
        facts = [("daemon", daemon), ("reload", "failed"), ("problem", problem)]
        write(ERROR, "configuration", facts)


def seeds_claimed(campaign: str, number: int, seeds: int) -> None:
    """A message passed the due points of seeds, which get a copy of it."""
    write(INFO, "seeds_due", [("campaign", campaign), ("number", number), ("seeds", seeds)])


def seed_sent(campaign: str, seed: str) -> None:
    """Postfix has the copy for a seed."""
    write(INFO, "seed_sent", [("campaign", campaign), ("seed", seed)])


def seed_deferred(campaign: str, seed: str, reply: str) -> None:
    """Postfix did not take the copy for a seed; the courier tries again."""
    write(WARNING, "seed_deferred", [("campaign", campaign), ("seed", seed), ("reply", reply)])


def seed_failed(campaign: str, seed: str, reply: str) -> None:
    """A seed gets no copy."""
    write(ERROR, "seed_failed", [("campaign", campaign), ("seed", seed), ("reply", reply)])


def courier_failed(what: str, error: BaseException) -> None:
    """An unexpected error while seed copies are submitted (`seeds`) or looked for (`monitor`); it
    is tried again.
    """
    who = ("what", what)
    write(ERROR, "courier_failed", [who, ("error", error_text(error))])
    write_traceback(who, error)


def needs_restart(daemon: str, options: Iterable[str]) -> None:
    """Options that take effect only after a restart."""
    facts = [("daemon", daemon), ("restart_for", ",".join(options))]
    write(WARNING, "configuration", facts)


def page_failed(daemon: str, error: BaseException) -> None:
    """An unexpected error while answering a web request, which gets 500."""
    who = ("daemon", daemon)
    write(ERROR, "page_failed", [who, ("error", error_text(error))])
    write_traceback(who, error)


def counting_failed(campaign: str, error: BaseException) -> None:
    """Events are stored, but Redis could not count them for their campaign."""
    write(ERROR, "counting_failed", [("campaign", campaign), ("error", error_text(error))])


def logging_failed(mails: int, error: BaseException) -> None:
    """An unexpected error while writing log lines and counts of answered messages."""
    write(ERROR, "logging_failed", [("mails", mails), ("error", error_text(error))])
    write_traceback(("daemon", "milter"), error)


def recording_failed(error: BaseException) -> None:
    """An unexpected error while writing events to Redis; they wait on disk."""
    write(ERROR, "recording_failed", [("error", error_text(error))])
    write_traceback(("what", "events"), error)


def returned_mail(kind: str, recipient: str, facts: Facts) -> None:
    """A returned mail was recorded or kept. ``recipient``: the mailbox of ours that it came to."""
    write(INFO, "returned_mail", [("kind", kind), ("recipient", recipient), *facts])


def returned_mail_failed(error: BaseException) -> None:
    """An unexpected error while receiving a returned mail; Postfix gets 451 and tries again."""
    write(ERROR, "returned_mail_failed", [("error", error_text(error))])
    write_traceback(("daemon", "lmtp"), error)


def not_copied(reason: str) -> None:
    """A returned mail is recorded, but not copied to `bounces.copy_to`; Postfix gets 451 and sends
    it again.
    """
    write(WARNING, "not_copied", [("reason", reason)])


def copy_refused(address: str, reply: str) -> None:
    """The SMTP server refused a copy of a returned mail for `bounces.copy_to`."""
    write(WARNING, "copy_refused", [("to", address), ("reply", reply)])


def unreadable_deleted(count: int) -> None:
    """The oldest mails in `state_dir/unreadable` were deleted, because there were too many."""
    write(WARNING, "unreadable_deleted", [("count", count)])


def dashboard_refused(client: str) -> None:
    """A client sent a wrong password."""
    write(WARNING, "dashboard_refused", [("client", client)])


def dashboard_login(client: str) -> None:
    """A client logged in to the dashboard."""
    write(NOTICE, "dashboard_login", [("client", client)])


def dashboard_action(client: str, action: str, facts: Facts) -> None:
    """A logged-in client changed something on the dashboard."""
    write(NOTICE, "dashboard_action", [("client", client), ("action", action), *facts])


def delivery_failed(destination: str, error: BaseException) -> None:
    """An unexpected error while delivering to a destination; delivery is retried."""
    who = ("destination", destination)
    write(ERROR, "delivery_failed", [who, ("error", error_text(error))])
    write_traceback(who, error)


def clock_jumped(start: int, to: int) -> None:
    """Redis' clock jumped between two unix times; the jump does not count as age of events."""
    facts = [("from", start), ("to", to), ("seconds", to - start)]
    write(WARNING, "clock_jumped", facts)


def destination_failed(destination: str, why: str) -> None:
    """A destination does not accept events; logged once per outage."""
    write(WARNING, "destination_failed", [("destination", destination), ("reason", why)])


def destination_recovered(destination: str) -> None:
    """A destination accepts events again."""
    write(NOTICE, "destination_recovered", [("destination", destination)])


def destination_stopped(destination: str, why: str) -> None:
    """A destination accepts nothing any more (410); from now on its events are dead-lettered."""
    write(ERROR, "destination_stopped", [("destination", destination), ("reason", why)])


def dead_lettered(destination: str, events: int, why: str) -> None:
    """Events were moved to a destination's dead letters."""
    facts = [("destination", destination), ("events", events), ("reason", why)]
    write(WARNING, "dead_lettered", facts)


def state_write_failed(what: str, error: BaseException) -> None:
    """A state file could not be written (or read); work continues without it."""
    write(WARNING, "state_write_failed", [("what", what), ("error", error_text(error))])


def not_archived(count: int, why: str) -> None:
    """Messages that are sent, but could not be written to the archive."""
    write(WARNING, "not_archived", [("count", count), ("reason", why)])


def mailbox_unreadable(address: str, reason: str, others: int) -> None:
    """A seed mailbox cannot be read. ``others``: how many more cannot be read either."""
    facts = [("seed", address), ("reason", reason), ("others", others)]
    write(WARNING, "mailbox_unreadable", facts)


def events_lost(count: int) -> None:
    """Events were lost because Redis is unavailable and the disk or the journal is full."""
    write(ERROR, "events_lost", [("count", count)])


def journal_replay() -> None:
    """Redis restarted, or another server took over: the journal is written to it again."""
    write(NOTICE, "journal_replay", [])


def journal_drained(events: int, lost: int) -> None:
    """Redis has everything in the journal. ``lost``: events lost since this process started."""
    write(NOTICE, "journal_drained", [("events", events), ("lost", lost)])


def log_unreadable(reason: str) -> None:
    """Postfix's log cannot be read for now."""
    write(ERROR, "log_unreadable", [("reason", reason)])


def log_gap(reason: str) -> None:
    """Lines of Postfix's log may be missing."""
    write(WARNING, "log_gap", [("reason", reason)])
