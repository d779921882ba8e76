"""Monitor: where seed copies arrived, from a real Dovecot and Redis to command and dashboard."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fletching import seed_report
from fletching.admin.monitor import campaign, monitored
from fletching.checks.finding import Level
from fletching.checks.monitor import check_seed_passwords
from fletching.config.load import load
from fletching.daemons.courier.monitoring import Monitoring
from fletching.daemons.dashboard.placements import PlacementTables
from fletching.keys.link_keys import read_link_keys
from fletching.monitor.looking import LONGEST, is_due
from fletching.numbering import Question
from fletching.placements import LATE, Copy, Placement, row_of, unpacked
from fletching.store import keys
from fletching.store.campaigns import Campaigns
from fletching.store.counts import Campaign
from fletching.store.placements import Placements
from fletching.store.seeds import Seeds
from fletching.tokens import Facts, Kind

from sandbox.dovecot import Dovecot
from sandbox.processes import free_port, private_directory
from sandbox.redis_cluster import Stores
from tests.cases import for_every
from tests.host import Host
from tests.setting import CAMPAIGN
from tests.stores import open_store

pytestmark = pytest.mark.slow

NOW = int(time.time())
SENT = NOW - 3600

# What is shown.

FOUND = Placement("a@example.com", "inbox", "INBOX", SENT + 90, 90, NOW)
ROWS = {
    "in the inbox": ({"sent": SENT, "known": FOUND}, ("inbox", "", 90, "")),
    "in the spam folder": (
        {"sent": SENT, "known": replace(FOUND, where="spam", folder="Junk")},
        ("spam", "Junk", 90, ""),
    ),
    "in another folder": (
        {"sent": SENT, "known": replace(FOUND, where="folder", folder="Offers")},
        ("folder", "Offers", 90, ""),
    ),
    "not sent": ({"sent": None, "known": None}, ("not_sent", "", None, "")),
    "never sent": ({"sent": None, "never": "ended"}, ("not_sent", "", None, "ended")),
    "refused": ({"sent": None, "refused": "550 no"}, ("failed", "", None, "550 no")),
    "no access": ({"sent": SENT, "is_readable": False}, ("no_access", "", None, "")),
    "not looked for yet": ({"sent": NOW - LATE}, ("waiting", "", None, "")),
    "not there yet": ({"sent": NOW - LATE, "known": Placement("a")}, ("waiting", "", None, "")),
    "not there": ({"sent": NOW - LATE - 1, "known": Placement("a")}, ("missing", "", None, "")),
    "not readable": (
        {"sent": SENT, "known": Placement("a", error="login refused")},
        ("unreadable", "", None, "login refused"),
    ),
}


@for_every(ROWS)
def test_row_of_a_seed(given: dict[str, Any], shown: tuple[str, str, int | None, str]) -> None:
    row = row_of("a", **({"known": None, "now": NOW, "is_readable": True} | given))
    assert (row.placement, row.folder, row.seconds, row.reason) == shown


def test_copy_is_late_after_ten_minutes() -> None:
    assert not replace(FOUND, seconds=LATE).is_late
    assert replace(FOUND, seconds=LATE + 1).is_late


def test_placement_is_the_same_after_json() -> None:
    assert unpacked(FOUND.packed) == FOUND


DUE = {
    "never looked for": (30, None, True),
    "looked for a moment ago": (300, Placement("a", looked=NOW - 59), False),
    "looked for a minute ago": (300, Placement("a", looked=NOW - 60), True),
    "sent an hour ago": (3600, Placement("a", looked=NOW - 359), False),
    "sent an hour ago, looked for 6 minutes ago": (3600, Placement("a", looked=NOW - 360), True),
    "found": (30, FOUND, False),
    "mailbox not readable": (300, Placement("a", looked=NOW - 599, error="x"), False),
    "mailbox not readable before": (300, Placement("a", looked=NOW - 600, error="x"), True),
    "sent more than a day ago": (LONGEST + 1, None, False),
}


@for_every(DUE)
def test_copy_is_due(age: int, known: Placement | None, due: bool) -> None:
    assert is_due(Copy("c", "a", NOW - age), known, NOW) == due


# With servers.

USERS = ("inbox", "spam", "folder", "missing", "late")
PASSWORD = "secret of the seeds"
PLACED = ("inbox", "spam", "folder", "missing", "late", "down", "wrong", "blind")
WITHOUT_ACCESS = ("blind", "due-later")


def seed_lists(port: int, closed: int) -> str:
    """The seed list: a seed has the login of its name; `wrong` has a wrong password for `inbox`."""
    entries = []
    for name in (*PLACED, "due-later"):
        if name in WITHOUT_ACCESS:
            entries.append(f"{name}@seeds.example")
            continue
        server = f"imaps://localhost:{closed if name == 'down' else port}"
        file = "wrong" if name == "wrong" else "password"
        login = "inbox" if name == "wrong" else name
        access = f"imap: '{server}', login: {login}, password_file: {file}"
        entries.append(f"{{address: {name}@seeds.example, {access}}}")
    return "seed_lists:\n  main:\n" + "".join(f"    - {entry}\n" for entry in entries)


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    with private_directory() as place:
        server = Dovecot(place / "dovecot", dict.fromkeys(USERS, PASSWORD))
        with server, pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", str(server.certificates.authority))
            yield server


@dataclass(frozen=True)
class Site:
    host: Host
    store: Stores
    dovecot: Dovecot

    def deliver(self, user: str, after: int, folder: str = "INBOX", *, seed: bool = True) -> None:
        """Puts the copy for a seed into its mailbox."""
        facts = Facts(
            campaign=CAMPAIGN,
            number=100 + len(user),
            mail_class="news",
            instance_id="1",
            sent=SENT,
            seed=seed,
        )
        sealed = read_link_keys(self.host.folder / "link-keys").seal(Kind.MAILER_INFO, facts)
        mail = f"X-Mailer-Info: {sealed}\nSubject: Offers\n\nHello\n".encode()
        self.dovecot.put(user, mail, SENT + after, folder)

    def placements(self) -> dict[str, tuple[str, str | None, float | None, bool]]:
        found = self.host.json("monitor", CAMPAIGN)
        return {
            row["seed"].partition("@")[0]: (
                *(row["placement"], row["folder"], row["minutes"], row["late"]),
            )
            for row in found["seeds"]
        }


@pytest.fixture
def site(tmp_path: Path, store: Stores, dovecot: Dovecot) -> Site:
    """A campaign whose copies were sent an hour ago."""
    host = Host(tmp_path)
    lists = seed_lists(dovecot.port, free_port())
    host.edit("redis://127.0.0.1:1/0", store.url)
    host.edit("  crm: {", "  news: {seed: {list: main, end: 100}}\n  crm: {")
    host.config.write_text(host.config.read_text() + lists)
    for name, text in (("password", PASSWORD), ("wrong", "not it")):
        (tmp_path / name).write_text(text + "\n")
        (tmp_path / name).chmod(0o600)
    for user in USERS:
        dovecot.empty(user)
    opened = open_store(store.url)
    question = Question(
        sendid="news1",
        mail_class="news",
        instance_id="1",
        monitor="",
        now=SENT,
        window=86400,
        candidate=CAMPAIGN,
        remember=(),
        bounce_memory=86400,
    )
    assert Campaigns(opened, 86400).campaign_of(question) is not None
    seeds = Seeds(opened)
    addresses = [f"{name}@seeds.example" for name in PLACED]
    seeds.claim(
        *(CAMPAIGN, addresses, b"x"), mail=1, list="main", about="", milliseconds=SENT * 1000
    )
    for claimed in seeds.of_campaign(CAMPAIGN):
        attempt = seeds.submitting(claimed, SENT * 1000)
        assert attempt is not None
        passed = (CAMPAIGN, 1, claimed.address, attempt.attempt, "info", SENT * 1000)
        assert seeds.passes(*passed)
        seeds.sent(attempt, SENT * 1000)
    found = Site(host, store, dovecot)
    found.deliver("inbox", 90)
    found.deliver("spam", 30, "Junk")
    found.deliver("folder", 0, "Offers")
    found.deliver("late", LATE + 60)
    return found


EXPECTED = {
    "inbox": ("inbox", None, 1.5, False),
    "spam": ("spam", "Junk", 0.5, False),
    "folder": ("folder", "Offers", 0.0, False),
    "missing": ("missing", None, None, False),
    "late": ("inbox", None, 11.0, True),
    "down": ("unreadable", None, None, False),
    "wrong": ("unreadable", None, None, False),
    "blind": ("no_access", None, None, False),
    "due-later": ("not_sent", None, None, False),
}


def test_each_seed_is_shown_where_its_copy_arrived(site: Site) -> None:
    assert site.placements() == EXPECTED
    table = site.host.run("monitor", "news1").stdout
    assert PASSWORD not in table
    for words in ("inbox, late", "spam folder", "missing", "login refused", "Connection refused"):
        assert words in table, words


def test_campaigns_are_listed_with_their_numbers(site: Site) -> None:
    (row,) = site.host.json("monitor")["campaigns"]
    assert (row["sendid"], row["inbox"], row["spam"], row["late"]) == ("news1", 2, 1, 1)
    assert "news1" in site.host.run("monitor").stdout


def test_copy_stays_known_when_it_is_deleted(site: Site) -> None:
    site.placements()
    for user in USERS:
        site.dovecot.empty(user)
    assert site.placements() == EXPECTED


def test_mail_of_the_campaign_that_is_no_copy_does_not_count(site: Site) -> None:
    site.deliver("missing", 10, seed=False)
    assert site.placements()["missing"] == ("missing", None, None, False)


def test_copy_that_turns_up_is_late(site: Site) -> None:
    assert site.placements()["missing"][0] == "missing"
    site.deliver("missing", 2000)
    assert site.placements()["missing"] == ("inbox", None, 33.3, True)


def test_follow_ends_when_all_is_known(site: Site) -> None:
    site.host.edit("    - due-later@seeds.example\n", "")
    result = site.host.run("monitor", CAMPAIGN, "--follow", "--json")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert {row["seed"] for row in rows} == {f"{name}@seeds.example" for name in PLACED}
    assert len(rows) == len(PLACED)


def test_mailbox_with_a_wrong_password_is_not_tried_again_and_again(site: Site) -> None:
    config = load(site.host.config)
    chosen = campaign(config, CAMPAIGN)
    monitored(config, [chosen])
    (site.host.folder / "wrong").write_text(PASSWORD)
    (found,) = monitored(config, [chosen], again=True)
    assert "unreadable" in {row.placement for row in found.rows if row.address.startswith("wrong")}
    (found,) = monitored(config, [chosen])
    assert "inbox" in {row.placement for row in found.rows if row.address.startswith("wrong")}


def test_follow_does_not_wait_for_a_campaign_that_ended(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seed_report, "IDLE", 60)
    result = site.host.run("monitor", CAMPAIGN, "--follow")
    assert len(result.stdout.splitlines()) == len(PLACED) + 1
    assert "the campaign ended before it was due" in result.stdout


def test_campaign_page_has_a_table_without_reading_mailboxes(site: Site) -> None:
    tables = PlacementTables(open_store(site.store.url), load(site.host.config))
    whose = Campaign(campaign=CAMPAIGN, sendid="news1", mail_class="news", opened=SENT)
    ((_, before),) = tables(whose)
    assert before.rows[0].cells[0].text == "missing"
    monitoring(site).process()
    ((title, after),) = tables(whose)
    assert title == "Seed placement"
    cells = {row.name: [cell.text for cell in row.cells] for row in after.rows}
    assert cells["late@seeds.example"] == ["inbox, late", "11.0"]
    assert cells["spam@seeds.example"] == ["spam folder", "0.5"]
    assert tables(replace(whose, campaign="b" * 12)) == []


def test_unknown_campaign(site: Site) -> None:
    assert site.host.run("monitor", "nosuch").exit_code == 1


def test_follow_requires_a_campaign(site: Site) -> None:
    assert site.host.run("monitor", "--follow").exit_code == 2


def monitoring(site: Site, now: float = NOW) -> Monitoring:
    config = load(site.host.config)
    keyring = read_link_keys(site.host.folder / "link-keys")
    return Monitoring(open_store(site.store.url), keyring, config, now=lambda: now)


def test_courier_looks_for_copies(site: Site) -> None:
    monitoring(site).process()
    found = Placements(open_store(site.store.url)).of_campaign(CAMPAIGN)
    assert found["inbox@seeds.example"].where == "inbox"
    assert found["missing@seeds.example"].where == ""
    assert found["down@seeds.example"].error == "Connection refused"
    assert "blind@seeds.example" not in found
    assert site.store.look.pttl(keys.placements(CAMPAIGN)) > 0


def test_courier_looks_for_a_copy_more_rarely_as_time_goes_on(site: Site) -> None:
    monitoring(site).process()
    site.deliver("missing", 2000)
    placements = Placements(open_store(site.store.url))
    monitoring(site, NOW + 200).process()
    assert not placements.of_campaign(CAMPAIGN)["missing@seeds.example"].is_found
    monitoring(site, NOW + 400).process()
    assert placements.of_campaign(CAMPAIGN)["missing@seeds.example"].is_found


def test_courier_watches_a_campaign_for_two_days(site: Site) -> None:
    placements = Placements(open_store(site.store.url))
    placements.watch(["old"], NOW - 3 * 86400)
    monitoring(site).process()
    assert placements.watched(0) == [CAMPAIGN]


def test_check_reads_the_password_files(site: Site) -> None:
    (fine,) = check_seed_passwords(load(site.host.config))
    assert (fine.level, fine.text) == (Level.OK, "readable password files: 7")
    (site.host.folder / "wrong").chmod(0o644)
    (site.host.folder / "password").write_text("\n")
    findings = [*check_seed_passwords(load(site.host.config))]
    assert [each.level for each in findings] == [Level.ERROR] * 7
    assert findings[0].place == "seed_lists.main[0].password_file"
