"""The format of `fletching postfix`: texts by file, formatted like Postfix's own files. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pieces:
    """Texts for Postfix's files, each with its purpose and how to remove it.

    ``tables``: lookup tables by file name, in the directory of main.cf.
    ``switch_on``: commands that change existing services; ``switch_off`` undoes them.
    """

    main_cf: str
    master_cf: str
    tables: Mapping[str, str]
    switch_on: tuple[str, ...] = ()
    switch_off: tuple[str, ...] = ()

    @property
    def files(self) -> dict[str, str]:
        """All texts by file name."""
        return {"main.cf": self.main_cf, "master.cf": self.master_cf, **self.tables}

    def __str__(self) -> str:
        return "\n".join(f"######## {name} ########\n\n{text}" for name, text in self.files.items())


def main_cf_block(mark: str, text: str) -> str:
    """Lines of main.cf between marker comments.

    Not for master.cf, where postconf(1) moves comments when it edits the service above them, so
    that another service could end up between the markers.
    """
    return f"# >>> {mark}\n{text}# <<< {mark}\n"


def out_of_main_cf(mark: str) -> str:
    """The command that removes such a block."""
    return f"sed -i '/^# >>> {mark}$/,/^# <<< {mark}$/d' /etc/postfix/main.cf"


def service_lines(service: str, options: Iterable[str]) -> str:
    """A service of master.cf, formatted as in Postfix's own file."""
    first = "{:<9} {:<5} {:<7} {:<7} {:<7} {:<7} {:<7} {}".format(*service.split())
    return "".join(f"{line}\n" for line in (first, *(f"  -o {option}" for option in options)))
