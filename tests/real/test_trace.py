"""A trace from end to end: Postfix, milter, Redis, log reader, web service, and the command."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fletching.cli.main import main

from sandbox.postfix import Postfix
from sandbox.processes import free_port, wait_until
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink, SunkMail
from sandbox.web import ask

from . import redis_rights
from .fletching import Fletching, submit_until_taken
from .mails import MIME, NEWSLETTER, RECIPIENT, SENDER, TRANSACTIONAL, links, mail
from .test_bounces import report

pytestmark = pytest.mark.slow

Sinks = Mapping[str, Sink]
ACCEPTED, DELIVERY = "accepted", "delivery_attempt"
FEEDBACK = "fbl@example.com"
TO_A = b"X-GreenArrow-MtaID: a"


@dataclass(frozen=True, slots=True)
class Site:
    """All daemons of one host, behind Postfix."""

    fletching: Fletching
    web: int

    def trace(self, what: str) -> list[dict[str, Any]]:
        """The messages that the command shows; none if it finds none."""
        words = ["trace", what, "--json", "--config", str(self.fletching.config_path)]
        done = CliRunner().invoke(main, words)
        if done.exit_code == 1:
            assert done.stdout == ""
            return []
        assert done.exit_code == 0, done.stderr
        messages: list[dict[str, Any]] = json.loads(done.stdout)["messages"]
        return messages

    def until(self, what: str, *types: str) -> dict[str, Any]:
        """The one message, as soon as it has events of these types, in order of time."""

        def seen() -> bool:
            found = self.trace(what)
            return bool(found) and sorted(_types(found[0])) == sorted(types)

        wait_until(f"the trace of {what} has other events than {types}", seen)
        (message,) = self.trace(what)
        assert _types(message)[0] == ACCEPTED
        return message


def _types(message: dict[str, Any]) -> list[str]:
    return [event["event_type"] for event in message["events"]]


@pytest.fixture(scope="module")
def running_site(
    place: Path, running_redis: RedisServer, running_postfix: Postfix
) -> Iterator[Site]:
    running_redis.reset()
    web = free_port()
    change = {
        "web": {"listen": f"127.0.0.1:{web}"},
        "postfix": {"log": str(running_postfix.root / "maillog")},
        "lmtp": {"listen": f"unix:{place}/site/sockets/lmtp.sock"},
        "feedback_mailbox": FEEDBACK,
    }
    with ExitStack() as stack:
        redis_url = redis_rights.limited(running_redis)
        daemons = Fletching(place / "site", redis_url, change, command="run")
        yield Site(stack.enter_context(daemons), web)
        assert redis_rights.denied(running_redis) == []


@pytest.fixture
def site(running_site: Site, postfix: Postfix) -> Site:
    running_site.fletching.join(postfix)
    postfix.set(relay_domains="example.com")
    return running_site


def sent(
    postfix: Postfix, sink: Sink, *fields: bytes, to: tuple[str, ...] = (RECIPIENT,)
) -> SunkMail:
    """A newsletter with a link, as its recipients get it; the queue id is that of the reply."""
    body = b'<p><a href="https://shop.example/offers">Offers</a></p>\r\n'
    html = MIME + b"Content-Type: text/html"
    reply = submit_until_taken(postfix, mail(*fields, html, body=body), SENDER, list(to))
    assert reply.accepted, reply
    return sink.wait()[-1]


def test_life_of_a_message(site: Site, postfix: Postfix, sinks: Sinks) -> None:
    instance = b"X-GreenArrow-InstanceID: 1life"
    arrived = sent(postfix, sinks["vmta-a"], NEWSLETTER, instance, TO_A)
    ask(site.web, links(arrived)[0])
    ask(site.web, links(arrived)[-1])
    unsubscribe = str(arrived.message["List-Unsubscribe"]).partition("<")[2].partition(">")[0]
    ask(site.web, unsubscribe, "POST", "List-Unsubscribe=One-Click", {})
    types = (ACCEPTED, DELIVERY, "engine_click", "engine_open", "engine_unsub")
    message = site.until(RECIPIENT, *types)
    assert message["sendid"] == "newsletter1life"
    assert (message["email"], message["listid"], message["mtaid"]) == (RECIPIENT, "t100", "a")
    assert message["state"] == "It was delivered to the recipient's mail server."
    by_type = {event["event_type"]: event for event in message["events"]}
    delivery = by_type[DELIVERY]
    assert (delivery["status"], delivery["outmtaid"]) == ("success", "vmta-a")
    assert delivery["message"].startswith("250")
    assert delivery["relay"] == "127.0.0.1[127.0.0.1]"
    assert by_type["engine_click"]["click_url"] == "https://shop.example/offers"
    assert f"{message['queue_id']}: from=<{arrived.sender}>" in postfix.log()
    names = (
        *(message["queue_id"], "<1@example.com>", arrived.sender, links(arrived)[0]),
        str(arrived.message["X-Mailer-Info"]),
    )
    for name in names:
        (found,) = site.trace(name)
        assert (found["campaign"], found["message_number"]) == (message["campaign"], 1), name


def test_words_that_an_operator_reads_out(site: Site, postfix: Postfix, sinks: Sinks) -> None:
    recipient = "words@gmail.example"
    fields = (NEWSLETTER, b"X-GreenArrow-InstanceID: 1words", b"X-GreenArrow-MtaID: nobody")
    submit_until_taken(postfix, mail(*fields), SENDER, [recipient])
    site.until(recipient, ACCEPTED, DELIVERY)
    told = site.fletching.command("trace", recipient)
    assert "Message 1 of campaign newsletter1words" in told
    assert "Accepted from the application, to be sent by VirtualMTA " in told
    assert "Warning: " in told
    assert "Delivered: accepted by 127.0.0.1[127.0.0.1]." in told


def test_deferred_and_then_delivered(site: Site, postfix: Postfix, sinks: Sinks) -> None:
    recipient = "later@gmail.example"
    _lead(postfix, "vmta-transactional", free_port())
    fields = (TRANSACTIONAL, b"X-GreenArrow-InstanceID: 1later")
    submit_until_taken(postfix, mail(*fields), SENDER, [recipient])
    message = site.until(recipient, ACCEPTED, DELIVERY)
    assert message["events"][1]["status"] == "deferral"
    assert "refused" in message["events"][1]["message"]
    assert message["state"].startswith("It is not delivered yet: after 1 attempt,")
    _lead(postfix, "vmta-transactional", sinks["vmta-transactional"].port)
    postfix.command("postqueue", "-f")
    message = site.until(recipient, ACCEPTED, DELIVERY, DELIVERY)
    assert [event.get("status") for event in message["events"]] == [None, "deferral", "success"]
    assert message["state"] == "It was delivered to the recipient's mail server."


class Refusing(Sink):
    """Knows no recipient."""

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, *words: Any) -> str:
        return f"550 5.1.1 <{words[0]}>: User unknown"


def test_refused_mail(site: Site, postfix: Postfix) -> None:
    recipient = "refused@gmail.example"
    with Refusing("refusing") as sink:
        _lead(postfix, "vmta-transactional", sink.port)
        fields = (TRANSACTIONAL, b"X-GreenArrow-InstanceID: 1refused")
        submit_until_taken(postfix, mail(*fields), SENDER, [recipient])
        message = site.until(recipient, *(ACCEPTED, DELIVERY, "bounce_all"))
    delivery, bounce = message["events"][1:]
    assert (delivery["status"], delivery["bounce_reason"]) == ("failure", "user_unknown")
    assert f"550 5.1.1 <{recipient}>: User unknown" in delivery["message"]
    assert (bounce["bounce_type"], bounce["synchronous"]) == ("h", True)
    told = site.fletching.command("trace", recipient)
    assert "It was not delivered: the recipient's mail server refused it." in told
    assert "Refused by 127.0.0.1[127.0.0.1]: the mailbox does not exist." in told


def test_bounce_and_complaint_that_come_by_mail(site: Site, postfix: Postfix, sinks: Sinks) -> None:
    recipient = "bounces@gmail.example"
    fields = (NEWSLETTER, b"X-GreenArrow-InstanceID: 1mail", TO_A)
    arrived = sent(postfix, sinks["vmta-a"], *fields, to=(recipient,))
    site.until(recipient, ACCEPTED, DELIVERY)
    assert postfix.submit(notification(recipient), "", [arrived.sender]).accepted
    site.until(recipient, ACCEPTED, DELIVERY, "bounce_all", "bounce_bad_address")
    header = arrived.raw.partition(b"\r\n\r\n")[0]
    assert postfix.submit(report(header), "fbl@isp.example", [FEEDBACK]).accepted
    types = (ACCEPTED, DELIVERY, "bounce_all", "bounce_bad_address", "scomp")
    message = site.until(recipient, *types)
    by_type = {event["event_type"]: event for event in message["events"]}
    assert by_type["bounce_all"]["bounce_reason"] == "user_unknown"
    assert "550 5.1.1" in by_type["bounce_all"]["bounce_text"]
    assert "synchronous" not in by_type["bounce_all"]
    told = site.fletching.command("trace", recipient)
    for sentence in (
        "The recipient complained about it.",
        "Returned by mail, a hard bounce: the mailbox does not exist.",
        "The address is suppressed from now on: it is a bad address.",
        "The recipient complained (abuse).",
    ):
        assert sentence in told


def notification(recipient: str) -> bytes:
    """A delivery status notification (RFC 3464) of a server that had accepted the mail."""
    return (
        "From: MAILER-DAEMON@gmail.example\r\nTo: bounces@example.com\r\n"
        "Subject: Undelivered\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
        "--b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n"
        "--b\r\nContent-Type: message/delivery-status\r\n\r\n"
        "Reporting-MTA: dns; mx.gmail.example\r\n\r\n"
        f"Final-Recipient: rfc822; {recipient}\r\nAction: failed\r\nStatus: 5.1.1\r\n"
        f"Diagnostic-Code: smtp; 550 5.1.1 <{recipient}>: User unknown\r\n\r\n--b--\r\n"
    ).encode()


def _lead(postfix: Postfix, transport: str, port: int) -> None:
    """Has a transport deliver to a port of this host."""
    postfix.command("postconf", "-P", f"{transport}/unix/smtp_fallback_relay=[127.0.0.1]:{port}")
    postfix.restart()


def test_mail_to_several_recipients(site: Site, postfix: Postfix, sinks: Sinks) -> None:
    recipients = ("one@gmail.example", "two@yahoo.example")
    fields = (NEWSLETTER, b"X-GreenArrow-InstanceID: 1several", TO_A)
    submit_until_taken(postfix, mail(*fields), SENDER, list(recipients))
    for recipient in recipients:
        message = site.until(recipient, ACCEPTED, DELIVERY, DELIVERY)
        assert message["email"] == ""
        assert message["recipients"] == list(recipients)
    assert {event.get("recipient") for event in message["events"]} == {None, *recipients}
    told = site.fletching.command("trace", recipients[0])
    for recipient in recipients:
        assert f"Delivered for {recipient}: accepted by" in told


def test_obscured_address(
    site: Site, postfix: Postfix, sinks: Sinks, running_redis: RedisServer
) -> None:
    real, obscured = "Nobody.Must.Know@gmail.example", "subscriber-4711"
    fields = (
        *(NEWSLETTER, b"X-GreenArrow-InstanceID: 1obscured", TO_A),
        b"X-GreenArrow-Obscured-Email: " + obscured.encode(),
    )
    arrived = sent(postfix, sinks["vmta-a"], *fields, to=(real,))
    ask(site.web, links(arrived)[0])
    message = site.until(obscured, ACCEPTED, DELIVERY, "engine_click")
    assert message["email"] == obscured
    assert site.trace(real) == []
    (same,) = site.trace(message["queue_id"])
    assert same["campaign"] == message["campaign"]
    told = site.fletching.command("trace", obscured)
    kept = [told.encode(), json.dumps(same).encode(), *everything(running_redis)]
    kept += [path.read_bytes() for path in site.fletching.directory.rglob("*") if path.is_file()]
    for content in kept:
        assert b"must.know" not in content.lower()


def everything(redis: RedisServer) -> Iterator[bytes]:
    """All names and values in Redis."""
    with redis.raw_client() as client:
        for key in client.scan_iter():
            yield key
            match client.type(key):
                case b"list":
                    yield from client.lrange(key, 0, -1)
                case b"hash":
                    yield from (part for pair in client.hgetall(key).items() for part in pair)
                case b"string":
                    yield client.get(key)
                case b"set":
                    yield from client.smembers(key)
                case b"zset":
                    yield from client.zrange(key, 0, -1)
                case b"stream":
                    yield from (
                        value for _, found in client.xrange(key) for value in found.values()
                    )
