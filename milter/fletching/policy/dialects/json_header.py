"""A header that contains JSON, in folded lines: X-SMTPAPI, X-MSYS-API.

Here is how its text becomes keys and values. What they mean is in the vendors' files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
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


def entries(text: str, keys: Iterable[Key]) -> Iterator[Entry]:
    """All values of the header, in the order of the keys.

    Lines are unfolded as in RFC 5322, so a fold inside a text is a blank of that text, as it is to
    the vendors. Raises VendorError for what is not an object in JSON.
    """
    order = {key: number for number, key in enumerate(keys)}
    found = list(_walk(_content(text), "", {key.path: key for key in order}))
    return iter(sorted(found, key=lambda entry: order[entry.key] if entry.key else len(order)))


def _walk(content: dict[str, Any], above: str, keys: dict[str, Key]) -> Iterator[Entry]:
    """``above``: the path of the object. There are as many levels as the keys have."""
    for name, value in content.items():
        path = f"{above}.{name}" if above else name
        if "." in name:
            yield Entry(above, None, None)
        elif path in keys:
            yield Entry(path, keys[path], value)
        elif any(known.startswith(f"{path}.") for known in keys):
            if not isinstance(value, dict):
                raise VendorError(f"{path} must be an object")
            yield from _walk(value, path, keys)
        else:
            yield Entry(above, None, None)


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
