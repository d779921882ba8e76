"""Limits in a real Redis, one server and a cluster: taken by many at once, never exceeded."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from fletching.numbering import Candidate, Numbered, Period, Question, Window
from fletching.store import keys, limits
from fletching.store.campaigns import Campaigns
from fletching.store.connection import Ask
from fletching.store.limits import ALL, PLENTY, Room
from fletching.store.suppression import Suppression

from sandbox.redis_cluster import Stores
from tests.stores import open_store, remembered

DAY = 86400
CAMPAIGN = "aaaaaaaaaaaa"
FOREVER = 2**33


def capped(
    each: int | None = None,
    together: int | None = None,
    starts: Sequence[int] = (0, 0, FOREVER, FOREVER),
) -> Period:
    """The windows w0 to w3. By default Redis' clock is in w1, the one after the first."""
    windows = enumerate(starts)
    return Period("day", tuple(Window(f"w{at}", when, each, together) for at, when in windows))


def question(*candidates: Candidate, google: int = 1, other: int = 0, **more: object) -> Question:
    counted = tuple((name, n) for name, n in (("google", google), ("other", other)) if n)
    asked: dict[str, object] = {
        "sendid": "a1",
        "mail_class": "a",
        "instance_id": "1",
        "monitor": "",
        "now": int(time.time()),
        "window": DAY,
        "candidate": CAMPAIGN,
        "remember": (("email", "r@example.com"), ("mtaid", candidates[0].name)),
        "bounce_memory": DAY,
        "candidates": candidates,
        "counted": counted,
        **more,
    }
    return Question(**asked)  # type: ignore[arg-type]


def asked(campaigns: Campaigns, question: Question) -> Numbered:
    found = campaigns.campaign_of(question)
    assert found is not None
    return found


def used(store: Stores, name: str, label: str = "w1") -> dict[str, int]:
    (found,) = limits.used(open_store(store.url), [(name, Window(label, 0))])
    return dict(found)


@pytest.fixture
def campaigns(store: Stores) -> Campaigns:
    return Campaigns(open_store(store.url))


def test_mail_goes_to_the_next_candidate_when_the_first_is_full(
    campaigns: Campaigns, store: Stores
) -> None:
    pool = Candidate("a", (capped(2),)), Candidate("b", (capped(1),)), Candidate("spare")
    routes = [asked(campaigns, question(*pool)).route for _ in range(5)]
    assert routes == ["a", "a", "b", "spare", "spare"]
    assert used(store, "A") == {"google": 2, ALL: 2}
    assert used(store, "spare") == {}


def test_mail_without_room_gets_no_number(campaigns: Campaigns, store: Stores) -> None:
    full = question(Candidate("a", (capped(1),)))
    assert asked(campaigns, full) == Numbered(CAMPAIGN, 1, route="a")
    assert asked(campaigns, full) == Numbered("", 0, route="")
    assert asked(campaigns, replace(full, needs_room=False)) == Numbered(CAMPAIGN, 2, route="")
    opened = open_store(store.url)
    assert remembered(opened, CAMPAIGN, 1) == {"email": "r@example.com", "mtaid": "a"}
    assert remembered(opened, CAMPAIGN, 2) == {"email": "r@example.com"}


def test_bounce_record_names_the_virtual_mta_that_had_room(
    campaigns: Campaigns, store: Stores
) -> None:
    pool = question(Candidate("a", (capped(1),)), Candidate("b"))
    for _ in range(2):
        asked(campaigns, pool)
    assert remembered(open_store(store.url), CAMPAIGN, 2)["mtaid"] == "b"


def test_all_windows_must_have_room_or_nothing_is_counted(
    campaigns: Campaigns, store: Stores
) -> None:
    hours = tuple(each._replace(label=f"h{each.label}") for each in capped(1).windows)
    both = Candidate("a", (capped(5), Period("hour", hours)))
    assert [asked(campaigns, question(both)).route for _ in range(3)] == ["a", "", ""]
    assert used(store, "a") == {"google": 1, ALL: 1}
    assert used(store, "a", "hw1") == {"google": 1, ALL: 1}


def test_recipients_of_several_providers_must_all_have_room(
    campaigns: Campaigns, store: Stores
) -> None:
    limited = Candidate("a", (capped(3),))
    assert asked(campaigns, question(limited, google=2, other=3)).route == "a"
    assert asked(campaigns, question(limited, google=1, other=1)).route == ""
    assert asked(campaigns, question(limited, google=2)).route == ""
    assert asked(campaigns, question(limited, google=1)).route == "a"
    assert used(store, "a") == {"google": 3, "other": 3, ALL: 6}


