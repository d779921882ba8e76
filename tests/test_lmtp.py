"""The LMTP service as a process: what is answered with 250 is recorded once, whatever is killed."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner
from fletching.cli.main import main
from fletching.numbering import Question
from fletching.store import keys
from fletching.store.bad_addresses import BadAddresses
from fletching.store.campaigns import Campaigns
from fletching.store.connection import StoreUnavailable
from fletching.store.events import EventLog
from fletching.store.statistics import Statistics
from fletching.tokens import Facts, Kind

from sandbox.lmtp import LmtpClient
from sandbox.processes import private_directory, wait_until
from sandbox.redis_server import RedisServer
from tests.real.fletching import Fletching
from tests.stores import open_store

pytestmark = pytest.mark.slow

CAMPAIGN = "a" * 12
BARE = "bounces@example.com"


class Service:
    """The service over a Redis of its own, and a client that sends again what was not taken."""

    def __init__(self, folder: Path) -> None:
        self.redis = RedisServer()
        self.redis.start()
        self.socket = f"{folder}/f/sockets/lmtp.sock"
        change = {"lmtp": {"listen": f"unix:{self.socket}"}}
        self.daemon = Fletching(folder / "f", self.redis.unix_url, change, command="lmtp")
        self.daemon.start()
        self.state_dir = self.daemon.directory / "state"

    def end(self) -> None:
        self.daemon.stop()
        self.redis.__exit__(None, None, None)

    def send(self, count: int) -> None:
        """Messages, the way the milter numbers them."""
        campaigns = Campaigns(open_store(self.redis.unix_url))
        for number in range(1, count + 1):
            remember = (
                *(("listid", "t100"), ("click_tracking_id", f"id {number}")),
                *(("email", f"r{number}@example.net"), ("mtaid", "bulk")),
            )
            question = Question(
                *("News1", "News", "1", "", 1_700_000_000, 86400, CAMPAIGN, remember, 86400)
            )
            assert campaigns.campaign_of(question)

    def return_path(self, number: int) -> str:
        return f"bounces+{self.daemon.keys.tag(CAMPAIGN, number)}@example.com"

    def mailer_info(self, number: int) -> str:
        facts = Facts(
            *(CAMPAIGN, number, "News", "1", "t100", f"id {number}", f"r{number}@example.net"),
            *("bulk", 1_700_000_000),
        )
        return self.daemon.keys.seal(Kind.MAILER_INFO, facts)

    def deliver(self, recipients: Sequence[str], content: bytes) -> list[bytes]:
        """One mail over a connection of its own."""
        with LmtpClient(self.socket) as client:
            client.say(b"LHLO mail.example.com")
            return client.deliver("", recipients, content)

    def deliver_all(self, mails: Sequence[tuple[str, bytes]], clients: int = 8) -> None:
        """As Postfix does: each mail again and again until it is taken, several at a time."""
        left, lock = list(reversed(mails)), threading.Lock()

        def run() -> None:
            while True:
                with lock:
                    if not left:
                        return
                    recipient, content = left.pop()
                reply = [b""]
                while not reply[0].startswith(b"250"):
                    with suppress(OSError):
                        reply = self.deliver([recipient], content)
                    if not reply[0].startswith(b"250"):
                        time.sleep(0.05)

        threads = [threading.Thread(target=run) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def events(self) -> list[dict[str, object]]:
        stream = EventLog(open_store(self.redis.unix_url))
        with suppress(StoreUnavailable):
            return [json.loads(event) for _, event in stream.read("0", 100_000)]
        return []

    def wait_for(self, count: int) -> list[dict[str, object]]:
        """The events, once there are so many; more are an error."""
        wait_until(f"not {count} events", lambda: len(self.events()) >= count, 60)
        assert len(self.events()) == count
        return self.events()

    def kept(self) -> list[Path]:
        return sorted((self.state_dir / "unreadable").glob("*.eml"))


@pytest.fixture
def service() -> Iterator[Service]:
    with private_directory() as folder:
        running = Service(folder)
        try:
            yield running
        finally:
            running.end()


def bounce(email: str, mailer_info: str = "", id: str = "") -> bytes:
    """A delivery status notification (RFC 3464)."""
    header = f"X-Mailer-Info: {mailer_info}\r\n" if mailer_info else ""
    return (
        f"From: MAILER-DAEMON@example.net\r\nSubject: Undelivered mail\r\nMessage-ID: <{id}@mx>\r\n"
        "MIME-Version: 1.0\r\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
        "--b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n"
        "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx\r\n\r\n"
        f"Final-Recipient: rfc822; {email}\r\nAction: failed\r\nStatus: 5.1.1\r\n"
        "Diagnostic-Code: smtp; 550 5.1.1 User unknown\r\n\r\n"
        f"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nSubject: Offers\r\n{header}\r\n--b--\r\n"
    ).encode()


def bounces(service: Service, count: int) -> list[tuple[str, bytes]]:
    """Every second one has X-Mailer-Info, every one has its tag."""
    return [
        (
            service.return_path(number),
            bounce(f"r{number}@example.net", service.mailer_info(number) if number % 2 else ""),
        )
        for number in range(1, count + 1)
    ]


def each_once(found: Sequence[dict[str, object]], count: int) -> None:
    counted = Counter(event["message_number"] for event in found)
    assert counted == dict.fromkeys(range(1, count + 1), 1)
    for event in found:
        number = event["message_number"]
        assert event["event_type"] == "bounce_all"
        assert event["email"] == f"r{number}@example.net"
        assert event["click_tracking_id"] == f"id {number}"
        assert (event["listid"], event["mtaid"], event["mail_class"]) == ("t100", "bulk", "News")


def test_bounces_are_recorded_once_while_service_and_redis_are_killed(service: Service) -> None:
    count = 2000
    service.send(count)
    over, killed = threading.Event(), Counter[str]()
    servers: dict[str, Fletching | RedisServer] = {"lmtp": service.daemon, "redis": service.redis}

    def kill() -> None:
        for name in itertools.cycle(servers):
            if over.wait(0.7):
                return
            servers[name].kill()
            servers[name].start()
            killed[name] += 1

    killing = threading.Thread(target=kill)
    killing.start()
    service.deliver_all(bounces(service, count))
    over.set()
    killing.join()
    assert killed.keys() == {"lmtp", "redis"}, "one of them was never killed"
    each_once(service.wait_for(count), count)
    assert service.kept() == []

    statistics = Statistics(open_store(service.redis.unix_url), lambda _: frozenset({"bounces"}))

    def counted() -> int:
        campaign = statistics.campaign(CAMPAIGN)
        return (campaign.bounces_hard or 0) if campaign else 0

    wait_until("not all are counted", lambda: counted() >= count, 60)
    assert counted() == count


def test_bounces_wait_in_the_journal_while_redis_is_away(service: Service) -> None:
    count = 200
    service.send(count)
    service.redis.stop()
    with_info = [mail for at, mail in enumerate(bounces(service, count), 1) if at % 2]
    service.deliver_all(with_info)
    (reply,) = service.deliver([service.return_path(2)], bounce("r2@example.net"))
    assert reply.startswith(b"451"), "Redis alone knows which message that is"
    service.daemon.kill()
    service.daemon.start()
    service.deliver_all(with_info)
    assert service.events() == []
    service.redis.start()
    found = service.wait_for(len(with_info))
    assert {event["message_number"] for event in found} == set(range(1, count, 2))
    service.deliver_all(bounces(service, count))
    each_once(service.wait_for(count), count)


def test_each_recipient_of_a_mail_is_a_return_path_of_its_own(service: Service) -> None:
    service.send(2)
    replies = service.deliver(
        [service.return_path(1), BARE, service.return_path(2)], bounce("x@example.net")
    )
    assert [reply[:3] for reply in replies] == [b"250"] * 3
    found = {event["email"]: event["attributed"] for event in service.wait_for(3)}
    assert found == {"r1@example.net": True, "x@example.net": False, "r2@example.net": True}


def test_mail_to_many_mailboxes_is_recorded_once(service: Service) -> None:
    service.send(1)
    boxes = [f"bounces+{number}@example.com" for number in range(50)]
    quoting = bounce("r1@example.net", service.mailer_info(1))
    for content in (bounce("x@example.net"), quoting):
        assert all(reply.startswith(b"250") for reply in service.deliver(boxes, content))
    assert all(reply.startswith(b"250") for reply in service.deliver(boxes, b"Subject: x\r\n\r\n"))
    assert len(service.kept()) == 1
    said = service.daemon.log()
    assert "attributed=False events=1 repeated=0" in said
    assert "attributed=True events=1 repeated=0" in said
    found = {event["email"]: event["attributed"] for event in service.wait_for(2)}
    assert found == {"x@example.net": False, "r1@example.net": True}


def test_bounce_of_a_message_to_one_recipient_has_one_claim(service: Service) -> None:
    service.send(1)
    named = "".join(f"\r\n\r\nFinal-Recipient: rfc822; x{at}@e.test" for at in range(100))
    content = bounce(f"x@e.test{named}").replace(b"dns; mx", b"dns; mx\r\nX-Postfix-Queue-ID: 4A1B")
    assert service.deliver([service.return_path(1)], content)[0].startswith(b"250")
    assert [event["email"] for event in service.wait_for(1)] == ["r1@example.net"]
    assert service.redis.client.hlen(keys.claims(CAMPAIGN)) == 1


@pytest.mark.parametrize("field", ["X-Original-To", "Delivered-To"])
def test_address_before_an_alias_is_the_return_path(service: Service, field: str) -> None:
    service.send(1)
    content = f"{field}: {service.return_path(1)}\r\n".encode() + bounce("x@example.net")
    assert service.deliver(["all-bounces@example.com"], content)[0].startswith(b"250")
    (event,) = service.wait_for(1)
    assert (event["email"], event["attributed"]) == ("r1@example.net", True)


def test_message_that_redis_has_forgotten_is_still_known_by_its_tag(service: Service) -> None:
    service.send(1)
    service.redis.client.flushall()
    service.deliver([service.return_path(1)], bounce("r1@example.net"))
    (event,) = service.wait_for(1)
    assert (event["campaign"], event["message_number"]) == (CAMPAIGN, 1)
    assert (event["email"], event["attributed"]) == ("", True)


def test_mail_that_is_nothing_is_kept_once(service: Service) -> None:
    content = b"Subject: Hello?\r\n\r\nX-Fletching-Sender: not me\r\n"
    for _ in range(2):
        (reply,) = service.deliver([BARE], content)
        (path,) = service.kept()
        assert reply.decode() == f"250 2.0.0 none: kept as {path.stem}"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.read_bytes() == (
        b"X-Fletching-Sender: \r\nX-Fletching-Recipient: bounces@example.com\r\n" + content
    )
    assert service.events() == []
    wait_until(
        "the counter is not written",
        lambda: (
            "fletching_unreadable_mails_total 2.0" in (service.state_dir / "lmtp.prom").read_text()
        ),
    )


def test_mail_that_cannot_be_kept_is_for_later(service: Service) -> None:
    assert service.deliver([BARE], b"Subject: x\r\n\r\n")[0].startswith(b"250")
    folder = service.state_dir / "unreadable"
    folder.rename(folder.with_name("elsewhere"))
    assert service.deliver([BARE], b"Subject: y\r\n\r\n")[0].startswith(b"451")
    folder.with_name("elsewhere").rename(folder)
    assert service.deliver([BARE], b"Subject: y\r\n\r\n")[0].startswith(b"250")
    assert len(service.kept()) == 2


def test_kept_mails_can_be_fed_again(service: Service) -> None:
    service.send(1)
    for number in range(2):
        service.deliver([BARE], f"Subject: {number}\r\n\r\n.dots\r\n..\r\n".encode())
    kept = service.kept()
    before = [path.read_bytes() for path in kept]
    printed = service.daemon.command("bounce", "feed", *map(str, kept)).splitlines()
    assert printed == [f"{path}: 250 2.0.0 none: kept as {path.stem}" for path in kept]
    assert service.kept() == kept
    assert [path.read_bytes() for path in kept] == before
    elsewhere = service.daemon.directory / "mail.eml"
    content = f"Delivered-To: {service.return_path(1)}\n".encode() + bounce("r1@example.net")
    elsewhere.write_bytes(content.replace(b"\r\n", b"\n"))
    for _ in range(2):
        assert "250 2.0.0 bounce: 1" in service.daemon.command("bounce", "feed", str(elsewhere))
    (event,) = service.wait_for(1)
    assert event["email"] == "r1@example.net"


def test_feeding_says_what_is_wrong(service: Service) -> None:
    config = service.daemon.config_path
    done = CliRunner().invoke(main, ["bounce", "feed", "/nowhere.eml", "--config", str(config)])
    assert (done.exit_code, done.stdout) == (1, "/nowhere.eml: No such file or directory\n")
    service.daemon.stop()
    done = CliRunner().invoke(main, ["bounce", "feed", "/nowhere.eml", "--config", str(config)])
    assert done.exit_code == 1
    assert f"lmtp.listen: unix:{service.socket}: No such file" in done.stderr


def test_reload_takes_new_keys(service: Service) -> None:
    service.send(1)
    before = service.return_path(1)
    service.daemon.command("key", "new")
    assert service.daemon.reload() == "done"
    service.deliver([service.return_path(1)], bounce("r1@example.net", id="1"))
    service.deliver([before], bounce("r1@example.net", id="2"))
    assert [event["attributed"] for event in service.wait_for(2)] == [True, True]


def test_bounces_make_bad_addresses(service: Service) -> None:
    service.send(4)
    for recipient, content in bounces(service, 2):
        service.deliver([recipient], content)
    service.deliver(["bounces+wrong@example.com"], bounce("victim@example.net", id="3"))
    service.wait_for(3)
    addresses = BadAddresses(open_store(service.redis.unix_url))
    assert addresses.report() == 2
    found = [each for each in service.events() if each["event_type"] == "bounce_bad_address"]
    assert {each["email"] for each in found} == {"r1@example.net", "r2@example.net"}
    # From now on, one hard bounce is not enough.
    lmtp = {"listen": f"unix:{service.socket}"}
    service.daemon.configure({"lmtp": lmtp, "bounces": {"hard": 2}})
    assert service.daemon.reload() == "done"
    service.deliver([service.return_path(3)], bounce("r3@example.net", id="4"))
    service.wait_for(6)
    assert addresses.report() == 0


def test_service_ends_in_order(service: Service) -> None:
    with LmtpClient(service.socket) as client:
        client.say(b"LHLO x")
        service.daemon.stop()
        with pytest.raises(ConnectionError):
            client.reply()
    assert not Path(service.socket).exists()
    assert service.daemon.log().count("stopped daemon=lmtp") == 1
