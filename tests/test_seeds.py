"""Seeds, without Redis and Postfix: when they are due, who has them, what becomes of a copy."""

from __future__ import annotations

from dataclasses import replace

from fletching.daemons.milter.seeding import SeedClaims
from fletching.mail.message import Message, parse
from fletching.numbering import Numbered
from fletching.outgoing.edits import Discard
from fletching.outgoing.seeds import SeedContent, due, due_points
from fletching.policy.decide import SEED_WITHOUT_CLASS
from fletching.policy.plan import Plan, Seeding
from fletching.policy.seed_copy import SeedCopy
from fletching.policy.store_question import STORE_UNAVAILABLE
from fletching.tokens import Facts
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import for_every
from tests.setting import (
    CAMPAIGN,
    CLASSIFIED,
    KEYRING,
    RECIPIENT,
    SITE,
    Store,
    carried,
    envelope,
    mail,
    plan,
    setup,
    tokens,
)

SEEDED = SITE.replace("{list_id: t100,", "{list_id: t100, seed: {list: main, end: 101},") + (
    "seed_lists: {main: [s1@example.net, S2@example.net, s3@example.net], none: []}\n"
)
SEEDS = ("s1@example.net", "s2@example.net", "s3@example.net")
YES, NO = "X-GreenArrow-SeedDo: yes", "X-GreenArrow-SeedDo: no"
HALF = "X-GreenArrow-SeedProgress: 50.00"


def seeding(count: int, start: int, end: int, progress: float | None = None) -> Seeding:
    return Seeding("main", tuple(f"s{n}@example.net" for n in range(count)), start, end, progress)


# When a seed is due.

points = st.tuples(st.integers(0, 50), st.integers(1, 10**6), st.integers(0, 10**6))


@given(points, st.integers(1, 3 * 10**6), st.integers(0, 2**22 - 1))
def test_as_many_seeds_are_due_as_due_points_are_passed(
    where: tuple[int, int, int], number: int, lost: int
) -> None:
    count, start, length = where
    found = due(seeding(count, start, start + length), lost << 28 | number)
    steps = max(1, count - 1)
    assert found == sum((number - start) * steps >= i * length for i in range(count))


@given(points, st.floats(0, 100))
def test_progress_counts_instead_of_the_number(
    where: tuple[int, int, int], progress: float
) -> None:
    count, start, length = where
    found = due(seeding(count, start, start + length, progress), 1)
    assert found == sum(progress * max(1, count - 1) / 100 >= i for i in range(count))


@for_every(
    {
        "before the first": (seeding(3, 5, 9), 4, 0),
        "first": (seeding(3, 5, 9), 5, 1),
        "second": (seeding(3, 5, 9), 7, 2),
        "last": (seeding(3, 5, 9), 9, 3),
        "after the last": (seeding(3, 5, 9), 10**6, 3),
        "all at once": (seeding(3, 5, 5), 5, 3),
        "one seed": (seeding(1, 5, 9), 5, 1),
        "no seeds": (seeding(0, 5, 9), 7, 0),
        "progress 0": (seeding(3, 5, 9, 0.0), 1, 1),
        "progress 49.99": (seeding(3, 5, 9, 49.99), 1, 2 - 1),
        "progress 50": (seeding(3, 5, 9, 50.0), 1, 2),
        "progress 100": (seeding(3, 5, 9, 100.0), 1, 3),
        "one seed by progress": (seeding(1, 5, 9, 0.0), 1, 1),
    }
)
def test_due(found: Seeding, number: int, count: int) -> None:
    assert due(found, number) == count


def test_due_points_are_spread_evenly() -> None:
    assert due_points(5, 0, 100) == (0, 25, 50, 75, 100)
    assert due_points(1, 7, 100) == (7,)


# Whether a campaign has seeds.


