"""DKIM-Signature fields, and which domains belong together: what `fletching lint` reads of them."""

from __future__ import annotations

from collections.abc import Iterable

from fletching.lint.organization import Policy, approximate, discover
from fletching.lint.signatures import SignatureField, signatures
from fletching.mail.message import parse

from tests.cases import for_every

# DKIM-Signature fields.


def test_fields_of_a_signature() -> None:
    field = "v=1; a=RSA-SHA256; d=EXAMPLE.com;\n s=s1; h=From : Subject:from;\n bh=x; b=y; l=10"
    (found,) = signatures(parse(f"DKIM-Signature: {field}\n\n".encode()))
    wanted = SignatureField(
        "example.com", "s1", "rsa-sha256", frozenset({"from", "subject"}), limited=True
    )
    assert found == wanted


@for_every(["", "v=1", "d=example.com; s=s1; bh=x; b=", "d=a b; s=s1; bh=x; b=y", "d=a; d=a", "d"])
def test_broken_signature(field: str) -> None:
    (found,) = signatures(parse(f"DKIM-Signature: {field}\n\n".encode()))
    assert not found.usable
    assert found.objection == "a tag is missing or broken"


# Organizations.


@for_every(
    {
        "example.com": "example.com",
        "a.b.example.com": "example.com",
        "a.example.co.uk": "example.co.uk",
        "example.co.uk": "example.co.uk",
        "mail.web.de": "web.de",
        "co.uk": "co.uk",
        "localhost": "localhost",
    }.items()
)
def test_approximate_organization(domain: str, organization: str) -> None:
    assert approximate(domain) == organization


Zone = dict[str, list[str]]


def policy(domain: str, zone: Zone) -> tuple[Policy, list[str]]:
    """The policy, and which names were asked for."""
    asked: list[str] = []

    def records(name: str) -> Iterable[str]:
        asked.append(name)
        return zone.get(name, [])

    return discover(domain, lambda name: list(records(name))), asked


P = "v=DMARC1; p=none"

ZONES: dict[str, tuple[str, Zone, str, str]] = {
    "no record": ("a.example.com", {}, "a.example.com", ""),
    "own record": ("example.com", {"_dmarc.example.com": [P]}, "example.com", "example.com"),
    "record above": ("a.example.com", {"_dmarc.example.com": [P]}, "example.com", "example.com"),
    "both": ("a.example.com", {"_dmarc.example.com": [P], "_dmarc.a.example.com": [P]},
        "example.com", "a.example.com"),
    "psd=n ends the walk": ("a.b.example.com",
        {"_dmarc.b.example.com": [f"{P}; psd=n"], "_dmarc.example.com": [P]},
        "b.example.com", "b.example.com"),
    "below psd=y": ("a.b.example.com", {"_dmarc.example.com": [f"{P}; psd=y"]},
        "b.example.com", "example.com"),
    "psd=y of the domain": ("example.com", {"_dmarc.example.com": [f"{P}; psd=y"]},
        "example.com", "example.com"),
    "unrelated text": ("a.example.com", {"_dmarc.example.com": ["v=spf1 -all"]},
        "a.example.com", ""),
    "two records above do not count": ("a.example.com", {"_dmarc.example.com": [P, P]},
        "a.example.com", ""),
    "two records": ("example.com", {"_dmarc.example.com": [P, P]}, "example.com", "example.com"),
    "the highest counts": ("a.b.example.com",
        {"_dmarc.b.example.com": [P], "_dmarc.example.com": [P]}, "example.com", "example.com"),
}  # fmt: skip


@for_every(ZONES)
def test_tree_walk(domain: str, zone: Zone, organization: str, at: str) -> None:
    found, _ = policy(domain, zone)
    assert (found.organization, found.at) == (organization, at)


def test_tree_walk_skips_labels_of_a_long_name() -> None:
    _, asked = policy("a.b.c.d.e.f.g.h.i.example.com", {})
    after = ["e", "f", "g", "h", "i", "example", "com"]
    assert asked == [
        "_dmarc.a.b.c.d.e.f.g.h.i.example.com",
        *(f"_dmarc.{'.'.join(after[at:])}" for at in range(7)),
    ]
