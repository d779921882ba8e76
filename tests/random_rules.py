"""Random mail against random rules: `python -m tests.random_rules [MAILS] [RULES] [SEED]`.

Of each mail, the rules that the index finds must be those that a plain evaluation finds, which
tries each rule in turn and compares texts by Python's own `re` (100,000 mails against 200 rules
without arguments). `test_random_rules.py` does a few of them in the suite.
"""

from __future__ import annotations

import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from email.header import decode_header, make_header
from ipaddress import ip_address

import yaml
from fletching.config.model import Config
from fletching.config.rules import Rule, When
from fletching.mail.envelope import Envelope, Recipient
from fletching.mail.message import Header, Message
from fletching.policy.rules import matching
from fletching.policy.rules.matching import CompiledRules
from fletching.policy.rules.recipient_table import RecipientTable, table
from fletching.providers import Providers

from tests.setting import config

FIELDS = ("X-Priority", "X-Segment", "x-job", "X-Team")
WORDS = ("1", "2", "gold", "Gold", "silver", "crm", "Größe", "a b", "gold-1", "", "x*y", "=?q?=")
LOCALS = ("joe", "Ann", "app", "news", "büro")
DOMAINS = (
    "gmail.com",
    "GoogleMail.com",
    "yahoo.com",
    "example.com",
    "crm.example.com",
    "xn--bcher-kva.example",
)
LOGINS = ("shop", "CRM", "crm@example.com")
CLIENTS = ("127.0.0.1", "10.1.2.3", "10.9.9.9", "2001:db8::1", "::ffff:10.1.2.3", "")
NETWORKS = ("10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "127.0.0.0/8", "2001:db8::/32", "::/0")
PROVIDERS = {"google": ["gmail.com", "googlemail.com"], "yahoo": ["yahoo.com"]}
FILES = {
    "vip.txt": b"joe@gmail.com\nexample.com\n# a comment\n",
    "bulk.txt": b"yahoo.com\ngmail.com\nann@crm.example.com\n",
}
SIZES = (50, 100, 150, 200, 300)


class Draw:
    """Random rules and mails, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def rules(self, count: int) -> Config:
        """A configuration with that many rules."""
        rules = [self.rule() for _ in range(count)]
        providers = yaml.safe_dump({"providers": PROVIDERS})
        return config(providers + yaml.safe_dump({"rules": rules}, allow_unicode=True))

    def rule(self) -> dict[str, object]:
        made: dict[str, object] = {"last": self.chance.random() < 0.05}
        if not made["last"]:
            made["do"] = {"hold": "test"}
        if self.chance.random() < 0.98:
            made["when"] = self.when(2)
        return made

    def when(self, depth: int) -> dict[str, object]:
        found: dict[str, object] = {}
        for _ in range(self.chance.choice((1, 1, 2, 3))):
            name = self.chance.choice(tuple(_OPTIONS) if depth else _PLAIN)
            found[name] = _OPTIONS[name](self, depth)
        return found

    def field_tests(self, _depth: int) -> dict[str, object]:
        names = self.chance.sample(FIELDS, self.chance.choice((1, 1, 2)))
        return {
            name: self.chance.random() < 0.5 if self.chance.random() < 0.2 else self.texts(WORDS)
            for name in names
        }

    def texts(self, known: tuple[str, ...]) -> object:
        found = [
            self.pattern(self.chance.choice(known)) for _ in range(self.chance.choice((1, 1, 3)))
        ]
        return found[0] if len(found) == 1 and self.chance.random() < 0.5 else found

    def pattern(self, text: str) -> str:
        """The text, or a glob or an expression that matches it and others."""
        at = self.chance.randint(0, len(text))
        plain = re.sub(r"[^\w@.-]", ".", text)
        match self.chance.randrange(9):
            case 0:
                return text[:at] + "*"
            case 1:
                return "*" + text[at:]
            case 2 if text:
                at = min(at, len(text) - 1)
                return text[:at] + "?" + text[at + 1 :]
            case 3 if "@" in text:
                return "*@" + text.partition("@")[2]
            case 4 if plain[at:]:
                return f"/{plain[at:]}$/"
            case 5 if plain[:at]:
                return f"/^({plain[:at]}|z)/"
            case 6 if plain:
                return f"/{plain.upper()}/"
        return text

    def address(self) -> str:
        return f"{self.chance.choice(LOCALS)}@{self.chance.choice(DOMAINS)}"

    def mail(self) -> tuple[Message, Envelope]:
        fields = [("From", ", ".join(f"<{self.address()}>" for _ in range(self.some())))]
        for name in FIELDS:
            for _ in range(self.chance.choice((0, 1, 1, 2))):
                fields.append((self.chance.choice((name, name.upper())), self.chance.choice(WORDS)))
        headers = tuple(
            Header(name.encode(), b" " + value.encode(), position)
            for position, (name, value) in enumerate(fields)
        )
        body = b"x" * self.chance.randrange(250)
        to = tuple(Recipient(self.address(), "smtp") for _ in range(self.some()))
        login = self.chance.choice((None, *LOGINS))
        sender = "" if self.chance.random() < 0.1 else self.address()
        client = self.chance.choice(CLIENTS)
        return Message(headers, body), Envelope(sender, to, client, login=login)

    def some(self) -> int:
        return self.chance.choice((1, 1, 1, 2, 3))


def _addresses(draw: Draw, _depth: int) -> object:
    return draw.texts((*(draw.address() for _ in range(3)), "<>"))


_OPTIONS: Mapping[str, Callable[[Draw, int], object]] = {
    "header": Draw.field_tests,
    "sender": _addresses,
    "from": _addresses,
    "recipient": _addresses,
    "recipient_domain": lambda draw, _: draw.texts((*DOMAINS, "bücher.example")),
    "recipient_in": lambda draw, _: draw.chance.sample(tuple(FILES), draw.chance.choice((1, 2))),
    "provider": lambda draw, _: draw.chance.sample(("google", "YAHOO", "other", "g*"), 2),
    "login": lambda draw, _: draw.texts(LOGINS),
    "client": lambda draw, _: draw.chance.sample(NETWORKS, draw.chance.choice((1, 2))),
    "size": lambda draw, _: f"{draw.chance.choice('<>')} {draw.chance.choice(SIZES)}",
    "not": lambda draw, depth: draw.when(depth - 1),
    "any": lambda draw, depth: [draw.when(depth - 1) for _ in range(draw.chance.choice((1, 2)))],
}
_PLAIN = tuple(_OPTIONS)[:-2]


# The plain evaluation. It shares no code with the program but the options.


class Plain:
    """The facts of one mail."""

    def __init__(self, message: Message, envelope: Envelope) -> None:
        self.fields: dict[str, list[str]] = {}
        for each in message.headers:
            value = str(make_header(decode_header(each.value.decode().strip())))
            self.fields.setdefault(each.name.decode().lower(), []).append(value)
        self.envelope = envelope
        self.size = len(bytes(message))
        self.senders = re.findall("<(.*?)>", self.fields["from"][0])
        address = ip_address(envelope.client) if envelope.client else None
        self.client = getattr(address, "ipv4_mapped", None) or address

    def matching(self, rules: tuple[Rule, ...]) -> list[int]:
        """The numbers of the rules that match, up to one with `last`."""
        found = []
        for number, rule in enumerate(rules):
            if rule.when is None or self.holds(rule.when):
                found.append(number)
                if rule.last:
                    break
        return found

    def holds(self, when: When) -> bool:
        to = [each.address for each in self.envelope.recipients]
        domains = [each.rpartition("@")[2].lower() for each in to]
        login = [self.envelope.login] if self.envelope.login else []
        return (
            all(self.has(name.lower(), test) for name, test in (when.header or {}).items())
            and one(when.sender, [self.envelope.sender], null=True)
            and one(when.from_, self.senders)
            and every(when.recipient, to)
            and every(when.recipient_domain, domains)
            and every(when.provider, [provider(each) for each in domains])
            and one(when.login, login)
            and self.in_files(when, to)
            and (
                when.client is None
                or any(self.client in each for each in when.client if self.client)
            )
            and self.sized(when)
            and (when.not_ is None or not self.holds(when.not_))
            and (when.any is None or any(map(self.holds, when.any)))
        )

    def has(self, name: str, test: bool | tuple[str, ...]) -> bool:
        values = self.fields.get(name, [])
        return bool(values) == test if isinstance(test, bool) else one(test, values)

    def in_files(self, when: When, to: list[str]) -> bool:
        if when.recipient_in is None:
            return True
        entries = {
            line for path in when.recipient_in for line in FILES[path.name].decode().split("\n")
        }
        return all({each.lower(), each.lower().rpartition("@")[2]} & entries for each in to)

    def sized(self, when: When) -> bool:
        if when.size is None:
            return True
        return any(
            self.size > each.octets if each.larger else self.size < each.octets
            for each in when.size
        )


def provider(domain: str) -> str:
    return next((name for name, domains in PROVIDERS.items() if domain in domains), "other")


def one(tests: tuple[str, ...] | None, values: list[str], null: bool = False) -> bool:
    return tests is None or any(same(test, value, null) for test in tests for value in values)


def every(tests: tuple[str, ...] | None, values: list[str]) -> bool:
    return tests is None or all(any(same(test, value) for test in tests) for value in values)


_EXPRESSIONS: dict[str, re.Pattern[str]] = {}


def same(test: str, value: str, null: bool = False) -> bool:
    """Whether a value of the mail is what a text of the configuration asks for."""
    if test not in _EXPRESSIONS:
        if len(test) > 2 and test[0] == test[-1] == "/":
            made = test[1:-1]
        elif "*" in test or "?" in test:
            made = "".join({"*": ".*", "?": "."}.get(each, re.escape(each)) for each in test)
            made = rf"\A(?:{made})\Z"
        else:
            made = rf"\A{re.escape(test)}\Z"
        _EXPRESSIONS[test] = re.compile(made, re.IGNORECASE | re.DOTALL)
    if null and test == "<>":
        return value == ""
    if test == "bücher.example":
        test = "xn--bcher-kva.example"
        return test == value
    return _EXPRESSIONS[test].search(value) is not None


def tables(site: Config) -> Mapping[str, RecipientTable]:
    return {
        str(path): table(FILES[path.name].splitlines()) for _place, path in site.recipient_files
    }


def differences(
    rules: CompiledRules, mails: Iterator[tuple[Message, Envelope]]
) -> Iterator[tuple[list[int], list[int], Message, Envelope]]:
    """Each mail for which both evaluations find different rules."""
    providers = Providers("", PROVIDERS)
    plain_rules = tuple(each.rule for each in rules.all)
    for message, envelope in mails:
        found = [each.number for each in rules.matching(message, envelope, providers).rules]
        wanted = Plain(message, envelope).matching(plain_rules)
        if found != wanted:
            yield found, wanted, message, envelope


def compiled(site: Config) -> CompiledRules:
    return matching.compiled(site, tables(site))


def main(mails: int = 100_000, rules: int = 200, seed: int = 1) -> int:
    draw = Draw(seed)
    start, wrong, found = time.monotonic(), 0, 0
    groups = 20
    for _ in range(groups):
        site = draw.rules(rules)
        of_group = (draw.mail() for _ in range(mails // groups))
        for indexed, plain, message, envelope in differences(compiled(site), of_group):
            wrong += 1
            print(f"index {indexed}, plain {plain}: {message} {envelope}")
        found += mails // groups
    seconds = time.monotonic() - start
    print(f"{found} mails against {rules} rules: {wrong} differ, {seconds:.0f} s, seed {seed}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
