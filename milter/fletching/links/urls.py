"""Which URLs are rewritten, and how a link's destination is recorded.

Here lives what is known about URLs (of the WHATWG URL standard: scheme, host and query), and the
sender's options about links. Whether a URL was found in HTML or in text may not be known here.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

# Without re.ASCII, re.IGNORECASE would take U+017F for "s" and U+212A for "k".
IGNORE_CASE = re.IGNORECASE | re.ASCII

# Repeated tags count as one: else one of them would stay in front of the tracking link.
UNSUBSCRIBE_TAG = re.compile(r"(?:(?:##|%23%23)unsubscribetag(?:##|%23%23))+", IGNORE_CASE)
NO_TRACK_SCHEME = re.compile(r"https?(\+notrack)://", IGNORE_CASE)
# Without IGNORE_CASE, which would make it slow to search a text that has none.
PLACEHOLDER = re.compile(
    r"\{\{|%7[Bb]%7[Bb]|%%|%25%25|\*\||\*%7[Cc]|%2[Aa]\||%2[Aa]%7[Cc]|\[\[|%5[Bb]%5[Bb]"
)
BARE_UNSUBSCRIBE_TAG = "unsubscribe tag without an absolute http or https URL"

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]{0,62}):", IGNORE_CASE)
_HTTP = re.compile(r"(https?)://([^/?#\\]*)", IGNORE_CASE)
# The forbidden host code points of the URL standard, with "{", "}", "*" and "`", which no name in
# the DNS holds but templates do.
_AUTHORITY = re.compile(
    r"(\[[0-9a-f:.]+\]|[^\x00-\x20\"#%*/:<>?@\[\\\]^`{|}\x7f]+)(?::([0-9]*))?",
    IGNORE_CASE,
)
_TEMPLATE_IN_HOST = re.compile(r"[{}%*|\[]")
_OWN_PATH = re.compile(r"/(?:click|open|unsub)[/?]")
_DEFAULT_PORTS = {"http": "80", "https": "443"}

# URL parsers first remove C0 controls and space at both ends, and tab, CR and LF anywhere.
_ENDS = "".join(map(chr, range(0x21)))
_DROPPED = dict.fromkeys(map(ord, "\t\r\n"))

# Where the Encoding standard encodes more characters than the Python codec of the same name.
_ENCODERS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gbk",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "big5": "big5hkscs",
}
# The Encoding standard encodes UTF-8 in place of these.
_NEVER_ENCODERS = frozenset({"hz", "iso2022_kr"})
_NON_ASCII = re.compile(r"[^\x00-\x7f]+")
# Printable ASCII without the query percent-encode set of the URL standard.
_KEPT_IN_QUERY = frozenset(range(0x21, 0x7F)) - frozenset(b"\"#<>'")


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """Which links of a text the sender wants rewritten, and what the text is like.

    ``clicks``: rewrite links into click links. ``own_hosts``: the hosts of our URL domains in lower
    case, with a port if they have one. ``untracked_hosts``: a host, or ``*.host`` for all hosts
    below it. ``preserve_visible_urls``: do not rewrite an ``a`` whose visible text is a URL.
    ``charset``: Python's name; links of HTML send their query in it. ``delsp``: flowed lines are
    joined without the space at their end (RFC 3676).
    """

    clicks: bool
    own_hosts: frozenset[str] = frozenset()
    untracked_hosts: tuple[str, ...] = ()
    preserve_visible_urls: bool = True
    charset: str = "utf-8"
    delsp: bool = False

    def __post_init__(self) -> None:
        for host in self.own_hosts:
            if host != host.lower() or not _AUTHORITY.fullmatch(host):
                raise ValueError(f"not a host in lower case: {host!r}")
        for host in self.untracked_hosts:
            if not _AUTHORITY.fullmatch(host.removeprefix("*.")):
                raise ValueError(f"neither a host nor *.host: {host!r}")
        try:
            "".encode(self.charset)
        except (LookupError, ValueError):
            raise ValueError(f"not a charset: {self.charset!r}") from None


class Target(NamedTuple):
    """The parts of an absolute http or https URL.

    ``host``: in lower case. ``port``: empty for the default port. ``rest``: path, query and
    fragment as written.
    """

    host: str
    port: str
    rest: str

    @property
    def names(self) -> tuple[str, ...]:
        """How an option may name this host, with the port first."""
        return (f"{self.host}:{self.port}", self.host) if self.port else (self.host,)


def cleaned(value: str) -> str:
    """The value of an attribute without the characters that every URL parser removes first."""
    value = value.strip(_ENDS)
    return value if value.isprintable() else value.translate(_DROPPED)


def without_no_track(url: str) -> str:
    """The URL without the ``+notrack`` of its scheme."""
    suffix = NO_TRACK_SCHEME.match(url)
    return url if suffix is None else url[: suffix.start(1)] + url[suffix.end(1) :]


def target(url: str) -> Target | str:
    """The target of an absolute http or https URL; for anything else, what it is."""
    if not url:
        return "empty"
    if url[0] == "#":
        return "anchor"
    scheme = _SCHEME.match(url)
    if scheme is None:
        return "relative"
    if scheme[1].lower() not in _DEFAULT_PORTS:
        return f"scheme {scheme[1].lower()}"
    return _target(url)


def _target(url: str) -> Target | str:
    match = _HTTP.match(url)
    if match is None:
        return "no host"
    authority = match[2].rpartition("@")[2]
    # No host name is as long as that.
    parse = _cached_host if len(authority) < 300 else _host
    found = parse(match[1].lower(), authority)
    if isinstance(found, str):
        return found
    return Target(*found, url[match.end() :]) if _is_text(url) else "not text"


def _host(scheme: str, authority: str) -> tuple[str, str] | str:
    """The host, and the port if it is not the default; or what the authority is instead."""
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        return "placeholder" if _TEMPLATE_IN_HOST.search(authority) else "no host"
    port = parts[2] or ""
    if port == _DEFAULT_PORTS[scheme]:
        port = ""
    return parts[1].lower().rstrip("."), port


# A newsletter links to few hosts, and the mails of a campaign have most links in common. Both are
# pure functions, so nothing but time follows from what is cached; it is a MB or two at most.
_cached_host = lru_cache(maxsize=1024)(_host)


def _absolute(url: str) -> Target | str:
    """The target of an absolute http or https URL without placeholders; else what it is."""
    if PLACEHOLDER.search(url) and url[0] != "#":
        return "placeholder"
    return target(url)


_cached_absolute = lru_cache(maxsize=4096)(_absolute)


def tracked_target(url: str, options: LinkOptions) -> Target | str:
    """The target of a URL that is to be rewritten; else the reason why it is not."""
    found = _cached_absolute(url) if len(url) < 500 else _absolute(url)
    if isinstance(found, str):
        return found
    if _is_own(found, options):
        return "own tracking link"
    if options.untracked_hosts and _is_untracked(found, options.untracked_hosts):
        return "untracked host"
    return found if options.clicks else "click tracking is off"


def _is_own(found: Target, options: LinkOptions) -> bool:
    return found.names[0] in options.own_hosts and _OWN_PATH.match(found.rest) is not None


def _is_untracked(found: Target, hosts: tuple[str, ...]) -> bool:
    for listed in hosts:
        listed = listed.lower()
        if listed.startswith("*."):
            if found.host.endswith(listed[1:]):
                return True
        elif listed in found.names:
            return True
    return False


def _is_text(url: str) -> bool:
    """Whether a token can hold the URL: it cannot hold a lone surrogate."""
    if url.isascii():
        return True
    try:
        url.encode()
    except UnicodeEncodeError:
        return False
    return True


def in_charset(url: str, charset: str) -> str:
    """The URL with its query encoded as a browser does in a document of that charset."""
    if url.isascii():
        return url
    name = codecs.lookup(charset).name
    if name.startswith("utf") or name in _NEVER_ENCODERS:
        return url
    encoder = _ENCODERS.get(name, name)
    rest, hash_sign, fragment = url.partition("#")
    path, question_mark, query = rest.partition("?")
    query = _NON_ASCII.sub(lambda run: _percent_encoded(run[0], encoder), query)
    return f"{path}{question_mark}{query}{hash_sign}{fragment}"


def _percent_encoded(run: str, encoder: str) -> str:
    try:
        octets = run.encode(encoder)
    except UnicodeError:
        # One character at a time: to retry from failure to failure would be quadratic.
        return "".join(_percent_encoded_character(character, encoder) for character in run)
    return "".join(chr(octet) if octet in _KEPT_IN_QUERY else f"%{octet:02X}" for octet in octets)


def _percent_encoded_character(character: str, encoder: str) -> str:
    try:
        character.encode(encoder)
    except UnicodeError:
        return f"%26%23{ord(character)}%3B"
    return _percent_encoded(character, encoder)
