"""What Postfix adds by itself on a real Postfix: bounces and notices, and recipients after RCPT."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from .fletching import Fletching
from .mails import NEWSLETTER, READER, SENDER, mail
from .postfix import Postfix
from .postfix_config import LOCAL_USER
from .processes import wait_until
from .redis_server import Redis
from .sinks import Sink

Sinks = Mapping[str, Sink]
TO_B = b"X-GreenArrow-MtaID: b"
UNTRUSTED = "127.0.0.2"
TRUSTED = {"networks": ["127.0.0.1/32"]}


@pytest.fixture(scope="module")
def classifying(directory: Path, running_redis: Redis) -> Iterator[Fletching]:
    """The milter, with a class for all trusted mail."""
    change = {"trusted": TRUSTED, "default_mail_class": "newsletter"}
    with Fletching(directory / "added-mail", running_redis.unix_url, change) as fletching:
        yield fletching


@pytest.fixture(scope="module")
def by_sender(directory: Path, running_redis: Redis) -> Iterator[Fletching]:
    """The milter, with a return path that tells the transport."""
    change = {"route_by": "sender"}
    with Fletching(directory / "added-to", running_redis.unix_url, change) as fletching:
        yield fletching


@pytest.mark.parametrize(
    ("classes", "asked"), [("", 0), ("bounce", 2), ("bounce, notify", 2)], ids=str
)
def test_bounces_and_notices_get_no_default_class(
    classifying: Fletching, redis: Redis, postfix: Postfix, sinks: Sinks, classes: str, asked: int
) -> None:
    """Postfix counts the copy of a bounce for the postmaster as a bounce."""
    classifying.join(postfix)
    postfix.set(
        internal_mail_filter_classes=classes,
        notify_classes="bounce",
        bounce_notice_recipient=LOCAL_USER,
    )
    sinks["smtp"].answer = "550 5.1.1 no such user"
    before = len(classifying.mail_lines())
    # Untrusted, so that its return path stays.
    assert postfix.submit(mail(), LOCAL_USER, [READER], source=UNTRUSTED).accepted
    wait_until("not both have come", lambda: len(postfix.mailbox("local")) == 2)
    for raw in postfix.mailbox("local"):
        names = {line.partition(b":")[0].lower() for line in raw.partition(b"\n\n")[0].splitlines()}
        assert not names & {b"x-mailer-info", b"list-unsubscribe"}
    lines = classifying.mail_lines()[before + 1 :]
    assert len(lines) == asked
    assert not any("class" in line or "trusted" in line for line in lines)


def test_notice_of_a_protocol_error_gets_no_default_class(
    classifying: Fletching, redis: Redis, postfix: Postfix
) -> None:
    classifying.join(postfix)
    postfix.set(
        internal_mail_filter_classes="notify",
        notify_classes="protocol",
        error_notice_recipient=LOCAL_USER,
    )
    with postfix.client() as smtp:
        smtp.docmd("NONSENSE")
    wait_until("no notice has come", lambda: len(postfix.mailbox("local")) == 1)
    line = classifying.mail_lines()[-1]
    assert ("class" in line, line["edits"]) == (False, "0")


def test_null_sender_of_an_application_gets_the_default_class(
    classifying: Fletching, redis: Redis, postfix: Postfix, sinks: Sinks
) -> None:
    classifying.join(postfix)
    assert postfix.submit(mail(), "", [READER]).accepted
    wait_until("nothing arrives", lambda: any(sink.mails for sink in sinks.values()))
    assert classifying.mail_lines()[-1]["class"] == "newsletter"


ADDED = {
    "always_bcc": LOCAL_USER,
    "sender_bcc_maps": f"static:{LOCAL_USER}",
    "recipient_bcc_maps": f"inline:{{{READER}={LOCAL_USER}}}",
    "virtual_alias_maps": f"inline:{{{{{READER} = {READER}, {LOCAL_USER}}}}}",
}


@pytest.mark.parametrize("parameter", ADDED)
def test_route_by_sender_leaves_added_recipients_local(
    by_sender: Fletching, redis: Redis, postfix: Postfix, sinks: Sinks, parameter: str
) -> None:
    by_sender.join(postfix)
    postfix.set(**{parameter: ADDED[parameter]})
    assert postfix.submit(mail(NEWSLETTER, TO_B), SENDER, [READER]).accepted
    (found,) = sinks["vmta-b"].wait()
    assert found.recipients == (READER,)
    wait_until("no copy on this host", lambda: len(postfix.mailbox("local")) == 1)


@pytest.mark.parametrize("parameter", ADDED)
def test_route_by_header_takes_added_recipients_along(
    fletching: Fletching, postfix: Postfix, sinks: Sinks, parameter: str
) -> None:
    """Why check warns. The transport leads to a sink here, and elsewhere to a deferred mail."""
    postfix.set(**{parameter: ADDED[parameter]})
    assert postfix.submit(mail(NEWSLETTER, TO_B), SENDER, [READER]).accepted
    wait_until("not both have come", lambda: len(sinks["vmta-b"].mails) == 2)
    found = {to for each in sinks["vmta-b"].mails for to in each.recipients}
    assert found == {READER, LOCAL_USER}
    assert postfix.mailbox("local") == ()
