"""Each field of an event has the type that docs/events.md says; DuckDB reads a file so."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fletching import events
from fletching.destinations.answers import QueuedEvent
from fletching.destinations.lines import JsonLines
from fletching.tokens import Kind

from tests.courier_setting import event
from tests.test_hits import ONE_CLICK, ask, fields, token

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "events.md").read_text("utf-8")
BOUNCED = {
    "bounce_type": "h",
    "bounce_code": 550,
    "bounce_text": "no such user",
    "bounce_status": "5.1.1",
    "bounce_reason": "user_unknown",
    "synchronous": True,
}
REQUEST = {"click_url": "https://shop.example/", "engine_ip": "192.0.2.1", "user_agent": "Mozilla"}
FOLLOWED = {
    **REQUEST,
    "html_or_text": "html",
    "is_privacy_open": False,
    "is_bot": False,
    "bot_reason": "",
}
ATTEMPTED = {
    "status": "deferral",
    "is_retry": 0,
    "message": "450 4.2.1 later",
    "bounce_status": "4.2.1",
    "bounce_code": 450,
    "bounce_reason": "rate_limited",
    "recipient_domain": "example.org",
    "mx_hostname": "mx.example.org",
    "mx_ip": "192.0.2.25",
    "outmtaid": "smtp",
    "sender": "bounces+tag@example.com",
    "channel": "remote",
    "queue_id": "4Y2xYz3k0Bz9s1",
    "delay": 0.25,
    "tls": "may",
    "recipients": 2,
}
DETAILS: Mapping[str, Mapping[str, Any]] = {
    events.CLICK: FOLLOWED,
    events.OPEN: FOLLOWED,
    events.UNSUBSCRIBE: {**REQUEST, "html_or_text": "html"},
    events.COMPLAINT: {"feedback_type": "abuse", "attributed": True},
    events.BOUNCE: {
        **BOUNCED,
        "attributed": True,
        "mx_hostname": "mx.example.org",
        "recipients": 2,
    },
    events.BAD_ADDRESS: BOUNCED,
    events.DELIVERY: ATTEMPTED,
    events.PREPARED: {},
    events.SEED: {},
}
"""The fields that an event of each type has in addition to the common ones."""


def example(kind: str) -> dict[str, Any]:
    made = event(1, kind)
    common = {name: each for name, each in made.fields().items() if name not in made.details}
    return {**common, **DETAILS[kind]}


def documented() -> dict[str, str]:
    """The types that docs/events.md lists, by field."""
    table = PAGE.partition("## Field types\n")[2].partition("\n## ")[0]
    found = {}
    for names, kind in re.findall(r"(?m)^\| (`.*`) \| `(.*)` \|$", table):
        found.update(dict.fromkeys(re.findall(r"`(\w+)`", names), kind))
    return found


def read(path: Path) -> dict[str, str]:
    """The type of each field in a file of JSON lines."""
    import duckdb  # here, as other test processes need not load it

    with duckdb.connect() as database:
        question = "DESCRIBE SELECT * FROM read_json_auto(?)"
        return {row[0]: row[1] for row in database.execute(question, [str(path)]).fetchall()}


def test_duckdb_reads_the_documented_types(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    file = JsonLines(path, None)
    for kind in events.TYPES:
        file.deliver([QueuedEvent.parse("1-0", json.dumps(example(kind)))], 1)
    file.close()
    assert read(path) == documented()


@pytest.mark.parametrize("kind", events.TYPES)
def test_the_page_lists_the_fields_of_each_event(kind: str) -> None:
    section = PAGE.partition("## Event types")[2].partition("\n## ")[0]
    (rest,) = re.findall(rf"(?m)^\| `{kind}` \| (.*) \|$", section)
    if kind == events.DELIVERY:
        rest = (DOCS / "deliveries.md").read_text("utf-8")
    if "the same" not in rest:
        assert set(re.findall(r"`(\w{2,})`", rest)) - {"types"} >= set(DETAILS[kind])


def test_events_of_requests_have_the_documented_fields_and_types() -> None:
    made = [
        fields(ask(f"/click?{token()}")),
        fields(ask(f"/open?{token(Kind.OPEN, '')}")),
        fields(ask(f"/unsub?{token(Kind.LIST_UNSUBSCRIBE, '')}", "POST", body=ONE_CLICK)),
    ]
    for each in made:
        documented = example(each["event_type"])
        assert {name: type(value) for name, value in each.items()}.items() <= {
            name: type(value) for name, value in documented.items()
        }.items()


def test_database_columns_are_event_fields() -> None:
    from fletching.destinations.sql import TABLE  # here, as it loads SQLAlchemy

    assert {column.name for column in TABLE.columns} - {"event"} <= set(documented())
