"""The milter and mails: what miltertest, the MTA here, says to the running daemon and hears."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator

import pytest
from fletching.config.load import load
from fletching.keys.dkim_keys import read_dkim_keys
from fletching.mail.message import Header, Message

from sandbox.redis_server import RedisServer
from tests.dkim_judges import plainly_verifies
from tests.milter_daemon import ACCEPT, REPLY, MilterDaemon, body, header, lua

CONFIG = """
trusted: {authenticated: true, networks: [127.0.0.0/8]}
users: {crm: {force_mail_class: crm}}
default_mail_class: news
mail_classes:
  news: {list_id: t100, virtual_mta: pool, track: {clicks: true, opens: true}}
  crm: {list_id: crm, list_unsubscribe: false}
  strict: {on_invalid_header: reject}
virtual_mtas:
  a: {transport: vmta-a}
  b: {transport: vmta-b, fallback: a}
  pool: {pool: {b: 1}}
dkim:
  keys: [{domain: example.com, selector: s1, file: dkim.pem, default: true}]
"""

FROM = header("From", "app@example.com")


@pytest.fixture(scope="module")
def running(redis: RedisServer) -> Iterator[MilterDaemon]:
    milter = MilterDaemon(f"unix://{redis.socket}", CONFIG)
    milter.fletching("dkim", "new")
    with milter:
        yield milter


@pytest.fixture
def milter(running: MilterDaemon) -> MilterDaemon:
    """The daemon with an empty log."""
    running.forget()
    return running


def facts(milter: MilterDaemon) -> list[dict[str, str]]:
    """The log lines of mails as names and values."""
    fact = r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)'
    return [dict(re.findall(fact, line)) for line in milter.lines("mail")]


def test_mail_is_answered_and_logged(milter: MilterDaemon) -> None:
    told = milter.mail(
        FROM,
        header("X-GreenArrow-InstanceID", "77"),
        want=("X-Mailer-Info", "List-Unsubscribe", "List-Unsubscribe-Post", "DKIM-Signature"),
    )
    assert told.replies == [ACCEPT]
    assert all(value for _, value in told.said)
    assert told.all("List-Unsubscribe-Post") == [b"List-Unsubscribe=One-Click"]
    (fact,) = facts(milter)
    assert fact["queue_id"] == "4TestQueueId"
    assert (fact["class"], fact["sendid"], fact["rcpt"]) == ("news", "news77", "reader@example.org")
    assert (fact["mta"], fact["transport"]) == ("b", "vmta-b")
    assert fact["number"] == "1"


def test_route_is_added_and_deleted_and_the_sender_tagged(milter: MilterDaemon) -> None:
    told = milter.talk(
        "conn = open()",
        "begin(conn)",
        "rcpt(conn)",
        FROM,
        header("X-GreenArrow-InstanceID", "77"),
        header("X-Fletching-Route", "forged"),
        body(b"Hello.\r\n"),
        "finish(conn)",
        """
        out("route", tostring(mt.eom_check(conn, MT_HDRADD, "X-Fletching-Route", "vmta-b")))
        out("back", tostring(mt.eom_check(conn, MT_HDRDELETE, "X-Fletching-Route")))
        out("control", tostring(mt.eom_check(conn, MT_HDRDELETE, "X-GreenArrow-InstanceID")))
        local made = mt.getheader(conn, "DKIM-Signature", 0)
        out("below", tostring(mt.eom_check(conn, MT_HDRINSERT, "DKIM-Signature", made, 1)))
        """,
    ).end()
    assert [value for _, value in told.said[1:]] == [b"true"] * 4


def test_login_comes_from_its_macro_and_belongs_to_one_mail(milter: MilterDaemon) -> None:
    told = milter.talk(
        "conn = open()",
        'begin(conn, nil, "crm")',
        *("rcpt(conn)", FROM, header("X-GreenArrow-MailClass", "news"), "finish(conn)"),
        # Another session: without the macro, Postfix says nothing of a login.
        "other = open()",
        "conn = other",
        *("begin(conn)", "rcpt(conn)", FROM, "finish(conn)"),
    ).end()
    assert told.replies == [ACCEPT, ACCEPT]
    assert [fact["class"] for fact in facts(milter)] == ["crm", "news"]
    assert [fact.get("login") for fact in facts(milter)] == ["crm", None]
    assert [fact["client"] for fact in facts(milter)] == ["127.0.0.1", "127.0.0.1"]


def test_login_with_a_realm_is_the_user_without_it(milter: MilterDaemon) -> None:
    milter.mail(FROM, begin='nil, "crm@shop.example"', client="192.0.2.9")
    (fact,) = facts(milter)
    assert (fact["client"], fact["login"]) == ("192.0.2.9", "crm@shop.example")
    assert fact["class"] == "crm"


def test_login_is_escaped_and_truncated_in_the_log(milter: MilterDaemon) -> None:
    milter.mail(FROM, begin=f"nil, {lua(chr(10) + 'x' * 900)}")
    (line,) = milter.lines("mail")
    assert r'login="\n' + "x" * 254 + '" ' in line


def test_login_that_is_not_utf8_matches_no_user(milter: MilterDaemon) -> None:
    told = milter.mail(FROM, begin=f"nil, {lua(bytes([0xE9, 0xFF]))}", client="192.0.2.9")
    assert told.replies == [ACCEPT]
    # It has logged in, so it is trusted; the default class is its own.
    assert [fact["class"] for fact in facts(milter)] == ["news"]


def test_mails_of_one_connection_are_independent(milter: MilterDaemon) -> None:
    told = milter.talk(
        "conn = open()",
        *('begin(conn, "<one@example.com>")', 'rcpt(conn, "<first@example.org>")'),
        *(FROM, header("X-GreenArrow-InstanceID", "1one"), body(b"one\r\n"), "finish(conn)"),
        *("begin(conn)", 'rcpt(conn, "<second@example.org>")'),
        *(FROM, header("X-GreenArrow-InstanceID", "2two"), body(b"two\r\n"), "finish(conn)"),
        *('begin(conn, "<>")', 'rcpt(conn, "<third@example.org>")'),
        *(FROM, header("X-GreenArrow-InstanceID", "3three"), body(b"three\r\n"), "finish(conn)"),
    ).end()
    assert told.replies == [ACCEPT] * 3
    seen = [(fact["sendid"], fact["rcpt"]) for fact in facts(milter)]
    assert seen == [
        ("news1one", "first@example.org"),
        ("news2two", "second@example.org"),
        ("news3three", "third@example.org"),
    ]


@pytest.mark.parametrize(
    "until",
    [
        (),
        ("rcpt(conn)",),
        ("rcpt(conn)", FROM),
        ("rcpt(conn)", FROM, body(b"never said\r\n")),
    ],
    ids=["mail", "rcpt", "header", "body"],
)
def test_aborted_mail_leaves_no_state(milter: MilterDaemon, until: tuple[str]) -> None:
    told = milter.talk(
        "conn = open()",
        *('begin(conn, "<never@example.com>")', *until, "mt.abort(conn)"),
        *("begin(conn)", 'rcpt(conn, "<reader@example.org>")', FROM),
        *(header("X-GreenArrow-InstanceID", "5"), body(b"said\r\n"), "finish(conn)"),
        'added(conn, "DKIM-Signature")',
    ).end()
    assert told.replies == [ACCEPT]
    (fact,) = facts(milter)
    assert fact["rcpt"] == "reader@example.org"
    assert body_hash(told.all("DKIM-Signature")[0]) == sha256(b"said\r\n")


def body_hash(signature: bytes) -> str:
    """bh= of a DKIM signature: what the daemon took for the body."""
    found = re.search(rb"bh=([^;]*)", signature)
    assert found
    return re.sub(rb"\s", b"", found[1]).decode()


def sha256(octets: bytes) -> str:
    return base64.b64encode(hashlib.sha256(octets).digest()).decode()


# Relaxed canonicalisation leaves such a body alone (RFC 6376 section 3.4.4). Lines of 16 octets.
LONG = b"".join(b"%014d\r\n" % number for number in range(12000))


@pytest.mark.parametrize(
    ("size", "text"), [(1, LONG[:3200]), (16, b"x" + LONG[:32000]), (65535, LONG)]
)
def test_body_is_complete_for_any_chunk_size(milter: MilterDaemon, size: int, text: bytes) -> None:
    assert any(text[end - 1 : end + 1] == b"\r\n" for end in range(size, len(text), size))
    told = milter.talk(
        "conn = open()",
        *("begin(conn)", "rcpt(conn)", FROM, body(text, size), "finish(conn)"),
        'added(conn, "DKIM-Signature")',
    ).end()
    assert told.replies == [ACCEPT]
    assert body_hash(told.all("DKIM-Signature")[0]) == sha256(text)


@pytest.mark.parametrize(
    "value",
    [b"caf\xe9", "Grüße".encode(), b"one\n\ttwo\n   three", b"", b"\ttabbed", b"a\x01\x7fb"],
)
def test_header_bytes_arrive_unchanged(milter: MilterDaemon, value: bytes) -> None:
    subject = header("Subject", value)
    added = ("DKIM-Signature", "Date", "Message-ID")
    told = milter.mail(FROM, subject, begin='nil, "crm"', want=added)
    assert told.replies == [ACCEPT]
    signature = b" " + told.all("DKIM-Signature")[0].replace(b"\n", b"\r\n")
    fields = [
        Header(b"DKIM-Signature", signature),
        Header(b"From", b" app@example.com"),
        Header(b"Subject", b" " + value.replace(b"\n", b"\r\n")),
        *(Header(name.encode(), b" " + told.all(name)[0]) for name in added[1:]),
    ]
    (key,) = read_dkim_keys(load(milter.path).dkim.keys)
    assert plainly_verifies(Message(tuple(fields), b"Hello.\r\n"), key)


def test_untrusted_client_has_no_control(milter: MilterDaemon) -> None:
    told = milter.talk(
        'conn = open("192.0.2.9")',
        *("begin(conn)", "rcpt(conn)", FROM, header("X-GreenArrow-MailClass", "crm")),
        *(body(b"Hello.\r\n"), "finish(conn)"),
        'out("gone", tostring(mt.eom_check(conn, MT_HDRDELETE, "X-GreenArrow-MailClass")))',
        'added(conn, "X-Mailer-Info")',
    ).end()
    assert told.replies == [ACCEPT]
    assert told.all("gone") == [b"true"]
    assert told.all("X-Mailer-Info") == [b""]


def test_refusal_has_its_code_and_rule(milter: MilterDaemon) -> None:
    told = milter.talk(
        "conn = open()",
        *("begin(conn)", "rcpt(conn)", FROM, header("X-GreenArrow-MailClass", "strict")),
        *(header("X-GreenArrow-InstanceID", "%s%n 50%"), body(b"Hello.\r\n"), "finish(conn)"),
        """
        local rule = "X-GreenArrow-InstanceID: must start with a digit"
        out("said", tostring(mt.eom_check(conn, MT_SMTPREPLY, "550", "5.6.0", rule)))
        """,
    ).end()
    assert told.replies == [REPLY]
    assert told.all("said") == [b"true"]
    assert [fact["verdict"] for fact in facts(milter)] == ["reject"]


def test_error_in_a_callback_without_reply_gets_451(milter: MilterDaemon) -> None:
    told = milter.talk(
        "conn = open()",
        *("begin(conn)", "rcpt(conn)", FROM, header("X-Näme", "x"), body(b"Hello.\r\n")),
        "finish(conn)",
        """
        local why = "internal error, try again"
        out("said", tostring(mt.eom_check(conn, MT_SMTPREPLY, "451", "4.3.0", why)))
        """,
        *("begin(conn)", "rcpt(conn)", FROM, "finish(conn)"),
    ).end()
    assert told.replies == [REPLY, ACCEPT]
    assert told.all("said") == [b"true"]
    (line,) = milter.lines("mail_failed")
    assert "queue_id=4TestQueueId verdict=tempfail client=127.0.0.1 error=" in line
    traces = milter.lines("traceback")
    assert all(trace.startswith("traceback queue_id=4TestQueueId | ") for trace in traces)
    assert "UnicodeEncodeError" in traces[-1]


def test_paused_virtual_mta_is_skipped_at_once(milter: MilterDaemon) -> None:
    milter.mail(FROM)
    milter.fletching("mta", "pause", "B")
    milter.mail(FROM, header("X-GreenArrow-MtaID", "b"))
    milter.fletching("mta", "resume", "b")
    milter.mail(FROM)
    assert [fact["mta"] for fact in facts(milter)] == ["b", "a", "b"]


@pytest.mark.parametrize(
    ("mailer", "client", "trusted"),
    [('""', "127.0.0.1", True), ('""', "192.0.2.9", False), ('"smtp"', "192.0.2.9", False)],
)
def test_only_mail_of_this_host_is_local(
    milter: MilterDaemon, mailer: str, client: str, trusted: bool
) -> None:
    milter.talk(
        f"conn = open({lua(client)})",
        *("begin(conn)", f"rcpt(conn, nil, {mailer})", FROM, body(b"x\r\n"), "finish(conn)"),
    ).end()
    (fact,) = facts(milter)
    assert ("class" in fact) == trusted


def test_no_client_input_breaks_a_log_line(milter: MilterDaemon) -> None:
    evil = "<a\n<3>mail queue_id=forged\x1b[31m \"'\\=\u202e@example.org>"
    milter.talk(
        "conn = open()",
        *("begin(conn)", f"rcpt(conn, {lua(evil)})", FROM, body(b"x\r\n"), "finish(conn)"),
    ).end()
    milter.wait_for("mail")
    log = (milter.folder / "log").read_bytes().decode()
    assert log.count("\n") == 1
    assert log[:-1].isprintable()
    assert "forged" in log
