"""Which source addresses of VirtualMTAs this host has.

An address is here if a socket can be bound to it, as Postfix will do. Interfaces come and go while
the milter runs; a pool then skips the member (`policy/route.py`).
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable

from fletching.config.model import Config

EVERY = 60.0
"""Seconds between two looks."""


def is_here(address: str) -> bool:
    """Whether this host has the address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as trial:
            trial.bind((address, 0))
    except OSError as wrong:
        return wrong.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    return True


def vanished(config: Config, here: Callable[[str], bool] = is_here) -> frozenset[str]:
    """The VirtualMTAs, in lower case, whose address this host does not have.

    None if it has no address of any of them: Postfix is on another host then.
    """
    mtas = config.virtual_mtas.values()
    addresses = {mta.name.lower(): str(mta.address) for mta in mtas if mta.address is not None}
    found = {address: here(address) for address in set(addresses.values())}
    if not any(found.values()):
        return frozenset()
    return frozenset(name for name, address in addresses.items() if not found[address])


class Watch:
    """The VirtualMTAs whose address has vanished, looked at again every `EVERY` seconds.

    Any number of threads may use it.
    """

    def __init__(self, here: Callable[[str], bool] = is_here, every: float = EVERY) -> None:
        self._here = here
        self._every = every
        self._config: Config | None = None
        self._at = 0.0
        self._names: frozenset[str] = frozenset()
        self._looking = threading.Lock()

    def vanished(self, config: Config) -> frozenset[str]:
        """As the function of this name, for the configuration in force."""
        with self._looking:
            now = time.monotonic()
            if config is not self._config or now - self._at >= self._every:
                self._names = vanished(config, self._here)
                self._config, self._at = config, now
            return self._names
