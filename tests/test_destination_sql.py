"""The SQL destination at real servers: PostgreSQL and MariaDB in two character sets each, SQLite.

`pytest -s tests/test_destination_sql.py -k bad_texts` prints what each of them stored.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from fletching import events
from fletching.daemons.courier.delivery import Delivery, Order
from fletching.destinations.answers import Filter, Pauses, QueuedEvent, Verdict
from fletching.destinations.sql import TABLE, Sql, row
from fletching.metrics.deliveries import Deliveries
from fletching.store import keys
from fletching.store.clock import Clock
from fletching.store.events import EventLog
from fletching.store.lease import Lease
from rich.console import Console
from rich.table import Table

from sandbox.database_servers import MariaDb, PostgreSql
from sandbox.processes import wait_until
from sandbox.redis_server import RedisServer
from tests.courier_setting import event, queued
from tests.stores import open_store

pytestmark = pytest.mark.slow

EMOJI = "\U0001f600"
DATABASES = (
    "SQLite", "PostgreSQL utf8", "PostgreSQL latin1", "MariaDB utf8mb4", "MariaDB utf8mb3",
)  # fmt: skip
UNICODE = tuple(name for name in DATABASES if name != "PostgreSQL latin1")


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSql]:
    with PostgreSql() as running:
        yield running


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariaDb]:
    with MariaDb() as running:
        yield running


@dataclass(frozen=True)
class Database:
    """A database without our table. ``ask``: what a client other than SQLAlchemy is told."""

    name: str
    url: str
    ask: Callable[[str], Sequence[tuple[Any, ...]]]
    server: PostgreSql | MariaDb | None


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    name: str = request.param
    product, _, charset = name.partition(" ")
    if product == "SQLite":
        path = tmp_path / "events.sqlite"

        def ask(question: str) -> Sequence[tuple[Any, ...]]:
            with sqlite3.connect(path) as file:
                return file.execute(question).fetchall()

        return Database(name, f"sqlite:///{path}", ask, None)
    server: PostgreSql | MariaDb = request.getfixturevalue(product.lower())
    server.ask("DROP TABLE IF EXISTS fletching_events", charset)
    return Database(name, server.url(charset), lambda asked: server.ask(asked, charset), server)


everywhere = pytest.mark.parametrize("database", DATABASES, indirect=True)


@everywhere
def test_database_gets_one_row_for_each_event(database: Database) -> None:
    sent_events = [event(1), event(2, events.OPEN, is_privacy_open=True)]
    sql = Sql(database.url)
    assert sql.deliver(queued(*sent_events), 1).verdict is Verdict.DELIVERED
    columns = "event_unique_id, event_type, event_time, email, message_number, click_url"
    found = database.ask(f"SELECT {columns} FROM fletching_events ORDER BY 1")
    fields = [each.fields() for each in sent_events]
    assert list(found) == [tuple(each[name] for name in columns.split(", ")) for each in fields]
    ((whole,),) = database.ask("SELECT event FROM fletching_events WHERE is_privacy_open")
    assert (json.loads(whole) if isinstance(whole, str) else whole) == fields[1]
    sql.close()


WHOLE = event(
    1,
    events.BOUNCE,
    html_or_text="text",
    is_bot=True,
    is_privacy_open=True,
    bot_reason="known_scanner",
    bounce_type="h",
    bounce_code=10,
    bounce_text="550 5.1.1 no such user",
)
"""An event that has every field for which there is a column."""


@everywhere
def test_every_column_has_the_field_of_its_name(database: Database) -> None:
    columns = (
        "event_unique_id", "event_type", "event_time", "server_id", "email", "listid", "sendid",
        "click_tracking_id", "mail_class", "instance_id", "campaign", "message_number", "mtaid",
        "click_url", "engine_ip", "user_agent", "html_or_text", "is_bot", "is_privacy_open",
        "bot_reason", "bounce_type", "bounce_code", "bounce_text",
    )  # fmt: skip
    sql = Sql(database.url)
    assert sql.deliver(queued(WHOLE), 1).verdict is Verdict.DELIVERED
    sql.close()
    fields = WHOLE.fields()
    assert list(database.ask(f"SELECT {', '.join(columns)} FROM fletching_events")) == [
        tuple(fields[name] for name in columns)
    ]
    # Of a database's own types, timestamp and event have tests of their own.
    assert {*columns, "timestamp", "event"} == {column.name for column in TABLE.columns}
    assert all(fields[name] for name in columns)


@pytest.mark.parametrize("database", ["PostgreSQL utf8", "MariaDB utf8mb4"], indirect=True)
def test_first_delivery_after_a_restart_of_the_database_succeeds(database: Database) -> None:
    sql = Sql(database.url)
    assert sql.deliver(queued(event(1)), 1).verdict is Verdict.DELIVERED
    assert database.server is not None
    database.server.end()
    database.server.start()
    assert sql.deliver(queued(event(2)), 1).verdict is Verdict.DELIVERED
    sql.close()
    assert list(database.ask("SELECT count(*) FROM fletching_events")) == [(2,)]


@everywhere
def test_timestamp_column_is_a_time(database: Database) -> None:
    sql = Sql(database.url)
    sql.deliver(queued(event(123)), 1)
    sql.close()
    ((found,),) = database.ask("SELECT timestamp FROM fletching_events")
    # SQLite has texts; it and MariaDB have no zone: there it is UTC.
    when = datetime.fromisoformat(found) if isinstance(found, str) else found
    whole = datetime(2026, 9, 21, 14, 13, 20, 123_000, UTC)
    assert when == (whole if database.name.startswith("PostgreSQL") else whole.replace(tzinfo=None))


@pytest.mark.parametrize("database", ["PostgreSQL utf8"], indirect=True)
def test_time_of_another_zone_is_converted(database: Database) -> None:
    database.ask("SET timezone TO 'Asia/Kolkata'")
    question = "SELECT timestamp AT TIME ZONE 'Asia/Kolkata' FROM fletching_events"
    sql = Sql(database.url)
    sql.deliver(queued(event(0)), 1)
    sql.close()
    there = datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC).astimezone(
        timezone(timedelta(hours=5, minutes=30))
    )
    assert list(database.ask(question)) == [(there.replace(tzinfo=None),)]


@pytest.mark.parametrize("database", ["PostgreSQL utf8", "PostgreSQL latin1"], indirect=True)
def test_json_column_can_be_queried(database: Database) -> None:
    sql = Sql(database.url)
    sql.deliver(queued(event(1)), 1)
    sql.close()
    question = "SELECT jsonb_typeof(event), event->>'listid' FROM fletching_events"
    assert list(database.ask(question)) == [("object", "t100")]


@everywhere
def test_missing_flag_is_false(database: Database) -> None:
    fields = event(1, events.PREPARED).fields()
    del fields["is_bot"]
    sql = Sql(database.url)
    sql.deliver([QueuedEvent.parse("1-0", json.dumps(fields))], 1)
    sql.close()
    question = "SELECT is_bot, is_privacy_open, bot_reason FROM fletching_events WHERE NOT is_bot"
    assert list(database.ask(question)) == [(False, False, None)]


@pytest.mark.parametrize(
    ("database", "question"),
    [
        (
            "SQLite",
            "SELECT group_concat(name) FROM pragma_index_info('fletching_events_campaign_time')",
        ),
        (
            "PostgreSQL utf8",
            "SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute"
            " WHERE attrelid = 'fletching_events_campaign_time'::regclass",
        ),
        (
            "MariaDB utf8mb3",
            "SELECT group_concat(column_name ORDER BY seq_in_index)"
            " FROM information_schema.statistics WHERE table_schema = 'utf8mb3'"
            " AND index_name = 'fletching_events_campaign_time'",
        ),
    ],
    indirect=["database"],
)
def test_campaign_and_time_are_indexed(database: Database, question: str) -> None:
    sql = Sql(database.url)
    sql.deliver(queued(event(1)), 1)
    sql.close()
    assert list(database.ask(question)) == [("campaign,timestamp",)]


@everywhere
def test_repeated_event_is_one_row(database: Database) -> None:
    sent_events = [event(1), event(2), event(3)]
    first, second = Sql(database.url), Sql(database.url)
    assert first.deliver(queued(*sent_events[:2]), 1).verdict is Verdict.DELIVERED
    assert second.deliver(queued(*sent_events, sent_events[2]), 2).verdict is Verdict.DELIVERED
    assert first.deliver(queued(*sent_events), 3).verdict is Verdict.DELIVERED
    found = database.ask("SELECT event_unique_id FROM fletching_events ORDER BY 1")
    assert [id for (id,) in found] == ["id000001", "id000002", "id000003"]
    first.close()
    second.close()


@pytest.mark.parametrize("database", UNICODE, indirect=True)
def test_any_text_fits(database: Database) -> None:
    url = "https://x/" + EMOJI * 50_000
    odd = event(1, click_url=url, user_agent=f"\0\ud800'; --{EMOJI}")
    sql = Sql(database.url)
    assert sql.deliver(queued(odd), 1).verdict is Verdict.DELIVERED
    found = database.ask("SELECT click_url, user_agent FROM fletching_events")
    assert list(found) == [(url, f"\ufffd\ufffd'; --{EMOJI}")]
    sql.close()


@everywhere
def test_rejected_row_is_split_off(database: Database) -> None:
    sql = Sql(database.url)
    answer = sql.deliver(queued(event(77, bounce_code=2**80)), 1)
    assert answer.verdict is Verdict.SPLIT
    assert "reader77@example.org" not in answer.why
    assert len(answer.why) <= 200
    sql.close()


@pytest.mark.parametrize("database", ["PostgreSQL utf8"], indirect=True)
def test_reason_contains_no_row(database: Database) -> None:
    sql = Sql(database.url)
    sql.deliver(queued(event(77)), 1)
    database.ask("CREATE UNIQUE INDEX own ON fletching_events (email)")
    answer = sql.deliver(queued(event(78, email="reader77@example.org")), 9)
    sql.close()
    assert answer.verdict is Verdict.SPLIT
    assert 'violates unique constraint "own"' in answer.why
    assert "reader77" not in answer.why


@everywhere
def test_table_of_another_version_is_reported_with_a_cure(database: Database) -> None:
    database.ask(
        "CREATE TABLE fletching_events (event_unique_id VARCHAR(64) PRIMARY KEY, timestamp TEXT)"
    )
    sql = Sql(database.url)
    batch = queued(event(1), event(2))
    answer = sql.deliver(batch, 9)
    assert answer.verdict is Verdict.RETRY
    assert "is of another version (event_type, campaign" in answer.why
    database.ask("ALTER TABLE fletching_events RENAME TO older")
    assert sql.deliver(batch, 10).verdict is Verdict.DELIVERED
    sql.close()
    database.ask("DROP TABLE older")


def test_text_column_for_the_time_is_another_version(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    names = [name for name in row(event(1).fields()) if name != "event"]
    with sqlite3.connect(path) as file:
        file.execute(f"CREATE TABLE fletching_events ({' TEXT, '.join(names)} TEXT, event TEXT)")
    sql = Sql(f"sqlite:///{path}")
    answer = sql.deliver(queued(event(1)), 1)
    assert (answer.verdict, "version (timestamp)" in answer.why) == (Verdict.RETRY, True)
    sql.close()


@everywhere
def test_read_only_table_is_not_the_fault_of_an_event(database: Database) -> None:
    sql = Sql(database.url)
    assert sql.deliver(queued(event(1)), 1).verdict is Verdict.DELIVERED
    database.ask("ALTER TABLE fletching_events RENAME TO older")
    database.ask("CREATE VIEW fletching_events AS SELECT * FROM older WHERE 1 = 0 LIMIT 0")
    try:
        assert sql.deliver(queued(event(2)), 9).verdict is Verdict.RETRY
    finally:
        database.ask("DROP VIEW fletching_events")
        database.ask("DROP TABLE older")
    sql.close()


@pytest.mark.parametrize("database", ["PostgreSQL utf8"], indirect=True)
@pytest.mark.parametrize(
    ("code", "verdicts"),
    [
        pytest.param("22000", [Verdict.SPLIT] * 3, id="data"),
        pytest.param("54000", [Verdict.RETRY, Verdict.RETRY, Verdict.SPLIT], id="a limit"),
        pytest.param("23514", [Verdict.RETRY, Verdict.RETRY, Verdict.SPLIT], id="a constraint"),
    ],
)
def test_error_of_any_class_can_be_the_fault_of_an_event(
    database: Database, code: str, verdicts: list[Verdict]
) -> None:
    sql = Sql(database.url)
    assert sql.deliver(queued(event(1)), 1).verdict is Verdict.DELIVERED
    refuse = f"IF NEW.message_number = 3 THEN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END IF"
    database.ask(
        f"CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN {refuse}; RETURN NEW; END $$"
    )
    database.ask(
        "CREATE TRIGGER refuse BEFORE INSERT ON fletching_events"
        " FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    assert sql.deliver(queued(event(2), event(3)), 1).verdict is Verdict.SPLIT
    alone = queued(event(3))
    assert [sql.deliver(alone, attempt).verdict for attempt in (1, 2, 3)] == verdicts
    assert sql.deliver(queued(event(4)), 1).verdict is Verdict.DELIVERED
    found = database.ask("SELECT message_number FROM fletching_events ORDER BY 1")
    assert list(found) == [(1,), (4,)]
    sql.close()


@pytest.mark.parametrize("database", ["PostgreSQL utf8"], indirect=True)
def test_partitioned_table_accepts_all_but_the_rejected_row(database: Database) -> None:
    sql = Sql(database.url)
    sql.deliver(queued(event(1)), 1)
    database.ask("ALTER TABLE fletching_events RENAME TO whole")
    database.ask("CREATE TABLE fletching_events (LIKE whole) PARTITION BY RANGE (timestamp)")
    years = "FROM ('2020-01-01') TO ('2100-01-01')"
    database.ask(f"CREATE TABLE part PARTITION OF fletching_events FOR VALUES {years}")
    database.ask("DROP TABLE whole")
    assert sql.deliver(queued(event(2)), 1).verdict is Verdict.DELIVERED
    assert sql.deliver(queued(event(3, bounce_code=2**80)), 1).verdict is Verdict.SPLIT
    sql.close()


def test_dropped_table_is_created_again(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    sql = Sql(f"sqlite:///{path}")
    assert sql.deliver(queued(event(1)), 1).verdict is Verdict.DELIVERED
    with sqlite3.connect(path) as file:
        file.execute("DROP TABLE fletching_events")
    verdicts = [sql.deliver(queued(event(2)), attempt).verdict for attempt in (1, 2)]
    assert verdicts == [Verdict.RETRY, Verdict.DELIVERED]
    path.unlink()
    verdicts = [sql.deliver(queued(event(3)), attempt).verdict for attempt in (1, 2)]
    assert verdicts[-1] is Verdict.DELIVERED
    with sqlite3.connect(path) as file:
        found = file.execute("SELECT event_unique_id FROM fletching_events").fetchall()
    assert found == [("id000003",)]
    sql.close()


def test_locked_database_is_retried(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    sql = Sql(f"sqlite:///{path}?timeout=0")
    assert sql.deliver(queued(event(1)), 1).verdict is Verdict.DELIVERED
    with sqlite3.connect(path, isolation_level=None) as file:
        file.execute("BEGIN IMMEDIATE")
        verdicts = [sql.deliver(queued(event(2)), attempt).verdict for attempt in (1, 2, 3, 4)]
        file.execute("ROLLBACK")
    assert verdicts == [Verdict.RETRY] * 4
    assert sql.deliver(queued(event(2)), 5).verdict is Verdict.DELIVERED
    sql.close()


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("sqlite:////no/such/folder/events.sqlite", id="no folder"),
        pytest.param("postgresql+psycopg://u:hunter2@/d?host=/no/such/folder", id="no PostgreSQL"),
        pytest.param("mysql+pymysql://u:hunter2@h/d?unix_socket=/no/such/socket", id="no MariaDB"),
    ],
)
def test_unavailable_database_is_a_failure(url: str) -> None:
    for batch in (queued(event(1)), queued(event(1), event(2))):
        answer = Sql(url).deliver(batch, 9)
        assert answer.verdict is Verdict.RETRY
        assert "hunter2" not in answer.why
        assert "\n" not in answer.why


def test_missing_field_is_null() -> None:
    assert row(event(1, events.COMPLAINT, click_url="").fields())["bounce_text"] is None


# All together, and a restart in between


@pytest.fixture(scope="module")
def matrix() -> Iterator[Table]:
    table = Table("database", "sent", "stored", "dead letters", "stuck", title="Bad texts")
    yield table
    Console(width=120).print(table)


def _bad_texts() -> list[tuple[str, str]]:
    """What is odd about an event, and the event in JSON. Ids are in this order."""
    odd = {"plain": "a", "emoji": EMOJI, "NUL": "\0", "lone surrogate": "\ud800"}
    sent_events = []
    for number, (name, text) in enumerate(odd.items()):
        fields = event(number, html_or_text="", bot_reason="", bounce_type="").fields()
        for field, value in fields.items():
            if isinstance(value, str) and field not in ("event_type", "timestamp"):
                fields[field] = value if field == "event_unique_id" else f"{value}{text}"
        sent_events.append((name, json.dumps(fields)))
    return sent_events


DEAD = {
    "SQLite": ["lone surrogate"],
    "PostgreSQL utf8": ["NUL", "lone surrogate"],
    "PostgreSQL latin1": ["emoji", "NUL", "lone surrogate"],
    "MariaDB utf8mb4": ["lone surrogate"],
    "MariaDB utf8mb3": ["lone surrogate"],
}
"""What no such database can store."""


@pytest.mark.slow
@everywhere
def test_unstorable_texts_and_a_restart(
    database: Database, redis: RedisServer, matrix: Table, tmp_path: Path
) -> None:
    redis.client.flushall()
    stream = EventLog(open_store(redis.url))
    counted = Deliveries()
    order = Order("base", Filter(None, None), Sql(database.url), 86400, 10)
    clock, lease = Clock(open_store(redis.url)), Lease(open_store(redis.url), "courier:base", 10.0)
    pauses = Pauses(first=0.01, longest=0.05)
    carrying = Delivery(order, stream, clock, lease, counted, pauses=pauses, check_every=0.02)

    def send(sent_events: list[str]) -> None:
        for each in sent_events:
            redis.client.xadd(keys.EVENTS, {"event": each})

    def nothing_left() -> bool:
        return stream.progress("base").undone == 0

    bad = _bad_texts()
    before = [event(number).json() for number in range(100, 200)]
    after = [event(number).json() for number in range(200, 300)]
    send([*before[:50], *(each for _, each in bad), *before[50:]])
    carrying.begin()
    try:
        wait_until("stuck before the restart", nothing_left)
        if database.server is not None:
            database.server.end()
        send(after)
        if database.server is not None:
            database.server.start()
        wait_until("stuck after the restart", nothing_left)
    finally:
        carrying.end()
        assert carrying.wait(30)
    left = stream.progress("base").undone
    named = {text: name for name, text in bad}
    dead = [named[text] for _, text, _ in stream.dead_letters("base")]
    found = [id for (id,) in database.ask("SELECT event_unique_id FROM fletching_events")]
    sent = [json.loads(each)["event_unique_id"] for each in (*named, *before, *after)]
    matrix.add_row(database.name, str(len(sent)), str(len(found)), ", ".join(dead), str(left))
    assert dead == DEAD[database.name]
    lost = {json.loads(text)["event_unique_id"] for text, name in named.items() if name in dead}
    assert sorted(found) == sorted(set(sent) - lost)
