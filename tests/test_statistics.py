"""What is counted, in a real Redis, one server and a cluster: against a model in plain Python.

Events go in where they do in the product, through `EventLog.append`, and what was sent through
`Sent`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fletching import events
from fletching.events import Event
from fletching.numbering import Question
from fletching.providers import Providers
from fletching.store import keys
from fletching.store.campaigns import Campaigns
from fletching.store.connection import StoreUnavailable
from fletching.store.counts import EVERY, Campaign, Counts, Dimension, Failures, Link, Row, Wanted
from fletching.store.events import EventLog
from fletching.store.sent import Sent
from fletching.store.statistics import Statistics
from fletching.tokens import Facts
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.redis_cluster import Stores
from tests.sending import send
from tests.stores import measured, open_store, shared_store, statistics_of

NOWHERE = Path("/nonexistent")
DAY, HOUR = 86400, 3600
BEGAN = 1_795_248_000 // DAY * DAY
HIGHEST = 2**50 - 1
A, B, C = "a" * 12, "b" * 12, "c" * 12
CLASSES = {A: "News", B: "News", C: "shop"}
DIMENSIONS: tuple[Dimension, ...] = ("mail_class", "listid", "mtaid", "day")
PROVIDERS = {"example.net": "other", "gmail.com": "google", "hotmail.co.uk": "microsoft"}
FACTS = Facts(A, 1, "News", "1", "t100", "", "r@example.net", "vmta", BEGAN)
KINDS = tuple(each.name for each in fields(Counts))
BOUNCES = ("bounces_hard", "bounces_soft", "bounces_other")
NO_SOURCE = dict.fromkeys(("complaints", *BOUNCES, "blocked", "delivered", "deferred", "seeds"))
ONCE = {"unsubscribes", "complaints", "deferred", "seeds", *BOUNCES}
BLOCKED = {"blocked", "rate_limited", "policy", "spam"}
ONE_OPEN: dict[str, Any] = {
    "sent": 1,
    "opens": 1,
    "unique_opens": 1,
    "confirmed_opens": 1,
    **NO_SOURCE,
}


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that gets its number and is sent."""

    campaign: str
    listid: str
    mtaid: str
    hour: int

    @property
    def question(self) -> Question:
        return Question(
            sendid=CLASSES[self.campaign] + self.campaign[0],
            mail_class=CLASSES[self.campaign],
            instance_id=self.campaign[0],
            monitor="",
            now=BEGAN + self.hour * HOUR,
            window=DAY,
            candidate=self.campaign,
            remember=(),
            bounce_memory=DAY,
            listid=self.listid,
        )


