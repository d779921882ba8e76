"""Makes a destination of what the configuration says about it.

Here live the choice of the kind, the reading of secret files, and the check of a file's path.
Nothing connects yet: every error here is an error in the configuration.
"""

from __future__ import annotations

import os
from base64 import b64encode
from pathlib import Path

from fletching.config.sections import Destination
from fletching.destinations.formats.table import FORMATS
from fletching.destinations.lines import JsonLines
from fletching.destinations.sql import Sql, SqlUrlError
from fletching.destinations.webhook import Webhook

SHORTEST_SECRET = 16


class DestinationError(Exception):
    """A destination cannot be used. ``option``: its name; the text says what is wrong with it."""

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


def open_destination(destination: Destination) -> Webhook | JsonLines | Sql:
    """Raises DestinationError."""
    if destination.webhook is not None:
        return _webhook(destination, destination.webhook)
    if destination.file is not None:
        _check_path(destination.file)
        return JsonLines(destination.file, destination.rotate)
    assert destination.sql is not None, "the configuration has exactly one of webhook, file and sql"
    try:
        return Sql(destination.sql)
    except SqlUrlError as error:
        raise DestinationError("sql", str(error)) from None


def _check_path(file: Path) -> None:
    if not os.path.isdir(file.parent):
        cure = f"create it for the service's user: install -d -o fletching {file.parent}"
        raise DestinationError("file", f"{file.parent}: missing directory: {cure}")
    if os.path.isdir(file):
        raise DestinationError(
            "file", f"{file}: is a directory: name a file in it, such as {file}/events.jsonl"
        )
    if os.path.exists(file) and not os.path.isfile(file):
        raise DestinationError("file", f"{file}: must be a regular file, not a device or a pipe")


def _webhook(destination: Destination, url: str) -> Webhook:
    secret, headers = None, dict(destination.headers)
    if destination.secret_file is not None:
        secret = _first_line("secret_file", destination.secret_file)
        if len(secret) < SHORTEST_SECRET:
            rule = f"must have at least {SHORTEST_SECRET} characters in its first line"
            raise DestinationError("secret_file", f"{destination.secret_file}: {rule}")
    if destination.auth_file is not None:
        user_password = _first_line("auth_file", destination.auth_file)
        if b":" not in user_password:
            rule = "must have USER:PASSWORD in its first line"
            raise DestinationError("auth_file", f"{destination.auth_file}: {rule}")
        headers["Authorization"] = f"Basic {b64encode(user_password).decode('ascii')}"
    format = FORMATS[destination.format]
    return Webhook(url, secret, format=format, headers=headers, proxy=destination.proxy)


def _first_line(option: str, file: Path) -> bytes:
    try:
        return file.read_bytes().partition(b"\n")[0].strip()
    except OSError as error:
        raise DestinationError(option, f"{file}: {error.strerror}") from None
