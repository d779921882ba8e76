"""Plans and makes the changes of `fletching postfix --install` and `--remove`.

A plan is made from the files as they are; nothing is changed until `apply`. What the texts become
is decided in `postfix/edits/`.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fletching.config.model import Config
from fletching.postfix import transaction
from fletching.postfix.edits import main_cf, master_cf
from fletching.postfix.postconf import PostfixError, run
from fletching.postfix.queue import filtered
from fletching.postfix.record import BEFORE, ORIGINAL, RECORD, Record, read_record
from fletching.postfix.transaction import BACKUP, Contents, digest, read
from fletching.postfix.wanted import HEADER_CHECKS, LISTS, Wanted, wanted

_FILES = ("main.cf", "master.cf")
_DEFAULT_DIRECTORY = "/etc/postfix"


class ImpossibleError(Exception):
    """The files cannot be changed as wanted. Says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A Postfix instance. ``directory``: of its configuration."""

    directory: Path
    queue_directory: PurePosixPath

    def command(self, name: str, *words: str) -> tuple[str, ...]:
        return (name, "-c", str(self.directory), *words)


@dataclass(frozen=True, slots=True)
class Plan:
    """``changes``: Postfix's files that change, in the order in which they are written.

    ``kept``: the backup and the record, written with them. ``transports``: services that go away.
    ``left``: tables of ours that an administrator has changed, and that stay.
    """

    changes: Contents
    kept: Contents
    transports: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def instance() -> Instance:
    """The instance that Postfix's commands use: MAIL_CONFIG names another. Raises PostfixError."""
    answer = run(("postconf", "-h", "config_directory", "queue_directory")).splitlines()
    return Instance(Path(answer[0]).resolve(), PurePosixPath(answer[1]))


def directory() -> Path:
    """The instance's configuration directory, also where Postfix is not installed any more."""
    try:
        return instance().directory
    except PostfixError:
        return Path(os.environ.get("MAIL_CONFIG", _DEFAULT_DIRECTORY)).resolve()


def plan_install(config: Config, postfix: Instance) -> Plan:
    """Raises ImpossibleError, RecordError."""
    folder = postfix.directory
    record = read_record(folder)
    now = {name: _text(folder, name) for name in _FILES}
    ours = record or Record({}, {}, {})
    checks_file = _checks_file(folder, config, postfix, ours)
    try:
        needs = wanted(config, postfix.queue_directory, checks_file)
        after = _installed(now, needs, ours)
    except ValueError as wrong:
        raise ImpossibleError(str(wrong)) from None
    tables = _tables(folder, needs, ours)
    before = {name: _before(folder, name, now[name], ours) for name in _FILES}
    new = Record(
        {name: str(digest(_bytes(text))) for name, text in after.items()},
        {
            name: text
            for name, text in needs.services.items()
            if name in ours.services or name not in _services(now["master.cf"])
        },
        {name: str(digest(content)) for name, content in tables.items() if content is not None},
    )
    # Tables first and main.cf last: a process that reads main.cf finds everything it names.
    gone = {name: None for name in ours.tables if name not in needs.tables}
    wanted_files: dict[str, bytes | None] = {
        **tables,
        "master.cf": _bytes(after["master.cf"]),
        "main.cf": _bytes(after["main.cf"]),
        **gone,
    }
    kept: dict[str, bytes | None] = {f"{BEFORE}/{name}": text for name, text in before.items()}
    if record is None:
        kept |= {f"{ORIGINAL}/{name}": _bytes(text) for name, text in now.items()}
    kept[RECORD] = new.content()
    left_out = tuple(name for name in ours.services if name not in needs.services)
    return Plan(_different(folder, wanted_files), _different(folder, kept), left_out)


def _installed(now: Mapping[str, str], needs: Wanted, ours: Record) -> dict[str, str]:
    # An administrator may use our parameters elsewhere, such as in relay_recipient_maps.
    base = main_cf.stripped(now["main.cf"], LISTS)
    main, known = main_cf.with_settings(base, needs.own, needs.lists)
    master = master_cf.with_services(now["master.cf"], needs.services, ours.services)
    return {"main.cf": main, "master.cf": master_cf.with_words(master, needs.lists, known)}


def plan_remove(folder: Path) -> Plan | None:
    """None if nothing is installed. Raises RecordError."""
    record = read_record(folder)
    if record is None:
        return None
    changes: dict[str, bytes | None] = {}
    for name in _FILES:
        content = read(folder, name)
        if content is not None:
            changes[name] = _before(
                folder, name, content.decode("utf-8", "surrogateescape"), record
            )
    # main.cf first: from then on, no process that starts asks for the rest.
    left = []
    for name, written in record.tables.items():
        if digest(read(folder, name)) in (written, None):
            changes[name] = None
        else:
            left.append(name)
    backup = folder / BACKUP
    kept = {
        str(file.relative_to(folder)): None for file in sorted(backup.rglob("*")) if file.is_file()
    }
    transports = tuple(record.services)
    return Plan(_different(folder, changes), kept, transports, tuple(left))


