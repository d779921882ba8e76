"""`fletching check`: the files of rules, and rules that no provider's mail can match.

What the configuration alone shows is in `config/rule_doubts.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fletching.checks.finding import Finding, error, ok, warning
from fletching.config import wording
from fletching.config.model import Config
from fletching.config.rule_fields import is_exact
from fletching.config.rules import When
from fletching.policy.rules.recipient_table import TableError, table
from fletching.startup import providers


def check_rules(config: Config) -> Iterator[Finding]:
    """A finding for each file of `recipient_in`, and for each rule that excludes itself."""
    for place, path in config.recipient_files:
        option = wording.shown(place)
        try:
            with path.open("rb") as file:
                count = len(table(file).digests)
        except OSError as wrong:
            yield error(option, f"{path}: {wrong.strerror}")
        except TableError as wrong:
            yield error(option, f"{path}: {wrong}")
        else:
            yield ok(option, f"{path}: addresses and domains: {count}")
    provider_of = providers(config).provider
    for number, rule in enumerate(config.rules):
        if rule.when is not None and _of_another_provider(provider_of, rule.when):
            text = "never matches: provider and recipient_domain exclude each other"
            yield warning(wording.shown(("rules", number)), f"{config.rule_source(number)} {text}")


def _of_another_provider(provider_of: Callable[[str], str], when: When) -> bool:
    tests = (*(when.provider or ()), *(when.recipient_domain or ()))
    if not when.provider or not when.recipient_domain or not all(map(is_exact, tests)):
        return False
    found = {provider_of(each).casefold() for each in when.recipient_domain}
    return not found & {each.casefold() for each in when.provider}
