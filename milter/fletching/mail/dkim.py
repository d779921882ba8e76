"""DKIM signing of the final mail: rsa-sha256 and ed25519-sha256, relaxed/relaxed.

Here live the two relaxed forms of RFC 6376 (sections 3.4.2 and 3.4.4), the choice of the fields
that are signed, and the layout of the DKIM-Signature field. Which keys sign is decided in `policy`;
key files are read in `keys`. The work is linear in the size of the mail, for any bytes.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from fletching.domains import a_labels
from fletching.mail.message import Header, Message
from fletching.mail.transfer import LONGEST_LINE

LEAST_RSA_BITS = 1024
"""Verifiers reject the signatures of shorter RSA keys (RFC 8301 section 3.2)."""

_FIELD_NAME = b"DKIM-Signature"
_COVERED = (
    b"from",
    b"subject",
    b"to",
    b"date",
    b"sender",
    b"reply-to",
    b"cc",
    b"message-id",
    b"in-reply-to",
    b"references",
    b"mime-version",
    b"content-type",
    b"content-transfer-encoding",
    b"list-id",
    b"list-unsubscribe",
    b"list-unsubscribe-post",
    b"feedback-id",
    b"cfbl-address",
    b"cfbl-feedback-id",
)
_OVERSIGNED = frozenset((b"from", b"subject", b"to", b"date"))
# A field name may hold ";" and 8-bit bytes, but h= cannot name such a field.
_CONTENT_NAME = re.compile(rb"content-[!-9<-~]+")

_OUR_LINES = 78
"""Bytes of a line of the field that is made, at most."""

_CHUNK = 64 * 1024
"""Bytes of a body that are canonicalized together: they stay in the processor's cache."""

_LONGEST_H_TAG = 30_000
"""Bytes of h=, at most: libmilter carries no field of more than 65535."""

_WSP = b" \t"
_SPACES = re.compile(rb"  +")
_TAG_NAME = re.compile(rb"[A-Za-z][A-Za-z0-9_]*")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key, and where DNS has its public key: ``selector._domainkey.domain``.

    ``default``: it signs for its domain where the mail asks for no selector. ``stands_for``: the
    selectors of older keys that this one has replaced.
    """

    domain: str
    selector: str
    key: RSAPrivateKey | Ed25519PrivateKey
    default: bool
    stands_for: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        ascii_domain(self.domain)
        ascii_domain(self.selector)
        if isinstance(self.key, RSAPrivateKey) and self.key.key_size < LEAST_RSA_BITS:
            raise ValueError(
                f"RSA key of {self.key.key_size} bits: needs at least {LEAST_RSA_BITS} bits"
            )

    @property
    def kind(self) -> Literal["rsa", "ed25519"]:
        """The value of k= in its record."""
        return "rsa" if isinstance(self.key, RSAPrivateKey) else "ed25519"

    @property
    def algorithm(self) -> str:
        """The value of a= for this key."""
        return f"{self.kind}-sha256"

    def sign(self, octets: bytes) -> bytes:
        """The signature over the SHA-256 of the octets (RFC 6376 3.3.3, RFC 8463 section 3)."""
        if isinstance(self.key, RSAPrivateKey):
            return self.key.sign(octets, PKCS1v15(), SHA256())
        return self.key.sign(hashlib.sha256(octets).digest())


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature to make: d=, s= and the key, which may belong to another domain."""

    domain: str
    selector: str
    key: SigningKey

    def __post_init__(self) -> None:
        ascii_domain(self.domain)
        ascii_domain(self.selector)


def sign(message: Message, signatures: Sequence[Signature], time: int) -> Message:
    """The message with new DKIM-Signature fields on top, in the order of ``signatures``.

    Older signatures of the same domains are removed: they were made before our changes. Those of
    other domains stay.
    """
    if not signatures:
        return message
    signed = _Signed.of(message)
    new = tuple(signed.header(signature, time) for signature in signatures)
    domains = frozenset(ascii_domain(signature.domain) for signature in signatures)
    kept = tuple(header for header in message.headers if _signer(header) not in domains)
    return Message(new + kept, message.body)


@lru_cache(maxsize=1024)  # A pure function of a short text, and few domains sign.
def ascii_domain(domain: str) -> str:
    """The domain in lower case, its labels that are not ASCII as A-labels (RFC 5890).

    Raises `ValueError` for what is no domain name.
    """
    if len(domain) <= 253:
        domain = a_labels(domain).lower()
        if len(domain) <= 253 and all(map(_LABEL.fullmatch, domain.split("."))):
            return domain
    raise ValueError("not a domain name")


def relaxed_body(body: bytes) -> Iterator[bytes]:
    """The body in the relaxed form (RFC 6376 section 3.4.4), in chunks.

    So a long body is not held in memory twice.
    """
    # Line ends without content behind them so far: at the end of the body they are left out.
    held: list[bytes] = []
    empty = True
    for piece in _pieces(body):
        # Not line by line: each step is one pass in C, and most chunks stay as they are.
        piece = piece.replace(b"\t", b" ")
        # The first test is the fastest, and in an attachment the only one.
        if b" " in piece and (b"  " in piece or b" \r" in piece):
            piece = _SPACES.sub(b" ", piece).replace(b" \r\n", b"\r\n")
        piece = piece.removesuffix(b" ")
        end = len(piece.rstrip(b"\r\n"))
        # Only whole line ends are empty lines: in CR CR LF at the end the first CR is content.
        end += len(piece[end:].replace(b"\r\n", b"  ").rstrip(b" "))
        if end:
            yield from held
            yield piece[:end]
            held.clear()
            empty = False
        held.append(piece[end:])
    if not empty:
        yield b"\r\n"


