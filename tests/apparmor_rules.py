"""What an AppArmor profile allows, as its compiler understands it, and what a program did, as
strace(1) saw it. For tests on kernels without AppArmor.

Permissions are those of apparmor.d(5): r, w, k (lock), x (run a program). Memory maps are left out,
and so are network, signals and file owners.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.processes import program

PROFILES = Path(__file__).parent.parent / "deploy/apparmor"


@dataclass(frozen=True, slots=True)
class Rule:
    """Paths, and what may (or may not) be done there."""

    paths: re.Pattern[str]
    permissions: frozenset[str]


@dataclass(frozen=True, slots=True)
class Profile:
    """The rules for files of one profile."""

    allowed: Sequence[Rule]
    denied: Sequence[Rule]

    def lacks(self, path: str, permissions: str) -> str:
        """Those of the permissions that the path does not have."""
        return "".join(each for each in permissions if not self._allows(path, each))

    def _allows(self, path: str, permission: str) -> bool:
        def any_of(rules: Sequence[Rule]) -> bool:
            return any(permission in r.permissions and r.paths.fullmatch(path) for r in rules)

        return any_of(self.allowed) and not any_of(self.denied)


def read_profile(name: str) -> Profile:
    """A profile of deploy/apparmor with all that it includes."""
    file = str(PROFILES / name)
    built = _parser("--debug", "--skip-kernel-load", "--skip-cache", file)
    variables = dict(re.findall(r"(?m)^(@\{fletching_\w+})=(.*)$", _parser("--preprocess", file)))
    denied = [
        Rule(_pattern(_expanded(path, variables)), frozenset(permissions))
        for path, permissions in re.findall(
            r"(?m)^\s*deny (\S+) (\w+),$", _parser("--preprocess", file)
        )
    ]
    entries = re.findall(r"(?m)^Mode:\t(\w*):(\w*)\tName:\t\((.*)\)$", built)
    rules = [Rule(_pattern(path), frozenset(other)) for _, other, path in entries]
    forbidden = {rule.paths.pattern for rule in denied}
    return Profile([rule for rule in rules if rule.paths.pattern not in forbidden], denied)


def _parser(*options: str) -> str:
    argv = [program("apparmor_parser", "apparmor")]
    argv += ["--Include", str(PROFILES), "--Include", "/etc/apparmor.d", *options]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout


def _expanded(path: str, variables: Mapping[str, str]) -> str:
    for name, value in variables.items():
        values = value.split()
        path = path.replace(name, values[0] if len(values) == 1 else f"{{{','.join(values)}}}")
    return path


_GLOB = re.compile(r"\*\*|\*|\?|\[[^]]*]|[{},]|\\.|.")


def _pattern(glob: str) -> re.Pattern[str]:
    """A glob of AppArmor as a regular expression."""
    parts, depth = [], 0
    glob = re.sub("//+", "/", glob)
    for found in _GLOB.finditer(glob):
        token = found[0]
        # After a slash, an asterisk stands for at least one character.
        least = "+" if glob[: found.start()].endswith("/") else "*"
        match token:
            case "**":
                parts.append(f".{least}")
            case "*":
                parts.append(f"[^/]{least}")
            case "?":
                parts.append("[^/]")
            case "{":
                depth += 1
                parts.append("(?:")
            case "}":
                depth -= 1
                parts.append(")")
            case "," if depth:
                parts.append("|")
            case _ if token[0] == "[":
                parts.append(token)
            case _:
                parts.append(re.escape(token.removeprefix("\\") or token))
    return re.compile("".join(parts))


@dataclass(frozen=True, slots=True)
class Access:
    """What a process did with a file, a directory (with a slash at its end) or a socket."""

    path: str
    permissions: str


_CALL = re.compile(r"^(?P<name>\w+)\((?P<arguments>.*)\)\s+= (?P<result>[^ ]+)")
_CHANGES = {
    *("unlink", "unlinkat", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "rmdir"),
    *("chmod", "fchmodat", "truncate", "link", "linkat", "symlink", "symlinkat", "mknod"),
}


def accesses(lines: Iterator[str]) -> Iterator[Access]:
    """What succeeded, from the output of `strace -y -ff` for one process."""
    for line in lines:
        call = _CALL.match(line)
        if call is None or call["result"].startswith("-"):
            continue
        name, arguments = call["name"], call["arguments"]
        paths = re.findall(r'"(/[^"]*)"', arguments)
        if name in ("open", "openat"):
            if found := re.search(r"<(/[^>]*)>$", call["result"]):
                yield from _opened(found[1], arguments)
        elif name in _CHANGES:
            slash = "/" if name in ("mkdir", "mkdirat", "rmdir") else ""
            yield from (Access(_real(path) + slash, "w") for path in paths)
        elif name in ("bind", "connect"):
            permissions = "w" if name == "bind" else "rw"
            # strace does not say which directory a /proc/self/fd/N was.
            for path in re.findall(r'sun_path="(/(?!proc/)[^"]*)"', arguments):
                yield Access(_real(path), permissions)
        elif name == "flock" and (found := re.match(r"\d+<(/[^>]*)>", arguments)):
            yield Access(found[1], "k")
        elif name == "execve":
            yield Access(str(Path(paths[0]).resolve()), "x")


def _opened(path: str, arguments: str) -> Iterator[Access]:
    if "O_DIRECTORY" in arguments or Path(path).is_dir():
        path = f"{path.rstrip('/')}/"
    permissions = "r" if "O_RDONLY" in arguments or "O_RDWR" in arguments else ""
    if re.search(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC", arguments):
        permissions += "w"
    yield Access(path, permissions)


def _real(path: str) -> str:
    """The path by which the kernel knows it: the last part may be a link, and is not followed."""
    return str(Path(path).parent.resolve() / Path(path).name)


def children(text: str) -> list[int]:
    """The processes and threads that a process made, by its strace."""
    made = re.findall(r"(?m)^(?:clone3?|fork|vfork)\(.*= (\d+)\b", text)
    return [int(number) for number in made]
