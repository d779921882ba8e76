"""The set-ups that docs/content-filters.md shows, on a real Postfix, with a filter of our own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from fletching.checks.all import check
from fletching.checks.finding import Level
from fletching.config.load import load

from sandbox.postfix import Postfix
from sandbox.processes import free_port
from sandbox.redis_server import RedisServer
from sandbox.reinjector import Reinjector
from sandbox.sinks import Sink
from tests.test_check_filters import shown

from .fletching import Fletching
from .test_filters import STEERED, Site, is_plain

pytestmark = pytest.mark.slow

CHANGE = {
    "trusted": {"networks": ["127.0.0.1/32"], "services": ["applications"]},
    "default_mail_class": "newsletter",
}


# The second builds on the first.
@pytest.fixture(
    params=[
        ("An after-queue content filter",),
        ("An after-queue content filter", "A before-queue proxy filter"),
    ],
    ids=["content", "proxy"],
)
def site(
    request: pytest.FixtureRequest, directory: Path, redis: RedisServer, sinks: Mapping[str, Sink]
) -> Iterator[Site]:
    """As the page says, but with ports of this test, and without the chroot."""
    back, applications, sink = free_port(), free_port(), sinks["smtp"]
    name = f"page-{len([*directory.iterdir()])}"
    with (
        Reinjector(back) as filter_,
        Fletching(directory / f"fletching-{name}", redis.unix_url, CHANGE) as fletching,
        Postfix(directory / name, dict.fromkeys(sinks, sink.port)) as postfix,
    ):
        fletching.join(postfix)
        ports = {"10024": filter_.port, "10025": back, "10587": applications}

        def here(text: str) -> str:
            text = re.sub(r"(?m)^smtp( +inet)", rf"127.0.0.1:{postfix.port}\1", text)
            text = re.sub(r"(?m)^(\S+ +(?:inet|unix) n - )y", r"\1n", text)
            return re.sub(r"\b10(?:024|025|587)\b", lambda found: str(ports[found[0]]), text)

        for part in request.param:
            install(postfix, here(shown(part)))
        postfix.restart()
        yield Site(postfix, fletching, sink, applications)


def install(postfix: Postfix, text: str) -> None:
    """Services in place of those of the same name."""
    for service in re.findall(r"(?m)^(\S+) +inet ", text):
        if postfix.postconf("-M", f"{service}/inet"):
            postfix.command("postconf", "-MX", f"{service}/inet")
    postfix.apply(master_cf=text)


def test_outsider_achieves_nothing_and_application_is_served(site: Site) -> None:
    site.from_stranger(STEERED)
    arrived = site.arrived()
    assert is_plain(arrived)
    assert b"filter.example" in arrived.raw, "it has not passed the filter"
    site.from_application(STEERED)
    assert {"x-mailer-info", "dkim-signature"} <= set(site.arrived().header_names)


def test_check_finds_no_error(site: Site) -> None:
    site.postfix.postconf("mail_version")  # makes its files look old
    command = ("postconf", "-c", str(site.postfix.config_directory))
    found = check(load(site.fletching.config_path), postfix=True, postconf_command=command)
    assert [each for each in found if each.level is Level.ERROR] == []
