"""The images and the Compose file of packaging/: a mail through, its link, its bounce.

`containers.py` says what of them is tested, and what is not.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.drills.network import Network
from sandbox.processes import Daemon, DidNotHappenError, program, wait_until
from sandbox.sinks import _below_dump_lines, find_leaks
from sandbox.verifiers import verify_dkimpy
from sandbox.web import AGENT

from . import checkout
from .clean_root import packed_release
from .containers import Containers, services
from .mails import SHOP_NEWSLETTER, USER_UNKNOWN_REPORT

pytestmark = pytest.mark.slow

COMPOSE = checkout.ROOT / "packaging" / "compose.yaml"
APPLICATION = "172.30.25.10"
"""An address of the network of Compose; the name server and the mailbox provider are elsewhere."""

SUBMIT = """\
import smtplib, sys
source, host, port, sender, recipient = sys.argv[1:]
with smtplib.SMTP(host, int(port), source_address=(source, 0)) as smtp:
    print(smtp.sendmail(sender, recipient, sys.stdin.buffer.read()))
"""


@dataclass(frozen=True, slots=True)
class Site:
    """The running services, and the world outside."""

    containers: Containers
    network: Network
    sunk: Path
    dns_records: dict[str, str]

    def submit(self, raw: bytes, *words: str, outside: bool = False) -> str:
        """Send a mail; what the server answered. ``words``: as `SUBMIT` takes them."""
        site = self.network.sites[1 if outside else 0]
        argv = [*site.enter, sys.executable, "-c", SUBMIT, *words]
        done = subprocess.run(argv, input=raw, capture_output=True, timeout=60)
        return (done.stdout + done.stderr).decode()

    def curl(self, url: str, *words: str) -> str:
        argv = [*self.network.sites[0].enter, program("curl", "curl"), "--silent", "--insecure"]
        argv += ["--user-agent", AGENT]
        done = subprocess.run([*argv, *words, url], capture_output=True, text=True, timeout=60)
        return done.stdout

    def stats(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(
            self.containers.run("fletching", "stats", "--json")
        )["campaigns"]
        return found

    def arrived(self) -> tuple[bytes, str]:
        """The one mail that the mailbox provider has, and its envelope sender."""
        # smtp-sink(1) writes a mail as it comes.
        wait_until(
            "no mail", lambda: any(b"</p>" in file.read_bytes() for file in self.sunk.iterdir()), 60
        )
        (file,) = self.sunk.iterdir()
        dump = file.read_bytes()
        raw = _below_dump_lines(dump).replace(b"\n", b"\r\n")
        find_leaks(raw, "the mailbox provider")
        sender = re.search(rb"(?m)^X-Mail-Args: <([^>]*)>", dump)
        assert sender is not None
        return raw, sender[1].decode()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    # Where pytest's folders are, only root may enter; the containers' users must get to theirs.
    place = Path(tempfile.mkdtemp(prefix="fletching-images-", dir="/var/tmp"))
    place.chmod(0o755)
    (place / "sunk").mkdir()
    (place / "sunk").chmod(0o777)
    checkout.copy_to(place / "context")
    with Network() as network:
        inside, outside = network.sites
        address = ["ip", "address", "add", f"{APPLICATION}/32", "dev", "lo"]
        subprocess.run([*inside.enter, *address], check=True)
        containers = Containers(place, COMPOSE, inside.enter)
        world = [
            Daemon([*outside.enter, *argv], place / f"{argv[0].rpartition('/')[2]}.log")
            for argv in (name_server(outside.address), mailbox_provider(place, outside.address))
        ]
        try:
            for daemon in world:
                daemon.start(lambda: True)
            containers.hosts(["127.0.0.1 localhost redis"], outside.address)
            containers.import_base(packed_release())
            containers.build(place / "context")
            containers.start("redis")
            containers.run("fletching", "key", "new")
            records = dict(map(record, containers.run("fletching", "dkim", "new").splitlines()))
            for name in ("fletching", "postfix"):
                containers.start(name)
            # Caddy makes a certificate of its own for this name.
            containers.start("caddy", {"TRACKING_HOST": "localhost"})
            yield Site(containers, network, place / "sunk", records)
        finally:
            containers.stop()
            for daemon in world:
                daemon.kill()
            subprocess.run(["rm", "--recursive", "--force", str(place)], check=True)


def name_server(address: str) -> list[str]:
    words = ["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root"]
    words += ["--no-resolv", "--no-hosts", f"--listen-address={address}", "--bind-interfaces"]
    words += ["--mx-host=example.org,mx.example.org,10", f"--host-record=mx.example.org,{address}"]
    return [program("dnsmasq", "dnsmasq-base"), *words]


def mailbox_provider(place: Path, address: str) -> list[str]:
    sink = [program("smtp-sink", "postfix"), "-u", "nobody", "-R", str(place / "sunk")]
    return [*sink, "-d", "mail.", f"{address}:25", "10"]


def record(line: str) -> tuple[str, str]:
    """Name and text of a DNS record as `dkim new` prints it."""
    name, _, strings = line.partition(" IN TXT ")
    return name.rstrip("."), "".join(strings.split('"')[1::2])


def test_every_service_is_started() -> None:
    assert {*services(COMPOSE)} == {"redis", "fletching", "postfix", "caddy"}


def test_mail_leaves_signed_and_tracked_and_comes_back(site: Site) -> None:
    words = (APPLICATION, "127.0.0.1", "10587", "app@example.com", "joe@example.org")
    assert site.submit(SHOP_NEWSLETTER, *words) == "{}\n"
    raw, sender = site.arrived()
    assert b"X-GreenArrow" not in raw
    assert [each.passed for each in verify_dkimpy(raw, site.dns_records)] == [True]
    link = re.search(rb'href="https://click\.example\.com(/click\?[\w-]+)"', raw)
    assert link is not None
    where = ("--output", "/dev/null", "--write-out", "%{redirect_url}")
    url = f"https://localhost{link[1].decode()}"
    wait_until("no certificate", lambda: site.curl(url, *where) != "", 60)
    assert site.curl(url, *where) == "https://shop.example.com/1?a=b"

    here, outside = site.network.sites
    back = (outside.address, here.address, "25", "", sender)
    assert site.submit(USER_UNKNOWN_REPORT, *back, outside=True) == "{}\n"

    def counted() -> dict[str, object]:
        (campaign,) = site.stats()
        # Clicks so soon after the delivery may be a program's.
        clicked = campaign["clicks"] != 0 or campaign["bot_clicks"] != 0
        return {"clicked": clicked} | {
            name: campaign[name] for name in ("delivered", "bounces_hard")
        }

    expected = {"clicked": True, "delivered": 1, "bounces_hard": 1}
    with suppress(DidNotHappenError):
        wait_until("not counted", lambda: counted() == expected, 60)
    assert counted() == expected


def test_mail_from_outside_is_not_trusted(site: Site) -> None:
    here, outside = site.network.sites
    words = (outside.address, here.address, "25", "a@example.org")
    relayed = site.submit(SHOP_NEWSLETTER, *words, "joe@example.org", outside=True)
    assert "Relay access denied" in relayed
    unknown = site.submit(SHOP_NEWSLETTER, *words, "other@example.com", outside=True)
    assert "User unknown in relay recipient table" in unknown