@for_every(
    {
        "class": ((), SEEDED, Seeding("main", SEEDS, 1, 101)),
        "SeedDo no": ((NO,), SEEDED, None),
        "progress": ((HALF,), SEEDED, Seeding("main", SEEDS, 1, 101, 50.0)),
        "class without seed": ((), SEEDED.replace("seed: {list: main, end: 101},", ""), None),
        "SeedDo yes": (
            (YES,),
            SEEDED.replace("seed: {list: main, end: 101},", ""),
            Seeding("main", SEEDS, 1, 3),
        ),
        "SeedDo yes with one list": (
            (YES,),
            SITE + "seed_lists: {other: [a@example.net]}\n",
            Seeding("other", ("a@example.net",), 1, 1),
        ),
    }
)
def test_seeds_of_a_campaign(fields: tuple[str, ...], site: str, expected: Seeding | None) -> None:
    found = plan(mail(CLASSIFIED, *fields), site=site)
    assert found.seeding == expected
    assert found.warnings == ()


def test_seed_do_without_a_list_is_a_warning() -> None:
    found = plan(mail(CLASSIFIED, YES))
    assert found.seeding is None
    assert found.warnings == (
        "no seed copies: the class has no seed, and a seed list named main is not set",
    )


# X-CampaignID.


def campaign_ids(message: Message) -> list[bytes]:
    return [field.text for field in message.all(b"x-campaignid")]


@for_every(
    {
        "none given": ((), [CAMPAIGN.encode()]),
        "replaced": (("X-CampaignID: theirs", "x-campaignid: again"), [CAMPAIGN.encode()]),
        "SeedDo no": (("X-CampaignID: theirs", NO), [b"theirs"]),
    }
)
def test_seeding_sets_the_campaign_id(fields: tuple[str, ...], expected: list[bytes]) -> None:
    store = Store()
    outcome = carried(mail(CLASSIFIED, *fields), opened=setup(SEEDED), store=store)
    assert campaign_ids(outcome.final) == expected
    (question,) = store.questions
    assert (question.monitor == question.candidate) == (expected != [b"theirs"])


def test_without_store_the_campaign_id_stays() -> None:
    site = SEEDED + "on_store_failure: untracked\n"
    outcome = carried(
        mail(CLASSIFIED, "X-CampaignID: theirs"), opened=setup(site), store=Store(None)
    )
    assert campaign_ids(outcome.final) == [b"theirs"]


# Copies.

COPIED = Facts(CAMPAIGN, 7, "newsletter", "100525", "other", "", SEEDS[0], "b", 1)
COPY = SeedCopy(COPIED, 2, "192.0.2.9", "shop")


def copy_of(
    *fields: str, copy: SeedCopy = COPY, to: tuple[str, ...] = (SEEDS[0],), site: str = SEEDED
) -> Plan:
    token = f"X-Fletching-Seed: {copy.token(KEYRING)}"
    return plan(mail(token, *fields), envelope(*to, client="198.51.100.7"), site=site)


def test_copy_from_any_client_is_given_what_the_copied_mail_was_given() -> None:
    found = copy_of("X-GreenArrow-MailClass: crm", "X-GreenArrow-InstanceID: 9", YES)
    assert found.trusted
    assert found.seed_copy == COPY
    assert (found.sendid, found.listid) == ("newsletter100525", "other")
    assert [member.name for member in found.candidates] == ["b"]
    assert (found.email, found.suppress, found.seeding) == (SEEDS[0], "off", None)
    assert found.campaign_ids == frozenset()


LIMITED = SEEDED.replace("b: {transport: vmta-b", "b: {limits: {day: 9}, transport: vmta-b")


@for_every(
    {
        "no limits": (SEEDED, frozenset(), ["b"]),
        "limits": (LIMITED, frozenset(), ["b", "a"]),
        "paused": (SEEDED.replace(", fallback: a}", "}"), frozenset({"b"}), ["a"]),
    }
)
def test_copy_goes_to_the_rest_of_the_pool_if_its_member_has_no_room(
    site: str, paused: frozenset[str], names: list[str]
) -> None:
    token = f"X-Fletching-Seed: {COPY.token(KEYRING)}"
    message = mail(token, "X-GreenArrow-MtaID: bulk")
    found = plan(message, envelope(SEEDS[0]), site=site, paused=paused)
    assert [member.name for member in found.candidates] == names