class Model:
    """What the numbers have to be. It keeps everything and is asked at the end."""

    def __init__(self) -> None:
        self.opened: dict[str, int] = {}
        self.counted: list[tuple[str, str, int, str, str]] = []
        self.of_provider: list[tuple[str, str, str]] = []
        self.of_reason: list[tuple[str, str, str]] = []
        self.clicked: dict[str, dict[str, Counter[str]]] = {}
        self._seen: set[tuple[object, ...]] = set()

    def sent(self, message: Mail) -> None:
        self.opened.setdefault(message.campaign, BEGAN + message.hour * HOUR)
        at = BEGAN // HOUR + message.hour
        where = at, message.mtaid, message.listid.lower()
        self.counted.append((message.campaign, "sent", *where))

    def happened(self, event: Event) -> None:
        facts, kind = event.facts, _kind(event)
        campaign, number = facts.campaign, facts.number
        if campaign not in self.opened or not kind:
            return
        at = event.milliseconds // 1000 // HOUR, facts.mtaid, facts.listid.lower()
        limited = ONCE | {"delivered"} if facts.email else ONCE
        provider = PROVIDERS.get(facts.email.rpartition("@")[2], "other")
        reason = str(event.details.get("bounce_reason"))
        if kind not in limited or self._first(campaign, kind, number):
            self.counted.append((campaign, kind, *at))
            if kind in ("delivered", "deferred", "complaints", *BOUNCES):
                self.of_provider.append((campaign, kind, provider))
            if kind in ("deferred", *BOUNCES):
                self.of_reason.append((campaign, kind, reason))
        is_blocked = kind in ("deferred", *BOUNCES) and reason in BLOCKED
        if is_blocked and self._first(campaign, "blocked", number):
            self.counted.append((campaign, "blocked", *at))
            self.of_provider.append((campaign, "blocked", provider))
        unique = {
            "opens": ("unique_opens", "confirmed_opens"),
            "privacy_opens": ("unique_opens",),
            "clicks": ("unique_clicks", "unique_opens", "confirmed_opens"),
        }
        for each in unique.get(kind, ()):
            if self._first(campaign, each, number):
                self.counted.append((campaign, each, *at))
        if event.type == events.CLICK:
            url = str(event.details["click_url"])
            of_link = self.clicked.setdefault(campaign, {}).setdefault(url, Counter())
            of_link[kind] += 1
            if kind == "clicks" and self._first(campaign, "link", url, number):
                of_link["unique_clicks"] += 1

    def _first(self, *what: object) -> bool:
        new = what not in self._seen
        self._seen.add(what)
        return new

    def campaign(self, name: str) -> Campaign | None:
        if name not in self.opened:
            return None
        counts = self._measured(
            Counter(kind for of, kind, *_ in self.counted if of == name), [name]
        )
        mail_class = CLASSES[name]
        sendid = (mail_class + name[0]).lower()
        return Campaign(
            **counts,
            campaign=name,
            sendid=sendid,
            mail_class=mail_class,
            opened=self.opened[name],
        )

    def _measured(self, counts: Counter[str], names: Sequence[str]) -> dict[str, Any]:
        """None for what has no source in any of the campaigns."""
        seen = {kind for of, kind, *_ in self.counted if of in names}
        together = ("complaints",), ("delivered", "deferred"), ("seeds",), (*BOUNCES, "blocked")
        unknown = {kind for kinds in together if not seen & {*kinds} for kind in kinds}
        return {kind: None if kind in unknown else counts[kind] for kind in KINDS}

    def by_provider(self, name: str) -> dict[str, Counter[str]]:
        return _rows((row, kind) for of, kind, row in self.of_provider if of == name)

    def by_reason(self, name: str) -> dict[str, Counter[str]]:
        return _rows((row, kind) for of, kind, row in self.of_reason if of == name)

    def hours(self, name: str) -> dict[str, dict[int, int]]:
        stats: dict[str, dict[int, int]] = {}
        for kind in ("sent", "delivered", "deferred", "bounces", "opens", "clicks", "unsubscribes"):
            kinds = BOUNCES if kind == "bounces" else (kind,)
            stats[kind] = Counter(
                hour * HOUR for of, what, hour, *_ in self.counted if of == name and what in kinds
            )
        return stats

    def links(self, name: str) -> set[Link]:
        return {
            Link(url, counts["clicks"], counts["unique_clicks"], counts["bot_clicks"])
            for url, counts in self.clicked.get(name, {}).items()
        }

    def by(self, what: Dimension, name: str | None) -> tuple[Row, ...]:
        rows: dict[str, Counter[str]] = defaultdict(Counter)
        of_row: dict[str, list[str]] = defaultdict(list)
        for campaign, kind, hour, mtaid, listid in self.counted:
            if name in (None, campaign):
                day = datetime.fromtimestamp(hour * HOUR, UTC).date().isoformat()
                stats = {"mail_class": CLASSES[campaign], "listid": listid, "mtaid": mtaid}
                row = (stats | {"day": day})[what]
                rows[row][kind] += 1
                of_row[row].append(campaign)
        return tuple(
            Row(name=name, **self._measured(counts, of_row[name]))
            for name, counts in sorted(rows.items())
        )


def _kind(event: Event) -> str | None:
    bot, privacy = bool(event.details.get("is_bot")), bool(event.details.get("is_privacy_open"))
    return {
        events.OPEN: "bot_opens" if bot else "privacy_opens" if privacy else "opens",
        events.CLICK: "bot_clicks" if bot else "clicks",
        events.UNSUBSCRIBE: "unsubscribes",
        events.COMPLAINT: "complaints",
        events.SEED: "seeds",
        events.BOUNCE: {"h": "bounces_hard", "s": "bounces_soft", "o": "bounces_other"}.get(
            str(event.details.get("bounce_type"))
        ),
        events.DELIVERY: {"success": "delivered", "deferral": "deferred"}.get(
            str(event.details.get("status"))
        ),
    }.get(event.type)


def _rows(counted: Iterable[tuple[str, str]]) -> dict[str, Counter[str]]:
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for row, kind in counted:
        rows[row][kind] += 1
    return rows


LISTIDS = st.sampled_from(["t100", "T100", "t200", "", "a|b%7C"])
WORDS = st.sampled_from(["", "550 5.1.1 no", "450 later", "a|b c"])
MTAIDS = st.sampled_from(["", "a", "b"])
HOURS = st.sampled_from([0, 1, 23, 24, 50])
SENT = st.builds(Mail, st.sampled_from([A, B, C]), LISTIDS, MTAIDS, HOURS)


