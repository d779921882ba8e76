"""What `fletching dkim` does: new keys, their records, and the way from an old key to the next.

A rotation has two steps, each a run of `rotate`: the first creates a key, the second lets it sign
once its record is in the DNS. Nothing here changes what a running daemon does before its reload.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import dns.resolver

from fletching.admin.dkim_dns import judge_record
from fletching.config.model import Config
from fletching.config.sections import DkimKey
from fletching.keys import dkim_rotation
from fletching.keys.dkim_keys import Algorithm, new_dkim_key, read_dkim_keys
from fletching.keys.dkim_rotation import RotatedKey, rotation
from fletching.keys.secret_file import KeyFileError
from fletching.mail.dkim import SigningKey

State = Literal["created", "missing", "switched", "finished"]


class NoSuchKeyError(Exception):
    """The configuration has no such key. Says what to do."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one run of `rotate` did to one entry of `dkim.keys`.

    ``created``: ``key`` is new, and waits for its record. ``missing``: it still waits, ``why``.
    ``switched``: it signs after the next reload. ``finished``: it signs already, and nothing was
    done. ``old``: the key that it replaces.
    """

    state: State
    key: SigningKey
    file: Path
    old: str
    why: str = ""


def entries(config: Config, domain: str | None, selector: str | None) -> list[DkimKey]:
    """The entries with such a key, also a later one. Raises NoSuchKeyError, KeyFileError."""
    found = [
        entry
        for entry in config.dkim.keys
        if domain in (None, entry.domain)
        and (selector is None or selector in _live_selectors(entry))
    ]
    if not found:
        raise NoSuchKeyError(
            "dkim.keys: no such key; first add it with its domain, selector and file"
        )
    return found


def _live_selectors(entry: DkimKey) -> set[str]:
    return {entry.selector, *(row.selector for row in rotation(entry) if row.is_live)}


def create_missing(found: list[DkimKey], algorithm: Algorithm, bits: int) -> list[SigningKey]:
    """Creates the key files of entries that never had one. Raises KeyFileError."""
    missing = [
        entry
        for entry in found
        if not Path(entry.file).exists() and rotation(entry)[0].state != "retired"
    ]
    for entry in missing:
        new_dkim_key(entry.file, algorithm, bits)
    return list(read_dkim_keys(missing))


def live_keys(found: list[DkimKey]) -> list[SigningKey]:
    """All keys that need a record. Raises KeyFileError."""
    return [key for entry in found for _, key in dkim_rotation.live_keys(entry)]


def rows(config: Config) -> list[dict[str, Any]]:
    """For `fletching dkim list`. Raises KeyFileError."""
    return [
        {
            "domain": entry.domain,
            "selector": row.selector,
            "algorithm": dkim_rotation.read_key(entry, row).algorithm if row.is_live else None,
            "state": row.state,
            "created": None if row.created == "-" else row.created,
            "file": str(row.file) if row.is_live else None,
        }
        for entry in config.dkim.keys
        for row in rotation(entry)
    ]


def rotate(
    config: Config,
    domain: str,
    selector: str | None,
    *,
    now: int,
    at_once: bool,
    resolver: dns.resolver.Resolver,
    algorithm: Algorithm | None = None,
    bits: int = 2048,
) -> Iterator[Step]:
    """The next step of each entry of a domain. Raises NoSuchKeyError, KeyFileError.

    ``at_once``: without asking the DNS. ``now``: unix seconds.
    """
    for entry in entries(config, domain, selector):
        found = rotation(entry)
        signing = next(row for row in found if row.state == "signing")
        waiting = next((row for row in found if row.state == "waiting"), None)
        kept = [row for row in found if row.state == "kept"]
        if waiting is None and kept:
            yield _step("finished", entry, signing, kept[-1].selector)
        elif waiting is None and not at_once:
            new = _add(config, entry, now, algorithm, bits)
            yield _step("created", entry, new, signing.selector)
        else:
            new = waiting or _add(config, entry, now, algorithm, bits)
            level, why = "ok", ""
            if not at_once:
                level, why = judge_record(dkim_rotation.read_key(entry, new), resolver)
            if level == "error":
                yield _step("missing", entry, new, signing.selector, why)
            else:
                dkim_rotation.let_sign(entry, new.selector)
                yield _step("switched", entry, new, signing.selector, why)


def _step(state: State, entry: DkimKey, row: RotatedKey, old: str, why: str = "") -> Step:
    return Step(state, dkim_rotation.read_key(entry, row), row.file, old, why)


def _add(
    config: Config, entry: DkimKey, now: int, algorithm: Algorithm | None, bits: int
) -> RotatedKey:
    same_domain = [each for each in config.dkim.keys if each.domain == entry.domain]
    taken = {row.selector for each in same_domain for row in rotation(each)}
    return dkim_rotation.add_waiting(entry, taken, now, algorithm, bits)


def retire(config: Config, domain: str, selector: str) -> None:
    """Destroys a key that does not sign. Raises NoSuchKeyError, KeyFileError."""
    found = [
        entry
        for entry in entries(config, domain, selector)
        if any(row.selector == selector and row.is_live for row in rotation(entry))
    ]
    if not found:
        raise KeyFileError(f"{domain}: key {selector} is already retired")
    for entry in found:
        others = [each for each in config.dkim.keys if each is not entry]
        dkim_rotation.retire(entry, selector, {Path(each.file) for each in others})
