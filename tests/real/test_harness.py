"""The instruments themselves: each server, sink and verifier does what the other tests rely on.

Nothing of the product is used here, so a failure here is never the product's.
"""

from __future__ import annotations

import os
import smtplib
from collections.abc import Mapping
from pathlib import Path

import pytest
import redis as redis_client
from fletching.store import keys
from redis.backoff import NoBackoff
from redis.retry import Retry

from sandbox import processes
from sandbox import sinks as sinks_module
from sandbox.instruments import miltertest, smtp_source
from sandbox.postfix import Postfix, send
from sandbox.postfix_config import LOCAL_USER, VIRTUAL_DOMAIN
from sandbox.redis_server import RedisServer
from sandbox.sinks import FastSink, Sink

pytestmark = pytest.mark.slow

SENDER = "news@shop.example.com"
RECIPIENT = "ada@gmail.example"
MAIL = (
    b"From: Shop <news@shop.example.com>\r\n"
    b"To: Ada <ada@gmail.example>\r\n"
    b"Subject: Offers\r\n"
    b"Date: Sat, 21 Nov 2026 09:00:00 +0000\r\n"
    b"Message-ID: <1@shop.example.com>\r\n"
    b"\r\n"
    b"Hello Ada,\r\n"
    b".dot first\r\n"
    b"trailing  \r\n"
    b"--\r\n"
)
"""A mail to which Postfix has nothing to add but its own Received."""


