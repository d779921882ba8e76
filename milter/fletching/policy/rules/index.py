"""Which rules can match a mail at all: found by looking up its values, not by trying each rule.

Of every rule, one condition is chosen as its key. A rule whose key asks for certain texts, header
fields or networks is tried only if the mail has one of them; a rule without such a condition is
always tried. Exact values, and domains of `*@DOMAIN`, are looked up in dictionaries; all other
globs and regular expressions for the same subject are matched together, in one pass.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, Literal

import re2

from fletching.config.rule_fields import SizeBound
from fletching.policy.rules.conditions import AnyOf, Client, Condition, Presence, Size, TextTest
from fletching.policy.rules.facts import EVERY, HEADER, Facts, Texts
from fletching.policy.rules.pattern import behind_at, options

_SET_BYTES = 32 << 20
"""The most memory that one set of regular expressions may take for what it learns from mail."""

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Want:
    """One thing that a mail must have: a text or an expression of a subject, a field of that name,
    a network, or a size."""

    kind: Literal["exact", "below", "expression", "present", "network", "size"]
    subject: str
    value: str | Network | SizeBound = ""


Key = tuple[Want, ...]
"""What a mail must have one of."""

_WORK = {"exact": 1, "below": 1, "network": 1, "size": 4, "expression": 4, "present": 4}
"""How dear a look-up is, and how usual it is that a mail has what is looked up."""


def keys(conditions: Iterable[Condition]) -> list[Key]:
    """Every key of conditions that must all hold: each of those that can be looked up."""
    return [each for condition in conditions for each in _keys(condition)]


def _keys(condition: Condition) -> list[Key]:
    match condition:
        case TextTest(subject=subject, patterns=patterns):
            exact = [Want("exact", subject, each) for each in sorted(patterns.exact)]
            below = [Want("below", subject, each) for each in sorted(patterns.below)]
            return [(*exact, *below, *(Want("expression", subject, e) for e in patterns.others))]
        case Presence(field=name, wanted=True):
            return [(Want("present", name),)]
        case Client(networks=networks):
            return [tuple(Want("network", "client", each) for each in networks)]
        case Size(bounds=bounds):
            return [tuple(Want("size", "size", each) for each in bounds)]
        case AnyOf(groups=groups):
            # What one group or another needs.
            of_groups = [keys(group) for group in groups]
            if all(of_groups):
                return [tuple(want for each in of_groups for want in min(each, key=_price))]
    return []


def _price(wanted: Key) -> int:
    return sum(_WORK[each.kind] for each in wanted)


def chosen(of_rules: Iterable[list[Key]]) -> list[Key | None]:
    """The key of each rule: that whose wants the fewest other rules share. None: always tried.

    What many rules want, many mails have, and it would make candidates of all these rules.
    """
    all_keys = list(of_rules)
    shared = Counter(want for each in all_keys for key in each for want in key)

    def price(key: Key) -> int:
        return max(_WORK[want.kind] * shared[want] for want in key)

    return [min(each, key=price, default=None) for each in all_keys]


class Index:
    """Numbers of rules by what a mail must have."""

    __slots__ = ("_always", "_networks", "_present", "_sizes", "_subjects")

    def __init__(self, rules: Iterable[Sequence[Condition]]) -> None:
        """``rules``: the conditions of each."""
        keys_of_rules = chosen(map(keys, rules))
        self._always = tuple(n for n, each in enumerate(keys_of_rules) if each is None)
        self._subjects: dict[str, _Subject] = {}
        self._present: dict[str, list[int]] = {}
        self._networks = _Networks()
        self._sizes = _Sizes()
        for number, each in enumerate(keys_of_rules):
            for want in each or ():
                self._add(number, want)
        for subject in self._subjects.values():
            subject.expressions.compile()

    def _add(self, number: int, want: Want) -> None:
        match want.value:
            case SizeBound():
                self._sizes.add(want.value, number)
            case str() if want.kind == "present":
                self._present.setdefault(want.subject, []).append(number)
            case str():
                subject = self._subjects.setdefault(want.subject, _Subject(want.subject in EVERY))
                subject.add(want, number)
            case network:
                self._networks.add(network, number)

    def candidates(self, facts: Facts) -> list[int]:
        """The rules that can match a mail, in order."""
        found = set(self._always)
        for name in self._subjects.keys() & _ENVELOPE:
            self._subjects[name].find(facts.texts(name), found)
        for name in facts.names:
            subject = self._subjects.get(HEADER + name)
            if subject is not None:
                subject.find(facts.texts(HEADER + name), found)
            found.update(self._present.get(name, ()))
        if self._networks:
            self._networks.find(facts.client, found)
        if self._sizes:
            self._sizes.find(facts.size, found)
        return sorted(found)


_ENVELOPE = frozenset(("sender", "from", "login", *EVERY))


class _Together:
    """Expressions that are matched in one pass.

    RE2 says nothing if it runs out of memory in such a pass. So there is one more expression, which
    always matches: if it does not, each expression is tried by itself.
    """

    __slots__ = ("_numbers", "_set", "_single")

    def __init__(self) -> None:
        self._numbers: dict[str, list[int]] = {}
        self._single: list[tuple[Any, list[int]]] = []
        self._set: Any = None

    def add(self, expression: str, number: int) -> None:
        self._numbers.setdefault(expression, []).append(number)

    def compile(self) -> None:
        if not self._numbers:
            return
        settings = options()
        self._single = [(re2.compile(each, settings), n) for each, n in self._numbers.items()]
        settings.max_mem = _SET_BYTES
        together = re2.Set.SearchSet(settings)
        for expression in (*self._numbers, ""):
            together.Add(expression)
        try:
            together.Compile()
        except re2.error:
            return
        self._set = together

    def find(self, octets: bytes, found: set[int]) -> None:
        """Adds the rules whose expressions match."""
        if not self._single:
            return
        matches = self._set.Match(octets) if self._set is not None else None
        if matches and len(self._single) in matches:
            for each in matches:
                if each < len(self._single):
                    found.update(self._single[each][1])
            return
        for compiled, numbers in self._single:
            if compiled.search(octets) is not None:
                found.update(numbers)


@dataclass(frozen=True, slots=True)
class _Subject:
    """What rules want of one subject. ``every``: all its values must match, so that the first one
    finds all rules."""

    every: bool
    exact: dict[str, list[int]] = field(default_factory=dict)
    below: dict[str, list[int]] = field(default_factory=dict)
    expressions: _Together = field(default_factory=_Together)

    def add(self, want: Want, number: int) -> None:
        text = str(want.value)
        if want.kind == "expression":
            self.expressions.add(text, number)
        else:
            known = self.exact if want.kind == "exact" else self.below
            known.setdefault(text, []).append(number)

    def find(self, texts: Texts, found: set[int]) -> None:
        """Adds the rules that want one of these values."""
        for folded, octets in texts[:1] if self.every else texts:
            found.update(self.exact.get(folded, ()))
            if self.below and (domain := behind_at(folded)) is not None:
                found.update(self.below.get(domain, ()))
            self.expressions.find(octets, found)


class _Networks:
    """Networks, looked up by an address: one lookup for each length of a prefix that is in use."""

    __slots__ = ("_by_prefix",)

    def __init__(self) -> None:
        self._by_prefix: dict[tuple[int, int], dict[int, list[int]]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_prefix)

    def add(self, network: Network, number: int) -> None:
        same = self._by_prefix.setdefault((network.version, network.prefixlen), {})
        shift = network.max_prefixlen - network.prefixlen
        same.setdefault(int(network.network_address) >> shift, []).append(number)

    def find(self, address: IPv4Address | IPv6Address | None, found: set[int]) -> None:
        """Adds the rules that want a network with that address."""
        if address is None:
            return
        bits = int(address)
        for (version, length), same in self._by_prefix.items():
            if version == address.version:
                found.update(same.get(bits >> (address.max_prefixlen - length), ()))


class _Sizes:
    """Bounds of the size, in order."""

    __slots__ = ("_above", "_below")

    def __init__(self) -> None:
        self._above: list[tuple[int, int]] = []
        self._below: list[tuple[int, int]] = []

    def __bool__(self) -> bool:
        return bool(self._above or self._below)

    def add(self, bound: SizeBound, number: int) -> None:
        insort(self._above if bound.larger else self._below, (bound.octets, number))

    def find(self, size: int, found: set[int]) -> None:
        """Adds the rules with a bound that holds."""
        above = self._above[: bisect_left(self._above, (size, -1))]
        below = self._below[bisect_left(self._below, (size + 1, -1)) :]
        found.update(number for _, number in (*above, *below))
