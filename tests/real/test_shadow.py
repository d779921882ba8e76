"""Shadow mode with a real Postfix: mail arrives as it was sent, whatever fails or would happen."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from fletching.shadow_counts import VERDICT
from fletching.store import keys, shadow
from fletching.store.suppression import Suppression

from sandbox import sinks as sinks_module
from sandbox.postfix import Postfix, Reply, send
from sandbox.processes import wait_until
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink, SunkMail
from tests.stores import open_store

from .fletching import Fletching, submit_until_taken
from .mails import MIME, NEWSLETTER, RECIPIENT, SENDER, links, mail

pytestmark = pytest.mark.slow

TRANSPORTS = ("smtp", "relay", "vmta-a", "vmta-b", "vmta-transactional")
PAGE = '<p><a href="https://shop.example.com/?a=1&amp;b=é">Grüße</a> \t\r\n</p>\r\n'.encode()
HTML = MIME.removesuffix(b"\r\n"), b"Content-Type: text/html; charset=utf-8"
CONTROLS = NEWSLETTER, b"X-GreenArrow-InstanceID: 1", b"X-GreenArrow-Unknown: x"
RULES = [
    {"when": {"header": {"X-Kind": "refuse"}}, "do": {"reject": "not today"}},
    {"when": {"header": {"X-Kind": "discard"}}, "do": {"discard": True}},
    {"when": {"header": {"X-Kind": "hold"}}, "do": {"hold": "look at it"}},
    {"when": {"header": {"X-Kind": "redirect"}}, "do": {"redirect": ["other@gmail.example"]}},
]
SHADOW = {"mode": "shadow", "on_invalid_header": "reject", "suppress": "refuse", "rules": RULES}

# A bug in what is computed last.
BUG = """
from fletching.mail import dkim
def sign(*_): raise RuntimeError("a bug")
dkim.sign = sign
from fletching.cli.main import main
main()
"""


class Site:
    """Postfix, Fletching in shadow, and everything that arrives."""

    def __init__(self, postfix: Postfix, fletching: Fletching, sink: Sink, redis: RedisServer):
        self.postfix, self.fletching, self.sink, self.redis = postfix, fletching, sink, redis

    def submit(self, raw: bytes, *to: str) -> Reply:
        with self.postfix.client() as smtp:
            return send(smtp, raw, SENDER, to or [RECIPIENT])

    def arrived(self) -> list[SunkMail]:
        self.postfix.wait_empty()
        found = list(self.sink.mails)
        self.sink.clear()
        return found

    def configure(self, change: Mapping[str, object]) -> None:
        self.fletching.configure(change)
        assert self.fletching.reload() == "done"
        self.fletching.settle()


@pytest.fixture(scope="module")
def _site(place: Path) -> Iterator[Site]:
    with (
        RedisServer() as redis,
        Sink("all") as sink,
        Fletching(place / "fletching", redis.unix_url, SHADOW) as fletching,
        Postfix(place / "postfix", dict.fromkeys(TRANSPORTS, sink.port)) as postfix,
    ):
        fletching.join(postfix)
        yield Site(postfix, fletching, sink, redis)


@pytest.fixture
def site(_site: Site) -> Iterator[Site]:
    yield _site
    _site.configure(SHADOW)
    _site.sink.clear()


def as_sent(*fields: bytes, body: bytes = PAGE) -> bytes:
    """The mail without control headers."""
    return mail(*(each for each in fields if not each.startswith(b"X-Green")), body=body)


def test_mail_in_shadow_arrives_byte_for_byte_without_control_headers(site: Site) -> None:
    fields = (
        *HTML,
        *CONTROLS,
        b"List-Unsubscribe: <mailto:a@example.com>",
        b"X-Odd:  two  spaces ",
    )
    reply = site.submit(mail(*fields, body=PAGE))
    assert reply.accepted, reply
    (arrived,) = site.arrived()
    assert arrived.below_received == as_sent(*fields)
    assert arrived.sender == SENDER
    line = site.fletching.line_of(reply)
    for fact in ("verdict=accept", "mode=shadow", "would=accept", "would_links=1", "edits=3"):
        assert f" {fact} " in line, line
    assert " would_transport=vmta-" in line
    assert " campaign=" not in line


def test_nothing_but_counts_of_shadow_mail_is_written_to_redis(site: Site) -> None:
    assert site.submit(mail(*HTML, *CONTROLS, body=PAGE)).accepted
    site.arrived()
    site.fletching.settled_log()
    wait_until("nothing is counted", lambda: bool(list(site.redis.client.scan_iter())))
    prefix = keys.shadow(0).rstrip("0")
    # A client of the sandbox may give bytes or text.
    assert {str(key).partition(prefix)[1] for key in site.redis.client.scan_iter()} == {prefix}


REFUSED = {
    "a rule that rejects": (b"X-Kind: refuse", "would=reject"),
    "an invalid control header": (b"X-GreenArrow-DKIM: {", "would=reject"),
    "a rule that discards": (b"X-Kind: discard", "would_discarded="),
    "a rule that holds": (b"X-Kind: hold", "would_hold="),
    "a rule that redirects": (b"X-Kind: redirect", "would_redirected="),
}


@pytest.mark.parametrize("name", REFUSED)
def test_mail_is_sent_that_live_mode_would_not_send(site: Site, name: str) -> None:
    field, fact = REFUSED[name]
    fields = (*HTML, NEWSLETTER, field)
    reply = site.submit(mail(*fields, body=PAGE))
    assert reply.accepted, reply
    (arrived,) = site.arrived()
    assert arrived.below_received == as_sent(*fields)
    assert arrived.recipients == (RECIPIENT,)
    assert fact in site.fletching.line_of(reply)


def test_suppressed_recipient_gets_mail_and_the_log_says_who_would_not(site: Site) -> None:
    Suppression(open_store(site.redis.unix_url)).add("t100", RECIPIENT, "complained", 1000)
    try:
        reply = site.submit(mail(NEWSLETTER))
        assert reply.accepted, reply
        (arrived,) = site.arrived()
        assert arrived.recipients == (RECIPIENT,)
        line = site.fletching.line_of(reply)
        assert "would=reject" in line
        assert 'would_reply="550 5.7.1' in line
    finally:
        site.redis.client.flushall()


def test_control_headers_stay_if_they_are_kept(site: Site) -> None:
    site.configure(SHADOW | {"shadow_keeps_headers": True})
    whole = mail(*HTML, *CONTROLS, body=PAGE)
    reply = site.submit(whole)
    (arrived,) = site.arrived()
    sinks_module.leaks.clear()
    assert arrived.below_received == whole
    assert " edits=0 " in site.fletching.line_of(reply)


def test_reload_makes_a_class_live_and_a_reload_takes_it_back(site: Site) -> None:
    modes = []
    for mode in ("shadow", "live", "shadow"):
        site.configure(SHADOW | {"mail_classes": {"newsletter": {"mode": mode}}})
        reply = submit_until_taken(
            site.postfix, mail(*HTML, NEWSLETTER, body=PAGE), SENDER, [RECIPIENT]
        )
        (arrived,) = site.arrived()
        modes.append("shadow" if "mode=shadow" in site.fletching.line_of(reply) else "live")
        assert bool(links(arrived)) == (mode == "live")
        assert (b"DKIM-Signature" in arrived.raw) == (mode == "live")
    assert modes == ["shadow", "live", "shadow"]


def numbered(raw: bytes, number: int) -> bytes:
    """The mail with a Message-ID of its own."""
    return raw.replace(b"<1@", b"<%d@" % number)


def test_share_of_a_class_is_live_and_explain_knows_which(site: Site, tmp_path: Path) -> None:
    site.configure(SHADOW | {"mail_classes": {"newsletter": {"shadow": 0.5}}})
    live: list[int] = []
    for number in range(30):
        raw = numbered(mail(*HTML, NEWSLETTER, body=PAGE), number)
        submit_until_taken(site.postfix, raw, SENDER, [RECIPIENT])
        (arrived,) = site.arrived()
        if links(arrived):
            live.append(number)
        else:
            assert arrived.raw.endswith(
                as_sent(*HTML, NEWSLETTER).replace(b"<1@", b"<%d@" % number)
            )
        if number < 4:
            message = tmp_path / f"{number}.eml"
            message.write_bytes(raw)
            words = ("explain", str(message), "--json", "--rcpt", RECIPIENT)
            decisions = json.loads(site.fletching.command(*words))["decisions"]
            (found,) = [each["value"] for each in decisions if each["setting"] == "mode"]
            assert (found == "live") == (number in live)
    assert 5 < len(live) < 25


def test_mail_in_shadow_is_accepted_while_redis_is_unavailable(site: Site) -> None:
    site.redis.kill()
    try:
        reply = site.submit(mail(*HTML, *CONTROLS, body=PAGE))
        assert reply.accepted, reply
        (arrived,) = site.arrived()
        assert arrived.below_received == as_sent(*HTML, *CONTROLS)
        assert "would=tempfail" in site.fletching.line_of(reply)
    finally:
        site.redis.start()
    # What was counted meanwhile is not lost.
    store = open_store(site.redis.unix_url)

    def tempfails() -> int:
        _, counts = shadow.since(store, 0, int(time.time()))
        return sum(n for each, n in counts.items() if each[1:] == (VERDICT, "tempfail"))

    wait_until("the mail is not counted", lambda: tempfails() >= 1)


def test_error_of_ours_does_not_reach_mail_in_shadow(place: Path, site: Site) -> None:
    with (
        Fletching(place / "buggy", site.redis.unix_url, SHADOW, program=("-c", BUG)) as fletching,
        Sink("buggy") as sink,
        Postfix(place / "before-buggy", dict.fromkeys(TRANSPORTS, sink.port)) as postfix,
    ):
        fletching.join(postfix)
        with postfix.client() as smtp:
            reply = send(smtp, mail(*HTML, *CONTROLS, body=PAGE), SENDER, [RECIPIENT])
        assert reply.accepted, reply
        (arrived,) = sink.wait()
        assert arrived.below_received == as_sent(*HTML, *CONTROLS)
        assert "would=error" in fletching.line_of(reply)
        assert "mail_failed" in fletching.log()
        assert "a bug" in fletching.log()
        fletching.configure(SHADOW | {"mode": "live"})
        assert fletching.reload() == "done"
        fletching.settle()
        with postfix.client() as smtp:
            assert send(smtp, mail(NEWSLETTER), SENDER, [RECIPIENT]).code == 451


def test_report_sums_up_what_was_sent(site: Site) -> None:
    site.redis.client.flushall()
    replies = [
        site.submit(mail(*HTML, NEWSLETTER, b"X-Kind: refuse", body=PAGE)),
        site.submit(mail(*HTML, NEWSLETTER, b"X-GreenArrow-Nothing: 1", body=PAGE)),
        site.submit(mail(b"X-GreenArrow-MailClass: crm")),
    ]
    assert all(each.accepted for each in replies)
    site.arrived()
    site.fletching.settled_log()

    def report() -> dict[str, object]:
        found: dict[str, object] = json.loads(site.fletching.command("shadow", "report", "--json"))
        return found

    found = report()
    assert [found[each] for each in ("mails", "accept", "reject", "links_tracked")] == [3, 2, 1, 1]
    assert found["replies"] == [{"reply": "550 5.7.1 not today", "mails": 1}]
    assert {"warning": "X-GreenArrow-Nothing: unknown control header", "mails": 1} in found[
        "warnings"
    ]  # type: ignore[operator]
    assert "Time from the end of a mail" in site.fletching.command("shadow", "report")
