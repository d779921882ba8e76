"""Shadow mode in the milter: what is read from Redis, what is counted, and what an error does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fletching import shadow_counts
from fletching.daemons.milter import shadow
from fletching.daemons.milter.archiving import copy_of
from fletching.daemons.milter.mail import Mail
from fletching.daemons.milter.seeding import SeedClaims
from fletching.mail.message import Message
from fletching.numbering import SHADOW, Candidate, Numbered, Question
from fletching.outgoing.flow import Outcome
from fletching.policy.setup import Stamp
from fletching.shadow_counts import Counted
from fletching.store.campaigns import Campaigns
from fletching.store.shadow import ShadowCounts, since
from fletching.store.suppression import Suppression

from sandbox.processes import free_port
from sandbox.redis_cluster import Stores
from tests.cases import for_every
from tests.setting import (
    CAMPAIGN,
    ENTROPY,
    NOW,
    RECIPIENT,
    SITE,
    Store,
    carried,
    envelope,
    newsletter,
    setup,
)
from tests.stores import open_store
from tests.test_shadow import ALL, KEEPS, check_law, of_class

STAMP = Stamp(NOW, ENTROPY)
QUESTION = Question(
    "news1", "News", "1", "", 1_795_248_000, 86400, CAMPAIGN, (("email", "r@example.com"),), 86400,
    listid="t100", recipients=(RECIPIENT,), only_looks=True,
)  # fmt: skip


# Redis is only read.


@pytest.mark.parametrize("suppress", ["off", "report", "refuse"])
def test_question_that_only_looks_changes_nothing(store: Stores, suppress: str) -> None:
    campaigns = Campaigns(open_store(store.url))
    asked = replace(QUESTION, suppress=suppress, candidates=(Candidate("a"), Candidate("b")))
    for _ in range(3):
        assert campaigns.campaign_of(asked) == Numbered(SHADOW, 1, (), "a")
    assert store.keys() == []


def test_question_that_only_looks_says_who_is_suppressed(store: Stores) -> None:
    opened = open_store(store.url)
    Suppression(opened).add("t100", RECIPIENT, "complained", 1000)
    campaigns = Campaigns(opened)
    report, refuse = (replace(QUESTION, suppress=each) for each in ("report", "refuse"))
    assert campaigns.campaign_of(report) == Numbered(SHADOW, 1, ("complained",))
    assert campaigns.campaign_of(refuse) == Numbered("", 0, ("complained",))


def test_question_that_only_looks_has_no_answer_without_redis() -> None:
    campaigns = Campaigns(open_store(f"redis://127.0.0.1:{free_port()}/0"))
    assert campaigns.campaign_of(QUESTION) is None


def test_live_messages_are_numbered_from_1_after_messages_in_shadow(store: Stores) -> None:
    campaigns = Campaigns(open_store(store.url))
    live = replace(QUESTION, only_looks=False)
    answers = [campaigns.campaign_of(each) for each in (QUESTION, live, QUESTION, live)]
    assert [each.number for each in answers if each is not None] == [1, 1, 1, 2]


# What is counted.


def counted(message: Message, site: str, answer: Numbered) -> dict[str, int]:
    outcome = carried(message, opened=setup(site), store=Store(answer))
    found = shadow.counts(outcome, 0.004)
    return {each.text: number for each, number in found.items()}


def test_counts_of_a_newsletter() -> None:
    found = counted(newsletter("X-GreenArrow-Odd: 1"), ALL, Numbered(CAMPAIGN, 1))
    routes = [name for name in found if name.startswith("newsletter|route|")]
    assert routes in (["newsletter|route|a"], ["newsletter|route|b"])
    del found[routes[0]]
    assert found == {
        f"newsletter|time|{shadow_counts.bucket(0.004)}": 1,
        "newsletter|slowest|": 4000,
        "newsletter|verdict|accept": 1,
        "newsletter|warning|X-GreenArrow-Odd: unknown control header": 1,
        "newsletter|edit|add_header": 5,
        "newsletter|edit|delete_header": 5,
        "newsletter|edit|insert_header": 1,
        "newsletter|edit|change_sender": 1,
        "newsletter|edit|replace_body": 1,
        "newsletter|tracked|": 3,
        "newsletter|signature|example.com": 1,
    }


def test_counts_of_refused_mail_have_its_reply() -> None:
    found = counted(newsletter(), "suppress: refuse\n" + ALL, Numbered("", 0, ("by_hand",)))
    assert found["newsletter|verdict|reject"] == 1
    assert found["newsletter|reply|550 5.7.1 the recipient is suppressed for this list"] == 1
    assert not [name for name in found if "edit" in name]


def test_counts_after_an_error() -> None:
    outcome = carried(newsletter(), opened=setup(ALL))
    found = shadow.counts(replace(outcome, would=None), 1)
    assert found[Counted("newsletter", "verdict", "error")] == 1
    assert dict(shadow.facts(replace(outcome, would=None))) == {"would": "error"}


def test_message_in_shadow_is_neither_archived_nor_copied_to_seeds() -> None:
    site = ALL + "seed_lists: {main: [s@example.net]}\n"
    more = "seed: {list: main, start: 1, end: 1}, archive: {sample: 1.0, directory: archive}"
    for mode in ("shadow", "live"):
        opened = setup(site.replace("newsletter: {", f"newsletter: {{mode: {mode}, {more}, ", 1))
        outcome = carried(newsletter(), opened=opened)
        due = SeedClaims().due(outcome, newsletter(), envelope())
        assert (copy_of(outcome) is None, due is None) == (mode == "shadow", mode == "shadow")


def test_counts_of_two_processes_are_read_back_as_one(store: Stores) -> None:
    opened, now = open_store(store.url), 1_795_248_000
    outcome = carried(newsletter(), opened=setup(ALL))
    for seconds in (0.004, 0.002):
        counts = ShadowCounts(opened)
        for hour in (0, 3600):
            counts.add(now + hour, shadow.counts(outcome, seconds))
        assert not counts.write()
    first, found = since(opened, now - 7200, now + 3600)
    assert first == now // 3600
    assert found[Counted("newsletter", "verdict", "accept")] == 4
    assert found[Counted("newsletter", "slowest")] == 4000


# An error of ours.


BUG = RuntimeError("a bug")


def broken(*_: object) -> None:
    raise BUG


def unharmed(site: str) -> Outcome | None:
    """The outcome after an error; None if the error is raised."""
    try:
        return shadow.unharmed(newsletter(), envelope(), setup(site), STAMP, BUG)
    except RuntimeError:
        return None


def test_mail_in_shadow_is_accepted_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    outcome = unharmed(ALL)
    assert outcome is not None
    check_law(newsletter(), outcome)
    assert outcome.would is None
    logged = capfd.readouterr().err
    assert "mail_failed" in logged
    assert "a bug" in logged


@for_every([SITE, of_class("shadow: 0")])
def test_live_mail_is_not_accepted_after_an_error(site: str) -> None:
    assert unharmed(site) is None


@for_every([ALL, KEEPS])
def test_mail_is_accepted_if_not_even_its_class_is_known_but_all_mail_is_in_shadow(
    site: str,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shadow, "decide", broken)
        outcome = unharmed(site)
    assert outcome is not None
    check_law(newsletter(), outcome, keeps=site == KEEPS)


@for_every([SITE, of_class("mode: shadow"), "mode: shadow\n" + of_class("shadow: 0.9")])
def test_mail_is_not_accepted_if_its_mode_is_not_known(site: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shadow, "decide", broken)
        assert unharmed(site) is None


def collected(site: str) -> Mail:
    """A newsletter whose body could not be collected."""
    found = Mail(setup(site), "app@example.com", None, None, failure=BUG)
    for header in newsletter().headers:
        found.add_header(header.name.decode(), header.value.removeprefix(b" "))
    return found


def test_mail_that_could_not_be_collected_is_accepted_if_all_mail_is_in_shadow() -> None:
    outcome = shadow.uncollected(collected(ALL), envelope(), STAMP, BUG)
    check_law(replace(newsletter(), body=b""), outcome)
    for site in (SITE, of_class("mode: shadow")):
        with pytest.raises(RuntimeError):
            shadow.uncollected(collected(site), envelope(), STAMP, BUG)


def test_mail_whose_header_is_not_complete_is_not_accepted() -> None:
    mail = collected(ALL)
    with pytest.raises(UnicodeEncodeError):
        mail.add_header("Grüße", b"x")
    with pytest.raises(RuntimeError):
        shadow.uncollected(mail, envelope(), STAMP, BUG)
