"""A database that gets one row for each event, through SQLAlchemy Core.

Here live the table, how an event becomes a row, and whether a failure is the fault of the events or
of the database. Column types and character sets differ by database; the statements are the same.
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

from fletching.destinations.answers import ARRIVED, Answer, QueuedEvent, Verdict, failed
from fletching.events import CLICK

_KEY = "event_unique_id"
_TEXTS = (
    "server_id", "email", "listid", "sendid", "click_tracking_id", "mail_class", "instance_id",
    "mtaid", "click_url", "engine_ip", "user_agent", "html_or_text", "bot_reason", "bounce_type",
    "bounce_text",
)  # fmt: skip
_NUMBERS = ("event_time", "message_number", "bounce_code")
_FLAGS = ("is_bot", "is_privacy_open")
_TIME = "timestamp"

# MySQL has no key on a text without a length, no time with a zone, and at most 64 kB in a TEXT.
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
    *(Column(name, Boolean, nullable=False) for name in _FLAGS),
    Column("event", _OBJECT, nullable=False),
    Index("fletching_events_campaign_time", "campaign", _TIME),
    # Whatever the defaults of the database are.
    mysql_charset="utf8mb4",
    mysql_engine="InnoDB",
    mariadb_charset="utf8mb4",
    mariadb_engine="InnoDB",
)
"""`event` has all fields. The other columns are for queries: null if an event has no such field,
and false if it has no such flag."""

_TRANSIENT_ATTEMPTS = 3
"""With one event. A lock, or a key that another courier has just written, fails fewer attempts."""

# psycopg and MySQL's drivers use the encoding of the database or the server unless it is given.
_CHARSET_DRIVERS = ("pymysql", "mysqldb")


class SqlUrlError(Exception):
    """The URL is not that of a usable database; the message says why."""


class _OtherTableError(Exception):
    """A table of that name exists and is not ours; the message says what to do."""


class Sql:
    """One database. The table is created if it is missing when the first event is delivered."""

    batch_size = 500

    def __init__(self, url: str) -> None:
        try:
            self._engine = _engine(url)
        except ModuleNotFoundError as error:
            raise SqlUrlError(f"needs the Python package {error.name}") from None
        except (SQLAlchemyError, ValueError, TypeError):
            # SQLAlchemy's own message would show the password.
            raise SqlUrlError("not a URL that SQLAlchemy understands") from None
        self._has_table = False

    def deliver(self, batch: Sequence[QueuedEvent], attempt: int) -> Answer:
        """Inserts the events that are not in the table yet, in one transaction."""
        try:
            self._create_table()
            with self._engine.connect() as connection:
                return self._add(connection, batch, attempt)
        except Exception as error:  # noqa: BLE001 drivers may raise anything
            # Perhaps the table was dropped, or SQLite's file deleted.
            self._has_table = False
            self.close()
            return failed(_message(error))

    def close(self) -> None:
        """Closes all connections; the next delivery opens new ones."""
        self._engine.dispose()

    def _add(self, connection: Connection, batch: Sequence[QueuedEvent], attempt: int) -> Answer:
        """Raises whatever the driver raises, unless it is the fault of these events."""
        try:
            with connection.begin():
                rows = {str(event.fields[_KEY]): row(event.fields) for event in batch}
                key = TABLE.c[_KEY]
                present = set(connection.scalars(select(key).where(key.in_(rows))))
                if new := [each for id, each in rows.items() if id not in present]:
                    connection.execute(insert(TABLE), new)
        except Exception as error:
            may_pass = (
                isinstance(error, OperationalError | IntegrityError)
                and attempt < _TRANSIENT_ATTEMPTS
            )
            is_lost = isinstance(error, DBAPIError) and error.connection_invalidated
            if is_lost or (may_pass and len(batch) == 1):
                raise
            # If the same connection accepts an ordinary row, these events are at fault.
            with connection.begin() as trial:
                connection.execute(insert(TABLE), _plain())
                trial.rollback()
            return Answer(Verdict.SPLIT, _message(error))
        return ARRIVED

    def _create_table(self) -> None:
        """Raises _OtherTableError, and whatever the driver raises."""
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
                " drop it, or rename it and its indexes, and it is created again"
            )
        self._has_table = True


def row(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of an event. Raises ValueError."""
    return {
        **{column.name: fields.get(column.name) for column in TABLE.columns},
        **{name: fields.get(name) or False for name in _FLAGS},
        _TIME: datetime.fromisoformat(fields[_TIME]),
        "event": dict(fields),
    }


def _plain() -> dict[str, Any]:
    """An ordinary row with the current time, since the table may be partitioned by time."""
    now = datetime.now(UTC).isoformat()
    return row({_KEY: "trial", "event_type": CLICK, "campaign": "trial", _TIME: now})


def _engine(url: str) -> Engine:
    """Text is sent as UTF-8, whatever the encoding of the database."""
    parsed = make_url(url)
    options = {"client_encoding": "utf8"} if parsed.get_backend_name() == "postgresql" else {}
    if parsed.get_driver_name() in _CHARSET_DRIVERS:
        parsed = parsed.update_query_dict({"charset": "utf8mb4"})
    # Errors must not show rows, which contain addresses.
    return create_engine(parsed, hide_parameters=True, pool_pre_ping=True, **options)


def _message(error: Exception) -> str:
    """The database's own message, on one line that fits the log."""
    cause = getattr(error, "orig", None) or error
    # PostgreSQL's details show rows.
    text = f"{type(cause).__name__}: {cause}".partition("\nDETAIL:")[0]
    return " ".join(text.split())[:200]
