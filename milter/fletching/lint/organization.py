"""Which organization a domain belongs to, and whether two domains are aligned (RFC 9989).

RFC 9989 finds the organizational domain by asking the DNS for DMARC records on the way up, the tree
walk of section 4.10. Here is the walk, over a function that asks; what a DMARC record is; and an
approximation for when nobody may ask.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

_MOST_LABELS = 7
# Labels below which countries register domains: example.co.uk is one.
_SECOND_LEVEL = frozenset(
    (
        *("ac", "asn", "co", "com", "edu", "gen", "gob", "gouv", "gov", "govt", "id", "info"),
        *("ltd", "me", "mil", "ne", "net", "nom", "or", "org", "plc", "sch"),
    )
)
_VERSION = re.compile(r"v\s*=\s*DMARC1\s*(?:;|\Z)")

Records = Callable[[str], Sequence[str]]
"""The TXT records of a name."""


def approximate(domain: str) -> str:
    """The last two labels, or three where the second is one such as `co` under a country.

    Without the DNS this is a guess, which is wrong for domains registered below others, such as
    `example.github.io`.
    """
    labels = domain.lower().rstrip(".").split(".")
    is_third = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL
    return ".".join(labels[-3 if is_third else -2 :])


def tags(record: str) -> dict[str, str]:
    """The tags of a DMARC record, names in lower case; of a repeated one, the first."""
    found: dict[str, str] = {}
    for part in record.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            found.setdefault(name.strip().lower(), value.strip())
    return found


@dataclass(frozen=True, slots=True)
class Policy:
    """What the DNS says of a From domain.

    ``records``: the DMARC records at ``at``: the domain itself, else its organizational domain,
    else the public suffix above that. None if ``at`` is empty.
    """

    organization: str
    at: str = ""
    records: tuple[str, ...] = ()

    @property
    def tags(self) -> Mapping[str, str]:
        """The tags of the one record; none if there is not exactly one."""
        return tags(self.records[0]) if len(self.records) == 1 else {}


def discover(domain: str, records: Records) -> Policy:
    """The policy of a domain by the tree walk. Raises what ``records`` raises."""
    found: dict[str, tuple[str, ...]] = {}
    organization = suffix = domain
    for name in _way_up(domain):
        texts = tuple(text for text in records(f"_dmarc.{name}") if _VERSION.match(text))
        if name == domain or len(texts) == 1:
            found[name] = texts
        if len(texts) != 1:
            continue
        psd = tags(texts[0]).get("psd", "u").lower()
        if psd == "y" and name != domain:
            # The organizational domain is the one right below.
            organization, suffix = ".".join(domain.split(".")[-name.count(".") - 2 :]), name
            break
        organization = name
        if psd in ("n", "y"):
            break
    for at in (domain, organization, suffix):
        if found.get(at):
            return Policy(organization, at, found[at])
    return Policy(organization)


def _way_up(domain: str) -> Iterator[str]:
    """The domain, then the domains above it; of a long one only those with few labels."""
    labels = domain.split(".")
    yield domain
    first = 1 if len(labels) <= _MOST_LABELS else len(labels) - _MOST_LABELS
    for start in range(first, len(labels)):
        yield ".".join(labels[start:])


@dataclass(frozen=True, slots=True)
class Alignment:
    """Whether domains are aligned with that of From.

    ``organization``: the organizational domain of a domain. ``strict_dkim``, ``strict_spf``: the
    DMARC record has adkim=s, aspf=s.
    """

    organization: Callable[[str], str] = field(default=approximate)
    strict_dkim: bool = False
    strict_spf: bool = False

    def dkim(self, signer: str, author: str) -> bool:
        """Whether a signature of the domain ``signer`` is aligned with From."""
        return self._aligned(signer, author, self.strict_dkim)

    def spf(self, return_path: str, author: str) -> bool:
        """Whether a return path in that domain is aligned with From."""
        return self._aligned(return_path, author, self.strict_spf)

    def related(self, one: str, other: str) -> bool:
        """Whether two hosts belong to one organization."""
        return self._aligned(one, other, strict=False)

    def _aligned(self, one: str, other: str, strict: bool) -> bool:
        if one == other:
            return True
        return not strict and self.organization(one) == self.organization(other)
