"""A database that gets a row an event, through SQLAlchemy Core.

Here live the table and how an event becomes a row of it. Which database it is may not be known
here: the statements are those that all of them have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    insert,
    select,
)
from sqlalchemy.exc import DataError, DBAPIError, SQLAlchemyError

from fletching.destinations.rules import ARRIVED, Answer, Queued, Verdict, failed

_KEY = "event_unique_id"
_TEXTS = (
    "timestamp", "server_id", "email", "listid", "sendid", "click_tracking_id", "mail_class",
    "instance_id", "campaign", "mtaid", "click_url", "engine_ip", "user_agent", "html_or_text",
    "bot_reason", "bounce_type", "bounce_text",
)  # fmt: skip
_NUMBERS = ("event_time", "message_number", "bounce_code")
_SWITCHES = ("is_bot", "is_privacy_open")

TABLE = Table(
    "fletching_events",
    MetaData(),
    # MySQL has no key on a text without a length.
    Column(_KEY, String(64), primary_key=True),
    Column("event_type", String(64), nullable=False),
    *(Column(name, BigInteger) for name in _NUMBERS),
    *(Column(name, Text) for name in _TEXTS),
    *(Column(name, Boolean) for name in _SWITCHES),
    Column("event", JSON, nullable=False),
)
"""All fields are in `event`; the others, null where an event has none, are there to ask for."""


class SqlUrlError(Exception):
    """The URL means no database that can be reached from here; the message says why."""


class Sql:
    """One database; the table is made when it is needed and not there."""

    most = 500

    def __init__(self, url: str) -> None:
        try:
            # An error may not show rows: they hold addresses.
            self._engine = create_engine(url, hide_parameters=True, pool_pre_ping=True)
        except ModuleNotFoundError as error:
            raise SqlUrlError(f"needs the Python package {error.name}") from None
        except (SQLAlchemyError, ValueError):
            # What SQLAlchemy says of it shows the password.
            raise SqlUrlError("is no URL that SQLAlchemy understands") from None
        self._has_table = False

    def deliver(self, batch: Sequence[Queued], attempt: int) -> Answer:
        """Adds those that are not there yet, in one transaction."""
        rows = {str(event.fields[_KEY]): row(event.fields) for event in batch}
        try:
            self._add(rows)
        except (DataError, OverflowError) as error:
            return Answer(Verdict.APART, _said(error))
        except SQLAlchemyError as error:
            # Perhaps the table is gone, or the file.
            self._has_table = False
            self.close()
            return failed(_said(error))
        return ARRIVED

    def close(self) -> None:
        """Its connections end; a delivery after it makes new ones."""
        self._engine.dispose()

    def _add(self, rows: dict[str, dict[str, Any]]) -> None:
        if not self._has_table:
            TABLE.metadata.create_all(self._engine)
            self._has_table = True
        with self._engine.begin() as connection:
            key = TABLE.c[_KEY]
            there = set(connection.scalars(select(key).where(key.in_(rows))))
            if new := [each for id, each in rows.items() if id not in there]:
                connection.execute(insert(TABLE), new)


def row(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of an event."""
    return {
        **{column.name: fields.get(column.name) for column in TABLE.columns},
        "event": dict(fields),
    }


def _said(error: Exception) -> str:
    """In the database's own words, on one line."""
    told = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return " ".join(f"{type(told).__name__}: {told}".split())
