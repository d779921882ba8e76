"""TLS and passwords: servers, sentinels and clusters that ask for both, and the URLs for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fletching.config.redis_url import Credentials, parse
from fletching.store.connection import StoreUnavailable

from sandbox import redis_cluster
from sandbox.processes import wait_until
from sandbox.redis_sentinels import SERVICE, ask
from sandbox.redis_server import RedisServer
from sandbox.redis_tls import Certificates, certificates
from tests.stores import open_store

pytestmark = pytest.mark.slow

NOWHERE = Path("/nonexistent")
# As docs/redis.md has it.
SENTINEL_USER = (
    "user crm on >s3ntinel allchannels -@all +auth +ping +subscribe"
    " +sentinel|master +sentinel|get-master-addr-by-name"
)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server(tls: Certificates) -> Iterator[RedisServer]:
    with RedisServer(tls=tls, password="pa/ss") as running:
        yield running


def counts(url: str) -> int:
    return int(open_store(url).ask(lambda client: client.incr("n")))


def test_server_with_tls_and_a_client_certificate(server: RedisServer, tls: Certificates) -> None:
    assert counts(f"rediss://:pa%2Fss@localhost:{server.port}/3?{tls.query}") == 1
    assert counts(f"rediss://127.0.0.1:{server.port}/3?password=pa/ss&{tls.query}") == 2


@pytest.mark.parametrize(
    ("scheme", "lacking", "why"),
    [
        ("rediss", "ssl_ca_certs", "certificate verify failed"),
        ("rediss", "ssl_certfile", "certificate required|while writing|closed|reset"),
        ("redis", None, "closed|reset"),
    ],
    ids=["authority", "own-certificate", "tls"],
)
def test_server_with_tls_refuses_wrong_clients(
    server: RedisServer, tls: Certificates, scheme: str, lacking: str | None, why: str
) -> None:
    options = tls.query.split("&")
    kept = [each for each in options if lacking and not each.startswith(lacking)]
    if lacking == "ssl_certfile":
        kept = [each for each in kept if not each.startswith("ssl_keyfile")]
    query = f"?{'&'.join(kept)}" if kept else ""
    with pytest.raises(StoreUnavailable, match=why):
        counts(f"{scheme}://:pa%2Fss@127.0.0.1:{server.port}/0{query}")


def test_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    other = certificates(tmp_path, ("redis.example.com",), "")
    with RedisServer(tls=other) as redis:
        query = other.query
        url = f"rediss://127.0.0.1:{redis.port}/0?{query}"
        with pytest.raises(StoreUnavailable, match="certificate verify failed"):
            counts(url)
        assert counts(f"{url}&ssl_check_hostname=false") == 1


def test_changed_password_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "password"
    with RedisServer(password="before") as redis:
        connection = open_store(f"{redis.url}?password_file={file}")
        with pytest.raises(StoreUnavailable, match=str(file)):
            connection.ask(lambda client: client.ping())
        file.write_text("before\n")
        assert connection.ask(lambda client: client.ping())
        look = redis.client
        look.config_set("requirepass", "after")
        file.write_text("after\n")
        ask(look, "CLIENT KILL TYPE normal SKIPME yes")
        assert connection.ask(lambda client: client.ping())


def test_user_with_a_password_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("pw")
    with RedisServer() as redis:
        ask(redis.client, "ACL SETUSER", "crm", "on", ">pw", "~*", "+@all")
        url = redis.url.replace("//", "//crm@")
        query = f"?password_file={tmp_path / 'password'}"
        found = open_store(url + query).ask(lambda client: client.acl_whoami())
    assert found == "crm"


@pytest.mark.parametrize(
    ("server_tls", "sentinel_tls", "scheme", "option"),
    [
        (True, True, "rediss+sentinel", ""),
        (True, False, "rediss+sentinel", "&sentinel_ssl=false"),
        (False, True, "redis+sentinel", "&sentinel_ssl=true"),
        (False, False, "redis+sentinel", ""),
    ],
    ids=["both", "servers-alone", "sentinels-alone", "none"],
)
@pytest.mark.parametrize("in_files", [False, True], ids=["in-the-url", "in-files"])
def test_sentinels_with_tls_and_passwords(
    tmp_path: Path,
    tls: Certificates,
    server_tls: bool,
    sentinel_tls: bool,
    scheme: str,
    option: str,
    in_files: bool,
) -> None:
    (tmp_path / "server").write_text("m4ster\n")
    (tmp_path / "sentinel").write_text("s3ntinel\n")
    with ExitStack() as stack:
        master = stack.enter_context(
            RedisServer(password="m4ster", tls=tls if server_tls else None)
        )
        options = (
            f"sentinel monitor {SERVICE} 127.0.0.1 {master.port} 1",
            f"sentinel auth-pass {SERVICE} m4ster",
            SENTINEL_USER,
            *(tls.options if server_tls else ("tls-replication no",)),
        )
        sentinel = stack.enter_context(
            RedisServer(*options, sentinel=True, tls=tls if sentinel_tls else None)
        )
        if in_files:
            user, given = "", f"password_file={tmp_path / 'server'}"
            given += f"&sentinel_password_file={tmp_path / 'sentinel'}"
        else:
            user, given = ":m4ster@", "sentinel_password=s3ntinel"
        query = f"{given}&sentinel_username=crm{option}"
        if server_tls or sentinel_tls:
            query += f"&{tls.query}"
        url = f"{scheme}://{user}127.0.0.1:{sentinel.port}/{SERVICE}?{query}"
        assert counts(url) == 1


def test_cluster_with_tls(tls: Certificates) -> None:
    with redis_cluster.cluster(tls=tls) as nodes:
        places = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        connection = open_store(f"rediss+cluster://{places}?{tls.query}")
        for number in range(30):
            connection.ask(lambda client, it=number: client.set(f"key{it}", it))  # type: ignore[misc]
        wait_until("keys on each node", lambda: all(node.client.dbsize() for node in nodes))


# What a URL is read as


def test_parts_of_a_sentinel_url() -> None:
    url = parse(
        "rediss+sentinel://crm:p%40ss@a:1,[::1]:2/mymaster/3"
        "?sentinel_username=s&sentinel_password=q%26&ssl_check_hostname=false&ssl_ca_certs=/ca"
    )
    assert (url.kind, url.nodes, url.service, url.database) == (
        "sentinel",
        (("a", 1), ("::1", 2)),
        "mymaster",
        3,
    )
    assert url.credentials == Credentials("crm", "p@ss")
    assert url.sentinel_credentials == Credentials("s", "q&")
    assert (url.tls, url.sentinel_tls) == (True, True)
    assert url.tls_options == {"ssl_check_hostname": False, "ssl_ca_certs": "/ca"}


def test_parts_of_a_socket_url() -> None:
    url = parse("unix://:pw@/run/redis/a%20b.sock?db=2")
    assert (url.kind, url.path, url.database) == ("unix", "/run/redis/a b.sock", 2)
    assert url.credentials == Credentials(None, "pw")


def test_passwords_in_urls_are_hidden() -> None:
    url = "rediss+sentinel://u:hunter2@a:1/m?sentinel_password=hunter2&ssl_password=hunter2"
    assert "hunter2" not in repr(parse(url))
