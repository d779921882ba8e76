"""All rules that one mail shows: the way into this folder."""

from __future__ import annotations

from fletching.lint.authentication import judge_authentication
from fletching.lint.body import judge_body
from fletching.lint.content import read_content
from fletching.lint.header import judge_header
from fletching.lint.rule import Finding, Severity
from fletching.lint.sent import Sent
from fletching.lint.unsubscribe import judge_unsubscribe

_ORDER = tuple(Severity)


def judge(sent: Sent) -> tuple[Finding, ...]:
    """All findings about a mail, the severe ones first. Raises nothing for any mail."""
    content = read_content(sent.message)
    return by_severity(
        (
            *judge_header(sent),
            *judge_authentication(sent),
            *judge_unsubscribe(sent, content),
            *judge_body(sent, content),
        )
    )


def by_severity(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """The severe ones first, else in their order."""
    return tuple(sorted(findings, key=lambda finding: _ORDER.index(finding.rule.severity)))
