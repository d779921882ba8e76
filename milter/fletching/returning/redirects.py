"""Where a link of ours leads: a destination as a Location header has it. Pure."""

from __future__ import annotations

import re
from urllib.parse import quote, quote_from_bytes, unquote, urlencode

from fletching.domains import a_labels
from fletching.tokens import Facts

_HTTP = re.compile(r"https?://[^/?#\\]", re.IGNORECASE | re.ASCII)
# What stands before a host that is a name, and the host.
_HOST = re.compile(r"\A(https?://(?:[^/?#\\]*@)?)([^/?#\\@:\[]+)", re.IGNORECASE | re.ASCII)
# Printable ASCII without blank, `"`, `<` and `>`.
_UNCHANGED = "!#$%&'()*+,-./:;=?@[\\]^_`{|}~"
_PLAIN = re.compile(r"[!#-;=?-~]+")


def location(destination: str) -> str | None:
    """A destination as a Location header has it; None unless it is an http or https URL.

    An international host becomes A-labels, as in browsers: other programs do not follow it in
    UTF-8. Other characters that are not printable ASCII are percent-encoded, and so are blanks,
    `"`, `<` and `>`, which no URL has and all browsers encode (URL standard, query percent-encode
    set). Nothing else changes.
    """
    if not _HTTP.match(destination):
        return None
    destination = _HOST.sub(_with_a_labels, destination)
    if _PLAIN.fullmatch(destination):
        return destination
    return quote_from_bytes(destination.encode("utf-8", "surrogateescape"), safe=_UNCHANGED)


def _with_a_labels(url: re.Match[str]) -> str:
    """The beginning of a URL up to the end of its host; an invalid host stays as it is."""
    before, host = url.groups()
    try:
        name = unquote(host, errors="strict")
        return url[0] if name.isascii() else before + a_labels(name, symbols=True)
    except ValueError:
        return url[0]


def with_recipient(destination: str, facts: Facts) -> str:
    """The destination of an unsubscribe link, with parameters that name the recipient and list.

    They are those of docs/tracking.md.
    """
    fields = {"email": facts.email, "sendid": facts.sendid, "listid": facts.listid}
    parameters = urlencode(fields, errors="surrogateescape", quote_via=quote)
    before, hash_sign, fragment = destination.partition("#")
    joint = "" if before.endswith(("?", "&")) else "&" if "?" in before else "?"
    return f"{before}{joint}{parameters}{hash_sign}{fragment}"
