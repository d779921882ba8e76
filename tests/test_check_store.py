"""`check` and Redis: real servers that lack something."""

from __future__ import annotations

from pathlib import Path

import pytest
from fletching.admin.check_store import check_store, connections
from fletching.config.load import parse
from fletching.config.model import Config
from fletching.store.trial import ahead, lacking, server

from tests.redis_cluster import running
from tests.redis_server import RedisServer


def config(url: str, folder: Path, more: str = "") -> Config:
    return parse(f"redis: '{url}'\nstate_dir: .\n{more}".encode(), folder / "fletching.yaml")


def test_a_right_server_lacks_nothing_and_keeps_nothing(tmp_path: Path) -> None:
    with RedisServer() as redis:
        assert list(check_store(config(redis.url, tmp_path, "workers: 2\n"))) == []
        assert redis.client.keys() == []
        found = server(redis.url, tmp_path)
    assert found.version.startswith(("7.", "8."))
    assert found.max_clients is not None


def test_in_a_cluster(tmp_path: Path) -> None:
    with running("cluster") as stores:
        assert lacking(stores.url, tmp_path) == {}
        assert stores.keys() == []


@pytest.mark.parametrize(
    ("rights", "script", "saying"),
    [
        ("+@all -xadd", "append.lua", "xadd"),
        ("+@all -hincrby", "number.lua", "hincrby"),
        ("+@all -time", "clock.lua", "time"),
        ("+@all -eval -evalsha", "open.lua", "evalsha"),
        ("+@all -del", "DEL", "del"),
    ],
)
def test_a_right_that_lacks_is_named(
    tmp_path: Path, rights: str, script: str, saying: str
) -> None:
    with RedisServer(f"user crm on >pw ~fletching:* &* {rights}") as redis:
        url = redis.url.replace("//", "//crm:pw@")
        texts = [str(finding) for finding in check_store(config(url, tmp_path))]
        if script != "DEL":
            assert redis.client.keys() == []
    assert any(f"does not run {script}: " in text and saying in text for text in texts), texts


def test_a_user_of_our_keys_alone_is_enough(tmp_path: Path) -> None:
    with RedisServer("user crm on >pw ~fletching:* &* +@all") as redis:
        assert lacking(redis.url.replace("//", "//crm:pw@"), tmp_path) == {}


def test_too_few_connections_are_told(tmp_path: Path) -> None:
    with RedisServer("maxclients 20") as redis:
        (finding,) = check_store(config(redis.url, tmp_path, "workers: 2\n"))
    assert f"maxclients is 20, and this host may open {connections(2)}" in str(finding)


@pytest.mark.parametrize(
    ("before", "after", "there", "seconds"),
    [(10, 11, 10.5, 0), (10, 11, 13.5, 2.5), (10, 11, 7, -3), (10, 15, 14, 0)],
)
def test_the_round_trip_is_taken_off(
    before: float, after: float, there: float, seconds: float
) -> None:
    assert ahead(before, after, there) == seconds
