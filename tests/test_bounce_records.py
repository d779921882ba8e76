"""The facts of messages that came back, in a real Redis, one server and a cluster."""

from __future__ import annotations

import pytest
from fletching.numbering import RECIPIENTS, Question
from fletching.store import keys
from fletching.store.bounce_records import BounceRecords
from fletching.store.campaigns import RECORDS_PER_KEY, Campaigns
from fletching.store.connection import StoreUnavailable
from fletching.tokens import Facts

from sandbox.redis_cluster import Stores
from tests.stores import open_store, shared_store

pytestmark = pytest.mark.slow

A, B = "a" * 12, "b" * 12


def send(store: Stores, campaign: str, recipients: list[str], *more: tuple[str, str]) -> None:
    """Messages of a campaign, the way the milter numbers them. An empty recipient: no record."""
    campaigns = Campaigns(shared_store(store.url))
    for recipient in recipients:
        remember = (
            ("listid", "t100"),
            ("click_tracking_id", "id 7"),
            ("email", recipient),
            ("mtaid", "bulk"),
            *more,
        )
        question = Question(
            sendid=f"News{campaign[0]}",
            mail_class="News",
            instance_id=campaign[0],
            monitor="",
            now=1_700_000_000,
            window=86400,
            candidate=campaign,
            remember=remember if recipient else (),
            bounce_memory=86400,
        )
        assert campaigns.campaign_of(question)


def facts(campaign: str, number: int, email: str) -> Facts:
    return Facts(campaign, number, "News", campaign[0], "t100", "id 7", email, "bulk", 0)


def test_facts_of_many_messages_come_at_once(store: Stores) -> None:
    count = 2 * RECORDS_PER_KEY + 3
    for campaign in (A, B):
        send(store, campaign, [f"r{n}@example.net" for n in range(1, count + 1)])
    wanted = [(c, n) for c in (A, B) for n in (1, 6, 60, 63, 64, 65, count)]
    found = BounceRecords(shared_store(store.url)).facts(wanted)
    assert found == {(c, n): facts(c, n, f"r{n}@example.net") for c, n in wanted}


def test_message_without_a_record_is_known_by_its_campaign_alone(store: Stores) -> None:
    send(store, A, ["r1@example.net", ""])
    found = BounceRecords(shared_store(store.url)).facts([(A, 1), (A, 2), (A, 900)])
    assert found[A, 1] == facts(A, 1, "r1@example.net")
    for number in (2, 900):
        assert found[A, number] == Facts(A, number, "News", "a", "", "", "", "", 0)


def test_message_of_a_campaign_that_is_gone_is_missing(store: Stores) -> None:
    send(store, A, ["r1@example.net"])
    send(store, B, ["r1@example.net"])
    store.look.delete(keys.campaign(B))
    records = BounceRecords(shared_store(store.url))
    assert list(records.facts([(A, 1), (B, 1), ("c" * 12, 5)])) == [(A, 1)]
    assert records.facts([]) == {}


def test_redis_that_is_away_is_an_error() -> None:
    records = BounceRecords(open_store("redis://127.0.0.1:1/0"))
    with pytest.raises(StoreUnavailable):
        records.facts([(A, 1)])


def test_recipients_of_a_mail_to_several_are_known_if_they_may_be_named(store: Stores) -> None:
    send(store, A, ["r1@example.net", ""])
    send(store, A, ["several"], (RECIPIENTS, "One@example.net\ntwo@example.net"))
    records = BounceRecords(shared_store(store.url))
    named = {(A, 3): frozenset({"one@example.net", "two@example.net"})}
    assert records.recipients([(A, number) for number in (1, 2, 3, 900)]) == named
    assert records.recipients([]) == {}
