"""One sentence for each thing that can be wrong with a value: what is wrong, what is allowed.

Here pydantic's findings become an admin's words. No sentence repeats a value that was given: it may
be a password. Pure.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from fletching.config.consistency import nearest
from fletching.config.model import Config
from fletching.config.shape import section

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from fletching.config.nodes import Place

_LATER = ("header_aliases", "rules")


def sentence(error: ErrorDetails, place: Place) -> str:
    """What is wrong at that place, and what is allowed there."""
    given = error["input"]
    context = error.get("ctx", {})
    match error["type"]:
        case "clash" | "lack":
            return str(context["rule"])
        case "value_error":
            return str(context["error"])
        case "extra_forbidden":
            return _unknown_key(place)
        case "missing":
            return "missing: this option is required"
        case "string_type" if isinstance(given, (bool, int, float)):
            return f"must be text, not {_kind(given)}: put it in quotes"
        case "string_type":
            return f"must be text, not {_kind(given)}"
        case "bool_type":
            return f"must be true or false, not {_kind(given)}"
        case "int_type":
            return f"must be a whole number, not {_kind(given)}"
        case "float_type":
            return f"must be a number, not {_kind(given)}"
        case "greater_than_equal":
            return f"must be at least {context['ge']:g}"
        case "less_than_equal":
            return f"must be at most {context['le']:g}"
        case "literal_error":
            return f"must be {context['expected'].replace(chr(39), '')}"
        case "model_type" | "model_attributes_type" | "dict_type" | "mapping_type":
            return f"must be a section of keys and values, not {_kind(given)}"
        case "tuple_type" | "list_type":
            return f"must be a list, not {_kind(given)}"
        case _:
            return error["msg"]


def shown(place: Place) -> str:
    """A place as `path.to.key`; a name that is no plain word is quoted."""
    path = ""
    for step in place:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += ("." if path else "") + _step(step)
    return path


def _step(name: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_+?<-]{1,100}", name):
        return name
    # A URL that got into the place of a key may have a password in it.
    start, mark, _ = name.partition(":")
    if mark:
        name = ("" if "@" in start else start) + "..."
    return json.dumps(name[:100] + ("..." if len(name) > 100 else ""))


def _unknown_key(place: Place) -> str:
    *around, name = place
    known = section(Config, tuple(around))
    if name in _LATER and not around:
        return "not supported in this version"
    if known is None:
        return "unknown option"
    return f"unknown option: {nearest(str(name), known.model_fields)}"


def _kind(given: object) -> str:
    match given:
        case None:
            return "empty"
        case bool():
            return "true or false"
        case int():
            return "a number"
        case float():
            return "a fraction"
        case str():
            return "text"
        case list() | tuple():
            return "a list"
        case _:
            return "a section"
