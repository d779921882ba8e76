"""The whole way: a mail through Postfix, its link in a browser, the event at a webhook."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest
from fletching.returning.bots import SOONEST
from fletching.returning.bursts import HIDDEN
from fletching.store.counts import Campaign
from fletching.store.suppression import Suppression
from fletching.store.touches import Touches

from sandbox.postfix import Postfix
from sandbox.processes import Daemon, DidNotHappenError, free_port, wait_until
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink, SunkMail
from sandbox.web import AGENT, Answer, Webhook, ask
from tests.commands import output
from tests.stores import open_store, statistics_of
from tests.waiting import HASTY_WEB

from . import redis_rights
from .fletching import Fletching, submit_until_taken
from .mails import MIME, NEWSLETTER, RECIPIENT, SENDER, links, mail

pytestmark = pytest.mark.slow

Sinks = Mapping[str, Sink]

SECRET = "a webhook's secret of some length"
TO = "https://shop.example/%C3%BC;v=1?q=%26%2F+%20&x=1&y=2#top"
BYE = "https://shop.example/bye?list=t100"
ONE_CLICK = "List-Unsubscribe=One-Click"
FIELDS = {
    *("event_type", "event_time", "timestamp", "event_unique_id", "server_id", "email", "listid"),
    *("sendid", "click_tracking_id", "mail_class", "instance_id", "campaign", "message_number"),
    "mtaid",
}
OF_A_HIT = {
    *("click_url", "engine_ip", "user_agent", "html_or_text"),
    *("is_privacy_open", "is_bot", "bot_reason"),
}


@dataclass(frozen=True, slots=True)
class Site:
    """All daemons of one host, the customer's webhook, and where the web and the dashboard are."""

    fletching: Fletching
    hook: Webhook
    web: int
    dashboard: int
    redis_url: str

    def ask(self, url: str, method: str = "GET", body: str | None = None, **headers: str) -> Answer:
        return ask(self.web, url, method, body, headers)


@pytest.fixture(scope="module")
def running_site(directory: Path, running_redis: RedisServer) -> Iterator[Site]:
    running_redis.reset()
    secret = directory / "hook.secret"
    secret.write_text(f"{SECRET}\n")
    with ExitStack() as stack:
        hook = stack.enter_context(Webhook(SECRET))
        web, dashboard = free_port(), free_port()
        change = {
            "web": {
                "listen": f"127.0.0.1:{web}",
                "admin_listen": f"127.0.0.1:{dashboard}",
                "trusted_proxies": ["127.0.0.1"],
                "honeypot": True,
            },
            "server_id": "mx1",
            "events": {
                "destinations": [{"name": "crm", "webhook": hook.url, "secret_file": str(secret)}]
            },
        }
        place = directory / f"site-{hook.url.rpartition(':')[2].partition('/')[0]}"
        # All of this file with no more rights than docs/redis.md asks for.
        redis_url = redis_rights.limited(running_redis)
        running = stack.enter_context(Fletching(place, redis_url, change))
        for name, program in (("web", HASTY_WEB), ("courier", ("-m", "fletching"))):
            daemon = running.beside(name, program)
            stack.callback(daemon.stop)
            daemon.start(partial(has_started, daemon, name))
        yield Site(running, hook, web, dashboard, redis_url)
        assert redis_rights.denied(running_redis) == []


def has_started(daemon: Daemon, name: str) -> bool:
    return f"started daemon={name} " in daemon.log.read_text()


@pytest.fixture
def site(running_site: Site, postfix: Postfix) -> Iterator[Site]:
    """The site before Postfix."""
    running_site.hook.clear()
    running_site.fletching.join(postfix)
    yield running_site
    assert running_site.hook.unsigned == 0


