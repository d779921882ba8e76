"""`fletching rules test`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.host import SITE, Host

RULES = """\
rules:
  - {name: gmail, when: {recipient_domain: gmail.com}, set: {virtual_mta: a}}
  - {name: offers, when: {header: {Subject: "offers*"}, size: "< 1MiB"}, last: true}
  - {when: {login: crm}, set: {mail_class: crm}}
  - {name: large, when: {size: "> 1MiB"}, do: {hold: large}}
"""


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host(tmp_path)
    made.config.write_text(SITE + RULES)
    return made


def test_each_rule_and_the_test_that_failed_first(host: Host) -> None:
    result = host.run("rules", "test", str(host.mail), "--auth", "crm")
    assert result.exit_code == 0
    line = SITE.count("\n") + 2
    crm = f"fletching.yaml:{line + 2}"
    assert [row.split() for row in result.stdout.splitlines()] == [
        ["rule", "line", "matches", "reason"],
        ["gmail", f"fletching.yaml:{line}", "no", "recipient_domain:", "example.org"],
        ["offers", f"fletching.yaml:{line + 1}", "yes"],
        f"rule 3 (fletching.yaml:{line + 2}) {crm} yes ignored below offers".split(),
        ["large", f"fletching.yaml:{line + 3}", "no", "size"],
    ]


def test_json(host: Host) -> None:
    answer = host.json("rules", "test", str(host.mail), "--rcpt", "joe@gmail.com")
    assert answer["trusted"] is True
    first, offers, crm, _large = answer["rules"]
    assert (first["rule"], first["matches"], first["applies"], first["failed"]) == (
        *("gmail", True, True),
        None,
    )
    assert (offers["applies"], offers["last"]) == (True, None)
    assert (crm["failed"], crm["values"], crm["last"]) == ("login", [], "offers")


def test_rules_of_an_untrusted_client_do_not_apply(host: Host) -> None:
    words = ("rules", "test", str(host.mail), "--client", "203.0.113.1")
    result = host.run(*words)
    assert result.exit_code == 1
    assert "the client is not trusted (trusted.networks): no rule applies" in result.stderr
    assert not any(row["applies"] for row in host.json(*words)["rules"])


def test_what_the_mail_has_is_printed_safely(host: Host) -> None:
    host.mail.write_bytes(b"Subject: \x1b[31m\nFrom: a@example.com\n\n")
    result = host.run("rules", "test", str(host.mail))
    assert "header.Subject: \\x1b[31m" in result.stdout
    assert result.exit_code == 1


def test_explain_of_a_discarded_mail_demands_nothing_of_it(host: Host) -> None:
    host.config.write_text(SITE + "rules: [{do: {discard: true}}]\n")
    assert host.json("explain", str(host.mail))["lint"] is None
    words = host.run("explain", str(host.mail)).stdout
    assert "accept: discarded, nobody gets it" in words
    assert "Demands" not in words
    assert "Offers" not in words
