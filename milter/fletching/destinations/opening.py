"""From a destination in the configuration to one that events can be given to.

Here live the reading of secret files and the choice of the way out. Nothing connects yet: what is
wrong here is wrong with the configuration.
"""

from __future__ import annotations

from pathlib import Path

from fletching.config.sections import Destination
from fletching.destinations.lines import Lines
from fletching.destinations.sql import Sql, SqlUrlError
from fletching.destinations.webhook import Webhook

SHORTEST_SECRET = 16


class DestinationError(Exception):
    """A destination cannot be used: ``option`` names what is wrong; the text says what and why."""

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


def opened(destination: Destination) -> Webhook | Lines | Sql:
    """Raises DestinationError."""
    if destination.webhook is not None:
        secret = None if destination.secret_file is None else _secret(destination.secret_file)
        return Webhook(destination.webhook, secret, as_form=destination.format == "form")
    if destination.file is not None:
        return Lines(destination.file, destination.rotate)
    assert destination.sql is not None, "a destination is one of three kinds"
    try:
        return Sql(destination.sql)
    except SqlUrlError as error:
        raise DestinationError("sql", str(error)) from None


def _secret(file: Path) -> bytes:
    """The first line of the file."""
    try:
        secret = file.read_bytes().partition(b"\n")[0].strip()
    except OSError as error:
        raise DestinationError("secret_file", f"{file}: {error.strerror}") from None
    if len(secret) < SHORTEST_SECRET:
        rule = f"must hold at least {SHORTEST_SECRET} characters in its first line"
        raise DestinationError("secret_file", f"{file}: {rule}")
    return secret
