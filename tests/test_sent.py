"""How many mails Postfix took: each counted once, whatever Redis does meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGHUP

import pytest
from fletching.numbering import Question, campaign_id
from fletching.outgoing.edits import MOST_WORK
from fletching.policy.control import MOST_FIELDS
from fletching.store import keys
from fletching.store.campaigns import Campaigns
from fletching.store.connection import Limits
from fletching.store.sent import Sent
from fletching.tokens import Facts

from sandbox.cut_line import CutLine
from sandbox.processes import wait_until
from sandbox.redis_cluster import Stores, running
from sandbox.redis_server import RedisServer
from tests.milter_daemon import ACCEPT, REPLY, MilterDaemon, header
from tests.sending import send
from tests.stores import open_store, statistics_of

pytestmark = pytest.mark.slow

NOWHERE = Path("/nonexistent")
BEGAN, HOUR, DAY = 1_795_248_000, 3600, 86400
A, B = "a" * 12, "b" * 12
UNSAVED = ("appendonly no",)


def question(campaign: str = A) -> Question:
    return Question(f"news{campaign}", "news", campaign, "", BEGAN, DAY, campaign, (), DAY)


def message(campaign: str = A, hour: int = 0, listid: str = "t100", mtaid: str = "a") -> Facts:
    return Facts(campaign, 1, "news", "1", listid, "", "", mtaid, BEGAN + hour * HOUR)


def begun(url: str, *campaigns: str) -> Campaigns:
    store = open_store(url)
    store.ping()
    asking = Campaigns(store)
    for campaign in campaigns:
        assert asking.campaign_of(question(campaign)) is not None
    return asking


def count(url: str, campaign: str = A) -> int:
    found = statistics_of(url).campaign(campaign)
    assert found is not None
    return found.sent


def add(sent: Sent, mails: int, campaign: str = A) -> None:
    for _ in range(mails):
        sent.add(message(campaign))


def write_all(sent: Sent) -> None:
    """Until it is there: all is written again for each server that is heard for the first time."""
    wait_until("what was sent is not counted", lambda: not sent.write())


def test_message_number_alone_is_not_counted_as_sent(store: Stores) -> None:
    begun(store.url, A)
    assert count(store.url) == 0


def test_mails_are_counted_by_hour_list_and_virtual_mta(store: Stores) -> None:
    begun(store.url, A, B)
    sent = Sent(open_store(store.url))
    for each in (
        *(message(), message(), message(hour=1), message(listid="T100", mtaid="b")),
        *(message(B), message("")),
    ):
        sent.add(each)
    assert not sent.write()
    found = statistics_of(store.url)
    assert (count(store.url), count(store.url, B)) == (4, 1)
    assert found.hours(A)["sent"] == {BEGAN: 3, BEGAN + HOUR: 1}
    assert {row.name: row.sent for row in found.by("mtaid")} == {"a": 4, "b": 1}
    assert {row.name: row.sent for row in found.by("listid")} == {"t100": 5}


def test_counts_of_a_killed_process_are_counted_once(store: Stores) -> None:
    begun(store.url, A)
    killed, after = Sent(open_store(store.url)), Sent(open_store(store.url))
    first = killed.add(message())
    assert not killed.write()
    last = killed.add(message())
    assert first is not None
    assert last is not None
    for counted in (last, first):
        after.add_left(counted)
    assert not after.is_written
    write_all(after)
    assert after.is_written
    assert count(store.url) == 2
    add(after, 1)
    write_all(after)
    assert count(store.url) == 3


def test_mail_that_is_added_during_a_write_is_written_next(store: Stores) -> None:
    begun(store.url, A)
    sent = Sent(open_store(store.url))
    add(sent, 1)
    write_all(sent)
    with ThreadPoolExecutor(4) as pool:
        added = [pool.submit(add, sent, 100) for _ in range(4)]
        while not all(each.done() for each in added):
            sent.write()
    write_all(sent)
    assert count(store.url) == 401


def test_two_processes_count_one_campaign(store: Stores) -> None:
    begun(store.url, A)
    here, there = Sent(open_store(store.url)), Sent(open_store(store.url))
    for sent, mails in ((here, 3), (there, 4), (here, 2), (here, 0)):
        add(sent, mails)
        assert not sent.write()
    assert count(store.url) == 9


def test_sent_counters_expire_with_their_campaign(store: Stores) -> None:
    begun(store.url, A)
    store.look.expire(keys.campaign(A), 1000)
    sent = Sent(open_store(store.url))
    add(sent, 1)
    assert not sent.write()
    for name in ("counts", "counted"):
        assert 990 < store.look.ttl(getattr(keys, name)(A)) <= 1000


def test_sent_counters_of_a_lost_campaign_expire_with_it(store: Stores) -> None:
    begun(store.url, A)
    key = keys.counts(A)
    store.look.hset(key, "clicks|0|a|t100", 1)
    store.look.expire(key, 1000)
    sent = Sent(open_store(store.url))
    add(sent, 1)
    assert not sent.write()
    assert store.look.ttl(key) == pytest.approx(store.look.ttl(keys.campaign(A)), abs=9)


def test_counts_wait_until_a_lost_campaign_is_created_again(store: Stores) -> None:
    campaigns, sent = begun(store.url, A, B), Sent(open_store(store.url))
    add(sent, 2)
    add(sent, 3, B)
    store.look.delete(keys.campaign(A))
    assert sent.write()
    assert store.keys("*counts*") == [keys.counts(B)]
    assert campaigns.campaign_of(question()) is not None
    assert not sent.write()
    assert (count(store.url), count(store.url, B)) == (2, 3)


def test_counts_of_a_campaign_that_stays_lost_are_dropped(store: Stores) -> None:
    sent = Sent(open_store(store.url))
    add(sent, 2)
    wait_until("it is tried for ever", lambda: not sent.write())
    assert store.keys() == []
    begun(store.url, A)
    add(sent, 1)
    assert not sent.write()
    assert count(store.url) == 3


def test_dropped_count_starts_again_under_another_name(store: Stores) -> None:
    names = [campaign_id(BEGAN + place, bytes(4)) for place in range(4)]
    begun(store.url, *names)
    sent = Sent(open_store(store.url), most=2)
    for _ in range(3):
        for name in names:
            add(sent, 2, name)
            write_all(sent)
    assert [count(store.url, name) for name in names] == [6] * 4


def test_many_campaigns_are_written_at_once(store: Stores) -> None:
    names = [campaign_id(BEGAN + place, bytes(4)) for place in range(60)]
    begun(store.url, *names)
    sent = Sent(open_store(store.url))
    for place, name in enumerate(names):
        add(sent, 1 + place % 3, name)
    write_all(sent)
    assert [count(store.url, name) for name in names] == [1 + place % 3 for place in range(60)]


def test_lost_answer_does_not_count_twice(store: Stores) -> None:
    """Redis hangs, gets the counts, and answers nobody."""
    names = [campaign_id(BEGAN + place, bytes(4)) for place in range(6)]
    begun(store.url, *names)
    sent = Sent(open_store(store.url, Limits(socket=0.5)))
    for name in names:
        add(sent, 1, name)
    write_all(sent)
    for name in names:
        add(sent, 5, name)
    for server in store.servers:
        server.pause()
    try:
        assert sent.write()
    finally:
        for server in store.servers:
            server.resume()
    for name in names:
        add(sent, 1, name)
    write_all(sent)
    assert [count(store.url, name) for name in names] == [7] * 6


def test_counts_wait_while_redis_is_unavailable() -> None:
    with RedisServer() as server:
        begun(server.url, A)
        sent = Sent(open_store(server.url))
        server.stop()
        for mails in (1, 2, 3):
            add(sent, mails)
            assert sent.write()
        server.start()
        assert not sent.write()
        assert count(server.url) == 6


@pytest.mark.slow
def test_many_counts_are_written_in_parts() -> None:
    """On a line that is so slow, or so bad, that all of it never gets through."""
    names = [campaign_id(BEGAN + place, bytes(4)) for place in range(600)]
    with RedisServer() as server, CutLine(server.port, 100_000) as line:
        begun(server.url, A)
        for name in names:
            server.client.hset(keys.campaign(name), "sendid", name)
        sent = Sent(open_store(line.url))
        add(sent, 1)  # Redis has the script by that.
        write_all(sent)
        for name in names:
            add(sent, 1, name)
        for _ in range(20):
            sent.write()
        assert not sent.write()
        assert [count(server.url, name) for name in names[::50]] == [1] * 12


def test_counts_that_redis_lost_are_written_again() -> None:
    with RedisServer(*UNSAVED) as server:
        begun(server.url, A, B)
        sent = Sent(open_store(server.url))
        add(sent, 5)
        assert not sent.write()
        server.client.save()
        for campaign in (A, B):
            add(sent, 7, campaign)
        assert not sent.write()
        server.kill()
        server.start()
        assert (count(server.url), count(server.url, B)) == (5, 0)
        # One mail makes known that Redis was restarted.
        add(sent, 1)
        write_all(sent)
        assert (count(server.url), count(server.url, B)) == (13, 7)


def test_lost_campaign_gets_its_counts_again(store: Stores) -> None:
    campaigns, sent = begun(store.url), Sent(open_store(store.url))
    send(campaigns, sent, question(), count=5)
    store.flush()
    send(campaigns, sent, question())
    assert count(store.url) == 6


def test_hanging_shard_does_not_delay_the_others() -> None:
    names = [campaign_id(BEGAN + place, bytes(4)) for place in range(12)]
    with running("cluster") as store:
        begun(store.url, *names)
        sent = Sent(open_store(store.url))
        for name in names:
            add(sent, 1, name)
        write_all(sent)
        hangs = store.servers[0]
        there = {name for name in names if hangs.client.keys(keys.campaign(name))}
        assert 0 < len(there) < len(names)
        for name in names:
            add(sent, 1, name)
        hangs.pause()
        try:
            counters = [keys.counts(name) for name in names if name not in there]

            def others_counted() -> bool:
                assert sent.write()
                found = [
                    server.client.hvals(key)
                    for server in store.servers[1:]
                    for key in counters
                    if server.client.keys(key)
                ]
                return found == [["2"]] * len(counters)

            wait_until("the others are not counted", others_counted)
        finally:
            hangs.resume()
        write_all(sent)
        assert [count(store.url, name) for name in names] == [2] * len(names)


# A milter and a Redis.

CONFIG = "default_mail_class: news\nmail_classes: {news: {list_id: t100}}\n"
FROM = header("From", "app@example.com")


def milter_counts(milter: MilterDaemon, redis: RedisServer) -> tuple[int, int]:
    """How many numbers were given and how many mails were counted, once the log is at rest."""
    milter.rest()
    (campaign,) = statistics_of(redis.url).campaigns()
    number = redis.client.hget(keys.campaign(campaign.campaign), "number")
    return int(str(number)), campaign.sent


@pytest.mark.slow
def test_mail_that_is_refused_after_its_number_is_not_counted() -> None:
    """To find and delete each of these fields, Postfix would read all lines of the header."""
    lines = [header("A", "b" + "\n b" * 300)] * (MOST_WORK // MOST_FIELDS // 300)
    removed = [header("X-GreenArrow-J", "b")] * MOST_FIELDS
    with RedisServer() as redis, MilterDaemon(redis.url, CONFIG) as milter:
        assert milter.mail(FROM).replies == [ACCEPT]
        assert milter.mail(FROM, *lines, *removed).replies == [REPLY]
        assert milter.mail(FROM).replies == [ACCEPT]
        assert milter_counts(milter, redis) == (3, 2)


@pytest.mark.slow
def test_mail_answered_too_late_is_not_counted() -> None:
    """Redis gives a number when Postfix has its 451 already; the mail comes again."""
    with RedisServer() as redis, MilterDaemon(redis.url, CONFIG) as milter:
        assert milter.mail(FROM).replies == [ACCEPT]
        redis.pause()
        try:
            assert milter.mail(FROM).replies == [REPLY]
        finally:
            redis.resume()
        wait_until("451 again", lambda: milter.mail(FROM).replies == [ACCEPT])
        number, counted = milter_counts(milter, redis)
        assert number >= counted == 2


@pytest.mark.slow
def test_mails_are_counted_where_redis_is_killed_behind_them() -> None:
    """They wait in the worker, and it needs no other mail to write them."""
    with RedisServer() as redis, MilterDaemon(redis.url, CONFIG) as milter:
        for _ in range(3):
            assert milter.mail(FROM).replies == [ACCEPT]
        redis.kill()
        milter.rest()
        redis.start()
        (campaign,) = statistics_of(redis.url).campaigns()
        wait_until("not counted", lambda: count(redis.url, campaign.campaign) == 3)


@pytest.mark.slow
def test_mails_of_killed_workers_are_counted() -> None:
    """They were answered, but Redis was away; with fewer workers afterwards."""
    with RedisServer() as redis, MilterDaemon(redis.url, CONFIG, workers=2) as milter:
        for _ in range(8):
            assert milter.mail(FROM).replies == [ACCEPT]
        redis.kill()
        milter.daemon.kill()
        redis.start()
        text = milter.path.read_text()
        milter.path.write_text(text.replace("workers: 2", "workers: 1"))
        milter.start()
        (campaign,) = statistics_of(redis.url).campaigns()
        wait_until("not counted", lambda: count(redis.url, campaign.campaign) == 8)


@pytest.mark.slow
def test_mails_are_counted_before_a_worker_ends() -> None:
    with RedisServer() as redis, MilterDaemon(redis.url, CONFIG, workers=2) as milter:
        for _ in range(6):
            assert milter.mail(FROM).replies == [ACCEPT]
        milter.stop()
        (campaign,) = statistics_of(redis.url).campaigns()
        assert campaign.sent == 6


@pytest.mark.slow
def test_mails_are_counted_where_a_reload_changes_the_store() -> None:
    """The counts wait for Redis while other options of it come into force."""
    with RedisServer() as redis, MilterDaemon(redis.url, CONFIG) as milter:
        for _ in range(3):
            assert milter.mail(FROM).replies == [ACCEPT]
        redis.kill()
        milter.rest()
        milter.configure(f"{CONFIG}stats_retention: 31d\n")
        milter.daemon.signal(SIGHUP)
        milter.wait_for("configuration")
        milter.settle()
        redis.start()
        (campaign,) = statistics_of(redis.url).campaigns()
        wait_until("not counted", lambda: count(redis.url, campaign.campaign) == 3)
