"""The lines of traces: what goes in comes out, and equal events stay apart."""

from __future__ import annotations

from typing import Any

import pytest
from fletching import events, traces
from fletching.events import Event
from fletching.numbering import campaign_id
from fletching.tokens import Facts
from fletching.traces import ACCEPTED, Accepted, HeadAndContent, Moment
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import for_every

OPENED = 1_790_000_000
NOW = OPENED + 90_000
C = campaign_id(OPENED, b"\x12\x34\x56\x78")


def event(type: str, id: str = "an id", **details: Any) -> Event:
    facts = Facts(C, 1000, "news", "1", "t100", "", "r@example.org", "a", NOW)
    return Event(type, NOW * 1000 + 250, id, "mx1", facts, details)


def told(line: HeadAndContent | None, texts: dict[bytes, str] | None = None) -> Moment:
    """What a line of message 1000 says."""
    assert line is not None
    head, content = line
    entries = [head + content] if head[1] == 1 else [head, content]
    (found,) = traces.read(entries, C, 1000 // traces.PER_BLOCK)
    assert found.number == 1000
    return traces.moment(found, texts or {})


POSTFIX = "250 2.0.0 Ok: queued as 4SfQ1k0pZ2z1xX"
UNKNOWN = (
    "550 5.1.1 <joe@example.org>: Recipient address rejected: User unknown in virtual mailbox table"
)
GOOGLE = "250 2.0.0 OK  1790090000 d2e1a72fcca58-6cb95bf3d3csi1234567pfb.123 - gsmtp"
EVENTS: dict[str, tuple[Event, dict[str, object]]] = {
    "delivered": (
        event(
            events.DELIVERY,
            status="success",
            message=POSTFIX,
            bounce_status="2.0.0",
            mx_hostname="mx.example.org",
            mx_ip="192.0.2.1",
            outmtaid="vmta-a",
        ),
        {
            "status": "success",
            "bounce_status": "2.0.0",
            "outmtaid": "vmta-a",
            "message": POSTFIX,
            "relay": "mx.example.org[192.0.2.1]",
        },
    ),
    "refused": (
        event(
            events.DELIVERY,
            status="failure",
            message=UNKNOWN,
            bounce_reason="user_unknown",
            mx_hostname="mx.example.org",
        ),
        {
            "status": "failure",
            "bounce_reason": "user_unknown",
            "message": UNKNOWN,
            "relay": "mx.example.org",
        },
    ),
    "long words of a delivered mail": (
        event(events.DELIVERY, status="success", message=GOOGLE),
        {"status": "success", "message": "250 2.0.0 OK 1790090000 \N{HORIZONTAL ELLIPSIS} - gsmtp"},
    ),
    "deferred without a reply": (
        event(events.DELIVERY, status="deferral", message="Connection timed out"),
        {"status": "deferral", "message": "Connection timed out"},
    ),
    "no words": (event(events.DELIVERY, status="deferral"), {"status": "deferral"}),
    "control characters": (
        event(events.DELIVERY, status="deferral", message="a\x1fb\x1e c\x1d4\r\n\0d \x1b[31m"),
        {"status": "deferral", "message": "a b c 4 \N{REPLACEMENT CHARACTER}d [31m"},
    ),
    "bounced later": (
        event(events.BOUNCE, bounce_type="h", bounce_reason="user_unknown", bounce_text=UNKNOWN),
        {"bounce_type": "h", "bounce_reason": "user_unknown", "bounce_text": UNKNOWN},
    ),
    "bounced at once": (
        event(events.BOUNCE, bounce_type="h", synchronous=True, bounce_text=UNKNOWN),
        {"bounce_type": "h", "synchronous": True},
    ),
    "complaint": (event(events.COMPLAINT, feedback_type="abuse"), {"feedback_type": "abuse"}),
    "unsubscribed on the web": (
        event(events.UNSUBSCRIBE, engine_ip="192.0.2.1", html_or_text="html"),
        {"by": "web", "html_or_text": "html"},
    ),
    "unsubscribed with one click": (
        event(events.UNSUBSCRIBE, click_url="", engine_ip="192.0.2.1"),
        {"by": "web"},
    ),
    "unsubscribed by mail": (event(events.UNSUBSCRIBE, click_url=""), {"by": "mail"}),
    "open": (event(events.OPEN, is_bot=False, is_privacy_open=False), {}),
    "privacy open": (event(events.OPEN, is_privacy_open=True), {"is_privacy_open": True}),
    "bot click": (
        event(events.CLICK, click_url="https://a.example/", is_bot=True, bot_reason="agent"),
        {
            "is_bot": True,
            "bot_reason": "agent",
            "link": traces.link_digest("https://a.example/"),
        },
    ),
    "bad address": (event(events.BAD_ADDRESS, bounce_type="h"), {"bounce_type": "h"}),
}


@for_every(EVENTS)
def test_event_comes_out_as_it_went_in(happened: Event, details: dict[str, object]) -> None:
    moment = told(traces.event_line(happened, traces.inline))
    assert (moment.seconds, moment.type) == (NOW, happened.type)
    assert dict(moment.details) == details


@for_every(EVENTS)
def test_common_texts_are_looked_up(happened: Event, details: dict[str, object]) -> None:
    texts: dict[bytes, str] = {}

    def encode(text: str) -> bytes:
        texts[traces.reference(text)] = text
        return traces.referring(text)

    moment = told(traces.event_line(happened, encode), texts)
    assert dict(moment.details) == details


def test_lost_common_text_leaves_the_rest() -> None:
    happened = EVENTS["delivered"][0]
    moment = told(traces.event_line(happened, traces.referring))
    assert (moment.seconds, moment.type, dict(moment.details)) == (NOW, events.DELIVERY, {})


QUEUE_IDS = ("4F1A2B3C4D", "0000", "04BQ", "4SfQ1k0pZ2z1xXy", "zzzzzzzzzzzz", "a b", "", "0" * 30)


@for_every({id or "empty": id for id in QUEUE_IDS})
def test_accepted_mail_comes_out_as_it_went_in(queue_id: str) -> None:
    mail = Accepted(
        C, 1000, NOW, queue_id, "id@a.example", ("r@b.example",), "vmta-a", ("w1", "w2")
    )
    moment = told(traces.accepted_line(mail, traces.inline))
    wanted: dict[str, Any] = {"queue_id": queue_id, "mtaid": "vmta-a", "warnings": ("w1", "w2")}
    kept = {name: value for name, value in wanted.items() if value}
    assert moment == Moment(NOW, ACCEPTED, kept)


def test_recipients_are_kept_if_there_are_several() -> None:
    names = ("a@example.org", "b@example.org")
    moment = told(traces.accepted_line(Accepted(C, 1000, NOW, "4F1A", "", names), traces.inline))
    assert dict(moment.details) == {"queue_id": "4F1A", "recipients": names}


@pytest.mark.parametrize(("more", "kept"), [({}, None), ({"recipients": 2}, "r@example.org")])
@pytest.mark.parametrize("type", [events.DELIVERY, events.BOUNCE])
def test_recipient_of_an_event_is_kept_if_there_are_several(
    type: str, more: dict[str, Any], kept: str | None
) -> None:
    moment = told(traces.event_line(event(type, status="success", **more), traces.inline))
    assert moment.details.get("recipient") == kept


def test_accepted_mail_without_mta_and_warnings() -> None:
    moment = told(traces.accepted_line(Accepted(C, 1000, NOW, "4F1A", ""), traces.inline))
    assert dict(moment.details) == {"queue_id": "4F1A"}


def test_equal_events_of_one_second_are_two() -> None:
    click = {"click_url": "https://a.example/"}
    clicks = [event(events.CLICK, f"id {at}", **click) for at in range(9)]
    lines = [traces.event_line(each, traces.inline) for each in clicks]
    assert len({line[0] for line in lines if line}) == 9


def test_deliveries_of_many_recipients_in_one_second_are_many() -> None:
    many = [
        event(events.DELIVERY, f"id {at}", status="success", recipients=900) for at in range(900)
    ]
    lines = [traces.event_line(each, traces.inline) for each in many]
    assert len({line[0] for line in lines if line}) == 900


def test_same_event_has_the_same_head_however_its_texts_are_kept() -> None:
    for happened, _ in EVENTS.values():
        heads = {
            line[0]
            for encode in (traces.inline, traces.referring)
            if (line := traces.event_line(happened, encode))
        }
        assert len(heads) == 1


@pytest.mark.parametrize("type", [events.PREPARED, events.SEED])
def test_events_without_a_line(type: str) -> None:
    assert traces.event_line(event(type), traces.inline) is None


def test_event_of_no_message_has_no_line() -> None:
    facts = Facts("", 0, "", "", "", "", "r@example.org", "", 0)
    happened = Event(events.BOUNCE, NOW * 1000, "id", "mx1", facts, {"bounce_type": "h"})
    assert traces.event_line(happened, traces.inline) is None


def test_event_before_its_campaign_is_at_its_beginning() -> None:
    facts = Facts(C, 1000, "news", "1", "", "", "", "", 0)
    happened = Event(events.OPEN, (OPENED - 5) * 1000, "id", "mx1", facts, {})
    assert told(traces.event_line(happened, traces.inline)).seconds == OPENED


@given(st.lists(st.binary(max_size=40) | st.builds(bytes, st.lists(st.integers(0, 9)))))
def test_any_bytes_are_lines_or_nothing(entries: list[bytes]) -> None:
    for found in traces.read(entries, C, 0):
        traces.moment(found, {})


def test_line_of_a_later_version_is_skipped() -> None:
    head, content = traces.event_line(EVENTS["open"][0], traces.inline) or (b"", b"")
    later = bytes((head[0], 99)) + head[2:]
    assert len(list(traces.read([later, head, head, content], C, 0))) == 1


def test_mail_that_was_written_again_is_one_line() -> None:
    line = b"".join(traces.accepted_line(Accepted(C, 1000, NOW, "4F1A", ""), traces.inline))
    assert len(list(traces.read([line, line], C, 0))) == 1


@given(st.text(max_size=400), st.sampled_from(["success", "failure"]))
def test_any_reply_is_kept_on_one_line(reply: str, status: str) -> None:
    moment = told(
        traces.event_line(event(events.DELIVERY, status=status, message=reply), traces.inline)
    )
    kept = str(moment.details.get("message", ""))
    assert len(kept) <= traces.LONGEST_WORDS
    assert kept.isprintable() or not any(ord(c) < 32 for c in kept)
