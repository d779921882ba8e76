"""All rules of `fletching lint` by name."""

from __future__ import annotations

from collections.abc import Mapping

from fletching.lint.dns_rules import DNS_RULES
from fletching.lint.mail_rules import MAIL_RULES
from fletching.lint.rule import Finding, Rule

RULES: Mapping[str, Rule] = {rule.name: rule for rule in (*MAIL_RULES, *DNS_RULES)}
"""In the order of docs/lint.md."""


def found(name: str, text: str) -> Finding:
    """A violation of the rule of that name."""
    return Finding(RULES[name], text)
