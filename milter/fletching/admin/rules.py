"""`fletching rules test`: which rules match a message, and which test failed first.

Nothing is decided here: the rules are tested as `policy/rules/` tests them for mail, but all of
them, also below one with `last`.
"""

from __future__ import annotations

from typing import Any

from fletching.admin.preview import through_trusted_service
from fletching.mail.envelope import Envelope
from fletching.mail.message import Message
from fletching.policy.rules.conditions import TextTest
from fletching.policy.rules.facts import Facts
from fletching.policy.setup import Setup
from fletching.policy.trust import trusted

_MOST = 5
"""Values of the message that are shown."""


def tested(message: Message, envelope: Envelope, setup: Setup) -> dict[str, Any]:
    """The object of `fletching rules test --json`. ``applies``: the rule matches, the client is
    trusted, and no earlier rule with `last` matches.
    """
    is_trusted, why = trusted(through_trusted_service(envelope, setup), setup.config)
    facts = Facts(message, envelope, setup.providers)
    rows: list[dict[str, Any]] = []
    below: str | None = None
    for rule in setup.rules.all:
        failed = rule.first_failed(facts)
        rows.append(
            {
                "rule": rule.source,
                "place": rule.place or None,
                "matches": failed is None,
                "failed": failed.name if failed is not None else None,
                "values": _values(facts, failed) if isinstance(failed, TextTest) else None,
                "applies": is_trusted and failed is None and below is None,
                "last": below,
            }
        )
        if failed is None and rule.rule.last:
            below = below or rule.source
    return {"trusted": is_trusted, "why": why, "rules": rows}


def lines(answer: dict[str, Any]) -> list[dict[str, str]]:
    """The rows of the table for people."""
    return [
        {
            "rule": row["rule"],
            "line": row["place"] or "",
            "matches": "yes" if row["matches"] else "no",
            "reason": _reason(row),
        }
        for row in answer["rules"]
    ]


def _reason(row: dict[str, Any]) -> str:
    if row["failed"] is not None:
        if row["values"] is None:
            return str(row["failed"])
        return f"{row['failed']}: {', '.join(row['values']) or 'nothing to compare'}"
    return f"ignored below {row['last']}" if row["last"] is not None else ""


def _values(facts: Facts, failed: TextTest) -> list[str]:
    """What the message has in place of what the test wants."""
    found = facts.texts(failed.subject)
    return [each.octets.decode("utf-8", "replace") for each in found[:_MOST]]