def delivered(postfix: Postfix, sinks: Sinks, instance: str, form: str = "b") -> SunkMail:
    """A newsletter with one link in text and in HTML, as its reader gets it."""
    body = (
        f"--b\r\nContent-Type: text/plain\r\n\r\nSee {TO} or leave ##unsubscribetag##{BYE}\r\n"
        "--b\r\nContent-Type: text/html\r\n\r\n"
        f'<a href="{TO.replace("&", "&amp;")}">Offers</a>\r\n'
        f'<a href="##unsubscribetag##{BYE}">Leave</a>\r\n\r\n--b--\r\n'
    ).encode()
    fields = (
        b"X-GreenArrow-InstanceID: " + instance.encode(),
        b"X-GreenArrow-MtaID: a",
        b"X-GreenArrow-Click-Tracking-ID: campaign|subscriber",
        b"X-GreenArrow-Tracker-Format: " + form.encode(),
        MIME + b"Content-Type: multipart/alternative; boundary=b",
    )
    submit_until_taken(postfix, mail(NEWSLETTER, *fields, body=body), SENDER, [RECIPIENT])
    (arrived,) = sinks["vmta-a"].wait()
    return arrived


def read_later(site: Site, arrived: SunkMail) -> None:
    """Until a person could have read it: who is faster counts as a bot."""
    sent = site.fletching.token(str(arrived.message["X-Mailer-Info"]))["sent"]
    then = datetime.fromisoformat(str(sent)).timestamp() + SOONEST / 1000
    wait_until("time stands still", lambda: time.time() > then)


def in_header(arrived: SunkMail) -> str:
    """The https link of List-Unsubscribe."""
    found = re.search(r"<(https:[^>]*)>", str(arrived.message["List-Unsubscribe"]))
    assert found is not None
    return found[1]


@pytest.mark.parametrize("form", ["a", "b", "c"])
def test_a_click_leads_on_and_is_told_once(
    site: Site, postfix: Postfix, sinks: Sinks, form: str
) -> None:
    arrived = delivered(postfix, sinks, f"7click{form}", form)
    text, _, html, *_ = links(arrived)
    read_later(site, arrived)
    for url in (text, html):
        answer = site.ask(url, **{"X-Forwarded-For": "192.0.2.7"})
        assert (answer.status, answer.location) == (302, TO)
        assert "set-cookie" not in answer.headers
    told = {event["html_or_text"]: event for event in site.hook.wait(2)}
    assert told.keys() == {"text", "html"}
    info = site.fletching.token(str(arrived.message["X-Mailer-Info"]))
    for event in told.values():
        assert event.keys() == FIELDS | OF_A_HIT
        expected = {
            "event_type": "engine_click",
            "server_id": "mx1",
            "email": RECIPIENT,
            "listid": "t100",
            "sendid": f"newsletter7click{form}",
            "click_tracking_id": "campaign|subscriber",
            "mail_class": "newsletter",
            "instance_id": f"7click{form}",
            "campaign": info["campaign"],
            "message_number": 1,
            "mtaid": "a",
            "click_url": TO,
            "engine_ip": "192.0.2.7",
            "user_agent": AGENT,
            "is_privacy_open": False,
            "is_bot": False,
            "bot_reason": "",
        }
        assert {name: event[name] for name in expected} == expected
        moment = datetime.fromisoformat(event["timestamp"]).timestamp()
        assert int(moment) == event["event_time"]
    assert len({event["event_unique_id"] for event in told.values()}) == 2
    counts = counted(site, info["campaign"], clicks=2)
    assert (counts.sent, counts.clicks, counts.unique_clicks, counts.bot_clicks) == (1, 2, 1, 0)


@pytest.mark.parametrize("form", ["a", "b", "c"])
def test_an_open_is_told(site: Site, postfix: Postfix, sinks: Sinks, form: str) -> None:
    arrived = delivered(postfix, sinks, f"7open{form}", form)
    pixel = links(arrived)[-1]
    read_later(site, arrived)
    answer = site.ask(pixel)
    assert (answer.status, answer.headers["content-type"]) == (200, "image/gif")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.body.startswith(b"GIF89a")
    (event,) = site.hook.wait(1)
    assert event.keys() == FIELDS | OF_A_HIT
    assert (event["event_type"], event["is_bot"]) == ("engine_open", False)


