"""From a configuration to a `Setup`: reads the files that it names, once, before the first message.

Also the clock and randomness. Every process that handles mail, and `fletching preview`, starts
here; processing a message reads no file.
"""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator
from datetime import datetime, tzinfo
from importlib.resources import files
from zoneinfo import ZoneInfo

from fletching.config.faults import UnusableError, named_by
from fletching.config.model import Config
from fletching.keys.dkim_rotation import signing_keys
from fletching.keys.link_keys import read_link_keys
from fletching.keys.secret_file import KeyFileError
from fletching.mail.dkim import SigningKey
from fletching.policy.rules.recipient_table import RecipientTable, TableError, table
from fletching.policy.setup import Setup, Stamp
from fletching.providers import Providers
from fletching.tokens import Keyring

_GOLDEN = (5**0.5 - 1) / 2


def open_setup(config: Config, paused: frozenset[str] = frozenset()) -> Setup:
    """Reads the key files of a configuration. Raises UnusableError."""
    dkim_keys: list[SigningKey] = []
    for number, entry in enumerate(config.dkim.keys):
        with named_by("dkim", "keys", number, "file", fault=KeyFileError):
            dkim_keys += signing_keys([entry])
    return Setup(
        config=config,
        link_keys=link_keys(config),
        dkim_keys=tuple(dkim_keys),
        paused=paused,
        providers=providers(config),
        recipient_tables=recipient_tables(config),
    )


def providers(config: Config) -> Providers:
    """The built-in table of mailbox providers, with those of the configuration."""
    table = files("fletching").joinpath("providers.txt").read_text("ascii")
    return Providers(table, config.providers)


def recipient_tables(config: Config) -> dict[str, RecipientTable]:
    """The files of `recipient_in`, by path. Raises UnusableError."""
    tables: dict[str, RecipientTable] = {}
    for place, path in config.recipient_files:
        if str(path) in tables:
            continue
        try:
            with named_by(*place, fault=OSError), path.open("rb") as file:
                tables[str(path)] = table(file)
        except TableError as error:
            raise UnusableError(place, f"{path}: {error}") from None
    return tables


def link_keys(config: Config, without: str = "") -> Keyring:
    """The link keys; none if the configuration has none.

    ``without``: for daemons that need them, what they cannot do without keys. Raises UnusableError.
    """
    if config.link_keys is None:
        if without:
            raise UnusableError(("link_keys",), f"not set: without keys {without}")
        return Keyring(())
    with named_by("link_keys", fault=KeyFileError):
        return read_link_keys(config.link_keys)


def zone(config: Config) -> tzinfo | None:
    """The time zone of default InstanceIDs; None: the system's."""
    return ZoneInfo(config.timezone) if config.timezone else None


def host_name(config: Config) -> str:
    """The value of `server_id` in events."""
    return config.server_id or socket.gethostname()


def stamp(in_zone: tzinfo | None, turn: float | None = None) -> Stamp:
    """The current time, and random bytes."""
    return Stamp(datetime.now(in_zone).astimezone(in_zone), os.urandom(8), turn)


def turns() -> Iterator[float]:
    """Numbers from 0 up to 1, each far from those before it, for `Stamp.turn`.

    Multiples of the golden ratio: of any number of them in a row, every interval has its share but
    for a few. Chance would leave a share of 10,000 mails off by 1 % in one of twenty campaigns.
    Several threads may draw from it.
    """
    first = int.from_bytes(os.urandom(4), "big")
    return map(_turn, itertools.count(first))


def _turn(number: int) -> float:
    return number * _GOLDEN % 1.0


def since(text: str, in_zone: tzinfo | None) -> int:
    """Unix milliseconds of a date, or of a time; one without offset is in the zone.

    Raises `ValueError`.
    """
    try:
        when = datetime.fromisoformat(text.upper())
    except ValueError:
        raise ValueError(
            f"{text}: must be RFC 3339, such as 2026-03-01T09:00:00Z, or a date, such as 2026-03-01"
        ) from None
    if when.tzinfo is None:
        try:
            # astimezone reads a time without offset as the system's.
            text = (when.replace(tzinfo=in_zone) if in_zone else when.astimezone()).isoformat()
        except (ValueError, OverflowError):
            raise ValueError(f"{text}: must be from 1970 to 2105") from None
    return int(at_time(text, in_zone).time.timestamp() * 1000)


def at_time(text: str, in_zone: tzinfo | None) -> Stamp:
    """A time given as RFC 3339, and no randomness. Raises `ValueError`."""
    try:
        when = datetime.fromisoformat(text.upper())
    except ValueError:
        raise ValueError(f"{text}: must be RFC 3339, such as 2026-03-01T09:00:00Z") from None
    if when.tzinfo is None:
        raise ValueError(f"{text}: must have a time zone, such as Z or +01:00")
    # A campaign's id has 32 bits of seconds.
    if not 0 <= when.timestamp() < 1 << 32:
        raise ValueError(f"{text}: must be from 1970 to 2105")
    return Stamp(when.astimezone(in_zone), bytes(8))
