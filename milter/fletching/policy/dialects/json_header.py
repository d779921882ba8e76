"""A header that contains JSON, in folded lines: X-SMTPAPI, X-MSYS-API.

Here is how its text becomes keys and values. What they mean is in the vendors' files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple, NoReturn

from fletching.policy.dialects.table import Key, VendorError

LONGEST = 100 << 10
"""Bytes of the header. By default, Postfix accepts no more (`header_size_limit`)."""


class Entry(NamedTuple):
    """A value in the header. ``key`` is None for a key that no one defined.

    ``path``: `options.ip_pool`; of a key that no one defined, that of the object it is in.
    """

    path: str
    key: Key | None
    value: Any


class _Known(NamedTuple):
    """The keys of a header by path, each with its place in the table; the objects above them."""

    keys: dict[str, tuple[int, Key]]
    above: frozenset[str]


def entries(text: str, keys: tuple[Key, ...]) -> list[Entry]:
    """All values of the header, in the order of the keys.

    Lines are unfolded as in RFC 5322, so a fold inside a text is a blank of that text, as it is to
    the vendors. Raises VendorError for what is not an object in JSON.
    """
    found = sorted(_walk(_content(text), "", _known(keys)), key=itemgetter(0))
    return [entry for _, entry in found]


@lru_cache(maxsize=16)  # A pure function of a table.
def _known(keys: tuple[Key, ...]) -> _Known:
    paths = [key.path.split(".") for key in keys]
    above = {".".join(path[:end]) for path in paths for end in range(1, len(path))}
    return _Known({key.path: (place, key) for place, key in enumerate(keys)}, frozenset(above))


def _walk(content: dict[str, Any], above: str, known: _Known) -> Iterator[tuple[int, Entry]]:
    """Values with their places. There are as many levels as the keys have. ``above``: the path of
    the object."""
    for name, value in content.items():
        path = f"{above}.{name}" if above else name
        if "." in name or (path not in known.keys and path not in known.above):
            yield len(known.keys), Entry(above, None, None)
        elif path in known.keys:
            place, key = known.keys[path]
            yield place, Entry(path, key, value)
        elif isinstance(value, dict):
            yield from _walk(value, path, known)
        else:
            raise VendorError(f"{path} must be an object")


def _content(text: str) -> dict[str, Any]:
    if len(text) > LONGEST:
        raise VendorError(f"must be at most {LONGEST >> 10} KiB long")
    try:
        # A tab can only come from a fold: JSON allows none inside a text.
        content = json.loads(text.replace("\t", " "), parse_constant=_no_json)
    except (ValueError, RecursionError):
        raise VendorError("must be valid JSON") from None
    if not isinstance(content, dict):
        raise VendorError("must be an object in JSON")
    return content


def _no_json(constant: str) -> NoReturn:
    """NaN and the infinities, which Python's parser accepts."""
    raise ValueError(constant)
