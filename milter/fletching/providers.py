"""Which mailbox provider a recipient domain or a mail server belongs to. Pure.

The table is `providers.txt`; who reads it passes its text. The statistics by provider are in
`store/`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

OTHER = "other"
"""What a provider is called that is not in the table."""

# What may stand in place of the `*` of `yahoo.*`: a top-level domain, or a second level under one.
_ANY_COUNTRY = re.compile(r"[a-z]{2,3}|(co|com|net|org|ne|or)\.[a-z]{2}")
_LONGEST = 253
_KINDS = ("domain", "server")


class Providers:
    """A table of mailbox providers. Names of domains are compared in lower case, as A-labels."""

    def __init__(self, table: str, domains: Mapping[str, Iterable[str]] | None = None) -> None:
        """``table``: the text of `providers.txt`. ``domains``: recipient domains by provider, which
        win over the table. Raises ValueError with the number of the line."""
        self._domains: dict[str, str] = {}
        self._in_all_countries: dict[str, str] = {}
        self._servers: dict[str, str] = {}
        for number, line in enumerate(table.splitlines(), 1):
            if line and not line.startswith("#"):
                self._add(number, line.split())
        for provider, names in (domains or {}).items():
            self._domains.update(dict.fromkeys(map(str.lower, names), provider))

    def _add(self, number: int, words: list[str]) -> None:
        if len(words) != 3 or words[1] not in _KINDS:
            raise ValueError(f"line {number}: must be PROVIDER domain|server NAME")
        provider, kind, name = words
        names = self._servers if kind == "server" else self._domains
        if name.endswith(".*"):
            name, names = name[:-2], self._in_all_countries
        if names.setdefault(name, provider) != provider:
            raise ValueError(f"line {number}: {name} is {names[name]}'s already")

    @property
    def names(self) -> frozenset[str]:
        """The providers of the table."""
        tables = (self._domains, self._in_all_countries, self._servers)
        return frozenset(name for table in tables for name in table.values())

    def provider(self, domain: str, server: str = "") -> str:
        """The provider of a recipient domain; else, of the mail server that took or refused the
        mail (empty if unknown); else `OTHER`.
        """
        return self._of_domain(domain.lower()) or self._of_server(server.lower()) or OTHER

    def _of_domain(self, domain: str) -> str:
        if (found := self._domains.get(domain)) is not None:
            return found
        name, _, country = domain.partition(".")
        return self._in_all_countries.get(name, "") if _ANY_COUNTRY.fullmatch(country) else ""

    def _of_server(self, host: str) -> str:
        """By the host's name, or that of a domain above it."""
        host = host[:_LONGEST].rstrip(".")
        while host:
            if (found := self._servers.get(host)) is not None:
                return found
            host = host.partition(".")[2]
        return ""
