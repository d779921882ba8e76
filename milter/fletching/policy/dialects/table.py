"""The form of a dialect: a table of a vendor's headers, and what each stands for here.

A row turns the vendor's value into wishes, which name controls by their option name. What a control
accepts is checked later (`policy/vendor_headers.py`), and nothing of it is known here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple


class VendorError(Exception):
    """A value that the vendor does not define. The message is the rule, without the value."""


class Sets(NamedTuple):
    """A control, by its option name, and its value as the control header would have it.

    Besides the controls: `clicks`, `opens`, `text`, `list_unsubscribe`, and `dkim_domain`, the
    domain of the signature.
    """

    control: str
    text: str


class Labels(NamedTuple):
    """Something that the vendor repeats in its reports about the message.

    It becomes the Click-Tracking-ID, which is in all events, if nothing above it in the table has.
    """

    text: str


class NamesRun(NamedTuple):
    """The name of a mailing: the InstanceID if it is valid as one, else a label."""

    text: str


class Lacks(NamedTuple):
    """Something that Fletching does not do: a warning.

    ``strict``: the mail without it is another one than was asked for (other recipients, another
    text), so `on_invalid_header: reject` refuses it.
    """

    what: str = ""
    strict: bool = False


Wish = Sets | Labels | NamesRun | Lacks

Several = Literal["same", "joined", "first", "last", "object"]
"""What several fields of one name mean: one value if they are the same (else they are invalid), all
values joined by commas, the first or the last value, or an object with a key for each name."""


@dataclass(frozen=True, slots=True, eq=False)
class Key:
    """A key of a header that contains JSON. ``path``: `options.ip_pool`.

    The texts are for docs/dialects.md: what it means to the vendor, what it becomes here, and an
    example of a value.
    """

    path: str
    meaning: str
    here: str
    example: str
    read: Callable[[Any], Iterable[Wish]]

    @property
    def value(self) -> Any:
        """The value of the example."""
        return json.loads(self.example)


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A header. ``header``: as the vendor writes it; with `*` at its end all that begin so.

    ``kept``: the vendor leaves it in the mail. ``keys``: of a header that contains JSON; ``read``
    is not used then.
    """

    header: str
    meaning: str
    here: str
    example: str
    read: Callable[[str], Iterable[Wish]] = lambda _text: ()
    several: Several = "same"
    kept: bool = False
    keys: tuple[Key, ...] = ()

    @property
    def prefix(self) -> str | None:
        """How the names begin, None for a single name."""
        return self.header[:-1] if self.header.endswith("*") else None


@dataclass(frozen=True, slots=True, eq=False)
class Dialect:
    """The headers of one vendor, the strongest first.

    ``namespace``: headers that begin so are the vendor's, too; a warning says that they are not
    known. ``notes`` and ``sources`` are for docs/dialects.md.
    """

    title: str
    rows: tuple[Row, ...]
    sources: tuple[str, ...]
    namespace: str | None = None
    notes: tuple[str, ...] = ()


def words(known: Mapping[str, Iterable[Wish]]) -> Callable[[str], Iterable[Wish]]:
    """A value that is one of a few words, in any case."""
    lower = {word.lower(): wishes for word, wishes in known.items()}

    def read(text: str) -> Iterable[Wish]:
        try:
            return lower[text.lower()]
        except KeyError:
            raise VendorError(f"must be {_one_of(known)}") from None

    return read


def _one_of(known: Iterable[str]) -> str:
    *most, last = known
    return f"{', '.join(most)} or {last}" if most else last
