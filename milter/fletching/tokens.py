"""The form of a token and of a tag: what is in tracking links, X-Mailer-Info and the return path.

No other file knows this form. Nothing here does I/O, reads the clock or draws a random number.

A *token* consists of `[A-Za-z0-9_-]`. It is encrypted and authenticated with AES-SIV (RFC 5297),
which is deterministic: there is no nonce that could be used twice. A token holds all that an event
needs, so any host that has the key can open it, without a store. A *tag* has to fit into the local
part of a return path: it is base32, its case does not matter, and it is authenticated but not
secret. It holds the campaign and the message number; the other facts are looked up
(docs/return-path.md, "VERP tag").

A token has two halves. The message's half is the same in all tokens of one purpose in one message.
The link's half holds kind and destination; it is the same in all messages of a campaign, so it is
made once for a million of them. A link's half can be decrypted only together with a message's half
of the same campaign and SendID, and of the purpose that belongs to its kind.

The bytes of a token, before base64url:

    2 bytes     6 bits of version, 10 bits of key id
    2 bytes     the length of what follows in this half
    16 bytes    SIV
    ...         ciphertext of: purpose (1 byte), facts, zeros up to a multiple of 3 bytes, so that
                the next half begins with a character of its own
    16 bytes    SIV of the link's half
    ...         ciphertext of: kind (1 byte), destination
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import re
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from fletching.encoding import (
    base32,
    base64url,
    bytes_text,
    from_base32,
    from_base64url,
    length_and_text,
    read_text,
    read_varint,
    text_bytes,
    varint,
)

VERSION = 2
HIGHEST_KEY_ID = 1023
TAG_LENGTH = 32
"""Characters of a return path's tag, at most."""
SHORTEST_TAG = 21
"""Characters of a tag whose campaign has one. The milter makes all tags `TAG_LENGTH` long."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]+")
# Parameters that a mail program put before ours have a "=". A token has none, unless a program
# parsed the query and wrote it again as pairs. (Possessive quantifiers of groups do not work
# correctly in Debian 12's Python 3.11.2, CPython issue 106052.)
_IN_URL = re.compile(
    r"/(?:click|open|unsub)"
    r"(?:/*\?(?:(?!qs=|[A-Za-z0-9_-]{26,}=&)[^&#=]*=[^&#]*&)*(?:qs=)?|/+)"
)
# The characters of our paths, parameters and tokens that never need percent-encoding (RFC 3986
# section 6.2.2.2), percent-encoded.
_NEEDLESSLY_ENCODED = re.compile(r"%(2[Dd]|3[0-9]|[46][1-9A-Fa-f]|[57][0-9Aa]|5[Ff])")
_AUTHORITY = re.compile(r"://[^/?#]*")
_MAC_BITS, _KEY_BITS = 60, 10
# How many characters of a tag are authentication, and how many the message number. High numbers,
# which follow after Redis has lost some (docs/decisions/0019), take 20 bits of the authentication,
# so that no return path becomes longer. In such a tag the campaign has 12 characters.
_ORDINARY, _HIGH = (12, 6), (8, 10)
_KEY_END = _KEY_BITS // 5
_HEAD, _SIV = 4, 16
# After the texts of the facts, where other tokens have zeros or end.
_IS_SEED = b"\x01"
_TAG = re.compile(rf"[a-z2-7]{{{SHORTEST_TAG},{TAG_LENGTH}}}")


MessageKey = tuple[str, int]
"""Campaign and message number: what a tag names."""


class TokenError(Exception):
    """This is no token of ours, or its key is not in the key file. The message says which."""


class Kind(enum.IntEnum):
    """What a token is for. The values are in sent mail and must never change."""

    CLICK_HTML = 1
    CLICK_TEXT = 2
    OPEN = 3
    UNSUBSCRIBE_HTML = 4
    UNSUBSCRIBE_TEXT = 5
    LIST_UNSUBSCRIBE = 6
    MAILER_INFO = 7
    SEED = 8
    CHECK = 9


class Purpose(enum.IntEnum):
    """What the holder of a token can do. The values are in sent mail and must never change."""

    CLICK = 1
    OPEN = 2
    UNSUBSCRIBE = 3
    LIST_UNSUBSCRIBE = 4
    MAILER_INFO = 5
    SEED = 6
    CHECK = 7


PURPOSES = {
    Kind.CLICK_HTML: Purpose.CLICK,
    Kind.CLICK_TEXT: Purpose.CLICK,
    Kind.OPEN: Purpose.OPEN,
    Kind.UNSUBSCRIBE_HTML: Purpose.UNSUBSCRIBE,
    Kind.UNSUBSCRIBE_TEXT: Purpose.UNSUBSCRIBE,
    Kind.LIST_UNSUBSCRIBE: Purpose.LIST_UNSUBSCRIBE,
    Kind.MAILER_INFO: Purpose.MAILER_INFO,
    Kind.SEED: Purpose.SEED,
    Kind.CHECK: Purpose.CHECK,
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one message, the same in all of its tokens (docs/tracking.md, "Tokens").

    ``email``: the recipient, or its obscured form; empty if privacy or several recipients forbid
    it. ``sent``: unix seconds. ``mtaid``: the name of the VirtualMTA that carries the message;
    empty if Postfix routes it. A message sent while the store was unavailable has no campaign and
    the number 0. What is not known is empty, or 0. ``seed``: it is a copy for a seed list.
    """

    campaign: str = ""
    number: int = 0
    mail_class: str = ""
    instance_id: str = ""
    listid: str = ""
    click_tracking_id: str = ""
    email: str = ""
    mtaid: str = ""
    sent: int = 0
    seed: bool = False

    @property
    def sendid(self) -> str:
        """Class name and InstanceID in one (docs/campaigns.md, "SendID")."""
        return self.mail_class + self.instance_id

    @property
    def packed(self) -> bytes:
        """The facts as bytes, the longest part of every token's plaintext."""
        texts = (
            self.campaign,
            self.mail_class,
            self.instance_id,
            self.listid,
            self.click_tracking_id,
            self.email,
            self.mtaid,
        )
        numbers = varint(self.number) + varint(self.sent)
        packed = numbers + b"".join(length_and_text(text) for text in texts)
        return packed + _IS_SEED if self.seed else packed


