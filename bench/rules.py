"""The cost of rules: what a list of 1,000 adds to a mail, by the kind of their tests.

CPU time of this process. `matching` alone: the mail is parsed, nothing else is decided about it.
Each kind has another test in each rule, of which a mail passes one or none; in the mixed list, the
kinds take turns.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fletching.config.load import parse
from fletching.mail.envelope import Envelope, Recipient
from fletching.mail.message import Message
from fletching.mail.message import parse as parse_mail
from fletching.policy.rules import matching
from fletching.providers import Providers
from rich.table import Table

from bench import budgets
from bench.budgets import Budget
from bench.course import Effort, Tell
from bench.figures import middle
from bench.rule_lists import KINDS, MIXED, RULES, listed

MATCHING_MS = 0.2
_MAILS = 300

_WORDS = "the big blue offer of a week with order word news from shop for you".split()  # noqa: SIM905


@dataclass(frozen=True, slots=True)
class Results:
    """``ms``: by kind; ``load_s``: what it takes to load the mixed list."""

    ms: dict[str, float]
    load_s: float

    @property
    def bars(self) -> tuple[Budget, ...]:
        return tuple(
            Budget(f"matching a mail against {RULES:,} rules, {kind}", "ms", MATCHING_MS, spent, "")
            for kind, spent in self.ms.items()
        )


def measure(effort: Effort, tell: Tell) -> Results:
    """Match the same mails against a list of each kind."""
    mails = _mails(random.Random(4711))
    ms = {}
    for at, kind in enumerate((*KINDS, MIXED)):
        tell(f"{RULES:,} rules, {kind}", at / (len(KINDS) + 1))
        start = time.process_time()
        rules = matching.compiled(parse(_file(kind), Path("fletching.yaml")))
        load = time.process_time() - start
        ms[kind] = middle([_spent(rules, mails) for _ in range(effort.rounds)])
    return Results(ms, load)


def _file(kind: str) -> bytes:
    return f"mail_classes: {{crm: {{list_unsubscribe: false}}}}\n{listed(kind)}".encode()


def _mails(chance: random.Random) -> list[Message]:
    found = []
    for number in range(_MAILS):
        subject = " ".join(chance.choice(_WORDS) + str(chance.randrange(2000)) for _ in range(8))
        found.append(
            parse_mail(
                b"Received: from app by mx1 with ESMTP id 4711; Mon, 30 Nov 2026 12:00:00 +0000\n"
                b"From: Shop <news@example.com>\nTo: joe@d5.example\nMessage-ID: <1@example.com>\n"
                b"X-Priority: 1\nX-Mailer: app\nX-Segment: segment-%d\nSubject: %s\n\nHello.\n"
                % (number, subject.encode())
            )
        )
    return found


def _spent(rules: matching.CompiledRules, mails: Sequence[Message]) -> float:
    """CPU milliseconds a mail."""
    around = Envelope(
        "app@d6.example", (Recipient("joe@d5.example", "smtp"),), "10.0.7.1", login="user9"
    )
    providers = Providers("")
    start = time.process_time()
    for message in mails:
        rules.matching(message, around, providers)
    return 1000 * (time.process_time() - start) / len(mails)


def figures(results: Results) -> dict[str, object]:
    """For JSON, with units in the names."""
    return {
        "rules": RULES,
        "load_seconds": round(results.load_s, 3),
        "matching_ms": {kind: round(spent, 4) for kind, spent in results.ms.items()},
        "budgets": budgets.figures(results.bars),
    }


def tables(results: Results) -> Iterator[Table]:
    """One line for each kind of test."""
    yield from budgets.tables(results.bars)
    table = Table(title=f"loading {RULES:,} mixed rules", title_justify="left")
    table.add_column("CPU s", justify="right")
    table.add_row(f"{results.load_s:.2f}")
    yield table
