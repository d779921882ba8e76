"""Events in the formats of other programs, taken by the receivers of those programs.

django-anymail's own code takes those of SendGrid, SES, Postmark and Mailgun. listmonk and MailWizz
are written in other languages, so their receivers here follow the rules of their code.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args
from unittest import mock

import django
import pytest
from anymail.signals import AnymailTrackingEvent, tracking
from anymail.webhooks import amazon_ses
from anymail.webhooks.amazon_ses import AmazonSESTrackingWebhookView
from anymail.webhooks.mailgun import MailgunTrackingWebhookView
from anymail.webhooks.postmark import PostmarkTrackingWebhookView
from anymail.webhooks.sendgrid import SendGridTrackingWebhookView
from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.test import RequestFactory
from fletching import events
from fletching.config.sections import Destination
from fletching.destinations.answers import ARRIVED, Answer, Verdict
from fletching.destinations.formats.post import Signing, metadata
from fletching.destinations.formats.table import FORMATS
from fletching.destinations.open import open_destination
from fletching.destinations.webhook import Webhook
from fletching.events import Event

from tests.cases import for_every
from tests.courier_setting import NOW, Receiver, Reply, Request, event, queued

pytestmark = pytest.mark.slow

settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="unused", USE_TZ=True)
django.setup()

SECRET = "a key for signatures of webhooks"
AUTH = "anymail:a password of the webhook"
UUIDS = ("11111111-2222-3333-4444-555555555555", "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee")

HARD: dict[str, Any] = {
    "bounce_type": "h",
    "bounce_code": 550,
    "bounce_text": "550 5.1.1 no such user",
    "bounce_status": "5.1.1",
    "bounce_reason": "user_unknown",
    "synchronous": True,
    "attributed": True,
}
SOFT = HARD | {
    "bounce_type": "s",
    "bounce_code": 452,
    "bounce_text": "452 4.2.2 mailbox full",
    "bounce_status": "4.2.2",
    "bounce_reason": "mailbox_full",
}
OTHER = SOFT | {"bounce_type": "o", "bounce_reason": "other"}
DELIVERED: dict[str, Any] = {
    "status": "success",
    "message": "250 2.0.0 queued",
    "bounce_status": "2.0.0",
    "bounce_code": 250,
    "mx_ip": "192.0.2.25",
    "mx_hostname": "mx.example.org",
    "delay": 1.25,
}
DEFERRED = DELIVERED | {
    "status": "deferral",
    "message": "451 4.7.1 try later",
    "bounce_status": "4.7.1",
    "bounce_code": 451,
    "bounce_reason": "rate_limited",
}
FAILED = DEFERRED | {"status": "failure"}
VISIT: dict[str, Any] = {
    "user_agent": "Mozilla/5.0",
    "engine_ip": "192.0.2.1",
    "html_or_text": "html",
}

HAPPENED: Mapping[str, Event] = {
    "hard": event(1, events.BOUNCE, **HARD),
    "soft": event(2, events.BOUNCE, **SOFT),
    "other": event(3, events.BOUNCE, **OTHER),
    "complaint": event(4, events.COMPLAINT, feedback_type="abuse", attributed=True),
    "delivered": event(5, events.DELIVERY, **DELIVERED),
    "deferred": event(6, events.DELIVERY, **DEFERRED),
    "failed": event(7, events.DELIVERY, **FAILED),
    "click": event(8, events.CLICK, click_url="https://shop.example.com/?a=1", **VISIT),
    "open": event(9, events.OPEN, is_privacy_open=True, **VISIT),
    "unsubscribe": event(10, events.UNSUBSCRIBE, **VISIT),
    "bad address": event(11, events.BAD_ADDRESS, **HARD),
    "prepared": event(12, events.PREPARED),
    "seed": event(13, events.SEED),
    "bot": event(14, events.CLICK, **VISIT | {"is_bot": True}),
    "forged complaint": event(15, events.COMPLAINT, attributed=False),
    "forged bounce": event(16, events.BOUNCE, **HARD | {"attributed": False}),
}


def test_configuration_and_table_have_the_same_formats() -> None:
    allowed = get_args(Destination.model_fields["format"].annotation)
    assert list(FORMATS) == list(allowed)


# django-anymail

VIEWS = {
    "sendgrid": SendGridTrackingWebhookView,
    "ses": AmazonSESTrackingWebhookView,
    "postmark": PostmarkTrackingWebhookView,
    "mailgun": MailgunTrackingWebhookView,
}


def no_client(**_: object) -> tuple[dict[str, str], dict[str, str]]:
    """Parameters of a client of Amazon's, which notifications do not need."""
    return {}, {}


