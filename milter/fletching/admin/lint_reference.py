"""The page docs/lint.md, generated from the rules: `python -m fletching.admin.lint_reference`."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from fletching.lint.dns_rules import DNS_RULES
from fletching.lint.mail_rules import MAIL_RULES
from fletching.lint.rule import Rule

_HEAD = """\
# What mailbox providers demand

Generated from the rules by `make docs`.

    fletching lint newsletter.eml --rcpt joe@example.org
    fletching lint newsletter.eml --rcpt joe@example.org --dns
    fletching lint --sent --dns received.eml

`fletching lint` judges one mail by what Gmail, Yahoo, Microsoft, Apple, GMX, WEB.DE and La Poste
demand of bulk mail. It prints one line per finding, errors first, and exits with 1 if there are
errors. A line ends with who demands it, and the first page that says so; `--json` has all pages.
`fletching explain` says how many findings there are.

The mail is one that an application submits: it is carried through Fletching as by
`fletching preview`, with the same options, and what would leave is judged. A mail that was sent
already, such as one that you saved from your mailbox, is judged as it is: give `--sent`. A mail
with our X-Mailer-Info and no control headers is always judged so.

- An **error** makes at least one large provider reject the mail or put it into the spam folder, or
  breaks a standard that they require.
- A **warning** is against a provider's advice, or looks like spam.
- An **info** is worth knowing.

Mail of a class with `list_unsubscribe: false` counts as transactional: it needs no unsubscribe
link. With `dkim.enabled: false` there is no signature yet that could be judged.

What no single mail shows: whether recipients asked for it, how many complain (Gmail wants less than
0.1 %, and never 0.3 %), and whether your addresses are on block lists.

## Domains that belong together

A signature or return path is aligned with From if both are in one organization. RFC 9989 finds the
organization with DMARC records in the DNS, from the domain upwards (the tree walk). `--dns` does
that, and follows `adkim` and `aspf`. Without `--dns`, the last two labels of a domain count as its
organization, or the last three in domains such as `example.co.uk`. That is wrong for domains that
are registered below other names.

## Rules about the mail

"""
_DNS = """\

## Rules about the DNS

These need `--dns`. Addresses are those of the VirtualMTAs that may carry the mail, if they have
`address`; of a mail that is not routed, or was sent already, those of all VirtualMTAs. Receivers
see another address if a VirtualMTA has `relay`, or a private address: a finding says so. SPF is
evaluated by pyspf ([decision 0047](decisions/0047-lint.md)). The certificate is that of the
tracking host of the mail's class; it must be trusted by this host.

"""
_SOURCES = """\

## Sources

Providers' pages were read on the day given, some as an archived copy; of Yahoo's and Microsoft's
demands, a report was read. They change: the provider's own page counts.

"""


def page() -> str:
    """The whole page."""
    rules = (*MAIL_RULES, *DNS_RULES)
    return _HEAD + _table(MAIL_RULES) + _DNS + _table(DNS_RULES) + _SOURCES + _sources(rules)


def _table(rules: Iterable[Rule]) -> str:
    rows = [
        f"| `{rule.name}` | {rule.severity} | {rule.demand} | {rule.demanded_by} | {rule.cure} |\n"
        for rule in rules
    ]
    return "| rule | severity | demand | of | cure |\n|---|---|---|---|---|\n" + "".join(rows)


def _sources(rules: Iterable[Rule]) -> str:
    sources = dict.fromkeys(source for rule in rules for source in rule.sources)
    ordered = sorted(sources, key=lambda source: (not source.read, source.by, source.url))
    rows = [f"| {source.by} | {source.url} | {source.read or '-'} |\n" for source in ordered]
    return "| of | page | read |\n|---|---|---|\n" + "".join(rows)


if __name__ == "__main__":
    sys.stdout.write(page())
