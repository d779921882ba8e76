"""The house rules of ARCHITECTURE.md: which folder may import which, and which may do I/O.

A folder is a rule. A file in a pure folder is pure; no file has a rule of its own, but for the few
that stand beside the folders.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.cases import for_every

REPOSITORY = Path(__file__).parent.parent
ROOT = REPOSITORY / "milter"
FILES = sorted(ROOT.rglob("*.py"))


@dataclass(frozen=True, slots=True)
class Rule:
    """What the files of a folder may import from other folders, and whether they may do I/O."""

    may_import: frozenset[str]
    io: bool = False


def pure(*folders: str) -> Rule:
    """No file, socket, process, clock, randomness, log."""
    return Rule(frozenset(folders))


def io(*folders: str) -> Rule:
    return Rule(frozenset(folders), io=True)


FORMS = (
    *("tokens", "events", "numbering", "domains", "encoding", "traces", "placements"),
    "shadow_counts",
)
DECIDING = ("config", "mail", "policy/rules", "policy", "outgoing", *FORMS)
DAEMON = (
    "startup",
    "paused",
    "source_addresses",
    "archive",
    "held",
    "daemons/process",
    "store",
    "log",
    "metrics",
    "keys",
    *DECIDING,
)

EDGE = (
    *("daemons/courier", "daemons/dashboard", "daemons/intake", "daemons/lmtp", "daemons/logtail"),
    *("daemons/exporter", "daemons/milter", "daemons/web"),
)

RULES = {
    "": pure(),
    "domains": pure(),
    "providers": pure(),
    "server_words": pure(),
    "encoding": pure(),
    "tokens": pure("encoding"),
    "events": pure("tokens"),
    "numbering": pure("encoding"),
    "traces": pure("encoding", "events", "numbering"),
    "placements": pure(),
    "shadow_counts": pure(),
    "log_lines": io(),
    "log": io("log_lines"),
    "metrics": io(),
    "paused": io("log"),
    "archive": io("encoding"),
    "held": io(),
    "config": io("domains", "providers"),
    "source_addresses": io("config"),
    "mail": pure("domains"),
    "links": pure(),
    "lint": pure("domains", "links", "mail"),
    "policy/dialects": pure(),
    "policy/rules": pure("config", "domains", "mail", "providers"),
    "policy": pure("policy/dialects", "policy/rules", "config", "mail", "providers", *FORMS),
    "outgoing": pure("mail", "links", "policy", *FORMS),
    "returning": pure("mail", *FORMS),
    "keys": io("mail", "tokens"),
    "postfix/edits": pure(),
    "postfix": io("postfix/edits", "config", "mail", "policy"),
    "store": io("config", "log", "providers", "server_words", *FORMS),
    "destinations/formats": pure("events"),
    "destinations": io("destinations/formats", "config", "events"),
    "figures": pure("store"),
    "seed_report": pure("config", "numbering", "outgoing", "store"),
    "monitor": io("config", "keys", "store", "seed_report", *FORMS),
    "tracing": pure("config", "returning", "store", *FORMS),
    "startup": io("keys", "providers", *DECIDING),
    "usage": pure("config", "policy", "store", "numbering"),
    "admin": io(
        "tracing",
        "figures",
        "seed_report",
        "returning",
        "keys",
        "links",
        "lint",
        "paused",
        "source_addresses",
        "archive",
        "monitor",
        "held",
        "postfix",
        "postfix/edits",
        "startup",
        "usage",
        "store",
        *DECIDING,
    ),
    "daemons/process": io("startup", "config", "log", "metrics", "store"),
    "daemons/intake": io("returning", *DAEMON),
    "daemons/lmtp": io("providers", "returning", "daemons/intake", *DAEMON),
    "daemons/logtail": io("returning", "postfix", "daemons/intake", *DAEMON),
    "daemons/health": io("daemons/intake", *DAEMON),
    "daemons/exporter": io("daemons/health", *DAEMON),
    "daemons/milter": io(*DAEMON),
    "daemons/courier": io("destinations", "monitor", *DAEMON),
    "daemons/dashboard": io(
        "daemons/health",
        "monitor",
        "usage",
        "tracing",
        "figures",
        "seed_report",
        "returning",
        *DAEMON,
    ),
    "daemons/web": io("returning", "daemons/intake", *DAEMON),
    "daemons": io("daemons/process", "config", "log", "startup", *EDGE),
    "checks": io(
        "admin",
        "daemons",
        "daemons/health",
        "links",
        "lint",
        "postfix",
        "returning",
        *DAEMON,
        *EDGE,
    ),
    "checks/live": io(
        "checks", "daemons/health", "daemons/courier", "admin", "postfix", "returning", *DAEMON
    ),
    "cli": io(),
    "manual": io("cli", "config"),
    "__main__": io("cli"),
}
"""By folder, and by name for what stands beside the folders. `cli` may import everything."""

LIBRARIES = {
    "aiosmtpd": {"checks/live", "daemons/lmtp"},
    "Milter": {"daemons/milter"},
    "dkim": {"admin"},
    "dns": {"admin", "checks", "checks/live"},
    "http": {"checks/live", "destinations"},
    "imaplib": {"monitor"},
    "jinja2": {"daemons/dashboard", "daemons/web"},
    "milter": {"daemons/milter"},
    "prometheus_client": {"metrics"},
    "re2": {"config", "policy/rules", "returning"},
    "redis": {"store"},
    "rich": {"admin", "cli"},
    "spf": {"checks"},
    "sqlalchemy": {"destinations"},
    "ssl": {"checks", "checks/live", "destinations", "monitor"},
    "turbohtml": {"admin", "links"},
    "uvicorn": {"daemons/process"},
    "yaml": {"config"},
}
"""Libraries that only these folders import."""

# Modules by which a file reaches the world outside: files, sockets, clock, chance, processes, log.
OUTSIDE = {
    "asyncio", "concurrent", "fcntl", "ftplib", "getpass", "glob", "http", "imaplib",
    "importlib", "io", "logging", "mmap", "multiprocessing", "os", "pathlib", "platform", "pwd",
    "queue", "random", "resource", "sched", "secrets", "select", "selectors", "shutil",
    "signal", "smtplib", "socket", "socketserver", "sqlalchemy", "sqlite3", "ssl", "subprocess",
    "sys", "syslog", "tempfile", "threading", "time", "traceback", "uuid", "warnings",
    "zoneinfo",
    "Milter", "click", "dns", "milter", "prometheus_client", "redis", "rich",
    "fletching.log", "fletching.log_lines", "fletching.metrics",
}  # fmt: skip
OUTSIDE_CALLS = {"open", "print", "input", "exec", "eval", "compile", "__import__", "breakpoint"}
OUTSIDE_METHODS = {
    "now", "utcnow", "today", "read_text", "read_bytes", "write_text", "write_bytes", "mkdir",
    "unlink", "exists", "is_file", "is_dir", "iterdir", "rglob", "stat", "touch",
    "expanduser", "rmdir", "samefile",
}  # fmt: skip

CATCH_ALL = {"cli", "daemons", "destinations"}
"""Where an unexpected exception may end; elsewhere it goes up to one of them."""

LONGEST = 400
"""Lines of a file."""


def module(path: Path) -> str:
    """The name under which a file is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module(path) for path in FILES}


