"""What rules do to a mail, through a real Postfix: who gets it, what is in it, what the queue and
the logs say. The same with the recipe that gives each recipient a mail of his own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fletching.config.load import load

from sandbox.postfix import Postfix, Reply
from sandbox.postfix_config import LOCAL_USER
from sandbox.processes import wait_until
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink, SunkMail
from sandbox.verifiers import verify_dkimpy, verify_opendkim

from .fletching import Fletching, send_until_taken
from .mails import NEWSLETTER, RECIPIENT, SENDER, mail
from .test_one_recipient import set_up

pytestmark = pytest.mark.slow

ANNA, BEN, OTHER = "anna@agents.example", "ben@agents.example", "bob@yahoo.example"
UNTRUSTED = "127.0.0.9"
REASON = "looks like fraud, ask Anna"


def on(what: str, **do: Any) -> dict[str, Any]:
    """A rule for mail with `X-Do: WHAT`."""
    return {"name": what, "when": {"header": {"X-Do": what}}, "do": do}


RULES = [
    on("redirect", redirect=[ANNA, BEN]),
    on("redirect-here", redirect=[LOCAL_USER]),
    on("redirect-same", redirect=["carol@gmail.example"]),
    on("bcc", bcc=[ANNA]),
    on("bcc-here", bcc=[LOCAL_USER]),
    on("hold", hold=REASON),
    on("discard", discard=True),
    on("reject", reject="no mail of this kind: 100%"),
    on(
        "headers",
        add_headers={"Feedback-ID": "{header.Subject}:shop", "X-Note": "Gr\u00fc\u00dfe " * 40},
        remove_headers=["X-Do", "X-Secret"],
    ),
]
CHANGE = {
    "rules": RULES,
    "trusted": {"networks": ["127.0.0.1/32"]},
    "mail_classes": {"one": {"list_id": "one", "multiple_recipients": "reject"}},
}
DO = {rule["name"]: f"X-Do: {rule['name']}".encode() for rule in RULES}
ONE = b"X-GreenArrow-MailClass: one"


@dataclass(frozen=True)
class Site:
    postfix: Postfix
    fletching: Fletching
    sinks: Mapping[str, Sink]

    def send(self, raw: bytes, *to: str, source: str = "127.0.0.1") -> Reply:
        if source != "127.0.0.1":
            return self.postfix.submit(raw, SENDER, to, source=source)
        with self.postfix.client() as smtp:
            return send_until_taken(smtp, raw, SENDER, to or (RECIPIENT,))[-1]

    def left(self) -> list[SunkMail]:
        """All mails that have left since the last time."""
        self.postfix.wait_empty()
        found = [each for sink in self.sinks.values() for each in sink.mails]
        for sink in self.sinks.values():
            sink.clear()
        return found

    def recipients(self) -> list[str]:
        """Everybody who got a mail, once for each mail."""
        return sorted(address for each in self.left() for address in each.recipients)


@pytest.fixture(scope="module")
def running(place: Path, running_redis: RedisServer) -> Iterator[Site]:
    names = ("smtp", "relay", "vmta-a", "vmta-b", "vmta-transactional")
    sinks = {name: Sink(name) for name in ("smtp", "vmta-a", "vmta-b")}
    for sink in sinks.values():
        sink.start()
    ports = {name: sinks.get(name, sinks["smtp"]).port for name in names}
    with (
        Fletching(place / "acting", running_redis.unix_url, CHANGE) as fletching,
        Postfix(place / "acted", ports) as postfix,
    ):
        fletching.join(postfix)
        yield Site(postfix, fletching, sinks)
    for sink in sinks.values():
        sink.stop()


@pytest.fixture
def site(running: Site) -> Iterator[Site]:
    yield running
    running.postfix.command("postsuper", "-d", "ALL")
    running.postfix._make_mailboxes()
    running.left()


# Redirect and bcc.


@pytest.mark.parametrize("fields", [(), (NEWSLETTER,)], ids=["no class", "class"])
def test_redirect_replaces_all_recipients(site: Site, fields: tuple[bytes, ...]) -> None:
    reply = site.send(mail(DO["redirect"], *fields), RECIPIENT, OTHER)
    (arrived,) = site.left()
    assert sorted(arrived.recipients) == [ANNA, BEN]
    assert "redirected=redirect" in site.fletching.line_of(reply)


def test_redirected_mail_has_the_tokens_of_its_new_recipient(site: Site) -> None:
    site.send(mail(DO["redirect-same"], ONE), RECIPIENT, OTHER)
    (arrived,) = site.left()
    assert arrived.recipients == ("carol@gmail.example",)
    info = site.fletching.token(arrived.message["X-Mailer-Info"])
    assert info["email"] == "carol@gmail.example"
    assert passes(site, arrived)


@pytest.mark.parametrize("fields", [(), (NEWSLETTER,)], ids=["no class", "class"])
def test_redirect_to_a_local_recipient_stays_on_this_host(
    site: Site, fields: tuple[bytes, ...]
) -> None:
    site.send(mail(DO["redirect-here"], *fields))
    wait_until("no mail in the mailbox", lambda: bool(site.postfix.mailbox("local")))
    assert site.recipients() == []


@pytest.mark.parametrize("fields", [(), (NEWSLETTER,)], ids=["no class", "class"])
def test_bcc_adds_a_recipient_of_the_same_body(site: Site, fields: tuple[bytes, ...]) -> None:
    site.send(mail(DO["bcc"], *fields))
    arrived = site.left()
    assert sorted(one for each in arrived for one in each.recipients) == sorted([RECIPIENT, ANNA])
    for each in arrived:
        assert "bcc" not in each.header_names
        assert ANNA.encode() not in each.below_received.partition(b"\r\n\r\n")[0]
    if fields:
        info = site.fletching.token(arrived[0].message["X-Mailer-Info"])
        assert not info.get("email")
        assert all("list-unsubscribe" not in each.header_names for each in arrived)
        assert all(passes(site, each) for each in arrived)


@pytest.mark.parametrize("fields", [(), (NEWSLETTER,)], ids=["no class", "class"])
def test_bcc_to_a_local_recipient_stays_on_this_host(site: Site, fields: tuple[bytes, ...]) -> None:
    reply = site.send(mail(DO["bcc-here"], *fields))
    wait_until("no mail in the mailbox", lambda: bool(site.postfix.mailbox("local")))
    assert site.recipients() == [RECIPIENT]
    if fields:
        warning = 'warning="not routed: a recipient\'s Postfix transport is unknown"'
        assert warning in site.fletching.line_of(reply)


def test_recipients_of_mail_from_sendmail_are_redirected(site: Site) -> None:
    raw = mail(DO["redirect"], NEWSLETTER).replace(b"\r\n", b"\n")
    site.postfix.sendmail(raw, "-f", SENDER, RECIPIENT, OTHER)
    wait_until("nothing has left", lambda: any(sink.mails for sink in site.sinks.values()))
    assert site.recipients() == [ANNA, BEN]


# Hold, discard, reject.


@pytest.mark.parametrize("fields", [(), (NEWSLETTER,)], ids=["no class", "class"])
def test_held_mail_waits_and_leaves_without_a_trace_of_the_hold(
    site: Site, fields: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = site.send(mail(DO["hold"], *fields))
    (held,) = site.postfix.queue()
    assert (held.queue, held.queue_id) == ("hold", reply.queue_id)
    monkeypatch.setenv("MAIL_CONFIG", str(site.postfix.config_directory))

    def reasons() -> list[str | None]:
        listed = json.loads(site.fletching.command("held", "--json"))["mails_on_hold"]
        return [each["reason"] for each in listed if each["queue_id"] == reply.queue_id]

    wait_until("the queue shows no reason", lambda: reasons() == [REASON])
    if fields:
        assert f"held: {REASON}" in site.fletching.command("trace", reply.queue_id)
    line = site.fletching.line_of(reply)
    assert f'hold="{REASON}"' in line
    assert f"queue_id={reply.queue_id}" in line
    site.postfix.wait_log(f"{reply.queue_id}: milter-hold: END-OF-MESSAGE")
    site.postfix.command("postsuper", "-H", "ALL")
    site.postfix.command("postqueue", "-f")
    (left,) = site.left()
    assert left.recipients == (RECIPIENT,)
    assert b"fraud" not in left.raw
    assert not fields or passes(site, left)


def test_discarded_mail_is_accepted_and_reaches_nobody(site: Site) -> None:
    reply = site.send(mail(DO["discard"], NEWSLETTER))
    assert reply.accepted
    assert site.recipients() == []
    line = site.fletching.line_of(reply)
    assert "discarded=discard" in line
    assert "campaign=" not in line


def test_rejected_mail_gets_the_reply_of_the_rule(site: Site) -> None:
    reply = site.postfix.submit(mail(DO["reject"], NEWSLETTER), SENDER, [RECIPIENT])
    assert (reply.code, reply.text) == (550, "5.7.1 no mail of this kind: 100%")
    assert site.recipients() == []
    assert site.fletching.mail_lines()[-1]["rejected"] == "reject"


@pytest.mark.parametrize("name", ["redirect", "bcc", "hold", "discard", "reject", "headers"])
def test_rules_do_nothing_to_mail_of_strangers(site: Site, name: str) -> None:
    raw = mail(DO[name], b"X-Secret: 1")
    assert site.send(raw, RECIPIENT, source=UNTRUSTED).accepted
    (left,) = site.left()
    assert left.recipients == (RECIPIENT,)
    assert left.below_received == raw


# Header fields.


def passes(site: Site, arrived: SunkMail) -> bool:
    """Whether both foreign verifiers accept the signature of a mail that has left."""
    records = site.fletching.records
    verdicts = [*verify_opendkim(arrived.raw, records), *verify_dkimpy(arrived.raw, records)]
    return len(verdicts) == 2 and all(each.passed for each in verdicts)


@pytest.mark.parametrize("fields", [(), (NEWSLETTER,)], ids=["no class", "class"])
def test_headers_are_added_removed_and_signed(site: Site, fields: tuple[bytes, ...]) -> None:
    site.send(mail(DO["headers"], b"X-Secret: 1", b"x-secret: 2", *fields))
    (left,) = site.left()
    assert left.message["Feedback-ID"] == "Offers:shop"
    assert left.message["X-Note"] == ("Gr\u00fc\u00dfe " * 40).strip()
    assert not {"x-do", "x-secret"} & set(left.header_names)
    assert not fields or passes(site, left)


# With the recipe that splits mail before it reaches Fletching.


@pytest.fixture
def split(
    postfix: Postfix, redis: RedisServer, sinks: Mapping[str, Sink], fresh: Path
) -> Iterator[Site]:
    with Fletching(fresh, redis.unix_url, CHANGE) as fletching:
        set_up(postfix, load(fletching.config_path))
        yield Site(postfix, fletching, sinks)
        postfix.command("postsuper", "-d", "ALL")
        postfix.wait_idle()


def test_each_split_mail_is_redirected(split: Site) -> None:
    split.send(mail(DO["redirect"], NEWSLETTER), RECIPIENT, OTHER)
    wait_until("not both mails have left", lambda: total(split) == 2)
    assert split.recipients() == sorted([ANNA, BEN] * 2)


def total(site: Site) -> int:
    return sum(len(sink.mails) for sink in site.sinks.values())


def test_each_split_mail_has_its_bcc(split: Site) -> None:
    split.send(mail(DO["bcc"], NEWSLETTER), RECIPIENT, OTHER)
    wait_until("not both mails have left", lambda: total(split) >= 2)
    assert split.recipients() == sorted([RECIPIENT, OTHER, ANNA, ANNA])


def test_split_mail_reaches_local_recipients_of_rules(split: Site) -> None:
    split.send(mail(DO["bcc-here"], NEWSLETTER), RECIPIENT)
    wait_until("no mail in the mailbox", lambda: bool(split.postfix.mailbox("local")))
    assert split.recipients() == [RECIPIENT]
    split.send(mail(DO["redirect-here"], NEWSLETTER), RECIPIENT)
    wait_until("no second mail", lambda: len(split.postfix.mailbox("local")) == 2)
    assert split.recipients() == []


def test_split_mail_is_held_discarded_rejected_and_changed(split: Site) -> None:
    split.send(mail(DO["hold"], NEWSLETTER), RECIPIENT, OTHER)
    wait_until("not both are held", lambda: held(split) == 2)
    split.postfix.command("postsuper", "-d", "ALL", "hold")
    split.send(mail(DO["discard"], NEWSLETTER), RECIPIENT, OTHER)
    assert split.recipients() == []
    with split.postfix.client() as smtp:
        send_until_taken(smtp, mail(DO["reject"], NEWSLETTER), LOCAL_USER, [RECIPIENT])
    wait_until("no bounce", lambda: bool(split.postfix.mailbox("local")))
    assert b"no mail of this kind: 100%" in b"".join(split.postfix.mailbox("local"))
    split.send(mail(DO["headers"], NEWSLETTER), RECIPIENT)
    wait_until("nothing has left", lambda: total(split) == 1)
    (left,) = split.left()
    assert left.message["Feedback-ID"] == "Offers:shop"


def held(site: Site) -> int:
    listed = map(json.loads, site.postfix.command("postqueue", "-j").splitlines())
    return sum(entry["queue_name"] == "hold" for entry in listed)


def test_log_names_no_recipient_of_a_rule_that_is_obscured(site: Site) -> None:
    hidden = b"X-GreenArrow-Obscured-Email: userid-1"
    reply = site.send(mail(DO["bcc"], NEWSLETTER, hidden))
    site.left()
    line = site.fletching.line_of(reply)
    assert re.findall(r"\brcpt=(\S+)", line) == ["userid-1"]
    assert RECIPIENT not in line


PATHS = [
    "<@relay.example,@b.example:user@example.org>",
    "<@a:@b:user@example.org>",
    '<@a:"x y"@example.org>',
    "<<user@example.org>>",
    "(Name)<user@example.org>",
    "<user(comment)@example.org>",
    "< user@example.org >",
    "<us\\er@example.org>",
    "user@example.org",
    '<"j.d"@example.org>',
    '<"john doe"@example.org>',
    '<"a\\"b"@example.org>',
    '<"a@b"@example.org>',
    "<a@b@example.org>",
    "<a..b@example.org>",
    "<User@EXAMPLE.org(x)>",
]


@pytest.mark.parametrize("path", PATHS)
def test_redirect_takes_away_a_recipient_however_it_is_written(site: Site, path: str) -> None:
    def submitted() -> bool:
        with site.postfix.client() as smtp:
            smtp.docmd(f"MAIL FROM:<{SENDER}>")
            assert smtp.docmd(f"RCPT TO:{path}")[0] == 250
            # Redis may be late.
            return smtp.data(mail(DO["redirect"]))[0] == 250

    wait_until("the mail is taken", submitted)
    assert site.recipients() == sorted([ANNA, BEN])
