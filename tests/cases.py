"""Many small cases in one test: a failure names each case that breaks it.

pytest spends a millisecond or two on each test. That is more than most cases of a table need.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping

import pytest

Cases = Mapping[str, object] | Collection[object]


def for_every(
    cases: Cases | Callable[[], Cases],
) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """Run the decorated test on every case, also after one has failed.

    ``cases`` are values, or values by name, or a function that gives either when the test runs. A
    tuple is spread over the test's parameters where it has several.
    """

    def decorate(test: Callable[..., None]) -> Callable[[], None]:
        spread = len(inspect.signature(test).parameters) > 1

        def run_all() -> None:
            found = cases() if callable(cases) else cases
            named = found.items() if isinstance(found, Mapping) else ((_name(c), c) for c in found)
            failures: dict[str, BaseException] = {}
            count = 0
            for name, case in named:
                count += 1
                try:
                    test(*case) if spread and isinstance(case, tuple) else test(case)
                except (Exception, pytest.fail.Exception) as failure:  # noqa: BLE001
                    failures[name] = failure
            assert count, "there are no cases"
            if failures:
                first = next(iter(failures.values()))
                names = "\n  ".join(failures)
                first.add_note(
                    f"{len(failures)} of {count} cases fail; shown is the first of\n  {names}"
                )
                raise first

        for attribute in ("__name__", "__qualname__", "__module__", "__doc__"):
            setattr(run_all, attribute, getattr(test, attribute))
        return run_all

    return decorate


def _name(case: object) -> str:
    if isinstance(case, tuple):
        return "-".join(map(_name, case))
    if isinstance(case, str):
        return case
    return str(getattr(case, "__name__", None) or repr(case))
