"""The file of link keys, which encrypt and authenticate tokens: its format, and changes to it.

A text file with one key per line, ids in ascending order, comments after `#`:

    ID CREATED SECRET     2 2024-03-01T00:00:00Z and 32 bytes in base64url
    ID CREATED retired    the key is destroyed; its id is never used again

What the keys are for is in `tokens.py`. No error message contains a word of what a file holds.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from fletching.keys.secret_file import KeyFileError, KeyPath, locked, read, replace
from fletching.tokens import HIGHEST_KEY_ID, Keyring, LinkKey

State = Literal["signing", "opening", "retired"]

_SECRET_OCTETS = 32

_RETIRED = "retired"

_HEADING = """\
# Link keys of Fletching: ID CREATED SECRET. The last one signs; all of them decrypt.
# `fletching key new` and `fletching key retire` write it. All hosts of a fleet need the same file.
"""

_ID = re.compile(r"[1-9][0-9]{0,3}")

_CREATED = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")

_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class LinkKeyRow:
    """A link key without its secret. ``created``: unix seconds."""

    id: int
    created: int
    state: State


def read_link_keys(path: KeyPath) -> Keyring:
    """The usable keys, at least one; the last one signs. Raises KeyFileError."""
    usable = [line for line in _link_keys(path, read(path)) if line.secret]
    if not usable:
        raise KeyFileError(f"{path}: contains no usable key; create one with `fletching key new`")
    return Keyring(tuple(LinkKey(line.id, line.created, line.secret) for line in usable))


def list_link_keys(path: KeyPath) -> tuple[LinkKeyRow, ...]:
    """All keys, in the order of the file, without their secrets. Raises KeyFileError."""
    lines = _link_keys(path, read(path))
    signing = max((line.id for line in lines if line.secret), default=None)

    def state(line: _LinkKeyLine) -> State:
        if not line.secret:
            return "retired"
        return "signing" if line.id == signing else "opening"

    return tuple(LinkKeyRow(line.id, line.created, state(line)) for line in lines)


def new_link_key(path: KeyPath, now: int) -> LinkKey:
    """Adds a key, which signs from now on; creates the file if it is missing.

    ``now``: unix seconds. Raises KeyFileError.
    """
    with locked(path) as (target, folder):
        data = read(path) if target.exists() else _HEADING.encode("ascii")
        lines = _link_keys(path, data)
        key_id = lines[-1].id + 1 if lines else 1
        if key_id > HIGHEST_KEY_ID:
            raise KeyFileError(
                f"{path}: id {HIGHEST_KEY_ID} is in use, and no higher id is possible"
            )
        key = LinkKey(key_id, now, secrets.token_bytes(_SECRET_OCTETS))
        if data and not data.endswith(b"\n"):
            data += b"\n"
        secret = base64.urlsafe_b64encode(key.secret).rstrip(b"=").decode("ascii")
        replace(target, folder, data + _row(key_id, now, secret) + b"\n")
    return key


def retire_link_key(path: KeyPath, key_id: int) -> None:
    """Destroys a key: tokens made with it can no longer be decrypted. Raises KeyFileError."""
    with locked(path) as (target, folder):
        data = read(path)
        lines = {line.id: line for line in _link_keys(path, data)}
        if key_id not in lines:
            raise KeyFileError(f"{path}: has no key {key_id}")
        if not lines[key_id].secret:
            raise KeyFileError(f"{path}: key {key_id} is already retired")
        if sum(1 for line in lines.values() if line.secret) == 1:
            raise KeyFileError(
                f"{path}: key {key_id} is the last usable key: create a new one first"
            )
        rows = data.split(b"\n")
        rows[lines[key_id].number - 1] = _row(key_id, lines[key_id].created, _RETIRED)
        replace(target, folder, b"\n".join(rows))


@dataclass(frozen=True, slots=True)
class _LinkKeyLine:
    """One line of the file. ``secret`` is empty if the key is retired."""

    number: int
    id: int
    created: int
    secret: bytes = field(repr=False)


def _link_keys(path: KeyPath, data: bytes) -> tuple[_LinkKeyLine, ...]:
    lines: list[_LinkKeyLine] = []
    for number, row in enumerate(data.decode("utf-8", "replace").split("\n"), start=1):
        words = row.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            line = _link_key_line(number, words)
        except ValueError as error:
            raise KeyFileError(f"{path}:{number}: {error}") from None
        if lines and line.id <= lines[-1].id:
            raise KeyFileError(
                f"{path}:{number}: the id must be higher than the ids on earlier lines"
            )
        lines.append(line)
    return tuple(lines)


def _link_key_line(number: int, words: list[str]) -> _LinkKeyLine:
    """Raises ValueError with the rule only: any word may be a misplaced secret."""
    if len(words) != 3:
        raise ValueError("must be ID CREATED SECRET or ID CREATED retired")
    if not _ID.fullmatch(words[0]) or int(words[0]) > HIGHEST_KEY_ID:
        raise ValueError(f"the id must be a number from 1 to {HIGHEST_KEY_ID}")
    created = _unix_seconds(words[1])
    secret = b"" if words[2] == _RETIRED else _secret(words[2])
    return _LinkKeyLine(number, int(words[0]), created, secret)


def _unix_seconds(text: str) -> int:
    with contextlib.suppress(ValueError):
        if _CREATED.fullmatch(text):
            return int(datetime.fromisoformat(text).timestamp())
    raise ValueError("the time must have the form 2024-03-01T00:00:00Z")


def _secret(text: str) -> bytes:
    with contextlib.suppress(binascii.Error):
        if _SECRET.fullmatch(text):
            return base64.urlsafe_b64decode(text + "=")
    raise ValueError(f"the secret must be {_SECRET_OCTETS} bytes in base64url, or `{_RETIRED}`")


def _row(key_id: int, created: int, secret: str) -> bytes:
    time = datetime.fromtimestamp(created, UTC).isoformat().replace("+00:00", "Z")
    return f"{key_id} {time} {secret}".encode("ascii")
