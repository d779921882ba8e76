"""The house rules of ARCHITECTURE.md, held by looking at every file: who may import whom, and who
may touch the world outside.

A new file is born pure. One that must not be so is added to `WORLDLY`, for all to see.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "milter"
FILES = sorted(ROOT.rglob("*.py"))

# Which rooms a room may know. The longest name that fits a module is its entry; what ends in "." is
# a folder with all that is in it.
VALUES = {"fletching.tokens", "fletching.grouping", "fletching.events"}
LINKS = {
    f"fletching.outgoing.{name}"
    for name in ("destinations", "flowed", "html", "plaintext", "splices", "url_ends")
}
DECIDING = {"fletching.config.", "fletching.outgoing.", *VALUES}
ROOMS: dict[str, set[str]] = {
    "fletching": set(),
    "fletching.tokens": set(),
    "fletching.grouping": {"fletching.tokens"},
    "fletching.domains": set(),
    "fletching.events": {"fletching.tokens"},
    "fletching.returning.": {
        "fletching.returning.",
        "fletching.domains",
        "fletching.events",
        "fletching.tokens",
    },
    "fletching.log": set(),
    "fletching.metrics": set(),
    "fletching.config.": {"fletching.config.", "fletching.domains"},
    "fletching.outgoing.": {"fletching.outgoing.", *VALUES},
    # What a mail is.
    "fletching.outgoing.envelope": set(),
    "fletching.outgoing.message": set(),
    "fletching.outgoing.transfer": set(),
    "fletching.outgoing.mime": {
        "fletching.outgoing.message",
        "fletching.outgoing.parameters",
        "fletching.outgoing.transfer",
    },
    "fletching.outgoing.parameters": set(),
    "fletching.outgoing.charsets": set(),
    "fletching.outgoing.edits": {"fletching.outgoing.message"},
    "fletching.outgoing.sign": {"fletching.domains", "fletching.outgoing.message"},
    # Links know no mail.
    "fletching.outgoing.links": LINKS,
    "fletching.outgoing.html": LINKS,
    "fletching.outgoing.plaintext": LINKS,
    "fletching.outgoing.destinations": LINKS,
    "fletching.outgoing.splices": LINKS,
    "fletching.outgoing.flowed": {"fletching.outgoing.splices"},
    "fletching.outgoing.url_ends": {"fletching.outgoing.destinations"},
    "fletching.outgoing.stretches": {
        "fletching.outgoing.charsets",
        "fletching.outgoing.links",
        "fletching.outgoing.transfer",
        "fletching.outgoing.urls",
        "fletching.tokens",
    },
    "fletching.outgoing.urls": {"fletching.tokens"},
    # Where control headers, envelope and configuration meet.
    "fletching.outgoing.sender_map": set(),
    "fletching.outgoing.control": {"fletching.config.values", "fletching.outgoing.message"},
    "fletching.outgoing.plan": DECIDING,
    "fletching.outgoing.case": DECIDING,
    "fletching.outgoing.decide": DECIDING,
    "fletching.outgoing.terms": DECIDING,
    "fletching.outgoing.ways": DECIDING,
    "fletching.outgoing.route": {"fletching.config.model"},
    "fletching.outgoing.flow": DECIDING,
    # The outside.
    "fletching.keyfiles": {"fletching.tokens", "fletching.outgoing.sign"},
    "fletching.opening": {
        "fletching.config.",
        "fletching.keyfiles",
        "fletching.outgoing.flow",
        "fletching.outgoing.sign",
        *VALUES,
    },
    "fletching.store.": {
        "fletching.store.",
        "fletching.config.redis_url",
        "fletching.events",
        "fletching.grouping",
        "fletching.log",
        "fletching.tokens",
    },
    "fletching.destinations.": {"fletching.destinations.", "fletching.events"},
    "fletching.destinations.opening": {
        "fletching.config.sections",
        "fletching.destinations.",
    },
    "fletching.daemons.": {
        "fletching.config.",
        "fletching.daemons.",
        "fletching.destinations.",
        "fletching.keyfiles",
        "fletching.log",
        "fletching.metrics",
        "fletching.opening",
        "fletching.outgoing.",
        "fletching.returning.",
        "fletching.store.",
        *VALUES,
    },
    "fletching.admin.": {
        "fletching.admin.",
        "fletching.config.",
        "fletching.daemons.paused",
        "fletching.keyfiles",
        "fletching.outgoing.",
        "fletching.store.",
        *VALUES,
    },
    "fletching.commands.": {
        "fletching.admin.",
        "fletching.commands.",
        "fletching.config.",
        "fletching.daemons.",
        "fletching.keyfiles",
        "fletching.opening",
        "fletching.outgoing.",
        *VALUES,
    },
    "fletching.cli": {"fletching.commands."},
    "fletching.__main__": {"fletching.cli"},
}

# Libraries that have one place.
ONLY_IN = {
    "dkim": {"fletching.admin.dkim_verify"},
    "Milter": {"fletching.daemons.milter"},
    "milter": {"fletching.daemons.milter"},
    "redis": {"fletching.store."},
    "turbohtml": {"fletching.admin.link_selectors", "fletching.outgoing.html"},
    "prometheus_client": {"fletching.metrics"},
    "yaml": {"fletching.config.nodes"},
    "dns": {"fletching.admin."},
    "jinja2": {"fletching.daemons.dashboard_pages", "fletching.daemons.pages"},
    "uvicorn": {"fletching.daemons.web_server"},
    "http": {"fletching.destinations.webhook"},
    "ssl": {"fletching.destinations.webhook"},
    "sqlalchemy": {"fletching.destinations.sql"},
    "rich": {"fletching.admin.explain", "fletching.admin.tables", "fletching.commands.mail"},
}

# Modules by which a file reaches the world outside: files, sockets, clock, chance, processes, log.
OUTSIDE = {
    "asyncio", "concurrent", "fcntl", "ftplib", "getpass", "glob", "http", "importlib", "io",
    "logging", "mmap", "multiprocessing", "os", "pathlib", "platform", "pwd", "queue", "random",
    "resource", "sched", "secrets", "select", "selectors", "shutil", "signal", "smtplib", "socket",
    "socketserver", "sqlalchemy", "sqlite3", "ssl", "subprocess", "sys", "syslog", "tempfile",
    "threading", "time", "traceback", "uuid", "warnings", "zoneinfo",
    "Milter", "click", "dns", "milter", "prometheus_client", "redis", "rich",
    "fletching.log", "fletching.metrics",
}  # fmt: skip
OUTSIDE_CALLS = {"open", "print", "input", "exec", "eval", "compile", "__import__", "breakpoint"}
OUTSIDE_METHODS = {
    "now", "utcnow", "today", "read_text", "read_bytes", "write_text", "write_bytes", "mkdir",
    "unlink", "exists", "is_file", "is_dir", "iterdir", "rglob", "stat", "touch",
    "expanduser", "rmdir", "samefile",
}  # fmt: skip

# The files that may reach outside. One that does not any more is taken off the list.
WORLDLY = {
    "fletching.daemons.afterwards",
    "fletching.log",
    "fletching.metrics",
    "fletching.keyfiles",
    "fletching.opening",
    "fletching.config.load",
    "fletching.config.named",
    "fletching.config.reference",
    "fletching.admin.check",
    "fletching.admin.check_store",
    "fletching.admin.check_access",
    "fletching.admin.check_addresses",
    "fletching.admin.check_dns",
    "fletching.admin.check_main_cf",
    "fletching.admin.check_socket",
    "fletching.admin.explain",
    "fletching.admin.postconf",
    "fletching.admin.tables",
    "fletching.cli",
    "fletching.commands.command",
    "fletching.commands.daemons",
    "fletching.commands.events",
    "fletching.commands.keys",
    "fletching.commands.mail",
    "fletching.commands.site",
    "fletching.commands.stats",
    "fletching.commands.suppression",
    "fletching.commands.terminal",
    "fletching.daemons.courier",
    "fletching.daemons.dashboard",
    "fletching.daemons.dashboard_live",
    "fletching.daemons.delivery",
    "fletching.daemons.drain",
    "fletching.daemons.embedded_redis",
    "fletching.daemons.holding",
    "fletching.daemons.library_log",
    "fletching.daemons.listener",
    "fletching.daemons.mail",
    "fletching.daemons.milter",
    "fletching.daemons.needs",
    "fletching.daemons.paused",
    "fletching.daemons.pages",
    "fletching.daemons.prefork",
    "fletching.daemons.processes",
    "fletching.daemons.recorder",
    "fletching.daemons.redis_files",
    "fletching.daemons.seldom",
    "fletching.daemons.journal",
    "fletching.daemons.supervisor",
    "fletching.daemons.tending",
    "fletching.daemons.web",
    "fletching.daemons.web_processes",
    "fletching.daemons.web_server",
    "fletching.daemons.worker",
    "fletching.destinations.lines",
    "fletching.destinations.opening",
    "fletching.destinations.sql",
    "fletching.destinations.webhook",
    "fletching.store.campaigns",
    "fletching.store.clock",
    "fletching.store.connection",
    "fletching.store.durability",
    "fletching.store.events",
    "fletching.store.lease",
    "fletching.store.trial",
    "fletching.store.script",
    "fletching.store.sending",
    "fletching.store.sentinels",
    "fletching.store.sockets",
    "fletching.store.sent",
    "fletching.store.suppression",
}

# They hold paths as values, and do not look where these lead.
OF_PATHS = {
    "fletching.admin.postfix",
    "fletching.config.fields",
    "fletching.config.model",
    "fletching.config.sections",
    "fletching.store.statistics",
    "fletching.store.touches",
    "fletching.store.warnings",
}

LONG: dict[str, int] = {}
"""Files of more than 400 lines."""

CATCH_ALL = {
    "fletching.daemons.afterwards",
    "fletching.cli",
    "fletching.daemons.dashboard",
    "fletching.daemons.delivery",
    "fletching.daemons.holding",
    "fletching.daemons.milter",
    "fletching.daemons.processes",
    "fletching.daemons.recorder",
    "fletching.daemons.web",
    "fletching.daemons.worker",
    # Drivers raise what they like.
    "fletching.destinations.sql",
}
"""The edges: everywhere else an exception that nobody expected goes up to one of them."""

NOT_FROZEN = {
    "fletching.config.nodes": {"_Walk"},
    "fletching.daemons.mail": {"Mail"},
    "fletching.daemons.tending": {"Child"},
    "fletching.outgoing.case": {"Ledger"},
}
"""Dataclasses that change while they are used, by file."""


def module(path: Path) -> str:
    """The name under which a file is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module(path) for path in FILES}


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported anywhere in a file, by its full name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else str(node.module)


