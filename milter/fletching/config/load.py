"""Reads a configuration file into a Config, or into a list of all its errors with their lines.

Errors come from the YAML text, from single options, and from options that contradict each other.
What an option means is in `model.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from fletching.config import consistency, nodes, wording
from fletching.config.model import Config, Origin
from fletching.config.nodes import Document, NotYaml, Place
from fletching.providers import Providers


@dataclass(frozen=True, slots=True)
class Problem:
    """One error. ``line`` is 0 and ``path`` empty if the error is about the whole file."""

    file: Path
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else str(self.file)
        return ": ".join(part for part in (place, self.path, self.message) if part)


class ConfigError(Exception):
    """The configuration cannot be used. Its text has one line for each error."""

    def __init__(self, errors: tuple[Problem, ...]) -> None:
        super().__init__(errors)
        self.errors = errors

    def __str__(self) -> str:
        return "\n".join(map(str, self.errors))


def load(path: Path) -> Config:
    """Reads the file. Raises ConfigError with all its errors."""
    try:
        content = path.read_bytes()
    except OSError as wrong:
        problem = Problem(path, 0, "", f"cannot be read: {wrong.strerror}")
        raise ConfigError((problem,)) from None
    return parse(content, path)


def parse(content: bytes, path: Path) -> Config:
    """A configuration from the content of the file ``path``, which errors and paths refer to.

    Raises ConfigError.
    """
    try:
        document = nodes.read(content.decode("utf-8-sig"))
    except UnicodeDecodeError as wrong:
        line = content.count(b"\n", 0, wrong.start) + 1
        raise ConfigError((Problem(path, line, "", "not valid UTF-8"),)) from None
    except NotYaml as wrong:
        raise ConfigError((Problem(path, wrong.line, "", wrong.what),)) from None
    validation = _Validation(document, path)
    config = validation.run()
    if validation.problems or config is None:
        raise ConfigError(tuple(sorted(validation.problems, key=lambda problem: problem.line)))
    config._origin = Origin(path.name, document.lines)
    return config


class _Validation:
    """Collects all errors of one document.

    Whether options fit together can be judged only if each is valid by itself. So invalid options
    are removed and the rest is validated again, until only conflicts between options are left. A
    conflict that exists only because an option was removed is not reported.
    """

    def __init__(self, document: Document, path: Path) -> None:
        self.document = document
        self.path = path
        self.problems: list[Problem] = []
        self.bad: set[Place] = set()

    def run(self) -> Config | None:
        """The configuration, if one is left without the invalid options."""
        for fault in self.document.faults:
            where = wording.shown(fault.place)
            self.problems.append(Problem(self.path, fault.line, where, fault.what))
            self.bad |= {fault.place} if fault.lost else set()
        config: Config | None = None
        first = True
        while config is None and () not in self.bad:
            valid = _ValidPart(self.document.value, frozenset(self.bad))
            try:
                config = Config.model_validate(
                    {} if valid.value is None else valid.value,
                    context={"folder": self.path.parent},
                )
            except ValidationError as invalid:
                self.report_options(invalid, valid, first)
            else:
                self.report_conflicts(config, valid)
            first = False
        self.check_time_zone()
        return config

    def report_options(self, invalid: ValidationError, valid: _ValidPart, first: bool) -> None:
        """Reports the invalid options, and marks them for removal."""
        for error in invalid.errors():
            place = valid.place(error["loc"])
            if first or error["type"] not in ("missing", "lack"):
                self.report(place, wording.sentence(error, place))
            self.bad.add(valid.within(place))

    def report_conflicts(self, config: Config, valid: _ValidPart) -> None:
        for conflict in consistency.conflicts(config, _providers(config)):
            if not self.was_removed(conflict.requires):
                self.report(valid.place(conflict.path), conflict.rule)

    def was_removed(self, required: tuple[Place, ...]) -> bool:
        """Whether one of these options was given, but removed as invalid."""
        return any(_same_branch(place, bad) for place in required for bad in self.bad)

    def check_time_zone(self) -> None:
        """Only the host knows which time zones exist."""
        value = self.document.value
        name = value.get("timezone") if isinstance(value, dict) else None
        if not isinstance(name, str) or ("timezone",) in self.bad:
            return
        try:
            ZoneInfo(name)
        except (LookupError, ValueError, OSError):
            self.report(("timezone",), "unknown time zone; expected a name such as Europe/Berlin")

    def report(self, place: Place, message: str) -> None:
        line = self.document.line(place)
        self.problems.append(Problem(self.path, line, wording.shown(place), message))


def _providers(config: Config) -> frozenset[str]:
    """The names of all mailbox providers: the built-in ones, and those of the configuration."""
    return Providers(_provider_table(), config.providers).names


@cache
def _provider_table() -> str:
    return files("fletching").joinpath("providers.txt").read_text("ascii")


def _same_branch(one: Place, other: Place) -> bool:
    """Whether one place is the other or contains it; names are compared without case."""
    pairs = zip(one, other, strict=False)
    return all(str(a).lower() == str(b).lower() for a, b in pairs)


class _ValidPart:
    """A document's value without the invalid places, and where the rest of it came from."""

    def __init__(self, value: object, bad: frozenset[Place]) -> None:
        self.origins: dict[Place, Place] = {}
        self.bad = bad
        self.value = self._copy(value, (), ())
        self.there = frozenset(self.origins.values())

    def place(self, location: tuple[int | str, ...]) -> Place:
        """The place in the document that pydantic means. It marks an invalid key by `[key]`."""
        # After the last step that is in the value come names of missing keys.
        known = len(location)
        while location[:known] not in self.origins:
            known -= 1
        rest = [step for step in location[known:] if step != "[key]"]
        return (*self.origins[location[:known]], *rest)

    def within(self, place: Place) -> Place:
        """The place, or the nearest one containing it that is in the document."""
        while place not in self.there:
            place = place[:-1]
        return place

    def _copy(self, value: object, old: Place, new: Place) -> object:
        self.origins[new] = old
        if isinstance(value, dict):
            kept = [(key, each) for key, each in value.items() if (*old, key) not in self.bad]
            return {key: self._copy(each, (*old, key), (*new, key)) for key, each in kept}
        if isinstance(value, list):
            left = [(i, each) for i, each in enumerate(value) if (*old, i) not in self.bad]
            return [self._copy(each, (*old, i), (*new, n)) for n, (i, each) in enumerate(left)]
        return value
