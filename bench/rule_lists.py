"""Lists of 1,000 rules, by the kind of their tests, for the benchmarks."""

from __future__ import annotations

from collections.abc import Callable

RULES = 1000

KINDS: dict[str, Callable[[int], str]] = {
    "value of one header": lambda n: f"header: {{X-Segment: segment-{n}}}",
    "header of another name": lambda n: f"header: {{X-Field-{n}: a}}",
    "recipient domain": lambda n: f"recipient_domain: d{n}.example",
    "sender *@domain": lambda n: f"sender: '*@d{n}.example'",
    "regular expression for Subject": lambda n: f"header: {{Subject: '/offer {n}[0-9]* of/'}}",
    "glob for Subject": lambda n: f"header: {{Subject: '*word{n}*'}}",
    "client network": lambda n: f"client: 10.{n // 256}.{n % 256}.0/24",
    "size": lambda n: f"size: '> {n + 1}MiB'",
    "login and priority": lambda n: f"login: user{n}, header: {{X-Priority: 1}}",
    "not, which nearly all mail passes": lambda n: f"not: {{header: {{X-Priority: [1, {n + 2}]}}}}",
}
MIXED = "mixed"
_LOOKED_UP = tuple(KINDS)[:-1]


def listed(kind: str) -> str:
    """The `rules` of a configuration; the mixed list has every kind that can be looked up."""
    makes = [KINDS[name] for name in _LOOKED_UP] if kind == MIXED else [KINDS[kind]]
    lines = ["rules:"]
    for number in range(RULES):
        when = makes[number % len(makes)](number)
        lines.append(f"  - {{when: {{{when}}}, set: {{mail_class: crm, list_id: l{number}}}}}")
    return "\n".join(lines)
