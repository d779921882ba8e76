"""The files that hold secrets: link keys, and private keys for DKIM.

Here live the form of the file of link keys, what may be done to it, and the access rights that a
secret file must have. This file does I/O. What the keys are for is not known here, and no message
of an error holds a word of what a file holds.

A file of link keys is text, one key a line, ids counting up, comments behind `#`:

    ID CREATED SECRET     2 2024-03-01T00:00:00Z and 32 octets in base64url
    ID CREATED retired    the key is gone; its id is never used again
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Literal, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from fletching.mail.dkim import LEAST_RSA_BITS, SigningKey, ascii_domain
from fletching.tokens import HIGHEST_KEY_ID, Keyring, LinkKey

KeyPath = str | os.PathLike[str]
State = Literal["signing", "opening", "retired"]

MOST_RSA_BITS = 4096
"""Verifiers need not be able to check longer ones (RFC 8301 section 3.2)."""

_MODE = 0o640
_FORBIDDEN = (
    (stat.S_IROTH, "readable by others"),
    (stat.S_IWOTH, "writable by others"),
    (stat.S_IXOTH, "executable by others"),
    (stat.S_IWGRP, "writable by the group"),
    (stat.S_IXGRP, "executable by the group"),
)
_SECRET_OCTETS = 32
_RETIRED = "retired"
_HEADING = """\
# Link keys of Fletching: ID CREATED SECRET. The last one signs, all of them open.
# `fletching key new` and `fletching key retire` write this file. Hosts of a fleet share it.
"""
_ID = re.compile(r"[1-9][0-9]{0,3}")
_CREATED = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


class KeyFileError(Exception):
    """What is wrong with a secret file: its path, the line where there is one, what is allowed."""


class DkimKeyEntry(Protocol):
    """One entry of `dkim.keys` in the configuration."""

    @property
    def domain(self) -> str: ...
    @property
    def selector(self) -> str: ...
    @property
    def file(self) -> KeyPath: ...
    @property
    def default(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class LinkKeyRow:
    """What an operator may see of a link key. ``created`` in unix seconds."""

    id: int
    created: int
    state: State


def read_link_keys(path: KeyPath) -> Keyring:
    """The usable keys, the signing one last. At least one."""
    usable = [line for line in _link_keys(path, _read(path)) if line.secret]
    if not usable:
        raise KeyFileError(f"{path}: contains no usable key; create one with `fletching key new`")
    return Keyring(tuple(LinkKey(line.id, line.created, line.secret) for line in usable))


def list_link_keys(path: KeyPath) -> tuple[LinkKeyRow, ...]:
    """All keys, in the order of the file, without their secrets."""
    lines = _link_keys(path, _read(path))
    signing = max((line.id for line in lines if line.secret), default=None)

    def state(line: _LinkKeyLine) -> State:
        if not line.secret:
            return "retired"
        return "signing" if line.id == signing else "opening"

    return tuple(LinkKeyRow(line.id, line.created, state(line)) for line in lines)


def new_link_key(path: KeyPath, now: int) -> LinkKey:
    """A new signing key, added to the file, which is made where it is missing. ``now`` in unix
    seconds.
    """
    with _only_writer(path) as (target, folder):
        data = _read(path) if target.exists() else _HEADING.encode("ascii")
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
        _replace(target, folder, data + _row(key_id, now, secret) + b"\n")
    return key


def retire_link_key(path: KeyPath, key_id: int) -> None:
    """Overwrites a key's line: what it made can be opened no more."""
    with _only_writer(path) as (target, folder):
        data = _read(path)
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
        _replace(target, folder, b"\n".join(rows))


def read_dkim_keys(entries: Iterable[DkimKeyEntry]) -> tuple[SigningKey, ...]:
    """The private keys of the configuration's `dkim.keys`, in its order."""
    return tuple(_signing_key(entry) for entry in entries)


def new_dkim_key(
    path: KeyPath, algorithm: Literal["rsa", "ed25519"], bits: int = 2048
) -> RSAPrivateKey | Ed25519PrivateKey:
    """A new private key, written as PEM (PKCS#8). ``bits`` is for RSA. Overwrites nothing."""
    if algorithm == "rsa" and not LEAST_RSA_BITS <= bits <= MOST_RSA_BITS:
        allowed = f"must have {LEAST_RSA_BITS} to {MOST_RSA_BITS}"
        raise KeyFileError(f"{path}: RSA key of {bits} bits: {allowed}")
    key: RSAPrivateKey | Ed25519PrivateKey
    key = generate_private_key(65537, bits) if algorithm == "rsa" else Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _create(path, pem)
    return key


