"""Adds Fletching's settings to the text of main.cf, and takes them out again.

A list that is set already gets one more word where it stands; everything else is in one block
between two marker comments. All parameters of our own begin with ``fletching_``, so that what is
ours can be recognized wherever an administrator or postconf(1) has moved it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fletching.postfix.edits.logical import (
    BLANK,
    Edit,
    Logical,
    Place,
    adds,
    edited,
    is_comment,
    logical_lines,
    newline_of,
    physical_lines,
    takes_out,
    words,
)

BEGIN, END = "# >>> fletching", "# <<< fletching"
_ABOUT = (
    "# Added by `fletching postfix --install`; `fletching postfix --remove` takes it out again."
)
_OWN = re.compile(r"fletching_\w+")
OURS = re.compile(r"\$(?:fletching_\w+|\{fletching_\w+\}|\(fletching_\w+\))")
"""A word of a list that names one of our parameters."""
_PASTED = re.compile(r"regexp:\$config_directory/(?:milter_header_checks|fletching_senders)")
_REFERENCE = re.compile(r"\$[{(]?\s*(\w+)")


@dataclass(frozen=True, slots=True)
class ListWord:
    """A word that a list needs. ``default``: a parameter that counts while the list is not set."""

    parameter: str
    word: str
    place: Place
    default: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of main.cf. ``start``: where its value begins in the text of its line."""

    name: str
    line: Logical
    start: int

    @property
    def value(self) -> str:
        return self.line.text[self.start :].strip(BLANK)


@dataclass(frozen=True, slots=True)
class Stripped:
    """A text without our settings. ``block``: the offset where our block was."""

    text: str
    block: int | None = None


def settings(text: str) -> list[Setting]:
    """All settings in their order; of two with one name, Postfix uses the last."""
    found = []
    for line in logical_lines(text):
        if match := re.match(rf"([^={BLANK}]+)[{BLANK}]*=", line.text):
            found.append(Setting(match[1], line, match.end()))
    return found


def values(text: str) -> dict[str, str]:
    """The values that Postfix uses, unexpanded."""
    return {each.name: each.value for each in settings(text)}


def expanded(word: str, known: Mapping[str, str], depth: int = 10) -> str:
    """A word with the values of the parameters that it names appended: enough to search in."""
    if depth == 0:
        return word
    found = (known.get(name, "") for name in dict.fromkeys(_REFERENCE.findall(word)))
    return " ".join([word, *(expanded(each, known, depth - 1) for each in found if each)])


def reaches(value: str, known: Mapping[str, str], parameter: str) -> bool:
    """Whether a value names a parameter, directly or through others."""
    return parameter in _REFERENCE.findall(expanded(value, known))


def with_settings(
    stripped: Stripped, own: Mapping[str, str], lists: Iterable[ListWord]
) -> tuple[str, dict[str, str]]:
    """The text with our settings, and all its values.

    ``own``: parameters of ours by name. Raises nothing: each list can take one more word.
    """
    text = _ended(stripped.text)
    last = {each.name: each for each in settings(text)}
    known = {name: each.value for name, each in last.items()} | dict(own)
    edits: list[Edit] = []
    block = [f"{name} = {value}" for name, value in own.items()]
    for wanted in _in_order(lists, known):
        name, word = wanted.parameter, wanted.word
        if reaches(known.get(name, ""), known, word.removeprefix("$")):
            continue
        setting = last.get(name)
        if setting is None:
            value = f"{word}, ${wanted.default}" if known.get(wanted.default) else word
            block.append(f"{name} = {value}")
        else:
            place = _expanding(wanted.place, known)
            line = setting.line
            edits.append(adds(line, setting.start, len(line.text), word, place))
            value = f"{setting.value}, {word}"
        known[name] = value
    edits.append(_block(text, block, stripped.block))
    return edited(text, edits), known


def _in_order(lists: Iterable[ListWord], known: Mapping[str, str]) -> list[ListWord]:
    """A list that names another one comes after it, as the word may reach it that way."""
    found = list(lists)
    return sorted(
        found,
        key=lambda each: sum(
            reaches(known.get(each.parameter, ""), known, other.parameter) for other in found
        ),
    )


def _expanding(place: Place, known: Mapping[str, str]) -> Place:
    return lambda found: place([expanded(word, known) for word in found])


def _block(text: str, lines: Sequence[str], offset: int | None) -> Edit:
    block = "".join(f"{line}{newline_of(text)}" for line in (BEGIN, _ABOUT, *lines, END))
    if offset is None or (offset > 0 and text[offset - 1] != "\n"):
        offset = len(text)
    return Edit(offset, offset, block)


def _ended(text: str) -> str:
    """The text with a newline at its end."""
    return text if text.endswith("\n") or not text else text + newline_of(text)


def stripped(text: str, lists: Collection[str] | None = None) -> Stripped:
    """The text without our block, our parameters and our words in these lists; None: in all.

    What an administrator has added to our block since is kept.
    """
    start, end = _marked(text)
    text, start, end = _without_words(text, start, end, lists)
    edits = [
        Edit(offset, min(offset + len(line) + 1, len(text)))
        for offset, line in physical_lines(text)
        if (start <= offset < end and is_comment(line)) or _bare(line) in (BEGIN, END)
    ]
    for each in settings(text):
        inside = start <= each.line.start < end
        if _OWN.fullmatch(each.name) or (inside and not each.value):
            # Comments within the setting go with it.
            edits = [e for e in edits if not each.line.start <= e.start < each.line.end]
            edits.append(Edit(each.line.start, each.line.end))
    before = sum(edit.end - edit.start for edit in edits if edit.start < start)
    return Stripped(edited(text, edits), start - before if end else None)


def _bare(line: str) -> str:
    return line.rstrip(BLANK)


def _marked(text: str) -> tuple[int, int]:
    """Where our block begins and ends; 0 and 0 if there is none."""
    start = None
    for offset, line in physical_lines(text):
        if _bare(line) == BEGIN:
            start = offset
        elif _bare(line) == END and start is not None:
            return start, offset + len(line) + 1
    return 0, 0


def _without_words(
    text: str, start: int, end: int, lists: Collection[str] | None
) -> tuple[str, int, int]:
    while (edit := _next_word(text, start, end, lists)) is not None:
        text = edited(text, [edit])
        size = edit.end - edit.start
        start -= size if edit.start < start else 0
        end -= size if edit.start < end else 0
    return text, start, end


def _next_word(text: str, start: int, end: int, lists: Collection[str] | None) -> Edit | None:
    for each in settings(text):
        inside = start <= each.line.start < end
        if _OWN.fullmatch(each.name) or not (lists is None or inside or each.name in lists):
            continue
        for pattern in (OURS, _PASTED) if inside else (OURS,):
            edit = takes_out(each.line, each.start, len(each.line.text), pattern)
            if edit is not None:
                return edit
        # The default of a list that only our block has set.
        names = [word.text for word in words(each.line.text, each.start, len(each.line.text))]
        if inside and each.name == "virtual_alias_maps" and names == ["$virtual_maps"]:
            return Edit(each.line.at(each.start), each.line.at(len(each.line.text) - 1) + 1)
    return None
