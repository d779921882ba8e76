"""What matching rules set: the controls of their `set`, with placeholders filled in and checked.

Which rules match is decided in `policy/rules/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fletching.config import templates
from fletching.policy import grammar
from fletching.policy.decisions import Submission
from fletching.policy.grammar import CONTROLS, InvalidError
from fletching.policy.offers import Asked, InvalidValue, Offer, Offers, Setting, SourceKind
from fletching.policy.rules.matching import CompiledRule, Matched
from fletching.policy.substitution import substitute


def read(mail: Submission, matched: Matched, values: Mapping[str, str]) -> list[Asked]:
    """What each matching rule asks for, the strongest first. An invalid value is ignored, so that
    a later rule may set that control. ``values``: of placeholders, in place of the mail's own ones.
    """
    found = []
    settled: set[Setting[Any]] = set()
    for each in matched.rules:
        asked = _asked(mail, each, settled, values)
        settled.update(asked.offers.by_setting)
        found.append(asked)
    return found


def _asked(
    mail: Submission,
    rule: CompiledRule,
    settled: set[Setting[Any]],
    values: Mapping[str, str],
) -> Asked:
    """``settled``: what an earlier rule sets, so that an invalid value would not count anyway."""
    offers: dict[Setting[Any], Offer[Any]] = {}
    invalid: list[InvalidValue] = []
    for name, template in rule.controls:
        control = CONTROLS[name]
        try:
            offers |= control.offer(_filled(template, mail, values), rule.source)
        except InvalidError as error:
            if control.settings[0] not in settled:
                invalid.append(control.invalid(SourceKind.RULE, rule.source, f"{name} {error}"))
    places = dict.fromkeys(offers, rule.place)
    return Asked(Offers(SourceKind.RULE, offers, places), tuple(invalid))


def _filled(template: str, mail: Submission, values: Mapping[str, str]) -> str:
    if not templates.placeholders(template):
        return template
    return grammar.as_ascii(substitute(template, mail, values).strip().encode("utf-8", "replace"))
