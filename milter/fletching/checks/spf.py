"""SPF of an address that sends, evaluated by pyspf, with our own lookups (decision 0047)."""

from __future__ import annotations

from typing import Any, NamedTuple

import spf

from fletching.checks.lookups import Lookups


class SpfResult(NamedTuple):
    """``result``: as in RFC 7208 section 2.6, such as `pass` or `permerror`. ``why``: pyspf's
    words."""

    result: str
    why: str


def evaluate(address: str, sender: str, helo: str, lookups: Lookups) -> SpfResult:
    """What a receiver finds that gets mail from an address with that envelope sender."""
    result, _, why = _Query(lookups, address, sender, helo).check()
    return SpfResult(result, why.removeprefix("SPF Permanent Error: "))


class _Query(spf.query):  # type: ignore[misc]  # pyspf has no types
    """A query that asks our resolver; pyspf's own takes the system's."""

    def __init__(self, lookups: Lookups, address: str, sender: str, helo: str) -> None:
        super().__init__(i=address, s=sender, h=helo)
        self._lookups = lookups

    def dns(
        self, name: object, qtype: str, cnames: object = None, ignore_void: bool = False
    ) -> list[Any]:
        """The records in pyspf's form; the resolver follows CNAMEs."""
        found = self._lookups.records(str(name), qtype)
        if found is None:
            raise spf.TempError(f"no answer about {name}")
        if not found and not ignore_void:
            self.void_lookups += 1
            if self.void_lookups > spf.MAX_VOID_LOOKUPS:
                raise spf.PermError(f"more than {spf.MAX_VOID_LOOKUPS} lookups without a result")
        return [_form(record, qtype) for record in found]


def _form(record: Any, kind: str) -> Any:
    if kind in ("A", "AAAA"):
        return record.address
    if kind == "MX":
        return record.preference, record.exchange.to_text(omit_final_dot=True)
    if kind == "PTR":
        return record.target.to_text(omit_final_dot=True)
    return record.strings
