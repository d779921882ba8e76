"""The form of a token: what stands in our links, in X-Mailer-Info and in the return path.

This is the only file that knows it. Nothing here does I/O, reads the clock or draws a random
number.

There are two forms. A *token* is `[A-Za-z0-9_-]`, encrypted and authenticated with AES-SIV
(RFC 5297), which is deterministic: there is no nonce that could be used twice. It holds all that an
event needs, so that it opens on any host that has the key and needs no store. A *tag* is what fits
into the local part of a return path: base32, indifferent to case, authenticated but not secret. It
names the campaign and the message number; the rest is looked up (docs/return-path.md, "VERP tag").

A token has two halves. The message's half is the same in all tokens of one purpose in one message;
the link's half, which has kind and destination, is the same in all messages of a campaign, so that
it is made once for a million of them (docs/decisions/0001). A link's half opens only behind a
message's half of its own campaign and SendID, and of the purpose of its kind.

Before base64url: two octets (6 bits of version, 10 bits of key id); two that tell how many of SIV
and ciphertext follow in this half; 16 octets of SIV, the ciphertext; SIV and ciphertext of the
link's half. The plaintext of the first: one octet of purpose, the facts, and zeros until the half
is a multiple of 3 octets, so that the other begins with a character of its own. The second: one
octet of kind, the destination. Version 1 had one half: kind, facts, destination.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import hmac
import re
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

VERSION = 2
HIGHEST_KEY_ID = 1023
TAG_LENGTH = 32
"""Octets of a return path's tag, at most."""
SHORTEST_TAG = 21
"""With a campaign of one character. The milter makes none shorter than `TAG_LENGTH`."""

_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_TOKEN = re.compile(r"[A-Za-z0-9_-]+")
# Parameters that a mail program put in front of ours have a "=". A token has none, unless a program
# read the query and wrote it again as pairs. (Groups with a possessive quantifier are wrong in
# Debian 12's Python 3.11.2, CPython issue 106052.)
_IN_URL = re.compile(
    r"/(?:click|open|unsub)"
    r"(?:/*\?(?:(?!qs=|[A-Za-z0-9_-]{26,}=&)[^&#=]*=[^&#]*&)*(?:qs=)?|/+)"
)
# Of the characters that never need to be percent-encoded (RFC 3986 section 6.2.2.2), those of our
# paths, parameters and tokens.
_NEEDLESSLY_ENCODED = re.compile(r"%(2[Dd]|3[0-9]|[46][1-9A-Fa-f]|[57][0-9Aa]|5[Ff])")
_AUTHORITY = re.compile(r"://[^/?#]*")
_MAC_BITS, _KEY_BITS = 60, 10
# A tag has so many characters of authentication and so many of the message number. The high numbers
# that follow where Redis has lost some (docs/decisions/0019) take 20 bits of the authentication, so
# that no return path becomes longer. Of such a tag the campaign has 12 characters.
_ORDINARY, _HIGH = (12, 6), (8, 10)
_KEY_END = _KEY_BITS // 5
_HEAD, _SIV = 4, 16
_TAG = re.compile(rf"[a-z2-7]{{{SHORTEST_TAG},{TAG_LENGTH}}}")


class TokenError(Exception):
    """This is no token of ours, or the key that opens it is gone. Says which."""


class Kind(enum.IntEnum):
    """What a token is for. The value stands in front of the destination and must never change."""

    CLICK_HTML = 1
    CLICK_TEXT = 2
    OPEN = 3
    UNSUBSCRIBE_HTML = 4
    UNSUBSCRIBE_TEXT = 5
    LIST_UNSUBSCRIBE = 6
    MAILER_INFO = 7


class Purpose(enum.IntEnum):
    """What somebody can do who has such a token of a message. The value must never change."""

    CLICK = 1
    OPEN = 2
    UNSUBSCRIBE = 3
    LIST_UNSUBSCRIBE = 4
    MAILER_INFO = 5


