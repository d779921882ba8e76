"""The last report of each host of a fleet.

What a report says is not known here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

from fletching.store import keys
from fletching.store.connection import Store

FORGOTTEN = 7 * 86400
"""Seconds after its last report that a host is forgotten."""

MOST = 1000
"""Hosts that are read."""


@dataclass(frozen=True, slots=True)
class Report:
    """``seconds``: when it was made, in unix time of the host. ``errors``: one line each."""

    host: str
    seconds: int
    version: str
    daemons: tuple[str, ...]
    errors: tuple[str, ...]


class Hosts:
    """The hosts of a fleet."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def report(self, report: Report) -> None:
        """Replaces the report of a host. Raises StoreUnavailable.

        A new host has forgotten ones deleted: with names that are made up for each container,
        there would be more and more of them.
        """
        facts = {
            "seconds": report.seconds,
            "version": report.version,
            "daemons": report.daemons,
            "errors": report.errors,
        }
        text = json.dumps(facts)
        if self._store.ask(lambda client: client.hset(keys.HOSTS, report.host, text)):
            self.reports()

    def reports(self) -> list[Report]:
        """The reports, by host; those of forgotten hosts are deleted. Raises StoreUnavailable."""
        found: Mapping[str, str] = self._store.ask(lambda client: client.hgetall(keys.HOSTS))
        reports = {host: _parsed(host, text) for host, text in sorted(found.items())}
        since = time.time() - FORGOTTEN
        old = [host for host, each in reports.items() if each is None or each.seconds < since]
        if old:
            self._store.ask(lambda client: client.hdel(keys.HOSTS, *old))
        return [each for host, each in reports.items() if each and host not in old][:MOST]


def _parsed(host: str, text: str) -> Report | None:
    """A report; None if it is not one of ours."""
    try:
        facts = json.loads(text)
        daemons, errors = map(str, facts["daemons"]), map(str, facts["errors"])
        seconds, version = int(facts["seconds"]), str(facts["version"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    return Report(host, seconds, version, tuple(daemons), tuple(errors))
