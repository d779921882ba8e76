"""Suppression lists in a real Redis, one server and a cluster."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fletching.events import BAD_ADDRESS, BOUNCE, CLICK, COMPLAINT, UNSUBSCRIBE, Event, Value
from fletching.store.connection import StoreUnavailable
from fletching.store.events import EventLog
from fletching.store.suppression import SuppressedAddress, Suppression, reason_in
from fletching.tokens import Facts

from sandbox.redis_cluster import Stores
from tests.stores import open_store, shared_store

NOWHERE = Path("/nonexistent")
FACTS = Facts("c" * 12, 7, "News", "1", "T100", "", "Reader@Example.net", "", 1_795_000_000)
ODD = ["", "a b", "a|b", "50%", "{t}", "t\n\0", "t:*?[x]", "ünï", "news/7", "\U0001f4ee", "x" * 500]


@pytest.fixture
def lists(store: Stores) -> Suppression:
    return Suppression(shared_store(store.url))


BY_WEB = {"click_url": "https://example.com/", "engine_ip": "192.0.2.7"}


def event(
    type: str, ms: int = 5000, details: Mapping[str, Value] = BY_WEB, **facts: object
) -> Event:
    told = replace(FACTS, **facts)  # type: ignore[arg-type]
    return Event(type, ms, "x", "mx1", told, details)


def record(store: Stores, happened: Sequence[Event]) -> None:
    """Events as they come, which enter their addresses."""
    EventLog(shared_store(store.url)).append(happened)


def test_address_is_suppressed_for_one_list_only(lists: Suppression) -> None:
    assert lists.add("t100", "a@example.net", "by_hand", 1000)
    assert lists.contains("t100", "a@example.net")
    assert not lists.contains("t200", "a@example.net")
    assert not lists.contains("t100", "b@example.net")


def test_address_is_found_on_all_lists(lists: Suppression) -> None:
    for number in range(0, 2500, 2):
        lists.add(f"t{number}", "a@example.net", "by_hand", number)
        lists.add(f"t{number + 1}", "b@example.net", "by_hand", number)
    found = list(lists.of_address("A@example.net"))
    assert len(found) == 1250
    assert {entry.address for entry in found} == {"a@example.net"}
    assert list(lists.of_address("c@example.net")) == []


def test_addresses_and_lists_ignore_case(lists: Suppression) -> None:
    assert lists.add("T100", "A@Example.NET", "by_hand", 1000)
    assert lists.contains("t100", "a@example.net")
    assert not lists.add("t100", "a@EXAMPLE.net", "again", 2000)
    assert list(lists.entries()) == [
        SuppressedAddress("t100", "a@example.net", "by_hand", 1000, "command")
    ]
    assert list(lists.entries("T100")) == list(lists.entries("t100"))
    assert lists.remove("t100", "a@example.Net")
    assert not lists.contains("T100", "A@Example.NET")


def test_first_entry_of_an_address_stays(store: Stores, lists: Suppression) -> None:
    record(store, [event(UNSUBSCRIBE, 5000), event(COMPLAINT, 6000), event(COMPLAINT, 4000)])
    assert list(lists.entries()) == [
        SuppressedAddress("t100", "reader@example.net", "unsubscribed", 5000, "web")
    ]


def test_removed_address_can_be_added_again(lists: Suppression) -> None:
    lists.add("t100", "a@example.net", "complained", 1000)
    assert lists.remove("t100", "a@example.net")
    assert not lists.remove("t100", "a@example.net")
    assert not lists.remove("t200", "a@example.net")
    assert list(lists.entries()) == []
    assert lists.add("t100", "a@example.net", "unsubscribed", 2000)
    assert list(lists.entries()) == [
        SuppressedAddress("t100", "a@example.net", "unsubscribed", 2000, "command")
    ]


def test_older_events_do_not_add_a_removed_address(store: Stores, lists: Suppression) -> None:
    """They may be written once more; what the reader does after that counts."""
    now = time.time_ns() // 1_000_000
    old, new = event(UNSUBSCRIBE, now - 60_000), event(UNSUBSCRIBE, now + 60_000)
    record(store, [old])
    assert lists.remove("t100", "reader@example.net")
    record(store, [old])
    assert not lists.contains("t100", "reader@example.net")
    assert list(lists.entries()) == list(lists.of_address("reader@example.net")) == []
    assert not lists.remove("t100", "reader@example.net")
    record(store, [old, new])
    wanted = SuppressedAddress("t100", "reader@example.net", "unsubscribed", now + 60_000, "web")
    assert list(lists.entries()) == [wanted]


def test_operator_can_add_a_removed_address(lists: Suppression) -> None:
    assert lists.add("t100", "a@example.net", "by_hand", 1000)
    assert lists.remove("t100", "a@example.net")
    assert lists.add("t100", "a@example.net", "by_hand", 500)
    assert list(lists.entries()) == [
        SuppressedAddress("t100", "a@example.net", "by_hand", 500, "command")
    ]


@pytest.mark.parametrize(
    ("type", "details", "reason", "source"),
    [
        (UNSUBSCRIBE, BY_WEB, "unsubscribed", "web"),
        (UNSUBSCRIBE, {"click_url": ""}, "unsubscribed", "mail"),
        (COMPLAINT, {"attributed": True}, "complained", "mail"),
        (BAD_ADDRESS, {"synchronous": False}, "bad_address", "mail"),
        (BAD_ADDRESS, {"synchronous": True}, "bad_address", "log"),
        (COMPLAINT, {"attributed": False}, None, ""),
        (BOUNCE, {"bounce_type": "h"}, None, ""),
        (CLICK, BY_WEB, None, ""),
    ],
)
def test_events_that_suppress_an_address(
    store: Stores,
    lists: Suppression,
    type: str,
    details: Mapping[str, Value],
    reason: str | None,
    source: str,
) -> None:
    record(store, [event(type, 5123, details)])
    wanted = SuppressedAddress("t100", "reader@example.net", reason or "", 5123, source)
    assert list(lists.entries()) == ([] if reason is None else [wanted])


def test_entry_without_a_source_is_read(lists: Suppression) -> None:
    """As entries were before they had one."""
    lists.add("t100", "a@example.net", "complained", 1000, source="")
    assert list(lists.entries()) == [SuppressedAddress("t100", "a@example.net", "complained", 1000)]
    assert reason_in("1000 complained") == reason_in("1000 complained mail") == "complained"


def test_many_entries_are_added_at_once(lists: Suppression) -> None:
    wanted = [
        SuppressedAddress(f"t{number % 3}", f"r{number}@example.net", "by_hand", number, "import")
        for number in range(7000)
    ]
    lists.add("t1", "r1@example.net", "complained", 5)
    assert lists.add_all(wanted) == 6999
    assert lists.add_all(wanted) == lists.add_all([]) == 0
    found = sorted(lists.entries())
    assert found[0] == wanted[0]
    assert len(found) == 7000
    assert SuppressedAddress("t1", "r1@example.net", "complained", 5, "command") in found


def test_event_without_an_address_suppresses_nobody(store: Stores, lists: Suppression) -> None:
    """Privacy, or a mail to several: the event names no address."""
    record(store, [event(UNSUBSCRIBE, email="")])
    assert list(lists.entries()) == []


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_unusual_names_are_kept_apart(lists: Suppression, name: str) -> None:
    lists.add(name, "a@example.net", "by_hand", 1000)
    lists.add("t100", "a@example.net", "by_hand", 2000)
    lists.add("t100", name, "by_hand", 3000)
    told = name.replace("\0", "\N{REPLACEMENT CHARACTER}")
    assert list(lists.entries(name)) == [
        SuppressedAddress(told, "a@example.net", "by_hand", 1000, "command")
    ]
    assert lists.contains("t100", name)
    assert sorted(lists.entries()) == sorted(
        [*lists.entries(name), *lists.entries("t100")],
    )


def test_bytes_that_are_not_utf_8_are_as_in_the_event(store: Stores, lists: Suppression) -> None:
    record(store, [event(UNSUBSCRIBE, listid="t\udcff", email="\udce9@example.net")])
    assert lists.contains("T\udcff", "\udce9@example.net")
    odd = "\N{REPLACEMENT CHARACTER}"
    assert list(lists.entries()) == [
        SuppressedAddress(f"t{odd}", f"{odd}@example.net", "unsubscribed", 5000, "web")
    ]


def test_long_list_is_read_in_pages(lists: Suppression) -> None:
    wanted = {f"r{number}@example.net" for number in range(2500)}
    for address in wanted:
        lists.add("t100", address, "by_hand", 1000)
    found = [entry.address for entry in lists.entries("t100")]
    assert set(found) == wanted
    # HSCAN may tell one twice while the table grows; nobody writes here.
    assert len(found) == len(wanted)


def test_lists_are_sorted(lists: Suppression) -> None:
    for number in range(30):
        lists.add(f"t{number:02}", "a@example.net", "by_hand", 1000)
    assert [entry.listid for entry in lists.entries()] == [f"t{number:02}" for number in range(30)]


def test_every_method_raises_without_redis() -> None:
    lists = Suppression(open_store("unix:///no/such/socket"))
    for ask in (
        lambda: lists.add("t", "a", "by_hand", 1),
        lambda: lists.remove("t", "a"),
        lambda: lists.contains("t", "a"),
        lambda: list(lists.entries()),
    ):
        with pytest.raises(StoreUnavailable):
            ask()