@st.composite
def happened(draw: st.DrawFn) -> Event:
    type = draw(st.sampled_from(events.TYPES))
    details: dict[str, Any] = {}
    if type == events.CLICK:
        urls = ["https://example.com/", "https://example.com/?a=b|c&%7C", "mailto:a@b.example"]
        details["click_url"] = draw(st.sampled_from(urls))
    if type in (events.CLICK, events.OPEN):
        details["is_bot"] = draw(st.booleans())
        details["is_privacy_open"] = type == events.OPEN and draw(st.booleans())
    if type == events.BOUNCE:
        details["bounce_type"] = draw(st.sampled_from(["h", "s", "o"]))
        details["bounce_text"] = draw(WORDS)
    if type == events.DELIVERY:
        details["status"] = draw(st.sampled_from(["success", "deferral", "failure"]))
        details["message"] = draw(WORDS)
    if type in (events.BOUNCE, events.DELIVERY):
        details["bounce_reason"] = draw(st.sampled_from(["user_unknown", *BLOCKED]))
    facts = replace(
        FACTS,
        # One that began, or did not, and none.
        campaign=draw(st.sampled_from([A, A, B, C, ""])),
        email=draw(st.sampled_from(["", *(f"r@{domain}" for domain in PROVIDERS)])),
        number=draw(st.sampled_from([1, 2, 3, 63, 64, 1_000_000, HIGHEST])),
        listid=draw(LISTIDS),
        mtaid=draw(MTAIDS),
    )
    milliseconds = (BEGAN + draw(HOURS) * HOUR) * 1000 + draw(st.sampled_from([0, 3_599_999]))
    return Event(type, milliseconds, "x", "mx1", facts, details)


@given(
    st.lists(SENT, max_size=8),
    st.lists(st.lists(happened(), max_size=30), max_size=4),
)
@settings(max_examples=60, deadline=None)
def test_counts_equal_those_of_a_plain_model(
    running_store: Stores, messages: list[Mail], batches: list[list[Event]]
) -> None:
    running_store.flush()
    model, campaigns = Model(), asking(running_store)
    log, stats = EventLog(shared_store(running_store.url)), statistics_of(running_store.url)
    sent = Sent(shared_store(running_store.url))
    for message in messages:
        send(campaigns, sent, message.question, message.mtaid)
        model.sent(message)
    for batch in batches:
        log.append(batch)
        for event in batch:
            model.happened(event)

    for name in (A, B, C):
        assert stats.campaign(name) == model.campaign(name)
        if name in model.opened:
            assert stats.hours(name) == model.hours(name)
            assert set(stats.links(name)) == model.links(name)
            assert len(stats.links(name)) == len(model.links(name))
            for what in DIMENSIONS:
                assert stats.by(what, name) == model.by(what, name)
            assert counted_by(stats, "provider", name) == model.by_provider(name)
            assert counted_by(stats, "reason", name) == model.by_reason(name)
            sums = _rows((each.reason, "") for each in stats.failures(name))
            assert sums.keys() == model.by_reason(name).keys()
    for what in DIMENSIONS:
        assert stats.by(what) == model.by(what, None)
    found = stats.campaigns()
    assert {each.campaign for each in found} == set(model.opened)
    assert [each.opened for each in found] == sorted(model.opened.values(), reverse=True)


def counted_by(stats: Statistics, what: Dimension, name: str) -> dict[str, Counter[str]]:
    """What is counted in each row."""
    rows = {row.name: {kind: getattr(row, kind) for kind in KINDS} for row in stats.by(what, name)}
    return {
        name: Counter({kind: count for kind, count in counts.items() if count})
        for name, counts in rows.items()
    }


@given(st.lists(happened(), max_size=40))
@settings(max_examples=40, deadline=None)
def test_repeated_events_do_not_change_unique_counts(
    running_store: Stores, batch: list[Event]
) -> None:
    running_store.flush()
    begun(running_store, A, B, C)
    log, stats = EventLog(shared_store(running_store.url)), statistics_of(running_store.url)
    log.append(batch)
    once = [counted_once(stats, name) for name in (A, B, C)]
    log.append(batch)
    assert [counted_once(stats, name) for name in (A, B, C)] == once


def counted_once(stats: Statistics, name: str) -> tuple[object, ...]:
    """What a second time must not change."""
    found = stats.campaign(name)
    assert found is not None
    links = sorted((link.url, link.unique_clicks) for link in stats.links(name))
    counts = found.unique_opens, found.confirmed_opens, found.unique_clicks, found.unsubscribes
    return (*counts, *(getattr(found, kind) for kind in sorted(ONCE)), tuple(links))


def asking(store: Stores) -> Campaigns:
    """Campaigns that know the way to the store: finding it may take longer than a mail may wait."""
    opened = shared_store(store.url)
    opened.ping()
    return Campaigns(opened)


def begun(store: Stores, *names: str) -> None:
    campaigns, sent = asking(store), Sent(shared_store(store.url))
    for name in names:
        send(campaigns, sent, Mail(name, "t100", "vmta", 0).question, "vmta")


