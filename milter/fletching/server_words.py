"""Groups what mail servers say: their words without what is different in each message.

Pure. `store/` counts the groups, and limits how many there are in a campaign.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

LONGEST = 200
"""Characters of a group's words."""

_MOST_READ = 2000
"""Characters of a server's words that are read."""

# What Postfix writes before and behind the words (smtp(8)): the server, and what it refused.
_SERVER = re.compile(r"^host \S{1,300}(?: refused to talk to me:| said:) (?=.)")
_IN_REPLY = re.compile(r" \(in reply to (?:the )?[A-Za-z -]{1,60}\)$")
_SPACES = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ufffd]+")
_CODES = re.compile(r"^([245]\d\d)[- ](?:([245]\.\d{1,3}\.\d{1,3}) )?")
_TOKEN = re.compile(
    r"(?P<code>(?<!\S)[245]\d\d(?= |$)|(?<![\w.])[245]\.\d{1,3}\.\d{1,3}(?![\w.]))"
    r"|(?P<url>https?://[^ <>\"]+)"
    r"|(?P<address><?[^ <>@\"'(),;:]{1,256}@[^ <>@\"'(),;:]{1,256}>?)"
    r"|(?P<bracketed><[^<> ]{1,256}>)"
    r"|(?P<error>(?<=[(\[])[A-Z]{1,5}\d{1,4}(?=[)\]]))"
    r"|(?P<word>[\w.+:-]+)"
    r"|(?P<other>.)",
)
_DIGITS = re.compile(r"\d+")
_CHANGES = re.compile(r"(?<=\d)(?=[A-Za-z])|(?<=[A-Za-z])(?=\d)")
_IP = re.compile(r"(?:ipv6:)?(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7})")
_SHORTEST_ID = 8


def group(text: str, email: str = "") -> str:
    """A server's words with placeholders: N for digits, `<id>`, `<address>`, `<domain>`, `<ip>`.

    Reply codes (RFC 5321), enhanced status codes (RFC 3463) and short error codes in brackets stay.
    ``email``: the recipient, whose local part or domain may stand alone in the words. Linear in the
    length.
    """
    text = _SPACES.sub(" ", text[:_MOST_READ]).strip()
    text = _one_line(_IN_REPLY.sub("", _SERVER.sub("", text)))
    user, _, domain = email.lower().rpartition("@")
    own = {domain: "<domain>"} | ({user: "<address>"} if len(user) > 2 else {})
    return "".join(_plain(token, own) for token in _TOKEN.finditer(text))[:LONGEST].rstrip()


def _one_line(text: str) -> str:
    """A reply of several lines without the codes that each line repeats."""
    codes = _CODES.match(text)
    if codes is None:
        return text
    code, status = codes[1], codes[2]
    first = f"{code} {status} " if status else f"{code} "
    again = rf" {code}[- ](?:{re.escape(status)} )?" if status else rf" {code}[- ]"
    return first + re.sub(again, " ", text[codes.end() :]).strip()


def _plain(token: re.Match[str], own: Mapping[str, str]) -> str:
    text = token[0]
    match token.lastgroup:
        case "address":
            return "<address>"
        case "bracketed":
            return "<ip>" if _IP.fullmatch(text[1:-1].lower()) else "<address>"
        case "url":
            # What comes after the path is different in each message.
            return _DIGITS.sub("N", re.split("[?#]", text, maxsplit=1)[0])
        case "word":
            return _word(text, own)
    return text


def _word(text: str, own: Mapping[str, str]) -> str:
    bare = text.rstrip(".:")
    end = text[len(bare) :]
    if bare and (placeholder := own.get(bare.lower())):
        return placeholder + end
    if _IP.fullmatch(bare.lower()):
        return f"<ip>{end}"
    return f"<id>{end}" if _is_id(bare) else _DIGITS.sub("N", text)


def _is_id(text: str) -> bool:
    """Whether a word looks like a queue id or the like, with letters and digits mixed.

    A host name such as `mx01.example.net` does not: only its digits are replaced.
    """
    first = text.partition(".")[0]
    return len(first) >= _SHORTEST_ID and len(_CHANGES.findall(first)) >= 2
