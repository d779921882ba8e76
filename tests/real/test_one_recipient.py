"""The recipe `fletching postfix --one-recipient`, on a real Postfix with the real milter.

One mail goes in, one mail per recipient comes out: nobody is lost, nobody gets two, and trust and
login are what they would be without the recipe.
"""

from __future__ import annotations

import re
import shlex
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from fletching.config.load import load
from fletching.config.model import Config
from fletching.keys.link_keys import new_link_key
from fletching.postfix.one_recipient import FIRST_PORT, one_recipient
from fletching.postfix.settings import pieces

from sandbox.postfix import Postfix
from sandbox.postfix_config import LOCAL_USER
from sandbox.processes import Daemon, free_port, wait_until
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink, SunkMail

pytestmark = pytest.mark.slow

UNTRUSTED = "127.0.0.9"
SENDER = "shop@example.com"
READERS = [f"reader{number}@{domain}.example" for number, domain in enumerate("aabbc")]

CONFIG = """\
listen: unix:{listen}
redis: unix://{redis}
state_dir: {folder}
trusted: {{networks: [127.0.0.1/32]}}
users: {{crm: {{force_mail_class: crm}}, shop: {{mail_class: newsletter}}}}
bounce_mailbox: bounces@example.com
link_keys: {folder}/link-keys
mail_classes:
  crm: {{virtual_mta: a, list_unsubscribe: false}}
  newsletter: {{virtual_mta: b, list_unsubscribe: false}}
  strict: {{on_invalid_header: reject, list_unsubscribe: false}}
virtual_mtas: {{a: {{transport: vmta-a}}, b: {{transport: vmta-b}}}}
"""


@dataclass(frozen=True)
class Site:
    """Postfix with the recipe, and the milter behind it."""

    postfix: Postfix
    milter: Daemon
    listen: Path

    def start_milter(self) -> None:
        self.milter.start(self._milter_answers)

    def _milter_answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.listen)) == 0

    def send(
        self,
        recipients: list[str],
        login: str | None = None,
        mail_class: str | None = None,
        source: str = "127.0.0.1",
        more: bytes = b"",
        sender: str = SENDER,
    ) -> None:
        """One mail to all of them; Postfix has to take it."""
        control = f"X-GreenArrow-MailClass: {mail_class}\r\n".encode() if mail_class else b""
        raw = control + more + b"From: shop@example.com\r\nSubject: Offers\r\n\r\nHello\r\n"
        account = (login, f"{login}-secret") if login else None
        reply = self.postfix.submit(raw, sender, recipients, login=account, source=source)
        assert reply.accepted, reply


@pytest.fixture
def site(postfix: Postfix, redis: RedisServer, tmp_path: Path) -> Iterator[Site]:
    file = tmp_path / "fletching.yaml"
    listen = postfix.socket_folder() / "milter.sock"
    file.write_text(CONFIG.format(listen=listen, redis=redis.socket, folder=tmp_path))
    new_link_key(tmp_path / "link-keys", 0)
    argv = [sys.executable, "-m", "fletching", "milter", "--config", str(file)]
    site = Site(postfix, Daemon(argv, tmp_path / "log"), listen)
    set_up(postfix, load(file))
    site.start_milter()
    try:
        yield site
    finally:
        # While the milter answers: what is on its way must not wait in the queue for it.
        postfix.wait_idle()
        site.milter.stop()


def set_up(postfix: Postfix, config: Config) -> None:
    """As the pieces say, but at ports of this test and at the services of this Postfix."""
    base, recipe = pieces(config), one_recipient(config)
    ports = {str(FIRST_PORT + number): str(free_port()) for number in range(4)}
    services = {"submission": f"127.0.0.1:{postfix.sasl_port}", "smtp": f"127.0.0.1:{postfix.port}"}

    def here(text: str) -> str:
        return re.sub(r"\b1058[7-9]\b|\b10590\b", lambda found: ports[found[0]], text)

    postfix.apply(base.main_cf, base.master_cf, base.tables)
    postfix.apply(
        here(recipe.main_cf),
        here(recipe.master_cf),
        {name: here(text) for name, text in recipe.tables.items()},
    )
    for command in recipe.switch_on:
        name, *words = shlex.split(here(command))
        words = [re.sub(r"^(\w+)(?=/inet/)", lambda found: services[found[1]], w) for w in words]
        postfix.command(name, *words)
    postfix.reload()


def each_has_one(mails: tuple[SunkMail, ...], recipients: list[str]) -> None:
    """Every recipient has exactly one mail of his own."""
    assert sorted(mail.recipients for mail in mails) == sorted((each,) for each in recipients)