class Anymail(Receiver):
    """A web server with one of django-anymail's views. ``taken``: the events that it understood."""

    def __init__(self, name: str) -> None:
        super().__init__(self._answer)
        options = {"webhook_signing_key": SECRET} if name == "mailgun" else {}
        without_client = mock.patch.object(amazon_ses, "_get_anymail_boto3_params", no_client)
        with without_client, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._view = VIEWS[name](webhook_secret=AUTH, **options)
        self.taken: list[AnymailTrackingEvent] = []

    def _answer(self, request: Request) -> Reply:
        headers = {n: v for n, v in request.headers.items() if not n.startswith("content-")}
        asked = RequestFactory().generic(
            "POST", "/", request.body, request.headers["content-type"], headers=headers
        )
        tracking.connect(self._take)
        try:
            return Reply(self._view.dispatch(asked).status_code)
        except SuspiciousOperation as error:
            return Reply(400, str(error).encode())
        finally:
            tracking.disconnect(self._take)

    def _take(self, event: AnymailTrackingEvent, **_: object) -> None:
        self.taken.append(event)


def webhook(format: str, url: str, folder: Path, secret: str = SECRET) -> Webhook:
    (folder / "secret").write_text(secret)
    (folder / "auth").write_text(AUTH)
    found = open_destination(
        Destination.model_validate(
            {
                "name": "crm",
                "webhook": url,
                "format": format,
                "secret_file": str(folder / "secret"),
                "auth_file": str(folder / "auth"),
            }
        )
    )
    assert isinstance(found, Webhook)
    return found


def delivered(hook: Webhook, *happened: Event) -> list[Answer]:
    """Delivers events one by one, or several at once where the format can."""
    found = queued(*happened)
    size = hook.batch_size
    batches = [found[start : start + size] for start in range(0, len(found), size)]
    try:
        return [hook.deliver(batch, 1) for batch in batches]
    finally:
        hook.close()


UNDERSTOOD = {
    "sendgrid": {
        "hard": "bounced",
        "soft": "bounced",
        "other": "bounced",
        "complaint": "complained",
        "delivered": "delivered",
        "deferred": "deferred",
        "click": "clicked",
        "open": "opened",
        "unsubscribe": "unsubscribed",
        "prepared": "queued",
    },
    "ses": {
        "hard": "bounced",
        "soft": "bounced",
        "other": "bounced",
        "complaint": "complained",
        "delivered": "delivered",
        "click": "clicked",
        "open": "opened",
    },
    "postmark": {
        "hard": "bounced",
        "soft": "bounced",
        "other": "unknown",
        "complaint": "complained",
        "delivered": "delivered",
        "click": "clicked",
        "open": "opened",
        "unsubscribe": "unsubscribed",
    },
    "mailgun": {
        "hard": "bounced",
        "soft": "deferred",
        "other": "deferred",
        "complaint": "complained",
        "delivered": "delivered",
        "deferred": "deferred",
        "click": "clicked",
        "open": "opened",
        "unsubscribe": "unsubscribed",
    },
}
"""By format: which events anymail gets, and what it takes them for."""


@pytest.mark.parametrize("format", VIEWS)
def test_anymail_understands_every_event_that_has_a_counterpart(
    format: str, tmp_path: Path
) -> None:
    with Anymail(format) as receiver:
        answers = delivered(webhook(format, receiver.url, tmp_path), *HAPPENED.values())
    assert {*answers} == {ARRIVED}
    understood = UNDERSTOOD[format]
    assert [each.event_type for each in receiver.taken] == list(understood.values())
    for taken, name in zip(receiver.taken, understood, strict=True):
        happened = HAPPENED[name]
        assert taken.recipient == happened.facts.email
        assert taken.message_id.strip("<>") == f"abcdefgh.{happened.facts.number}"
        if taken.timestamp is not None:
            assert abs(taken.timestamp.timestamp() * 1000 - happened.milliseconds) < 1000
    taken_as = dict(zip(understood, receiver.taken, strict=True))
    assert "550 5.1.1 no such user" in taken_as["hard"].mta_response
    assert taken_as["delivered"].mta_response == "250 2.0.0 queued"
    assert taken_as["click"].click_url == "https://shop.example.com/?a=1"
    assert taken_as["click"].user_agent == taken_as["open"].user_agent == "Mozilla/5.0"


@pytest.mark.parametrize("format", ["sendgrid", "postmark", "mailgun"])
def test_anymail_finds_the_facts_of_the_message(format: str, tmp_path: Path) -> None:
    with Anymail(format) as receiver:
        delivered(webhook(format, receiver.url, tmp_path), HAPPENED["hard"])
    (taken,) = receiver.taken
    assert taken.metadata["click_tracking_id"] == "campaign|subscriber"
    assert taken.metadata["message_number"] == "1"
    assert taken.tags in (["news"], "news")


