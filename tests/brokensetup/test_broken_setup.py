"""Broken set-ups: keys, DNS, web, Redis, daemons. `fletching check --live` must find each of them,
and say the right cure."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fletching.checks.finding import Level
from fletching.store import keys

from sandbox.processes import free_port
from tests import commands
from tests.brokensetup.setting import HOST, BrokenSetup, Case, strings

pytestmark = pytest.mark.slow

ERROR, WARNING = Level.ERROR, Level.WARNING
SERVICE_USER = "nobody"


# Ways to break


@contextmanager
def stopped(broken: BrokenSetup) -> Iterator[None]:
    broken.fletching.stop()
    yield
    broken.fletching.start()


@contextmanager
def other_link_keys(broken: BrokenSetup) -> Iterator[None]:
    """The daemons in use still have the keys of before."""
    path, kept = broken.fletching.directory / "link-keys", broken.fletching.directory / "kept"
    shutil.move(path, kept)
    commands.output(broken.fletching.config_path, "key", "new")
    yield
    shutil.move(kept, path)


@contextmanager
def redis_stopped(broken: BrokenSetup) -> Iterator[None]:
    broken.redis.stop()
    yield
    broken.redis.start()


@contextmanager
def redis_replica(broken: BrokenSetup) -> Iterator[None]:
    with broken.redis.client as client:
        client.replicaof("127.0.0.1", free_port())
        yield
        client.replicaof("NO", "ONE")


@contextmanager
def nginx_stopped(broken: BrokenSetup) -> Iterator[None]:
    broken.proxy.stop()
    yield
    broken.proxy.start()


@contextmanager
def courier_stopped(broken: BrokenSetup) -> Iterator[None]:
    with broken.hung("courier"), broken.redis.client as client:
        client.delete(keys.lease("courier:all"))
        yield


@contextmanager
def unreadable(broken: BrokenSetup, path: Path) -> Iterator[None]:
    """A file that the service's user cannot read."""
    broken.user = SERVICE_USER
    with broken.mode(path, 0o600):
        yield
    broken.user = None


def sockets(broken: BrokenSetup, name: str = "") -> Path:
    return broken.fletching.socket.with_name(name) if name else broken.fletching.socket.parent


def s1(broken: BrokenSetup) -> str:
    """The record of the DKIM key."""
    return broken.fletching.records["s1._domainkey.example.com"]


def case(*fields: Any) -> Case:
    return Case(*fields)


OTHER_KEY = "v=DKIM1; k=rsa; p=MCowBQYDK2VwAyEAtFEGN2xsFkwBvVKzlPHPxNvWsrOHx0mvKvMx9m6i2QI="

