"""Reads Postfix's configuration with postconf(1) and postmap(1).

Nothing is changed. What a good configuration is, is not known here.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import PurePath

from fletching.config import values

# Where Postfix's commands are; not in every user's PATH.
_SBIN = "/usr/sbin:/usr/local/sbin"
_TIMEOUT = 60


class PostfixError(Exception):
    """A Postfix command could not be run, or failed. Says which, with its last line of output."""


@dataclass(frozen=True, slots=True)
class Service:
    """A line of master.cf. ``options``: its -o settings, with parameters expanded."""

    name: str
    kind: str
    chroot: bool
    command: str
    options: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.name}/{self.kind}"

    @property
    def is_local(self) -> bool:
        """Whether it listens on loopback only."""
        return re.match(r"(127\.|localhost:|\[::1\])", self.name) is not None


@dataclass(frozen=True, slots=True)
class MilterEntry:
    """An entry of a list of milters: its socket in Postfix's notation, and its own settings."""

    endpoint: str
    options: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Installed:
    """The settings of main.cf and master.cf, with parameters expanded."""

    version: tuple[int, ...]
    parameters: Mapping[str, str]
    services: tuple[Service, ...]

    def value(self, parameter: str, service: Service | None = None) -> str:
        """A parameter's value; for a service, with its -o settings."""
        if service is not None and parameter in service.options:
            return service.options[parameter]
        return self.parameters[parameter]

    def service(self, name: str, kind: str = "unix") -> Service | None:
        return next((s for s in self.services if (s.name, s.kind) == (name, kind)), None)

    @property
    def smtp_servers(self) -> tuple[Service, ...]:
        """The services that receive mail by SMTP."""
        kinds = ("inet", "pass")
        return tuple(s for s in self.services if s.kind in kinds and s.command == "smtpd")

    def reached(self, endpoint: str, service: Service | None) -> str:
        """The socket that a service reaches by a milter's endpoint, in the form of `listening`."""
        kind, _, place = endpoint.partition(":")
        if kind == "inet":
            host, _, port = place.rpartition(":")
            return _inet(host.strip("[]"), port)
        if kind not in ("unix", "local"):
            return endpoint
        jailed = service is not None and service.chroot
        # Daemons run in the queue directory, which is the base of relative paths and the chroot.
        path = PurePath(self.parameters["queue_directory"]) / (
            place.lstrip("/") if jailed else place
        )
        return f"unix:{os.path.realpath(path)}"


def listening(listen: str) -> str:
    """A listen socket in libmilter's notation, in a form that can be compared."""
    place = values.inet_place(listen)
    if place is None:
        return f"unix:{os.path.realpath(listen.removeprefix('unix:'))}"
    return _inet(*place)


def _inet(host: str, port: str | int) -> str:
    """Normalizes the spelling of an address; a wildcard address becomes loopback."""
    with contextlib.suppress(ValueError):
        host = str(IPv6Address(host.lower().removeprefix("ipv6:")))
    same = {"localhost": "127.0.0.1", "0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}
    return f"inet:{same.get(host, host)}:{port}"


def read(command: Sequence[str], parameters: Iterable[str]) -> Installed:
    """Reads the configuration. ``parameters``: the main.cf parameters to read.

    ``command``: postconf(1), perhaps with -c. Raises PostfixError.
    """
    # -d, not main.cf: the version of the program.
    version = run((*command, "-dh", "mail_version"))
    wanted = run((*command, "-x", *parameters))
    return Installed(
        version=tuple(int(number) for number in re.findall(r"\d+", version)[:2]),
        parameters=dict(_assignment(line) for line in lines(wanted)),
        services=_services(run((*command, "-M")), run((*command, "-Px"))),
    )


def look_up(command: Sequence[str], table: str, keys: Iterable[str]) -> dict[str, str]:
    """The results of a table for keys. ``command`` as for `read`. Raises PostfixError."""
    postmap = (str(PurePath(command[0]).with_name("postmap")), *command[1:])
    # postmap -q exits with 1 if it finds none of them.
    answer = run((*postmap, "-q", "-", table), "".join(f"{key}\n" for key in keys), fine=(0, 1))
    return dict(line.split("\t", 1) for line in lines(answer))


def first_answers(command: Sequence[str], tables: str, keys: Iterable[str]) -> dict[str, str]:
    """For each key, the result of the first table that has one, as in Postfix."""
    wanted = tuple(keys)
    answers: dict[str, str] = {}
    for table in words(tables):
        for key, answer in look_up(command, table, wanted).items():
            answers.setdefault(key, answer)
    return answers


def lines(text: str) -> list[str]:
    """The lines of a text as Postfix reads them: they end with LF only."""
    return text.removesuffix("\n").split("\n") if text else []


def milters(text: str) -> tuple[MilterEntry, ...]:
    """The entries of smtpd_milters: ``SOCKET`` or ``{ SOCKET, NAME=VALUE ... }``."""
    entries = []
    for word in words(text):
        inner = words(word.strip("{} \t")) if word.startswith("{") else (word,)
        options = dict(_assignment(each.strip("{}")) for each in inner[1:])
        entries.append(MilterEntry(inner[0] if inner else "", options))
    return tuple(entries)


def words(text: str) -> tuple[str, ...]:
    """The words between commas and spaces; text in braces is one word."""
    found: list[str] = []
    depth, word = 0, ""
    for character in text:
        depth += (character == "{") - (character == "}")
        if depth == 0 and (character.isspace() or character == ","):
            found.append(word)
            word = ""
        else:
            word += character
    return tuple(each for each in (*found, word) if each)


def _services(listing: str, options: str) -> tuple[Service, ...]:
    settings: dict[tuple[str, str], dict[str, str]] = {}
    for line in lines(options):
        place, value = _assignment(line)
        # Service/type/parameter, from the right: a service name may be a path.
        service, _, parameter = place.rpartition("/")
        name, _, kind = service.rpartition("/")
        settings.setdefault((name, kind), {})[parameter] = value
    found = []
    for line in lines(listing):
        name, kind, _private, _unprivileged, chroot, _wakeup, _limit, command = line.split()[:8]
        found.append(Service(name, kind, chroot == "y", command, settings.get((name, kind), {})))
    return tuple(found)


def _assignment(line: str) -> tuple[str, str]:
    name, _, value = line.partition("=")
    return name.strip(), value.strip()


def run(argv: Sequence[str], given: str = "", fine: tuple[int, ...] = (0,)) -> str:
    """The output of a command of Postfix. ``fine``: its good exit statuses. Raises PostfixError."""
    path = f"{os.environ.get('PATH', os.defpath)}:{_SBIN}"
    try:
        done = subprocess.run(
            argv,
            input=given,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "PATH": path},
            timeout=_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as trouble:
        raise PostfixError(f"{argv[0]} cannot be run: {trouble}") from None
    # postmap(1) also exits with 1 on errors, and then prints a message.
    if done.returncode not in fine or re.search(r"(?m)^\S+: (?:fatal|error):", done.stderr):
        output = done.stderr.strip().splitlines()
        raise PostfixError(f"{argv[0]}: {output[-1] if output else f'exit {done.returncode}'}")
    return done.stdout
