"""Content filters that hand mail back to Postfix from 127.0.0.1, and mail that Postfix adds to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox.filter_programs import amavis, rspamd
from sandbox.postfix import Postfix, Reply, send
from sandbox.postfix_config import LOCAL_USER
from sandbox.processes import free_port
from sandbox.redis_server import RedisServer
from sandbox.reinjector import Reinjector
from sandbox.sinks import Sink, SunkMail
from sandbox.verifiers import verify_dkimpy

from .fletching import Fletching
from .mails import MIME, NEWSLETTER, RECIPIENT, SENDER, TRANSACTIONAL, mail
from .odd_mails import HTML

pytestmark = pytest.mark.slow

STRANGER = "127.0.0.2"
NETWORKS = {"networks": ["127.0.0.1/32"]}
TRUSTED = {**NETWORKS, "services": ["submission"]}
STEERED = mail(
    NEWSLETTER,
    b"X-GreenArrow-MtaID: b",
    b'X-GreenArrow-DKIM: {"domain": "example.com"}',
    b"X-Fletching-Route: vmta-b",
    MIME + b"Content-Type: text/html",
    body=HTML,
)
UNSTEERED = mail(MIME + b"Content-Type: text/html", body=HTML)


@dataclass(frozen=True)
class Site:
    """Postfix with a filter between its port for strangers and a port for what the filter gives."""

    postfix: Postfix
    fletching: Fletching
    sink: Sink
    submission: int

    def arrived(self) -> SunkMail:
        (found,) = self.sink.wait()
        self.sink.clear()
        return found

    def from_stranger(self, raw: bytes) -> Reply:
        reply = self.postfix.submit(raw, SENDER, [RECIPIENT], source=STRANGER)
        assert reply.accepted, reply
        return reply

    def from_application(self, raw: bytes) -> Reply:
        with self.postfix.client(port=self.submission) as smtp:
            reply = send(smtp, raw, SENDER, [RECIPIENT])
        assert reply.accepted, reply
        return reply


def build(
    directory: Path,
    redis: RedisServer,
    sinks: Mapping[str, Sink],
    *,
    way: str,
    milter_at: str,
    trusted: Mapping[str, object] = TRUSTED,
    with_amavis: bool = False,
) -> Iterator[Site]:
    """``way``: content or proxy filter. ``milter_at``: of Postfix's ports, mx or back or both."""
    change = {"trusted": trusted, "default_mail_class": "newsletter"}
    back, submission = free_port(), free_port()
    sink = sinks["smtp"]
    name = f"{way}-{milter_at}-{len([*directory.iterdir()])}"
    with (
        amavis(directory / f"amavis-{name}", back) if with_amavis else Reinjector(back) as filter_,
        Fletching(directory / f"fletching-{name}", redis.unix_url, change) as fletching,
        Postfix(directory / name, dict.fromkeys(sinks, sink.port)) as postfix,
    ):
        fletching.join(postfix)
        mx = f"127.0.0.1:{postfix.port}/inet"
        address = f"[127.0.0.1]:{filter_.port}" if way == "content" else f"127.0.0.1:{filter_.port}"
        option = (
            f"content_filter=scan:{address}"
            if way == "content"
            else (f"smtpd_proxy_filter={address}")
        )
        postfix.command("postconf", "-P", f"{mx}/{option}")
        if milter_at == "back":
            postfix.command("postconf", "-P", f"{mx}/smtpd_milters=")
        milters = "$fletching_milter" if milter_at in ("back", "both") else ""
        postfix.apply(
            master_cf=f"""\
scan unix - - n - 1 smtp
  -o smtp_send_xforward_command=yes
127.0.0.1:{back} inet n - n - - smtpd
  -o milter_macro_daemon_name=back
  -o smtpd_milters={milters}
  -o content_filter=
  -o smtpd_authorized_xforward_hosts=127.0.0.0/8
127.0.0.1:{submission} inet n - n - - smtpd
  -o milter_macro_daemon_name=submission
"""
        )
        yield Site(postfix, fletching, sink, submission)


