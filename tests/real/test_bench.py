"""bench/ with real servers: every benchmark runs and gives complete figures, however fast."""

from __future__ import annotations

import pytest

from bench import (
    client,
    latency,
    mails,
    proof,
    returning,
    statistics,
    store,
    throughput,
    traces,
    web,
)
from bench.course import Effort, silent
from bench.setups import ALL, ALONE, COLLECTS, FLETCHING, OPENDKIM, servers
from bench.throughput import Cell
from sandbox.redis_server import RedisServer

pytestmark = pytest.mark.slow


def test_throughput_of_all_set_ups() -> None:
    with servers() as running:
        proof.prove(running, "23 kB")
        found = throughput.measure_cell(running, Cell("23 kB", 4, 20), 1, silent)
    assert [one.setup for one in found] == list(ALL)
    for row in throughput.figures(found):
        assert row["mails_per_run"] == 20
        assert row["mails_per_second"] > 0  # type: ignore[operator] # of JSON
        if row["setup"] != ALONE:
            assert row["milter_largest_process_peak_rss_bytes"] > 1_000_000  # type: ignore[operator]
    assert len(list(throughput.tables(found))) == 1


class TestProof:
    """A milter that is idle is found out."""

    def test_one_that_does_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(proof, "_SIGN", (COLLECTS,))
        with (
            servers((COLLECTS,)) as running,
            pytest.raises(proof.IdleError, match="has not signed"),
        ):
            proof.prove(running, "2 kB")


class TestLatency:
    """The client paces, and every mail has its times."""

    def test_all_set_ups_at_one_load(self) -> None:
        amount = latency.Amount(closed=20, blocks=2, per_block=10)
        with servers((OPENDKIM, FLETCHING)) as running:
            rate = latency.highest(running, amount)
            setups = tuple(running.setups.values())
            loads = list(latency.at_share(running, setups, 0.5, rate, amount, silent))
        assert [load.setup for load in loads] == [ALONE, OPENDKIM, FLETCHING]
        for load in loads:
            assert len(load.times) == 20
            assert all(0 < mail.service <= mail.from_schedule for mail in load.times)

    def test_a_server_that_refuses_is_an_error(self) -> None:
        words = client.dialogue(mails.SIZES["2 kB"], "not an address", mails.RECIPIENT)
        with servers(()) as running, pytest.raises(client.RefusedError, match="501"):
            client.send(running.setups[ALONE].port, iter([words]), [0.0], 1)

    def test_a_mail_that_fits_no_buffer(self) -> None:
        words = client.dialogue(mails.SIZES["10 MB"], mails.SENDER, mails.RECIPIENT)
        with servers(()) as running:
            (times,) = client.send(running.setups[ALONE].port, iter([words]), [0.0], 1)
            running.postfix.wait_log(", size=105")
        assert times.begun < times.dot < times.answered


def test_store(redis: RedisServer) -> None:
    words = store.recorded(redis, store.newsletter_question())
    each = {store.NUMBER_EACH, store.BEGIN_EACH, store.OPEN_EACH}
    assert set(words) == {store.NUMBER_ONE, store.BEGIN_ONE, store.OPEN_ONE, *each}
    said = store.benchmark(redis, words[store.NUMBER_ONE], 130, 2)
    assert said["rps"] > 0
    with redis.raw_client() as client:
        (campaign,) = client.keys("*:campaign:*")
        # One more was numbered while the words were written down.
        assert client.hget(campaign, "number") == b"131"
        # The index, the SendID, the campaign, three keys of records.
        assert client.dbsize() == 6


def test_what_messages_leave(redis: RedisServer) -> None:
    results = store.measure(Effort(quick=True), silent)
    assert [kept.what for kept in results.kept] == ["one campaign", "a campaign each"]
    assert all(kept.bytes_per_1000 > 10_000 for kept in results.kept)


def test_what_a_large_campaign_leaves() -> None:
    """The benchmark itself checks that the numbers are right."""
    results = statistics.measure(Effort(quick=True), silent)
    assert (results.messages, results.events) == (10_000, 5_200)
    of_campaign = {"campaign", "counts", "counted", "links", "seen", "steps", "bounces"}
    assert set(results.key_bytes) == of_campaign
    assert min(results.added_bytes, results.stream_bytes, *results.key_bytes.values()) > 0


def test_what_traces_take() -> None:
    """A tenth of the messages have almost as many common texts."""
    results = traces.measure(Effort(quick=True), silent)
    assert results.messages == 10_000
    at_once, long_ids, alone = (cost.bytes for cost in results.costs)
    assert 60 < at_once < long_ids < alone < 110
    for cost in results.costs:
        assert min(cost.accepted_us, cost.delivered_us, *cost.by_kind.values()) > 0


def test_the_web() -> None:
    """The benchmark itself checks that every answered click is recorded and counted."""
    runs = web.measure(Effort(quick=True), silent)
    assert {"nginx, return 302", "uvicorn, bare", "granian, bare"} < {run.peer for run in runs}
    assert min(run.requests for run in runs) > 0


def test_what_comes_back() -> None:
    """The benchmark itself checks that every line and every mail is counted."""
    runs = returning.measure(Effort(quick=True), silent)
    assert [run.count for run in runs] == [11_950, 150]
    assert len(list(returning.tables(runs))) == 1
    assert min(run.microseconds for run in runs) > 0
