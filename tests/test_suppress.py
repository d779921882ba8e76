"""`suppress`: what happens to mail to an address that is suppressed for its list."""

from __future__ import annotations

import queue
import shlex
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from fletching.admin.preview import preview
from fletching.config.load import ConfigError
from fletching.mail.envelope import Envelope, Recipient
from fletching.numbering import Numbered, Question
from fletching.outgoing.edits import RemoveRecipient
from fletching.policy.setup import Stamp
from fletching.policy.store_question import STORE_UNAVAILABLE, SUPPRESSED, TOO_MANY
from fletching.store import keys
from fletching.store.campaigns import Campaigns
from fletching.store.connection import Limits
from fletching.store.suppression import Suppression, entry_key, reason_in

from sandbox.processes import free_port, wait_until
from sandbox.redis_cluster import SHAPES, Stores, running
from sandbox.redis_server import RedisServer
from tests.cases import for_every
from tests.milter_daemon import ACCEPT, REPLY, Conversation, MilterDaemon, body, header, lua
from tests.setting import (
    CAMPAIGN,
    NOW,
    RECIPIENT,
    SITE,
    Store,
    carried,
    config,
    envelope,
    mail,
    newsletter,
    plan,
    reason,
    setup,
)
from tests.stores import open_store, statistics_of

pytestmark = pytest.mark.slow

NOWHERE = Path("/nowhere")
OTHER = "other@example.org"
_OTHER = f"<{OTHER}>"
REFUSE, REPORT = "suppress: refuse\n", "suppress: report\n"

# Decisions.


@pytest.mark.parametrize(
    ("of_class", "everywhere", "expected"),
    [
        ("", "", ("off", "global")),
        ("", "suppress: off", ("off", "global")),
        ("", "suppress: 'off'", ("off", "global")),
        ("", "suppress: report", ("report", "global")),
        ("suppress: refuse", "suppress: report", ("refuse", "class news")),
        ("suppress: off", "suppress: refuse", ("off", "class news")),
        ("suppress:", "suppress: refuse", ("refuse", "global")),
    ],
)
def test_suppress_of_the_class_wins_over_the_global_one(
    of_class: str, everywhere: str, expected: tuple[str, str]
) -> None:
    option = f", {of_class}" if of_class else ""
    site = f"{everywhere}\nmail_classes: {{news: {{list_id: t100{option}}}}}\n"
    found = plan(mail("X-GreenArrow-MailClass: news"), site=site)
    assert found.suppress == expected[0]
    assert reason(found, "suppress") == expected


@pytest.mark.parametrize("wrong", ["on", "true", "", "reject", "0"])
def test_other_values_of_suppress_are_errors(wrong: str) -> None:
    with pytest.raises(ConfigError, match="suppress"):
        config(f"suppress: {wrong}\n")


def test_suppression_is_off_without_a_list_id() -> None:
    site = f"{REFUSE}mail_classes: {{news: }}\n"
    field = "X-GreenArrow-MailClass: news"
    assert reason(plan(mail(field), site=site), "suppress") == ("off", "no ListID")
    assert plan(mail(field, "X-GreenArrow-ListID: t7"), site=site).suppress == "refuse"


OBSCURED = "X-GreenArrow-Obscured-Email: user-7"
AGGREGATE = SITE.replace("newsletter: {", "newsletter: {privacy: aggregate, ") + REFUSE


@for_every(
    {
        "one": (SITE + REFUSE, [], [RECIPIENT], [RECIPIENT]),
        "several": (SITE + REFUSE, [], [RECIPIENT, OTHER, RECIPIENT], [RECIPIENT, OTHER]),
        "one twice": (SITE + REFUSE, [], [RECIPIENT, "reader@EXAMPLE.org"], [RECIPIENT]),
        "several, one of them not UTF-8": (
            *(SITE + REFUSE, [], [RECIPIENT, "\udcff@x.example", OTHER], [RECIPIENT, OTHER]),
        ),
        "obscured": (SITE + REFUSE, [OBSCURED], [RECIPIENT], ["user-7"]),
        "obscured, but several": (SITE + REFUSE, [OBSCURED], [RECIPIENT, OTHER], []),
        "invalid obscured": (SITE + REFUSE, ["X-GreenArrow-Obscured-Email: ü"], [RECIPIENT], []),
        "aggregate": (AGGREGATE, [], [RECIPIENT], [RECIPIENT]),
        "aggregate, several": (AGGREGATE, [], [RECIPIENT, OTHER], [RECIPIENT, OTHER]),
        "aggregate, obscured": (AGGREGATE, [OBSCURED], [RECIPIENT], ["user-7"]),
        "nobody": (SITE + REFUSE, [], [], []),
    }
)
def test_addresses_that_are_looked_up(
    site: str, fields: list[str], to: list[str], expected: list[str]
) -> None:
    around = Envelope("app@example.com", tuple(map(Recipient, to)), "127.0.0.1")
    found = plan(newsletter(*fields), around, site)
    assert found.recipients == tuple(expected)
    source = ("refuse", "global") if expected else ("off", "no address to look up")
    assert reason(found, "suppress") == source
    if "aggregate" in site:
        assert (found.email, set(found.logged) & {*to}) == ("", set())