class TestPostfix:
    """A mail through the private Postfix."""

    def test_reaches_the_default_sink_byte_for_byte(
        self, postfix: Postfix, sinks: Mapping[str, Sink]
    ) -> None:
        reply = postfix.submit(MAIL, SENDER, [RECIPIENT, "bob@yahoo.example"])
        assert reply.accepted
        postfix.wait_log(f"{reply.queue_id}: client=unknown[127.0.0.1]")
        mails = sinks["smtp"].wait(2)
        assert [mail.below_received for mail in mails] == [MAIL, MAIL]
        assert {mail.recipients for mail in mails} == {(RECIPIENT,), ("bob@yahoo.example",)}
        assert {mail.sender for mail in mails} == {SENDER}
        assert {mail.helo for mail in mails} == {"mx.fletching.example"}
        postfix.wait_empty()
        assert not any(sinks[name].mails for name in sinks if name != "smtp")

    def test_filter_leads_each_recipient_domain_through_the_named_transport(
        self, postfix: Postfix, sinks: Mapping[str, Sink]
    ) -> None:
        postfix.apply(
            main_cf="header_checks = pcre:$config_directory/by-header\n",
            files={"by-header": "/^X-Way: (vmta-[ab])$/ FILTER $1:\n"},
        )
        postfix.submit(b"X-Way: vmta-a\r\n" + MAIL, SENDER, [RECIPIENT, "bob@yahoo.example"])
        postfix.submit(b"X-Way: vmta-b\r\n" + MAIL, SENDER, [RECIPIENT])
        postfix.submit(b"X-Way: vmta-c\r\n" + MAIL, SENDER, [RECIPIENT])
        by_a = sinks["vmta-a"].wait(2)
        assert {mail.recipients for mail in by_a} == {(RECIPIENT,), ("bob@yahoo.example",)}
        assert len(sinks["vmta-b"].wait(1)) == len(sinks["smtp"].wait(1)) == 1

    def test_printed_services_replace_ours_and_keep_their_settings(
        self, postfix: Postfix, sinks: Mapping[str, Sink]
    ) -> None:
        postfix.apply(
            main_cf="default_transport = vmta-a\n",
            master_cf="""\
vmta-a    unix  -       -       n       -       -       smtp
    -o smtp_bind_address=127.0.0.10
    -o smtp_helo_name=a.example.com
""",
        )
        postfix.submit(MAIL, SENDER, [RECIPIENT])
        (mail,) = sinks["vmta-a"].wait()
        assert (mail.client, mail.helo) == ("127.0.0.10", "a.example.com")

    def test_reset_takes_a_test_s_configuration_back(
        self, postfix: Postfix, sinks: Mapping[str, Sink]
    ) -> None:
        before = postfix.postconf("-n"), postfix.postconf("-M")
        postfix.apply("default_transport = vmta-b", files={"extra": "x"})
        assert (postfix.postconf("-n"), postfix.postconf("-M")) != before
        postfix.reset()
        assert (postfix.postconf("-n"), postfix.postconf("-M")) == before
        assert not (postfix.config_directory / "extra").exists()
        postfix.submit(MAIL, SENDER, [RECIPIENT])
        sinks["smtp"].wait()

    def test_delivers_local_and_virtual_mail_to_maildirs(self, postfix: Postfix) -> None:
        postfix.submit(MAIL, SENDER, [LOCAL_USER, f"any@{VIRTUAL_DOMAIN}"])
        postfix.wait_empty()
        for name in ("local", "virtual"):
            (raw,) = postfix.mailbox(name)
            assert raw.endswith(MAIL.replace(b"\r\n", b"\n"))

    def test_refuses_an_unknown_local_user_at_rcpt(self, postfix: Postfix) -> None:
        assert postfix.submit(MAIL, SENDER, ["nobody@local.example"]).code == 550

    def test_takes_mail_from_sendmail(self, postfix: Postfix, sinks: Mapping[str, Sink]) -> None:
        postfix.sendmail(MAIL.replace(b"\r\n", b"\n"), "-i", "-f", SENDER, RECIPIENT)
        (mail,) = sinks["smtp"].wait()
        assert mail.below_received == MAIL
        assert mail.sender == SENDER

    def test_a_session_carries_many_mails(
        self, postfix: Postfix, sinks: Mapping[str, Sink]
    ) -> None:
        with postfix.client() as smtp:
            assert all(send(smtp, MAIL, SENDER, [RECIPIENT]).accepted for _ in range(5))
        sinks["smtp"].wait(5)

    def test_the_client_s_address_can_be_chosen(self, postfix: Postfix) -> None:
        queue_id = postfix.submit(MAIL, SENDER, [RECIPIENT], source="127.0.0.9").queue_id
        postfix.wait_log(f"{queue_id}: client=unknown[127.0.0.9]")

    def test_held_mail_can_be_looked_at_and_goes_on_afterwards(
        self, postfix: Postfix, sinks: Mapping[str, Sink]
    ) -> None:
        postfix.apply("header_checks = regexp:{{/^X-Way: / FILTER vmta-a:}}")
        with postfix.holding():
            queue_id = postfix.submit(b"X-Way: a\r\n" + MAIL, SENDER, [RECIPIENT]).queue_id
            postfix.sendmail(b"Subject: held too\n\nx\n", "-f", SENDER, RECIPIENT)
            postfix.wait_idle()
            assert [mail.queue for mail in postfix.queue()] == ["hold", "hold"]
            assert "content_filter: vmta-a:" in postfix.postcat(queue_id)
            assert "Subject: Offers" in postfix.postcat(queue_id, "-h")
            assert not any(sink.mails for sink in sinks.values())
        sinks["vmta-a"].wait()
        sinks["smtp"].wait()

    def test_a_refused_mail_is_tried_again_soon(
        self, postfix: Postfix, sinks: Mapping[str, Sink]
    ) -> None:
        sinks["smtp"].answer = "451 4.3.0 later"
        queue_id = postfix.submit(MAIL, SENDER, [RECIPIENT]).queue_id
        postfix.wait_log(f"{queue_id}: to=<{RECIPIENT}>, relay=127.0.0.1")
        assert [mail.queue_id for mail in postfix.queue()] == [queue_id]
        assert sinks["smtp"].mails == ()
        sinks["smtp"].answer = "250 2.0.0 now"
        sinks["smtp"].wait()
        postfix.wait_empty()

    def test_eight_bit_and_utf8_addresses_pass(
        self, postfix: Postfix, sinks: Mapping[str, Sink]
    ) -> None:
        raw = MAIL.replace(b"Hello", "Grüße".encode())
        postfix.submit(raw, SENDER, [RECIPIENT], options=["BODY=8BITMIME"])
        postfix.submit(raw, "käthe@shop.example.com", [RECIPIENT], options=["SMTPUTF8"])
        plain, utf8 = sorted(sinks["smtp"].wait(2), key=lambda mail: mail.sender)
        assert plain.sender == "käthe@shop.example.com"
        assert "SMTPUTF8" in plain.sender_options
        assert utf8.eightbit
        assert utf8.below_received == raw


