"""Single values of the configuration and of the control headers: what is right, what is wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fletching.config import http_values, units, values
from fletching.config.redis_url import parse, redis_url
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import for_every

Check = Callable[[str], str]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("3s", 3), ("90m", 5400), ("12h", 43200), ("21d", 1814400), ("366d", 31622400)],
)
def test_durations(text: str, seconds: int) -> None:
    assert units.duration(text) == seconds


def test_retention_may_be_ten_years() -> None:
    assert units.retention("3660d") == 3660 * 86400
    with pytest.raises(ValueError, match="must be from 1s to 3660d"):
        units.retention("3661d")


@pytest.mark.parametrize("text", ["", "d", "1", "1D", "-1d", "+1d", "1.5d", "1 d", "1d ", "1d\n",
                                  "1h30m", "500ms", "\u0661d", 1, 1.0, None, True, []])  # fmt: skip
def test_invalid_durations(text: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        units.duration(text)


@pytest.mark.parametrize(
    ("text", "octets"),
    [(0, 0), (1, 1), ("512KiB", 524288), ("5MiB", 5242880), ("1GiB", 2**30), (2**30, 2**30)],
)
def test_sizes(text: object, octets: int) -> None:
    assert units.size(text) == octets


@pytest.mark.parametrize("text", ["", "5", "5M", "5MB", "5mib", "5 MiB", "-1KiB", "1.5MiB", -1,
                                  2**30 + 1, "1025MiB", 1.0, None, True, "1GiB\n"])  # fmt: skip
def test_invalid_sizes(text: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        units.size(text)


@given(st.integers(1, units.LONGEST), st.integers(0, units.LARGEST))
def test_shown_durations_and_sizes_can_be_read_again(seconds: int, octets: int) -> None:
    assert units.duration(units.show_duration(seconds)) == seconds
    shown = units.show_size(octets)
    assert units.size(int(shown) if shown.isdigit() else shown) == octets


RIGHT = [
    (values.url_domain, "http://a", "http://a"),
    (values.url_domain, "HTTPS://Click.Example.COM", "https://click.example.com"),
    (values.url_domain, "https://click.example.com:8443", "https://click.example.com:8443"),
    (values.url_domain, "http://192.0.2.1", "http://192.0.2.1"),
    (values.url_domain, "http://[2001:DB8::1]:80", "http://[2001:db8::1]:80"),
    # U-labels become A-labels: as the browsers' and Python's own converters write them.
    (values.url_domain, "https://b\u00fccher.example", "https://xn--bcher-kva.example"),
    (values.url_domain, "http://B\u00dcCHER.example:80", "http://xn--bcher-kva.example:80"),
    (values.url_domain, "http://\u212a", "http://k"),
    (values.address, "b@b\u00fccher.example", "b@xn--bcher-kva.example"),
    (values.address, "a@stra\u00dfe.example", "a@xn--strae-oqa.example"),
    (values.address, "A@\u4f8b\u5b50.\u6d4b\u8bd5", "A@xn--fsqu00a.xn--0zwm56d"),
    (values.host, "bu\u0308cher.example", "xn--bcher-kva.example"),
    (values.host_pattern, "*.b\u00fccher.example", "*.xn--bcher-kva.example"),
    (
        http_values.web_url,
        "https://b\u00fccher.example:8/B?c",
        "https://xn--bcher-kva.example:8/B?c",
    ),
    (http_values.web_url, "https://Hooks.example/B", "https://Hooks.example/B"),
    (http_values.web_url, "http://[2001:db8::1]:8080?a=@", "http://[2001:db8::1]:8080?a=@"),
    (http_values.proxy_url, "HTTP://Proxy.example:3128", "http://proxy.example:3128"),
    (http_values.header_name, "X-Api-Key", "X-Api-Key"),
    (http_values.header_value, "Bearer a\tb", "Bearer a\tb"),
    (values.server_socket, "b\u00fccher.example:80", "xn--bcher-kva.example:80"),
    (values.milter_socket, "inet:1@b\u00fccher.example", "inet:1@xn--bcher-kva.example"),
    (values.milter_socket, "inet6:8899@[::1]", "inet6:8899@[::1]"),
    (values.milter_socket, "inet6:8899@2001:DB8:0::1", "inet6:8899@[2001:db8::1]"),
    (values.address, "bounces@example.com", "bounces@example.com"),
    (values.address, "Bounces+x=y@Example.COM", "Bounces+x=y@Example.COM"),
    (values.address, "root@localhost", "root@localhost"),
    (values.address, "b" * 64 + "@example.com", "b" * 64 + "@example.com"),
    (values.host_pattern, "WWW.Example.com", "www.example.com"),
    (values.host_pattern, "*.Example.com", "*.example.com"),
    (values.list_id, "t_100+a", "t_100+a"),
    (values.class_name, "_Weekly_", "_Weekly_"),
    (values.virtual_mta_name, "vmta 1: a/b", "vmta 1: a/b"),
    (values.selector, "S1.Mail", "s1.mail"),
    (values.milter_socket, "inet:8899@127.0.0.1", "inet:8899@127.0.0.1"),
    (values.milter_socket, "inet:8899@LocalHost", "inet:8899@localhost"),
    (values.milter_socket, "unix:/run/a.b_c-d.sock", "unix:/run/a.b_c-d.sock"),
    (values.server_socket, "[::1]:8090", "[::1]:8090"),
    (values.server_socket, "unix:/run/web.sock", "unix:/run/web.sock"),
    *(
        (redis_url, url, url)
        for url in (
            "embedded",
            "redis://127.0.0.1",
            "redis://127.0.0.1:6379",
            "redis://127.0.0.1:6379/0",
            "redis://user:p%40ss:w,or!d@redis.example.com:6379/15",
            "redis://[::1]:6379/0",
            "rediss://redis.example.com:6379/0?ssl_ca_certs=/etc/ssl/ca.pem",
            "unix:///run/redis/redis.sock",
            "unix://:secret@/run/redis/redis.sock?db=2",
            "redis+sentinel://a:26379/mymaster",
            "redis+sentinel://:secret@a:26379,b:26379,[::1]:26379/mymaster/3",
            "redis+cluster://a:7000,b:7001",
            "redis://a?password_file=/etc/fletching/redis.password",
            "rediss+sentinel://crm:pw@a:1/m/2?ssl_ca_certs=/ca.pem&sentinel_password=x",
            "rediss+sentinel://a:1/m?password_file=/a&sentinel_password_file=/b",
            "redis+sentinel://a:1/m?sentinel_ssl=true&ssl_ca_path=/etc/ssl&sentinel_username=u",
            "rediss+sentinel://a:1/m?sentinel_ssl=false",
            "rediss+cluster://:pw@a:1,b:2?ssl_certfile=/c.pem&ssl_keyfile=/k.pem",
        )
    ),
]

WRONG = [
    *(
        (values.url_domain, url)
        for url in (
            "", "a", "//a", "ftp://a", "http:/a", "http://", "http://a/", "http://a?", "http://a#x",
            "http://u@a", "http://u:p@a", "http://a:", "http://a:0", "http://a:65536", "http://a:x",
            "http://a b", " http://a", "http://a\n", "http://a\\b", "http://-a", "http://a..b",
            "http://a.", "http://1.2.3", "http://1.2.3.256", "http://[::1", "http://[::1%1]",
            "http://\u20ac.example", "http://" + "\u00fc" * 60, "http://" + "a." * 130 + "b",
            "http://" + "a" * 64,
        )
    ),
    *(
        (values.address, address)
        for address in (
            "", "@", "a@", "@a", "a", "a@b@c", "a b@c", '"a b"@c', "a..b@c", ".a@c", "a.@c",
            "<a@c>", "a@c\n", "a@[192.0.2.1]", "\u00e4@c", "a@\u2603", "a@b..\u00e4",
            "b" * 65 + "@example.com",
            "a@" + "c." * 130 + "d",
        )
    ),
    *((values.list_id, each) for each in ("", "a" * 21, "a-b", "a b", "\u00e4", "a\n")),
    *((values.class_name, each) for each in ("", "a" * 65, "a1", "a-b", "\u00e4", "a\n")),
    *(
        (values.virtual_mta_name, each)
        for each in ("", " a", "a ", "a,b", "a#", "a@b", "\u00e4", "a\n", "a" * 201)
    ),
    *((values.host_pattern, each) for each in ("*", "*.", "a.*", "*a.b", "http://a", "a/b", ".a")),
    *(
        (http_values.web_url, each)
        for each in ("", "https://", "https:///a", "//a", "ftp://a", "https://a:b@c/",
                     "https://a/b c", "https://a/\n", "https://a/\u00e4", "https://a#b",
                     "https://a\\b", "https://a:99999/", "https://a b/")
    ),
    *((http_values.proxy_url, each) for each in ("", "https://a:1", "socks5://a", "http://u:p@a:1")),
    *(
        (http_values.header_name, each)
        for each in ("", "a b", "a:", "a\n", "\u00e4", "Host", "content-length", "X-Fletching-A")
    ),
    *((http_values.header_value, each) for each in ("", " a", "a ", "a\nb", "a\rb", "\u00e4")),
    *((values.service, each) for each in ("", "smtp:", "a.b", "a b", "a\n")),
    *((values.selector, each) for each in ("", ".", "a.", "a b", "a;", "a\n")),
    *(
        (values.milter_socket, each)
        for each in ("", "unix:", "unix:a", "inet:1", "inet:@a", "inet:0@a", "8899@a", "inet:1@",
                     "/run/a.sock", "unix:/a\0", "unix:/a b", "unix:/a\nb",
                     "unix:/a\x1b", "unix:/a,b", "unix:/{a}", "unix:/$a", "unix:/a\u2028",
                     "inet:1@a b", "inet:1@::1", "inet6:1@a",
                     "inet6:1@[fe80::1%lo]", "inet6:0@::1",
                     "inet6:1@127.0.0.1", "inet6:1@[::1", "unix:/" + "\u00e4" * 54)
    ),
    *(
        (values.server_socket, each)
        for each in ("", "8090", ":8090", "a", "a:", "a:b", "a:0", "::1:80", "[::1]", "unix:a")
    ),
    *(
        (redis_url, each)
        for each in (
            "", "redis", "Embedded", "redis://", "redis:///0", "redis://h:0", "redis://h:65536",
            "redis://h:x", "redis://h/a", "redis://a,b", "redis://u@v@h", "redis://h\n", "http://h",
            "redis://p/w@h", "unix://", "unix://run/redis.sock", "unix:/run/redis.sock", "unix:///",
            "redis+sentinel://a:1", "redis+sentinel://a/m", "redis+sentinel://a:1,/m",
            "redis+sentinel://a:1/m/x", "redis+cluster://a", "redis+cluster://a:1/0",
            "redis+cluster://a:1?x=y", "redis://\u00e4", "redis+sentinel://a:1/m?db=1",
            "redis://a?foo=1", "redis://a?socket_timeout=20", "redis://a?timeout=20",
            "redis://a?socket_connect_timeout=20", "redis://a?retry_on_timeout=true",
            "redis://a?max_connections=1", "redis://a?health_check_interval=1",
            "redis://a?protocol=3", "redis://a?decode_responses=1", "redis://a?db=x",
            "redis://a?db=1&db=2", "redis://a?db=",
            "redis://:pw@a?password_file=/a", "redis://a?password_file=a",
            "redis://a?sentinel_password=x", "redis+cluster://a:1?sentinel_ssl=true",
            "redis+sentinel://a:1/m?ssl_ca_certs=/ca", "redis+sentinel://a:1/m?sentinel_ssl=yes",
            "redis+sentinel://a:1/m?sentinel_ssl=false&ssl_ca_certs=/ca",
            "rediss+cluster://a:1?ssl_ciphers=x", "rediss+unix:///s", "redis+cluster://a:1?db=1",
            "redis+sentinel://a:1/m?sentinel_password=x&sentinel_password_file=/x",
            "redis://a?db", "redis://a?db=1&",
            "redis://a?ssl_cert_reqs=none", "rediss://a?ssl_cert_reqs=0",
            "rediss://a?ssl_ca_certs=ca.pem", "rediss://a?ssl_check_hostname=maybe",
            "rediss://a?ssl_min_version=TLSv1", "unix:///s?foo=1", "redis://a?%64b=1&db=1",
        )
    ),
]  # fmt: skip


@for_every(RIGHT)
def test_valid_values(check: Check, text: str, meant: str) -> None:
    assert check(text) == meant


@for_every(WRONG)
def test_invalid_values(check: Check, text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        check(text)


@pytest.mark.parametrize("url", ["redis://crm:a+b%2B@h", "redis://crm@h?password=a+b%2B"])
def test_plus_in_a_redis_password_is_not_a_space(url: str) -> None:
    assert parse(url).credentials.password == "a+b+"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("192.0.2.1", "192.0.2.1/32"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("::1", "::1/128"),
        ("0.0.0.0/0", "0.0.0.0/0"),
    ],
)
def test_networks(text: str, meant: str) -> None:
    assert str(values.network(text)) == meant


@pytest.mark.parametrize("text", ["", "10", "10.0.0.1/8", "10.0.0.0/33", "fe80::1%eth0", "a", 10])
def test_invalid_networks(text: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        values.network(text)