@dataclass(frozen=True, slots=True)
class Token:
    """A decrypted token. ``destination`` is empty if the kind has none."""

    kind: Kind
    facts: Facts
    destination: str
    key_id: int


@dataclass(frozen=True)
class LinkKey:
    """One key of the key file. ``created``: unix seconds; ``secret``: 32 bytes."""

    id: int
    created: int
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not 1 <= self.id <= HIGHEST_KEY_ID:
            raise ValueError(f"key id {self.id}: must be 1 to {HIGHEST_KEY_ID}")
        if len(self.secret) != 32:
            raise ValueError(f"secret of {len(self.secret)} bytes: must have 32")

    @cached_property
    def head(self) -> bytes:
        """The first bytes of its tokens: version and key id."""
        return (VERSION << _KEY_BITS | self.id).to_bytes(2, "big")

    @cached_property
    def cipher(self) -> AESSIV:
        return AESSIV(self._derived(b"fletching token"))

    @cached_property
    def content_cipher(self) -> AESSIV:
        """Encrypts the content of seed copies that wait in Redis."""
        return AESSIV(self._derived(b"fletching seed copy"))

    @cached_property
    def tag_key(self) -> bytes:
        return self._derived(b"fletching return path")

    def _derived(self, purpose: bytes) -> bytes:
        return hmac.digest(self.secret, purpose, hashlib.sha256)


