"""One start tag of a link in HTML: where its attributes are, and which of them opt it out.

Here lives how a complete tag is taken apart so that it can be changed in place. Which tags are
links, and what becomes of them, is in `html.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from turbohtml import Token, tokenize

from fletching.links.urls import cleaned

_SPACE = "\t\n\f\r "
_TAG_NAME = re.compile(r"<[^\t\n\f\r />]+")
# What the tokenizer does with the attributes of a complete tag: separators, a name (which may begin
# with "="), and perhaps a value in double, single or no quotes.
_ATTRIBUTE = re.compile(
    r"""
    [\t\n\f\r /]*+
    ( [^\t\n\f\r />] [^\t\n\f\r />=]*+ )
    (?: [\t\n\f\r ]*+ = [\t\n\f\r ]*+ (?: "([^"]*+)" | '([^']*+)' | ([^\t\n\f\r >]*+) ) )?
    """,
    re.VERBOSE,
)
_NAME, _QUOTED = 1, (2, 3)
_LONGEST_CACHED = 2000


class _OptOut(NamedTuple):
    """An attribute that opts a link out: with that value, or with any value (None)."""

    name: str
    value: str | None = None

    @property
    def text(self) -> str:
        return self.name if self.value is None else f"{self.name}={self.value}"

    def applies_to(self, token: Token) -> bool:
        """Whether it opts the tag out. If the attribute is repeated, the first one counts."""
        value = token.attr(self.name)
        return value is not None and self.value in (None, value.strip().lower())


_OPT_OUTS = {
    attribute.name: attribute
    for attribute in (
        _OptOut("data-fletching-track", "off"),
        _OptOut("clicktracking", "off"),
        _OptOut("data-msys-clicktrack", "0"),
        _OptOut("ses:no-track"),
        _OptOut("data-pm-no-track"),
        _OptOut("mc:disable-tracking"),
        _OptOut("data-mautic-disable-tracking"),
    )
}


class Value(NamedTuple):
    """Where an attribute value is, without its quotes."""

    start: int
    end: int
    quoted: bool


class Tag(NamedTuple):
    """The start tag of a link. Offsets are offsets into the tag.

    ``href``: where its value is, None without one; ``url``: the value itself. ``opt_outs``: from
    where to where to cut so that the opt-out attributes are gone. ``opted_out``: the attribute that
    opts the link out, None without one.
    """

    href: Value | None
    url: str
    opt_outs: tuple[tuple[int, int], ...]
    opted_out: str | None


def read_tag(source: str) -> Tag:
    """A complete start tag."""
    return _cached_tag(source) if len(source) < _LONGEST_CACHED else _tag(source)


def _tag(source: str) -> Tag:
    token = next(iter(tokenize(source)))
    attributes = _attributes(source)
    names = [written[_NAME].lower() for written in attributes]
    set_names = {name for name in _OPT_OUTS.keys() & names if _OPT_OUTS[name].applies_to(token)}
    return Tag(
        href=_value(attributes[names.index("href")]) if "href" in names else None,
        url=cleaned(token.attr("href") or ""),
        opt_outs=tuple(_removals(source, attributes, set_names)) if set_names else (),
        opted_out=_OPT_OUTS[min(set_names)].text if set_names else None,
    )


# The mails of a campaign have most of their tags in common. `_tag` depends on its argument only, so
# nothing but time follows from what is cached here, and it is some MB at most.
_cached_tag = lru_cache(maxsize=4096)(_tag)


def _removals(
    source: str, attributes: list[re.Match[str]], opt_outs: set[str]
) -> Iterator[tuple[int, int]]:
    """From where to where to cut so that these attributes are gone."""
    for index, written in enumerate(attributes):
        if written[_NAME].lower() not in opt_outs:
            continue
        following = attributes[index + 1][_NAME] if index + 1 < len(attributes) else ""
        # Before a name that begins with "=" the attribute keeps two others apart; it stays.
        if not following.startswith("="):
            yield _removal(source, written.start(_NAME), written.end())


def _attributes(source: str) -> list[re.Match[str]]:
    """The attributes of a complete start tag, in order, with repeated ones."""
    name = _TAG_NAME.match(source)
    return [*_ATTRIBUTE.finditer(source, name.end())] if name else []


def _value(attribute: re.Match[str]) -> Value:
    """Where the value of an attribute is; without a value, the empty range behind the name."""
    group = attribute.lastindex or _NAME
    if group == _NAME:
        return Value(attribute.end(), attribute.end(), quoted=False)
    return Value(*attribute.span(group), quoted=group in _QUOTED)


def _removal(text: str, start: int, end: int) -> tuple[int, int]:
    """From where to where to cut so that the attribute is gone and its neighbours stay apart."""
    if text[end] in _SPACE or text[end] == ">":
        while text[start - 1] in _SPACE:
            start -= 1
    return start, end