@pytest.fixture(
    params=[("content", "mx"), ("content", "back"), ("content", "both"), ("proxy", "back")],
    ids="-".join,
)
def site(
    request: pytest.FixtureRequest,
    directory: Path,
    redis: RedisServer,
    sinks: Mapping[str, Sink],
) -> Iterator[Site]:
    way, milter_at = request.param
    yield from build(directory, redis, sinks, way=way, milter_at=milter_at)


def is_plain(arrived: SunkMail) -> bool:
    """Whether a mail is as its sender sent it: nothing of ours, no control header."""
    ours = {"x-mailer-info", "dkim-signature", "list-unsubscribe"} & set(arrived.header_names)
    return not ours and arrived.sender == SENDER and arrived.raw.endswith(UNSTEERED)


def test_stranger_achieves_nothing_through_a_filter(site: Site) -> None:
    for raw in (STEERED, UNSTEERED):
        site.from_stranger(raw)
        arrived = site.arrived()
        assert is_plain(arrived), arrived.raw
    site.from_application(STEERED)
    arrived = site.arrived()
    assert {"x-mailer-info", "dkim-signature"} <= set(arrived.header_names)
    assert re.fullmatch(r"bounces\+[a-z2-7]+@example\.com", arrived.sender)


@pytest.mark.parametrize("way", ["content", "proxy"])
def test_without_trusted_services_reinjected_mail_is_trusted(
    directory: Path, redis: RedisServer, sinks: Mapping[str, Sink], way: str
) -> None:
    """What `fletching check --postfix` calls an error."""
    for site in build(directory, redis, sinks, way=way, milter_at="back", trusted=NETWORKS):
        site.from_stranger(STEERED)
        assert "x-mailer-info" in site.arrived().header_names


def test_milter_before_a_proxy_filter_sees_no_mail(
    directory: Path, redis: RedisServer, sinks: Mapping[str, Sink]
) -> None:
    """What `fletching check --postfix` calls an error."""
    for site in build(directory, redis, sinks, way="proxy", milter_at="mx"):
        site.from_stranger(mail(b"X-Other: stays"))
        assert "x-other" in site.arrived().header_names
        assert site.fletching.mail_lines() == []


ADDED = {
    "always_bcc": LOCAL_USER,
    "sender_bcc_maps": f"static:{LOCAL_USER}",
    "recipient_bcc_maps": f"static:{LOCAL_USER}",
    "virtual_alias_maps": f"inline:{{{{{RECIPIENT}={RECIPIENT}, {LOCAL_USER}}}}}",
    "recipient_canonical_maps": f"inline:{{bob@gmail.example={LOCAL_USER}}}",
}


@pytest.mark.parametrize("parameter", ADDED)
class TestRecipientsThatPostfixAdds:
    TO = (RECIPIENT, "bob@gmail.example")

    def test_with_route_by_sender_stay_on_this_host(
        self,
        redis: RedisServer,
        directory: Path,
        postfix: Postfix,
        sinks: Mapping[str, Sink],
        parameter: str,
    ) -> None:
        change = {"route_by": "sender"}
        with Fletching(directory / f"sender-{parameter}", redis.unix_url, change) as daemon:
            daemon.join(postfix)
            postfix.set(**{parameter: ADDED[parameter]})
            assert postfix.submit(mail(TRANSACTIONAL), SENDER, self.TO).accepted
            postfix.wait_empty()
            assert len(postfix.mailbox("local")) >= 1
            assert not sinks["smtp"].mails
            routed = [to for each in sinks["vmta-transactional"].mails for to in each.recipients]
            assert RECIPIENT in routed
            assert LOCAL_USER not in routed

    def test_with_route_by_header_leave_for_the_network(
        self,
        fletching: Fletching,
        postfix: Postfix,
        sinks: Mapping[str, Sink],
        parameter: str,
    ) -> None:
        """What `fletching check --postfix` tells of."""
        postfix.set(**{parameter: ADDED[parameter]})
        reply = postfix.submit(mail(TRANSACTIONAL), SENDER, self.TO)
        postfix.wait_empty()
        routed = [to for each in sinks["vmta-transactional"].mails for to in each.recipients]
        assert LOCAL_USER in routed
        assert not postfix.mailbox("local")
        assert "not routed" not in fletching.line_of(reply)


