"""Which keys an entry of `dkim.keys` has, once its first one was replaced: rotation.

The configuration names the first key. Those that follow stand in its folder, as
`DOMAIN.SELECTOR.pem`, and a text file `DOMAIN.FIRST.rotation` lists them all, oldest first:

    SELECTOR CREATED STATE     s2 2026-12-01T00:00:00Z waiting

Exactly one key signs. A waiting key is not used until its record is in the DNS; a kept one signs
only for those who borrow it by its name; a retired one is destroyed, and its selector is never used
again. Who decides that a record is in the DNS is in `admin/dkim.py`.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from fletching.keys import secret_file
from fletching.keys.dkim_keys import Algorithm, DkimKeyEntry, new_dkim_key, read_dkim_key
from fletching.keys.secret_file import KeyFileError, locked, read
from fletching.mail.dkim import SigningKey, ascii_domain

State = Literal["waiting", "signing", "kept", "retired"]

_STATES: tuple[State, ...] = ("waiting", "signing", "kept", "retired")

_TIME = "%Y-%m-%dT%H:%M:%SZ"

_HEADING = """\
# DKIM keys of {domain}, oldest first: SELECTOR CREATED STATE.
# `fletching dkim rotate` and `fletching dkim retire` write it. Keep it beside the keys.
"""


@dataclass(frozen=True, slots=True)
class RotatedKey:
    """One key of an entry. ``created``: RFC 3339, or `-` for the configuration's own key."""

    selector: str
    created: str
    state: State
    file: Path

    @property
    def is_live(self) -> bool:
        """Whether the private key still exists."""
        return self.state != "retired"


def rotation(entry: DkimKeyEntry) -> tuple[RotatedKey, ...]:
    """All keys of an entry, oldest first; the last one may be waiting. Raises KeyFileError."""
    path = rotation_file(entry)
    if not os.path.lexists(path):
        return (RotatedKey(entry.selector, "-", "signing", Path(entry.file)),)
    lines = read(path).decode("ascii", "replace").splitlines()
    rows = [
        _row(entry, path, number, line)
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.startswith("#")
    ]
    if not rows or rows[0].selector != entry.selector:
        raise KeyFileError(f"{path}: must begin with the key {entry.selector}")
    if len({row.selector for row in rows}) < len(rows):
        raise KeyFileError(f"{path}: names a selector twice")
    if sum(row.state == "signing" for row in rows) != 1:
        raise KeyFileError(f"{path}: exactly one key must have the state signing")
    return tuple(rows)


def rotation_file(entry: DkimKeyEntry) -> Path:
    return Path(entry.file).with_name(f"{entry.domain}.{entry.selector}.rotation")


def signing_keys(entries: Iterable[DkimKeyEntry]) -> tuple[SigningKey, ...]:
    """The private keys that sign, in the order of the entries. Raises KeyFileError.

    Of each entry the current key comes first, then the kept ones, the newest first.
    """
    return tuple(key for entry in entries for key in _usable(entry))


def _usable(entry: DkimKeyEntry) -> list[SigningKey]:
    rows = [row for row in rotation(entry) if row.state != "waiting"]
    earlier = [tuple(each.selector for each in rows[:place]) for place in range(len(rows))]
    keys = [
        (row.state == "kept", replace(read_key(entry, row), stands_for=names))
        for row, names in reversed([*zip(rows, earlier, strict=True)])
        if row.is_live
    ]
    return [key for _, key in sorted(keys, key=lambda pair: pair[0])]


def read_key(entry: DkimKeyEntry, row: RotatedKey) -> SigningKey:
    """The private key of one row. Raises KeyFileError."""
    return read_dkim_key(entry.domain, row.selector, row.file, entry.default)


def live_keys(entry: DkimKeyEntry) -> list[tuple[RotatedKey, SigningKey]]:
    """The keys of an entry that exist, oldest first. Raises KeyFileError."""
    return [(row, read_key(entry, row)) for row in rotation(entry) if row.is_live]


# Changes