@pytest.mark.parametrize("format", ["sendgrid", "postmark", "mailgun"])
def test_anymail_gets_the_data_that_the_application_gave_to_its_vendor(
    format: str, tmp_path: Path
) -> None:
    hard = HAPPENED["hard"]
    data = '{"order":4711,"shop":"de","sendid":"forged"}'
    given = replace(hard, facts=replace(hard.facts, click_tracking_id=data))
    with Anymail(format) as receiver:
        delivered(webhook(format, receiver.url, tmp_path), given)
    (taken,) = receiver.taken
    assert (taken.metadata["order"], taken.metadata["shop"]) == ("4711", "de")
    assert taken.metadata["click_tracking_id"] == data
    assert taken.metadata["sendid"] == hard.facts.sendid.lower()


@for_every(["{", "{}", '{"a"', "{a}", '{"a":' * 60, "[1]", "1", "x"])
def test_click_tracking_id_that_is_no_object_is_no_data(click_tracking_id: str) -> None:
    assert metadata({"click_tracking_id": click_tracking_id}) == {
        "click_tracking_id": click_tracking_id
    }


def test_anymail_gets_an_event_id_that_stays_the_same(tmp_path: Path) -> None:
    for format in ("sendgrid", "ses", "postmark", "mailgun"):
        with Anymail(format) as receiver:
            hook = webhook(format, receiver.url, tmp_path)
            delivered(hook, HAPPENED["hard"])
            delivered(hook, HAPPENED["hard"])
            delivered(hook, HAPPENED["soft"])
        first, again, other = (each.event_id for each in receiver.taken)
        assert first
        assert (first == again, first == other) == (True, False), format


def test_anymail_refuses_a_mailgun_signature_with_another_key(tmp_path: Path) -> None:
    with Anymail("mailgun") as receiver:
        hook = webhook("mailgun", receiver.url, tmp_path, "another key for the signatures")
        (answer,) = delivered(hook, HAPPENED["hard"])
    assert answer.verdict is Verdict.REFUSED
    assert receiver.taken == []


# listmonk


class Listmonk(Receiver):
    """Takes bounces by the rules of listmonk's own webhook: an address or a subscriber's UUID, and
    one of three types."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.taken: list[dict[str, Any]] = []

    def _answer(self, request: Request) -> Reply:
        if request.headers.get("authorization", "").partition(" ")[0] != "Basic":
            return Reply(403)
        bounce = json.loads(request.body)
        uuid = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
        email, subscriber = bounce.get("email", ""), bounce.get("subscriber_uuid", "")
        if not email and not subscriber:
            return Reply(400, b"email / subscriber_uuid")
        if email and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", email):
            return Reply(400, b"email")
        if subscriber and not uuid.fullmatch(subscriber):
            return Reply(400, b"subscriber_uuid")
        if bounce["type"] not in ("hard", "soft", "complaint"):
            return Reply(400, b"type")
        assert isinstance(bounce["meta"], dict)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", bounce["created_at"])
        self.taken.append(bounce)
        return Reply(200, b'{"data": true}')


def test_listmonk_takes_bounces_and_complaints(tmp_path: Path) -> None:
    with Listmonk() as receiver:
        answers = delivered(webhook("listmonk", receiver.url, tmp_path), *HAPPENED.values())
    assert {*answers} == {ARRIVED}
    assert [(each["type"], each["email"]) for each in receiver.taken] == [
        ("hard", "reader1@example.org"),
        ("soft", "reader2@example.org"),
        ("complaint", "reader4@example.org"),
    ]
    assert receiver.taken[0]["meta"] == json.loads(HAPPENED["hard"].json())
    assert {each["source"] for each in receiver.taken} == {"fletching"}


def test_listmonk_finds_campaign_and_subscriber_by_their_uuids(tmp_path: Path) -> None:
    obscured = with_facts(HAPPENED["hard"], email="user-7", click_tracking_id="|".join(UUIDS))
    unknown = with_facts(HAPPENED["hard"], email="user-7")
    with Listmonk() as receiver:
        answers = delivered(webhook("listmonk", receiver.url, tmp_path), obscured, unknown)
    assert {*answers} == {ARRIVED}
    (taken,) = receiver.taken
    assert (taken["campaign_uuid"], taken["subscriber_uuid"]) == UUIDS
    assert "email" not in taken


def with_facts(happened: Event, **facts: str) -> Event:
    return replace(happened, facts=replace(happened.facts, **facts))  # type: ignore[arg-type]


# MailWizz


class MailWizz(Receiver):
    """Takes GreenArrow's form by the rules of MailWizz: campaign and subscriber are in the
    Click-Tracking-ID; the first bounce of a subscriber in a campaign counts."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.taken: list[tuple[str, str]] = []

    def _answer(self, request: Request) -> Reply:
        form = request.form
        kind, ids = form.get("event_type", ""), form.get("click_tracking_id", "").split("|")
        if kind and len(ids) == 2:
            self._take(kind, ids[1], form)
        return Reply(200, b"OK")

    def _take(self, kind: str, subscriber: str, form: Mapping[str, str]) -> None:
        if "bounce" in kind.lower():
            known = [each for each, what in self.taken if what in ("hard bounce", "soft bounce")]
            if subscriber not in known:
                hard = form.get("bounce_type") == "h"
                self.taken.append((subscriber, "hard bounce" if hard else "soft bounce"))
        elif kind == "scomp":
            self.taken.append((subscriber, "complaint"))
        elif kind == "engine_unsub":
            self.taken.append((subscriber, "unsubscribe"))


