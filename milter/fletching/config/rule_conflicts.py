"""Checks rules against the rest of the configuration: the names that they use must exist.

As in `consistency.py`, single values are valid already. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from fletching.config import templates
from fletching.config.conflict import Conflict, Place, unknown
from fletching.config.model import Config
from fletching.config.rule_fields import is_exact
from fletching.config.rules import RuleControls, When


def conflicts(config: Config, providers: Collection[str]) -> Iterator[Conflict]:
    """All conflicts of rules. ``providers``: the names of all mailbox providers."""
    names: set[str] = set()
    for number, rule in enumerate(config.rules):
        if rule.name is not None and rule.name in names:
            yield Conflict(("rules", number, "name"), "duplicate name: an earlier rule has it")
        names.add(rule.name or "")
        if rule.set is not None:
            yield from _controls(config, ("rules", number, "set"), rule.set)
        if rule.when is not None:
            yield from _providers(("rules", number, "when"), rule.when, providers)


def _controls(config: Config, path: Place, controls: RuleControls) -> Iterator[Conflict]:
    name = controls.mail_class
    if name is not None and _is_plain(name) and config.mail_class(name) is None:
        yield unknown(
            (*path, "mail_class"), name, "Mail Class", "mail_classes", config.mail_classes
        )
    name = controls.virtual_mta
    if name is not None and _is_plain(name) and config.virtual_mta(name) is None:
        section = "virtual_mtas"
        yield unknown((*path, "virtual_mta"), name, "VirtualMTA", section, config.virtual_mtas)


def _is_plain(template: str) -> bool:
    return not templates.placeholders(template)


def _providers(path: Place, when: When, providers: Collection[str]) -> Iterator[Conflict]:
    for name in when.provider or ():
        if is_exact(name) and name.lower() not in {"other", *map(str.lower, providers)}:
            known = [*providers, "other"]
            yield unknown((*path, "provider"), name, "provider", "providers", known)
    if when.not_ is not None:
        yield from _providers((*path, "not"), when.not_, providers)
    for number, each in enumerate(when.any or ()):
        yield from _providers((*path, "any", number), each, providers)