class TestLogin:
    """SMTP AUTH on the second port."""

    def test_a_login_is_known_to_postfix(
        self, postfix: Postfix, sinks: Mapping[str, Sink], logins: Mapping[str, str]
    ) -> None:
        reply = postfix.submit(MAIL, SENDER, [RECIPIENT], login=("crm", logins["crm"]))
        postfix.wait_log("sasl_method=PLAIN, sasl_username=crm")
        assert reply.accepted
        sinks["smtp"].wait()

    def test_a_wrong_password_is_refused(self, postfix: Postfix) -> None:
        with pytest.raises(smtplib.SMTPAuthenticationError), postfix.client(login=("crm", "no")):
            pass

    def test_the_port_takes_nothing_without_login(self, postfix: Postfix) -> None:
        with smtplib.SMTP("127.0.0.1", postfix.sasl_port, "client.example") as smtp:
            smtp.ehlo()
            assert send(smtp, MAIL, SENDER, [RECIPIENT]).code == 554


class TestChroot:
    """All daemons in their jail, as in Debian's master.cf."""

    def test_cleanup_reads_its_table_before_it_is_jailed(
        self, directory: Path, sinks: Mapping[str, Sink]
    ) -> None:
        ports = {"smtp": sinks["smtp"].port, "vmta-a": sinks["vmta-a"].port}
        with Postfix(directory / "jailed", ports, chroot=True) as postfix:
            postfix.apply(
                "header_checks = pcre:$config_directory/checks",
                files={"checks": "/^X-Way: (vmta-a)$/ FILTER $1:\n"},
            )
            assert "\ncleanup    unix  n       -       y" in postfix.postconf("-M")
            postfix.submit(b"X-Way: vmta-a\r\n" + MAIL, SENDER, [RECIPIENT])
            sinks["vmta-a"].wait()
            (root,) = {
                os.readlink(f"/proc/{pid}/root")
                for pid in processes.processes(postfix.pid)
                if b"cleanup" in Path(f"/proc/{pid}/cmdline").read_bytes()
            }
            assert root == str(postfix.queue_directory)