def dkim_record(key: SigningKey) -> str:
    """The value of the TXT record with the public half (RFC 6376 section 3.6.1, RFC 8463)."""
    public = key.key.public_key()
    if isinstance(key.key, RSAPrivateKey):
        kind, octets = "rsa", public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        kind, octets = "ed25519", public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return f"v=DKIM1; k={kind}; p={base64.b64encode(octets).decode('ascii')}"


def dkim_zone_line(key: SigningKey) -> str:
    """The record as a line of a zone file; a string in it has at most 255 octets (RFC 1035)."""
    value = dkim_record(key)
    strings = " ".join(f'"{value[at : at + 255]}"' for at in range(0, len(value), 255))
    name = f"{ascii_domain(key.selector)}._domainkey.{ascii_domain(key.domain)}."
    return f"{name} IN TXT {strings}"


@dataclass(frozen=True, slots=True)
class _LinkKeyLine:
    """One key's line. ``secret`` is empty where the key is retired."""

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
    """Raises `ValueError` with the rule alone: any word may be a secret in the wrong place."""
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


def _signing_key(entry: DkimKeyEntry) -> SigningKey:
    key = _private_key(entry.file)
    try:
        return SigningKey(entry.domain, entry.selector, key, entry.default)
    except ValueError as error:
        raise KeyFileError(f"{entry.file}: {error}") from None


def _private_key(path: KeyPath) -> RSAPrivateKey | Ed25519PrivateKey:
    data = _read(path)
    try:
        key = _loaded(data)
    except TypeError:
        wanted = "must be a key without passphrase, in a file with mode 0600 or 0640"
        raise KeyFileError(f"{path}: the key is encrypted; {wanted}") from None
    except (ValueError, UnsupportedAlgorithm):
        wanted = "must be PEM, PKCS#1 or PKCS#8"
        raise KeyFileError(f"{path}: contains no readable private key; {wanted}") from None
    if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
        raise KeyFileError(f"{path}: unsupported key type; must be RSA or Ed25519")
    return key


# OpenSSL checks an RSA key when it loads it: 30 ms in which no other thread computes. A worker that
# reloads has mails in hand, and most of its keys are those that its parent had before the fork.
@lru_cache(maxsize=1024)
def _loaded(pem: bytes) -> object:
    return load_pem_private_key(pem, password=None)


def _read(path: KeyPath) -> bytes:
    """What a secret file holds, if no one but its owner can change it and no stranger read it."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise KeyFileError(f"{path}: not a regular file")
            for right, fault in _FORBIDDEN:
                if mode & right:
                    said = f"mode {stat.S_IMODE(mode):04o}: {fault}"
                    raise KeyFileError(f"{path}: {said}; must be 0600 or 0640")
            return file.read()
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None


def _without_waiting(path: str, flags: int) -> int:
    # A FIFO in the file's place would keep us until somebody writes to it.
    return os.open(path, flags | os.O_NONBLOCK)


def _create(path: KeyPath, data: bytes) -> None:
    try:
        with open(path, "xb", opener=_for_the_owner) as file:
            try:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), _MODE)
                os.fsync(file.fileno())
            except OSError:
                os.unlink(path)
                raise
    except FileExistsError:
        raise KeyFileError(f"{path}: already exists, and is not overwritten") from None
    except FileNotFoundError:
        raise _no_folder(path) from None
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None


def _no_folder(path: KeyPath) -> KeyFileError:
    return KeyFileError(f"{path}: directory {Path(path).parent} does not exist")


def _for_the_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextlib.contextmanager
def _only_writer(path: KeyPath) -> Iterator[tuple[Path, int]]:
    """The file behind all symbolic links, and its folder, locked against other writers.

    The lock is on the folder: the file itself is replaced, and may not exist yet.
    """
    try:
        target = Path(os.path.realpath(path))
        try:
            folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            raise _no_folder(target) from None
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield target, folder
        finally:
            os.close(folder)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None


def _replace(target: Path, folder: int, data: bytes) -> None:
    """Writes the file in one step; owner and mode stay as they were. Readers see old or new."""
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with open(descriptor, "wb") as file:
            _take_over_rights(target, descriptor)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.replace(name, target)
        os.fsync(folder)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _take_over_rights(target: Path, descriptor: int) -> None:
    if not target.exists():
        # Root makes keys in a folder that belongs to the daemon's group: the daemon must read them.
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, -1, target.parent.stat().st_gid)
        os.fchmod(descriptor, _MODE)
        return
    old, new = target.stat(), os.fstat(descriptor)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
