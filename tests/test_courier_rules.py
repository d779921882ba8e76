"""The rules of delivery: filter, verdicts, back-off, signature, the form."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import pytest
from fletching import events
from fletching.destinations import answers, webhook
from fletching.destinations.answers import (
    PAUSES,
    Answer,
    Filter,
    QueuedEvent,
    Verdict,
)
from fletching.destinations.formats.greenarrow import FORM
from fletching.destinations.formats.post import Signing
from hypothesis import given
from hypothesis import strategies as st

from tests.courier_setting import event, queued


@pytest.mark.parametrize(
    ("types", "classes", "type", "mail_class", "wanted"),
    [
        pytest.param(None, None, events.OPEN, "news", True, id="everything"),
        pytest.param({events.CLICK}, None, events.CLICK, "news", True, id="its type"),
        pytest.param({events.CLICK}, None, events.OPEN, "news", False, id="another type"),
        pytest.param(None, {"news"}, events.OPEN, "News", True, id="its class in another case"),
        pytest.param(None, {"news"}, events.OPEN, "crm", False, id="another class"),
        pytest.param(None, {"news"}, events.OPEN, "", False, id="no class"),
        pytest.param({events.OPEN}, {"news"}, events.CLICK, "news", False, id="class, not type"),
        pytest.param({events.OPEN}, {"crm"}, events.OPEN, "news", False, id="type, not class"),
        pytest.param(frozenset(), None, events.OPEN, "news", False, id="no type at all"),
    ],
)
def test_filter_by_type_and_class(
    types: set[str] | None, classes: set[str] | None, type: str, mail_class: str, wanted: bool
) -> None:
    fields = event(1, type, mail_class).fields()
    assert Filter(types, classes).wants(fields) is wanted


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.DELIVERED),
        (204, Verdict.DELIVERED),
        (299, Verdict.DELIVERED),
        (400, Verdict.REFUSED),
        (401, Verdict.RETRY),
        (404, Verdict.RETRY),
        (406, Verdict.DEAD_LETTER),
        (413, Verdict.SPLIT),
        (422, Verdict.REFUSED),
        (410, Verdict.STOP),
        (429, Verdict.RETRY),
        (500, Verdict.RETRY),
        (503, Verdict.RETRY),
    ],
)
def test_verdict_by_status(status: int, verdict: Verdict) -> None:
    answer = webhook.judge(status)
    assert answer.verdict is verdict
    assert answer.why == ("" if verdict is Verdict.DELIVERED else f"status {status}")


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        pytest.param(200, b"ok", Verdict.DELIVERED, id="ok"),
        pytest.param(200, b"OK thanks", Verdict.DELIVERED, id="the word before others"),
        pytest.param(200, b"\r\nok\n", Verdict.DELIVERED, id="the word between line ends"),
        pytest.param(200, b"not ok", Verdict.RETRY, id="the word behind others"),
        pytest.param(200, b"<p>OK, thanks</p>", Verdict.RETRY, id="the word within a page"),
        pytest.param(200, b"okay", Verdict.RETRY, id="as the beginning of another word"),
        pytest.param(200, b"ok_not", Verdict.RETRY, id="as the beginning of a name"),
        pytest.param(200, b"", Verdict.RETRY, id="nothing"),
        pytest.param(200, b"broken", Verdict.RETRY, id="only within a word"),
        pytest.param(200, b"not_ok", Verdict.RETRY, id="as a part of a name"),
        pytest.param(500, b"ok", Verdict.RETRY, id="ok with an error"),
        pytest.param(302, b"ok", Verdict.RETRY, id="ok with a redirect"),
        pytest.param(406, b"ok", Verdict.DEAD_LETTER, id="not acceptable"),
        pytest.param(410, b"", Verdict.STOP, id="gone"),
    ],
)
def test_verdict_by_answer_to_a_form(status: int, body: bytes, verdict: Verdict) -> None:
    assert webhook.judge_form(status, body).verdict is verdict


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_is_a_failure_with_a_cure(status: int) -> None:
    why = f"status {status}: redirects are not followed: configure the final URL"
    assert webhook.judge(status) == Answer(Verdict.RETRY, why)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        pytest.param(None, 0, id="none"),
        pytest.param("", 0, id="empty"),
        pytest.param("120", 120, id="seconds"),
        pytest.param(" 5 ", 5, id="blanks"),
        pytest.param("-5", 0, id="negative"),
        pytest.param("1.5", 0, id="a fraction"),
        pytest.param("9" * 500, answers.LONGEST_WAIT, id="for ever"),
        pytest.param("Mon, 21 Sep 2026 14:14:20 GMT", 60, id="a date"),
        pytest.param("Monday, 21-Sep-26 14:14:20 GMT", 60, id="a date of RFC 850"),
        pytest.param("Mon, 21 Sep 2026 14:12:20 GMT", 0, id="a date in the past"),
        pytest.param("Mon, 21 Sep 2099 14:13:20 GMT", answers.LONGEST_WAIT, id="a date far off"),
        pytest.param("Mon, 99 Sep 2026 99:99:99 GMT", 0, id="no such date"),
        pytest.param("soon", 0, id="a word"),
    ],
)
def test_retry_after_in_seconds_and_dates(value: str | None, seconds: float) -> None:
    assert answers.retry_after(value, 1_790_000_000) == seconds


@given(st.text())
def test_retry_after_accepts_any_text(value: str) -> None:
    assert 0 <= answers.retry_after(value, 1_790_000_000) <= answers.LONGEST_WAIT


@pytest.mark.parametrize(
    ("status", "wait"), [(429, 7.0), (503, 7.0), (500, 0.0), (400, 0.0), (301, 0.0), (200, 0.0)]
)
def test_only_429_and_503_set_a_wait(status: int, wait: float) -> None:
    assert webhook.judge(status, 7.0).wait == wait
    assert webhook.judge_form(status, b"ok", 7.0).wait == wait


def test_reason_is_cut_to_200_characters() -> None:
    assert len(answers.failed("x" * 100_000).why) == 200


@pytest.mark.parametrize(
    ("failures", "longest"), [(1, 1.0), (2, 2.0), (3, 4.0), (9, 256.0), (10, 300.0), (5000, 300.0)]
)
def test_pauses_grow_up_to_a_limit(failures: int, longest: float) -> None:
    assert PAUSES.after(failures, 0.0) == longest
    assert PAUSES.after(failures, 1.0) == longest / 2


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_pauses_are_in_bounds(failures: int, chance: float) -> None:
    assert PAUSES.first / 2 <= PAUSES.after(failures, chance) <= PAUSES.longest


def test_signature_of_a_known_request() -> None:
    # By openssl: printf '1700000000.[]' | openssl dgst -sha256 -hmac 'what we both know'
    assert webhook.signature(b"what we both know", 1700000000, b"[]") == (
        "t=1700000000,v1=e4d9e7f7ae3f3c7e66d3b07dd60628443f32e51feb035af7bf2be1544e57518c"
    )


@given(st.binary(min_size=1), st.integers(0, 2**40), st.binary())
def test_signature_equals_one_of_the_standard_library(
    secret: bytes, seconds: int, body: bytes
) -> None:
    expected = hmac.digest(secret, b"%d.%b" % (seconds, body), hashlib.sha256).hex()
    assert webhook.signature(secret, seconds, body) == f"t={seconds},v1={expected}"


def test_queued_event_has_its_time() -> None:
    (found,) = queued(event(5))
    assert events.rfc3339(found.queued_at) == found.fields["timestamp"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"event_type": "other"}', "{"])
def test_text_that_is_not_an_event_raises(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        QueuedEvent.parse("1-0", text)


def form(fields: Mapping[str, Any]) -> bytes:
    post = FORM.post([fields], Signing(0))
    assert post is not None
    return post.body


def test_form_has_the_fields_of_the_event() -> None:
    fields = event(7, click_url="https://example.com/?a=1&b=ü", is_bot=True).fields()
    parsed = parse_qs(form(fields).decode("ascii"), keep_blank_values=True)
    assert {name: values[0] for name, values in parsed.items()} == {
        **{name: str(value) for name, value in fields.items()},
        "is_bot": "1",
    }
    assert parsed["listid"] == ["t100"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "1"),
        (False, "0"),
        (None, ""),
        (3, "3"),
        (1.5, "1.5"),
        ("a b&c", "a b&c"),
        ({"X-A": ["1"]}, '{"X-A": ["1"]}'),
    ],
)
def test_form_values_by_type(value: object, text: str) -> None:
    assert parse_qs(form({"a": value}).decode(), keep_blank_values=True) == {"a": [text]}


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_form_encodes_any_text(fields: dict[str, str]) -> None:
    fields = json.loads(json.dumps(fields))
    if all(c < "\ud800" or c > "\udfff" for each in fields.items() for text in each for c in text):
        parsed = parse_qs(form(fields).decode("ascii"), keep_blank_values=True)
        assert {name: values[0] for name, values in parsed.items()} == fields