class TestSinks:
    """What a sink tells, and what it does not let pass."""

    def test_without_8bitmime_postfix_converts(self, directory: Path) -> None:
        raw = (
            b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
            b"MIME-Version: 1.0\r\n" + MAIL.replace(b"Hello", "Grüße".encode())
        )
        with (
            Sink("seven", eightbit=False, smtputf8=False) as sink,
            Postfix(directory / "seven", {"smtp": sink.port}) as postfix,
        ):
            postfix.submit(raw, SENDER, [RECIPIENT], options=["BODY=8BITMIME"])
            (mail,) = sink.wait()
        assert not mail.eightbit
        assert b"Content-Transfer-Encoding: quoted-printable" in mail.raw
        assert b"Gr=C3=BC=C3=9Fe" in mail.raw

    @pytest.mark.parametrize(
        "field",
        [b"X-GreenArrow-MailClass: a", b"x-greenarrow-new:", b"X-FLETCHING-ROUTE: vmta-a"],
    )
    def test_a_private_header_is_seen(
        self, postfix: Postfix, sinks: Mapping[str, Sink], field: bytes
    ) -> None:
        postfix.submit(field + b"\r\n" + MAIL, SENDER, [RECIPIENT])
        sinks["smtp"].wait()
        (leak,) = sinks_module.leaks
        assert leak == f"sink smtp: {field.decode()}"
        sinks_module.leaks.clear()  # or this test would fail

    def test_a_private_header_in_a_mailbox_is_seen(self, postfix: Postfix) -> None:
        postfix.submit(b"X-GreenArrow-MtaID: a\r\n" + MAIL, SENDER, [LOCAL_USER])
        postfix.wait_empty()
        postfix.find_leaks()
        (leak,) = sinks_module.leaks
        assert leak == "mailbox local: X-GreenArrow-MtaID: a"
        sinks_module.leaks.clear()
        postfix.reset()  # or the fixture would find it again

    def test_a_name_in_a_body_is_not_a_header(
        self, postfix: Postfix, sinks: Mapping[str, Sink]
    ) -> None:
        postfix.submit(MAIL + b"X-GreenArrow-MailClass: a\r\n", SENDER, [RECIPIENT])
        sinks["smtp"].wait()
        assert sinks_module.leaks == []

    def test_smtp_sink_takes_load_from_smtp_source(self, directory: Path, tmp_path: Path) -> None:
        mail = tmp_path / "mail"
        mail.write_bytes(MAIL.replace(b"\r\n", b"\n"))
        with (
            FastSink("fast", directory / "fast-sink") as sink,
            Postfix(directory / "fast", {"smtp": sink.port}) as postfix,
        ):
            smtp_source(
                postfix.port,
                mail,
                messages=60,
                sessions=4,
                sender=SENDER,
                recipient=RECIPIENT,
            )
            postfix.wait_empty()
            assert sink.count() == 60
            assert all(raw.startswith(b"Received: from client.example") for raw in sink.mails())
            assert sinks_module.leaks == []

    def test_smtp_sink_sees_a_private_header_at_its_end(self, directory: Path) -> None:
        with (
            FastSink("leaky", directory / "leaky-sink") as sink,
            smtplib.SMTP("127.0.0.1", sink.port, "client.example") as smtp,
        ):
            smtp.ehlo()
            send(smtp, b"X-GreenArrow-SeedDo: yes\r\n" + MAIL, SENDER, [RECIPIENT])
        (leak,) = sinks_module.leaks
        assert leak == "sink leaky: X-GreenArrow-SeedDo: yes"
        sinks_module.leaks.clear()


class TestRedis:
    """Redis, and what can be done to it."""

    def test_is_reached_both_ways(self, redis: RedisServer) -> None:
        redis_client.Redis.from_url(redis.url).set("k", "v")
        assert redis_client.Redis.from_url(redis.unix_url).get("k") == b"v"

    def test_keeps_what_was_written_when_killed(self, redis: RedisServer) -> None:
        with redis.raw_client() as client:
            client.set("k", "v")
        redis.kill()
        assert not redis.running
        with pytest.raises(redis_client.ConnectionError), redis.raw_client() as client:
            client.ping()
        redis.start()
        with redis.raw_client() as client:
            assert client.get("k") == b"v"

    def test_a_paused_one_accepts_and_does_not_answer(self, redis: RedisServer) -> None:
        impatient = redis_client.Redis(
            unix_socket_path=str(redis.socket), socket_timeout=0.2, retry=Retry(NoBackoff(), 0)
        )
        assert impatient.ping()
        redis.pause()
        with pytest.raises(redis_client.TimeoutError):
            impatient.ping()
        redis.resume()
        assert impatient.ping()
        impatient.close()

    def test_reset_brings_it_back_empty(self, redis: RedisServer) -> None:
        with redis.raw_client() as client:
            client.set("k", "v")
        redis.kill()
        redis.reset()
        with redis.raw_client() as client:
            assert not {*client.keys()} - {keys.JOURNALS.encode()}


class TestMiltertest:
    """Debian's miltertest."""

    def test_runs_a_script_with_variables(self) -> None:
        assert miltertest('mt.echo("hello " .. who)', who="milter") == "hello milter\n"

    def test_a_failing_script_fails(self) -> None:
        with pytest.raises(AssertionError, match="broken on purpose"):
            miltertest('error("broken on purpose")')