def _pieces(body: bytes) -> Iterator[bytes]:
    """The body cut behind line ends, in chunks of about `_CHUNK` bytes if its lines allow."""
    at = 0
    while at < len(body):
        end = body.rfind(b"\r\n", at, at + _CHUNK)
        if end < 0:
            end = body.find(b"\r\n", at)
        end = len(body) if end < 0 or at + _CHUNK >= len(body) else end + 2
        yield body[at:end]
        at = end


def relaxed_field(name: bytes, value: bytes) -> bytes:
    """A header field in the relaxed form (RFC 6376 section 3.4.2), without CRLF at the end."""
    value = value.replace(b"\r\n", b"").replace(b"\t", b" ")
    if b"  " in value:
        value = _SPACES.sub(b" ", value)
    return name.strip(_WSP).lower() + b":" + value.strip(b" ")


@dataclass(frozen=True, slots=True)
class _Signed:
    """What all signatures of one message have in common.

    ``names``: the value of h=. ``fields``: the relaxed fields in that order, each with CRLF.
    ``body_hash``: the value of bh=.
    """

    names: tuple[bytes, ...]
    fields: bytes
    body_hash: bytes

    @classmethod
    def of(cls, message: Message) -> _Signed:
        names: list[bytes] = []
        fields: list[bytes] = []
        room = _LONGEST_H_TAG
        for name, header in _covered(message.headers):
            room -= len(name) + 1
            if room < 0:
                break
            names.append(name)
            if header is not None:
                fields.append(relaxed_field(name, header.value) + b"\r\n")
        digest = hashlib.sha256()
        for piece in relaxed_body(message.body):
            digest.update(piece)
        return cls(tuple(names), b"".join(fields), base64.b64encode(digest.digest()))

    def header(self, signature: Signature, time: int) -> Header:
        """The DKIM-Signature field. The signature covers the field itself, with an empty b=."""
        unsigned = _folded(self._words(signature, time)) + b"\r\n b="
        octets = signature.key.sign(self.fields + relaxed_field(_FIELD_NAME, unsigned))
        return Header(_FIELD_NAME, unsigned + _in_lines(base64.b64encode(octets)))

    def _words(self, signature: Signature, time: int) -> Iterator[bytes]:
        """All tags but b=, in words that must not be folded within."""
        yield b" v=1;"
        yield f" a={signature.key.algorithm};".encode("ascii")
        yield b" c=relaxed/relaxed;"
        yield f" d={ascii_domain(signature.domain)};".encode("ascii")
        yield f" s={ascii_domain(signature.selector)};".encode("ascii")
        yield f" t={time};".encode("ascii")
        names = [name + b":" for name in self.names]
        names[0] = b" h=" + names[0]
        names[-1] = names[-1][:-1] + b";"
        yield from names
        yield b" bh=" + self.body_hash + b";"


def _covered(headers: Iterable[Header]) -> Iterator[tuple[bytes, Header | None]]:
    """The entries of h=, and the field that each one covers.

    Verifiers take the fields of a name from the bottom up (RFC 6376 section 5.4.2). None: the entry
    covers no field, so that adding one breaks the signature.
    """
    by_name: dict[bytes, list[Header]] = {name: [] for name in _COVERED}
    for header in headers:
        name = header.key
        if name in by_name:
            by_name[name].append(header)
        elif _CONTENT_NAME.fullmatch(name):
            by_name[name] = [header]
    for name, instances in by_name.items():
        for header in reversed(instances):
            # Postfix will break this field, and h= cannot cover those above without it. But From
            # must be in h=.
            if _too_long(header) and name != b"from":
                break
            yield name, header
        else:
            if name in _OVERSIGNED:
                yield name, None


def _too_long(header: Header) -> bool:
    if len(header.name) + 1 + len(header.value) <= LONGEST_LINE:
        return False
    lines = (header.name + b":" + header.value).split(b"\r\n")
    return max(map(len, lines)) > LONGEST_LINE


def _folded(words: Iterable[bytes]) -> bytes:
    """The words as the value of the field, folded before a word that the line has no room for."""
    lines = []
    line = b""
    room = _OUR_LINES - len(_FIELD_NAME) - 1
    for word in words:
        if line and len(line) + len(word) > room:
            lines.append(line)
            line = b" " + word.lstrip(b" ")
            room = _OUR_LINES
        else:
            line += word
    lines.append(line)
    return b"\r\n".join(lines)


def _in_lines(text: bytes) -> bytes:
    """Base64 in lines; the first one begins with `` b=``."""
    first = _OUR_LINES - len(b" b=")
    step = _OUR_LINES - 1
    rest = (text[at : at + step] for at in range(first, len(text), step))
    return b"\r\n ".join((text[:first], *rest))


def signature_tags(header: Header) -> dict[bytes, bytes] | None:
    """The tags of a DKIM-Signature field (RFC 6376 section 3.2); None for a broken one."""
    tags: dict[bytes, bytes] = {}
    for tag in header.text.removesuffix(b";").split(b";"):
        name, equals, value = tag.partition(b"=")
        name = name.strip(_WSP)
        if not equals or name in tags or not _TAG_NAME.fullmatch(name):
            return None
        tags[name] = value.strip(_WSP)
    return tags


def _signer(header: Header) -> str | None:
    """The d= of a DKIM-Signature field; None for any other field, and for a broken one."""
    if header.key != b"dkim-signature":
        return None
    tags = signature_tags(header) or {}
    try:
        return ascii_domain(tags.get(b"d", b"").decode())
    except ValueError:
        return None
