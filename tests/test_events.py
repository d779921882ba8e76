"""events.py: the form of an event."""

from __future__ import annotations

import json

import pytest
from fletching.events import CLICK, TYPES, Event, parse, unique_id
from fletching.tokens import Facts
from hypothesis import given
from hypothesis import strategies as st

FACTS = Facts(
    campaign="nmarxcaz4ujb",
    number=7,
    mail_class="News",
    instance_id="A1",
    listid="T100",
    click_tracking_id="c|s",
    email="Reader@example.net",
    mtaid="a",
    sent=1_795_000_000,
)


def event(**given: object) -> Event:
    made: dict[str, object] = {
        "type": CLICK,
        "milliseconds": 1_795_259_482_236,
        "id": "x",
        "server_id": "mx1",
        "facts": FACTS,
        **given,
    }
    return Event(**made)  # type: ignore[arg-type]


def test_every_event_has_the_common_fields() -> None:
    assert event(details={"click_url": "https://example.com/"}).fields() == {
        "event_type": "engine_click",
        "event_time": 1_795_259_482,
        "timestamp": "2026-11-21T11:11:22.236Z",
        "event_unique_id": "x",
        "server_id": "mx1",
        "email": "Reader@example.net",
        "listid": "t100",
        "sendid": "newsa1",
        "click_tracking_id": "c|s",
        "mail_class": "News",
        "instance_id": "A1",
        "campaign": "nmarxcaz4ujb",
        "message_number": 7,
        "mtaid": "a",
        "click_url": "https://example.com/",
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"type": "click"}, "unknown event type", id="unknown type"),
        pytest.param({"id": ""}, "1 to 64", id="no id"),
        pytest.param({"id": "x" * 65}, "1 to 64", id="an id that is too long"),
    ],
)
def test_an_invalid_event_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        event(**given)


@given(st.text(alphabet=st.characters(codec=None), max_size=40))
def test_any_text_survives_json(text: str) -> None:
    line = event(details={"user_agent": text}).json()
    assert line.isascii()
    assert "\n" not in line
    parsed = parse(line)["user_agent"]
    parsed.encode("utf-8")
    assert "\0" not in parsed
    if text.isprintable():
        assert parsed == text.encode("utf-8", "replace").decode() or "\ufffd" in parsed


@pytest.mark.parametrize("line", ["", "[]", "7", "{}", '{"event_type":"x"}', "{"])
def test_parse_refuses_what_is_no_event(line: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 json says what it wants
        parse(line)


@given(st.lists(st.tuples(st.integers(0, 2**50 - 1), st.binary(min_size=10, max_size=10))))
def test_ids_sort_like_their_times(given: list[tuple[int, bytes]]) -> None:
    ids = [unique_id(*each) for each in sorted(given)]
    assert ids == sorted(ids)
    assert all(len(made) == 26 for made in ids)


def test_event_names_are_greenarrows() -> None:
    assert json.dumps(TYPES) == json.dumps(
        (
            "engine_click",
            "engine_open",
            "engine_unsub",
            "scomp",
            "bounce_all",
            "bounce_bad_address",
            "delivery_attempt",
            "message_prepared",
            "seed_sent",
        )
    )