def test_a_reader_without_patience_is_a_bot(site: Site, postfix: Postfix, sinks: Sinks) -> None:
    arrived = delivered(postfix, sinks, "7scanner")
    answer = site.ask(links(arrived)[0], **{"User-Agent": "Barracuda Sentinel (EE)"})
    assert answer.location == TO
    (event,) = site.hook.wait(1)
    assert event["is_bot"] is True
    assert event["bot_reason"]
    counts = counted(site, event["campaign"], bot_clicks=1)
    assert (counts.clicks, counts.bot_clicks) == (0, 1)


def test_one_click_unsubscribes_again_and_again(site: Site, postfix: Postfix, sinks: Sinks) -> None:
    """RFC 8058, section 3.1: a POST without cookies, answered without a redirect."""
    arrived = delivered(postfix, sinks, "7oneclick")
    assert str(arrived.message["List-Unsubscribe-Post"]) == ONE_CLICK
    for _ in range(2):
        answer = site.ask(in_header(arrived), "POST", ONE_CLICK)
        assert (answer.status, answer.location) == (200, None)
        assert "set-cookie" not in answer.headers
    site.ask(links(arrived)[0])
    *told, last = site.hook.wait(3)
    assert last["event_type"] == "engine_click"
    for event in told:
        assert (event["event_type"], event["email"]) == ("engine_unsub", RECIPIENT)
        assert event["click_url"] == "", "it came from the header"
    assert counted(site, last["campaign"], unsubscribes=1).unsubscribes == 1
    assert Suppression(open_store(site.redis_url)).contains("t100", RECIPIENT)


def test_only_a_post_unsubscribes(site: Site, postfix: Postfix, sinks: Sinks) -> None:
    arrived = delivered(postfix, sinks, "7look")
    text, leave_text, _, leave_html, *_ = links(arrived)
    for url in (in_header(arrived), leave_text, leave_html):
        for method in ("GET", "HEAD"):
            for purpose in ({}, {"Sec-Purpose": "prefetch"}, {"User-Agent": "Slackbot 1.0"}):
                answer = site.ask(url, method, **purpose)
                assert (answer.status, answer.location) == (200, None)
        assert site.ask(url, "POST", "anything=else").status == 400
    # What was told before the click would have come before it.
    site.ask(text)
    (event,) = site.hook.wait(1)
    assert event["event_type"] == "engine_click"
    assert counted(site, event["campaign"]).unsubscribes == 0


def test_the_pages_button_unsubscribes_and_leads_on(
    site: Site, postfix: Postfix, sinks: Sinks
) -> None:
    arrived = delivered(postfix, sinks, "7button")
    leave = links(arrived)[3]
    page = site.ask(leave).body.decode()
    form = re.search(r'<form method="post"[^>]*>(.*?)</form>', page, re.DOTALL)
    assert form is not None
    pairs = re.findall(r'name="([^"]*)" value="([^"]*)"', form[1])
    answer = site.ask(leave, "POST", "&".join(f"{name}={value}" for name, value in pairs))
    assert answer.status == 303
    assert answer.location == (
        f"{BYE}&email=ada%40gmail.example&sendid=newsletter7button&listid=t100"
    )
    (event,) = site.hook.wait(1)
    assert (event["event_type"], event["click_url"]) == ("engine_unsub", BYE)


def test_a_forged_link_leads_nowhere(site: Site, postfix: Postfix, sinks: Sinks) -> None:
    arrived = delivered(postfix, sinks, "7forged")
    text, *_, pixel = links(arrived)
    for url in (text, pixel):
        at = len(url) - 20
        forged = url[:at] + ("A" if url[at] != "A" else "B") + url[at + 1 :]
        for asked in (forged, url[:-30]):
            answer = site.ask(asked)
            assert answer.location is None
            assert answer.status == (200 if url is pixel else 404)
    site.ask(text)
    (event,) = site.hook.wait(1)
    assert event["click_url"] == TO


