"""Message numbers where Redis forgets: in a real Redis, one server and a cluster.

No number of a campaign is ever given twice, and each worker's numbers grow.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fletching.numbering import Numbered, Question, campaign_id
from fletching.store import keys
from fletching.store.campaigns import Campaigns

from sandbox.processes import wait_until
from sandbox.redis_cluster import Stores
from sandbox.redis_server import RedisServer
from tests.stores import open_store, remembered

NOWHERE = Path("/nonexistent")
BEGAN, DAY = 1_795_248_000, 86400
RANGE, GENERATION = 2**28, 2**44
FIRST, LATER, LAST = (campaign_id(BEGAN + past, bytes(4)) for past in (0, 60, 120))
SENDID, CAMPAIGN = keys.sendid("a1"), keys.campaign(FIRST)
UNSAVED = ("appendonly no",)
# With AOF, a server that has just been told to follow another one refuses to end.
REPLICATED = (*UNSAVED, "repl-diskless-sync-delay 0", "shutdown-timeout 0")


def question(candidate: str = FIRST, past: int = 0) -> Question:
    return Question(
        sendid="a1",
        mail_class="a",
        instance_id="1",
        monitor="spring sale",
        now=BEGAN + past,
        window=DAY,
        candidate=candidate,
        remember=(("email", "r@example.com"),),
        bounce_memory=DAY,
    )


def numbers(campaigns: Campaigns, count: int, asked: Question | None = None) -> list[int]:
    """So many numbers, which must all be of the first campaign."""
    asked = asked or question(LAST, 120)
    got = [campaigns.campaign_of(asked) for _ in range(count)]
    assert {numbered.campaign for numbered in got if numbered} == {FIRST}
    return [numbered.number for numbered in got if numbered]


def workers(url: str, count: int, **options: Any) -> list[Campaigns]:
    """Campaigns that know the way to the store: finding it may take longer than a mail may wait."""
    stores = [open_store(url) for _ in range(count)]
    for store in stores:
        store.ping()
    return [Campaigns(store, **options) for store in stores]


def promoted(server: RedisServer) -> None:
    server.client.replicaof("NO", "ONE")


def follow(server: RedisServer, master: RedisServer) -> None:
    """The server has all that the master has, and nothing else."""
    server.client.replicaof("127.0.0.1", str(master.port))
    wait_until("no sync", lambda: server.client.info("replication")["master_link_status"] == "up")


FORGETS: dict[str, Callable[[Stores], object]] = {
    "campaign_evicted": lambda store: store.look.delete(CAMPAIGN),
    "both_evicted": lambda store: (store.look.delete(CAMPAIGN), store.look.delete(SENDID)),
    "flushall": Stores.flush,
    "number_set_back": lambda store: store.look.hset(CAMPAIGN, "number", 3),
    "scripts_and_everything": lambda store: [
        server.client.execute_command(*words)  # type: ignore[no-untyped-call]
        for server in store.servers
        for words in (("FLUSHALL",), ("SCRIPT", "FLUSH"))
    ],
}


@pytest.mark.parametrize("forget", FORGETS.values(), ids=FORGETS)
def test_campaign_keeps_its_id_and_its_numbers_grow(
    store: Stores, forget: Callable[[Stores], object]
) -> None:
    one, two, new = workers(store.url, 3)
    got = numbers(one, 5, question()) + numbers(two, 5)
    assert got == list(range(1, 11))
    forget(store)
    got += numbers(two, 3) + numbers(one, 3) + numbers(new, 3) + numbers(two, 3)
    assert got == sorted(set(got))
    assert len(got) == 22
    assert remembered(open_store(store.url), FIRST, got[-1]) == {"email": "r@example.com"}


def test_lost_campaign_is_created_again_with_its_fields(store: Stores) -> None:
    (one,) = workers(store.url, 1)
    numbers(one, 1, question())
    store.look.pexpire(SENDID, DAY * 500)
    # Only who asks now is told of a shorter window.
    (two,) = workers(store.url, 1)
    numbers(two, 1)
    before = one.campaign(FIRST)
    store.flush()
    numbers(two, 1)
    after = two.campaign(FIRST)
    assert before is not None
    assert after is not None
    for name in ("sendid", "mail_class", "instance_id", "opened"):
        assert after[name] == before[name]
    assert store.look.zscore(keys.CAMPAIGNS, FIRST) == BEGAN
    assert store.look.ttl(CAMPAIGN) > 400 * DAY
    assert 0 < store.look.pttl(SENDID) <= DAY * 500


def test_first_opened_campaign_wins(store: Stores) -> None:
    (one,) = workers(store.url, 1)
    # It asks for each mail where the SendID leads.
    (new,) = workers(store.url, 1, look_up_every=0.0)
    numbers(one, 5, question())
    store.flush()
    assert new.campaign_of(question(LATER, 60)) == Numbered(LATER, 1)
    assert numbers(one, 1)[0] > GENERATION
    # One that asks again where the SendID leads comes back to the first one.
    assert numbers(new, 3)[0] > GENERATION
    # The other one, whose mails are out, stays for what comes back of them.
    assert new.campaign(LATER) is not None


def test_campaign_lost_without_its_sendid_does_not_restart_at_one(store: Stores) -> None:
    one, new = workers(store.url, 2)
    before = numbers(one, 3, question())
    store.look.delete(CAMPAIGN)
    after = numbers(new, 3) + numbers(one, 3)
    assert min(after) > max(before)
    assert len(set(after)) == 6


def test_sendid_that_is_lost_leads_back_to_its_campaign(store: Stores) -> None:
    one, new = workers(store.url, 2, look_up_every=0.0)
    before = numbers(one, 3, question())
    store.look.delete(SENDID)
    assert new.campaign_of(question(LATER, 60)) == Numbered(LATER, 1)
    assert before + numbers(one, 3) + numbers(new, 3) == list(range(1, 10))


def test_campaign_is_not_remembered_beyond_its_window(store: Stores) -> None:
    (one,) = workers(store.url, 1)
    asked = question()
    shorter = Question(**{name: getattr(asked, name) for name in asked.__slots__} | {"window": 1})
    numbers(one, 1, shorter)
    wait_until("no end", lambda: not store.look.exists(SENDID))
    assert one.campaign_of(question(LATER, 60)) == Numbered(LATER, 1)


def test_campaign_unused_for_longest_is_forgotten(store: Stores) -> None:
    (one,) = workers(store.url, 1, remembered=2)
    numbers(one, 1, question())
    for place in range(5):
        other = question(campaign_id(BEGAN + place, b"abcd"))
        named = {name: getattr(other, name) for name in other.__slots__} | {"sendid": f"b{place}"}
        one.campaign_of(Question(**named))
        numbers(one, 1)
    store.flush()
    assert numbers(one, 1)[0] > GENERATION
    assert len(one._open_campaigns) == 2


@pytest.mark.parametrize(
    ("last", "least", "most"),
    [
        pytest.param(40, GENERATION + 41, 2 * GENERATION, id="second_range"),
        pytest.param(5 * GENERATION + 7, 6 * GENERATION + 8, 7 * GENERATION, id="seventh_range"),
        pytest.param(63 * GENERATION + 7, 63 * GENERATION + 8, 2**50, id="last_generation"),
        pytest.param(2**50 - 2, 2**50 - 1, 2**50, id="highest"),
    ],
)
def test_new_range_is_above_the_last_number(
    store: Stores, last: int, least: int, most: int
) -> None:
    (one,) = workers(store.url, 1)
    numbers(one, 1, question())
    # Long ago: soon after a plain restart the range would stay the same.
    given = {"number": last, "run": "of another Redis", "at": 0}
    store.look.hset(CAMPAIGN, mapping=given)
    first, second = numbers(one, 2)
    assert least <= first < most
    if last < 2**50 - 2:
        assert (first, second) == (first, first + 1)
        assert first % RANGE == last % RANGE + 1


@pytest.mark.parametrize(
    ("options", "last_at", "is_plain"),
    [
        pytest.param(("appendonly yes",), None, True, id="append_only_file"),
        pytest.param(("appendonly no", "save 1 1"), None, False, id="snapshots_alone"),
        pytest.param(("appendonly yes",), -3600, False, id="last_number_an_hour_before"),
        pytest.param(("appendonly yes",), 3600, False, id="last_number_after_the_start"),
    ],
)
def test_restarted_redis_goes_on_in_its_range(
    options: tuple[str, ...], last_at: int | None, is_plain: bool
) -> None:
    with RedisServer(*options) as server:
        (before,) = workers(server.url, 1)
        assert numbers(before, 2, question()) == [1, 2]
        at = int(server.client.hget(CAMPAIGN, "at") or 0)
        if last_at is not None:
            server.client.hset(CAMPAIGN, "at", str(at + last_at))
        server.client.save()
        server.daemon.kill()
        server.start()
        (after,) = workers(server.url, 1)
        (third,) = numbers(after, 1, question())
        assert (third == 3) is is_plain


def number_on(campaigns: Campaigns, ended: threading.Event, got: list[list[int]]) -> None:
    own: list[int] = []
    got.append(own)
    while not ended.is_set():
        numbered = campaigns.campaign_of(question())
        if numbered is not None:
            assert numbered.campaign == FIRST
            own.append(numbered.number)


def test_no_number_twice_where_redis_without_aof_is_killed() -> None:
    """Several workers with several threads each; Redis comes back as it was a while ago."""
    ended, got = threading.Event(), list[list[int]]()
    with RedisServer(*UNSAVED) as server:
        threads = [
            threading.Thread(target=number_on, args=(each, ended, got))
            for each in workers(server.url, 3)
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()

        def more() -> None:
            before = [len(own) for own in got]
            wait_until(
                "no numbers",
                lambda: all(len(own) > so + 10 for own, so in zip(got, before, strict=True)),
            )

        wait_until("no threads", lambda: len(got) == len(threads))
        try:
            for saved in (True, True, False):
                more()
                if saved:
                    server.client.save()
                more()
                server.daemon.kill()
                server.start()
            more()
        finally:
            ended.set()
            for thread in threads:
                thread.join()
    assert all(own == sorted(own) for own in got)
    everything = [number for own in got for number in own]
    assert len(set(everything)) == len(everything) > 12 * 70


def test_no_number_twice_where_an_older_dump_is_restored() -> None:
    """No worker remembers anything, and the dump is restored twice."""
    with RedisServer(*UNSAVED) as server:
        got = numbers(Campaigns(open_store(server.url)), 10, question())
        server.client.save()
        dump, kept = server.directory / "dump.rdb", server.directory / "kept"
        shutil.copy(dump, kept)
        got += numbers(Campaigns(open_store(server.url)), 10)
        for _ in range(2):
            server.daemon.kill()
            shutil.copy(kept, dump)
            server.start()
            got += numbers(Campaigns(open_store(server.url)), 10)
    assert got[:20] == list(range(1, 21))
    assert min(got[20:]) > GENERATION
    assert len(set(got)) == 40


def test_no_number_twice_on_two_sides_of_a_partition() -> None:
    """A replica is promoted while its master goes on; then the old master follows it."""
    with RedisServer(*REPLICATED) as master, RedisServer(*REPLICATED) as other:
        (here,) = workers(master.url, 1)
        got = numbers(here, 10, question())
        follow(other, master)
        promoted(other)
        (there,) = workers(other.url, 1)
        for _ in range(3):
            got += numbers(here, 5) + numbers(there, 5)
        # Healed: what the old master alone had is gone, and who asked it goes on elsewhere.
        follow(master, other)
        promoted(master)
        for _ in range(3):
            got += numbers(here, 5) + numbers(there, 5)
    assert got[:10] == list(range(1, 11))
    assert len(set(got)) == len(got) == 70


@pytest.mark.parametrize("opened_first", ["on_the_side_that_stays", "on_the_side_that_is_lost"])
def test_campaigns_opened_on_two_sides_merge_into_the_first(
    opened_first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RedisServer(*REPLICATED) as stays, RedisServer(*REPLICATED) as lost:
        # All ask for each mail where the SendID leads.
        stayed, left = (workers(each.url, 1, look_up_every=0.0)[0] for each in (stays, lost))
        sides = [stayed, left] if opened_first == "on_the_side_that_stays" else [left, stayed]
        assert sides[0].campaign_of(question()) == Numbered(FIRST, 1)
        assert sides[1].campaign_of(question(LATER, 60)) == Numbered(LATER, 1)
        follow(lost, stays)
        stays.stop()
        promoted(lost)
        # Both ask the one that has what the other had.
        monkeypatch.setattr(stayed, "_store", left._store)
        monkeypatch.setattr(stayed, "_idle", left._idle)
        got = numbers(left, 3) + numbers(stayed, 3) + numbers(left, 3) + numbers(stayed, 3)
        assert len({1, *got}) == 13
        assert left.campaign(LATER) is not None
