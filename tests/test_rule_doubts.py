"""Rules that can never match, or have no effect: warnings of `fletching check`."""

from __future__ import annotations

from pathlib import Path

from fletching.checks.rules import check_rules
from fletching.config.consistency import doubts
from fletching.config.load import parse
from fletching.config.model import Config

from tests.cases import for_every
from tests.random_rules import FILES, Draw, Plain


def config(rules: str, more: str = "") -> Config:
    text = (
        f"mail_classes: {{crm: {{list_unsubscribe: false}}}}\nlink_keys: k\n{more}rules:\n{rules}"
    )
    return parse(text.encode(), Path("fletching.yaml"))


LAST = "  - {name: all, last: true}\n"
CRM = "set: {mail_class: crm}"


def two(first: str, second: str) -> str:
    """A rule with `last`, and one that sets the class."""
    return f"  - {{when: {{{first}}}, last: true}}\n  - {{when: {{{second}}}, {CRM}}}"


# Rules, and what is said of the last one.
DOUBTS = {
    "below an unconditional last": (
        f"{LAST}  - {{name: b, {CRM}}}",
        "b never matches: all has last, and matches all of this mail",
    ),
    "without a name": (
        f"{LAST}  - {{{CRM}}}",
        "rule 2 (fletching.yaml:5) never matches: all has last, and matches all of this mail",
    ),
    "below a last for the same header": (
        "  - {name: a, when: {header: {X-Priority: [1, 2]}}, last: true}\n"
        f"  - {{name: b, when: {{header: {{x-priority: 2}}, login: shop}}, {CRM}}}",
        "b never matches: a has last, and matches all of this mail",
    ),
    "below a last for a header that is present": (
        "  - {name: a, when: {header: {X-A: true}}, last: true}\n"
        f"  - {{name: b, when: {{header: {{X-A: x}}}}, {CRM}}}",
        "b never matches: a has last, and matches all of this mail",
    ),
    "below a last for a wider network": (
        "  - {name: a, when: {client: 10.0.0.0/8}, last: true}\n"
        f"  - {{name: b, when: {{client: [10.1.0.0/16, 10.2.2.2]}}, {CRM}}}",
        "b never matches: a has last, and matches all of this mail",
    ),
    "below a last for smaller mail": (
        "  - {name: a, when: {size: '> 1KiB'}, last: true}\n"
        f"  - {{name: b, when: {{size: '> 1MiB'}}, {CRM}}}",
        "b never matches: a has last, and matches all of this mail",
    ),
    "not excludes the other tests": (
        f"  - {{name: b, when: {{login: shop, not: {{login: [shop, crm]}}}}, {CRM}}}",
        "b never matches: not excludes all mail that passes the other tests",
    ),
    "addresses as domains": (
        f"  - {{name: b, when: {{recipient_domain: joe@example.com}}, {CRM}}}",
        "b never matches: recipient_domain has addresses: use recipient",
    ),
    "a name in from": (
        f"  - {{name: b, when: {{from: Support}}, {CRM}}}",
        "b never matches: from has no address; a name in From is tested by header: {From: ...}",
    ),
    "recipients in other domains": (
        f"  - {{name: b, when: {{recipient: '*@a.example', recipient_domain: b.example}}, {CRM}}}",
        "b never matches: recipient and recipient_domain exclude each other",
    ),
    "smaller than nothing": (
        f"  - {{name: b, when: {{size: '< 0'}}, {CRM}}}",
        "b never matches: no mail is smaller than 0",
    ),
    "any of impossible groups": (
        f"  - {{name: b, when: {{any: [{{size: '< 0'}}, {{from: a}}]}}, {CRM}}}",
        "b never matches: no mail is smaller than 0",
    ),
    "sets what an earlier rule sets": (
        f"  - {{name: a, {CRM}}}\n  - {{name: b, when: {{login: shop}}, {CRM}}}",
        "b has no effect: a sets the same for all of this mail, and comes first",
    ),
}


@for_every(DOUBTS)
def test_doubt(rules: str, said: str) -> None:
    assert [each.rule for each in doubts(config(rules))] == [said]