def within(name: str, entry: str) -> bool:
    """Whether an entry of a list means a module."""
    if entry.endswith("."):
        return f"{name}.".startswith(entry)
    return name == entry


def room(name: str) -> set[str]:
    """What a module may know of the house."""
    entries = [entry for entry in ROOMS if within(name, entry)]
    assert entries, f"{name}: has no room in ROOMS yet"
    return ROOMS[max(entries, key=len)]


def wrong_imports(name: str, tree: ast.AST) -> set[str]:
    """Imports against the arrows, and libraries out of their place."""
    allowed = room(name)
    wrong = set()
    for wanted in imports(tree):
        library = wanted.partition(".")[0]
        if library == "fletching":
            if not any(within(wanted, entry) for entry in allowed):
                wrong.add(wanted)
        elif library in ONLY_IN and not any(within(name, home) for home in ONLY_IN[library]):
            wrong.add(wanted)
    return wrong


def reaches(tree: ast.AST) -> set[str]:
    """By what a file reaches outside."""
    found = set()
    for wanted in imports(tree):
        found |= {wanted, wanted.partition(".")[0]} & OUTSIDE
        if wanted == "urllib.request":
            found.add(wanted)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id in OUTSIDE_CALLS:
                found.add(f"{called.id}()")
            if isinstance(called, ast.Attribute) and called.attr in OUTSIDE_METHODS:
                found.add(f".{called.attr}()")
    return found