CASES = (
    # The milter and its socket
    case(
        "milter stopped", stopped, ERROR, "listen", "nothing accepts", "systemctl start fletching"
    ),
    case(
        *("milter hung", lambda b: b.hung("milter"), ERROR, "listen", "does not answer"),
        "if it runs, restart it",
    ),
    case(
        *("milter socket of another group", lambda b: b.mode(sockets(b, "milter.sock"), 0o600)),
        *(ERROR, "listen", "cannot connect", "UMask=0007"),
    ),
    case(
        *("socket directory that Postfix cannot enter", lambda b: b.mode(sockets(b), 0o700)),
        *(ERROR, "listen", "cannot enter the directory", "mode 2750, group postfix"),
    ),
    case(
        *("daemons with other link keys", other_link_keys, ERROR, "check mail by a"),
        *("does not recognize its mark", "restart all daemons"),
    ),
    case(
        "milter with the configuration of before",
        lambda b: b.configured(mail_classes={"newsletter": None, "fresh": {"virtual_mta": "a"}}),
        *(ERROR, "check mail by a", "without a valid X-Mailer-Info", "restart all daemons"),
    ),
    # Redis
    case("Redis stopped", redis_stopped, ERROR, "redis", "does not answer", "start Redis"),
    case(
        *(
            "milter does not reach Redis",
            redis_stopped,
            ERROR,
            "Postfix at",
            "does not reach Redis",
        ),
        "see the findings about redis",
    ),
    case(
        "Redis a read-only replica",
        redis_replica,
        ERROR,
        "redis",
        "replica",
        "set redis: to its master",
    ),
    case(
        *("Redis full", lambda b: b.redis_set(maxmemory="1"), WARNING, "redis", "memory is full"),
        "raise maxmemory",
    ),
    case(
        *("Redis with a password", lambda b: b.redis_set(requirepass="x"), ERROR, "redis"),
        *("uthentication", "put user and password into the URL"),
    ),
    # Files
    case(
        *("state directory not writable", lambda b: b.configured(state_dir="/proc/fletching")),
        *(ERROR, "state_dir", "not writable", "install -d -o fletching"),
    ),
    case(
        "link keys that the service's user cannot read",
        lambda b: unreadable(b, b.fletching.directory / "link-keys"),
        *(ERROR, "link_keys", "cannot read it", "chmod 640"),
    ),
    case(
        "DKIM key that the service's user cannot read",
        lambda b: unreadable(b, b.fletching.directory / "example.com.s1.pem"),
        *(ERROR, "dkim.keys s1 of example.com", "cannot read it", "chmod 640"),
    ),
    # The DNS
    case(
        *("no DKIM record", lambda b: b.dns(s1=None), ERROR, "s1._domainkey.example.com"),
        *("has no DKIM record", "`fletching dkim record`"),
    ),
    case(
        *("DKIM record of another key", lambda b: b.dns(s1=[f'"{OTHER_KEY}"']), ERROR),
        *("s1._domainkey.example.com", "does not verify", "`fletching dkim record`"),
    ),
    case(
        *("DKIM key revoked", lambda b: b.dns(s1=['"v=DKIM1; p="']), ERROR),
        *("s1._domainkey.example.com", "revoked", "`fletching dkim record`"),
    ),
    case(
        "DKIM record split at a wrong place",
        lambda b: b.dns(s1=[f'"{s1(b)[:200]}" "{s1(b)[210:400]}"']),
        *(ERROR, "s1._domainkey.example.com", "does not verify", "`fletching dkim record`"),
    ),
    case(
        "DKIM record in test mode",
        lambda b: b.dns(s1=[strings(s1(b).replace("p=", "t=y; p="))]),
        *(WARNING, "s1._domainkey.example.com", "test mode", "remove t=y"),
    ),
    case(
        "two DKIM records",
        lambda b: b.dns(s1=[strings(s1(b)), f'"{OTHER_KEY}"']),
        *(ERROR, "s1._domainkey.example.com", "several DKIM records", "exactly the one record"),
    ),
    case(
        *("tracking host without an address", lambda b: b.dns(host=None), ERROR, HOST),
        *("has no A or AAAA record", "publish an address record"),
    ),
    # The web service and its proxy
    case(
        *("web service hung", lambda b: b.hung("web"), ERROR, "web.listen", "does not answer"),
        "systemctl start fletching-web",
    ),
    case(
        "web service at another port",
        lambda b: b.configured(web={"listen": f"127.0.0.1:{free_port()}"}),
        *(ERROR, "web.listen", "does not answer", "systemctl start fletching-web"),
    ),
    case(
        *("proxy stopped", nginx_stopped, WARNING, HOST, "cannot be reached"),
        "let the proxy listen, and the firewall pass its port",
    ),
    case(
        *("proxy to a wrong port", lambda b: b.proxy.broken("proxy_pass http://127.0.0.1:1;")),
        *(ERROR, HOST, "HTTP 502", "pass requests to web.listen"),
    ),
    case(
        "proxy that removes the query",
        lambda b: b.proxy.broken(f"rewrite ^(.*)$ $1? break; {b.proxy.passes}"),
        *(ERROR, HOST, "HTTP 404", "path and query"),
    ),
    case(
        "proxy that refuses POST",
        lambda b: b.proxy.broken(f"limit_except GET {{ deny all; }} {b.proxy.passes}"),
        *(ERROR, HOST, "does not take the POST", "pass POST to the web service"),
    ),
    case(
        *("proxy that redirects", lambda b: b.proxy.broken("return 301 https://www.example.com/;")),
        *(ERROR, HOST, "a redirect to https://www.example.com/", "remove the redirect"),
    ),
    case(
        *("proxy that asks for a login", lambda b: b.proxy.broken("return 401;"), ERROR, HOST),
        *("HTTP 401", "remove login and access rules"),
    ),
    case(
        *("another website at the host", lambda b: b.proxy.broken("return 200 hello;"), ERROR),
        *(HOST, "HTTP 200", "let url_domain name the proxy before Fletching"),
    ),
    case(
        "proxy that caches",
        lambda b: b.proxy.broken(
            "proxy_cache cache; proxy_cache_valid any 10m; proxy_ignore_headers Cache-Control;"
            f" proxy_hide_header Cache-Control; {b.proxy.passes}"
        ),
        *(WARNING, HOST, "caches tracking links", "switch off caching"),
    ),
    case(
        *("certificate expired", lambda b: b.proxy.broken(certificate="expired"), ERROR, HOST),
        *("expired", "renew the certificate"),
    ),
    case(
        *("certificate of another name", lambda b: b.proxy.broken(certificate="other-name")),
        *(ERROR, HOST, "ostname mismatch", "get a certificate for this name"),
    ),
    case(
        *("proxy not trusted", lambda b: b.configured(web={"trusted_proxies": []}), WARNING),
        *("web.trusted_proxies", "is empty", "list the proxy's address"),
    ),
    # What comes back
    case(
        *("LMTP service hung", lambda b: b.hung("lmtp"), ERROR, "lmtp.listen", "does not answer"),
        "systemctl start fletching-lmtp",
    ),
    case(
        "LMTP socket of another group",
        lambda b: b.mode(sockets(b, "lmtp.sock"), 0o600),
        *(ERROR, "lmtp.listen", "has no access", "UMask=0007"),
    ),
    case(
        *("log reader stopped", lambda b: b.hung("logtail"), WARNING, "postfix.log"),
        *("is no event", "systemctl start fletching-logtail"),
    ),
    case(
        "another log",
        lambda b: b.configured(postfix={"log": "/var/log/other.log"}),
        *(ERROR, "postfix.log", "maillog_file", "set postfix.log to it"),
    ),
    case(
        *("courier stopped", courier_stopped, ERROR, "events.destinations all", "no courier"),
        "systemctl start fletching-courier",
    ),
)


@pytest.mark.parametrize("broken_by", CASES, ids=[each.name for each in CASES])
def test_broken_set_up_is_found_with_its_cure(broken: BrokenSetup, broken_by: Case) -> None:
    broken_by.assert_found(broken)
