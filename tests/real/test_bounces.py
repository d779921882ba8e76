"""Returned mail through Postfix to the LMTP service: each is one event, or kept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from fletching.store.events import EventLog
from fletching.store.suppression import Suppression

from sandbox.lmtp import LmtpClient
from sandbox.postfix import Postfix
from sandbox.postfix_config import LOCAL_USER
from sandbox.processes import wait_until
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink
from tests.stores import open_store

from .fletching import Fletching
from .mails import NEWSLETTER, RECIPIENT, SENDER, mail
from .test_pieces import Check, apply

pytestmark = pytest.mark.slow

Sinks = Mapping[str, Sink]

TO_A = b"X-GreenArrow-MtaID: a"
REAL, OBSCURED = "ada.real@gmail.example", "h4sh@obscured.example"
HIDDEN = b"X-GreenArrow-Obscured-Email: " + OBSCURED.encode()
FEEDBACK = "fbl@example.com"
NOTHING = b"Subject: x\r\n\r\nbody\r\n"


@dataclass(frozen=True)
class Site:
    """All daemons of one host behind Postfix, which hands them the mailboxes."""

    fletching: Fletching
    redis: RedisServer

    def events(self, count: int) -> list[dict[str, Any]]:
        """The events of returned mail, once there are so many; more are an error."""
        stream = EventLog(open_store(self.redis.unix_url))

        def found() -> list[dict[str, Any]]:
            return [json.loads(event) for _, event in stream.read("0", 10_000)]

        wait_until(f"not {count} events", lambda: len(found()) >= count)
        events = found()
        assert len(events) == count, events
        return events

    def suppressed(self) -> dict[str, str]:
        lists = Suppression(open_store(self.redis.unix_url))
        return {entry.address: entry.reason for entry in lists.entries()}

    @property
    def state_dir(self) -> Path:
        return self.fletching.directory / "state"


@pytest.fixture
def site(fresh: Path, postfix: Postfix, redis: RedisServer) -> Iterator[Site]:
    listen = f"unix:{fresh}/sockets/lmtp.sock"
    change = {"lmtp": {"listen": listen}, "feedback_mailbox": FEEDBACK}
    with Fletching(fresh, redis.unix_url, change, command="run") as fletching:
        fletching.join(postfix)
        postfix.set(relay_domains="example.com")
        yield Site(fletching, redis)


def refused(sinks: Sinks, text: str) -> None:
    sinks["vmta-a"].answer_to = lambda _: text


def test_bounce_of_postfix_is_an_event_of_its_message(
    site: Site, postfix: Postfix, sinks: Sinks
) -> None:
    refused(sinks, f"550 5.1.1 <{RECIPIENT}>: no such user here")
    fields = (NEWSLETTER, TO_A, b"X-GreenArrow-Click-Tracking-ID: order 1")
    assert postfix.submit(mail(*fields), SENDER, [RECIPIENT]).accepted
    (event,) = site.events(1)
    postfix.wait_empty()
    assert event["event_type"] == "bounce_all"
    assert event["email"] == RECIPIENT
    assert event["message_number"] == 1
    assert event["mail_class"] == "newsletter"
    assert event["listid"] == "t100"
    assert event["click_tracking_id"] == "order 1"
    assert event["mtaid"] == "a"
    assert event["bounce_type"] == "h"
    assert event["bounce_code"] == 550
    assert event["bounce_status"] == "5.1.1"
    assert event["bounce_reason"] == "user_unknown"
    assert "no such user here" in event["bounce_text"]
    assert event["synchronous"] is False
    assert event["attributed"] is True
    assert list((site.state_dir / "unreadable").iterdir()) == []
    assert "returned_mail kind=bounce recipient=bounces+" in site.fletching.log()


def test_obscured_recipient_is_nowhere(site: Site, postfix: Postfix, sinks: Sinks) -> None:
    refused(sinks, f"550 5.1.1 <{REAL.upper()}>: {REAL.partition('@')[0]} is unknown here")
    assert postfix.submit(mail(NEWSLETTER, TO_A, HIDDEN), SENDER, [REAL]).accepted
    (event,) = site.events(1)
    postfix.wait_empty()
    assert event["email"] == OBSCURED
    assert event["bounce_reason"] == "user_unknown"
    assert "unknown here" in event["bounce_text"]
    site.fletching.stop()
    folders = (site.fletching.directory, site.redis.directory)
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert any(OBSCURED.encode() in path.read_bytes() for path in files)
    for name in (REAL, REAL.partition("@")[0]):
        found = [p for p in files if re.search(re.escape(name.encode()), p.read_bytes(), re.I)]
        assert found == []


def test_mailed_unsubscribe_suppresses_its_recipient(
    site: Site, postfix: Postfix, sinks: Sinks
) -> None:
    assert postfix.submit(mail(NEWSLETTER, TO_A), SENDER, [RECIPIENT]).accepted
    (arrived,) = sinks["vmta-a"].wait()
    uris = str(arrived.message["List-Unsubscribe"])
    found = re.search(r"<mailto:([^?>]+)\?subject=([^>\s]+)>", uris)
    assert found is not None
    answer = f"From: {RECIPIENT}\r\nTo: {found[1]}\r\nSubject: {found[2]}\r\n\r\n\r\n"
    assert postfix.submit(answer.encode(), RECIPIENT, [found[1]]).accepted
    (event,) = site.events(1)
    assert (event["event_type"], event["email"]) == ("engine_unsub", RECIPIENT)
    assert event["click_url"] == ""
    assert site.suppressed() == {RECIPIENT: "unsubscribed"}


def test_complaint_suppresses_its_recipient(site: Site, postfix: Postfix, sinks: Sinks) -> None:
    assert postfix.submit(mail(NEWSLETTER, TO_A), SENDER, [RECIPIENT]).accepted
    (arrived,) = sinks["vmta-a"].wait()
    header = arrived.raw.partition(b"\r\n\r\n")[0]
    assert postfix.submit(report(header), "fbl@isp.example", [FEEDBACK]).accepted
    (event,) = site.events(1)
    assert (event["event_type"], event["email"]) == ("scomp", RECIPIENT)
    assert event["feedback_type"] == "abuse"
    assert event["attributed"] is True
    assert site.suppressed() == {RECIPIENT: "complained"}


def report(header: bytes) -> bytes:
    """A report of abuse (RFC 5965) about a mail with that header."""
    return (
        b"From: fbl@isp.example\r\nTo: fbl@example.com\r\nSubject: complaint\r\n"
        b"MIME-Version: 1.0\r\n"
        b"Content-Type: multipart/report; report-type=feedback-report; boundary=b\r\n\r\n"
        b"--b\r\nContent-Type: text/plain\r\n\r\nThis is a complaint.\r\n"
        b"--b\r\nContent-Type: message/feedback-report\r\n\r\n"
        b"Feedback-Type: abuse\r\nUser-Agent: isp/1\r\nVersion: 1\r\n\r\n"
        b"--b\r\nContent-Type: text/rfc822-headers\r\n\r\n" + header + b"\r\n\r\n--b--\r\n"
    )


def test_mail_that_is_nothing_is_kept(site: Site, postfix: Postfix) -> None:
    raw = b"From: joe@example.net\r\nSubject: Hello?\r\n\r\nAnybody there?\r\n"
    for mailbox in ("bounces@example.com", "unsubscribe@example.com", FEEDBACK.upper()):
        assert postfix.submit(raw, "joe@example.net", [mailbox]).accepted
    folder = site.state_dir / "unreadable"
    wait_until("the mails are not kept", lambda: len(list(folder.glob("*.eml"))) == 3)
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.read_bytes().startswith(b"X-Fletching-Sender: joe@example.net\r\n")
        assert path.read_bytes().endswith(b"\r\n\r\nAnybody there?\r\n")
    assert site.events(0) == []
    postfix.wait_empty()


def test_mail_waits_in_the_queue_while_the_service_is_away(
    site: Site, postfix: Postfix, sinks: Sinks
) -> None:
    site.fletching.stop()
    raw = b"Subject: x\r\n\r\nbody\r\n"
    postfix.set(smtpd_milters="")
    assert postfix.submit(raw, "joe@example.net", ["bounces@example.com"]).accepted
    wait_until("it is not deferred", lambda: "status=deferred" in postfix.log())
    site.fletching.start()
    folder = site.state_dir / "unreadable"
    wait_until("the mail is not kept", lambda: len(list(folder.glob("*.eml"))) == 1)
    postfix.wait_empty()


# Copies


def copying(site: Site, postfix: Postfix, to: str, port: int | None = None) -> None:
    """Every mail without a class would be a newsletter, if a copy were not left as it is."""
    site.fletching.stop()
    site.fletching.configure(
        {
            "lmtp": {"listen": f"unix:{site.fletching.socket.with_name('lmtp.sock')}"},
            "feedback_mailbox": FEEDBACK,
            "bounces": {"copy_to": to, "submit": f"127.0.0.1:{port or postfix.port}"},
            "default_mail_class": "newsletter",
        }
    )
    site.fletching.start()


def test_copy_has_the_returned_mail_as_it_came(site: Site, postfix: Postfix) -> None:
    copying(site, postfix, LOCAL_USER)
    raw = b"X-GreenArrow-MailClass: newsletter\r\nSubject: Hello?\r\n\r\n.\r\n\xff?\r\n"
    with LmtpClient(str(site.fletching.socket.with_name("lmtp.sock"))) as client:
        client.say(b"LHLO x")
        (reply,) = client.deliver("joe@example.net", ["bounces@example.com"], raw)
    assert reply.startswith(b"250")
    wait_until("there is no copy", lambda: len(postfix.mailbox("local")) == 1)
    copy = message_from_bytes(postfix.mailbox("local")[0])
    assert copy["Return-Path"] == "<>"
    assert copy["To"] == f"<{LOCAL_USER}>"
    assert copy["Auto-Submitted"] == "auto-generated"
    assert copy["List-Unsubscribe"] is None
    returned = copy.get_payload(0)
    assert isinstance(returned, Message)
    assert returned["Subject"] == "Hello?"
    assert returned["X-GreenArrow-MailClass"] == "newsletter"


def test_copy_that_comes_back_is_not_copied(site: Site, postfix: Postfix) -> None:
    copying(site, postfix, "bounces@example.com")
    assert postfix.submit(NOTHING, "", ["bounces@example.com"]).accepted
    folder = site.state_dir / "unreadable"
    wait_until("the copy is not kept", lambda: len(list(folder.glob("*.eml"))) == 2)
    postfix.wait_empty()
    assert len(list(folder.glob("*.eml"))) == 2


def test_mail_waits_until_it_can_be_copied(site: Site, postfix: Postfix, sinks: Sinks) -> None:
    sinks["smtp"].answer = "451 4.3.0 later"
    copying(site, postfix, "postmaster@copies.example", sinks["smtp"].port)
    assert postfix.submit(NOTHING, "", ["bounces@example.com"]).accepted
    wait_until("it is not deferred", lambda: "status=deferred" in postfix.log())
    sinks["smtp"].answer = "250 2.0.0 sunk"
    (copy,) = sinks["smtp"].wait()
    assert copy.recipients == ("postmaster@copies.example",)
    postfix.wait_empty()
    sinks["smtp"].answer_to = lambda _: "550 5.1.1 no such user"
    assert postfix.submit(NOTHING, "", ["bounces@example.com"]).accepted
    postfix.wait_empty()
    assert "copy_refused to=postmaster@copies.example" in site.fletching.log()
    assert len(list((site.state_dir / "unreadable").glob("*.eml"))) == 2


# What `fletching postfix` prints, wherever the domain of the mailboxes belongs

DOMAINS = {
    "local": {"mydestination": "local.example, example.com"},
    "virtual mailbox": {
        "virtual_mailbox_domains": "example.com",
        "virtual_mailbox_maps": "inline:{someone@example.com=virtual/}",
    },
    "relay": {
        "relay_domains": "example.com",
        "relay_recipient_maps": "$fletching_recipient_maps",
    },
}


@pytest.mark.parametrize("domain", DOMAINS)
def test_mailboxes_are_handed_over_whatever_their_domain_is(
    site: Site, postfix: Postfix, domain: str
) -> None:
    # The client is a stranger, as those who return mail are.
    postfix.set(**{"mynetworks": "192.0.2.1", "relay_domains": ""} | DOMAINS[domain])
    tag = site.fletching.keys.tag("a" * 12, 1)
    taken = (
        *("bounces@example.com", f"Bounces+{tag}@Example.com"),
        *(FEEDBACK, "fbl+x@example.com", "unsubscribe@example.com"),
    )
    for address in taken:
        assert postfix.submit(NOTHING, "", [address]).accepted, address
    for address in ("nobody@example.com", "bounces@other.example", "xbounces@example.com"):
        assert not postfix.submit(NOTHING, "", [address]).accepted, address
    folder = site.state_dir / "unreadable"
    wait_until("not all are handed over", lambda: len(list(folder.glob("*.eml"))) == len(taken))
    postfix.wait_empty()


def test_lines_to_be_uncommented_make_the_domain_one_of_this_host(
    site: Site, postfix: Postfix
) -> None:
    printed = site.fletching.command("postfix")
    found = re.findall(r"(?m)^#(relay_\w+) = (.*)$", printed)
    assert [name for name, _ in found] == ["relay_domains", "relay_recipient_maps"]
    postfix.set(mynetworks="192.0.2.1", relay_domains="")
    assert postfix.submit(NOTHING, "", ["bounces@example.com"]).code == 454
    postfix.set(**dict(found))
    assert postfix.submit(NOTHING, "", ["bounces@example.com"]).accepted
    assert postfix.submit(NOTHING, "", ["nobody@example.com"]).code == 550
    postfix.wait_empty()


def test_check_sees_whether_the_mailboxes_are_handed_over(site: Site, postfix: Postfix) -> None:
    check = Check(site.fletching, postfix)

    def about(place: str) -> list[str]:
        return [line.partition(":")[0] for line in check.lines() if f" {place}: " in line]

    assert (about("lmtp.listen"), about("transport_maps")) == (["ok"], ["ok"])
    postfix.set(transport_maps="inline:{bounces@example.com=lmtp:unix:/elsewhere}")
    assert about("transport_maps") == ["error"] * 3, "one for each mailbox"
    site.fletching.stop()
    assert about("lmtp.listen") == ["warning"]


def test_printed_pieces_work_for_chrooted_agents(chrooted: Postfix, redis: RedisServer) -> None:
    folder = chrooted.socket_folder()
    fletching = Fletching(chrooted.root.parent / "fletching", redis.unix_url, command="run")
    # What Debian's admin has printed, whose queue is at the usual place.
    queue = "unix:/var/spool/postfix/fletching"
    places = {"listen": f"{queue}/milter.sock", "lmtp": {"listen": f"{queue}/lmtp.sock"}}
    fletching.configure(places)
    printed = fletching.command("postfix")
    fletching.socket = folder / "milter.sock"
    fletching.configure({"lmtp": {"listen": f"unix:{folder}/lmtp.sock"}})
    with fletching, chrooted:
        apply(chrooted, printed)
        chrooted.set(relay_domains="example.com")
        assert chrooted.postconf("-F", "lmtp/unix/chroot").split()[-1] == "y"
        assert chrooted.submit(NOTHING, "", ["bounces+x@example.com"]).accepted
        kept = fletching.directory / "state" / "unreadable"
        wait_until("it is not handed over", lambda: len(list(kept.glob("*.eml"))) == 1)
        assert Check(fletching, chrooted).errors() == []
