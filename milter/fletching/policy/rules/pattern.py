"""What a text is compared with: exact values, globs and regular expressions of RE2.

Here is how one list of them, as the configuration has it, is compiled. Everything ignores case.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import re2

from fletching.config.rule_fields import is_exact, is_pattern
from fletching.policy.rules.facts import Text, ascii_domain


def options() -> Any:
    """The options of all regular expressions: no case, and `.` matches a line end, too."""
    made = re2.Options()
    made.case_sensitive = False
    made.dot_nl = True
    made.log_errors = False
    return made


@dataclass(frozen=True, slots=True)
class Patterns:
    """A list of values, one of which must match.

    ``exact``: whole values. ``below``: what stands behind the last `@`, from globs such as
    `*@example.com`. ``others``: the regular expressions of RE2, also for all other globs.
    """

    exact: frozenset[str]
    below: frozenset[str]
    others: tuple[str, ...]
    compiled: tuple[Any, ...]

    def match(self, value: Text) -> bool:
        """Whether the value matches."""
        return (
            value.folded in self.exact
            or (bool(self.below) and behind_at(value.folded) in self.below)
            or any(each.search(value.octets) is not None for each in self.compiled)
        )


def behind_at(folded: str) -> str | None:
    """What stands behind the last `@`; None without one."""
    _, at, domain = folded.rpartition("@")
    return domain if at else None


def compiled(texts: Iterable[str], subject: str) -> Patterns:
    """The patterns of a list in the configuration."""
    exact: set[str] = set()
    below: set[str] = set()
    others: list[str] = []
    for each in texts:
        if is_pattern(each):
            others.append(each[1:-1])
        elif is_exact(each):
            exact.add(_exact(each, subject))
        elif re.fullmatch(r"\*@[^*?@]+", each):
            below.add(each[2:].casefold())
        else:
            others.append(_glob(each))
    search = tuple(re2.compile(each, options()) for each in others)
    return Patterns(frozenset(exact), frozenset(below), tuple(others), search)


def _exact(value: str, subject: str) -> str:
    if subject == "sender" and value == "<>":
        return ""
    if subject == "recipient_domain":
        value = ascii_domain(value)
    return value.casefold()


def _glob(glob: str) -> str:
    """A glob as a regular expression. One that begins or ends with `*` is not anchored there, so
    that RE2 has less to do.
    """
    start = "" if glob.startswith("*") else r"\A"
    end = "" if glob.endswith("*") else r"\z"
    wild = {"*": ".*", "?": "."}
    inner = "".join(wild.get(each) or re2.escape(each) for each in glob.strip("*"))
    return start + inner + end
