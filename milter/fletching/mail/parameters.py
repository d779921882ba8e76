"""Parameters of Content-Type and Content-Disposition (RFC 2045 section 5.1, RFC 2231).

Here lives their grammar, and not what each of them means. Nothing raises.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import count
from urllib.parse import unquote_to_bytes

_BEFORE_COMMENT = ' \t";=)'
# Characters that stand for themselves: no quote, comment, escape, or end of a word or a name.
_PLAIN = re.compile(r'[^"()\\;=]*')
_QUOTED = re.compile(r'[^"\\]*')


def parameters(value: bytes) -> tuple[str, Mapping[str, str]]:
    """A Content-Type or Content-Disposition: its first word in lower case, and its parameters.

    Names are in lower case; of two parameters with one name the first counts. An open quote ends
    with the field (RFC 2045 section 5.1). Comments are skipped; a bracket within a word begins
    none, since some programs write brackets into boundaries without quotes.
    """
    text = value.decode("latin-1").replace("\r\n", "")
    word, at = _until(text, 0, ";")
    found: dict[str, str] = {}
    while at < len(text):
        name, at = _until(text, at + 1, "=;")
        if at >= len(text) or text[at] == ";":
            continue
        content, at = _until(text, at + 1, ";")
        found.setdefault(name.lower(), content)
    return word.lower(), _joined(found) if any("*" in name for name in found) else found


def _joined(found: Mapping[str, str]) -> Mapping[str, str]:
    """Parameters with those of RFC 2231 joined: ``name*0``, ``name*1`` ...; ``name*`` is escaped.

    A charset in them is ignored. If a name is also there in its plain form, that one counts.
    """
    joined = {name: content for name, content in found.items() if "*" not in name}
    for written in found:
        name, star, rest = written.partition("*")
        if not star or name in joined or rest not in ("", "0", "0*"):
            continue
        if rest == "":
            joined[name] = _unescaped(found[written], first=True)
            continue
        pieces: list[str] = []
        for number in count():
            plain, escaped = f"{name}*{number}", f"{name}*{number}*"
            if escaped in found:
                pieces.append(_unescaped(found[escaped], first=number == 0))
            elif plain in found:
                pieces.append(found[plain])
            else:
                break
        joined[name] = "".join(pieces)
    return joined


def _unescaped(content: str, *, first: bool) -> str:
    """A value of RFC 2231 section 4 without its escapes, one character for each byte."""
    if first and content.count("'") >= 2:
        content = content.split("'", 2)[2]
    return unquote_to_bytes(content.encode("latin-1")).decode("latin-1")


def _until(text: str, at: int, ends: str) -> tuple[str, int]:
    """The text up to one of ``ends`` that is outside of quotes and comments, and the offset of it.

    The text has neither quotes nor comments any more.
    """
    kept: list[str] = []
    depth = 0
    quoted = False
    while at < len(text):
        # Most of the text is plain, and is taken in one step.
        run = (_QUOTED if quoted else _PLAIN).match(text, at) if not depth else None
        if run and run.end() > at:
            kept.append(run[0])
            at = run.end()
            continue
        character = text[at]
        if character == "\\" and (quoted or depth) and at + 1 < len(text):
            at += 1
            if not depth:
                kept.append(text[at])
        elif quoted:
            quoted = character != '"'
            if quoted:
                kept.append(character)
        elif depth:
            depth += (character == "(") - (character == ")")
        elif character == '"':
            quoted = True
        elif character == "(" and (at == 0 or text[at - 1] in _BEFORE_COMMENT):
            depth = 1
        elif character in ends:
            break
        else:
            kept.append(character)
        at += 1
    return "".join(kept).strip(), at
