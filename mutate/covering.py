"""Which tests execute a line: by their imports at first, and then by a trace of each test.

Only tests in `tests/` count, not those in its folders: they start real servers, for minutes.
"""

from __future__ import annotations

import ast
import sys
import threading
from collections import defaultdict
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import pytest


def test_files(file: Path, root: Path) -> list[Path]:
    """The tests of a module: those that import it, and of these only those named after it, if any.

    If no test imports it, the tests of the modules that import it, and so on.
    """
    tests = {path: _imports(path) for path in sorted((root / "tests").glob("test_*.py"))}
    source = root / "milter"
    modules = {_name(path, source): _imports(path) for path in source.rglob("*.py")}
    wanted = {_name(file, source)}
    while True:
        found = [path for path, names in tests.items() if names & wanted]
        prefixes = tuple(f"test_{name.rpartition('.')[2]}" for name in wanted)
        if found:
            return [path for path in found if path.stem.startswith(prefixes)] or found
        more = {name for name, names in modules.items() if names & wanted} - wanted
        if not more:
            return []
        wanted |= more


def _name(path: Path, source: Path) -> str:
    """The name under which a file is imported."""
    parts = path.relative_to(source).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path) -> set[str]:
    """What a file imports, as modules or from them."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@dataclass
class Coverage:
    """What tests execute. ``lines``: of the module, by test; ``seconds``: by test; ``failed``: the
    tests that fail without any change."""

    lines: dict[str, set[int]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    libraries: list[str] = field(default_factory=list)

    def tests_of(self, lines: Iterable[int]) -> list[str]:
        """The tests that execute one of these lines, the fastest first."""
        wanted = set(lines)
        found = [test for test, executed in self.lines.items() if executed & wanted]
        return sorted(found, key=lambda test: self.seconds.get(test, 0.0))


class Tracing:
    """A plugin of pytest that fills in a `Coverage` of one file."""

    def __init__(self, file: Path) -> None:
        self.coverage = Coverage()
        self._file = str(file)
        self._lines: dict[str, set[int]] = defaultdict(set)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        lines = self.coverage.lines.setdefault(item.nodeid, set())
        name = self._file

        def trace(frame: FrameType, event: str, argument: object) -> Any:
            if frame.f_code.co_filename != name:
                return None
            lines.add(frame.f_lineno)
            return trace

        threading.settrace(trace)
        sys.settrace(trace)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        seconds = self.coverage.seconds
        seconds[report.nodeid] = seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.coverage.failed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        self.coverage.libraries = [name for name in sys.modules if not name.startswith(_OURS)]


_OURS = ("fletching", "tests", "sandbox", "conftest", "mutate", "__", "_pytest", "pytest")
"""Modules that each run imports anew."""
