"""What is told of a campaign's seeds, on the terminal and in the dashboard."""

from __future__ import annotations

from dataclasses import replace

from fletching.daemons.dashboard.seeds import table
from fletching.numbering import campaign_id
from fletching.seed_report import IDLE, SeedReport, has_seeds, report
from fletching.store.counts import Campaign
from fletching.store.seeds import CampaignProgress, ClaimedSeed, SeedState

from tests.cases import for_every
from tests.setting import config

OPENED = 1_795_259_482
C = campaign_id(OPENED, bytes(4))
CAMPAIGN = Campaign(campaign=C, sendid="news1", mail_class="news", opened=OPENED, monitor=C)
SITE = config(
    "link_keys: k\nmail_classes: {news: {seed: {list: main, start: 1, end: 10000}}}\n"
    "seed_lists: {main: [S1@example.net, s2@example.net, s3@example.net]}\n"
)
SENT, WAITING, FAILED = SeedState.SENT, SeedState.WAITING, SeedState.FAILED


def seed(number: int, state: SeedState = SENT, **more: object) -> ClaimedSeed:
    found = ClaimedSeed(C, f"s{number}@example.net", state, "main", mail=number, claimed=1000)
    return replace(found, changed=2000, attempt=1, **more)  # type: ignore[arg-type]


def reported(*claimed: ClaimedSeed, later: int = 60, at: int = OPENED) -> SeedReport:
    progress = CampaignProgress(1, at)
    return report(SITE, CAMPAIGN, claimed, progress, OPENED + later)


@for_every(
    {
        "none": ((), 60, "copies sent: 0 of 3, not due yet: 3"),
        "one": ((seed(1),), 60, "copies sent: 1 of 3, not due yet: 2"),
        "ended": (
            (seed(1),),
            IDLE + 1,
            "copies sent: 1 of 3, not due before the campaign ended: 2",
        ),
        "all": ((seed(1), seed(2), seed(3)), IDLE + 1, "copies sent: 3 of 3"),
        "trouble": (
            (seed(1), seed(2, FAILED), seed(3, WAITING)),
            60,
            "copies sent: 1 of 3, waiting: 1, failed: 1",
        ),
    }
)
def test_summary(claimed: tuple[ClaimedSeed, ...], later: int, expected: str) -> None:
    assert reported(*claimed, later=later).summary == expected


def test_campaign_with_a_message_in_the_last_day_has_not_ended() -> None:
    assert not reported(at=OPENED + 5 * IDLE, later=6 * IDLE).ended
    assert reported(at=OPENED + 5 * IDLE, later=6 * IDLE + 1).ended
    assert reported(at=OPENED + 22 * IDLE, later=22 * IDLE).ended


def test_rows_follow_the_list_and_name_the_due_points() -> None:
    found = reported(seed(2, WAITING, reply="451 later"), seed(9))
    assert [(row.address, row.state, row.due) for row in found.rows] == [
        ("s1@example.net", "not due", "message 1"),
        ("s2@example.net", "waiting", "message 3334"),
        ("s3@example.net", "not due", "message 6667"),
        ("s9@example.net", "sent", "message 10000"),
    ]
    assert (found.rows[1].reply, found.rows[1].sent) == ("451 later", 0)
    assert (found.rows[3].message, found.rows[3].claimed, found.rows[3].sent) == (9, 1000, 2000)


def test_due_points_are_percentages_if_the_mail_says_its_progress() -> None:
    found = reported(seed(1, progress=0.5))
    assert [row.due for row in found.rows] == ["0 %", "50 %", "100 %"]


def test_campaign_has_seeds_if_one_is_claimed_or_its_mail_has_our_campaign_id() -> None:
    other = replace(CAMPAIGN, monitor="theirs")
    assert has_seeds(CAMPAIGN, ())
    assert has_seeds(other, (seed(1),))
    assert not has_seeds(other, ())


def test_table_of_the_dashboard() -> None:
    shown = table(reported(seed(1), seed(2, FAILED, reply="550 no")))
    assert shown.caption == "copies sent: 1 of 3, failed: 1, not due yet: 1"
    assert [row.name for row in shown.rows] == [f"s{number}@example.net" for number in (1, 2, 3)]
    texts = [[cell.text for cell in row.cells] for row in shown.rows]
    assert [text[0] for text in texts] == ["sent", "failed", "not due"]
    assert texts[1][5] == "550 no"
    assert texts[2][2:] == ["", "", "", ""]
