"""The readers of the demonstration: who opens, clicks and leaves, and what else asks for links.

Here lives what they ask the web for, and what Fletching has to have counted then. Nothing is left
to chance: each run is the same.
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
    """What the readers did: events by type, bots apart, and what they were answered."""

    expected: Counter[str]
    answers: Mapping[str, Answer]


def play(web: int, arrived: Mapping[str, SunkMail]) -> Played:
    """Reads the mails. ``web``: the port of the tracking server; ``arrived``: by recipient."""
    mails = dict(sorted(arrived.items(), key=lambda item: int(_digits(item[0]))))
    expected: Counter[str] = Counter()
    answers: dict[str, Answer] = {}
    scanned, *persons = mails.values()
    links = _tracked(scanned)[:8]
    for link in links:
        answers["a scanner's GET"] = ask(web, link, headers={"User-Agent": SCANNER})
    expected["engine_click by a bot"] = len(links)
    _wait_for_readers()
    for number, mail in enumerate(persons):
        if number % 2 == 0:
            answers["an open"] = ask(web, _pixel(mail))
            expected["engine_open"] += 1
        if number % 5 == 0:
            answers["a click"] = ask(web, _tracked(mail)[number % 7])
            expected["engine_click"] += 1
    leaving = _unsubscribe_link(persons[3])
    answers["a look at the unsubscribe page"] = ask(web, leaving)
    for _ in range(2):
        answers["a one-click unsubscribe"] = ask(web, leaving, "POST", ONE_CLICK)
        expected["engine_unsub"] += 1
    answers["a forged link"] = ask(web, _forged(_tracked(persons[0])[0]))
    return Played(expected, answers)


def received(hook: Webhook, played: Played) -> list[Event]:
    """What the webhook got: waits for all that is due."""
    return list(hook.wait(played.expected.total()))


def counted(events: Iterable[Event]) -> Counter[str]:
    """Events by type, those of bots apart."""
    kinds = (f"{each['event_type']}{' by a bot' * bool(each.get('is_bot'))}" for each in events)
    return Counter(kinds)


def checks(
    played: Played, events: list[Event], campaign: Mapping[str, object]
) -> Iterator[tuple[str, bool]]:
    """What has to hold. ``campaign``: what `fletching stats --json` says of it."""
    what = ", ".join(f"{count} {kind}" for kind, count in sorted(played.expected.items()))
    yield f"the webhook got {what}", counted(events) == played.expected
    ids = {str(each["event_unique_id"]) for each in events}
    yield "and every event once", len(ids) == len(events)
    for kind, status in (
        ("a click", 302),
        ("a scanner's GET", 302),
        ("an open", 200),
        ("a look at the unsubscribe page", 200),
        ("a one-click unsubscribe", 200),
        ("a forged link", 404),
    ):
        answer = played.answers[kind]
        leads = "a redirect" if answer.location else "no redirect"
        fine = answer.status == status and (answer.location is None) == (status != 302)
        yield f"{kind} is answered {answer.status}, {leads}", fine
    yield (
        f"statistics: {campaign['clicks']} clicks, {campaign['bot_clicks']} by bots,"
        f" {campaign['opens']} opens, {campaign['unsubscribes']} unsubscribed",
        campaign["clicks"] == played.expected["engine_click"]
        and campaign["bot_clicks"] == played.expected["engine_click by a bot"]
        and campaign["opens"] == played.expected["engine_open"]
        and campaign["unsubscribes"] == 1,
    )


def _wait_for_readers() -> None:
    """Who clicks a mail within two seconds of its sending is taken for a program."""
    time.sleep(SOONEST / 1000 + 1)


def _digits(address: str) -> str:
    return re.sub(r"[^0-9]", "", address.partition("@")[0])


def _tracked(mail: SunkMail) -> list[str]:
    """The click links of the HTML part, each once."""
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
    """With another character in the middle of the token."""
    at = len(link) - 20
    return link[:at] + ("B" if link[at] == "A" else "A") + link[at + 1 :]
