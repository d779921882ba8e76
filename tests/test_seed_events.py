"""Events of seed copies: marked, counted nowhere but in `seeds`, and suppressing nobody."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from fletching import events
from fletching.config.sections import Bounces
from fletching.daemons.intake.journal import restored
from fletching.events import Event
from fletching.numbering import Question
from fletching.store import keys
from fletching.store.bounce_records import BounceRecords
from fletching.store.campaigns import Campaigns
from fletching.store.events import EventLog
from fletching.tokens import Facts

from sandbox.redis_cluster import Stores
from tests.courier_setting import event
from tests.stores import shared_store, statistics_of

NOW = 1_795_248_000
CAMPAIGN = "a" * 12
FACTS = Facts(CAMPAIGN, 1, "News", "1", "t100", "", "seed@example.net", "a", seed=True)


def of_seed(type: str, **details: str) -> Event:
    found = event(1, type)
    return replace(found, facts=replace(FACTS, sent=0), details={**found.details, **details})


EVERY = [
    *(of_seed(type) for type in (events.CLICK, events.OPEN, events.UNSUBSCRIBE, events.COMPLAINT)),
    of_seed(events.BOUNCE, bounce_type="h"),
    of_seed(events.DELIVERY, status="success"),
]


def test_events_of_a_copy_are_marked_and_others_are_not() -> None:
    for each in EVERY:
        assert json.loads(each.json())["is_seed"] is True
    assert "is_seed" not in event(1).fields()


@pytest.mark.parametrize("made", [*EVERY, event(1)], ids=lambda made: f"{made.type}")
def test_event_in_a_journal_stays_marked(made: Event) -> None:
    found = restored(made.json().encode())
    assert found.facts.seed == made.facts.seed
    assert found.json() == made.json()
    assert "is_seed" not in found.details


@pytest.mark.slow
def test_events_of_a_copy_are_not_counted_and_suppress_nobody(store: Stores) -> None:
    opened = shared_store(store.url)
    remember = (("email", FACTS.email), ("seed", "yes"))
    question = Question("news1", "News", "1", "", NOW, 86400, CAMPAIGN, remember, 86400)
    assert Campaigns(opened).campaign_of(question)
    EventLog(opened, thresholds=lambda _: Bounces(hard=1)).append([*EVERY, of_seed(events.SEED)])
    found = statistics_of(store.url).campaign(CAMPAIGN)
    assert found is not None
    counted = {name for name in found.__dataclass_fields__ if name not in ("campaign", "opened")}
    numbers = {name: getattr(found, name) for name in counted}
    assert {name: n for name, n in numbers.items() if n and isinstance(n, int)} == {"seeds": 1}
    assert not store.look.exists(keys.SUPPRESSION)
    assert not store.look.exists(keys.DUE)
    assert len(store.look.xrange(keys.EVENTS)) == len(EVERY) + 1


@pytest.mark.slow
def test_bounce_record_of_a_copy_is_marked(store: Stores) -> None:
    opened = shared_store(store.url)
    remember = (("email", FACTS.email), ("seed", "yes"))
    question = Question("news1", "News", "1", "", NOW, 86400, CAMPAIGN, remember, 86400)
    campaigns = Campaigns(opened)
    assert campaigns.campaign_of(question)
    assert campaigns.campaign_of(replace(question, remember=remember[:1]))
    found = BounceRecords(opened).facts([(CAMPAIGN, 1), (CAMPAIGN, 2)])
    assert [found[CAMPAIGN, number].seed for number in (1, 2)] == [True, False]


@pytest.mark.slow
def test_campaign_with_seeds_is_monitored_by_its_id(store: Stores) -> None:
    """Also if it joins a campaign, and if Redis has lost it and it is created again."""
    opened = shared_store(store.url)
    question = Question("news1", "News", "1", CAMPAIGN, NOW, 86400, CAMPAIGN, (), 86400)
    campaigns = Campaigns(opened)
    assert campaigns.campaign_of(question)
    other = replace(question, candidate="b" * 12, monitor="b" * 12)
    store.look.delete(keys.campaign(CAMPAIGN))
    again = campaigns.campaign_of(other)
    assert again is not None
    found = campaigns.campaign(again.campaign)
    assert found is not None
    assert (again.campaign, found["monitor"]) == (CAMPAIGN, CAMPAIGN)
