"""Runs of tests on a copy of the source, each in a process of its own, with an end in any case."""

from __future__ import annotations

import importlib
import os
import pickle
import resource
import select
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings

from mutate.covering import Coverage, Tracing, test_files
from mutate.mutants import Mutant, mutants

_MEMORY = 4 * 2**30
"""Bytes for one run: a changed loop may collect things without end."""


class NoTestsError(Exception):
    """There is no test that can say anything about a module."""


@dataclass(frozen=True, slots=True)
class Survivor:
    """A mutant that no test noticed. ``tests``: how many execute its line."""

    mutant: Mutant
    tests: int


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the mutants of a file. ``failed``: tests that fail without any change."""

    file: Path
    mutants: int
    survivors: Sequence[Survivor]
    failed: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Run:
    """A process that runs tests on a copy."""

    pid: int
    ended: int
    copy: Path
    mutant: Mutant
    tests: int
    deadline: float


def report(
    file: Path,
    root: Path,
    jobs: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    patience: float = 10.0,
) -> Report:
    """Which mutants of a file survive. ``root``: the folder of `milter/` and `tests/`.

    ``jobs``: runs at the same time. ``progress`` gets how many of how many mutants are done.
    ``patience``: seconds that a run may take beyond five times what its tests take without a
    change; a run that is later counts as caught. Raises NoTestsError.
    """
    tests = test_files(file, root)
    if not tests:
        raise NoTestsError(f"{file}: no test in tests/ imports it, or a module that does")
    with TemporaryDirectory(prefix="mutate-") as folder:
        first = Path(folder) / "0"
        shutil.copytree(root / "milter", first, ignore=shutil.ignore_patterns("__pycache__"))
        place = file.relative_to(root / "milter")
        coverage = _traced(root, first, place, tests, Path(folder) / "coverage")
        if not any(coverage.lines.values()):
            raise NoTestsError(f"{file}: no line of it is run by {', '.join(map(str, tests))}")
        for compiled in (first / place).parent.glob(f"__pycache__/{place.stem}.*"):
            compiled.unlink()
        copies = [first, *(Path(folder) / str(number) for number in range(1, jobs))]
        for copy in copies[1:]:
            shutil.copytree(first, copy)
        _import(coverage.libraries)
        found = mutants(file.read_text())
        survivors = []
        trial = _Trial(root, place, tests, coverage, patience)
        for done, survivor in enumerate(trial.outcomes(found, copies), 1):
            progress(done, len(found))
            if survivor is not None:
                survivors.append(survivor)
    survivors.sort(key=lambda each: each.mutant.line)
    return Report(file, len(found), survivors, sorted(coverage.failed))


def _traced(root: Path, copy: Path, place: Path, tests: Sequence[Path], result: Path) -> Coverage:
    """What each test runs of the unchanged module."""

    def work() -> int:
        tracing = Tracing(copy / place)
        pytest.main([*_options(root), *map(str, tests)], plugins=[tracing])
        result.write_bytes(pickle.dumps(tracing.coverage))
        return 0

    pid = _forked(root, copy, work)
    try:
        os.waitpid(pid, 0)
    finally:
        _kill(pid)
    if not result.exists():
        raise NoTestsError(f"{place}: its tests cannot be run")
    coverage: Coverage = pickle.loads(result.read_bytes())
    return coverage


@dataclass(frozen=True, slots=True)
class _Trial:
    """What all runs for one module share. ``place``: of the module in a copy."""

    root: Path
    place: Path
    files: Sequence[Path]
    coverage: Coverage
    patience: float

    def outcomes(
        self, found: Sequence[Mutant], copies: Sequence[Path]
    ) -> Iterator[Survivor | None]:
        """For each mutant, in any order, whether it survived."""
        free, running = list(copies), list[_Run]()
        left = iter(found)
        try:
            while True:
                while free and (mutant := next(left, None)):
                    running.append(self._begun(free.pop(), mutant))
                if not running:
                    return
                for run in _ended(running):
                    running.remove(run)
                    free.append(run.copy)
                    survived = _status(run) == 0
                    yield Survivor(run.mutant, run.tests) if survived else None
        finally:
            for run in running:
                _status(run)

    def _begun(self, copy: Path, mutant: Mutant) -> _Run:
        (copy / self.place).write_text(mutant.source)
        first = self.coverage.tests_of(range(mutant.statement, mutant.line + 1))
        order = {test: at for at, test in enumerate(first)}
        failed = self.coverage.failed

        class Ordered:
            """Begins with the tests that execute the changed line, the fastest first.

            The others follow, for what a trace does not show: what happens at import or in another
            process, and what an earlier test has left in a cache.
            """

            def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
                items[:] = [item for item in items if item.nodeid not in failed]
                items.sort(key=lambda item: order.get(item.nodeid, len(order)))

        def work() -> int:
            sys.dont_write_bytecode = True
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
            files = map(str, self.files)
            return int(pytest.main([*_options(self.root), "-x", *files], plugins=[Ordered()]))

        pid = _forked(self.root, copy, work)
        limit = self.patience + 5 * sum(self.coverage.seconds.values())
        return _Run(pid, os.pidfd_open(pid), copy, mutant, len(first), time.monotonic() + limit)


def _options(root: Path) -> list[str]:
    return ["-q", "-p", "no:cacheprovider", f"--rootdir={root}"]


def _ended(running: Sequence[_Run]) -> list[_Run]:
    """The runs that have ended or are late; waits for the first."""
    wait = max(0.0, min(run.deadline for run in running) - time.monotonic())
    ended, _, _ = select.select([run.ended for run in running], [], [], wait)
    now = time.monotonic()
    return [run for run in running if run.ended in ended or run.deadline <= now]


def _import(libraries: Sequence[str]) -> None:
    """Imports them once: each run is a fork, and finds them there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in libraries:
            with suppress(Exception):
                importlib.import_module(name)


def _forked(root: Path, copy: Path, work: Callable[[], int]) -> int:
    """A process that works with a copy of the source and ends with what `work` gives."""
    pid = os.fork()
    if pid:
        return pid
    status = 3
    try:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        silent = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(silent, descriptor)
        os.chdir(root)
        sys.path.insert(0, str(copy))
        # Processes that a test starts have the same source.
        os.environ |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        checks = list(HealthCheck)
        settings.register_profile(
            "mutate", deadline=None, database=None, derandomize=True, suppress_health_check=checks
        )
        settings.load_profile("mutate")
        status = work()
    finally:
        os._exit(status)


def _status(run: _Run) -> int:
    """How a run ended; one that is late is ended here, with all that it has started."""
    is_late = not select.select([run.ended], [], [], 0)[0]
    _kill(run.pid)
    _, status = os.waitpid(run.pid, 0)
    os.close(run.ended)
    return 1 if is_late else os.waitstatus_to_exitcode(status)


def _kill(pid: int) -> None:
    """Ends what is left of a run: it leads a process group."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
