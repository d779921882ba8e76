"""Claims and copies of seeds in a real Redis, one server and a cluster.

`Post` stands where the courier submits: it does what the milter does with a copy (`passes`), and
answers what Postfix would. Copies through a real Postfix are in `real/test_seeds.py`.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from fletching.daemons.courier.seeding import SeedCopies
from fletching.daemons.courier.submission import Reply
from fletching.daemons.milter.seeding import DueSeeds, SeedClaims, passing
from fletching.events import SEED
from fletching.mail.message import parse
from fletching.numbering import Numbered, Question, opened_at
from fletching.outgoing.edits import Discard
from fletching.outgoing.seeds import SeedContent, due
from fletching.policy.plan import Seeding
from fletching.store import keys
from fletching.store.campaigns import Campaigns
from fletching.store.events import EventLog
from fletching.store.lease import Lease
from fletching.store.seeds import FORGET_AFTER, KEEP, ClaimedSeed, Seeds, SeedState
from fletching.tokens import Facts

from sandbox.redis_cluster import Stores
from tests.setting import CAMPAIGN, CLASSIFIED, KEYRING, carried, envelope, mail, setup
from tests.stores import open_store, shared_store, statistics_of

pytestmark = pytest.mark.slow

SEEDS = tuple(f"s{number}@example.net" for number in range(7))
SEEDED = setup(
    "link_keys: k\nmail_classes: {newsletter: {seed: {list: main, start: 1, end: 61}}}\n"
    f"seed_lists: {{main: [{', '.join(SEEDS)}]}}\n"
)
OK, LATER, NEVER = Reply(250, "queued"), Reply(451, "later"), Reply(550, "never")
SILENCE = Reply(0, "connection lost")
NOW = 1_795_259_482_236


@pytest.fixture(autouse=True)
def _campaign(store: Stores) -> None:
    """A campaign that Redis knows."""
    question = Question(
        sendid="newsletter1",
        mail_class="newsletter",
        instance_id="1",
        monitor="",
        now=NOW // 1000,
        window=86400,
        candidate=CAMPAIGN,
        remember=(),
        bounce_memory=86400,
    )
    assert Campaigns(shared_store(store.url)).campaign_of(question)


@pytest.fixture
def seeds(store: Stores) -> Seeds:
    return Seeds(shared_store(store.url))


def claim(seeds: Seeds, addresses: tuple[str, ...] = SEEDS, mail_number: int = 1) -> None:
    """Claims seeds for a mail, as the milter does."""
    facts = Facts(CAMPAIGN, mail_number, "newsletter", "1", "t100", "id", "ada@example.org", "")
    content = SeedContent("a@example.com", "192.0.2.1", None, b"Subject: x\r\n\r\nbody\r\n")
    seeding = Seeding("main", SEEDS, 1, 61)
    found = DueSeeds(facts, seeding, len(addresses), addresses, content)
    SeedClaims().claim(found, seeds, KEYRING)


class Post:
    """Takes copies as Postfix with the milter does. ``answers``: of the next attempts, then 250.

    With ``skips``, the next copies do not reach the milter.
    """

    def __init__(self, seeds: Seeds, *answers: Reply, skips: int = 0) -> None:
        self.seeds, self.answers, self.skips = seeds, list(answers), skips
        self.queued: list[str] = []
        self.submitted: list[bytes] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def __call__(self, server: str, sender: str, recipient: str, message: bytes) -> Reply:
        self.meanwhile()
        self.submitted.append(message)
        reply = self.answers.pop(0) if self.answers else OK
        if self.skips:
            self.skips -= 1
            return reply
        return self.milter(recipient, message, reply)

    def milter(self, recipient: str, message: bytes, reply: Reply) -> Reply:
        """What the milter makes of a copy that Postfix would answer so."""
        numbered = Numbered(CAMPAIGN, 100 + len(self.submitted))
        outcome = carried(parse(message), envelope(recipient), SEEDED, lambda _: numbered)
        assert outcome.plan.seed_copy is not None
        outcome = passing(outcome, outcome.plan.seed_copy, self.seeds, KEYRING)
        if outcome.edits == (Discard(),):
            return OK
        if reply.code in (250, 0):
            self.queued.append(recipient)
        return reply


def copies(
    store: Stores,
    post: Post,
    *,
    unanswered: float = 30.0,
    first_pause: float = 0.0,
    window: int = 2**40,
) -> SeedCopies:
    """A courier of its own, which holds the lease."""
    opened = open_store(store.url)
    lease = Lease(opened, "seeds")
    found = SeedCopies(
        Seeds(opened), EventLog(opened), lease, KEYRING, "host:25", "mx1", window,
        submit=post, unanswered=unanswered, first_pause=first_pause,
    )  # fmt: skip
    store.look.delete(keys.lease("seeds"))
    assert lease.acquire()
    return found


def states(seeds: Seeds) -> dict[str, SeedState]:
    return {each.address: each.state for each in seeds.of_campaign(CAMPAIGN)}


def events_of(store: Stores) -> list[tuple[str, str]]:
    """Type and address of all events in the stream."""
    found = [json.loads(entry["event"]) for _, entry in store.look.xrange(keys.EVENTS)]
    assert all(each["is_seed"] is True and each["message_number"] > 100 for each in found)
    return [(each["event_type"], each["email"]) for each in found]


# Claims.


def test_one_of_many_hosts_claims_each_seed(store: Stores, seeds: Seeds) -> None:
    begin = threading.Barrier(8)

    def host(number: int) -> None:
        own = Seeds(open_store(store.url))
        begin.wait()
        claim(own, mail_number=number)

    threads = [threading.Thread(target=host, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = seeds.of_campaign(CAMPAIGN)
    assert sorted(each.address for each in found) == sorted(SEEDS)
    contents = {f"{keys.seed_contents(CAMPAIGN)}{each.mail}" for each in found}
    assert set(store.keys(f"*{keys.seed_contents('*').split(':')[1]}*")) == contents


def test_claim_without_campaign_is_made_by_a_later_mail(store: Stores, seeds: Seeds) -> None:
    store.look.delete(keys.campaign(CAMPAIGN))
    claim(seeds)
    assert states(seeds) == {}


def test_claims_of_a_campaign_follow_the_due_points(seeds: Seeds) -> None:
    memory = SeedClaims(pending=0)
    for number in range(1, 80):
        message = mail(CLASSIFIED)
        outcome = carried(message, opened=SEEDED, store=lambda _, n=number: Numbered(CAMPAIGN, n))  # type: ignore[misc]
        found = memory.due(outcome, message, envelope())
        if found is not None:
            memory.claim(found, seeds, KEYRING)
        assert len(states(seeds)) == due(Seeding("main", SEEDS, 1, 61), number)
    claimed = {each.address: each.mail for each in seeds.of_campaign(CAMPAIGN)}
    assert claimed == dict(zip(SEEDS, range(1, 71, 10), strict=True))


def test_content_in_redis_is_encrypted_and_ends_with_the_last_copy(
    store: Stores, seeds: Seeds
) -> None:
    claim(seeds)
    key = f"{keys.seed_contents(CAMPAIGN)}1"
    assert 0 < store.look.ttl(key) <= KEEP + 3600
    sealed = seeds.content(CAMPAIGN, 1)
    assert sealed is not None
    assert b"body" not in sealed
    assert SeedContent.unpacked(KEYRING.decrypt(sealed)).message.endswith(b"body\r\n")
    assert "ada" not in "".join(store.look.hvals(keys.seeds(CAMPAIGN)))
    copies(store, Post(seeds)).process()
    assert seeds.content(CAMPAIGN, 1) is None


# Copies.


def test_each_seed_is_sent_its_copy_once(store: Stores, seeds: Seeds) -> None:
    claim(seeds)
    post = Post(seeds)
    for _ in range(3):
        copies(store, post).process()
    assert sorted(post.queued) == sorted(SEEDS)
    assert set(states(seeds).values()) == {SeedState.SENT}
    assert sorted(events_of(store)) == [(SEED, seed) for seed in sorted(SEEDS)]
    found = statistics_of(store.url).campaign(CAMPAIGN)
    assert found is not None
    assert (found.seeds, found.sent) == (len(SEEDS), 0)


def test_deferred_copy_is_submitted_again_after_a_pause(store: Stores, seeds: Seeds) -> None:
    claim(seeds, SEEDS[:1])
    post = Post(seeds, LATER)
    copies(store, post, first_pause=60).process()
    copies(store, post, first_pause=60).process()
    (waiting,) = seeds.of_campaign(CAMPAIGN)
    assert (waiting.state, waiting.reply, len(post.submitted)) == (
        SeedState.WAITING, "451 later", 1,
    )  # fmt: skip
    assert 59_000 < waiting.due - waiting.changed <= 60_000
    store.look.flushall()


def test_copy_that_is_deferred_ten_times_is_sent_once(store: Stores, seeds: Seeds) -> None:
    claim(seeds, SEEDS[:1])
    post, counts = Post(seeds, *[LATER] * 10), Counter[str]()
    for _ in range(12):
        courier = copies(store, post)
        courier._count = lambda outcome: counts.update([outcome])
        courier.process()
        time.sleep(0.002)
    assert counts == {"deferred": 10, "sent": 1}
    assert (post.queued, len(post.submitted)) == ([SEEDS[0]], 11)


def test_refused_copy_fails(store: Stores, seeds: Seeds) -> None:
    claim(seeds, SEEDS[:1])
    post = Post(seeds, NEVER)
    for _ in range(2):
        copies(store, post).process()
    (failed,) = seeds.of_campaign(CAMPAIGN)
    assert (failed.state, failed.reply, len(post.submitted)) == (SeedState.FAILED, "550 never", 1)
    assert seeds.content(CAMPAIGN, 1) is None


def test_copy_that_the_milter_never_sees_fails(store: Stores, seeds: Seeds) -> None:
    claim(seeds, SEEDS[:1])
    post = Post(seeds, skips=1)
    for _ in range(2):
        copies(store, post, unanswered=0).process()
    (waiting,) = seeds.of_campaign(CAMPAIGN)
    assert (waiting.state, len(post.submitted)) == (SeedState.SUBMITTING, 1)
    assert "not yet seen" in waiting.reply
    copies(store, post)._process(replace(waiting, due=1))
    (failed,) = seeds.of_campaign(CAMPAIGN)
    assert failed.state is SeedState.FAILED
    assert "without this milter" in failed.reply


def test_copy_that_reaches_the_milter_later_is_sent(store: Stores, seeds: Seeds) -> None:
    """As with the one-recipient recipe: Postfix takes it first, and passes it on."""
    claim(seeds, SEEDS[:1])
    post = Post(seeds, skips=1)
    copies(store, post, unanswered=0).process()
    post.milter(SEEDS[0], post.submitted[0], OK)
    time.sleep(0.002)
    copies(store, post, unanswered=0).process()
    (sent,) = seeds.of_campaign(CAMPAIGN)
    assert (sent.state, sent.reply, len(post.submitted)) == (SeedState.SENT, "", 1)
    assert post.queued == [SEEDS[0]]


# Kills: each test ends the courier at another step.


class Killed(Exception):
    """The courier ends here."""


def kill() -> None:
    raise Killed


def test_courier_killed_before_it_submits(store: Stores, seeds: Seeds) -> None:
    claim(seeds, SEEDS[:1])
    post = Post(seeds)
    post.meanwhile = kill
    with pytest.raises(Killed):
        copies(store, post).process()
    post.meanwhile = lambda: None
    copies(store, post).process()
    assert post.submitted == []
    copies(store, post, unanswered=0).process()
    assert post.queued == [SEEDS[0]]
    assert set(states(seeds).values()) == {SeedState.SENT}


def test_courier_killed_between_postfix_and_its_mark(store: Stores, seeds: Seeds) -> None:
    claim(seeds, SEEDS[:1])
    post = Post(seeds)
    courier = copies(store, post)
    courier._judge = lambda *_: kill()  # type: ignore[method-assign]
    with pytest.raises(Killed):
        courier.process()
    assert states(seeds) == {SEEDS[0]: SeedState.PASSED}
    copies(store, post).process()
    assert states(seeds) == {SEEDS[0]: SeedState.PASSED}
    copies(store, post, unanswered=0).process()
    assert (post.queued, len(post.submitted)) == ([SEEDS[0]], 1)
    assert states(seeds) == {SEEDS[0]: SeedState.SENT}
    assert events_of(store) == [(SEED, SEEDS[0])]


def test_courier_killed_between_the_event_and_its_mark(store: Stores, seeds: Seeds) -> None:
    claim(seeds, SEEDS[:1])
    post = Post(seeds)
    courier = copies(store, post)
    courier._seeds.sent = lambda *_: kill()  # type: ignore[method-assign]
    with pytest.raises(Killed):
        courier.process()
    copies(store, post, unanswered=0).process()
    assert (post.queued, states(seeds)) == ([SEEDS[0]], {SEEDS[0]: SeedState.SENT})
    entries = [entry["event"] for _, entry in store.look.xrange(keys.EVENTS)]
    assert len(entries) == 2
    assert len(set(entries)) == 1
    found = statistics_of(store.url).campaign(CAMPAIGN)
    assert found is not None
    assert found.seeds == 1


def test_attempt_that_arrives_after_the_next_one_is_discarded(store: Stores, seeds: Seeds) -> None:
    claim(seeds, SEEDS[:1])
    late = Post(seeds, SILENCE, skips=1)
    copies(store, late).process()
    post = Post(seeds)
    copies(store, post).process()
    assert post.queued == [SEEDS[0]]
    assert late.milter(SEEDS[0], late.submitted[0], OK) is OK
    assert late.queued == []


def test_lost_connection_after_the_copy_has_passed_sends_no_second_one(
    store: Stores, seeds: Seeds
) -> None:
    claim(seeds, SEEDS[:1])
    post = Post(seeds, SILENCE)
    copies(store, post).process()
    copies(store, post).process()
    copies(store, post, unanswered=0).process()
    assert (post.queued, len(post.submitted)) == ([SEEDS[0]], 1)
    assert states(seeds) == {SEEDS[0]: SeedState.SENT}


def test_two_couriers_send_one_copy(store: Stores, seeds: Seeds) -> None:
    """The lease of one expires while it submits."""
    claim(seeds, SEEDS[:1])
    first, second = Post(seeds), Post(seeds)
    other = copies(store, second, unanswered=0)

    def other_takes_over() -> None:
        first.meanwhile = lambda: None
        time.sleep(0.002)
        other.process()

    first.meanwhile = other_takes_over
    copies(store, first).process()
    assert (first.queued, second.queued) == ([], [SEEDS[0]])
    assert states(seeds) == {SEEDS[0]: SeedState.SENT}
    assert events_of(store) == [(SEED, SEEDS[0])]


def test_copy_is_given_up_after_five_days(store: Stores, seeds: Seeds) -> None:
    claim(seeds, SEEDS[:1])
    (seed,) = seeds.of_campaign(CAMPAIGN)
    post = Post(seeds)
    courier = copies(store, post)
    courier._process(replace(seed, claimed=seed.claimed - KEEP * 1000 - 1))
    assert post.submitted == []
    assert states(seeds) == {SEEDS[0]: SeedState.FAILED}


def test_copy_is_given_up_at_the_end_of_its_campaign(store: Stores, seeds: Seeds) -> None:
    """Later, it would open the next one."""
    claim(seeds, SEEDS[:1])
    post = Post(seeds)
    age = int(time.time()) - opened_at(CAMPAIGN)
    copies(store, post, window=age - 1).process()
    assert post.submitted == []
    (failed,) = seeds.of_campaign(CAMPAIGN)
    assert (failed.state, failed.reply) == (
        SeedState.FAILED, "not accepted before the end of campaign_window",
    )  # fmt: skip


def test_copy_with_a_deleted_key_fails(store: Stores, seeds: Seeds) -> None:
    claim(seeds, SEEDS[:1])
    courier = copies(store, Post(seeds))
    courier._keys = type(KEYRING)(())
    courier.process()
    assert states(seeds) == {SEEDS[0]: SeedState.FAILED}


# The campaigns that the courier looks at.


def test_campaign_is_forgotten_once_nothing_is_pending(store: Stores, seeds: Seeds) -> None:
    claim(seeds, SEEDS[:1])
    copies(store, Post(seeds)).process()
    later = time.time_ns() // 1_000_000 + FORGET_AFTER * 1000 + 1000
    seeds.forget(CAMPAIGN, later - 60_000)
    assert seeds.campaigns() == [CAMPAIGN]
    seeds.forget(CAMPAIGN, later)
    assert seeds.campaigns() == []


def test_claim_made_while_its_campaign_is_forgotten_is_found(seeds: Seeds) -> None:
    claim(seeds, SEEDS[:1])
    later = time.time_ns() // 1_000_000 + FORGET_AFTER * 1000 + 1000
    seeds.forget(CAMPAIGN, later)
    assert seeds.campaigns() == [CAMPAIGN]


def test_states_that_are_not_expected_stay(seeds: Seeds) -> None:
    claim(seeds, SEEDS[:1])
    (seed,) = seeds.of_campaign(CAMPAIGN)
    assert not seeds.passes(CAMPAIGN, 1, SEEDS[0], 0, "info", NOW)
    assert not seeds.passes(CAMPAIGN, 1, "nobody@example.net", 1, "info", NOW)
    begun = seeds.submitting(seed, NOW)
    assert begun == replace(seed, state=SeedState.SUBMITTING, attempt=1, changed=NOW)
    assert begun is not None
    assert seeds.submitting(seed, NOW) is None
    seeds.sent(begun, NOW)
    assert states(seeds) == {SEEDS[0]: SeedState.SUBMITTING}
    assert seeds.passes(CAMPAIGN, 1, SEEDS[0], 1, "info", NOW)
    assert not seeds.passes(CAMPAIGN, 1, SEEDS[0], 1, "info", NOW)
    seeds.unanswered(begun, "lost", NOW, NOW)
    assert states(seeds) == {SEEDS[0]: SeedState.PASSED}
    seeds.sent(begun, NOW)
    seeds.failed(begun, "no", NOW)
    (found,) = seeds.of_campaign(CAMPAIGN)
    assert isinstance(found, ClaimedSeed)
    assert (found.state, found.info, found.reply) == (SeedState.SENT, "info", "")


def test_highest_message_number_survives_lua(store: Stores, seeds: Seeds) -> None:
    claim(seeds, SEEDS[:1], mail_number=2**50 - 1)
    copies(store, Post(seeds)).process()
    (found,) = seeds.of_campaign(CAMPAIGN)
    assert (found.mail, found.state) == (2**50 - 1, SeedState.SENT)
    assert seeds.content(CAMPAIGN, found.mail) is None