def requests(tree: ast.AST) -> set[str]:
    """Names by which a milter asks Postfix for changes."""
    names = {"addheader", "chgheader", "replacebody", "chgfrom", "addrcpt", "delrcpt", "quarantine"}
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return used & names


def catches_all(tree: ast.AST) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            types = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            for caught in types:
                name = caught.id if isinstance(caught, ast.Name) else ""
                if caught is None or name in ("Exception", "BaseException"):
                    return True
    return False


def changing(tree: ast.AST) -> set[str]:
    """Dataclasses that are not frozen."""
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef):
            continue
        for decorator in node.decorator_list:
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            if isinstance(called, ast.Name) and called.id == "dataclass":
                words = decorator.keywords if isinstance(decorator, ast.Call) else []
                frozen = any(
                    word.arg == "frozen" and getattr(word.value, "value", False) for word in words
                )
                found |= set() if frozen else {node.name}
    return found


each_file = pytest.mark.parametrize("path", FILES, ids=module)


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), path.name)


@each_file
def test_arrows(path: Path) -> None:
    assert wrong_imports(module(path), tree_of(path)) == set()


@each_file
def test_only_listed_files_reach_outside(path: Path) -> None:
    found = reaches(tree_of(path))
    if module(path) in WORLDLY:
        assert found, "it is pure: take it off the list"
    else:
        assert found <= ({"pathlib"} if module(path) in OF_PATHS else set())