# A mail from end to end.


def asked(site: str, *fields: str) -> Question:
    store = Store()
    carried(newsletter(*fields), opened=setup(site), store=store)
    (question,) = store.questions
    return question


def test_question_to_the_store_has_list_and_recipient() -> None:
    assert asked(SITE).suppress == "off"
    question = asked(SITE + REPORT)
    assert (question.suppress, question.listid) == ("report", "t100")
    assert question.recipients == (RECIPIENT,)
    obscured = asked(SITE + REFUSE, "X-GreenArrow-Obscured-Email: user-7")
    assert (obscured.suppress, obscured.recipients) == ("refuse", ("user-7",))


def test_suppressed_recipient_is_rejected_with_refuse() -> None:
    store = Store(Numbered("", 0, ("unsubscribed",)))
    message = newsletter("X-GreenArrow-MtaID: nobody")
    outcome = carried(message, opened=setup(SITE + REFUSE), store=store)
    assert outcome.refusal == SUPPRESSED
    assert str(outcome.refusal) == "550 5.7.1 the recipient is suppressed for this list"
    assert outcome.edits == ()
    assert outcome.final == message
    assert outcome.facts is None
    assert outcome.warnings == outcome.plan.warnings != ()


def test_suppressed_recipient_is_a_warning_with_report() -> None:
    usual = carried(newsletter(), opened=setup(SITE + REPORT))
    store = Store(Numbered(CAMPAIGN, 1, ("complained",)))
    outcome = carried(newsletter(), opened=setup(SITE + REPORT), store=store)
    assert usual.warnings == ()
    assert outcome.warnings == ("suppressed: complained",)
    assert outcome.refusal is None
    assert outcome.edits == usual.edits


def test_suppressed_recipients_are_removed_and_the_others_get_the_mail() -> None:
    around = envelope(RECIPIENT, OTHER, "third@example.org")
    store = Store(Numbered(CAMPAIGN, 1, ("unsubscribed", "", "complained")))
    usual = carried(newsletter(), around, opened=setup(SITE + REFUSE))
    outcome = carried(newsletter(), around, opened=setup(SITE + REFUSE), store=store)
    assert outcome.refusal is None
    removed = [edit for edit in outcome.edits if isinstance(edit, RemoveRecipient)]
    assert removed == [RemoveRecipient(RECIPIENT), RemoveRecipient("third@example.org")]
    assert tuple(edit for edit in outcome.edits if edit not in removed) == usual.edits
    assert not isinstance(outcome.edits[-1], RemoveRecipient), "the body comes last"
    assert outcome.final == usual.final
    assert outcome.warnings == (*usual.warnings, "suppressed recipients removed: 2")
    assert outcome.plan.logged == (OTHER,)


def test_mail_is_rejected_if_all_recipients_are_suppressed() -> None:
    around = envelope(RECIPIENT, OTHER)
    store = Store(Numbered("", 0, ("unsubscribed", "complained")))
    outcome = carried(newsletter(), around, opened=setup(SITE + REFUSE), store=store)
    assert (outcome.refusal, outcome.edits) == (SUPPRESSED, ())


@pytest.mark.parametrize(("suppressed", "refused"), [(1000, False), (1001, True)])
def test_mail_with_too_many_suppressed_recipients_is_rejected(
    suppressed: int, refused: bool
) -> None:
    """Each removal costs Postfix more the more recipients there are."""
    around = envelope(*(f"r{number}@example.org" for number in range(2000)))
    reasons = ("by_hand",) * suppressed + ("",) * (2000 - suppressed)
    store = Store(Numbered(CAMPAIGN, 1, reasons))
    outcome = carried(newsletter(), around, opened=setup(SITE + REFUSE), store=store)
    assert outcome.refusal == (TOO_MANY if refused else None)
    assert (outcome.edits == ()) is refused