def test_what_mail_programs_append_does_no_harm(site: Site, postfix: Postfix, sinks: Sinks) -> None:
    arrived = delivered(postfix, sinks, "7junk")
    text = links(arrived)[0]
    for junk in ("&utm_source=mail", ".", ")"):
        assert site.ask(text + junk).location == TO
    assert {event["click_url"] for event in site.hook.wait(3)} == {TO}


def test_the_dashboard_shows_it(site: Site, postfix: Postfix, sinks: Sinks) -> None:
    arrived = delivered(postfix, sinks, "7shown")
    read_later(site, arrived)
    site.ask(links(arrived)[0])
    (event,) = site.hook.wait(1)
    home = f"http://127.0.0.1:{site.dashboard}"
    first = ask(site.dashboard, f"{home}/").body.decode()
    assert ">newsletter7shown<" in first
    assert f'data-cell="{event["campaign"]}.clicks">1<' in first
    page = ask(site.dashboard, f"{home}/campaign/{event['campaign']}").body.decode()
    assert TO.replace("&", "&amp;") in page
    assert ">1 (100.0\N{NO-BREAK SPACE}%" in page


def test_who_follows_the_link_that_nobody_sees_is_a_program(
    site: Site, postfix: Postfix, sinks: Sinks
) -> None:
    arrived = delivered(postfix, sinks, "7trap")
    _, _, offers, _, trap, _ = links(arrived)
    read_later(site, arrived)
    filtering = {"X-Forwarded-For": "192.0.2.66"}
    assert site.ask(trap, **filtering).status == 404
    wait_until("the other process cannot know it", lambda: knows_of_a_trap(site, arrived))
    assert site.ask(offers, **filtering).location == TO
    site.ask(offers, **{"X-Forwarded-For": "198.51.100.7"})
    reasons = [event["bot_reason"] for event in site.hook.wait(3)]
    assert sorted(reasons) == ["", "hidden_link", "hidden_link"]
    assert counted(site, str(site.hook.wait(3)[0]["campaign"]), bot_clicks=2).bot_clicks == 2


def knows_of_a_trap(site: Site, arrived: SunkMail) -> bool:
    """Whether Redis has been told: nothing is held here until it is."""
    campaign = site.fletching.token(str(arrived.message["X-Mailer-Info"]))["campaign"]
    (touches,) = Touches(open_store(site.redis_url)).of([f"{campaign}:1"])
    return HIDDEN in touches


def counted(site: Site, campaign: str, **expected: int) -> Campaign:
    """What the statistics have of a campaign, once it is what is expected, or after a while: in a
    Cluster, they may be on another server than the event, and get it later."""

    def found() -> Campaign:
        kept = statistics_of(site.redis_url).campaign(campaign)
        assert kept is not None
        return kept

    def is_there() -> bool:
        now = found()
        return all(getattr(now, name) == count for name, count in expected.items())

    with suppress(DidNotHappenError):
        wait_until("not counted", is_there)
    return found()


def test_commands_that_ask_redis(site: Site, postfix: Postfix, sinks: Sinks) -> None:
    """Each of them once: the fixture sees whether Redis denied them anything."""
    arrived = delivered(postfix, sinks, "7commands")
    site.ask(links(arrived)[0])
    (event,) = site.hook.wait(1)
    command, campaign = partial(output, site.fletching.config_path), str(event["campaign"])
    assert campaign in command("stats")
    assert campaign in command("stats", campaign, "--json")
    assert campaign in command("events")
    assert "crm" in command("events", "status")
    assert command("events", "dead", "crm") == ""
    command("suppression", "add", "T100", "joe@example.org")
    for words in (("list",), ("export",), ("find", "joe@example.org")):
        assert "joe@example.org" in command("suppression", *words)
    command("suppression", "remove", "T100", "joe@example.org")
    command("events", "--replay", "crm", "--since", str(event["timestamp"]))
    assert "redis: answers" in command("check")