@each_file
def test_only_the_milter_asks_postfix_for_changes(path: Path) -> None:
    if module(path) != "fletching.daemons.milter":
        assert requests(tree_of(path)) == set()


@each_file
def test_says_what_lives_here(path: Path) -> None:
    said = ast.get_docstring(tree_of(path))
    assert said, "a file opens with a docstring"
    assert said[0].isupper() or said[0] == "`"


@each_file
def test_is_short(path: Path) -> None:
    lines = path.read_text("utf-8").count("\n")
    assert lines <= LONG.get(module(path), 400), "split it into two rooms"


@each_file
def test_values_do_not_change(path: Path) -> None:
    assert changing(tree_of(path)) == NOT_FROZEN.get(module(path), set())


@each_file
def test_only_edges_catch_all(path: Path) -> None:
    assert catches_all(tree_of(path)) == (module(path) in CATCH_ALL)


def test_source_root_is_no_package() -> None:
    """A package named milter would hide pymilter's C module."""
    assert not (ROOT / "__init__.py").exists()
    assert not list(ROOT.glob("*.py"))


def test_lists_name_files_that_exist() -> None:
    for listed in (WORLDLY, OF_PATHS, LONG, CATCH_ALL, NOT_FROZEN):
        assert set(listed) <= MODULES


# The packages beside the product.
BESIDE = {
    "sandbox": {"sandbox"},
    "demo": {"demo", "fletching", "sandbox"},
    "bench": {"bench", "fletching", "sandbox"},
    "networks": {"fletching", "networks"},
}
"""Which packages of the repository each may import; only tests import `tests`."""


def foreign_imports(package: str, tree: ast.AST) -> set[str]:
    """What a package beside the product imports and may not."""
    ours = {*BESIDE, "fletching", "tests"}
    found = {wanted.partition(".")[0] for wanted in imports(tree)} & ours
    return found - BESIDE[package]


@pytest.mark.parametrize("package", BESIDE)
def test_imports_of_packages_beside_the_product(package: str) -> None:
    files = sorted((ROOT.parent / package).rglob("*.py"))
    assert files
    wrong = {str(path): foreign_imports(package, tree_of(path)) for path in files}
    assert {path: found for path, found in wrong.items() if found} == {}


# The tests above can fail.


