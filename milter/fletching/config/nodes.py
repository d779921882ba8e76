"""Parses YAML text into plain values, each with its line.

Only mappings, lists, texts, numbers, true, false and null are accepted. No option is known here.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import yaml

Place = tuple[str | int, ...]

DEEPEST = 32
MOST_REPEATS = 10_000

_STANDARD = "tag:yaml.org,2002:"
_TEXTS = {_STANDARD + name for name in ("str", "timestamp", "merge", "value")}


@dataclass(frozen=True, slots=True)
class Fault:
    """An error at a place of the document. ``lost``: there is no usable value at that place."""

    line: int
    place: Place
    what: str
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML document: its value, the line of each place, and its errors."""

    value: object
    lines: dict[Place, int]
    faults: tuple[Fault, ...]

    def line(self, place: Place) -> int:
        """The line of that place, or of the nearest place containing it that is in the text."""
        while place not in self.lines:
            place = place[:-1]
        return self.lines[place]


class NotYaml(Exception):
    """The text is not a valid YAML document. ``what``: why."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line
        self.what = what


def read(text: str) -> Document:
    """Parses a text with one document. Raises NotYaml."""
    try:
        composer = _Composer(text)
    except yaml.reader.ReaderError as wrong:
        line = text.count("\n", 0, wrong.position) + 1
        raise NotYaml(line, f"the character U+{wrong.character:04X} is not allowed") from None
    try:
        root = composer.get_single_node()
    except yaml.MarkedYAMLError as wrong:
        line = wrong.problem_mark.line + 1 if wrong.problem_mark else 1
        before = f"{wrong.context}, " if str(wrong.problem).startswith("but ") else ""
        raise NotYaml(line, f"invalid YAML: {before}{wrong.problem}") from None
    except (ValueError, OverflowError):
        # PyYAML's scanner raises these for numbers out of range, as in "\\U99999999".
        raise NotYaml(composer.line + 1, "invalid YAML: a number is out of range") from None
    walk = _Walk()
    value = None if root is None else walk.value(root, ())
    return Document(value, walk.lines, tuple(dict.fromkeys(walk.faults)))


class _Composer(yaml.SafeLoader):
    """Limits the nesting, because PyYAML's composer calls itself for every level."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.depth > DEEPEST:
            raise NotYaml(self.line + 1, f"nested more than {DEEPEST} levels deep")
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


class _Walk:
    """Converts the nodes of one document."""

    def __init__(self) -> None:
        self.lines: dict[Place, int] = {(): 1}
        self.faults: list[Fault] = []
        self.seen: set[int] = set()
        self.around: set[int] = set()
        self.repeats = 0

    def value(self, node: yaml.Node, place: Place) -> object:
        """The value of the node at that place."""
        if id(node) in self.around:
            self.lost(node, place, "recursive alias")
            return None
        self.count(node)
        self.around.add(id(node))
        try:
            return self.plain(node, place)
        finally:
            self.around.remove(id(node))

    def count(self, node: yaml.Node) -> None:
        """Limits aliases of aliases, which can turn a small file into a huge value."""
        self.repeats += id(node) in self.seen
        self.seen.add(id(node))
        if self.repeats > MOST_REPEATS:
            what = f"aliases repeat more than {MOST_REPEATS} values"
            raise NotYaml(node.start_mark.line + 1, what)

    def plain(self, node: yaml.Node, place: Place) -> object:
        if isinstance(node, yaml.MappingNode) and node.tag == _STANDARD + "map":
            return self.mapping(node, place)
        if isinstance(node, yaml.SequenceNode) and node.tag == _STANDARD + "seq":
            return [self.item(each, (*place, i)) for i, each in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and (node.tag in _TEXTS or node.tag in _MAKERS):
            return self.scalar(node)
        self.lost(node, place, "YAML tags are not allowed")
        return None

    def item(self, node: yaml.Node, place: Place) -> object:
        self.lines.setdefault(place, node.start_mark.line + 1)
        return self.value(node, place)

    def scalar(self, node: yaml.ScalarNode) -> object:
        if node.tag in _TEXTS:
            return node.value
        try:
            return _MAKERS[node.tag](node)
        except (ValueError, KeyError, IndexError):
            # A text that only looks like a number ("0b_"), or does not fit its tag.
            return node.value

    def mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, object]:
        values: dict[str, object] = {}
        merged: list[yaml.Node] = []
        for key, inner in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.lost(key, (*place, "?"), "a key must be text")
            elif key.tag == _STANDARD + "merge":
                merged.append(inner)
            elif key.value in values:
                first = self.lines[(*place, key.value)]
                what = f"duplicate key, first on line {first}"
                self.faults.append(Fault(key.start_mark.line + 1, (*place, key.value), what))
            else:
                # Keys are always texts, even those that YAML reads otherwise: no, 12, null.
                self.lines.setdefault((*place, key.value), key.start_mark.line + 1)
                values[key.value] = self.value(inner, (*place, key.value))
        for each in merged:
            for name, value in self.merge(each, place):
                values.setdefault(name, value)
        return values

    def merge(self, node: yaml.Node, place: Place) -> Iterator[tuple[str, object]]:
        """`<<: *other` adds the keys of the other mapping that are missing here."""
        for each in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if isinstance(each, yaml.MappingNode):
                taken = self.value(each, place)
                yield from taken.items() if isinstance(taken, dict) else ()
            else:
                self.lost(
                    each, (*place, "<<"), "must be an alias of a section, or a list of such aliases"
                )

    def lost(self, node: yaml.Node, place: Place, what: str) -> None:
        self.faults.append(Fault(node.start_mark.line + 1, place, what, lost=True))


_constructor = yaml.constructor.SafeConstructor()
_MAKERS = {
    _STANDARD + "null": _constructor.construct_yaml_null,
    _STANDARD + "bool": _constructor.construct_yaml_bool,
    _STANDARD + "int": _constructor.construct_yaml_int,
    _STANDARD + "float": _constructor.construct_yaml_float,
}
