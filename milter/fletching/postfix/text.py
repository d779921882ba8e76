"""The form of what `fletching postfix` prints: texts by file, in the manner of Postfix. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pieces:
    """Texts for Postfix's files, each with what it is for and how to take it out again.

    ``tables``: lookup tables by the name of their file, in the directory of main.cf.
    ``switch_on``: commands for services that are there already, ``switch_off`` undoes them.
    """

    main_cf: str
    master_cf: str
    tables: Mapping[str, str]
    switch_on: tuple[str, ...] = ()
    switch_off: tuple[str, ...] = ()

    def __str__(self) -> str:
        files = {"main.cf": self.main_cf, "master.cf": self.master_cf, **self.tables}
        return "\n".join(f"######## {name} ########\n\n{text}" for name, text in files.items())


def main_cf_block(mark: str, text: str) -> str:
    """Lines of main.cf between marks.

    Not for master.cf: there, postconf(1) moves comments when it edits the service above them, and
    what stands between two marks may then be somebody else's service.
    """
    return f"# >>> {mark}\n{text}# <<< {mark}\n"


def out_of_main_cf(mark: str) -> str:
    """The command that takes such a block out again."""
    return f"sed -i '/^# >>> {mark}$/,/^# <<< {mark}$/d' /etc/postfix/main.cf"


def service_lines(service: str, options: Iterable[str]) -> str:
    """A service of master.cf, set out as Postfix's own file does it."""
    first = "{:<9} {:<5} {:<7} {:<7} {:<7} {:<7} {:<7} {}".format(*service.split())
    return "".join(f"{line}\n" for line in (first, *(f"  -o {option}" for option in options)))