@pytest.mark.parametrize(
    ("name", "source", "wrong"),
    [
        ("fletching.tokens", "import fletching.log", "fletching.log"),
        ("fletching.outgoing.plan", "from fletching.store import campaigns", None),
        ("fletching.outgoing.message", "from fletching.outgoing import rewrite", None),
        ("fletching.outgoing.html", "from fletching.outgoing.message import Header", None),
        ("fletching.outgoing.rewrite", "from fletching.config.model import Config", None),
        ("fletching.outgoing.sign", "from fletching.outgoing import edits", None),
        ("fletching.outgoing.control", "from fletching.config.model import Config", None),
        ("fletching.config.model", "from fletching.outgoing.route import Route", None),
        ("fletching.store.campaigns", "from fletching.outgoing.flow import Outcome", None),
        ("fletching.daemons.milter", "from fletching.admin.check import check", None),
        ("fletching.daemons.worker", "from fletching.commands import site", None),
        ("fletching.admin.check", "from fletching.cli import main", None),
        ("fletching.admin.check", "from fletching.daemons.worker import Worker", None),
        ("fletching.daemons.worker", "import Milter", "Milter"),
        ("fletching.daemons.worker", "def later():\n    from milter import main", "milter"),
        ("fletching.admin.check", "import redis", "redis"),
        ("fletching.outgoing.flow", "if TYPE_CHECKING:\n    import redis.client", "redis.client"),
        ("fletching.outgoing.rewrite", "from turbohtml import tokenize", "turbohtml"),
    ],
)
def test_upward_imports_are_seen(name: str, source: str, wrong: str | None) -> None:
    found = wrong_imports(name, ast.parse(source))
    assert found if wrong is None else found == {wrong}


@pytest.mark.parametrize(
    ("package", "source", "wrong"),
    [
        ("sandbox", "from fletching.log import lost", {"fletching"}),
        ("sandbox", "from tests.setting import NEWSLETTER", {"tests"}),
        ("bench", "import tests.setting", {"tests"}),
        ("demo", "from sandbox.sinks import Sink\nimport redis", set()),
    ],
)
def test_imports_from_tests_are_seen(package: str, source: str, wrong: set[str]) -> None:
    assert foreign_imports(package, ast.parse(source)) == wrong


def test_a_module_without_a_room_is_seen() -> None:
    with pytest.raises(AssertionError, match="has no room"):
        wrong_imports("fletching.helpers", ast.parse(""))


@pytest.mark.parametrize(
    ("source", "by"),
    [
        ("import time", "time"),
        ("import os.path", "os"),
        ("from random import random", "random"),
        ("from urllib.request import urlopen", "urllib.request"),
        ("from concurrent.futures import ThreadPoolExecutor", "concurrent"),
        ("from fletching import log", "fletching.log"),
        ("open('/etc/passwd')", "open()"),
        ("print('here')", "print()"),
        ("datetime.now()", ".now()"),
        ("date.today()", ".today()"),
        ("where.read_text()", ".read_text()"),
        ("def f():\n    import socket", "socket"),
    ],
)
def test_reaching_outside_is_seen(source: str, by: str) -> None:
    assert reaches(ast.parse(source)) == {by}


@pytest.mark.parametrize(
    "source",
    ["import re", "from urllib.parse import quote", "keys.open(token)", "now = 1", "import json"],
)
def test_pure_code_is_pure(source: str) -> None:
    assert reaches(ast.parse(source)) == set()


def test_other_breaches_are_seen() -> None:
    assert requests(ast.parse("self.chgheader('a', 1, '')")) == {"chgheader"}
    assert requests(ast.parse("send = addheader")) == {"addheader"}
    assert catches_all(ast.parse("try:\n    f()\nexcept Exception:\n    pass"))
    assert catches_all(ast.parse("try:\n    f()\nexcept:\n    pass"))
    assert catches_all(ast.parse("try:\n    f()\nexcept (OSError, BaseException):\n    pass"))
    assert not catches_all(ast.parse("try:\n    f()\nexcept (OSError, ValueError):\n    pass"))
    assert changing(ast.parse("@dataclass\nclass A: ...")) == {"A"}
    assert changing(ast.parse("@dataclass(slots=True)\nclass A: ...")) == {"A"}
    assert changing(ast.parse("@dataclass(frozen=False)\nclass A: ...")) == {"A"}
    assert changing(ast.parse("@dataclass(frozen=True, slots=True)\nclass A: ...")) == set()