PURPOSES = {
    Kind.CLICK_HTML: Purpose.CLICK,
    Kind.CLICK_TEXT: Purpose.CLICK,
    Kind.OPEN: Purpose.OPEN,
    Kind.UNSUBSCRIBE_HTML: Purpose.UNSUBSCRIBE,
    Kind.UNSUBSCRIBE_TEXT: Purpose.UNSUBSCRIBE,
    Kind.LIST_UNSUBSCRIBE: Purpose.LIST_UNSUBSCRIBE,
    Kind.MAILER_INFO: Purpose.MAILER_INFO,
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one message, the same in all of its tokens (docs/tracking.md, "Tokens").

    ``email`` is the recipient or the obscured form, empty where privacy or several recipients
    forbid it. ``sent`` is in unix seconds. ``mtaid`` is the name of the VirtualMTA that carries the
    message, empty where Postfix routes it. A mail sent while the store was away has no campaign and
    the number 0.
    """

    campaign: str
    number: int
    mail_class: str
    instance_id: str
    listid: str
    click_tracking_id: str
    email: str
    mtaid: str
    sent: int

    @property
    def sendid(self) -> str:
        """Class name and InstanceID in one (docs/campaigns.md, "SendID")."""
        return self.mail_class + self.instance_id

    @property
    def packed(self) -> bytes:
        """The octets of the facts, the longest part of every token's plaintext."""
        texts = (
            self.campaign,
            self.mail_class,
            self.instance_id,
            self.listid,
            self.click_tracking_id,
            self.email,
            self.mtaid,
        )
        numbers = _varint(self.number) + _varint(self.sent)
        return numbers + b"".join(_length_and_text(text) for text in texts)


@dataclass(frozen=True, slots=True)
class Token:
    """An opened token. ``destination`` is empty where the kind has none."""

    kind: Kind
    facts: Facts
    destination: str
    key_id: int


@dataclass(frozen=True)
class LinkKey:
    """One key of the key file. ``created`` in unix seconds; ``secret`` is 32 octets."""

    id: int
    created: int
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not 1 <= self.id <= HIGHEST_KEY_ID:
            raise ValueError(f"key id {self.id}: allowed are 1 to {HIGHEST_KEY_ID}")
        if len(self.secret) != 32:
            raise ValueError(f"secret of {len(self.secret)} octets: it has to have 32")

    @cached_property
    def head(self) -> bytes:
        """What its tokens begin with: version and key id."""
        return (VERSION << _KEY_BITS | self.id).to_bytes(2, "big")

    @cached_property
    def cipher(self) -> AESSIV:
        return AESSIV(self._derived(b"fletching token"))

    @cached_property
    def tag_key(self) -> bytes:
        return self._derived(b"fletching return path")

    def _derived(self, purpose: bytes) -> bytes:
        return hmac.digest(self.secret, purpose, hashlib.sha256)


@dataclass(frozen=True)
class Keyring:
    """The link keys: the last one signs, all of them open."""

    keys: tuple[LinkKey, ...]

    @cached_property
    def _by_id(self) -> dict[int, LinkKey]:
        return {key.id: key for key in self.keys}

    def __bool__(self) -> bool:
        return bool(self.keys)

    def seal(self, kind: Kind, facts: Facts, destination: str = "") -> str:
        """A token, made with the newest key."""
        first = self.message_half(PURPOSES[kind], facts.packed)
        return first + self.link_half(kind, facts.campaign, facts.sendid, destination)

    def message_half(self, purpose: Purpose, packed: bytes) -> str:
        """What all tokens of a purpose begin with in one message. ``packed``: `Facts.packed`."""
        key = self.keys[-1]
        plain = bytes((purpose,)) + packed
        plain += bytes(-(_HEAD + _SIV + len(plain)) % 3)
        head = key.head + (_SIV + len(plain)).to_bytes(2, "big")
        return _base64url(head + key.cipher.encrypt(plain, [head]))

    def link_half(self, kind: Kind, campaign: str, sendid: str, destination: str) -> str:
        """What the tokens of a kind for a destination end with in all messages of a campaign."""
        key = self.keys[-1]
        plain = bytes((kind,)) + _octets(destination)
        return _base64url(key.cipher.encrypt(plain, [key.head, _octets(campaign), _octets(sendid)]))

    def open(self, text: str) -> Token:
        """Opens exactly this text. Raises `TokenError` for everything that we did not make."""
        sealed = _from_base64url(text)
        if len(sealed) < 2 + _SIV + 1:
            raise TokenError("too short for a token")
        version, key_id = divmod(int.from_bytes(sealed[:2], "big"), 1 << _KEY_BITS)
        if version not in (1, VERSION):
            raise TokenError("not a token of this version")
        key = self._by_id.get(key_id)
        if key is None:
            raise TokenError(f"made with key {key_id}, which is not in the key file")
        try:
            return _opened_1(key, sealed) if version == 1 else _opened(key, sealed)
        except InvalidTag:
            raise TokenError("not made with our key, or changed") from None

    def tag(self, campaign: str, number: int) -> str:
        """The tag of a return path: base32 of authentication, key id, message number, campaign."""
        key = self.keys[-1]
        high = number >= 1 << 5 * _ORDINARY[1]
        mac, digits = _HIGH if high else _ORDINARY
        named = base32(key.id, _KEY_BITS) + base32(number, 5 * digits) + campaign
        tag = _tag_mac(key, named)[:mac] + named
        if not _TAG.fullmatch(tag) or (high and len(tag) < TAG_LENGTH):
            raise ValueError(f"campaign {campaign!r}: a tag holds 1 to 12 of a-z, 2-7")
        return tag

    def open_tag(self, tag: str) -> tuple[str, int]:
        """Campaign and message number of a tag, in any case. Raises `TokenError`."""
        # Of the letters beyond ASCII, some are ASCII in lower case: a second spelling.
        if not tag.isascii() or not _TAG.fullmatch(tag := tag.lower()):
            raise TokenError("not the form of a tag")
        try:
            return self._opened_tag(tag, *_ORDINARY)
        except TokenError:
            if len(tag) == TAG_LENGTH:
                with suppress(TokenError):
                    return self._opened_tag(tag, *_HIGH)
            raise

    def _opened_tag(self, tag: str, mac: int, digits: int) -> tuple[str, int]:
        named = tag[mac:]
        key = self._by_id.get(from_base32(named[:_KEY_END]))
        if key is None:
            raise TokenError("made with a key that is not in the key file")
        if not hmac.compare_digest(tag[:mac], _tag_mac(key, named)[:mac]):
            raise TokenError("not made with our key, or changed")
        end = _KEY_END + digits
        return named[end:], from_base32(named[_KEY_END:end])


def _opened(key: LinkKey, sealed: bytes) -> Token:
    """What both halves say. Raises `InvalidTag`, and `TokenError` for a kind that is not known."""
    head = sealed[:_HEAD]
    end = _HEAD + int.from_bytes(head[2:], "big")
    plain = key.cipher.decrypt(sealed[_HEAD:end], [head])
    facts, _ = _unpack(plain)
    about = [key.head, _octets(facts.campaign), _octets(facts.sendid)]
    link = key.cipher.decrypt(sealed[end:], about)
    kind = _kind(link)
    if PURPOSES[kind] != plain[0]:
        raise TokenError("put together from two tokens")
    return Token(kind, facts, _text(link[1:]), key.id)


def _opened_1(key: LinkKey, sealed: bytes) -> Token:
    """The same of a token of version 1."""
    plain = key.cipher.decrypt(sealed[2:], [sealed[:2]])
    kind = _kind(plain)
    facts, end = _unpack(plain)
    return Token(kind, facts, _text(plain[end:]), key.id)


def _kind(plain: bytes) -> Kind:
    try:
        return Kind(plain[0])
    except ValueError:
        raise TokenError(f"of kind {plain[0]}, which a later version made") from None


def found_in(text: str) -> str:
    """The token in a URL of any of our three forms, in a header value, or in a bare token.

    What mail programs append (``&utm_x=y``, a full stop) and white space of folding is left away.
    """
    text = decoded("".join(text.split()))
    # A host may be named like a part of our paths. Behind a path it is what somebody appended.
    authority = None if text.startswith("/") else _AUTHORITY.search(text)
    place = _IN_URL.search(text, authority.end() if authority else 0)
    match = _TOKEN.match(text, place.end() if place else 0)
    if not match:
        raise TokenError("no token in it")
    return match[0]


def decoded(text: str) -> str:
    """A text without needless percent-encoding: letters, digits, `-` and `_` as themselves."""
    return _NEEDLESSLY_ENCODED.sub(lambda octet: chr(int(octet[1], 16)), text)


def _tag_mac(key: LinkKey, named: str) -> str:
    digest = hmac.digest(key.tag_key, named.encode("ascii"), hashlib.sha256)
    return base32(int.from_bytes(digest[:8], "big") >> (64 - _MAC_BITS), _MAC_BITS)


def base32(number: int, bits: int) -> str:
    """A number as text; a campaign's id and the fields of a tag are made of it."""
    if not 0 <= number < 1 << bits:
        raise ValueError(f"{number} does not fit in {bits} bits")
    return "".join(_BASE32[number >> shift & 31] for shift in range(bits - 5, -1, -5))


def from_base32(text: str) -> int:
    number = 0
    for character in text:
        number = number << 5 | _BASE32.index(character)
    return number


def _base64url(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).translate(_URL_SAFE, b"=").decode("ascii")


def _from_base64url(text: str) -> bytes:
    try:
        data = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (binascii.Error, UnicodeEncodeError):
        raise TokenError("not the form of a token") from None
    # The last character has bits to spare, and the decoder passes over foreign characters: one
    # token must not have two spellings.
    if _base64url(data) != text:
        raise TokenError("not the form of a token")
    return data


def _varint(number: int) -> bytes:
    octets = bytearray()
    while number > 127:
        octets.append(number & 127 | 128)
        number >>= 7
    octets.append(number)
    return bytes(octets)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while data[at] > 127:
        number |= (data[at] & 127) << shift
        shift += 7
        at += 1
    return number | data[at] << shift, at + 1


def _length_and_text(text: str) -> bytes:
    octets = _octets(text)
    return _varint(len(octets)) + octets


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")


def _unpack(plain: bytes) -> tuple[Facts, int]:
    """The facts behind the first octet, and where they end. The text is authentic here."""
    number, at = _read_varint(plain, 1)
    sent, at = _read_varint(plain, at)
    texts = []
    for _ in range(7):
        length, at = _read_varint(plain, at)
        texts.append(_text(plain[at : at + length]))
        at += length
    campaign, mail_class, instance_id, listid, click_tracking_id, email, mtaid = texts
    facts = Facts(
        campaign, number, mail_class, instance_id, listid, click_tracking_id, email, mtaid, sent
    )
    return facts, at