def test_mailwizz_takes_bounces_complaints_and_unsubscribes(tmp_path: Path) -> None:
    happened = [
        with_facts(each, click_tracking_id=f"c1|{name}" if "forged" not in name else "")
        for name, each in HAPPENED.items()
    ]
    with MailWizz() as receiver:
        answers = delivered(webhook("form", receiver.url, tmp_path), *happened)
    assert {*answers} == {ARRIVED}
    assert receiver.taken == [
        ("hard", "hard bounce"),
        ("soft", "soft bounce"),
        ("other", "soft bounce"),
        ("complaint", "complaint"),
        ("unsubscribe", "unsubscribe"),
        ("bad address", "hard bounce"),
    ]


# What the receivers do not look at.


def objects(format: str, *happened: Event) -> Iterator[Any]:
    """The bodies of the requests."""
    for each in happened:
        post = FORMATS[format].post([each.fields()], Signing(1, SECRET.encode()))
        if post is not None:
            yield json.loads(post.body)


@for_every(["sendgrid", "ses", "postmark", "mailgun", "listmonk"])
def test_event_without_a_recipient_is_left_out(format: str) -> None:
    nobody = [with_facts(each, email="") for each in HAPPENED.values()]
    assert list(objects(format, *nobody)) == []


def test_kinds_of_bounces() -> None:
    """Hard, soft and other ones, in each format's own words."""
    happened = [HAPPENED[name] for name in ("hard", "soft", "other")]
    sendgrid = [each for (each,) in objects("sendgrid", *happened)]
    assert [(each["type"], each["bounce_classification"]) for each in sendgrid] == [
        ("bounce", "Invalid Address"),
        ("blocked", "Mailbox Unavailable"),
        ("blocked", "Unclassified"),
    ]
    ses = [json.loads(each["Message"])["bounce"] for each in objects("ses", *happened)]
    assert [(each["bounceType"], each["bounceSubType"]) for each in ses] == [
        ("Permanent", "NoEmail"),
        ("Transient", "MailboxFull"),
        ("Undetermined", "Undetermined"),
    ]
    postmark = [(each["Type"], each["TypeCode"]) for each in objects("postmark", *happened)]
    assert postmark == [("HardBounce", 1), ("SoftBounce", 4096), ("Unknown", 2048)]
    mailgun = [each["event-data"] for each in objects("mailgun", *happened)]
    assert [(each["severity"], each["reason"]) for each in mailgun] == [
        ("permanent", "bounce"),
        ("temporary", "generic"),
        ("temporary", "generic"),
    ]


def test_privacy_open_is_a_machine_open_of_sendgrid() -> None:
    ((opened,),) = objects("sendgrid", HAPPENED["open"])
    assert opened["sg_machine_open"] is True


def test_message_without_a_campaign_is_known_by_the_event() -> None:
    untracked = with_facts(HAPPENED["hard"], campaign="")
    (bounce,) = objects("postmark", untracked)
    assert bounce["MessageID"] == untracked.id


def test_batch_of_sendgrid_has_all_its_events(tmp_path: Path) -> None:
    with Receiver() as receiver:
        hook = webhook("sendgrid", receiver.url, tmp_path)
        assert hook.batch_size == 100
        delivered(hook, *HAPPENED.values())
        assert delivered(hook, HAPPENED["bot"], HAPPENED["seed"]) == [ARRIVED]
    (request,) = receiver.requests
    assert len(json.loads(request.body)) == len(UNDERSTOOD["sendgrid"])
    assert {each["timestamp"] for each in json.loads(request.body)} == {NOW // 1000}
