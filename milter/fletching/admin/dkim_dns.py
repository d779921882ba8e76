"""Whether the DNS has the record of a DKIM key: for `fletching check --dns` and `dkim rotate`."""

from __future__ import annotations

import re
from typing import Literal

import dns.exception
import dns.name
import dns.resolver

from fletching.admin.dkim_verify import objection
from fletching.keys.dkim_keys import dkim_record, record_name
from fletching.mail.dkim import Signature, SigningKey, ascii_domain, sign
from fletching.mail.message import parse

Judgement = tuple[Literal["ok", "warning", "error"], str]
"""How good a record is, and why."""

_NO_SUCH = (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer)


def answers(name: str, kind: str, resolver: dns.resolver.Resolver) -> list[object]:
    """The records of a name, perhaps none. Raises DNSException if the lookup fails."""
    try:
        return list(resolver.resolve(dns.name.from_text(name), kind))
    except _NO_SUCH:
        return []


def judge_record(key: SigningKey, resolver: dns.resolver.Resolver) -> Judgement:
    """Whether verifiers that ask these name servers accept the key's signatures."""
    try:
        found = answers(record_name(key), "TXT", resolver)
    except dns.exception.DNSException as trouble:
        return "error", f"no answer: {trouble}"
    texts = [b"".join(record.strings).decode("utf-8", "replace") for record in found]  # type: ignore[attr-defined]
    records = [text for text in texts if "p" in _tags(text)]
    if not records:
        return "error", "no DKIM record; print it with `fletching dkim record`"
    if len(records) > 1:
        return "error", "has several DKIM records: verifiers may use any of them"
    level, why = _compared(_tags(records[0]), _tags(dkim_record(key)))
    if level == "ok" and (wrong := objection(_probe(key), 0, records[0].encode())):
        return "error", f"dkimpy cannot verify a test signature with this key: {wrong}"
    return level, why


def _probe(key: SigningKey) -> bytes:
    """A message signed with the key."""
    mail = parse(f"From: probe@{ascii_domain(key.domain)}\r\n\r\nProbe.\r\n".encode())
    return bytes(sign(mail, [Signature(key.domain, key.selector, key)], 0))


def _compared(there: dict[str, str], ours: dict[str, str]) -> Judgement:
    if not there["p"]:
        return "error", "the key is revoked (empty p=)"
    if (there.get("k", "rsa"), there["p"]) != (ours["k"], ours["p"]):
        return "error", "does not match our private key"
    if "v" in there and there["v"] != "DKIM1":
        return "error", "must begin with v=DKIM1"
    if "h" in there and "sha256" not in there["h"].split(":"):
        return "error", "does not allow sha256 (h=)"
    if "s" in there and not {"*", "email"} & set(there["s"].split(":")):
        return "error", "not valid for email (s=)"
    if "y" in there.get("t", "").split(":"):
        return "warning", "in test mode (t=y): verifiers may ignore the signature"
    return "ok", "matches our private key; a test signature verifies"


def _tags(record: str) -> dict[str, str]:
    """Names and values of a tag list (RFC 6376 section 3.2), without white space in values."""
    pairs = (part.partition("=") for part in record.split(";"))
    return {name.strip(): re.sub(r"\s+", "", value) for name, mark, value in pairs if mark}