def test_limit_of_all_providers_together(campaigns: Campaigns, store: Stores) -> None:
    limited = Candidate("a", (capped(together=3),))
    assert asked(campaigns, question(limited, google=2, other=1)).route == "a"
    assert asked(campaigns, question(limited)).route == ""


def test_window_is_chosen_by_the_clock_of_redis(campaigns: Campaigns, store: Stores) -> None:
    now = int(time.time())
    past, future = now - DAY, now + DAY
    ahead = Candidate("a", (capped(1, starts=(past, future, future, FOREVER)),))
    behind = Candidate("a", (capped(1, starts=(past - DAY, past - 9, past, FOREVER)),))
    asked(campaigns, question(ahead))
    asked(campaigns, question(behind))
    assert used(store, "a", "w0") == used(store, "a", "w2") == {"google": 1, ALL: 1}


def test_numbers_have_no_gap_until_other_hosts_fill_the_limit(store: Stores) -> None:
    """With plenty of room, both are asked for at once on one server."""
    one, other = (Campaigns(open_store(store.url)) for _ in range(2))
    pool = question(Candidate("a", (capped(PLENTY + 5),)), Candidate("b"))
    found = [asked(one, pool) for _ in range(10)]
    assert [each.number for each in found] == list(range(1, 11))
    assert {each.route for each in found} == {"a"}
    asked(other, replace(pool, counted=(("google", PLENTY - 6),)))
    found = [asked(one, pool) for _ in range(3)]
    assert [each.route for each in found] == ["a", "b", "b"]
    numbers = [each.number for each in found]
    assert numbers == sorted(set(numbers))
    assert used(store, "a") == {"google": PLENTY + 5, ALL: PLENTY + 5}


def test_suppressed_mail_takes_no_room(campaigns: Campaigns, store: Stores) -> None:
    Suppression(open_store(store.url)).add("t1", "r@example.com", "unsubscribed", 1)
    limited = Candidate("a", (capped(1),))
    refused = question(limited, listid="t1", suppress="refuse", recipients=("r@example.com",))
    assert asked(campaigns, refused).suppressed == ("unsubscribed",)
    assert used(store, "a") == {}


def test_mail_that_gets_no_number_gives_its_room_back(store: Stores) -> None:
    opened = open_store(store.url)
    asked_for = question(Candidate("a", (capped(5),)), google=2, other=1)
    later: list[Callable[[Ask], None]] = []
    ask = opened.client().execute_command
    room, late = (Room(limits.Limits(), asked_for, later.append) for _ in range(2))
    assert room.take(ask) == room.take(ask) == "a"
    late.abandon()
    assert late.take(ask) == "a"
    assert used(store, "a") == {"google": 4, "other": 2, ALL: 6}
    for each in later:
        each(ask)
    assert used(store, "a") == {"google": 2, "other": 1, ALL: 3}
    room.abandon()
    room.abandon()
    later[-1](ask)
    assert (len(later), used(store, "a")) == (2, {"google": 0, "other": 0, ALL: 0})


def test_room_that_redis_has_lost_is_not_given_back(store: Stores) -> None:
    opened = open_store(store.url)
    ask = opened.client().execute_command
    later: list[Callable[[Ask], None]] = []
    asked_for = question(Candidate("a", (capped(5),)), google=2, other=1)
    lost, kept = (Room(limits.Limits(), asked_for, later.append) for _ in range(2))
    lost.take(ask)
    opened.ask(lambda client: client.execute_command("DEL", keys.used("a") + "w1"))
    kept.take(ask)
    for _ in range(2):
        lost.abandon()
        for each in later:
            each(ask)
    assert used(store, "a") == {"google": 0, "other": 0, ALL: 0}


def _host(url: str, mails: int, most: int, out: multiprocessing.Queue[list[str]]) -> None:
    """One host of the fleet: sends as fast as it can."""
    campaigns = Campaigns(open_store(url))
    pool = question(Candidate("a", (capped(most),)), Candidate("b", (capped(most),)))
    routes: list[str] = []
    while len(routes) < mails:
        found = campaigns.campaign_of(pool)
        if found is not None and found.route is not None:
            routes.append(found.route)
    out.put(routes)


@pytest.mark.slow
def test_ten_hosts_at_once_never_exceed_a_limit(store: Stores) -> None:
    most, mails, hosts = 230, 60, 10
    fork = multiprocessing.get_context("fork")
    out = fork.Queue()
    fleet = [
        fork.Process(target=_host, args=(store.url, mails, most, out), daemon=True)
        for _ in range(hosts)
    ]
    for host in fleet:
        host.start()
    routes = Counter(route for _ in fleet for route in out.get(timeout=120))
    for host in fleet:
        host.join(60)
    assert routes == {"a": most, "b": most, "": hosts * mails - 2 * most}
    assert used(store, "a") == used(store, "b") == {"google": most, ALL: most}
