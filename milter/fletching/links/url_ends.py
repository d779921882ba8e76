"""Where a URL in plain text ends: the one table, and how to recognize a link within a link.

Here live scripts, signs, pairs and schemes, as values and patterns. Sources:

- RFC 3986 appendix C: a URI in a text ends at white space, ``"`` or within ``< >``; punctuation
  behind it and ``URL:`` before it are not part of it. Sections 2.2 and 2.3: its characters;
  RFC 3987 section 2.2 adds the letters of all scripts.
- RFC 3676 sections 4.2 to 4.5: which lines of ``format=flowed`` are joined.
- The Unicode Character Database: general categories P and Z, the blocks of arrows and shapes, and
  by Scripts.txt and UAX #14 (class SA, and the classes of East Asian letters) the scripts that put
  no blank between words; UAX #31 table 3a: signs that may stand within a word.
- CommonMark section 6.2: which ``*`` or ``_`` opens an emphasis, and which closes it.
- IANA's registry of URI schemes: those that need no ``//``.

Splices, and which URLs may be rewritten, may not be known here.
"""

from __future__ import annotations

import re

from fletching.links.urls import PLACEHOLDER

# These characters end every URL: controls, white space, what RFC 3986 forbids and quotes with ...
_NEVER = r"\x00-\x20<>\"\\`\x7f-\xa0\u00ad"
# ... and the signs that only prose has: of Latin-1, ...
_LATIN_1 = r"\u00a1-\u00a9\u00ab\u00ac\u00ae-\u00b1\u00b4\u00b6\u00b8\u00bb\u00bf\u00d7\u00f7"
# ... punctuation of other scripts, ...
_PUNCTUATION = (
    r"\u037e\u055a-\u055f\u0589\u05be\u05c0\u05c3\u05c6\u0609\u060a\u060c\u060d\u061b"
    r"\u061d-\u061f\u066a-\u066d\u06d4\u0700-\u070d\u07f7-\u07f9\u0830-\u083e\u085e\u0964"
    r"\u0965\u0970\u09fd\u0a76\u0af0\u0c77\u0c84\u0df4\u0e4f\u0e5a\u0e5b\u0f04-\u0f0a"
    r"\u0f0c-\u0f12\u0f3a-\u0f3d\u104a-\u104f\u10fb\u1360-\u1368\u1400\u166e\u1680\u169b\u169c"
    r"\u16eb-\u16ed\u1735\u1736\u17d4-\u17d6\u17d8-\u17da\u1800-\u180a\u1944\u1945"
    r"\u1c3b-\u1c3f\u1c7e\u1c7f\u1cc0-\u1cc7\u1cd3\u2cf9-\u2cfc\u2cfe\u2cff\u2d70\ua4fe\ua4ff"
    r"\ua60d-\ua60f\ua673\ua67e\ua6f2-\ua6f7\ua874-\ua877\ua8ce\ua8cf\ua8f8-\ua8fa\ua8fc\ua92e"
    r"\ua92f\uaa5c-\uaa5f\uaaf0\uaaf1\uabeb"
)
# ... dashes, quotation marks, bullets, ellipses, blanks; currencies; arrows, operators, lines and
# shapes (not the pictures among them); full-width signs.
_SIGNS = (
    r"\u2000-\u200b\u200e-\u206f\u20a0-\u20cf\u2190-\u2319\u231c-\u23e8\u23fb-\u245f\u2500-\u25ff"
    r"\u2605\u2606\u2610-\u2612\u261a-\u261f\u2713-\u2718\u2756-\u275e\u2761\u2766-\u2775\u2794\u2798-\u27bf"
    r"\u27c0-\u2bff\u2e00-\u2e7f\u3000-\u3004\u3008-\u3020\u3030\u303d\ufd3e\ufd3f\ufe10-\ufe19"
    r"\ufe30-\ufe6b\ufeff\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\uffe0-\uffee"
    r"\ufff9-\ufffd"
)
ENDS = _NEVER + _LATIN_1 + _PUNCTUATION + _SIGNS
"""The characters that end every URL, for a character class of a pattern."""

