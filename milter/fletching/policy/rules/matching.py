"""Which rules match a mail, in their order, up to one with `last`.

Rules are compiled once for each configuration. What a matching rule sets is in
`policy/rule_offers.py`; what it does is its `do`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType

from fletching.config.model import Config
from fletching.config.rules import Do, Rule
from fletching.mail.envelope import Envelope
from fletching.mail.message import Message
from fletching.policy.rules import conditions
from fletching.policy.rules.conditions import Condition, Tables
from fletching.policy.rules.facts import Facts
from fletching.policy.rules.index import Index
from fletching.providers import Providers


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule. ``number``: counted from 0. ``source``: its name, or its number and line. ``place``:
    its file and line. ``controls``: what it sets, by the name of the control.
    """

    number: int
    source: str
    place: str
    rule: Rule
    conditions: tuple[Condition, ...]
    controls: tuple[tuple[str, str], ...] = ()

    def first_failed(self, facts: Facts) -> Condition | None:
        """The first test that does not hold; None if the rule matches."""
        for each in self.conditions:
            if not each.holds(facts):
                return each
        return None


@dataclass(frozen=True, slots=True)
class Matched:
    """The rules that match one mail, in order, up to the first one with `last`."""

    rules: tuple[CompiledRule, ...] = ()

    @property
    def actions(self) -> tuple[tuple[str, Do], ...]:
        """Every `do`, with its rule's source."""
        return tuple((each.source, each.rule.do) for each in self.rules if each.rule.do is not None)


class CompiledRules:
    """The rules of one configuration."""

    __slots__ = ("_index", "all")

    def __init__(self, rules: Iterable[CompiledRule]) -> None:
        self.all = tuple(rules)
        self._index = Index([each.conditions for each in self.all])

    def matching(self, message: Message, envelope: Envelope, providers: Providers) -> Matched:
        """The rules that match a mail. Its control headers are fields like others."""
        if not self.all:
            return _NONE
        facts = Facts(message, envelope, providers)
        found = []
        for number in self._index.candidates(facts):
            each = self.all[number]
            if each.first_failed(facts) is None:
                found.append(each)
                if each.rule.last:
                    break
        return Matched(tuple(found))


_NONE = Matched()


def compiled(config: Config, tables: Tables = MappingProxyType({})) -> CompiledRules:
    """The rules of a configuration. ``tables``: the files that they name, by path."""
    return CompiledRules(
        CompiledRule(
            number,
            config.rule_source(number),
            config.where("rules", number),
            rule,
            conditions.compiled(rule.when, tables),
            tuple(rule.set.given.items()) if rule.set is not None else (),
        )
        for number, rule in enumerate(config.rules)
    )
