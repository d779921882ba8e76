"""Checks for limits of VirtualMTAs that stop mail."""

from __future__ import annotations

from datetime import date

from fletching.checks.limits import check_limits

from tests.cases import for_every
from tests.setting import config

TODAY = date(2026, 12, 1)
WARM = "warmup: {since: 2026-12-%02d, start: 5, growth: 2, until: 9}"
LATER, NOW = WARM % 2, WARM % 1


@for_every(
    {
        "no limits": ("a: {transport: t}", []),
        "a warm-up that has begun": (f"a: {{transport: t, {NOW}}}", []),
        "a warm-up in the future": (
            f"a: {{transport: t, {LATER}}}",
            ["virtual_mtas.a.warmup.since: gets no mail before 2026-12-02"],
        ),
        "a pool of which one member has room": (
            f"a: {{transport: t, {LATER}}}, b: {{transport: u}}, c: {{pool: {{a: 1, b: 1}}}}",
            ["virtual_mtas.a.warmup.since: gets no mail before 2026-12-02"],
        ),
        "a pool of which no member has room": (
            f"a: {{transport: t, {LATER}}}, c: {{pool: {{A: 1}}}}",
            [
                "virtual_mtas.a.warmup.since: gets no mail before 2026-12-02",
                "virtual_mtas.c.pool: no member can have room today",
            ],
        ),
        "an hour that is not lower than a day": (
            "a: {transport: t, limits: {hour: 5, day: 5}}",
            ["virtual_mtas.a.limits: hour is not lower than day"],
        ),
    }
)
def test_limits_that_may_be_a_mistake(mtas: str, expected: list[str]) -> None:
    findings = list(check_limits(config(f"virtual_mtas: {{{mtas}}}"), TODAY))
    assert [each.place for each in findings] == [each.partition(": ")[0] for each in expected]
    for finding, each in zip(findings, expected, strict=True):
        assert each.partition(": ")[2] in finding.text