@dataclass(frozen=True)
class Keyring:
    """The link keys: the last one makes tokens and tags, all of them open them."""

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
        """The beginning of all tokens of a purpose in one message. ``packed``: `Facts.packed`."""
        key = self.keys[-1]
        plain = bytes((purpose,)) + packed
        plain += bytes(-(_HEAD + _SIV + len(plain)) % 3)
        head = key.head + (_SIV + len(plain)).to_bytes(2, "big")
        return base64url(head + key.cipher.encrypt(plain, [head]))

    def link_half(self, kind: Kind, campaign: str, sendid: str, destination: str) -> str:
        """The end of all tokens of a kind for a destination in all messages of a campaign."""
        key = self.keys[-1]
        plain = bytes((kind,)) + text_bytes(destination)
        return base64url(key.cipher.encrypt(plain, _link_context(key, campaign, sendid)))

    def open(self, text: str) -> Token:
        """Decrypts a token that is the whole text. Raises `TokenError` unless we made it."""
        try:
            sealed = from_base64url(text)
        except ValueError:
            raise TokenError("malformed token") from None
        if len(sealed) < 2 + _SIV + 1:
            raise TokenError("incomplete token: too short")
        version, key_id = divmod(int.from_bytes(sealed[:2], "big"), 1 << _KEY_BITS)
        if version != VERSION:
            raise TokenError("unsupported token version")
        key = self._by_id.get(key_id)
        if key is None:
            raise TokenError(f"made with key {key_id}, which is not in the key file")
        try:
            return _opened(key, sealed)
        except InvalidTag:
            raise TokenError("not made with our key, or changed") from None

    def encrypt(self, content: bytes) -> bytes:
        """Content that is kept in Redis, encrypted with the newest key."""
        key = self.keys[-1]
        return key.head + key.content_cipher.encrypt(content, [key.head])

    def decrypt(self, encrypted: bytes) -> bytes:
        """The reverse of `encrypt`. Raises `TokenError`."""
        head = encrypted[:2]
        key = next((each for each in self.keys if each.head == head), None)
        if key is None:
            raise TokenError("made with a key that is not in the key file")
        try:
            return key.content_cipher.decrypt(encrypted[2:], [head])
        except (InvalidTag, ValueError):
            raise TokenError("not made with our key, or changed") from None

    def tag(self, campaign: str, number: int) -> str:
        """The tag of a return path: base32 of authentication, key id, message number, campaign."""
        key = self.keys[-1]
        high = number >= 1 << 5 * _ORDINARY[1]
        mac, digits = _HIGH if high else _ORDINARY
        named = base32(key.id, _KEY_BITS) + base32(number, 5 * digits) + campaign
        tag = _tag_mac(key, named)[:mac] + named
        if not _TAG.fullmatch(tag) or (high and len(tag) < TAG_LENGTH):
            raise ValueError(f"campaign {campaign!r}: must be 1 to 12 of a-z, 2-7")
        return tag

    def open_tag(self, tag: str) -> tuple[str, int]:
        """Campaign and message number of a tag in upper or lower case. Raises `TokenError`."""
        # Some letters outside ASCII have a lower case in ASCII: the tag would have a second
        # spelling.
        if not tag.isascii() or not _TAG.fullmatch(tag := tag.lower()):
            raise TokenError("malformed VERP tag")
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
    """The content of both halves. Raises `InvalidTag`, and `TokenError` for an unknown kind."""
    head = sealed[:_HEAD]
    end = _HEAD + int.from_bytes(head[2:], "big")
    plain = key.cipher.decrypt(sealed[_HEAD:end], [head])
    facts = _unpacked(plain[1:])
    link = key.cipher.decrypt(sealed[end:], _link_context(key, facts.campaign, facts.sendid))
    kind = _kind(link)
    if PURPOSES[kind] != plain[0]:
        raise TokenError("combined from two tokens")
    return Token(kind, facts, bytes_text(link[1:]), key.id)


def _link_context(key: LinkKey, campaign: str, sendid: str) -> list[bytes]:
    """What a link's half is bound to: it can be decrypted only with the same values."""
    return [key.head, text_bytes(campaign), text_bytes(sendid)]


def _kind(plain: bytes) -> Kind:
    try:
        return Kind(plain[0])
    except ValueError:
        raise TokenError(f"unknown kind {plain[0]}, made by a later version") from None


def found_in(text: str) -> str:
    """The token in a URL of any of our three forms, in a header value, or alone.

    Ignores white space, as of a folded header field, and what mail programs append (``&utm_x=y``, a
    full stop). Raises `TokenError` if there is none.
    """
    text = decoded("".join(text.split()))
    # A host may be named like a part of our paths. After a path, `://` is what somebody appended.
    authority = None if text.startswith("/") else _AUTHORITY.search(text)
    prefix = _IN_URL.search(text, authority.end() if authority else 0)
    token = _TOKEN.match(text, prefix.end() if prefix else 0)
    if not token:
        raise TokenError("contains no token")
    return token[0]


def decoded(text: str) -> str:
    """A text without needless percent-encoding: letters, digits, `-` and `_` as themselves."""
    return _NEEDLESSLY_ENCODED.sub(lambda byte: chr(int(byte[1], 16)), text)


def _tag_mac(key: LinkKey, named: str) -> str:
    digest = hmac.digest(key.tag_key, named.encode("ascii"), hashlib.sha256)
    return base32(int.from_bytes(digest[:8], "big") >> (64 - _MAC_BITS), _MAC_BITS)


def _unpacked(packed: bytes) -> Facts:
    """The reverse of `Facts.packed`; zeros may follow. The bytes are authentic here."""
    number, at = read_varint(packed, 0)
    sent, at = read_varint(packed, at)
    texts = []
    for _ in range(7):
        text, at = read_text(packed, at)
        texts.append(text)
    campaign, mail_class, instance_id, listid, click_tracking_id, email, mtaid = texts
    return Facts(
        campaign=campaign,
        number=number,
        mail_class=mail_class,
        instance_id=instance_id,
        listid=listid,
        click_tracking_id=click_tracking_id,
        email=email,
        mtaid=mtaid,
        sent=sent,
        seed=packed[at : at + 1] == _IS_SEED,
    )