def event(type: str, number: int = 1, ms: int = BEGAN * 1000, **given: Any) -> Event:
    """``given``: facts by their names, and details."""
    facts = {name: given.pop(name) for name in list(given) if hasattr(FACTS, name)}
    if type == events.CLICK:
        given.setdefault("click_url", "https://example.com/")
    return Event(type, ms, "x", "mx1", replace(FACTS, number=number, **facts), given)


def append(store: Stores, *happened: Event) -> Statistics:
    EventLog(shared_store(store.url)).append(happened)
    return statistics_of(store.url)


def only(rows: Sequence[Row], kind: str) -> dict[str, int]:
    return {row.name: getattr(row, kind) for row in rows if getattr(row, kind)}


def test_bot_clicks_are_counted_separately(store: Stores) -> None:
    begun(store, A)
    stats = append(
        store,
        event(events.CLICK, 1, is_bot=True),
        event(events.CLICK, 1, is_bot=False),
        event(events.CLICK, 2, is_bot=True),
        event(events.OPEN, 2, is_bot=True),
    )
    found = stats.campaign(A)
    assert found is not None
    assert (found.clicks, found.unique_clicks, found.bot_clicks) == (1, 1, 2)
    assert (found.opens, found.unique_opens, found.bot_opens) == (0, 1, 1)
    assert stats.links(A) == (Link("https://example.com/", 1, 1, 2),)


OPENED, BY_PROXY, BY_BOT = "opened", "by a proxy", "by a bot"
CLICKED, CLICKED_BY_BOT = "clicked", "clicked by a bot"
HAPPENED: dict[str, Any] = {
    OPENED: (events.OPEN, {"is_bot": False, "is_privacy_open": False}),
    BY_PROXY: (events.OPEN, {"is_bot": False, "is_privacy_open": True}),
    BY_BOT: (events.OPEN, {"is_bot": True, "is_privacy_open": True}),
    CLICKED: (events.CLICK, {"is_bot": False}),
    CLICKED_BY_BOT: (events.CLICK, {"is_bot": True}),
}


@pytest.mark.parametrize(
    ("dimensions", "opens", "privacy", "unique", "confirmed", "unique_clicks"),
    [
        ([OPENED, OPENED], 2, 0, 1, 1, 0),
        ([BY_PROXY, BY_PROXY], 0, 2, 1, 0, 0),
        ([BY_PROXY, OPENED], 1, 1, 1, 1, 0),
        ([OPENED, BY_PROXY], 1, 1, 1, 1, 0),
        ([CLICKED], 0, 0, 1, 1, 1),
        ([CLICKED, OPENED, CLICKED], 1, 0, 1, 1, 1),
        ([BY_PROXY, CLICKED], 0, 1, 1, 1, 1),
        ([BY_BOT, CLICKED_BY_BOT], 0, 0, 0, 0, 0),
        ([BY_BOT, BY_PROXY], 0, 1, 1, 0, 0),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, list) else None,
)
def test_opens_of_persons_proxies_and_bots_are_counted_separately(
    store: Stores,
    dimensions: list[str],
    opens: int,
    privacy: int,
    unique: int,
    confirmed: int,
    unique_clicks: int,
) -> None:
    begun(store, A)
    stats = append(
        store, *(event(HAPPENED[each][0], 1, **HAPPENED[each][1]) for each in dimensions)
    )
    found = stats.campaign(A)
    assert found is not None
    assert (found.opens, found.privacy_opens) == (opens, privacy)
    assert (found.unique_opens, found.confirmed_opens) == (unique, confirmed)
    assert found.unique_clicks == unique_clicks


def failure(number: int = 1, text: str = "550 5.1.1 no such user", **given: Any) -> Event:
    details = {"bounce_type": "h", "bounce_reason": "user_unknown", "bounce_text": text}
    return event(events.BOUNCE, number, **details | given)


def attempt(status: str, number: int = 1, **given: Any) -> Event:
    return event(events.DELIVERY, number, status=status, **given)


def deferral(number: int = 1, reason: str = "rate_limited", **given: Any) -> Event:
    return attempt("deferral", number, bounce_reason=reason, message="450 4.7.1 slow", **given)


