"""DKIM verifiers that no one here wrote: dkimpy and OpenDKIM.

Both answer from a table of DNS records: a name such as ``s1._domainkey.example.com`` and its TXT.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import dkim

from sandbox.processes import program

Records = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verifier says about one DKIM-Signature of a mail."""

    domain: str
    selector: str
    algorithm: str
    passed: bool


def verify_dkimpy(raw: bytes, records: Records) -> list[Verdict]:
    """dkimpy's verdicts, in the order of the fields from the top."""

    def answer(name: bytes | str, timeout: int = 5) -> bytes | None:
        text = name.decode() if isinstance(name, bytes) else name
        record = records.get(text.rstrip("."))
        return None if record is None else record.encode()

    verdicts = []
    for index in range(_signatures(raw)):
        verifier = dkim.DKIM(raw)
        try:
            passed = verifier.verify(index, dnsfunc=answer)
        except dkim.DKIMException:
            passed = False
        fields = verifier.signature_fields or {}
        domain, selector, algorithm = (fields.get(t, b"").decode() for t in (b"d", b"s", b"a"))
        verdicts.append(Verdict(domain, selector, algorithm, passed))
    return verdicts


def _signatures(raw: bytes) -> int:
    fields = dkim.rfc822_parse(raw)[0]
    return sum(1 for name, _ in fields if name.lower() == b"dkim-signature")


def verify_opendkim(raw: bytes, records: Records) -> list[Verdict]:
    """OpenDKIM's verdicts, in the order of the fields from the top.

    Its test mode says nothing about a mail whose last line has no end (none comes so by SMTP); a
    verdict that is missing for any reason is an error, not an empty list.
    """
    with tempfile.TemporaryDirectory(prefix="fletching-opendkim-") as name:
        directory = Path(name)
        keys = directory / "keys"
        keys.write_text("".join(f"{host} {record}\n" for host, record in records.items()))
        (directory / "config").write_text(f"Mode v\nTestPublicKeys {keys}\n")
        (directory / "mail").write_bytes(raw)
        done = subprocess.run(
            [
                program("opendkim", "opendkim"),
                *("-x", directory / "config", "-t", directory / "mail", "-vv"),
            ],
            capture_output=True,
            check=True,
        )
    output = done.stdout.decode("utf-8", "replace")
    verdicts = _authentication_results(output)
    assert len(verdicts) == _signatures(raw), (
        f"OpenDKIM has not judged all: {output}{done.stderr!r}"
    )
    return verdicts


def _authentication_results(output: str) -> list[Verdict]:
    verdicts = []
    for result, properties in re.findall(r"(?s)\bdkim=(\w+)(.*?)(?=;|'$)", output):
        value = dict(re.findall(r"header\.(\w)=([^\s;']+)", properties))
        if "d" in value:
            verdicts.append(Verdict(value["d"], value["s"], value.get("a", ""), result == "pass"))
    return verdicts
