"""The network of a drill: loopback, or two sites with a network that can be cut.

A site is a network namespace; both are connected to one switch (a bridge in its own namespace).
When the network is cut, packets are lost without an error, as with a failed switch. Made with
ip(8), as root; it ends with the namespaces. Unix sockets work across sites.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import Self

from sandbox.processes import program

_NAMES = ("north", "south")
_SWITCH = "switch"


@dataclass(frozen=True, slots=True)
class Site:
    """``address``: what servers bind to; ``enter``: the prefix of a command that runs there."""

    address: str = "127.0.0.1"
    enter: tuple[str, ...] = ()


LOOPBACK = Site()


class Network:
    """Two sites, connected until `cut`."""

    def __init__(self) -> None:
        self._prefix = f"drill-{os.getpid()}"
        self.sites = tuple(
            Site(f"198.51.100.{last}", (_ip(), "netns", "exec", self._name(name)))
            for last, name in enumerate(_NAMES, 1)
        )

    def __enter__(self) -> Self:
        switch = self._name(_SWITCH)
        try:
            _run("netns", "add", switch)
            _run("-n", switch, "link", "add", "name", _SWITCH, "type", "bridge")
            _run("-n", switch, "link", "set", _SWITCH, "up")
            for name, site in zip(_NAMES, self.sites, strict=True):
                self._connect(name, site.address)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _connect(self, name: str, address: str) -> None:
        switch, host = self._name(_SWITCH), self._name(name)
        _run("netns", "add", host)
        cable = ("link", "add", "name", name, "type", "veth", "peer", "name", "eth0", "netns", host)
        _run("-n", switch, *cable)
        _run("-n", switch, "link", "set", name, "master", _SWITCH, "up")
        _run("-n", host, "address", "add", f"{address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _run("-n", host, "link", "set", device, "up")

    def cut(self) -> None:
        """Cut the connection between the sites."""
        _run("-n", self._name(_SWITCH), "link", "set", _NAMES[0], "nomaster")

    def heal(self) -> None:
        """Restore the connection."""
        _run("-n", self._name(_SWITCH), "link", "set", _NAMES[0], "master", _SWITCH)

    def __exit__(self, *_: object) -> None:
        for name in (*_NAMES, _SWITCH):
            subprocess.run([_ip(), "netns", "del", self._name(name)], capture_output=True)

    def _name(self, name: str) -> str:
        return f"{self._prefix}-{name}"


def _run(*words: str) -> None:
    subprocess.run([_ip(), *words], check=True, capture_output=True)


def _ip() -> str:
    return program("ip", "iproute2")