def add_waiting(
    entry: DkimKeyEntry,
    taken: Collection[str],
    now: int,
    algorithm: Algorithm | None,
    bits: int,
) -> RotatedKey:
    """Creates the next key of an entry, which waits for its record. Raises KeyFileError.

    ``taken``: selectors that its domain has already. ``algorithm``: None for that of the key that
    signs. ``now``: unix seconds. The new file has the owner and mode of the key that signs.
    """

    def change(rows: Sequence[RotatedKey]) -> list[RotatedKey]:
        signing = next(row for row in rows if row.state == "signing")
        kind = algorithm or read_key(entry, signing).kind
        used = {*taken, *(row.selector for row in rows)}
        selector = _next_selector(entry, signing.selector, used)
        file = _file(entry, selector)
        new_dkim_key(file, kind, bits, like=signing.file)
        created = datetime.fromtimestamp(now, UTC).strftime(_TIME)
        return [*rows, RotatedKey(selector, created, "waiting", file)]

    return _changed(entry, change)[-1]


def let_sign(entry: DkimKeyEntry, selector: str) -> None:
    """The waiting key signs from now on; the one before it is kept. Raises KeyFileError."""

    def change(rows: Sequence[RotatedKey]) -> list[RotatedKey]:
        if all((row.selector, row.state) != (selector, "waiting") for row in rows):
            raise KeyFileError(f"{rotation_file(entry)}: no key {selector} is waiting")
        states: dict[State, State] = {"signing": "kept", "waiting": "signing"}
        return [replace(row, state=states.get(row.state, row.state)) for row in rows]

    _changed(entry, change)


def retire(entry: DkimKeyEntry, selector: str, files_in_use: Collection[Path]) -> None:
    """Destroys a key that does not sign. Raises KeyFileError.

    ``files_in_use``: files that other entries name too, which stay.
    """

    def change(rows: Sequence[RotatedKey]) -> list[RotatedKey]:
        row = next((row for row in rows if row.selector == selector), None)
        if row is None or not row.is_live:
            raise KeyFileError(f"{rotation_file(entry)}: no key {selector}, or already retired")
        if row.state == "signing":
            raise KeyFileError(
                f"{row.file}: key {selector} signs; first replace it with `fletching dkim rotate`"
            )
        return [replace(each, state="retired") if each is row else each for each in rows]

    rows = _changed(entry, change)
    file = next(row.file for row in rows if row.selector == selector)
    if file not in files_in_use:
        # After the list is written: whatever happens in between, no list names a missing file.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(file)


def _changed(
    entry: DkimKeyEntry, change: Callable[[Sequence[RotatedKey]], list[RotatedKey]]
) -> list[RotatedKey]:
    """Writes the list of an entry after a change, locked against other writers."""
    with locked(rotation_file(entry)) as (target, folder):
        before = rotation(entry)
        signing = next(row for row in before if row.state == "signing")
        rows = change(before)
        lines = [f"{row.selector} {row.created} {row.state}\n" for row in rows]
        text = _HEADING.format(domain=entry.domain) + "".join(lines)
        secret_file.replace(target, folder, text.encode("ascii"), like=signing.file)
    return rows


def _row(entry: DkimKeyEntry, path: Path, number: int, line: str) -> RotatedKey:
    parts = line.split()
    state = next((each for each in _STATES if each == parts[-1]), None)
    if len(parts) != 3 or state is None:
        states = ", ".join(_STATES)
        raise KeyFileError(f"{path}:{number}: must be SELECTOR CREATED STATE, a state of {states}")
    try:
        selector = ascii_domain(parts[0])
    except ValueError:
        raise KeyFileError(f"{path}:{number}: must begin with a DKIM selector") from None
    return RotatedKey(selector, parts[1], state, _file(entry, selector))


def _file(entry: DkimKeyEntry, selector: str) -> Path:
    if selector == entry.selector:
        return Path(entry.file)
    return Path(entry.file).with_name(f"{entry.domain}.{selector}.pem")


def _next_selector(entry: DkimKeyEntry, selector: str, used: Collection[str]) -> str:
    """The selector with its number raised: s1, s2; mail, mail2."""
    found = re.fullmatch(r"(.*?)(\d*)", selector)
    assert found
    base, number = found[1], int(found[2] or 1)
    while True:
        number += 1
        name = f"{base}{number}"
        if name not in used and not os.path.lexists(_file(entry, name)):
            return name
