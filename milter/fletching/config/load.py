"""A configuration file as a Config, or everything that is wrong with it, each with its line.

Here lives the reading of the file, and the bringing together of what YAML, the single options and
the options together have to complain of. What an option means, `model.py` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from fletching.config import nodes, wording
from fletching.config.model import Config
from fletching.config.nodes import Document, NotYaml, Place


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. ``line`` is 0 and ``path`` empty where it is the file as such."""

    file: Path
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else str(self.file)
        return ": ".join(part for part in (place, self.path, self.message) if part)


class ConfigError(Exception):
    """The configuration cannot be used. Its text has one line for each problem."""

    def __init__(self, errors: tuple[Problem, ...]) -> None:
        super().__init__(errors)
        self.errors = errors

    def __str__(self) -> str:
        return "\n".join(map(str, self.errors))


def load(path: Path) -> Config:
    """Reads the file; raises ConfigError with all that is wrong with it."""
    try:
        content = path.read_bytes()
    except OSError as wrong:
        problem = Problem(path, 0, "", f"cannot be read: {wrong.strerror}")
        raise ConfigError((problem,)) from None
    return parse(content, path)


def parse(content: bytes, path: Path) -> Config:
    """A configuration from the bytes of the file at that path."""
    try:
        document = nodes.read(content.decode("utf-8-sig"))
    except UnicodeDecodeError as wrong:
        line = content.count(b"\n", 0, wrong.start) + 1
        raise ConfigError((Problem(path, line, "", "not valid UTF-8"),)) from None
    except NotYaml as wrong:
        raise ConfigError((Problem(path, wrong.line, "", wrong.what),)) from None
    hearing = _Hearing(document, path)
    config = hearing.config()
    if hearing.problems or config is None:
        raise ConfigError(tuple(sorted(hearing.problems, key=lambda problem: problem.line)))
    return config


class _Hearing:
    """Everything that can be said against one document.

    The options together can only be judged when each is right for itself. So what is wrong is left
    out and the rest judged again, until nothing but clashes is left; a clash that only comes from
    what was left out is not told.
    """

    def __init__(self, document: Document, path: Path) -> None:
        self.document = document
        self.path = path
        self.problems: list[Problem] = []
        self.bad: set[Place] = set()

    def config(self) -> Config | None:
        for fault in self.document.faults:
            where = wording.shown(fault.place)
            self.problems.append(Problem(self.path, fault.line, where, fault.what))
            self.bad |= {fault.place} if fault.lost else set()
        config: Config | None = None
        first = True
        while config is None and () not in self.bad:
            good = _Good(self.document.value, frozenset(self.bad))
            try:
                config = Config.model_validate(
                    {} if good.value is None else good.value, context={"folder": self.path.parent}
                )
            except ValidationError as wrong:
                if not self.heard(wrong, good, first):
                    break
            first = False
        self.time_zone()
        return config

    def heard(self, wrong: ValidationError, good: _Good, first: bool) -> bool:
        """Notes the errors; true where leaving out what is wrong lets the rest be judged."""
        again = False
        for error in wrong.errors():
            place = good.place(error["loc"])
            if error["type"] == "clash":
                if not self.explained(error["ctx"]["wants"]):
                    self.tell(place, wording.sentence(error, place))
                continue
            again = True
            if first or error["type"] not in ("missing", "lack"):
                self.tell(place, wording.sentence(error, place))
            self.bad.add(good.within(place))
        return again

    def explained(self, wants: tuple[Place, ...]) -> bool:
        """Whether one of the wanted options was given and only left out for being wrong."""
        return any(_same_way(want, bad) for want in wants for bad in self.bad)

    def time_zone(self) -> None:
        """Which time zones there are, only the host knows."""
        value = self.document.value
        name = value.get("timezone") if isinstance(value, dict) else None
        if not isinstance(name, str) or ("timezone",) in self.bad:
            return
        try:
            ZoneInfo(name)
        except (LookupError, ValueError, OSError):
            self.tell(("timezone",), "unknown time zone; expected a name such as Europe/Berlin")

    def tell(self, place: Place, message: str) -> None:
        line = self.document.line(place)
        self.problems.append(Problem(self.path, line, wording.shown(place), message))


def _same_way(one: Place, other: Place) -> bool:
    """Whether one place is the other or around it; names are compared without regard to case."""
    pairs = zip(one, other, strict=False)
    return all(str(a).lower() == str(b).lower() for a, b in pairs)


class _Good:
    """A value without its bad places, and where in the document the rest of it came from."""

    def __init__(self, value: object, bad: frozenset[Place]) -> None:
        self.origins: dict[Place, Place] = {}
        self.bad = bad
        self.value = self._copy(value, (), ())
        self.there = frozenset(self.origins.values())

    def place(self, location: tuple[int | str, ...]) -> Place:
        """Where in the document pydantic means. It marks a key that is wrong by `[key]`."""
        # Behind the last step that is in the value come names of keys that are missing.
        known = len(location)
        while location[:known] not in self.origins:
            known -= 1
        rest = [step for step in location[known:] if step != "[key]"]
        return (*self.origins[location[:known]], *rest)

    def within(self, place: Place) -> Place:
        """The place, or the nearest one around it that is in the document."""
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