def test_report_warns_of_each_reason_once() -> None:
    around = envelope(RECIPIENT, OTHER, "third@example.org", "fourth@example.org")
    store = Store(Numbered(CAMPAIGN, 1, ("complained", "", "complained", "by_hand")))
    usual = carried(newsletter(), around, opened=setup(SITE + REPORT))
    outcome = carried(newsletter(), around, opened=setup(SITE + REPORT), store=store)
    assert outcome.edits == usual.edits
    assert outcome.warnings == (*usual.warnings, "suppressed: complained", "suppressed: by_hand")


def test_suppressed_recipient_gets_mail_with_off() -> None:
    store = Store(Numbered(CAMPAIGN, 1, ("complained",)))
    outcome = carried(newsletter(), store=store)
    assert outcome.refusal is None
    assert outcome.warnings == ()


def test_suppression_follows_on_store_failure_without_the_store() -> None:
    message, away = newsletter(), Store(None)
    assert carried(message, opened=setup(SITE + REFUSE), store=away).refusal == STORE_UNAVAILABLE
    untracked = setup(SITE + REFUSE + "on_store_failure: untracked\n")
    outcome = carried(message, opened=untracked, store=away)
    assert outcome.refusal is None
    assert outcome.untracked


def test_preview_does_not_ask_the_store_for_suppression() -> None:
    stamp = Stamp(NOW, bytes(8))
    outcome = preview(newsletter(), envelope(), setup(SITE + REFUSE), stamp)
    assert outcome.refusal is None
    assert outcome.warnings == ()


# What the store answers.


@pytest.fixture(scope="module", params=SHAPES)
def _stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    with running(request.param) as stores:
        yield stores


@pytest.fixture
def stores(_stores: Stores) -> Stores:
    _stores.flush()
    return _stores


def question(suppress: str, *recipients: str, listid: str = "t100") -> Question:
    return Question(
        sendid="news1",
        mail_class="news",
        instance_id="1",
        monitor="",
        now=1_700_000_000,
        window=86400,
        candidate=CAMPAIGN,
        remember=(),
        bounce_memory=86400,
        listid=listid,
        suppress=suppress,
        recipients=recipients or (RECIPIENT,),
    )


def test_store_answers_the_reason_of_the_suppression(stores: Stores) -> None:
    Suppression(open_store(stores.url)).add("T100", "Reader@Example.org", "unsubscribed", 1000)
    campaigns = Campaigns(open_store(stores.url))
    refused = Numbered("", 0, ("unsubscribed",))
    # Before the campaign is known, and when it is.
    assert campaigns.campaign_of(question("refuse")) == refused
    assert stores.keys() == [keys.suppressed("t100"), keys.SUPPRESSION]
    assert campaigns.campaign_of(question("off")) == Numbered(CAMPAIGN, 1)
    assert campaigns.campaign_of(question("refuse")) == refused
    reported = campaigns.campaign_of(question("report", "READER@example.org"))
    assert reported == Numbered(CAMPAIGN, 2, ("unsubscribed",))
    assert campaigns.campaign_of(question("refuse", listid="t200")) == Numbered(CAMPAIGN, 3)
    assert campaigns.campaign_of(question("refuse", "other@example.org")) == Numbered(CAMPAIGN, 4)
    assert Campaigns(open_store(stores.url)).campaign_of(question("report")) == Numbered(
        CAMPAIGN, 5, ("unsubscribed",)
    )


def test_store_answers_for_all_recipients_in_one_round_trip(stores: Stores) -> None:
    lists = Suppression(open_store(stores.url))
    lists.add("t100", RECIPIENT, "unsubscribed", 1000)
    lists.add("t100", OTHER, "complained", 1000)
    campaigns = Campaigns(open_store(stores.url))
    some = ("third@example.org", RECIPIENT.upper(), OTHER)
    reasons = ("", "unsubscribed", "complained")
    for number in (1, 2):
        assert campaigns.campaign_of(question("refuse", *some)) == (
            Numbered(CAMPAIGN, number, reasons)
        )
        # All of them, and none.
        assert campaigns.campaign_of(question("refuse", *some[1:])) == Numbered("", 0, reasons[1:])
    assert campaigns.campaign_of(question("refuse", "x@y", "y@z")) == Numbered(CAMPAIGN, 3)
    assert campaigns.campaign_of(question("report", RECIPIENT)) == (
        Numbered(CAMPAIGN, 4, ("unsubscribed",))
    )


