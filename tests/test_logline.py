"""Lines of Postfix's log: what each says, in the forms of Postfix 3.4 to 3.12."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from zoneinfo import ZoneInfo

from fletching.postfix.logline import (
    LONGEST,
    Active,
    Attempt,
    Expired,
    Queued,
    Removed,
    parse,
    seconds_of,
)
from hypothesis import example, given
from hypothesis import strategies as st

from tests.cases import for_every
from tests.effort import is_linear

ID = "4jdT9k6120zCXPc"
SENT = Attempt(
    queue_id=ID,
    outcome="success",
    recipient="ann@example.org",
    original="",
    service="smtp",
    channel="remote",
    host="mx.example.org",
    ip="192.0.2.25",
    delay=0.53,
    tls="",
    status="2.0.0",
    code=250,
    words="250 2.0.0 Ok: queued as 12345",
)
REFUSED = replace(
    SENT,
    outcome="failure",
    status="5.1.1",
    code=550,
    words="550 5.1.1 <ann@example.org>: Recipient address rejected: User unknown",
    command="RCPT",
)
DEFERRED = replace(REFUSED, outcome="deferral", status="4.2.2", code=452, words="452 4.2.2 Full")

_AT = "relay=mx.example.org[192.0.2.25]:25, delay=0.53, delays=0.01/0.02/0.4/0.1"
_NOWHERE = "relay=none, delay=0.53, delays=0.01/0.02/0.4/0.1"
_OK = "dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 12345)"
_SAID = "host mx.example.org[192.0.2.25] said: "
_REFUSAL = f"({_SAID}{REFUSED.words} (in reply to RCPT TO command))"
_NO = f"dsn=5.1.1, status=bounced {_REFUSAL}"
_FULL = f"({_SAID}452 4.2.2 Full (in reply to RCPT TO command))"
_LATER = f"dsn=4.2.2, status=deferred {_FULL}"


def agent(rest: str, name: str = "smtp", queue_id: str = ID) -> str:
    """A line of a delivery agent, or another program."""
    program = name if "/" in name else f"postfix/{name}"
    return f"Nov 30 15:54:50 mx1 {program}[19824]: {queue_id}: {rest}"


def to(rest: str, at: str = _AT, name: str = "smtp", address: str = "ann@example.org") -> str:
    """The line of a delivery attempt."""
    return agent(f"to=<{address}>, {at}, {rest}", name)


ATTEMPTS = {
    "delivered": (to(_OK), SENT),
    "time of RFC 3339": (
        to(_OK).replace("Nov 30 15:54:50", "2026-11-30T15:54:50.123456+01:00"),
        SENT,
    ),
    "no host": (to(_OK).replace(" mx1 ", " "), SENT),
    "bounced": (to(_NO), REFUSED),
    "short queue id": (
        to(_NO).replace(ID, "19FC01764CE"),
        replace(REFUSED, queue_id="19FC01764CE"),
    ),
    "instance of postmulti": (to(_NO, name="postfix-out/smtp"), REFUSED),
    "transport in the syslog name": (
        to(_NO, name="postfix/vmta-a/smtp"),
        replace(REFUSED, service="vmta-a"),
    ),
    "3.11 logs TLS": (to(_NO, f"{_AT}, tls=dane"), replace(REFUSED, tls="dane")),
    "a connection that is used again": (to(_NO, _AT.replace(":25,", ":25, conn_use=7,")), REFUSED),
    "an alias": (
        to(_NO, f"orig_to=<alias@example.net>, {_AT}"),
        replace(REFUSED, original="alias@example.net"),
    ),
    "deferred": (to(_LATER), DEFERRED),
    "soft_bounce": (
        to(f"dsn=4.1.1, status=SOFTBOUNCE {_REFUSAL}"),
        replace(REFUSED, outcome="deferral", status="4.1.1"),
    ),
    "smtp_delivery_status_filter": (
        to(f"dsn=5.2.2, status=bounced {_FULL}"),
        replace(DEFERRED, outcome="failure", status="5.2.2"),
    ),
    "refused after the mail": (
        to(f"dsn=5.1.1, status=bounced {_REFUSAL.replace('RCPT TO', 'end of DATA')}"),
        replace(REFUSED, command="DATA"),
    ),
    "refused before the mail": (
        to(f"dsn=5.1.1, status=bounced {_REFUSAL.replace('RCPT TO command', 'initial greeting')}"),
        replace(REFUSED, command="CONN"),
    ),
    "expired": (
        to(f"dsn=4.2.2, status=expired {_FULL}"),
        replace(DEFERRED, outcome="failure_toolong"),
    ),
    "quoted local part that looks like the end of the address": (
        to(_LATER, address='"a>, relay=b \\" c"@example.org'),
        replace(DEFERRED, recipient='"a>, relay=b \\" c"@example.org'),
    ),
    "internationalised address": (
        to(_LATER, address="jörg@例え.example"),
        replace(DEFERRED, recipient="jörg@例え.example"),
    ),
    "no server was reached": (
        to("dsn=4.4.1, status=deferred (connect to mx.example.org[192.0.2.25]:25: ...)", _NOWHERE),
        replace(
            DEFERRED,
            host="",
            ip="",
            status="4.4.1",
            code=0,
            words="connect to mx.example.org[192.0.2.25]:25: ...",
            command="",
        ),
    ),
    "the transport error": (
        to("dsn=5.1.2, status=bounced (no mail here)", _NOWHERE, "error"),
        replace(
            REFUSED,
            service="error",
            host="",
            ip="",
            status="5.1.2",
            code=0,
            words="no mail here",
            command="",
        ),
    ),
    "a Maildir": (
        to("dsn=2.0.0, status=sent (delivered to maildir)", "relay=virtual, delay=0.53", "virtual"),
        replace(
            SENT,
            service="virtual",
            channel="local",
            host="",
            ip="",
            code=0,
            words="delivered to maildir",
        ),
    ),
    "LMTP over a Unix socket": (
        to(_OK, "relay=mx1.example.com[private/dovecot-lmtp], delay=0.53", "lmtp"),
        replace(SENT, service="lmtp", channel="local", host="mx1.example.com", ip=""),
    ),
    "IPv6": (to(_OK, _AT.replace("192.0.2.25", "2001:db8::25")), replace(SENT, ip="2001:db8::25")),
}


@for_every(ATTEMPTS)
def test_delivery_attempt(line: str, wanted: Attempt) -> None:
    found = parse(line.encode())
    assert found is not None
    assert found.said == wanted


FROM = "from=<bounces+abcdefgh234@example.com>"
OTHERS = {
    "active": (
        agent(f"{FROM}, size=322, nrcpt=3 (queue active)", "qmgr"),
        Active(ID, "bounces+abcdefgh234@example.com", 3),
    ),
    "active without sender": (
        agent("from=<>, size=322, nrcpt=1 (queue active)", "qmgr"),
        Active(ID, "", 1),
    ),
    "active with a sender that looks like the end": (
        agent('from=<"a>, size=1"@example.com>, size=322, nrcpt=1 (queue active)', "qmgr"),
        Active(ID, '"a>, size=1"@example.com', 1),
    ),
    "expired": (
        agent(f"{FROM}, status=expired, returned to sender", "postfix-out/qmgr"),
        Expired(ID, "bounces+abcdefgh234@example.com"),
    ),
    "expired by postsuper -f": (
        agent(f"{FROM}, status=force-expired, returned to sender", "qmgr"),
        Expired(ID, "bounces+abcdefgh234@example.com"),
    ),
    "removed": (agent("removed", "qmgr"), Removed(ID)),
    "removed by postsuper -d": (agent("removed", "postsuper"), Removed(ID)),
    "queued": (agent("message-id=<1@example.com>", "cleanup"), Queued(ID)),
}


@for_every(OTHERS)
def test_other_lines(line: str, wanted: object) -> None:
    found = parse(line.encode())
    assert found is not None
    assert found.said == wanted


IGNORED = {
    "empty": "",
    "connection": "Nov 30 15:54:50 mx1 postfix/smtpd[1]: connect from unknown[192.0.2.1]",
    "client": agent("client=unknown[192.0.2.1]", "smtpd"),
    "probe of verify(8)": to("dsn=2.1.5, status=deliverable (250 ok)"),
    "non-delivery notification": agent("sender non-delivery notification: 19FC01764CE", "bounce"),
    "3.10 cancels a message": agent("canceled", "cleanup"),
    "3.10 tells why a milter holds": agent("milter-hold: END-OF-MESSAGE from a[::1]: b", "cleanup"),
    "milter": agent("milter-header-filter: header X-Route: vmta-a from a[::1]", "cleanup"),
    "qmgr skips": agent("skipped, still being delivered", "qmgr"),
    "warning": agent("from=<a>, size=1, nrcpt=1 (queue active)", "qmgr", "warning"),
    "another program quotes a line": f"Nov 30 15:54:50 mx1 cron[1]: (root) CMD (grep {to(_OK)})",
    "half a line": to("dsn=2.0"),
    "half an address": agent("to=<ann@exam, status=sent (250 ok)"),
    "no dsn": to("status=sent (250 ok)"),
    "too long": to(_OK, address="a" * LONGEST),
}


@for_every({name: (line,) for name, line in IGNORED.items()})
def test_line_is_ignored(line: tuple[str]) -> None:
    assert parse(line[0].encode()) is None


def test_words_of_a_cut_line_are_read() -> None:
    """syslogd may cut a line."""
    line = agent(f"to=<ann@example.org>, {_AT}, dsn=5.1.1, status=bounced ({_SAID}550 5.1.1 <ann")
    found = parse(line.encode())
    assert found is not None
    assert found.said == replace(REFUSED, words="550 5.1.1 <ann", command="")


def test_bytes_that_are_not_utf_8_are_replaced() -> None:
    line = to(f"dsn=4.2.2, status=deferred ({_SAID}452 4.2.2 F|ll)")
    found = parse(line.encode().replace(b"|", b"\xfc"))
    assert found is not None
    assert found.said == replace(DEFERRED, words="452 4.2.2 F\ufffdll", command="")


def test_next_queue_id_is_that_of_the_reply() -> None:
    assert SENT.next_queue_id == "12345"
    assert replace(SENT, outcome="failure").next_queue_id == ""
    assert replace(SENT, words="250 ok").next_queue_id == ""


BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=BERLIN)


@for_every(
    {
        "traditional": ("Mar  1 11:59:58", datetime(2026, 3, 1, 10, 59, 58, tzinfo=UTC)),
        "last year": ("Dec 31 23:59:59", datetime(2025, 12, 31, 22, 59, 59, tzinfo=UTC)),
        "clock that is ahead": ("Mar  2 11:00:00", datetime(2026, 3, 2, 10, 0, tzinfo=UTC)),
        "29 February": ("Feb 29 10:00:00", datetime(2026, 3, 1, 11, 0, tzinfo=UTC)),
        "leap second": ("Feb 28 23:59:60", datetime(2026, 2, 28, 22, 59, 59, tzinfo=UTC)),
        "RFC 3339": ("2026-02-28T10:00:00.0+01:00", datetime(2026, 2, 28, 9, 0, tzinfo=UTC)),
        "RFC 3339, Z": ("2026-02-28T09:00:00Z", datetime(2026, 2, 28, 9, 0, tzinfo=UTC)),
        "RFC 3339 without offset": ("2026-02-28T09:00:00", datetime(2026, 2, 28, 8, 0, tzinfo=UTC)),
        "no time": ("Foo 99 99:99:99", datetime(2026, 3, 1, 11, 0, tzinfo=UTC)),
    }
)  # fmt: skip
def test_time_of_a_line(text: str, wanted: datetime) -> None:
    assert seconds_of(text, NOW) == wanted.timestamp()


def test_new_year_is_read_on_the_day_after() -> None:
    now = datetime(2027, 1, 1, 0, 30, tzinfo=BERLIN)
    assert seconds_of("Dec 31 23:59:59", now) == now.timestamp() - 1801


PIECES = [
    *("Nov 30 15:54:50 ", "2026-11-30T15:54:50Z ", "mx1 ", "postfix/", "qmgr[1]: ", "smtp[1]: "),
    *(f"{ID}: ", "to=<", "orig_to=<", ">, ", "relay=", "a[b]:25, ", "delay=1, ", "delays=1/1, "),
    *("dsn=2.0.0, ", "status=sent ", "(", ")", "host a[b] said: ", "250 ", "\0", "\u2028", '"'),
    *("from=<", "size=1, ", "nrcpt=1 (queue active)", "removed", "status=expired, returned to "),
    "\\",
]


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=30))
@example(["Nov 30 15:54:50 mx1 postfix/smtp[1]: ", f"{ID}: ", 'to=<"\\', "status=sent ("])
def test_any_line_is_read_without_exception(pieces: list[str]) -> None:
    line = parse("".join(pieces).encode("utf-8", "surrogatepass"))
    if line is not None:
        assert seconds_of(line.time, NOW)


REPEATED = {
    "slashes in the name": ("", "/a"),
    "ends of addresses": (agent("to=<"), ">, "),
    "attributes": (agent("to=<a>, relay=b, dsn=2.0.0, "), "a=b, "),
    "quotes": (agent('to=<"'), '\\"'),
    "statuses": (agent("to=<a>, relay=b, dsn=2.0.0"), ", status=sent ("),
    "replies": (agent(f"to=<a>, {_AT}, dsn=2.0.0, status=sent ("), " (in reply to a"),
    "brackets": (agent("to=<a>, relay="), "["),
    "servers": (agent(f"to=<a>, {_AT}, dsn=2.0.0, status=sent (host "), "a[ "),
    "expiries": (agent("from=<", "qmgr"), ">, status=expired, returned to sender"),
    "sizes": (agent("from=<", "qmgr"), ">, size=1, nrcpt=1 (queue active)"),
}


@for_every(REPEATED)
def test_work_grows_with_the_length_of_the_line(start: str, repeated: str) -> None:
    end = ", status=sent (250 ok)"
    assert is_linear(lambda n: partial(parse, (start + repeated * n + end).encode()), 100)
