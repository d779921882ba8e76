"""Every way a mail can come to a real Postfix, and every odd form it can have.

"As without the milter" is judged by a second Postfix of the same configuration that has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox.postfix import Postfix, send
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink, SunkMail
from sandbox.verifiers import verify_dkimpy, verify_opendkim

from .fletching import Fletching
from .mails import COMMON, MIME, NEWSLETTER, RECIPIENT, SENDER, TRANSACTIONAL, body_of, links, mail
from .odd_mails import HTML, ODD

pytestmark = pytest.mark.slow

UNTRUSTED = "127.0.0.2"


@dataclass(frozen=True)
class Site:
    """Postfix with the milter; all mail ends in one sink."""

    postfix: Postfix
    fletching: Fletching
    sink: Sink

    def deliver(
        self, raw: bytes, sender: str = SENDER, *to: str, options: tuple[str, ...] = ()
    ) -> SunkMail:
        reply = self.postfix.submit(raw, sender, to or [RECIPIENT], options=options)
        assert reply.accepted, reply
        return self.arrived()

    def arrived(self) -> SunkMail:
        (found,) = self.sink.wait()
        self.sink.clear()
        return found


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink("all") as server:
        yield server


@pytest.fixture(scope="module")
def ports(sink: Sink) -> Mapping[str, int]:
    names = ("smtp", "relay", "vmta-a", "vmta-b", "vmta-transactional")
    return dict.fromkeys(names, sink.port)


@pytest.fixture(scope="module")
def site(
    place: Path, running_redis: RedisServer, ports: Mapping[str, int], sink: Sink
) -> Iterator[Site]:
    change = {
        "trusted": {"networks": ["127.0.0.1/32"]},
        "mail_classes": {"single": {"multiple_recipients": "reject"}},
    }
    with (
        Fletching(place / "submission", running_redis.unix_url, change) as fletching,
        Postfix(place / "submitted", ports) as postfix,
    ):
        fletching.join(postfix)
        big = {"message_size_limit": "60000000", "mailbox_size_limit": "0"}
        postfix.set(**big, virtual_mailbox_limit="0")
        yield Site(postfix, fletching, sink)


@pytest.fixture(scope="module")
def without(place: Path, ports: Mapping[str, int]) -> Iterator[Postfix]:
    with Postfix(place / "without", ports) as postfix:
        # With milters, Postfix itself cuts larger fields.
        postfix.set(header_size_limit="60000")
        yield postfix


def is_signed(site: Site, raw: bytes) -> bool:
    verdicts = verify_dkimpy(raw, site.fletching.records)
    return [each.passed for each in verdicts] == [True]


class TestSession:
    def test_the_second_mail_has_nothing_of_the_first(self, site: Site) -> None:
        first = mail(
            NEWSLETTER,
            b"X-GreenArrow-InstanceID: 7first",
            b"X-GreenArrow-Click-Tracking-ID: id-of-the-first",
            MIME + b"Content-Type: text/html",
            body=HTML,
        )
        with site.postfix.client() as smtp:
            assert send(smtp, first, SENDER, [RECIPIENT]).accepted
            of_first = site.arrived()
            assert send(smtp, mail(TRANSACTIONAL), SENDER, ["bob@yahoo.example"]).accepted
            of_second = site.arrived()
            assert send(smtp, mail(), SENDER, ["bob@yahoo.example"]).accepted
            of_third = site.arrived()
        assert site.fletching.token(of_first.message["X-Mailer-Info"])["sendid"] == (
            "newsletter7first"
        )
        told = site.fletching.token(of_second.message["X-Mailer-Info"])
        assert told["mail_class"] == "transactional"
        assert told["email"] == "bob@yahoo.example"
        assert told["click_tracking_id"] == ""
        assert "7first" not in told["sendid"]
        assert of_second.sender != of_first.sender
        assert of_third.below_received == mail()

    def test_rset_midway_forgets_the_mail(self, site: Site) -> None:
        with site.postfix.client() as smtp:
            smtp.mail("first@example.com")
            smtp.rcpt("first@gmail.example")
            smtp.rset()
            assert send(smtp, mail(NEWSLETTER), SENDER, [RECIPIENT]).accepted
        arrived = site.arrived()
        assert arrived.recipients == (RECIPIENT,)
        assert site.fletching.token(arrived.message["X-Mailer-Info"])["email"] == RECIPIENT

    def test_a_refused_recipient_is_not_one(self, site: Site) -> None:
        with site.postfix.client() as smtp:
            smtp.mail(SENDER)
            assert smtp.rcpt("nobody@local.example")[0] == 550
            assert smtp.rcpt(RECIPIENT)[0] == 250
            assert smtp.data(mail(NEWSLETTER))[0] == 250
        told = site.fletching.token(site.arrived().message["X-Mailer-Info"])
        assert told["email"] == RECIPIENT, "the mail counts as one to several recipients"


class TestSeveralRecipients:
    TO = (RECIPIENT, "bob@gmail.example")

    def test_shared_tokens_name_no_one(self, site: Site) -> None:
        raw = mail(NEWSLETTER, MIME + b"Content-Type: text/html", body=HTML)
        arrived = site.deliver(raw, SENDER, *self.TO)
        assert arrived.recipients == self.TO
        tokens = [*links(arrived), arrived.message["X-Mailer-Info"]]
        assert len(tokens) == 3, "a click, an open and X-Mailer-Info"
        assert {site.fletching.token(each)["email"] for each in tokens} == {""}
        assert "list-unsubscribe" not in arrived.header_names

    def test_a_warning_says_so(self, site: Site) -> None:
        reply = site.postfix.submit(mail(NEWSLETTER), SENDER, self.TO)
        site.arrived()
        assert "several recipients share one body" in site.fletching.line_of(reply)

    def test_reject_answers_550_to_several_and_takes_one(self, site: Site) -> None:
        raw = mail(b"X-GreenArrow-MailClass: single")
        reply = site.postfix.submit(raw, SENDER, self.TO)
        assert (reply.code, reply.text[:5]) == (550, "5.5.3"), reply
        assert site.deliver(raw).recipients == (RECIPIENT,)


class TestWho:
    @pytest.mark.parametrize(
        ("login", "wanted", "mail_class"),
        [
            ("crm", None, "crm"),
            ("crm", b"newsletter", "crm"),
            ("crm", b"no_such_class", "crm"),
            ("shop", None, "newsletter"),
            ("shop", b"transactional", "transactional"),
            ("shop", b"no_such_class", "newsletter"),
            ("other", b"NewsLetter", "newsletter"),
            ("other", None, None),
            (None, b"crm", "crm"),
            (None, None, None),
        ],
    )
    def test_the_class_is_chosen_by_login_and_header(
        self,
        fletching: Fletching,
        postfix: Postfix,
        sinks: Mapping[str, Sink],
        logins: Mapping[str, str],
        login: str | None,
        wanted: bytes | None,
        mail_class: str | None,
    ) -> None:
        fields = () if wanted is None else (b"X-GreenArrow-MailClass: " + wanted,)
        account = None if login is None else (login, logins[login])
        reply = postfix.submit(mail(*fields), SENDER, [RECIPIENT], login=account)
        assert reply.accepted, reply
        postfix.wait_empty()
        found = re.search(r" class=(\S+)", fletching.line_of(reply))
        assert (found and found[1]) == mail_class
        (arrived,) = (each for sink in sinks.values() for each in sink.mails)
        assert ("x-mailer-info" in arrived.header_names) == (mail_class is not None)

    def test_an_untrusted_client_only_loses_control_headers(self, site: Site) -> None:
        fields = (
            NEWSLETTER,
            b"X-GreenArrow-MtaID: b",
            b"x-greenarrow-dkim: [{}]",
            b"X-GreenArrow-Obscured-Email: x",
            b"X-Fletching-Route: vmta-b",
        )
        rest = b"X-GreenArrow: is none\r\n" + COMMON.replace(b"Offers", b"  folded\r\n\ttabs \xe9")
        body = b"\r\n" + HTML + b"\xe9 trailing  \r\n\r\n"
        raw = b"".join(field + b"\r\n" for field in fields) + rest + body
        reply = site.postfix.submit(raw, SENDER, [RECIPIENT], source=UNTRUSTED)
        arrived = site.arrived()
        assert arrived.below_received == rest + body
        assert (reply.accepted, arrived.sender) == (True, SENDER)
        assert " trusted=no " in site.fletching.line_of(reply)

    def test_a_login_from_an_untrusted_address_is_trusted(
        self, redis: RedisServer, directory: Path, postfix: Postfix, sinks: Mapping[str, Sink]
    ) -> None:
        change = {"trusted": {"networks": ["127.0.0.1/32"]}}
        with Fletching(directory / "by-login", redis.unix_url, change) as daemon:
            daemon.join(postfix)
            login = ("crm", "crm-secret")
            postfix.submit(mail(), SENDER, [RECIPIENT], login=login, source=UNTRUSTED)
            (arrived,) = sinks["vmta-a"].wait()
            assert "x-mailer-info" in arrived.header_names


class TestSendmail:
    def submit(self, site: Site, *fields: bytes) -> SunkMail:
        site.postfix.sendmail(mail(*fields).replace(b"\r\n", b"\n"), "-i", "-f", SENDER, RECIPIENT)
        return site.arrived()

    def test_is_trusted(self, site: Site) -> None:
        arrived = self.submit(site, NEWSLETTER)
        assert re.fullmatch(r"bounces\+[a-z2-7]+@example\.com", arrived.sender)
        assert site.fletching.token(arrived.message["X-Mailer-Info"])["email"] == RECIPIENT
        assert is_signed(site, arrived.raw)

    def test_without_a_class_it_stays(self, site: Site) -> None:
        assert self.submit(site).below_received == mail()

    def test_its_dkim_header_does_not_count(self, site: Site) -> None:
        arrived = self.submit(site, NEWSLETTER, b'X-GreenArrow-DKIM: {"selector": "ed"}')
        (verdict,) = verify_dkimpy(arrived.raw, site.fletching.records)
        assert (verdict.selector, verdict.passed) == ("s1", True)
        said = site.fletching.settled_log().splitlines()[-1]
        assert "ignored in mail from sendmail" in said


class TestTransportOfOctets:
    """8BITMIME, SMTPUTF8 and size."""

    def test_8bitmime(self, site: Site) -> None:
        fields = MIME + b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit"
        raw = mail(NEWSLETTER, fields, body="<p>Grüße</p>\r\n".encode() + HTML)
        arrived = site.deliver(raw, options=("BODY=8BITMIME",))
        assert "Grüße" in arrived.message.get_content()
        assert len(links(arrived)) == 2
        assert is_signed(site, arrived.raw)

    def test_smtputf8(self, site: Site) -> None:
        reader, sender = "grüße@gmail.example", "käthe@shop.example.com"
        raw = COMMON.replace(b"Offers", "Grüße €".encode()).replace(
            b"To: ada@gmail.example", f"To: {reader}".encode()
        )
        arrived = site.deliver(
            NEWSLETTER + b"\r\n" + raw + b"\r\nHello\r\n", sender, reader, options=("SMTPUTF8",)
        )
        assert arrived.recipients == (reader,)
        assert "SMTPUTF8" in arrived.sender_options
        assert "Subject: Grüße €\r\n".encode() in arrived.raw
        assert site.fletching.token(arrived.message["X-Mailer-Info"])["email"] == reader
        assert is_signed(site, arrived.raw)

    def test_smtputf8_without_a_class(self, site: Site) -> None:
        raw = COMMON.replace(b"Offers", "Grüße".encode()) + b"\r\nx\r\n"
        arrived = site.deliver(raw, "käthe@shop.example.com", "ö@x.example", options=("SMTPUTF8",))
        assert (arrived.below_received, arrived.sender) == (raw, "käthe@shop.example.com")

    def test_25_megabytes(self, site: Site) -> None:
        line = b"QUJD" * 19 + b"\r\n"
        attached = (
            b"--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n"
            b"Content-Disposition: attachment\r\n\r\n" + line * 80_000
        )
        text = b"--b\r\nContent-Type: text/html\r\n\r\n" + HTML
        body = text + attached * 4 + b"--b--\r\n"
        assert len(body) > 24_900_000
        fields = MIME + b"Content-Type: multipart/mixed; boundary=b"
        arrived = site.deliver(mail(NEWSLETTER, fields, body=body))
        assert body_of(arrived.raw) == body
        assert "list-unsubscribe" in arrived.header_names
        verdicts = verify_opendkim(arrived.raw, site.fletching.records)
        assert [each.passed for each in verdicts] == [True]


class TestRequeue:
    """`postsuper -r` puts a mail through cleanup(8) once more."""

    RAW = mail(NEWSLETTER, b"X-GreenArrow-MtaID: b", MIME + b"Content-Type: text/html", body=HTML)

    def requeue(self, postfix: Postfix) -> bytes:
        """Submit the mail and requeue it; what it was at first, by postcat."""
        with postfix.holding():
            reply = postfix.submit(self.RAW, SENDER, [RECIPIENT])
            first = postfix.postcat(reply.queue_id, "-bh")
            postfix.command("postsuper", "-r", reply.queue_id)
            postfix.command("postqueue", "-f")  # pickup(8) would look only once a minute
            postfix.wait_idle()
        assert "\nDKIM-Signature:" in first
        return first.partition("DKIM-Signature:")[2].replace("\n", "\r\n").encode("latin-1")

    def test_nothing_is_rewritten_twice(
        self, fletching: Fletching, postfix: Postfix, sinks: Mapping[str, Sink]
    ) -> None:
        first = self.requeue(postfix)
        # FILTER is forgotten (see deploy/postfix/README.md), and Postfix asks no milter.
        (arrived,) = sinks["smtp"].wait()
        assert arrived.raw.endswith(first), "the mail is not as it was"
        assert arrived.header_names.count("x-mailer-info") == 1
        verdicts = verify_dkimpy(arrived.raw, fletching.records)
        assert [each.passed for each in verdicts] == [True]
        assert fletching.token(arrived.sender)["kind"] == "return-path"
        assert len(links(arrived)) == 2

    def test_with_route_by_sender_it_keeps_its_transport(
        self, redis: RedisServer, directory: Path, postfix: Postfix, sinks: Mapping[str, Sink]
    ) -> None:
        change = {"route_by": "sender"}
        with Fletching(directory / "requeue-by-sender", redis.unix_url, change) as daemon:
            daemon.join(postfix)
            first = self.requeue(postfix)
            (arrived,) = sinks["vmta-b"].wait()
            assert arrived.raw.endswith(first), "the mail is not as it was"

    def test_a_mail_that_comes_back_by_smtp_is_left_alone(self, site: Site) -> None:
        first = site.deliver(self.RAW)
        again = site.deliver(first.raw, first.sender)
        assert again.below_received == first.raw
        assert again.sender == first.sender


@pytest.mark.parametrize("name", ODD)
class TestOddMail:
    def test_without_a_class_it_is_as_without_the_milter(
        self, site: Site, without: Postfix, name: str
    ) -> None:
        assert without.submit(ODD[name], SENDER, [RECIPIENT]).accepted
        expected = site.arrived()
        arrived = site.deliver(ODD[name])
        varying = re.compile(rb"(?m)^(?:Message-Id: <.*|Date: .*)\r\n", re.IGNORECASE)
        assert varying.sub(b"", arrived.below_received) == varying.sub(b"", expected.below_received)
        assert arrived.sender == SENDER

    def test_with_a_class_it_gets_through_in_one_piece(self, site: Site, name: str) -> None:
        raw = NEWSLETTER + b"\r\n" + ODD[name]
        reply = site.postfix.submit(raw, SENDER, [RECIPIENT])
        assert reply.accepted, reply
        arrived = site.arrived()
        assert "x-mailer-info" in arrived.header_names
        assert "verdict=accept" in site.fletching.line_of(reply)
        verdicts = verify_opendkim(arrived.raw, site.fletching.records)
        assert [each.passed for each in verdicts] == [True]


def test_the_null_sender_stays(site: Site) -> None:
    for raw in (mail(), mail(NEWSLETTER)):
        assert site.deliver(raw, "").sender == "<>"


@pytest.mark.parametrize(
    "spelling",
    [
        (b"x-greenarrow-mailclass: newsletter",),
        (b"X-GREENARROW-MAILCLASS:NEWSLETTER",),
        (b"X-GreenArrow-MailClass : newsletter",),
        (b"X-GreenArrow-MailClass\t:\tnewsletter\t",),
        (b"X-GreenArrow-MailClass:\r\n newsletter",),
        (b"X-GreenArrow-MailClass:\r\n\t \r\n newsletter \r\n ",),
        (NEWSLETTER,) * 50,
        (NEWSLETTER, *(b"X-GreenArrow-Unknown-%d: x" % number for number in range(50))),
    ],
    ids=["lower", "upper", "blank", "tab", "folded", "folded often", "50 times", "50 unknown"],
)
def test_control_headers_in_odd_spellings(site: Site, spelling: tuple[bytes, ...]) -> None:
    """They count, and none arrives (the fixture `no_leaks` looks)."""
    arrived = site.deliver(mail(*spelling))
    assert site.fletching.token(arrived.message["X-Mailer-Info"])["mail_class"] == "newsletter"
    assert b"greenarrow" not in arrived.raw.lower()


def test_the_same_header_with_two_values_counts_as_none(site: Site) -> None:
    reply = site.postfix.submit(mail(NEWSLETTER, TRANSACTIONAL), SENDER, [RECIPIENT])
    assert site.arrived().below_received == mail()
    assert "must not be given twice with different values" in site.fletching.line_of(reply)
