"""VirtualMTAs on a real Postfix: which transport a mail takes, and that nobody else can choose."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from sandbox.postfix import Postfix, Reply, send
from sandbox.postfix_config import LOCAL_USER, VIRTUAL_DOMAIN
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink

from .fletching import Fletching
from .mails import NEWSLETTER, RECIPIENT, SENDER, TRANSACTIONAL, mail

pytestmark = pytest.mark.slow

Sinks = Mapping[str, Sink]
UNTRUSTED = "127.0.0.2"
FORGED = b"X-Fletching-Route: vmta-b"


def submit(postfix: Postfix, *fields: bytes, to: str = RECIPIENT) -> Reply:
    reply = postfix.submit(mail(*fields), SENDER, [to])
    assert reply.accepted, reply
    return reply


def arrives_only_at(sinks: Sinks, name: str) -> None:
    sinks[name].wait()
    elsewhere = [each for each, sink in sinks.items() if sink.mails and each != name]
    assert not elsewhere, f"also at {elsewhere}"


def test_a_filter_record_is_made_and_no_trace_of_the_header_stays(
    fletching: Fletching, postfix: Postfix, sinks: Sinks
) -> None:
    with postfix.holding():
        reply = submit(postfix, TRANSACTIONAL)
        held = postfix.postcat(reply.queue_id)
        assert "content_filter: vmta-transactional:\n" in held
        assert "fletching-route" not in held.lower()
        assert "greenarrow" not in held.lower()
    arrives_only_at(sinks, "vmta-transactional")
    assert "transport=vmta-transactional" in fletching.line_of(reply)


@pytest.mark.parametrize(
    ("wanted", "sink"),
    [(b"a", "vmta-a"), (b"B", "vmta-b"), (b"TransActional", "vmta-transactional")],
)
def test_the_mta_id_chooses(
    fletching: Fletching, postfix: Postfix, sinks: Sinks, wanted: bytes, sink: str
) -> None:
    submit(postfix, NEWSLETTER, b"X-GreenArrow-MtaID: " + wanted)
    arrives_only_at(sinks, sink)


@pytest.mark.parametrize("wanted", [b"nowhere", b"vmta-a", b"smtp", b"a b", b"discard:"])
def test_an_unknown_mta_id_leaves_the_class_s_and_is_said(
    fletching: Fletching, postfix: Postfix, sinks: Sinks, wanted: bytes
) -> None:
    reply = submit(postfix, TRANSACTIONAL, b"X-GreenArrow-MtaID: " + wanted)
    arrives_only_at(sinks, "vmta-transactional")
    assert 'warning="X-GreenArrow-MtaID: must ' in fletching.line_of(reply)


def test_a_pool_spreads(fletching: Fletching, postfix: Postfix, sinks: Sinks) -> None:
    count = 60
    # Of a SendID of its own: the milter remembers the campaigns of other tests.
    raw = mail(NEWSLETTER, b"X-GreenArrow-InstanceID: 60")
    with postfix.client() as smtp:
        replies = [send(smtp, raw, SENDER, [RECIPIENT]) for _ in range(count)]
    assert all(reply.accepted for reply in replies)
    postfix.wait_empty()
    shares = {name: len(sink.mails) for name, sink in sinks.items() if sink.mails}
    # By chance, one of them has none in one of thirty million runs.
    assert shares.keys() == {"vmta-a", "vmta-b"}, shares
    assert sum(shares.values()) == count
    fletching.settled_log()
    told = json.loads(fletching.command("stats", "newsletter60", "--by", "mta", "--json"))
    assert {f"vmta-{row['mta']}": row["sent"] for row in told["rows"]} == shares


class TestPause:
    @pytest.fixture(autouse=True)
    def resumed(self, fletching: Fletching) -> Iterator[None]:
        yield
        for name in ("a", "b"):
            fletching.command("mta", "resume", name)

    def test_the_fallback_takes_over_until_it_is_resumed(
        self, fletching: Fletching, postfix: Postfix, sinks: Sinks
    ) -> None:
        fletching.command("mta", "pause", "B")
        submit(postfix, NEWSLETTER, b"X-GreenArrow-MtaID: b")
        arrives_only_at(sinks, "vmta-a")
        sinks["vmta-a"].clear()
        fletching.command("mta", "resume", "b")
        submit(postfix, NEWSLETTER, b"X-GreenArrow-MtaID: b")
        arrives_only_at(sinks, "vmta-b")

    def test_without_a_fallback_the_mail_is_answered_451_and_its_session_goes_on(
        self, fletching: Fletching, postfix: Postfix, sinks: Sinks
    ) -> None:
        fletching.command("mta", "pause", "a")
        wants_a = mail(NEWSLETTER, b"X-GreenArrow-MtaID: a")
        with postfix.client() as smtp:
            refused = send(smtp, wants_a, SENDER, [RECIPIENT])
            assert (refused.code, refused.text[:5]) == (451, "4.3.0"), refused
            # The pool skips it.
            assert send(smtp, mail(NEWSLETTER), SENDER, [RECIPIENT]).accepted
            arrives_only_at(sinks, "vmta-b")
            sinks["vmta-b"].clear()
            fletching.command("mta", "pause", "b")
            refused = send(smtp, mail(NEWSLETTER), SENDER, [RECIPIENT])
            assert (refused.code, refused.text[:5]) == (451, "4.3.0"), refused
            assert send(smtp, mail(), SENDER, [RECIPIENT]).accepted, "mail without a class"
            fletching.command("mta", "resume", "a")
            assert send(smtp, wants_a, SENDER, [RECIPIENT]).accepted
        for name in ("vmta-a", "smtp"):
            sinks[name].wait()
        arrives_at = {name: len(sink.mails) for name, sink in sinks.items() if sink.mails}
        assert arrives_at == {"vmta-a": 1, "smtp": 1}


FORGERIES = pytest.mark.parametrize(
    "forged",
    [
        (FORGED,),
        (FORGED, b"X-Fletching-Route: vmta-a", FORGED),
        (b"x-fletching-ROUTE:vmta-b", b"X-Fletching-Route : vmta-b"),
        (b"X-Fletching-Route:\r\n vmta-b",),
        (b"X-Fletching-Route: discard", b"X-Fletching-Route:"),
    ],
    ids=["one", "several", "spelt oddly", "folded", "no transport of ours"],
)


class TestForgery:
    @FORGERIES
    def test_a_forged_route_does_nothing_to_classified_mail(
        self, fletching: Fletching, postfix: Postfix, sinks: Sinks, forged: tuple[bytes, ...]
    ) -> None:
        submit(postfix, *forged, TRANSACTIONAL, *forged)
        arrives_only_at(sinks, "vmta-transactional")

    @FORGERIES
    def test_a_forged_route_does_nothing_to_other_mail(
        self, fletching: Fletching, postfix: Postfix, sinks: Sinks, forged: tuple[bytes, ...]
    ) -> None:
        submit(postfix, *forged)
        arrives_only_at(sinks, "smtp")
        (arrived,) = sinks["smtp"].mails
        assert arrived.below_received == mail()

    def test_nor_does_it_from_an_untrusted_client(
        self, redis: RedisServer, directory: Path, postfix: Postfix, sinks: Sinks
    ) -> None:
        change = {"trusted": {"networks": ["127.0.0.1/32"]}}
        with Fletching(directory / "distrustful", redis.unix_url, change) as daemon:
            daemon.join(postfix)
            raw = mail(FORGED, TRANSACTIONAL, FORGED, b"X-GreenArrow-MtaID: b")
            assert postfix.submit(raw, SENDER, [RECIPIENT], source=UNTRUSTED).accepted
            arrives_only_at(sinks, "smtp")
            (arrived,) = sinks["smtp"].mails
            assert arrived.below_received == mail()


class TestLocalMail:
    @pytest.mark.parametrize(
        ("recipient", "mailbox"),
        [(LOCAL_USER, "local"), (f"any@{VIRTUAL_DOMAIN}", "virtual")],
        ids=["local", "virtual"],
    )
    def test_stays_on_this_host_and_is_said(
        self, fletching: Fletching, postfix: Postfix, recipient: str, mailbox: str
    ) -> None:
        reply = submit(postfix, TRANSACTIONAL, to=recipient)
        postfix.wait_empty()
        (raw,) = postfix.mailbox(mailbox)
        assert b"\nX-Mailer-Info: " in raw, "it was not treated as classified mail"
        assert (
            f'warning="not routed: a recipient\'s Postfix transport is {mailbox}"'
            in fletching.line_of(reply)
        )

    def test_keeps_the_remote_recipients_of_the_same_mail_deliverable(
        self, fletching: Fletching, postfix: Postfix, sinks: Sinks
    ) -> None:
        to = [RECIPIENT, LOCAL_USER, "bob@yahoo.example", f"any@{VIRTUAL_DOMAIN}"]
        assert postfix.submit(mail(TRANSACTIONAL), SENDER, to).accepted
        remote = {each for arrived in sinks["smtp"].wait(2) for each in arrived.recipients}
        postfix.wait_empty()
        assert remote == {RECIPIENT, "bob@yahoo.example"}
        assert [len(postfix.mailbox(name)) for name in ("local", "virtual")] == [1, 1]


def test_route_by_sender(
    redis: RedisServer, directory: Path, postfix: Postfix, sinks: Sinks
) -> None:
    """The table that `fletching postfix` prints reads the return path that the milter writes."""
    with Fletching(directory / "by-sender", redis.unix_url, {"route_by": "sender"}) as daemon:
        daemon.join(postfix)
        assert "fletching_senders" in daemon.command("postfix")
        for name in ("a", "b", "transactional"):
            with postfix.holding():
                wanted = f"X-GreenArrow-MtaID: {name}".encode()
                reply = submit(postfix, NEWSLETTER, wanted)
                assert "content_filter" not in postfix.postcat(reply.queue_id)
            (arrived,) = sinks[f"vmta-{name}"].wait()
            told = daemon.token(arrived.sender)
            assert (told["kind"], told["message_number"] > 0) == ("return-path", True)
            sinks[f"vmta-{name}"].clear()
        assert not any(sink.mails for sink in sinks.values())
        submit(postfix, TRANSACTIONAL, to=LOCAL_USER)
        postfix.wait_empty()
        assert len(postfix.mailbox("local")) == 1
        assert postfix.submit(mail(TRANSACTIONAL), "", [RECIPIENT]).accepted
        arrives_only_at(sinks, "smtp")
