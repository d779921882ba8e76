"""The tests of a rule's `when`, compiled from the configuration.

Each test has its name as in the file, which `fletching rules test` shows. Which rules are tested at
all is decided in `index.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Protocol

from fletching.config.rule_fields import SizeBound
from fletching.config.rules import When
from fletching.policy.rules import pattern
from fletching.policy.rules.facts import EVERY, HEADER, Facts
from fletching.policy.rules.pattern import Patterns
from fletching.policy.rules.recipient_table import RecipientTable

Tables = Mapping[str, RecipientTable]
"""The files of `recipient_in`, by path."""


class Condition(Protocol):
    """A test. ``name``: its option, such as `header.X-Priority`."""

    @property
    def name(self) -> str: ...

    def holds(self, facts: Facts) -> bool:
        """Whether the mail passes."""
        ...


@dataclass(frozen=True, slots=True)
class TextTest:
    """A text of the mail is compared with a list of patterns."""

    name: str
    subject: str
    patterns: Patterns

    def holds(self, facts: Facts) -> bool:
        found = facts.texts(self.subject)
        if self.subject in EVERY:
            return bool(found) and all(map(self.patterns.match, found))
        return any(map(self.patterns.match, found))


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether there is a header field of a name."""

    name: str
    field: str
    wanted: bool

    def holds(self, facts: Facts) -> bool:
        return facts.has(self.field) == self.wanted


@dataclass(frozen=True, slots=True)
class RecipientIn:
    """Every recipient is in one of some files."""

    name: str
    tables: tuple[RecipientTable, ...]

    def holds(self, facts: Facts) -> bool:
        return bool(facts.recipients) and all(
            any(address in table or domain in table for table in self.tables)
            for address, domain in facts.recipients
        )


@dataclass(frozen=True, slots=True)
class Client:
    """The client is in one of some networks."""

    name: str
    networks: tuple[IPv4Network | IPv6Network, ...]

    def holds(self, facts: Facts) -> bool:
        address = facts.client
        return address is not None and any(address in each for each in self.networks)


@dataclass(frozen=True, slots=True)
class Size:
    """The size of the mail is above or below a bound."""

    name: str
    bounds: tuple[SizeBound, ...]

    def holds(self, facts: Facts) -> bool:
        size = facts.size
        return any(
            size > each.octets if each.larger else size < each.octets for each in self.bounds
        )


@dataclass(frozen=True, slots=True)
class Not:
    """Some tests do not all hold."""

    name: str
    tests: tuple[Condition, ...]

    def holds(self, facts: Facts) -> bool:
        return not all(each.holds(facts) for each in self.tests)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Of several groups of tests, all tests of one hold."""

    name: str
    groups: tuple[tuple[Condition, ...], ...]

    def holds(self, facts: Facts) -> bool:
        return any(all(each.holds(facts) for each in group) for group in self.groups)


def compiled(when: When | None, tables: Tables) -> tuple[Condition, ...]:
    """The tests of a `when`, in the order of the documentation."""
    return () if when is None else tuple(_tests(when, tables))


def _tests(when: When, tables: Tables) -> Iterator[Condition]:
    for name, wanted in (when.header or {}).items():
        option, field = f"header.{name}", name.lower()
        if isinstance(wanted, bool):
            yield Presence(option, field, wanted)
        else:
            yield _text(option, HEADER + field, wanted)
    for option, texts in (
        ("sender", when.sender),
        ("from", when.from_),
        ("recipient", when.recipient),
        ("recipient_domain", when.recipient_domain),
    ):
        if texts is not None:
            yield _text(option, option, texts)
    if when.recipient_in is not None:
        found = tuple(tables[str(path)] for path in when.recipient_in)
        yield RecipientIn("recipient_in", found)
    if when.provider is not None:
        yield _text("provider", "provider", when.provider)
    if when.login is not None:
        yield _text("login", "login", when.login)
    if when.client is not None:
        yield Client("client", when.client)
    if when.size is not None:
        yield Size("size", when.size)
    if when.not_ is not None:
        yield Not("not", compiled(when.not_, tables))
    if when.any is not None:
        yield AnyOf("any", tuple(compiled(each, tables) for each in when.any))


def _text(name: str, subject: str, texts: tuple[str, ...]) -> TextTest:
    return TextTest(name, subject, pattern.compiled(texts, subject))
