"""DNS lookups of one command: each name is asked for once, and failures are remembered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dns.exception
import dns.resolver
import dns.reversename

from fletching.admin.dkim_dns import answers


class Lookups:
    """Records by name and type. ``failed``: why a name got no answer, by name."""

    def __init__(self, resolver: dns.resolver.Resolver) -> None:
        self._resolver = resolver
        self._known: dict[tuple[str, str], Sequence[Any] | None] = {}
        self.failed: dict[str, str] = {}

    def records(self, name: str, kind: str) -> Sequence[Any] | None:
        """The records, none if there are none; None if there was no answer."""
        key = (name.lower().rstrip("."), kind)
        if key not in self._known:
            self._known[key] = self._asked(*key)
        return self._known[key]

    def _asked(self, name: str, kind: str) -> Sequence[Any] | None:
        try:
            return answers(name, kind, self._resolver)
        except dns.exception.DNSException as trouble:
            self.failed[name] = str(trouble) or type(trouble).__name__
        except UnicodeError:
            self.failed[name] = "not a name"
        return None

    def texts(self, name: str) -> tuple[str, ...] | None:
        """The TXT records as text; None if there was no answer."""
        found = self.records(name, "TXT")
        if found is None:
            return None
        return tuple(b"".join(record.strings).decode("utf-8", "replace") for record in found)

    def addresses(self, name: str) -> frozenset[str] | None:
        """The IP addresses of a host; None if there are none and a lookup failed."""
        kinds = [self.records(name, kind) for kind in ("A", "AAAA")]
        found = frozenset(record.address for records in kinds for record in records or ())
        return None if not found and None in kinds else found

    def names_of(self, address: str) -> tuple[str, ...] | None:
        """The names in the PTR records of an address; None if there was no answer."""
        reverse = dns.reversename.from_address(address).to_text(omit_final_dot=True)
        found = self.records(reverse, "PTR")
        if found is None:
            return None
        return tuple(record.target.to_text(omit_final_dot=True).lower() for record in found)