# These end a URL or are part of it: letters of scripts without spaces between words, and Hangul,
# whose particles join a word (``https://a.example/2에서``) ...
_UNSPACED = (
    r"\u0e01-\u0e3a\u0e40-\u0e4e\u0e50-\u0e59\u0e80-\u0eff\u0f00-\u0f03\u0f0b\u0f13-\u0f39\u0f3e-\u0fff"
    r"\u1000-\u1049\u1050-\u109f\u1100-\u11ff\u1780-\u17d3\u17d7\u17dc-\u17ff\u1950-\u19ff\u1a00-\u1aad"
    r"\u1b00-\u1bff\u2e80-\u2fdf\u3005-\u3007\u3021-\u302f\u3031-\u303c\u303e-\u31ff\u3200-\u4dbf\u4e00-\ua4cf"
    r"\ua930-\ua95f\ua960-\ua97f\ua980-\uaa5b\uaa60-\uaadf\uac00-\ud7ff\uf900-\ufaff\uff10-\uff19"
    r"\uff21-\uff3a\uff41-\uff5a\uff66-\uffdc"
    r"\U00011000-\U0001107f\U00016fe0-\U00018dff\U0001aff0-\U0001b2ff\U00020000-\U0003ffff"
)
# ... pictures, raised and ringed figures ...
_PICTURES = (
    r"\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u209f\u20d0-\u218f\u231a\u231b\u23e9-\u23fa\u2460-\u24ff"
    r"\u2600-\u2604\u2607-\u260f\u2613-\u2619\u2620-\u2712\u2719-\u2755\u275f\u2760\u2762-\u2765\u2776-\u2793\u2795-\u2797\ufe00-\ufe0f"
    r"\U0001f000-\U0001faff"
)
# ... and signs that may stand within a word (UAX #31).
_MEDIAL = r"\u00b7\u0387\u058a\u05f3\u05f4\u200c\u200d"
DOUBTFUL = re.compile(rf"[{_UNSPACED}{_PICTURES}{_MEDIAL}]++")
_MEDIAL_ALONE = re.compile(rf"[{_MEDIAL}](?=\w)")

TRAILING = ".,;:!?'|"
"""Punctuation that is not part of a URL at its end. In a list without spaces, another URL may
follow it."""
_VALUE = "=/?#"
"""A URL behind one of these is part of the URL around it."""
OPENING = {")": "(", "]": "[", "}": "{"}
"""Pairs: a bracket whose partner is not in the URL ends it."""
# These are pairs, too: emphasis and the lines of a table end where they were opened before.
_EMPHASIS = re.compile(r"\*+|~+|_+|\|")
_EMPHASIS_OR_PARAGRAPH = re.compile(r"\*+|~+|_+|\n[ \t]*\r?(?=\n)")
_BEHIND_CLOSED = re.compile(rf"[^\w/?#&=%+@$-]|[{_UNSPACED}{_PICTURES}]|_|\Z")
_NEVER_OPENS = re.compile(r"[^\W_]|[/?#&=%+@$.:-]|(?<=\w)\(")

# With one of these, a URL goes on behind a letter of a script without spaces.
_GOES_ON = re.compile(r"[/?#&=%@_]|\.\w")
_ENDED = frozenset(",;!)]}")
_HOST_END = re.compile(r"[/?#]")
_SCHEMES = (
    r"about|acct|blob|cid|data|facetime(?:-audio)?|feed|geo|im|intent|jabber|jar|javascript|magnet"
    r"|mailto|maps|market|mid|microsoft-edge|mms|mmsto|msteams|news|pres|sips?|skype|sms|smsto|tel"
    r"|urn|view-source|wtai|xmpp"
)
# What may end a URL before its run ends: a bracket or another link. The order matters.
BRACKET = r"[()\[\]{}]"
BRACKET_OR_LINK = (
    rf"{BRACKET}|https?(?:\+notrack)?://"
    rf"|(?<=[,;|])(?:www\.|(?:{_SCHEMES}):|[a-z][a-z0-9+.-]*+://)"
)
_OF_ANOTHER_SCHEME = (
    rf"(?<![a-z0-9+.-])(?:(?!https?(?:\+notrack)?://)[a-z][a-z0-9+.-]*+://|(?:{_SCHEMES}):"
)
_WITHOUT_SCHEME = (
    r"|(?<![\w.-])(?:[\w-]++\.)++[^\W\d_][\w-]*+(?::[0-9]+)?[/?#]|[?&][\w.\[\]%-]++=\Z"
)
_OTHER = re.compile(rf"{_OF_ANOTHER_SCHEME}){_WITHOUT_SCHEME}", re.IGNORECASE)
# "Website:" before a URL is a label, but with a query or a path it is a link.
_OTHER_OR_UNKNOWN = re.compile(
    rf"{_OF_ANOTHER_SCHEME}|[a-z][a-z0-9+.-]++:){_WITHOUT_SCHEME}", re.IGNORECASE
)


