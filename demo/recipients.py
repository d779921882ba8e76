"""The recipients of the demo: they open, click and unsubscribe, and a scanner follows links.

This file contains their web requests, and what Fletching must have counted afterwards. Every run is
the same.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import unescape

from fletching.returning.bots import SOONEST

from demo import show
from sandbox.sinks import SunkMail
from sandbox.web import Answer, Webhook, ask

SCANNER = "Barracuda Sentinel (EE)"
ONE_CLICK = "List-Unsubscribe=One-Click"

Event = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Played:
    """What the recipients did: the number of events by type (bots separately), and the answers."""

    expected: Counter[str]
    answers: Mapping[str, Answer]


def play(web: int, arrived: Mapping[str, SunkMail], others: Counter[str]) -> Played:
    """Send the requests. ``web``: port of the tracking server; ``arrived``: mail by recipient.

    ``others``: events that are expected in addition.
    """
    mails = dict(sorted(arrived.items(), key=lambda item: int(_digits(item[0]))))
    expected = Counter(others)
    answers: dict[str, Answer] = {}
    scanned, *read = mails.values()
    links = _tracked(scanned)[:8]
    for link in links:
        answers["a scanner's GET"] = ask(web, link, headers={"User-Agent": SCANNER})
    expected["engine_click by a bot"] = len(links)
    _wait_until_clicks_count_as_human()
    for number, mail in enumerate(read):
        if number % 2 == 0:
            answers["an open"] = ask(web, _pixel(mail))
            expected["engine_open"] += 1
        if number % 5 == 0:
            answers["a click"] = ask(web, _tracked(mail)[number % 7])
            expected["engine_click"] += 1
    unsubscribe = _unsubscribe_link(read[3])
    answers["a GET of the unsubscribe page"] = ask(web, unsubscribe)
    for _ in range(2):
        answers["a one-click unsubscribe"] = ask(web, unsubscribe, "POST", ONE_CLICK)
        expected["engine_unsub"] += 1
    answers["a forged link"] = ask(web, _forged(_tracked(read[0])[0]))
    return Played(expected, answers)


def received(hook: Webhook, played: Played) -> list[Event]:
    """The events that the webhook received; waits until all expected ones are there."""
    return list(hook.wait(played.expected.total()))


def counted(events: Iterable[Event]) -> Counter[str]:
    """The number of events by type; those of bots are counted separately."""
    types = (f"{each['event_type']}{' by a bot' * bool(each.get('is_bot'))}" for each in events)
    return Counter(types)


def checks(
    played: Played, events: list[Event], campaign: Mapping[str, object]
) -> Iterator[tuple[str, bool]]:
    """Everything that must be true. ``campaign``: its object from `fletching stats --json`."""
    numbers = ", ".join(f"{count} {name}" for name, count in sorted(played.expected.items()))
    yield f"the webhook received {numbers}", counted(events) == played.expected
    ids = {str(each["event_unique_id"]) for each in events}
    yield "the webhook received every event once", len(ids) == len(events)
    for request, status in (
        ("a click", 302),
        ("a scanner's GET", 302),
        ("an open", 200),
        ("a GET of the unsubscribe page", 200),
        ("a one-click unsubscribe", 200),
        ("a forged link", 404),
    ):
        answer = played.answers[request]
        redirect = "a redirect" if answer.location else "no redirect"
        correct = answer.status == status and (answer.location is None) == (status != 302)
        yield f"{request} is answered with {answer.status}, {redirect}", correct
    yield (
        f"statistics: {campaign['clicks']} clicks, {campaign['bot_clicks']} by bots,"
        f" {campaign['opens']} opens, {campaign['unsubscribes']} unsubscribes",
        campaign["clicks"] == played.expected["engine_click"]
        and campaign["bot_clicks"] == played.expected["engine_click by a bot"]
        and campaign["opens"] == played.expected["engine_open"]
        and campaign["unsubscribes"] == 2,
    )


def _wait_until_clicks_count_as_human() -> None:
    """A click within two seconds after sending counts as a bot's."""
    time.sleep(SOONEST / 1000 + 1)


def _digits(address: str) -> str:
    return re.sub(r"[^0-9]", "", address.partition("@")[0])


def _tracked(mail: SunkMail) -> list[str]:
    """The distinct click links of the HTML part."""
    return list(dict.fromkeys(link for link in show.links(mail.raw) if "/click" in link))


def _pixel(mail: SunkMail) -> str:
    part = mail.message.get_body(("html",))
    html = str(part.get_content()) if part is not None else ""
    found = re.search(r'src="([^"]*/open[^"]*)"', html)
    return unescape(found[1]) if found else ""


def _unsubscribe_link(mail: SunkMail) -> str:
    found = re.search(r"<(https:[^>]*)>", str(mail.message["List-Unsubscribe"]))
    return found[1] if found else ""


def _forged(link: str) -> str:
    """The link with one character of its token changed."""
    at = len(link) - 20
    return link[:at] + ("B" if link[at] == "A" else "A") + link[at + 1 :]
