"""The language of manual pages, man(7): escapes, paragraphs, lists.

Texts come in two notations: plain text, and Markdown with `code`, **bold** and [links](to). What is
code is bold. Pure; knows neither commands nor options.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

_WIDTH = 78
_CODE = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}
_PROSE = {"\\": "\\e", "^": "\\(ha", "~": "\\(ti"}
_MARKDOWN = re.compile(r"``?(?P<code>[^`]+)``?|\*\*(?P<bold>[^*]+)\*\*|\[(?P<link>[^]]+)]\([^)]*\)")
# -h, --since: as one types it, not a hyphen.
_OPTION = re.compile(r"(?<![\w-])--?(?=[a-zA-Z])")


def literal(text: str) -> str:
    """Text that a user types: each character is shown as it is."""
    return "".join(_CODE.get(character, character) for character in text)


def bold(text: str) -> str:
    return f"\\fB{literal(text)}\\fR"


def italic(text: str) -> str:
    return f"\\fI{literal(text)}\\fR"


def reference(page: str, section: int) -> str:
    """The name of another page, such as fletching.yaml(5)."""
    return f"{bold(page)}({section})"


def _prose(text: str) -> str:
    escaped = "".join(_PROSE.get(character, character) for character in text)
    return _OPTION.sub(lambda found: found[0].replace("-", "\\-"), escaped)


def markdown(text: str) -> str:
    """Running text, on one line."""
    parts, end = [], 0
    for found in _MARKDOWN.finditer(text):
        parts.append(_prose(text[end : found.start()]))
        end = found.end()
        if found["link"] is not None:
            parts.append(markdown(found["link"]))
        else:
            parts.append(bold(found["code"] or found["bold"]))
    return "".join(parts) + _prose(text[end:])


def lines(text: str) -> str:
    """Escaped text as lines of input; none of them can be taken for a request."""
    wrapped = textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n".join(f"\\&{line}" if line[0] in ".'" else line for line in wrapped)


def title(page: str, section: int, day: str, version: str) -> str:
    words = (literal(page.upper()), str(section), day, f"fletching {literal(version)}", "Fletching")
    # Neither hyphenated nor stretched: much of the text is to be typed as it is.
    return f".TH {' '.join(map(_quoted, words))}\n.nh\n.ad l\n"


def heading(text: str) -> str:
    return f".SH {_quoted(literal(text))}\n"


def subheading(text: str) -> str:
    return f".SS {_quoted(literal(text))}\n"


def _quoted(text: str) -> str:
    return f'"{text.replace(chr(34), chr(92) + "(dq")}"'


def paragraph(text: str) -> str:
    """A paragraph of escaped text. The first one of a section needs no distance: use `lines`."""
    return f".PP\n{lines(text)}\n"


def paragraphs(texts: Iterable[str]) -> str:
    """The text of a section: escaped paragraphs."""
    first, *others = texts
    return f"{lines(first)}\n" + "".join(map(paragraph, others))


def entry(term: str, text: str) -> str:
    """A term of a list, escaped, and what is said of it."""
    return f".TP\n{lines(term)}\n{lines(text)}\n"


def example(text: str) -> str:
    """Lines that are shown as they are."""
    shown = (literal(line) for line in text.splitlines())
    kept = "\n".join(f"\\&{line}" if line[:1] in (".", "'") else line for line in shown)
    return f".RS 4\n.EX\n{kept}\n.EE\n.RE\n"
