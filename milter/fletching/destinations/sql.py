"""A database that gets a row an event, through SQLAlchemy Core.

Here live the table, how an event becomes a row of it, and whose fault a failure is: the event's or
the database's. What a database has of its own are types and character sets; the statements are
those that all of them have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    DateTime,
    Engine,
    Index,
    MetaData,
    Table,
    Unicode,
    UnicodeText,
    create_engine,
    insert,
    inspect,
    make_url,
    select,
)
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError

from fletching.destinations.answers import ARRIVED, Answer, Queued, Verdict, failed
from fletching.events import CLICK

_KEY = "event_unique_id"
_TEXTS = (
    "server_id", "email", "listid", "sendid", "click_tracking_id", "mail_class", "instance_id",
    "mtaid", "click_url", "engine_ip", "user_agent", "html_or_text", "bot_reason", "bounce_type",
    "bounce_text",
)  # fmt: skip
_NUMBERS = ("event_time", "message_number", "bounce_code")
_SWITCHES = ("is_bot", "is_privacy_open")
_TIME = "timestamp"

# MySQL has no key on a text without a length, no time with a zone, and 64 kB in a plain text.
_SHORT = Unicode(64)
_LONG = UnicodeText().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
_WHEN = DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=3), "mysql", "mariadb")
_OBJECT = JSON().with_variant(postgresql.JSONB(), "postgresql")

TABLE = Table(
    "fletching_events",
    MetaData(),
    Column(_KEY, _SHORT, primary_key=True),
    Column("event_type", _SHORT, nullable=False),
    Column(_TIME, _WHEN, nullable=False),
    Column("campaign", _SHORT),
    *(Column(name, BigInteger) for name in _NUMBERS),
    *(Column(name, _LONG) for name in _TEXTS),
    *(Column(name, Boolean, nullable=False) for name in _SWITCHES),
    Column("event", _OBJECT, nullable=False),
    Index("fletching_events_campaign_time", "campaign", _TIME),
    # Whatever the database has as its default.
    mysql_charset="utf8mb4",
    mysql_engine="InnoDB",
    mariadb_charset="utf8mb4",
    mariadb_engine="InnoDB",
)
"""All fields are in `event`; the others are there to ask for: null where an event has none, and
false where it has no switch of that name."""

_PASSING = 3
"""With one event: a lock, or a key that another courier has just written, fails fewer attempts."""

# psycopg and MySQL's drivers take the database's encoding or the server's, unless they are told.
_CHARSET_DRIVERS = ("pymysql", "mysqldb")


class SqlUrlError(Exception):
    """The URL means no database that can be reached from here; the message says why."""


class _OtherTableError(Exception):
    """The table that is there is not ours; the message says what to do."""


class Sql:
    """One database; the table is made when it is needed and not there."""

    most = 500

    def __init__(self, url: str) -> None:
        try:
            self._engine = _engine(url)
        except ModuleNotFoundError as error:
            raise SqlUrlError(f"needs the Python package {error.name}") from None
        except (SQLAlchemyError, ValueError, TypeError):
            # What SQLAlchemy says of it shows the password.
            raise SqlUrlError("is no URL that SQLAlchemy understands") from None
        self._has_table = False

    def deliver(self, batch: Sequence[Queued], attempt: int) -> Answer:
        """Adds those that are not there yet, in one transaction."""
        try:
            self._make_table()
            with self._engine.connect() as connection:
                return self._add(connection, batch, attempt)
        except Exception as error:  # noqa: BLE001 drivers raise what they like
            # Perhaps the table is gone, or the file.
            self._has_table = False
            self.close()
            return failed(_said(error))

    def close(self) -> None:
        """Its connections end; a delivery after it makes new ones."""
        self._engine.dispose()

    def _add(self, connection: Connection, batch: Sequence[Queued], attempt: int) -> Answer:
        """Raises what a driver raises where that is not the fault of these events."""
        try:
            with connection.begin():
                rows = {str(event.fields[_KEY]): row(event.fields) for event in batch}
                key = TABLE.c[_KEY]
                there = set(connection.scalars(select(key).where(key.in_(rows))))
                if new := [each for id, each in rows.items() if id not in there]:
                    connection.execute(insert(TABLE), new)
        except Exception as error:
            may_pass = isinstance(error, OperationalError | IntegrityError) and attempt < _PASSING
            is_lost = isinstance(error, DBAPIError) and error.connection_invalidated
            if is_lost or (may_pass and len(batch) == 1):
                raise
            # It is these events' fault where the same connection takes one with nothing odd in it.
            with connection.begin() as trial:
                connection.execute(insert(TABLE), _plain())
                trial.rollback()
            return Answer(Verdict.APART, _said(error))
        return ARRIVED

    def _make_table(self) -> None:
        """Raises _OtherTableError, and whatever a driver raises."""
        if self._has_table:
            return
        TABLE.metadata.create_all(self._engine)
        types = {
            each["name"]: each["type"] for each in inspect(self._engine).get_columns(TABLE.name)
        }
        wrong = [column.name for column in TABLE.columns if column.name not in types]
        if not wrong and not isinstance(types[_TIME], DateTime):
            wrong = [_TIME]
        if wrong:
            raise _OtherTableError(
                f"the table {TABLE.name} is of another version ({', '.join(wrong)}):"
                " drop it, or rename it and its indexes, and it is made anew"
            )
        self._has_table = True


def row(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of an event. Raises ValueError."""
    return {
        **{column.name: fields.get(column.name) for column in TABLE.columns},
        **{name: fields.get(name) or False for name in _SWITCHES},
        _TIME: datetime.fromisoformat(fields[_TIME]),
        "event": dict(fields),
    }


def _plain() -> dict[str, Any]:
    """A row of now, since somebody may keep the table in parts by time."""
    now = datetime.now(UTC).isoformat()
    return row({_KEY: "trial", "event_type": CLICK, "campaign": "trial", _TIME: now})


def _engine(url: str) -> Engine:
    """Text goes there as UTF-8, whatever encoding the database has."""
    place = make_url(url)
    options = {"client_encoding": "utf8"} if place.get_backend_name() == "postgresql" else {}
    if place.get_driver_name() in _CHARSET_DRIVERS:
        place = place.update_query_dict({"charset": "utf8mb4"})
    # An error may not show rows: they hold addresses.
    return create_engine(place, hide_parameters=True, pool_pre_ping=True, **options)


def _said(error: Exception) -> str:
    """In the database's own words, on one line that a log bears."""
    cause = getattr(error, "orig", None) or error
    # PostgreSQL's details show rows.
    text = f"{type(cause).__name__}: {cause}".partition("\nDETAIL:")[0]
    return " ".join(text.split())[:200]
