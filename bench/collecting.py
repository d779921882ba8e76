"""A milter that collects every mail and does nothing: the minimum cost of a milter in Python.

It requests what Fletching requests (the whole mail, no reply before its end).
"""

from __future__ import annotations

import os
import sys
from typing import Any

import Milter


class Collecting(Milter.Base):  # type: ignore[misc] # pymilter has no types
    """One connection of Postfix."""

    def __init__(self) -> None:
        self._headers: list[tuple[str, str]] = []
        self._chunks: list[bytes] = []

    @Milter.noreply  # type: ignore[untyped-decorator]
    def connect(self, hostname: str, family: int, hostaddr: Any) -> int:
        return int(Milter.CONTINUE)

    @Milter.noreply  # type: ignore[untyped-decorator]
    def envfrom(self, sender: str, *parameters: str) -> int:
        self._headers, self._chunks = [], []
        return int(Milter.CONTINUE)

    @Milter.noreply  # type: ignore[untyped-decorator]
    def envrcpt(self, recipient: str, *parameters: str) -> int:
        return int(Milter.CONTINUE)

    @Milter.noreply  # type: ignore[untyped-decorator]
    def header(self, name: str, value: str) -> int:
        self._headers.append((name, value))
        return int(Milter.CONTINUE)

    @Milter.noreply  # type: ignore[untyped-decorator]
    def body(self, chunk: bytes) -> int:
        self._chunks.append(chunk)
        return int(Milter.CONTINUE)

    def eom(self) -> int:
        self._headers, self._chunks = [], []
        return int(Milter.ACCEPT)


def main() -> None:
    os.umask(0o117)
    Milter.factory = Collecting
    Milter.set_flags(0)
    Milter.runmilter("collecting", f"unix:{sys.argv[1]}", 600)


if __name__ == "__main__":
    main()