@pytest.mark.parametrize(
    ("name", "happened", "counts"),
    [
        (
            "the log and Postfix's own bounce report the same failure",
            [failure(synchronous=True), failure(synchronous=False)],
            {"bounces_hard": 1},
        ),
        (
            "failures of two messages",
            [failure(1), failure(2)],
            {"bounces_hard": 2},
        ),
        (
            "a soft and a hard bounce of one message",
            [failure(bounce_type="s"), failure(), failure(bounce_type="o")],
            {"bounces_hard": 1, "bounces_soft": 1, "bounces_other": 1},
        ),
        (
            "a failed attempt is counted by its bounce",
            [attempt("failure"), attempt("failure_toolong")],
            {},
        ),
        (
            "a message that is deferred twice, and then delivered",
            [deferral(), deferral(), attempt("success")],
            {"deferred": 1, "delivered": 1, "blocked": 1},
        ),
        (
            "the same delivery twice, by way of a content filter",
            [attempt("success"), attempt("success")],
            {"delivered": 1},
        ),
        (
            "a message to several recipients, which records none of them",
            [attempt("success", email="") for _ in range(3)] + [deferral(email="")] * 2,
            {"delivered": 3, "deferred": 1, "blocked": 1},
        ),
        (
            "blocked later than it was first deferred, and then refused",
            [deferral(reason="network"), deferral(), failure(bounce_reason="spam")],
            {"deferred": 1, "bounces_hard": 1, "blocked": 1},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_delivery_is_counted_once(
    store: Stores, name: str, happened: list[Event], counts: dict[str, int]
) -> None:
    begun(store, A)
    found = append(store, *happened).campaign(A)
    kinds = ("delivered", "deferred", *BOUNCES, "blocked")
    assert {kind: getattr(found, kind) for kind in kinds if getattr(found, kind)} == counts


def test_provider_is_that_of_the_domain_else_of_the_server(store: Stores) -> None:
    begun(store, A)
    hosted = {"recipient_domain": "example.org", "mx_hostname": "aspmx.l.google.com"}
    stats = append(
        store,
        attempt("success", 1, email="a@gmail.com"),
        attempt("success", 2, email="a@example.org", **hosted),
        attempt("success", 3, email="8f3a", mx_hostname="mx-aol.mail.gm0.yahoodns.net"),
        failure(4, email="8f3a@obscured.example"),
        event(events.COMPLAINT, 1, email="a@gmail.com"),
    )
    assert only(stats.by("provider", A), "delivered") == {"google": 2, "yahoo": 1}
    assert only(stats.by("provider"), "bounces_hard") == {"other": 1}
    assert only(stats.by("provider"), "complaints") == {"google": 1}
    assert {row.sent for row in stats.by("provider")} == {None}, "not counted by provider"
    stored = [store.look.hgetall(key(A)) for key in (keys.providers, keys.reasons, keys.counts)]
    assert "example.org" not in str(stored)


def test_provider_of_the_configuration_wins_over_the_built_in_one(store: Stores) -> None:
    begun(store, A)
    table = Providers("google domain gmail.com\n", {"intranet": ["gmail.com"]})
    log = EventLog(open_store(store.url), providers=lambda: table)
    log.append([attempt("success", 1, email="a@gmail.com")])
    stats = statistics_of(store.url)
    assert only(stats.by("provider", A), "delivered") == {"intranet": 1}


def test_failures_are_grouped_by_reason_and_words(store: Stores) -> None:
    begun(store, A)
    stats = append(
        store,
        failure(1, "550 5.1.1 <a@gmail.com> unknown", email="a@gmail.com"),
        failure(2, "550 5.1.1 <b@gmail.com> unknown", email="b@gmail.com"),
        failure(3, "550 5.1.1 <c@web.de> unknown", email="c@web.de"),
        failure(4, "552 full", bounce_type="s", bounce_reason="mailbox_full", email="d@web.de"),
        *(deferral(number, email="e@free.fr") for number in (5, 5, 6)),
    )
    assert stats.failures(A) == (
        Failures("user_unknown", "550 5.1.1 <address> unknown", 3, 0, "google"),
        Failures("rate_limited", "450 4.7.1 slow", 0, 2, "free"),
        Failures("mailbox_full", "552 full", 1, 0, "gmx"),
    )
    by_reason = {row.name: row for row in stats.by("reason", A)}
    assert (by_reason["user_unknown"].bounces_hard, by_reason["rate_limited"].deferred) == (3, 2)
    assert {row.delivered for row in by_reason.values()} == {None}
    assert {row.blocked for row in by_reason.values()} == {None}


def test_groups_of_words_are_limited(store: Stores) -> None:
    begun(store, A)
    words = [f"550 {chr(97 + at // 26)}{chr(97 + at % 26)}" for at in range(250)]
    stats = append(store, *(failure(number, each) for number, each in enumerate(words)))
    found = stats.failures(A)
    assert len(found) == 201
    assert found[0] == Failures("user_unknown", "", 50, 0, "other")
    assert sum(each.bounced for each in found) == 250
    append(store, failure(300, words[0]), failure(301, "550 zz"))
    assert {each.words: each.bounced for each in stats.failures(A)}[words[0]] == 2
    assert stats.failures(A)[0].bounced == 51


@given(st.lists(st.tuples(st.sampled_from(list(HAPPENED)), st.integers(1, 9)), max_size=60))
@settings(max_examples=60, deadline=None)
def test_unique_clicks_never_exceed_confirmed_or_unique_opens(
    running_store: Stores, played: list[tuple[str, int]]
) -> None:
    running_store.flush()
    begun(running_store, A)
    stats = append(
        running_store, *(event(HAPPENED[what][0], n, **HAPPENED[what][1]) for what, n in played)
    )
    found = stats.campaign(A)
    assert found is not None
    unique = found.unique_clicks, found.confirmed_opens, found.unique_opens
    assert sorted(each or 0 for each in unique) == list(unique)


def test_counts_without_a_source_are_unknown(store: Stores) -> None:
    begun(store, A, B)
    log = EventLog(shared_store(store.url))
    log.append([event(events.BOUNCE, campaign=B, bounce_type="s"), event(events.CLICK, 2)])
    stats = Statistics(
        shared_store(store.url), lambda name: NEWS if name == "News" else frozenset()
    )
    one, other = stats.campaign(A), stats.campaign(B)
    assert one is not None
    assert other is not None
    assert (one.opens, one.unique_opens, one.clicks, one.unsubscribes) == (0, 1, 1, None)
    assert (one.bounces_hard, one.bounces_soft, one.delivered) == (None, None, None)
    assert (other.bounces_hard, other.bounces_soft, other.complaints) == (0, 1, None)
    blind = Statistics(shared_store(store.url), lambda _: frozenset()).campaign(A)
    assert blind is not None
    # That somebody clicked is no measure of how many have opened.
    assert (blind.clicks, blind.bot_clicks, blind.unique_opens) == (1, 0, None)


NEWS = frozenset({"opens", "clicks"})


def test_row_of_a_breakdown_needs_one_campaign_with_a_source(store: Stores) -> None:
    begun(store, A, C)
    stats = append(store, event(events.BOUNCE, campaign=C, bounce_type="h"))
    news, shop = stats.by("mail_class")
    assert (news.bounces_hard, shop.bounces_hard, shop.bounces_soft) == (None, 1, 0)
    (day,) = stats.by("day")
    assert (day.bounces_hard, day.complaints) == (1, None)


def test_campaigns_of_a_monitor_group_are_added_up(store: Stores) -> None:
    groups = {A: "weekly", B: "daily", C: "weekly"}
    for campaign, group in groups.items():
        asked = replace(Mail(campaign, "", "", 0).question, monitor=group)
        send(asking(store), Sent(shared_store(store.url)), asked, campaign)
    stats = append(store, event(events.OPEN, campaign=A), event(events.OPEN, campaign=C))
    daily, weekly = stats.by("monitor")
    assert (daily.name, daily.sent, daily.opens, len(daily.sendids)) == ("daily", 1, 0, 1)
    assert (weekly.name, weekly.sent, weekly.opens) == ("weekly", 2, 2)
    assert {*weekly.sendids} == {(CLASSES[each] + each[0]).lower() for each in (A, C)}


def test_lowest_and_highest_message_numbers_are_counted(store: Stores) -> None:
    begun(store, A)
    numbers = (1, 2, 999_999, 1_000_000)
    stats = append(store, *(event(events.OPEN, number) for number in numbers * 3))
    found = stats.campaign(A)
    assert found is not None
    assert (found.opens, found.unique_opens) == (12, 4)


def test_bits_of_the_highest_numbers_take_little_memory(store: Stores) -> None:
    begun(store, A)
    numbers = (1, 65_535, 65_536, HIGHEST - 1, HIGHEST)
    stats = append(store, *(event(events.OPEN, number) for number in numbers * 2))
    found = stats.campaign(A)
    assert found is not None
    assert (found.opens, found.unique_opens) == (10, 5)
    keys = store.keys("*seen*:opens:*")
    assert len(keys) == 3
    assert max(int(store.look.strlen(key)) for key in keys) <= 65_536 // 8


def test_large_batch_is_counted(store: Stores) -> None:
    begun(store, A, B)
    opens = [event(events.OPEN, number, campaign=name) for name in (A, B) for number in range(555)]
    stats = append(store, *opens, *opens)
    for name in (A, B):
        found = stats.campaign(name)
        assert found is not None
        assert (found.opens, found.unique_opens) == (1110, 555)


def test_links_of_single_messages_take_little_memory(store: Stores) -> None:
    """A link with the reader's number in it: each is of one message, whose number may be high."""
    begun(store, A)
    append(
        store,
        *(
            event(events.CLICK, number, click_url=f"https://example.com/{number}")
            for number in range(900_000, 900_200)
            for _ in range(2)
        ),
    )
    keys = store.keys("*seen*:clicks:*:*")
    assert len(keys) == 200
    assert max(int(store.look.strlen(key)) for key in keys) <= 512
    assert all(link.unique_clicks == 1 for link in statistics_of(store.url).links(A))


def test_damaged_counters_do_not_stop_other_events(
    store: Stores, capfd: pytest.CaptureFixture[str]
) -> None:
    begun(store, A)
    begun(store, B)
    key = keys.counts(A)
    store.look.delete(key)
    store.look.set(key, "x")
    stats = append(store, event(events.CLICK, 1), event(events.CLICK, 1, campaign=B))
    found = stats.campaign(B)
    assert found is not None
    assert found.clicks == 1
    assert f"counting_failed campaign={keys.campaign(A)}" in capfd.readouterr().err
    store.look.delete(key)


def test_unique_clicks_are_counted_for_each_link(store: Stores) -> None:
    begun(store, A)
    one, two = "https://example.com/1", "https://example.com/2"
    stats = append(
        store,
        *(event(events.CLICK, 1, click_url=url) for url in (one, two, one)),
        event(events.CLICK, 2, click_url=one),
    )
    assert stats.links(A) == (Link(one, 3, 2, 0), Link(two, 1, 1, 0))
    found = stats.campaign(A)
    assert found is not None
    assert (found.clicks, found.unique_clicks) == (4, 2)


@pytest.mark.parametrize(
    "name",
    ["a|b", "50%", "%7c", "a b", "t\n\t", "{a}", "ünï", "\U0001f4ee", "\x7f\x01", "", "x" * 500],
    ids=ascii,
)
def test_names_of_lists_and_virtual_mtas_are_returned_unchanged(store: Stores, name: str) -> None:
    asked = replace(Mail(A, name, name, 0).question, mail_class="News")
    send(asking(store), Sent(shared_store(store.url)), asked, name)
    stats = append(store, event(events.OPEN, listid=name, mtaid=name))
    dimensions: tuple[Dimension, ...] = ("listid", "mtaid")
    for what in dimensions:
        assert stats.by(what) == (Row(name=name, **ONE_OPEN),)


@pytest.mark.parametrize("name", ["t\udcff", "t\0", "\ud800"], ids=ascii)
def test_name_that_is_not_utf_8_is_as_in_events(store: Stores, name: str) -> None:
    send(asking(store), Sent(shared_store(store.url)), Mail(A, name, "", 0).question)
    opened = event(events.OPEN, listid=name)
    stats = append(store, opened)
    assert stats.by("listid") == (Row(name=str(opened.fields()["listid"]), **ONE_OPEN),)


@pytest.mark.parametrize("url", ["https://e.example/\udcff", "https://e.example/\0|", "x" * 5000])
def test_unusual_urls_are_counted_as_links(store: Stores, url: str) -> None:
    begun(store, A)
    clicked = event(events.CLICK, click_url=url)
    stats = append(store, clicked)
    assert stats.links(A) == (Link(str(clicked.fields()["click_url"]), 1, 1, 0),)


def test_lists_ignore_case_and_virtual_mtas_do_not(store: Stores) -> None:
    begun(store, A)
    stats = append(
        store,
        event(events.OPEN, 1, listid="News", mtaid="A"),
        event(events.OPEN, 2, listid="nEWS", mtaid="a"),
    )
    assert only(stats.by("listid"), "opens") == {"news": 2}
    assert only(stats.by("mtaid"), "opens") == {"A": 1, "a": 1}


def test_days_are_in_utc(store: Stores) -> None:
    begun(store, A)
    midnight = (BEGAN + DAY) * 1000
    stats = append(store, *(event(events.OPEN, 1, midnight + past) for past in (-1, 0)))
    assert only(stats.by("day"), "opens") == {"2026-11-21": 1, "2026-11-22": 1}
    # Who comes back the next day is no new reader.
    assert only(stats.by("day"), "unique_opens") == {"2026-11-21": 1}


def test_events_of_a_lost_campaign_are_counted_until_it_is_created_again(store: Stores) -> None:
    figures = append(store, event(events.OPEN), event(events.CLICK))
    assert figures.campaign(A) is None
    counters = store.keys(f"*{A}*")
    assert counters
    assert all(29 * DAY < store.look.ttl(key) <= 30 * DAY for key in counters)
    begun(store, A)
    append(store, event(events.OPEN))
    found = figures.campaign(A)
    assert found is not None
    assert (found.opens, found.unique_opens, found.clicks) == (2, 1, 1)
    campaign = store.look.ttl(keys.campaign(A))
    assert campaign - 100 < store.look.ttl(keys.counts(A)) <= campaign


def test_events_without_a_campaign_are_not_counted(store: Stores) -> None:
    figures = append(store, event(events.OPEN, campaign=""))
    assert figures.by("day") == ()
    assert store.keys("*counts*") + store.keys("*seen*") == []


def test_counters_written_in_the_last_minute_expire_with_the_campaign(store: Stores) -> None:
    begun(store, A)
    store.look.expire(keys.campaign(A), 50)
    append(store, event(events.OPEN))
    assert 0 < store.look.ttl(f"{keys.seen(A)}opens:0") <= 50


def test_all_counters_expire_with_the_campaign(store: Stores) -> None:
    begun(store, A)
    stats = append(store, *(event(type) for type in (events.CLICK, events.OPEN)))
    kept = store.look.ttl(keys.campaign(A))
    found = store.keys(f"*{A}*")
    assert len(found) == 8
    assert all(kept - 100 < store.look.ttl(key) <= kept for key in found)
    store.look.delete(keys.campaign(A))
    assert stats.campaigns() == ()


def test_newest_campaigns_come_first(store: Stores) -> None:
    campaigns = asking(store)
    for hour, name in enumerate((B, C, A)):
        campaigns.campaign_of(Mail(name, "", "", hour).question)
    stats = statistics_of(store.url)
    assert [each.campaign for each in stats.campaigns()] == [A, C, B]
    assert [each.campaign for each in stats.campaigns(2)] == [A, C]


@pytest.mark.parametrize(
    ("name", "limit", "skip", "wanted", "found"),
    [
        ("all", None, 0, EVERY, [A, C, B]),
        ("the newest", 1, 0, EVERY, [A]),
        ("the next page", 2, 1, EVERY, [C, B]),
        ("behind the last", 2, 3, EVERY, []),
        ("of a class", None, 0, Wanted(mail_class="NEWS"), [A, B]),
        ("the second of a class", 5, 1, Wanted(mail_class="news"), [B]),
        ("of no class", None, 0, Wanted(mail_class="no"), []),
        ("since then", None, 0, Wanted(since=BEGAN + HOUR), [A, C]),
        ("with a text in the SendID", None, 0, Wanted(search="HOP"), [C]),
    ],
)
def test_campaigns_are_filtered_and_paged(
    store: Stores,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    limit: int | None,
    skip: int,
    wanted: Wanted,
    found: list[str],
) -> None:
    campaigns, sent = asking(store), Sent(shared_store(store.url))
    for hour, each in enumerate((B, C, A)):
        send(campaigns, sent, Mail(each, "", "", hour).question)
    stats = Statistics(shared_store(store.url), measured, page=2)
    assert [each.campaign for each in stats.campaigns(limit, skip, wanted)] == found
    by_class = {row.name: row.sent for row in stats.by("mail_class", wanted=wanted)}
    if limit is None:
        assert by_class == Counter(CLASSES[each] for each in found)


def test_expired_campaigns_leave_no_gap_in_a_page(store: Stores) -> None:
    begun(store, A)
    for number in range(5):
        store.look.zadd(keys.CAMPAIGNS, {f"ended{number}": BEGAN + DAY + number})
    stats = Statistics(shared_store(store.url), measured, page=2)
    assert [each.campaign for each in stats.campaigns(1)] == [A]
    assert store.look.zcard(keys.CAMPAIGNS) == 1


def test_newest_campaign_of_a_sendid(store: Stores) -> None:
    stats = statistics_of(store.url)
    assert stats.newest("newsa") is None
    begun(store, A)
    assert stats.newest("NewsA") == stats.campaign(A)
    # Its window is over.
    store.look.delete(keys.sendid("newsa"))
    assert stats.newest("newsA") == stats.campaign(A)
    assert stats.newest("news") is None
    store.look.delete(keys.campaign(A))
    assert stats.newest("newsa") is None


def test_every_count_has_a_kind() -> None:
    """A field that nobody counts would always be 0."""
    model = Model()
    model.sent(Mail(A, "", "", 0))
    for type in events.TYPES:
        for detail in (
            {"is_bot": True},
            {"is_privacy_open": True},
            {"bounce_type": "h"},
            {"bounce_type": "s"},
            {"bounce_type": "o", "bounce_reason": "spam"},
            {"status": "deferral"},
            {"status": "success"},
            {},
        ):
            model.happened(event(type, **detail))
    assert {kind for _, kind, *_ in model.counted} == set(KINDS)


def test_every_method_raises_without_redis() -> None:
    stats = statistics_of("unix:///no/such/socket")
    for ask in (stats.campaigns, lambda: stats.campaign(A), lambda: stats.by("day")):
        with pytest.raises(StoreUnavailable):
            ask()
    with pytest.raises(StoreUnavailable):
        EventLog(open_store("unix:///no/such/socket")).append([event(events.OPEN)])
