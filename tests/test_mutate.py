"""mutate/: which changes are made, which tests are chosen for them, and what becomes of them."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mutate.covering import test_files as files_of
from mutate.mutants import mutants

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent

CHANGES: dict[str, set[tuple[str, str]]] = {
    "x = a < 1": {("a < 1", "a <= 1"), ("1", "2")},
    "x = a <= b < c": {("a <= b < c", "a < b < c"), ("a <= b < c", "a <= b <= c")},
    "x = a and b or c": {
        *(("a and b or c", "a and b"), ("a and b or c", "c")),
        *(("a and b", "a"), ("a and b", "b")),
    },
    "x = not a": {("not a", "a")},
    "x = a in b": {("a in b", "a not in b")},
    "x = a + b": {("a + b", "a - b")},
    "x = 'a' + b": {("'a'", "''")},
    "x = True": {("True", "False")},
    "x = 1.5": {("1.5", "2.5")},
    "x = b''": {("b''", "b'mutant'")},
    "x = None": set(),
    "x = min(a)": {("min(a)", "max(a)")},
    "x = a.lower()": {("a.lower()", "a")},
    "x = a.find(b)": {("a.find(b)", "a.rfind(b)")},
    "x = a if b else c": {("b", "not b")},
    "x = [a for a in b if c]": {("c", "not c")},
    "if a:\n  f()": {("a", "not a"), ("f()", "pass")},
    "while a:\n  break": {("a", "not a"), ("break", "continue")},
    "x += a": {("x += a", "pass")},
    "def f():\n  return a": {("return a", "return None")},
    "def f():\n  return None": set(),
    "raise E('text')": {("raise E('text')", "pass")},
    # What is left alone.
    '"""Text."""': set(),
    "x = f'{a} text'": set(),
    "x: Literal['a'] = b": set(),
    "@d(1)\ndef f(a: 'b') -> 'c': ...": set(),
    "import a\nfrom b import c": set(),
}


@pytest.mark.parametrize("source", CHANGES)
def test_changes_of_a_source(source: str) -> None:
    assert {(each.before, each.after) for each in mutants(source)} == CHANGES[source]


@pytest.mark.parametrize("name", ["mail/parameters.py", "links/url_ends.py", "tokens.py"])
def test_a_mutant_differs_in_its_line_and_compiles(name: str) -> None:
    source = (ROOT / "milter" / "fletching" / name).read_text()
    found = mutants(source)
    assert len(found) > 50
    lines = source.splitlines()
    for mutant in found:
        assert ast.dump(ast.parse(mutant.source)) != ast.dump(ast.parse(source))
        changed = mutant.source.splitlines()
        assert changed[: mutant.line - 1] == lines[: mutant.line - 1]
        assert mutant.statement <= mutant.line


MODULE = '''\
"""A module."""

LIMIT = 10


def is_long(text: str) -> bool:
    return len(text) > LIMIT


def half(number: int) -> int:
    while number % 2:
        number -= 1
    return number // 2


def unused() -> int:
    return 1
'''
TESTS = """\
import subprocess
import sys

from sample.size import LIMIT, half, is_long


def test_is_long():
    assert is_long("x" * 11)
    assert not is_long("x")


def test_half():
    assert (half(6), half(7), half(8)) == (3, 3, 4)


def test_that_always_fails():
    assert half(4) == 3


def test_limit():
    # No line of the module is executed here.
    assert LIMIT == 10


def test_in_another_process():
    program = "from sample.size import LIMIT; assert LIMIT == 10, LIMIT"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
    assert LIMIT
"""
REPORT = """
import json, sys
from pathlib import Path
from mutate.trials import report

root = Path(sys.argv[1])
done = []
found = report(
    root / "milter" / "sample" / "size.py", root, 2, lambda *both: done.append(both), 1.0
)
survivors = [(each.mutant.line, each.mutant.after, each.tests) for each in found.survivors]
print(json.dumps([found.mutants, survivors, found.failed, done[-1]]))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project of the same form as ours."""
    for name, text in {
        "milter/sample/__init__.py": "",
        "milter/sample/size.py": MODULE,
        "milter/sample/reader.py": "from sample import size\\n",
        "milter/sample/alone.py": "",
        "tests/test_size.py": TESTS,
        "tests/test_size_limits.py": "from sample.size import LIMIT\\n",
        "tests/test_other.py": "import sample.size\\nimport sample.reader\\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("\\n", "\n"))
    return tmp_path


@pytest.mark.parametrize(
    ("module", "tests"),
    [
        ("size", ["test_size", "test_size_limits"]),
        ("reader", ["test_other"]),
        ("alone", []),
    ],
)
def test_tests_of_a_module_are_named_after_it_or_import_it(
    project: Path, module: str, tests: list[str]
) -> None:
    found = files_of(project / "milter" / "sample" / f"{module}.py", project)
    assert [path.stem for path in found] == tests


def test_tests_of_a_module_that_none_imports_are_those_of_its_importers(project: Path) -> None:
    (project / "tests" / "test_other.py").write_text("import sample.reader\n")
    (project / "tests" / "test_size.py").unlink()
    (project / "tests" / "test_size_limits.py").unlink()
    found = files_of(project / "milter" / "sample" / "size.py", project)
    assert [path.stem for path in found] == ["test_other"]


def test_survivors_are_found_and_no_file_is_changed(project: Path) -> None:
    before = {path: path.read_bytes() for path in project.rglob("*.py")}
    ran = subprocess.run(
        [sys.executable, "-c", REPORT, project],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    count, survivors, failed, done = json.loads(ran.stdout)
    # The tests have no text of 10 characters, and none calls the last function.
    assert survivors == [[7, "len(text) >= LIMIT", 1], [17, "2", 0]]
    assert failed == ["tests/test_size.py::test_that_always_fails"]
    assert done == [count, count]
    # A loop that never ends was caught, and so was what only another process notices.
    assert count > 10
    assert {path: path.read_bytes() for path in project.rglob("*.py")} == before
