"""How vendors' values are translated: switches, names, labels, and what has no counterpart.

Each function returns the translation of a header's text; those whose name begins with `json_`, the
translation of a value in JSON. One vendor's own rules are in its file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from fletching.policy.dialects.table import Labels, Lacks, NamesRun, Sets, VendorError, Wish, words

Text = Callable[[str], Iterable[Wish]]
Json = Callable[[Any], Iterable[Wish]]

ON = ("yes", "true", "on", "y", "1")
OFF = ("no", "false", "off", "n", "0")


def sets(control: str) -> Text:
    """The value of a control, as it is."""
    return lambda text: [Sets(control, text)]


def class_name(text: str) -> Iterable[Wish]:
    """The Mail Class of that name. A class has no hyphen in its name: an underscore stands for
    it."""
    return [Sets("mail_class", text.replace("-", "_"))]


def label(text: str) -> Iterable[Wish]:
    return [Labels(text)]


def names_run(text: str) -> Iterable[Wish]:
    return [NamesRun(text)]


def yes_no(control: str) -> Text:
    """A switch with the words yes and no, or true and false."""
    on, off = [Sets(control, "yes")], [Sets(control, "no")]
    return words({"yes": on, "no": off, "true": on, "false": off})


def lacks(text: str) -> Iterable[Wish]:
    """Without a counterpart, whatever the value."""
    return [Lacks()]


def lacks_strictly(text: str) -> Iterable[Wish]:
    """Without a counterpart, and the mail is another one without it."""
    return [Lacks(strict=True)]


def lacks_if_on(strict: bool = False) -> Text:
    """Without a counterpart, unless it is switched off."""
    return lambda text: [] if text.lower() in OFF else [Lacks(strict=strict)]


def lacks_if_off(text: str) -> Iterable[Wish]:
    """What Fletching always does: only to switch it off has no counterpart."""
    return [Lacks()] if text.lower() in OFF else []


def nothing(text: str) -> Iterable[Wish]:
    """What changes nothing here, and nothing is missing without it."""
    return []


# Values in JSON


def json_text(value: object) -> str:
    """A text."""
    if not isinstance(value, str):
        raise VendorError("must be text")
    return value


def json_flag(value: object) -> bool:
    """A switch: true, 1 or the same as text."""
    known = {"1": True, "true": True, "0": False, "false": False}
    found = known.get(json.dumps(value).strip('"').lower()) if _is_simple(value) else None
    if found is None:
        raise VendorError("must be true or false")
    return found


def _is_simple(value: object) -> bool:
    return isinstance(value, bool | int) or (isinstance(value, str) and len(value) < 10)


def json_sets(control: str) -> Json:
    """The value of a control, as it is."""
    return lambda value: [Sets(control, json_text(value))]


def json_switch(control: str) -> Json:
    return lambda value: [Sets(control, "yes" if json_flag(value) else "no")]


def json_names_run(value: object) -> Iterable[Wish]:
    return [NamesRun(json_text(value))]


def json_texts(value: object) -> Iterable[Wish]:
    """A label, or several in an array."""
    if isinstance(value, str):
        return [Labels(value)]
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise VendorError("must be text, or an array of texts")
    return [Labels(",".join(value))] if value else []


def json_object(value: object) -> Iterable[Wish]:
    """Data of the application: the label is the object in JSON, without blanks."""
    if not isinstance(value, dict):
        raise VendorError("must be an object")
    return [Labels(compact(value))] if value else []


def compact(value: object) -> str:
    """JSON in ASCII without blanks."""
    try:
        return json.dumps(value, separators=(",", ":"))
    except RecursionError:
        raise VendorError("must not be nested so deeply") from None


def json_lacks(value: object) -> Iterable[Wish]:
    return [Lacks()]


def json_lacks_strictly(value: object) -> Iterable[Wish]:
    return [Lacks(strict=True)]


def json_lacks_if_on(strict: bool = False) -> Json:
    return lambda value: [Lacks(strict=strict)] if json_flag(value) else []


def json_nothing(value: object) -> Iterable[Wish]:
    return []