def test_copy_of_a_class_that_is_gone_is_refused() -> None:
    gone = replace(COPY, facts=replace(COPIED, mail_class="gone"))
    with_default = f"{SEEDED}\ndefault_mail_class: newsletter\n"
    assert copy_of(copy=gone, site=with_default).refusal == SEED_WITHOUT_CLASS


def test_copy_does_not_name_the_recipient_that_was_obscured() -> None:
    assert copy_of("X-GreenArrow-Obscured-Email: customer7").email == SEEDS[0]


def test_copy_belongs_to_its_seed_alone() -> None:
    for to in ((SEEDS[1],), (SEEDS[0], SEEDS[1]), (RECIPIENT,)):
        found = copy_of(to=to)
        assert not found.trusted
        assert found.seed_copy is None
        assert len(found.remove) == 1


def test_forged_seed_header_is_removed() -> None:
    forged = [f"X-Fletching-Seed: {value}" for value in ("", "x", COPY.token(KEYRING)[:-2] + "AA")]
    for client in ("127.0.0.1", "198.51.100.7"):
        found = plan(mail(*forged), envelope(SEEDS[0], client=client), site=SEEDED)
        assert found.seed_copy is None
        assert len(found.remove) == len(forged)


def test_tokens_of_a_copy_are_marked() -> None:
    token = f"X-Fletching-Seed: {COPY.token(KEYRING)}"
    message = mail(token, body="http://www.example.org/ \n")
    outcome = carried(message, envelope(SEEDS[0]), setup(SEEDED), Store(Numbered(CAMPAIGN, 9)))
    assert outcome.facts is not None
    assert (outcome.facts.seed, outcome.facts.number) == (True, 9)
    found = tokens(outcome)
    assert found
    assert all(token.facts.seed for token in found)


CONTENTS = st.builds(
    SeedContent,
    st.text(st.characters(exclude_categories=()), max_size=20),
    st.just("192.0.2.1"),
    st.none() | st.text(max_size=9),
    st.binary(max_size=99),
)


@given(CONTENTS)
def test_content_is_the_same_after_redis(content: SeedContent) -> None:
    assert SeedContent.unpacked(content.packed()) == content


def test_content_is_the_mail_as_submitted() -> None:
    raw = b"X-GreenArrow-MailClass: a\r\nSubject: x\r\n y\r\nX-Fletching-Seed: z\r\n\r\nbody\r\n"
    content = SeedContent.of(parse(raw), envelope(sender="a@example.com", login="shop"))
    assert content.message == raw.replace(b"X-Fletching-Seed: z\r\n", b"")
    copy = parse(content.with_token("T" * 200))
    assert bytes(replace(copy, headers=copy.headers[1:])) == content.message
    assert copy.headers[0].text.replace(b" ", b"") == b"T" * 200


# What a worker remembers.


def claims_of(memory: SeedClaims, number: int, site: str = SEEDED, *fields: str) -> tuple[str, ...]:
    """The seeds that a mail with this number may have to claim."""
    message = mail(CLASSIFIED, *fields)
    outcome = carried(message, opened=setup(site), store=Store(Numbered(CAMPAIGN, number)))
    found = memory.due(outcome, message, envelope())
    return () if found is None else found.seeds


def test_worker_keeps_the_content_once_for_each_due_point() -> None:
    now = 0.0
    memory = SeedClaims(pending=5, clock=lambda: now)
    assert claims_of(memory, 1) == SEEDS[:1]
    assert claims_of(memory, 2) == ()
    assert claims_of(memory, 51) == SEEDS[:2]
    assert claims_of(memory, 52) == ()
    # Redis did not answer, so that the claim was not made.
    now = 5.0
    assert claims_of(memory, 53) == SEEDS[:2]


def test_discarded_and_refused_mail_has_no_seeds() -> None:
    message = mail(CLASSIFIED)
    outcome = carried(message, opened=setup(SEEDED))
    for other in (
        replace(outcome, edits=(Discard(),)),
        outcome.refused(STORE_UNAVAILABLE),
        replace(outcome, facts=None),
    ):
        assert SeedClaims().due(other, message, envelope()) is None