@pytest.mark.parametrize(
    "odd", ["ünï@example.org", "\udcff@example.org", "a\0b@x", "a b", "x" * 500]
)
def test_address_of_any_bytes_can_be_suppressed(stores: Stores, odd: str) -> None:
    Suppression(open_store(stores.url)).add("t100", odd, "bad_address", 1000)
    campaigns = Campaigns(open_store(stores.url))
    for _ in range(2):
        assert campaigns.campaign_of(question("refuse", odd)) == Numbered("", 0, ("bad_address",))
        assert campaigns.campaign_of(question("refuse", f"{odd}x")) is not None


def test_key_and_field_of_a_suppressed_address() -> None:
    assert entry_key("T 100", "A@X", "b@X") == (keys.suppressed("t 100"), "a@x", "b@x")
    assert reason_in(None) == ""
    assert reason_in("1000 by_hand") == "by_hand"
    assert reason_in("1000") == "unknown"


def test_suppression_off_costs_no_round_trip(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    def entry_key(listid: str, *addresses: str) -> tuple[str, ...]:
        raise AssertionError("nobody asks")

    monkeypatch.setattr("fletching.store.campaigns.entry_key", entry_key)
    campaigns = Campaigns(open_store(stores.url))
    for number in (1, 2):
        assert campaigns.campaign_of(question("off")) == Numbered(CAMPAIGN, number)


def test_slow_first_answer_leaves_no_time_for_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    returned, told = threading.Event(), queue.Queue[bool]()

    def slowly(value: str | None) -> str:
        if threading.current_thread() is threading.main_thread():
            time.sleep(0.2)
        else:
            told.put(returned.wait(30))
        return reason_in(value)

    with RedisServer() as redis:
        campaigns = Campaigns(open_store(redis.url, Limits(answer=1.0, socket=0.9)))
        campaigns.campaign_of(question("off"))
        monkeypatch.setattr("fletching.store.campaigns.reason_in", slowly)
        assert campaigns.campaign_of(question("refuse")) is None
        returned.set()
        assert told.get(timeout=30), "the mail waited for the second answer"
        monkeypatch.undo()
        assert campaigns.campaign_of(question("refuse")) == Numbered(CAMPAIGN, 2)


# A milter and a Redis.

NEWS = """
default_mail_class: news
suppress: refuse
mail_classes:
  news: {list_id: t100}
  told: {list_id: t100, suppress: report}
  all: {list_id: t100, suppress: off}
"""
FROM = header("From", "app@example.com")


@pytest.fixture(scope="module")
def _redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis(_redis: RedisServer) -> RedisServer:
    _redis.client.flushall()
    return _redis


@pytest.fixture(scope="module")
def _milter(_redis: RedisServer) -> Iterator[MilterDaemon]:
    with MilterDaemon(_redis.url, NEWS) as milter:
        yield milter


@pytest.fixture
def milter(_milter: MilterDaemon, redis: RedisServer) -> MilterDaemon:
    Suppression(open_store(redis.url)).add("t100", RECIPIENT, "unsubscribed", 1000)
    _milter.forget()
    return _milter


def sent(milter: MilterDaemon, *headers: str, to: str = RECIPIENT) -> Conversation:
    """A mail to that recipient, and whether it was refused for suppression."""
    reply = ", ".join(map(lua, ("550", "5.7.1", SUPPRESSED.text)))
    return milter.talk(
        "conn = open()",
        *("begin(conn)", f"rcpt(conn, {lua(f'<{to}>')})", FROM, *headers),
        *(body(b"Hello.\r\n"), "finish(conn)"),
        f'out("left", tostring(mt.eom_check(conn, MT_SMTPREPLY, {reply})))',
        "mt.disconnect(conn)",
    ).end()


def refused(told: Conversation) -> bool:
    assert (told.replies, told.all("left")) in (([REPLY], [b"true"]), ([ACCEPT], [b"false"]))
    return told.replies == [REPLY]


def logged(milter: MilterDaemon, count: int) -> list[list[str]]:
    return [shlex.split(line)[1:] for line in milter.wait_for("mail", count)]


def test_unsubscribed_recipient_gets_no_mail_of_the_list(
    milter: MilterDaemon, redis: RedisServer
) -> None:
    assert refused(sent(milter))
    assert refused(sent(milter, to="READER@Example.Org"))
    assert refused(sent(milter, header("X-GreenArrow-ListID", "T100")))
    # None of them got a number.
    assert not statistics_of(redis.url).campaigns()
    assert not refused(sent(milter, to="other@example.org"))
    assert not refused(sent(milter, header("X-GreenArrow-ListID", "t200")))
    assert refused(sent(milter))
    assert not refused(sent(milter, to="other@example.org"))
    lines = logged(milter, 7)
    assert [line for line in lines if "verdict=reject" in line] == [*lines[:3], lines[5]]
    assert [fact for line in lines for fact in line if fact.startswith("number=")] == [
        "number=1", "number=2", "number=3",
    ]  # fmt: skip
    assert f"reply={SUPPRESSED}" in lines[0]
    assert not any(fact.startswith("campaign=") for fact in lines[0])


def test_obscured_address_is_looked_up(milter: MilterDaemon, redis: RedisServer) -> None:
    Suppression(open_store(redis.url)).add("t100", "User-7", "complained", 1000)
    assert refused(
        sent(milter, header("X-GreenArrow-Obscured-Email", "user-7"), to="x@example.org")
    )
    assert not refused(sent(milter, header("X-GreenArrow-Obscured-Email", "user-8")))


def test_suppressed_recipients_of_several_are_removed(
    milter: MilterDaemon, redis: RedisServer
) -> None:
    def to_both(*headers: str) -> Conversation:
        return milter.talk(
            "conn = open()",
            *("begin(conn)", f"rcpt(conn, {lua(f'<{RECIPIENT}>')})", f"rcpt(conn, {lua(_OTHER)})"),
            *(FROM, *headers, body(b"Hello.\r\n"), "finish(conn)"),
            f"out('gone', tostring(mt.eom_check(conn, MT_RCPTDELETE, {lua(f'<{RECIPIENT}>')})))",
            f"out('left', tostring(mt.eom_check(conn, MT_RCPTDELETE, {lua(_OTHER)})))",
            "mt.disconnect(conn)",
        ).end()

    conversation = to_both()
    assert conversation.replies == [ACCEPT]
    assert (conversation.all("gone"), conversation.all("left")) == ([b"true"], [b"false"])
    (line,) = logged(milter, 1)
    assert "warning=suppressed recipients removed: 1" in line
    assert [fact for fact in line if fact.startswith("rcpt=")] == [f"rcpt={OTHER}"]
    Suppression(open_store(redis.url)).add("t100", OTHER, "by_hand", 1000)
    assert to_both().replies == [REPLY]
    assert to_both(header("X-GreenArrow-MailClass", "told")).replies == [ACCEPT]


def test_report_is_a_warning_in_the_log(milter: MilterDaemon, redis: RedisServer) -> None:
    told = header("X-GreenArrow-MailClass", "told")
    assert not refused(sent(milter, told))
    assert not refused(sent(milter, told, to="other@example.org"))
    warning = "suppressed: unsubscribed"
    with_it, without = logged(milter, 2)
    assert f"warning={warning}" in with_it
    assert f"warning={warning}" not in without
    statistics = statistics_of(redis.url)
    (campaign,) = statistics.campaigns()
    counted = partial(statistics.warnings, campaign.campaign)
    wait_until("the warning is not counted", lambda: warning in dict(counted()))
    assert dict(counted())[warning] == 1


def test_class_with_suppress_off_writes_to_everybody(milter: MilterDaemon) -> None:
    assert not refused(sent(milter, header("X-GreenArrow-MailClass", "all")))
    (line,) = logged(milter, 1)
    assert not [fact for fact in line if "suppressed" in fact]


def test_removed_address_gets_mail_again(milter: MilterDaemon) -> None:
    assert refused(sent(milter))
    milter.fletching("suppression", "remove", "t100", RECIPIENT)
    assert not refused(sent(milter))


@pytest.mark.parametrize(
    ("reaction", "verdict"), [("tempfail", "tempfail"), ("untracked", "accept")]
)
def test_suppressed_mail_follows_on_store_failure_without_redis(
    reaction: str, verdict: str
) -> None:
    nobody = f"redis://127.0.0.1:{free_port()}/0"
    with MilterDaemon(nobody, f"{NEWS}on_store_failure: {reaction}\n") as milter:
        milter.mail(FROM)
        (line,) = logged(milter, 1)
    assert f"verdict={verdict}" in line