@pytest.mark.parametrize(
    ("login", "mail_class", "transport"),
    [
        # The class of the login, whatever the mail wants.
        ("crm", "newsletter", "vmta-a"),
        # The default of the login, and what the mail wants.
        ("shop", None, "vmta-b"),
        ("shop", "crm", "vmta-a"),
        # A login that the configuration does not name is trusted like any other.
        ("other", "crm", "vmta-a"),
        # A client of a trusted network, without a login.
        (None, "newsletter", "vmta-b"),
        # No class: nothing happens to it, but each still has a mail of his own.
        (None, None, "smtp"),
    ],
)
def test_each_recipient_gets_a_mail_of_his_own(
    site: Site,
    sinks: Mapping[str, Sink],
    login: str | None,
    mail_class: str | None,
    transport: str,
) -> None:
    site.send(READERS, login, mail_class)
    mails = sinks[transport].wait(len(READERS))
    each_has_one(mails, READERS)
    site.postfix.wait_empty()
    assert sum(len(sink.mails) for sink in sinks.values()) == len(READERS)
    senders = {mail.sender for mail in mails}
    infos = {mail.message["X-Mailer-Info"] for mail in mails}
    if transport == "smtp":
        assert (senders, infos) == ({SENDER}, {None})
    else:
        assert all(re.fullmatch(r"bounces\+[a-z2-7]+@example\.com", each) for each in senders)
        assert (len(senders), len(infos)) == (len(READERS), len(READERS))
    # Taken in twice, and no more often: nothing goes round in a loop.
    assert {mail.header_names.count("received") for mail in mails} == {2}


def test_untrusted_clients_stay_untrusted(site: Site, sinks: Mapping[str, Sink]) -> None:
    """Their mail is not led into the recipe: it is one mail, without a class."""
    site.send(READERS[:2], mail_class="newsletter", source=UNTRUSTED)
    (mail,) = sinks["smtp"].wait()
    assert mail.recipients == tuple(READERS[:2])
    assert mail.sender == SENDER
    assert not {"x-mailer-info", "x-greenarrow-mailclass"} & set(mail.header_names)
    assert mail.header_names.count("received") == 1


def test_nobody_is_lost_while_the_milter_is_away(site: Site, sinks: Mapping[str, Sink]) -> None:
    site.milter.kill()
    before = len(site.postfix.log())
    site.send(READERS, "shop")

    def waiting() -> set[str]:
        log = site.postfix.log()[before:]
        return set(re.findall(r"fletching-split/smtp.* to=<([^>]*)>.* status=deferred", log))

    wait_until("every recipient has been tried", lambda: waiting() == set(READERS))
    (queued,) = site.postfix.queue()
    assert sorted(queued.recipients) == sorted(READERS)
    assert not any(sink.mails for sink in sinks.values())
    site.start_milter()

    def nothing_waits() -> bool:
        queue = site.postfix.queue()
        # Trying again so soon, qmgr(8) may have found the mail locked; left alone, it would look
        # at it in five minutes.
        if any(mail.queue == "incoming" for mail in queue):
            site.postfix.command("postqueue", "-f")
        return not queue

    wait_until("the queue is not empty", nothing_waits)
    each_has_one(sinks["vmta-b"].wait(len(READERS)), READERS)


def test_a_restarted_milter_gets_mail_at_once(site: Site, sinks: Mapping[str, Sink]) -> None:
    """No connection is kept that would go on answering 451."""
    site.send(READERS, "shop")
    sinks["vmta-b"].wait(len(READERS))
    site.milter.stop()
    site.start_milter()
    sinks["vmta-b"].clear()
    before = len(site.postfix.log())
    site.send(READERS, "shop")
    sinks["vmta-b"].wait(len(READERS))
    assert "status=deferred" not in site.postfix.log()[before:]


def test_a_refusal_comes_back_for_every_recipient(site: Site) -> None:
    site.send(
        READERS,
        mail_class="strict",
        more=b"X-GreenArrow-InstanceID: none\r\n",
        sender=LOCAL_USER,
    )
    site.postfix.wait_empty()
    bounces = b"".join(site.postfix.mailbox("local"))
    for reader in READERS:
        assert f"Final-Recipient: rfc822; {reader}".encode() in bounces
    assert b"X-GreenArrow-InstanceID: must start with a digit" in bounces


def test_a_bounce_of_one_is_about_that_one(site: Site, sinks: Mapping[str, Sink]) -> None:
    sinks["smtp"].answer = "550 5.1.1 no such user"
    site.send(READERS[:2], sender=LOCAL_USER)
    wait_until("two bounces", lambda: len(site.postfix.mailbox("local")) == 2)
    told = {
        re.findall(rb"Final-Recipient: rfc822; (\S+)", raw)[0].decode()
        for raw in site.postfix.mailbox("local")
    }
    assert told == set(READERS[:2])


def test_local_and_expanded_recipients(site: Site, sinks: Mapping[str, Sink]) -> None:
    """Addresses are rewritten once, before the mail is split; local mail stays on this host."""
    everybody = " ".join(READERS)
    site.postfix.apply(
        "virtual_alias_maps = texthash:$config_directory/virtual\n"
        "virtual_alias_domains = list.example\n"
        "always_bcc = keeper@keep.example\n",
        files={"virtual": f"everybody@list.example {everybody}\n"},
    )
    site.send(["everybody@list.example", LOCAL_USER], "shop")
    recipients = [*READERS, "keeper@keep.example"]
    each_has_one(sinks["vmta-b"].wait(len(recipients)), recipients)
    site.postfix.wait_empty()
    (local,) = site.postfix.mailbox("local")
    assert b"X-Mailer-Info:" in local
