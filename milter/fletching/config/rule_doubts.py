"""Finds rules that can never match, or never have an effect: allowed, but surely a mistake.

Only clear cases are found, without knowing any mail. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fletching.config import templates
from fletching.config.conflict import Conflict
from fletching.config.model import Config
from fletching.config.rule_fields import SizeBound, is_exact
from fletching.config.rules import Rule, When

_TEXTS = ("sender", "from_", "recipient", "recipient_domain", "provider", "login")


def doubts(config: Config) -> Iterator[Conflict]:
    """One for each rule that can never match, or has no effect."""
    for number, rule in enumerate(config.rules):
        path = ("rules", number)
        why = _never_reached(config, number) or impossible(rule.when) or _untrusted(config, rule)
        if why:
            yield Conflict(path, f"{config.rule_source(number)} never matches: {why}")
        elif why := _no_effect(config, number):
            yield Conflict(path, f"{config.rule_source(number)} has no effect: {why}")


def impossible(when: When | None) -> str:
    """Why no mail passes the tests; empty if one may."""
    if when is None:
        return ""
    if when.recipient_domain and all(is_exact(e) and "@" in e for e in when.recipient_domain):
        return "recipient_domain has addresses: use recipient"
    if when.from_ and all(is_exact(each) and "@" not in each for each in when.from_):
        return "from has no address; a name in From is tested by header: {From: ...}"
    if _other_domains(when):
        return "recipient and recipient_domain exclude each other"
    if when.size and all(not each.larger and each.octets == 0 for each in when.size):
        return "no mail is smaller than 0"
    rest = when.model_copy(update={"not_": None})
    if when.not_ is not None and covers(when.not_, rest):
        return "not excludes all mail that passes the other tests"
    if when.any and all(map(impossible, when.any)):
        return next(filter(None, map(impossible, when.any)))
    return ""


def covers(wide: When | None, narrow: When | None) -> bool:
    """Whether all mail that passes the tests of ``narrow`` also passes those of ``wide``."""
    if wide is None or wide.is_empty:
        return True
    if narrow is None:
        return False
    return (
        _covers_fields(wide.header or {}, narrow.header or {})
        and all(_covers_texts(getattr(wide, each), getattr(narrow, each)) for each in _TEXTS)
        and _covers_all(wide.recipient_in, narrow.recipient_in, lambda one, other: one == other)
        and _covers_all(wide.client, narrow.client, _covers_network)
        and _covers_all(wide.size, narrow.size, _covers_size)
        and (wide.not_ is None or wide.not_ == narrow.not_)
        and (wide.any is None or wide.any == narrow.any)
    )


def _covers_fields(wide: Mapping[str, Any], narrow: Mapping[str, Any]) -> bool:
    tests = {name.lower(): test for name, test in narrow.items()}
    for name, test in wide.items():
        other = tests.get(name.lower())
        if other is None or (other is False) != (test is False):
            return False
        if (
            test is not True
            and test is not False
            and (other is True or not _covers_texts(test, other))
        ):
            return False
    return True


def _covers_texts(wide: tuple[str, ...] | None, narrow: tuple[str, ...] | None) -> bool:
    if wide is None:
        return True
    return narrow is not None and set(map(_folded, narrow)) <= set(map(_folded, wide))


def _covers_all(wide: Iterable[Any] | None, narrow: Iterable[Any] | None, covers_one: Any) -> bool:
    """Of lists of which one must hold: each of ``narrow`` is covered by one of ``wide``."""
    if wide is None:
        return True
    return narrow is not None and all(any(covers_one(w, n) for w in wide) for n in narrow)


def _covers_network(wide: Any, narrow: Any) -> bool:
    return wide.version == narrow.version and bool(narrow.subnet_of(wide))


def _covers_size(wide: SizeBound, narrow: SizeBound) -> bool:
    if wide.larger != narrow.larger:
        return False
    return narrow.octets >= wide.octets if wide.larger else narrow.octets <= wide.octets


def _folded(text: str) -> str:
    """Texts that mean the same are equal; a regular expression may have its case in a class."""
    return text.casefold() if not text.startswith("/") else text


def _other_domains(when: When) -> bool:
    """Whether every address of `recipient` is in none of the domains of `recipient_domain`."""
    if not when.recipient or not when.recipient_domain:
        return False
    domains = {each.rpartition("@")[2].casefold() for each in when.recipient if "@" in each}
    known = all("@" in each for each in when.recipient) and all(map(is_exact, domains))
    wanted = {each.casefold() for each in when.recipient_domain}
    return known and all(map(is_exact, wanted)) and not domains & wanted


def _never_reached(config: Config, number: int) -> str:
    for earlier in range(number):
        rule = config.rules[earlier]
        if rule.last and covers(rule.when, config.rules[number].when):
            return f"{config.rule_source(earlier)} has last, and matches all of this mail"
    return ""


def _untrusted(config: Config, rule: Rule) -> str:
    """Rules apply to trusted mail only."""
    if config.trusted.authenticated or rule.when is None or not rule.when.client:
        return ""
    trusted = config.trusted.networks
    if any(_overlap(one, other) for one in rule.when.client for other in trusted):
        return ""
    return "no client of these networks is trusted (trusted.networks)"


def _overlap(one: Any, other: Any) -> bool:
    return one.version == other.version and bool(one.overlaps(other))


def _no_effect(config: Config, number: int) -> str:
    rule = config.rules[number]
    if rule.set is None or rule.do is not None or rule.last:
        return ""
    given = set(rule.set.given)
    if given == {"mail_class"} and (login := _forced(config, rule)):
        return f"users.{login}.force_mail_class decides for this login"
    first = ""
    for earlier in range(number):
        other = config.rules[earlier]
        if other.set is None:
            continue
        same = {
            name
            for name, value in other.set.given.items()
            if name in given and not templates.placeholders(value)
        }
        if same and covers(other.when, rule.when):
            given -= same
            first = first or config.rule_source(earlier)
    return "" if given else f"{first} sets the same for all of this mail, and comes first"


def _forced(config: Config, rule: Rule) -> str:
    """The entry of `users` that forces the Mail Class of every login that the rule matches."""
    logins = (rule.when.login or ()) if rule.when is not None else ()
    found = ""
    for login in logins:
        name = config.user_name(login) if is_exact(login) else None
        if name is None or config.users[name].force_mail_class is None:
            return ""
        found = name
    return found