NO_DOUBTS = [
    two("login: a", "login: b"),
    two("login: a", ""),
    two("header: {X-A: false}", "header: {X-B: x}"),
    two("header: {X-A: x}", "header: {X-A: true}"),
    two("client: 10.1.0.0/16", "client: 10.0.0.0/8"),
    two(r"header: {X-A: /\D/}", r"header: {X-A: /\d/}"),
    f"  - {{when: {{recipient: ['*@a.example', joe], recipient_domain: b.example}}, {CRM}}}",
    f"  - {{when: {{from: 'a*'}}, {CRM}}}",
    f"  - {{{CRM}}}\n  - {{{CRM}, last: true}}",
    f"  - {{{CRM}}}\n  - {{{CRM}, do: {{hold: why}}}}",
    f"  - {{{CRM}}}\n  - {{set: {{mail_class: crm, list_id: a}}}}",
    "  - {set: {list_id: '{header.X-A}'}}\n  - {set: {list_id: a}}",
    f"  - {{when: {{client: 203.0.113.0/24}}, {CRM}}}",
]


@for_every(NO_DOUBTS)
def test_no_doubt(rules: str) -> None:
    assert [each.rule for each in doubts(config(rules))] == []


def test_class_of_a_login_that_is_forced_to_another() -> None:
    rules = f"  - {{name: b, when: {{login: [crm, crm@example.com]}}, {CRM}}}"
    users = "users: {crm: {force_mail_class: crm}, shop: {mail_class: crm}}\n"
    said = "b has no effect: users.crm.force_mail_class decides for this login"
    assert [each.rule for each in doubts(config(rules, users))] == [said]
    assert list(doubts(config(rules.replace("crm@example.com", "shop"), users))) == []


def test_client_that_is_never_trusted() -> None:
    rules = f"  - {{name: b, when: {{client: 203.0.113.0/24}}, {CRM}}}"
    site = config(rules, "trusted: {authenticated: false}\n")
    said = "b never matches: no client of these networks is trusted (trusted.networks)"
    assert [each.rule for each in doubts(site)] == [said]


def test_rule_that_never_matches_matches_no_random_mail() -> None:
    total = 0
    for seed in range(30):
        draw = Draw(seed)
        site = draw.rules(60)
        dead = {each.path[1] for each in doubts(site) if "never matches" in each.rule}
        total += len(dead)
        for _ in range(50):
            message, envelope = draw.mail()
            assert not dead & set(Plain(message, envelope).matching(site.rules))
    assert total > 30


# What only `check` sees.


def findings(rules: str, folder: Path) -> list[tuple[str, str]]:
    site = parse(f"rules:\n{rules}".encode(), folder / "fletching.yaml")
    return [(str(each.level), f"{each.place}: {each.text}") for each in check_rules(site)]


def test_check_reads_the_files_of_recipients(tmp_path: Path) -> None:
    rule = "  - {when: {not: {recipient_in: vip.txt}}, last: true}"
    option, path = "rules[0].when.not.recipient_in", tmp_path / "vip.txt"
    assert findings(rule, tmp_path) == [("error", f"{option}: {path}: No such file or directory")]
    path.write_bytes(FILES["vip.txt"])
    assert findings(rule, tmp_path) == [("ok", f"{option}: {path}: addresses and domains: 2")]
    path.write_bytes(b"joe@example.com\nJoe Doe\n")
    said = f"{option}: {path}: line 2: must be a mail address or a domain"
    assert findings(rule, tmp_path) == [("error", said)]


def test_check_knows_the_providers_of_domains(tmp_path: Path) -> None:
    rule = "  - {when: {provider: google, recipient_domain: DOMAIN}, last: true}"
    assert findings(rule.replace("DOMAIN", "gmail.com"), tmp_path) == []
    said = "never matches: provider and recipient_domain exclude each other"
    assert findings(rule.replace("DOMAIN", "yahoo.com"), tmp_path) == [
        ("warning", f"rules[0]: rule 1 (fletching.yaml:2) {said}")
    ]