def folder(name: str) -> str:
    """The folder of a module, or the module's own name where it stands beside the folders."""
    path = ROOT.joinpath(*name.split("."))
    parts = name.split(".")[1:]
    if len(parts) > 1 and not path.is_dir():
        parts = parts[:-1]
    found = "/".join(parts)
    assert found in RULES, f"{name}: its folder has no rule yet"
    return found


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


def wrong_imports(name: str, tree: ast.AST) -> set[str]:
    """Imports that the rule of a module's folder forbids, and libraries out of their folder."""
    home = folder(name)
    wrong = set()
    for wanted in imports(tree):
        library = wanted.partition(".")[0]
        if library == "fletching":
            other = folder(wanted)
            if other not in {home, ""} | RULES[home].may_import and home != "cli":
                wrong.add(wanted)
        elif library in LIBRARIES and home not in LIBRARIES[library]:
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


each_file = for_every({module(path): path for path in FILES})


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), path.name)


@each_file
def test_arrows(path: Path) -> None:
    assert wrong_imports(module(path), tree_of(path)) == set()


@each_file
def test_pure_folders_do_no_io(path: Path) -> None:
    if not RULES[folder(module(path))].io:
        assert reaches(tree_of(path)) == set()


@each_file
def test_only_the_milter_asks_postfix_for_changes(path: Path) -> None:
    if folder(module(path)) != "daemons/milter":
        assert requests(tree_of(path)) == set()


