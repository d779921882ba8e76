"""The store as tests open it: with longer limits than the daemons have.

Two test processes share the machine with all their servers, and a full collection of one's garbage
takes a fifth of a second. A test of a limit itself gives its own.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from fletching.store.bounce_records import BounceRecords
from fletching.store.connection import Limits, Store
from fletching.store.statistics import Statistics

NOWHERE = Path("/nonexistent")
PATIENT = Limits(answer=3.0, socket=2.5)


def open_store(url: str, limits: Limits = PATIENT) -> Store:
    """A client of its own, as each process of the daemons has one."""
    return Store(url, NOWHERE, limits)


def remembered(store: Store, campaign: str, number: int) -> dict[str, str]:
    """What is remembered for the bounce of a message; nothing without a record."""
    facts = BounceRecords(store).facts([(campaign, number)]).get((campaign, number))
    names = ("listid", "click_tracking_id", "email", "mtaid")
    return {name: value for name in names if (value := getattr(facts, name, ""))}


@lru_cache(2)
def shared_store(url: str) -> Store:
    """One client for all tests of a Redis. It takes long to open one to a cluster."""
    return open_store(url)


def statistics_of(url: str) -> Statistics:
    """The statistics of a site where the web service counts, and nothing reads bounces."""
    return Statistics(shared_store(url), measured)


def measured(_: str) -> frozenset[str]:
    """What the web service measures, of each Mail Class."""
    return frozenset({"opens", "clicks", "unsubscribes"})
