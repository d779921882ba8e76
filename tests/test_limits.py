"""Limits of VirtualMTAs: what their caps are at a time, what counts, and who gets the mail then."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from fletching.admin.preview import preview
from fletching.config.limits import Warmup
from fletching.mail.envelope import Recipient
from fletching.numbering import Numbered
from fletching.policy import limits
from fletching.policy.plan import Plan
from fletching.policy.setup import Stamp
from fletching.policy.store_question import (
    NO_ROOM,
    NOT_CHECKED,
    OVER_LIMIT,
    STORE_UNAVAILABLE,
    after_answer,
    question,
)
from fletching.providers import Providers
from hypothesis import given
from hypothesis import strategies as st

from tests.setting import CAMPAIGN, ENTROPY, NOW, config, envelope, mail, plan, reason, setup

BERLIN = ZoneInfo("Europe/Berlin")
SITE = """\
providers: {google: [gmail.com, googlemail.com]}
mail_classes:
  one: {virtual_mta: a}
  pool: {virtual_mta: pool}
  free: {virtual_mta: d}
virtual_mtas:
  a: {transport: vmta-a, limits: {hour: 5, day: 20}, fallback: b}
  b: {transport: vmta-b, limits: {day: 7, per: all}, fallback: d, over_limit: default_transport}
  c: {transport: vmta-c, warmup: {since: 2026-02-27, start: 100, growth: 1.5, until: 1000}}
  d: {transport: vmta-d}
  pool: {pool: {a: 1, c: 1}}