class TestMailMadeByPostfix:
    @pytest.fixture
    def by_default(
        self, redis: RedisServer, directory: Path, postfix: Postfix
    ) -> Iterator[Fletching]:
        name = f"by-default-{len([*directory.iterdir()])}"
        classes = {name: {"virtual_mta": None} for name in ("newsletter", "crm", "transactional")}
        whole = {
            "default_mail_class": "transactional",
            "virtual_mtas": None,
            "mail_classes": {
                **classes,
                "transactional": {"virtual_mta": None, "list_unsubscribe": True},
            },
        }
        with Fletching(directory / name, redis.unix_url, whole) as daemon:
            daemon.join(postfix)
            postfix.set(
                internal_mail_filter_classes="bounce,notify",
                notify_classes="bounce,protocol",
                bounce_notice_recipient=RECIPIENT,
                error_notice_recipient=RECIPIENT,
            )
            yield daemon

    def test_bounce_and_notices_get_no_class(
        self, by_default: Fletching, postfix: Postfix, sinks: Mapping[str, Sink]
    ) -> None:
        sinks["relay"].answer = "550 5.1.1 unknown"
        postfix.set(transport_maps="inline:{gone.example=relay:}")
        assert postfix.submit(mail(), SENDER, ["nobody@gone.example"]).accepted
        with postfix.client() as smtp:
            smtp.docmd("DATA")
        arrived = sinks["smtp"].wait(3)
        senders = sorted(each.sender for each in arrived)
        assert senders[0] == "<>"
        assert all(each.startswith("double-bounce@") for each in senders[1:])
        for each in arrived:
            assert not {"x-mailer-info", "list-unsubscribe"} & set(each.header_names)
        classes = [line.get("class") for line in by_default.mail_lines()]
        assert sorted(classes, key=str) == [None, None, None, "transactional"]

    @pytest.mark.parametrize("by", ["SMTP", "sendmail"])
    def test_null_sender_of_an_application_gets_its_class(
        self, by_default: Fletching, postfix: Postfix, sinks: Mapping[str, Sink], by: str
    ) -> None:
        if by == "SMTP":
            assert postfix.submit(mail(), "", [RECIPIENT]).accepted
        else:
            postfix.sendmail(mail().replace(b"\r\n", b"\n"), "-i", "-f", "<>", RECIPIENT)
        (arrived,) = sinks["smtp"].wait()
        assert {"x-mailer-info", "list-unsubscribe"} <= set(arrived.header_names)
        assert arrived.sender == "<>"


def test_amavis_as_content_filter(
    directory: Path, redis: RedisServer, sinks: Mapping[str, Sink]
) -> None:
    """The set-up of docs/content-filters.md."""
    for site in build(directory, redis, sinks, way="content", milter_at="mx", with_amavis=True):
        for raw in (STEERED, UNSTEERED):
            site.from_stranger(raw)
            arrived = site.arrived()
            assert "(amavis" in str(arrived.message.get_all("Received"))
            assert not {"x-mailer-info", "dkim-signature"} & set(arrived.header_names)
            assert (arrived.sender, arrived.message.get_content()) == (SENDER, HTML.decode())
        site.from_application(STEERED)
        arrived = site.arrived()
        verdicts = verify_dkimpy(arrived.raw, site.fletching.records)
        assert [each.passed for each in verdicts] == [True]


def test_rspamd_as_milter_before_fletching(
    directory: Path, fletching: Fletching, postfix: Postfix, sinks: Mapping[str, Sink]
) -> None:
    """The set-up of docs/content-filters.md."""
    with rspamd(directory / "rspamd") as scanner:
        postfix.set(smtpd_milters=f"inet:127.0.0.1:{scanner.port}, $fletching_milter")
        assert postfix.submit(mail(TRANSACTIONAL), SENDER, [RECIPIENT]).accepted
        (arrived,) = sinks["vmta-transactional"].wait()
        verdicts = verify_dkimpy(arrived.raw, fletching.records)
        assert [each.passed for each in verdicts] == [True]
        assert "1@example.com" in scanner.log()