@each_file
def test_says_what_lives_here(path: Path) -> None:
    opening = ast.get_docstring(tree_of(path))
    assert opening, "a file opens with a docstring"
    assert opening[0].isupper() or opening[0] == "`"


@each_file
def test_is_short(path: Path) -> None:
    assert path.read_text("utf-8").count("\n") <= LONGEST, "split it"


@each_file
def test_values_do_not_change(path: Path) -> None:
    """A dataclass is a value; what changes is a class of its own, or lives in a daemon."""
    if not folder(module(path)).startswith("daemons"):
        assert changing(tree_of(path)) == set()


@each_file
def test_only_edges_catch_all(path: Path) -> None:
    if folder(module(path)).partition("/")[0] not in CATCH_ALL:
        assert not catches_all(tree_of(path))


def test_no_arrow_points_upwards() -> None:
    """Each folder imports only from those above it in `RULES`, so there is no circle of folders."""
    above: set[str] = set()
    for name, rule in RULES.items():
        assert rule.may_import <= above, name
        above.add(name)


class _Running(ast.NodeTransformer):
    """A file without what only a type checker imports."""

    def visit_If(self, node: ast.If) -> ast.If | None:
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else node


def test_no_circle_of_imports() -> None:
    graph = {
        module(path): set(imports(_Running().visit(tree_of(path)))) & MODULES for path in FILES
    }
    TopologicalSorter(graph).prepare()


def test_no_folder_has_more_than_a_fifth_of_the_code() -> None:
    lines = dict.fromkeys(RULES, 0)
    for path in FILES:
        lines[folder(module(path))] += path.read_text("utf-8").count("\n")
    assert max(lines.values()) <= sum(lines.values()) / 5, lines


def test_source_root_is_no_package() -> None:
    """A package named milter would hide pymilter's C module."""
    assert not (ROOT / "__init__.py").exists()
    assert not list(ROOT.glob("*.py"))


# The packages beside the product.
BESIDE = {
    "sandbox": {"sandbox"},
    "demo": {"demo", "fletching", "sandbox"},
    "bench": {"bench", "fletching", "sandbox"},
    "monitoring": {"monitoring"},
    "mutate": {"mutate"},
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
    files = sorted((REPOSITORY / package).rglob("*.py"))
    assert files
    wrong = {str(path): foreign_imports(package, tree_of(path)) for path in files}
    assert {path: found for path, found in wrong.items() if found} == {}


# The tests above can fail.


@pytest.mark.parametrize(
    ("name", "source", "wrong"),
    [
        ("fletching.tokens", "import fletching.log", "fletching.log"),
        ("fletching.policy.plan", "from fletching.store import campaigns", None),
        ("fletching.policy.plan", "from fletching.outgoing import flow", None),
        ("fletching.mail.message", "from fletching.outgoing import rewrite", None),
        ("fletching.mail.message", "from fletching.config.model import Config", None),
        ("fletching.links.html", "from fletching.mail.message import Header", None),
        ("fletching.config.model", "from fletching.policy.route import Route", None),
        ("fletching.store.campaigns", "from fletching.outgoing.flow import Outcome", None),
        ("fletching.store.campaigns", "from fletching.mail.message import Header", None),
        ("fletching.daemons.milter.callbacks", "from fletching.checks.all import check", None),
        ("fletching.daemons.milter.worker", "from fletching.daemons.web import app", None),
        ("fletching.daemons.milter.worker", "from fletching.cli import check", None),
        ("fletching.checks.all", "from fletching.cli.main import main", None),
        ("fletching.admin.explain", "from fletching.daemons.milter import worker", None),
        ("fletching.daemons.web.app", "import Milter", "Milter"),
        ("fletching.daemons.web.app", "def later():\n    from milter import main", "milter"),
        ("fletching.admin.explain", "import redis", "redis"),
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


def test_a_folder_without_a_rule_is_seen() -> None:
    with pytest.raises(AssertionError, match="has no rule"):
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