def loses_relay_recipients(folder: Path, plan: Plan) -> bool:
    """Whether relay_recipient_maps has only our table now, and none afterwards."""
    before, after = read(folder, "main.cf"), plan.changes.get("main.cf")
    if before is None or after is None:
        return False
    empty = re.compile(rb"(?m)^relay_recipient_maps[ \t]*=[ \t]*$(?!\n[ \t])")
    return empty.search(after) is not None and empty.search(before) is None


def _before(folder: Path, name: str, now: str, record: Record) -> bytes:
    """A file without anything of ours: byte for byte as it was, if nobody has changed it since."""
    kept = read(folder, f"{BEFORE}/{name}")
    if kept is not None and digest(_bytes(now)) == record.files.get(name):
        return kept
    if name == "main.cf":
        return _bytes(main_cf.stripped(now).text)
    return _bytes(master_cf.without(now, record.services))


def _checks_file(folder: Path, config: Config, postfix: Instance, ours: Record) -> str:
    """The name of our milter_header_checks table: another one if there is a table of that name."""
    other = f"fletching_{HEADER_CHECKS}"
    for name in (other, HEADER_CHECKS):
        if name in ours.tables:
            return name
    try:
        content = wanted(config, postfix.queue_directory, HEADER_CHECKS).tables.get(HEADER_CHECKS)
    except ValueError:
        content = None  # reported by the caller
    present = read(folder, HEADER_CHECKS)
    is_free = present is None or content is None or present == _bytes(content)
    return HEADER_CHECKS if is_free else other


def _tables(folder: Path, needs: Wanted, ours: Record) -> dict[str, bytes | None]:
    """The tables to write. One that was there with the same content is not ours to remove."""
    found: dict[str, bytes | None] = {}
    for name, text in needs.tables.items():
        content, present = _bytes(text), read(folder, name)
        if name in ours.tables:
            if digest(present) not in (ours.tables[name], digest(content), None):
                raise ImpossibleError(
                    f"{folder / name} has been changed since it was installed: move what was added"
                    f" to a table of its own, remove {folder / name}, then run this again"
                )
        elif present == content:
            continue
        elif present is not None:
            raise ImpossibleError(
                f"{folder / name} exists already with other content: move it away, or remove it if"
                " nothing needs it, then run this again"
            )
        found[name] = content
    return found


def _services(text: str) -> set[str]:
    return {each.name for each in master_cf.services(text)}


def _text(folder: Path, name: str) -> str:
    content = read(folder, name)
    if content is None:
        raise ImpossibleError(f"{folder / name} is missing: set up Postfix first")
    return content.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _different(folder: Path, contents: Contents) -> Contents:
    return {name: new for name, new in contents.items() if read(folder, name) != new}


@contextmanager
def proposed(folder: Path, plan: Plan) -> Iterator[Path]:
    """A copy of Postfix's configuration directory with the changes, to be read by postconf(1)."""
    with tempfile.TemporaryDirectory(prefix="fletching-postfix-") as place:
        copy = Path(place)
        for entry in folder.iterdir():
            if entry.name not in (*_FILES, *plan.changes, BACKUP):
                (copy / entry.name).symlink_to(entry)
        for name in dict.fromkeys((*_FILES, *plan.changes)):
            content = plan.changes.get(name, read(folder, name))
            if content is not None:
                (copy / name).write_bytes(content)
                # Postfix waits until a file that was just written has come to rest.
                os.utime(copy / name, (1e9, 1e9))
        yield copy


def stranded(folder: Path, plan: Plan) -> dict[str, int]:
    """How many mails in the queue need each service that goes away. Raises PostfixError."""
    if not plan.transports or not is_installed():
        return {}
    found = filtered(str(folder))
    names = (name.partition("/")[0] for name in plan.transports)
    return {name: found[name] for name in names if found[name]}


def undo(folder: Path) -> bool:
    """Undoes what an interrupted run has begun. Whether there was anything.

    Raises TransactionError, PostfixError, OSError.
    """
    if not transaction.recover(folder):
        return False
    # It may have reloaded Postfix already.
    if is_running(folder):
        run(("postfix", "-c", str(folder), "reload"))
    return True


def apply(folder: Path, plan: Plan) -> tuple[str, ...]:
    """Makes the changes, checks and reloads Postfix. What `postfix check` printed, by line.

    If anything fails, all files are put back, and PostfixError or OSError is raised.
    """
    if not (plan.changes or plan.kept):
        return ()
    changes = {**plan.changes, **plan.kept}
    try:
        transaction.begin(folder, changes)
        transaction.change(folder, changes)
        printed = _check_and_reload(folder) if plan.changes else ()
        transaction.commit(folder)
    finally:
        undo(folder)  # nothing is left after the commit
    return printed


def _check_and_reload(folder: Path) -> tuple[str, ...]:
    if not is_installed():
        return ()
    printed = run(("postfix", "-c", str(folder), "check"))
    if is_running(folder):
        run(("postfix", "-c", str(folder), "reload"))
    return tuple(printed.splitlines())


def is_installed() -> bool:
    """Whether Postfix's commands are there."""
    try:
        run(("postconf", "-dh", "mail_version"))
    except PostfixError:
        return False
    return True


def is_running(folder: Path) -> bool:
    try:
        run(("postfix", "-c", str(folder), "status"))
    except PostfixError:
        return False
    return True
