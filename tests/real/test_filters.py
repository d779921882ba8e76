"""Content filters that hand mail back to Postfix from 127.0.0.1, and mail that Postfix adds to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from .fletching import Fletching
from .mails import MIME, NEWSLETTER, READER, SENDER, mail
from .odd_mails import HTML
from .postfix import Postfix, Reply, send
from .processes import free_port
from .redis_server import Redis
from .reinjector import Reinjector
from .sinks import Sink, SunkMail

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
        reply = self.postfix.submit(raw, SENDER, [READER], source=STRANGER)
        assert reply.accepted, reply
        return reply

    def from_application(self, raw: bytes) -> Reply:
        with self.postfix.client(port=self.submission) as smtp:
            reply = send(smtp, raw, SENDER, [READER])
        assert reply.accepted, reply
        return reply


def build(
    directory: Path,
    redis: Redis,
    sinks: Mapping[str, Sink],
    *,
    way: str,
    milter_at: str,
    trusted: Mapping[str, object] = TRUSTED,
) -> Iterator[Site]:
    """``way``: content or proxy filter. ``milter_at``: of Postfix's ports, mx or back or both."""
    change = {"trusted": trusted, "default_mail_class": "newsletter"}
    back, submission = free_port(), free_port()
    sink = sinks["smtp"]
    name = f"{way}-{milter_at}-{len([*directory.iterdir()])}"
    with (
        Reinjector(back) as filter_,
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
    redis: Redis,
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
    directory: Path, redis: Redis, sinks: Mapping[str, Sink], way: str
) -> None:
    """What `fletching check --postfix` calls an error."""
    for site in build(directory, redis, sinks, way=way, milter_at="back", trusted=NETWORKS):
        site.from_stranger(STEERED)
        assert "x-mailer-info" in site.arrived().header_names


def test_milter_before_a_proxy_filter_sees_no_mail(
    directory: Path, redis: Redis, sinks: Mapping[str, Sink]
) -> None:
    """What `fletching check --postfix` calls an error."""
    for site in build(directory, redis, sinks, way="proxy", milter_at="mx"):
        site.from_stranger(mail(b"X-Other: stays"))
        assert "x-other" in site.arrived().header_names
        assert site.fletching.mail_lines() == []