"""
LONELY = SITE.replace(", fallback: b", "")
"""As `SITE`, but the pool has no fallback."""


def caps(name: str, time: datetime, text: str = SITE) -> dict[str, tuple[int | None, int | None]]:
    """The caps of the windows around a time: for each provider, and for all together."""
    mta = config(text).virtual_mta(name)
    assert mta is not None
    return {
        window.label: (window.per_provider, window.in_all)
        for period in limits.periods(mta, time)
        for window in period.windows[:3]
    }


def test_caps_of_an_hour_and_a_day() -> None:
    hour = int(NOW.timestamp()) // 3600
    assert caps("a", NOW) == {
        f"hour-{hour - 1}": (5, None),
        f"hour-{hour}": (5, None),
        f"hour-{hour + 1}": (5, None),
        "day-2026-02-28": (20, None),
        "day-2026-03-01": (20, None),
        "day-2026-03-02": (20, None),
    }


def test_cap_of_all_providers_together() -> None:
    assert set(caps("b", NOW).values()) == {(None, 7)}


def test_virtual_mta_without_limits_has_no_periods() -> None:
    assert caps("d", NOW) == {}


def test_warm_up_grows_from_day_to_day() -> None:
    assert caps("c", NOW) == {
        "day-2026-02-28": (150, None),
        "day-2026-03-01": (225, None),
        "day-2026-03-02": (337, None),
    }


def test_lower_one_of_limit_and_warm_up_holds() -> None:
    text = SITE.replace("until: 1000}", "until: 1000, per: all}, limits: {day: 200}")
    assert caps("c", NOW, text)["day-2026-03-01"] == (200, 225)
    text = SITE.replace("until: 1000}", "until: 1000}, limits: {day: 200}")
    assert caps("c", NOW, text)["day-2026-03-01"] == (200, None)
    assert caps("c", NOW, text)["day-2026-02-28"] == (150, None)


@pytest.mark.parametrize(
    ("day", "cap"),
    [
        ("2026-11-30", 0),
        ("2026-12-01", 500),
        ("2026-12-02", 750),
        ("2026-12-03", 1125),
        ("2026-12-04", 1687),
        ("2026-12-05", 2000),
        ("2026-12-06", None),
        ("9999-12-31", None),
    ],
)
def test_warm_up_ends_after_the_day_that_reaches_until(day: str, cap: int | None) -> None:
    warmup = Warmup.model_validate(
        {"since": "2026-12-01", "start": 500, "growth": 1.5, "until": 2000}
    )
    assert warmup.cap(date.fromisoformat(day)) == cap


@given(st.integers(1, 10**6), st.floats(1.01, 100), st.integers(0, 4000))
def test_warm_up_never_shrinks_and_never_exceeds_until(start: int, growth: float, at: int) -> None:
    since = date(2026, 12, 1)
    warmup = Warmup.model_validate(
        {"since": str(since), "start": start, "growth": growth, "until": start * 50 + 1}
    )
    today, tomorrow = (warmup.cap(since + timedelta(at + each)) for each in (0, 1))
    if today is None:
        assert tomorrow is None
    else:
        assert start <= today <= warmup.until
        assert tomorrow is None or tomorrow >= today


def test_day_begins_at_midnight_of_the_time_zone() -> None:
    mta = config(SITE).virtual_mta("b")
    assert mta is not None
    # The clocks of Berlin are put forward on 29 March 2026.
    at = datetime(2026, 3, 29, 12, tzinfo=BERLIN)
    (period,) = limits.periods(mta, at)
    starts = {each.label: datetime.fromtimestamp(each.starts, BERLIN) for each in period.windows}
    assert [str(each) for each in starts.values()] == [
        "2026-03-28 00:00:00+01:00",
        "2026-03-29 00:00:00+01:00",
        "2026-03-30 00:00:00+02:00",
        "2026-03-31 00:00:00+02:00",
    ]
    assert list(starts)[1] == "day-2026-03-29"


def test_recipients_count_at_their_providers() -> None:
    providers = Providers("", {"google": ["gmail.com", "googlemail.com"]})
    to = [Recipient(f"r@{each}") for each in ("gmail.com", "GoogleMail.com", "x.org", "y.org")]
    assert limits.counted(to, providers) == (("google", 2), ("other", 2))


def decided(mail_class: str, text: str = SITE, **around: object) -> Plan:
    message = mail(f"X-GreenArrow-MailClass: {mail_class}")
    return plan(message, envelope(**around), text)  # type: ignore[arg-type]


def test_question_has_candidates_up_to_the_first_without_limits() -> None:
    asked = question(decided("one"), Stamp(NOW, ENTROPY))
    assert [each.name for each in asked.candidates] == ["a", "b", "d"]
    assert asked.counted == (("other", 1),)
    assert asked.needs_room


def test_nothing_to_choose_without_limits() -> None:
    asked = question(decided("free"), Stamp(NOW, ENTROPY))
    assert asked.candidates == ()
    assert asked.counted == ()


def test_pool_with_fallback_ends_with_the_fallback() -> None:
    text = SITE.replace("pool: {a: 1, c: 1}", "pool: {a: 1, c: 1}, fallback: b")
    asked = question(decided("pool", text), Stamp(NOW, ENTROPY))
    assert sorted(each.name for each in asked.candidates[:2]) == ["a", "c"]
    assert [each.name for each in asked.candidates[2:]] == ["b", "d"]


def test_fallbacks_of_the_members_come_after_that_of_the_pool() -> None:
    text = SITE.replace("pool: {a: 1, c: 1}", "pool: {a: 1, c: 1}, fallback: e")
    text += "  e: {transport: vmta-e, limits: {day: 1}}\n"
    asked = question(decided("pool", text), Stamp(NOW, ENTROPY))
    assert [each.name for each in asked.candidates[2:]] == ["e", "b", "d"]


def test_explain_names_the_candidates_in_their_order() -> None:
    assert reason(decided("one"), "candidates") == (
        "a, b, d",
        "in this order, the first one that has room",
    )


def test_preview_says_that_limits_were_not_checked() -> None:
    message = mail("X-GreenArrow-MailClass: one")
    outcome = preview(message, envelope(), setup(SITE), Stamp(NOW, ENTROPY))
    assert outcome.member is not None
    assert outcome.member.name == "a"
    assert NOT_CHECKED in outcome.warnings


def answered(found: Plan, route: str | None) -> Plan:
    number = 0 if route == "" and not found.unrouted_over_limit else 1
    return after_answer(found, Numbered(CAMPAIGN if number else "", number, route=route))


def test_candidate_with_room_carries_the_mail() -> None:
    found = answered(decided("one"), "b")
    assert [each.name for each in found.candidates] == ["b"]
    assert found.refusal is None
    assert not found.warnings or NOT_CHECKED not in found.warnings


def test_mail_without_room_is_put_off() -> None:
    assert answered(decided("one"), "").refusal == OVER_LIMIT
    assert str(OVER_LIMIT).startswith("451 4.7.1 ")


def test_mail_without_room_uses_the_default_transport_if_configured() -> None:
    text = SITE.replace("pool: {a: 1, c: 1}", "pool: {a: 1, c: 1}, over_limit: default_transport")
    found = answered(decided("pool", text), "")
    assert found.refusal is None
    assert found.candidates == ()
    assert NO_ROOM in found.warnings


def test_over_limit_of_the_pool_wins_over_that_of_its_member() -> None:
    member = SITE.replace("hour: 5, day: 20}", "hour: 5}, over_limit: default_transport")
    member = member.replace("pool: {a: 1, c: 1}", "pool: {a: 1}")
    assert decided("pool", member).unrouted_over_limit
    both = member.replace("pool: {a: 1}", "pool: {a: 1}, over_limit: tempfail")
    assert not decided("pool", both).unrouted_over_limit


def test_limits_that_nobody_checked_are_a_warning() -> None:
    found = answered(decided("one"), None)
    assert [each.name for each in found.candidates][:1] == ["a"]
    assert NOT_CHECKED in found.warnings


@pytest.mark.parametrize(
    ("mail_class", "text", "expected"),
    [
        ("one", SITE, ["d"]),
        ("free", SITE, ["d"]),
        ("pool", SITE, ["d"]),
        ("pool", LONELY, STORE_UNAVAILABLE),
        ("pool", LONELY.replace("c: 1}}", "c: 1}, over_limit: default_transport}"), []),
    ],
)
def test_without_redis_only_a_virtual_mta_without_limits_is_used(
    mail_class: str, text: str, expected: object
) -> None:
    found = after_answer(decided(mail_class, text + "on_store_failure: untracked\n"), None)
    if found.refusal is not None:
        assert found.refusal == expected
    else:
        assert [each.name for each in found.candidates] == expected


def test_suppressed_mail_is_refused_for_that_and_not_for_a_limit() -> None:
    found = replace(decided("one"), suppress="refuse", recipients=("r@example.org",))
    refused = after_answer(found, Numbered("", 0, ("unsubscribed",)))
    assert refused.refusal is not None
    assert refused.refusal.code == 550
