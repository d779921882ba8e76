"""Adds Fletching's services to the text of master.cf, and takes them out again.

Services are found by name and type, never by comments, which postconf(1) moves. A service with its
own list of milters (``-o smtpd_milters=inet:127.0.0.1:8891``) gets one more word in that list. An
empty list means that the service uses no milter, and stays empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from fletching.postfix.edits.logical import (
    BLANK,
    Edit,
    Logical,
    adds,
    edited,
    logical_lines,
    newline_of,
    physical_lines,
    takes_out,
    words,
)
from fletching.postfix.edits.main_cf import OURS, ListWord, expanded, reaches

ABOUT = "# Fletching's services: `fletching postfix --remove` takes them out again."
_FIELDS = 8
_COMMANDS = {
    "smtpd_milters": "smtpd",
    "non_smtpd_milters": "cleanup",
    "milter_header_checks": "cleanup",
}
"""The daemon that uses a list."""


@dataclass(frozen=True, slots=True)
class Option:
    """An -o setting. ``start``, ``end``: its value, in the text of the logical line."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ServiceLine:
    """A service. ``name``: with its type, as in ``submission/inet``."""

    name: str
    command: str
    line: Logical
    options: tuple[Option, ...]

    def value(self, option: Option) -> str:
        return self.line.text[option.start : option.end].strip(BLANK)

    @property
    def values(self) -> dict[str, str]:
        return {each.name: " ".join(self.value(each).split()) for each in self.options}


def services(text: str) -> list[ServiceLine]:
    found = []
    for line in logical_lines(text):
        fields = words(line.text, 0, len(line.text), BLANK)
        if len(fields) >= _FIELDS:
            name = f"{fields[0].text}/{fields[1].text}"
            command = fields[_FIELDS - 1].text.rpartition("/")[2]
            found.append(ServiceLine(name, command, line, tuple(_options(line))))
    return found


def _options(line: Logical) -> Iterator[Option]:
    is_next = False
    for word in words(line.text, 0, len(line.text), BLANK)[_FIELDS:]:
        attached = not is_next and word.text.startswith("-o") and word.text != "-o"
        if is_next or attached:
            start, end = word.start + (2 if attached else 0), word.end
            if line.text[start] == "{" and line.text[end - 1] == "}":
                start, end = start + 1, end - 1
            match = re.match(rf"[{BLANK}]*([^={BLANK}]+)[{BLANK}]*=", line.text[start:end])
            if match:
                yield Option(match[1], start + match.end(), end)
        is_next = word.text == "-o"


def with_services(text: str, wanted: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """The text with these services. ``ours``: those added before, with their text of that time.

    Raises ValueError if the text has a service of the same name that is different.
    """
    present = {each.name: each for each in services(text)}
    edits, missing = [], []
    for name, service in wanted.items():
        existing = present.get(name)
        if existing is None:
            missing.append(service)
        elif name in ours and existing.line.text.split() == ours[name].split():
            # Nobody has changed it since.
            if existing.line.text.split() != service.split():
                new = service.replace("\n", newline_of(text))
                edits.append(Edit(existing.line.start, existing.line.end, new))
        elif lacks := _difference(existing, service, ours.get(name)):
            raise ValueError(
                f"master.cf: the service {name} exists already, and differs from the one that"
                f" Fletching needs ({lacks}); rename its transport in fletching.yaml, or remove the"
                f" service: postconf -MX {name}"
            )
    edits += [
        Edit(existing.line.start, existing.line.end)
        for name, existing in present.items()
        if name in ours and name not in wanted
    ]
    return _appended(edited(text, edits), missing)


def _difference(existing: ServiceLine, wanted: str, ours: str | None) -> str:
    """What a service would have to be; empty if it is that, perhaps with more options."""
    (service,) = services(wanted)
    has, needs = existing.values, service.values
    old = services(ours)[0].values if ours else {}
    return ", ".join(
        [
            *([] if existing.command == service.command else [service.command]),
            *(f"-o {name}={value}" for name, value in needs.items() if has.get(name) != value),
            *(f"no -o {name}" for name in old if name in has and name not in needs),
        ]
    )


def _appended(text: str, missing: list[str]) -> str:
    newline = newline_of(text)
    gap = newline if missing and text and not text.endswith("\n") else ""
    about = "" if not missing or _about(text) else f"{ABOUT}\n"
    added = (about + "".join(missing)).replace("\n", newline)
    return text + gap + added


def _about(text: str) -> list[Edit]:
    return [
        Edit(offset, min(offset + len(line) + 1, len(text)))
        for offset, line in physical_lines(text)
        if line.rstrip(BLANK) == ABOUT
    ]


def with_words(text: str, lists: Iterable[ListWord], known: Mapping[str, str]) -> str:
    """The text with our words in the lists that services set for themselves.

    ``known``: the values of main.cf.
    """
    edits = []
    wanted = {each.parameter: each for each in lists}
    for service in services(text):
        values = {**known, **service.values}
        for option in service.options:
            word, value = wanted.get(option.name), service.value(option)
            if word is None or not value or service.command != _COMMANDS.get(option.name):
                continue
            if not reaches(value, values, word.word.removeprefix("$")):
                edits.append(_added(service, option, word, values))
    return edited(text, edits)


def _added(
    service: ServiceLine, option: Option, wanted: ListWord, known: Mapping[str, str]
) -> Edit:
    def place(found: Iterable[str]) -> int:
        return wanted.place([expanded(word, known) for word in found])

    # Without spaces: outside of braces, a value ends at the first one.
    return adds(service.line, option.start, option.end, wanted.word, place, ",")


def without(text: str, ours: Iterable[str]) -> str:
    """The text without these services, and without our words in the lists of the others."""
    names = set(ours)
    gone = [each.line for each in services(text) if each.name in names]
    edits = [Edit(line.start, line.end) for line in gone]
    edits += [each for each in _about(text) if not any(g.start <= each.start < g.end for g in gone)]
    text = edited(text, edits)
    while (edit := _next_word(text)) is not None:
        text = edited(text, [edit])
    return text


def _next_word(text: str) -> Edit | None:
    for service in services(text):
        for option in service.options:
            edit = takes_out(service.line, option.start, option.end, OURS)
            if edit is not None:
                return edit
    return None