def other_link(text: str, start: int, begin: int) -> re.Match[str] | None:
    """The first link of another scheme, or without a scheme, that begins before a URL.

    ``begin``: of the URL. ``start``: of the text that may be part of the other link.
    """
    other = _OTHER_OR_UNKNOWN if text[begin - 1] in "=/" else _OTHER
    return other.search(text, start, begin)


def ends_before(text: str, start: int, begin: int) -> bool | None:
    """Whether the link that begins at ``start`` ends before the URL at ``begin``.

    None: unclear.
    """
    before = text[begin - 1]
    if before in _VALUE:
        return False
    if text.find("?", start, begin) >= 0 or text.find("#", start, begin) >= 0:
        # A space in a query is "+" or "%20".
        return False if before == "+" or (before.isalnum() and before.isascii()) else None
    return True if before in TRAILING or DOUBTFUL.match(before) else None


class Emphasis:
    """The characters of emphasis (``*``, ``_``, ``~``) in one text, read from URL to URL."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._read_to = 0
        self._open = dict.fromkeys("*~_", 0)

    def closed(self, begin: int, start: int, stop: int) -> int | None:
        """Where an emphasis that was opened before the URL is closed; ``stop`` if it is not.

        The URL begins at ``begin``, and its authority at ``start``. None: unclear.
        """
        text = self._text
        if PLACEHOLDER.search(text, start, stop):
            return stop
        for run in _EMPHASIS.finditer(text, start, stop):
            sign = run[0][0]
            at_once = text[begin - 1 : begin] == sign
            if _BEHIND_CLOSED.match(text, run.end(), stop):
                still_open = int(at_once) if sign == "|" else self._opened(begin, sign)
                if still_open:
                    return run.end() - min(still_open, len(run[0]))
            elif at_once and sign in "*|":
                return None
        return stop

    def _opened(self, begin: int, sign: str) -> int:
        """How many of these characters are open where a URL begins."""
        for run in _EMPHASIS_OR_PARAGRAPH.finditer(self._text, self._read_to, begin):
            if run[0][0] == "\n":
                self._open = dict.fromkeys("*~_", 0)
                continue
            before = max(0, run.start() - 1)
            left = self._text[before : run.start()]
            right = self._text[run.end() : run.end() + 1]
            kind, still_open = run[0][0], self._open[run[0][0]]
            within_word = right.isalnum() and not (kind == "*" and left.isalnum())
            if still_open and not (left.isspace() or within_word):
                self._open[kind] -= min(still_open, len(run[0]))
            elif not (right.isspace() or (left and _NEVER_OPENS.match(self._text, before))):
                self._open[kind] += len(run[0])
        self._read_to = max(self._read_to, begin)
        return self._open[sign]


def before_prose(text: str, start: int, stop: int) -> int | None:
    """Where the text behind a URL begins; ``stop`` if the URL goes on until there. None: unclear.

    The authority of the URL begins at ``start``.
    """
    host = _HOST_END.search(text, start, stop)
    host_end = host.start() if host else stop
    for letters in DOUBTFUL.finditer(text, start, stop):
        at, end = letters.span()
        last = text[at - 1]
        if at < host_end and end < stop and (at == start or last == "."):
            continue  # An internationalized host name.
        ended = last.isalnum() or last in _ENDED or (last == "." and host_end < at)
        if not ended or _GOES_ON.search(text, end, stop) or _MEDIAL_ALONE.match(text, at, stop):
            return None
        return at
    return stop


def is_odd(run: str) -> bool:
    """Whether something other than a bracket or punctuation may end the URL within its run."""
    return (
        not run.isascii()
        or "*" in run
        or "|" in run
        or "~" in run
        or run.rstrip(TRAILING)[-1:] == "_"
    )


def trimmed(text: str, begin: int, start: int, end: int) -> int:
    """Where a URL ends without the punctuation at its end, and without the shaft of an arrow."""
    url = text[start:end].rstrip(TRAILING)
    if url[-1:] in ("-", "=") and text.startswith(">", end) and text[begin - 1 : begin] != "<":
        url = url.rstrip("-=").rstrip(TRAILING)
    return start + len(url)
