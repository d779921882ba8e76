"""Turns pydantic's errors into sentences for an admin: what is wrong, what is allowed.

Also finds which options exist at a place of the file, from the model's types. No sentence repeats a
value that was given, since it may be a password. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from fletching.config.conflict import nearest
from fletching.config.model import Config
from fletching.config.sections import Options

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from fletching.config.nodes import Place


def sentence(error: ErrorDetails, place: Place) -> str:
    """What is wrong at that place, and what is allowed."""
    given = error["input"]
    context = error.get("ctx", {})
    match error["type"]:
        case "lack":
            return str(context["rule"])
        case "value_error":
            return str(context["error"])
        case "extra_forbidden":
            return _unknown_key(place)
        case "missing":
            return "missing: this option is required"
        case "string_type" if isinstance(given, (bool, int, float)):
            return f"must be text, not {_type_name(given)}: put it in quotes"
        case "string_type":
            return f"must be text, not {_type_name(given)}"
        case "bool_type":
            return f"must be true or false, not {_type_name(given)}"
        case "int_type":
            return f"must be a whole number, not {_type_name(given)}"
        case "float_type":
            return f"must be a number, not {_type_name(given)}"
        case "greater_than_equal":
            return f"must be at least {context['ge']:g}"
        case "less_than_equal":
            return f"must be at most {context['le']:g}"
        case "literal_error":
            return f"must be {context['expected'].replace(chr(39), '')}"
        case "model_type" | "model_attributes_type" | "dict_type" | "mapping_type":
            return f"must be a section of keys and values, not {_type_name(given)}"
        case "tuple_type" | "list_type":
            return f"must be a list, not {_type_name(given)}"
        case _:
            return error["msg"]


def shown(place: Place) -> str:
    """A place as `path.to.key`; names with special characters are quoted."""
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
    # A URL in the place of a key may contain a password.
    start, mark, _ = name.partition(":")
    if mark:
        name = ("" if "@" in start else start) + "..."
    return json.dumps(name[:100] + ("..." if len(name) > 100 else ""))


def _unknown_key(place: Place) -> str:
    *around, name = place
    known = section(Config, tuple(around))
    if known is None:
        return "unknown option"
    return f"unknown option: {nearest(str(name), known.by_name())}"


def _type_name(given: object) -> str:
    match given:
        case None:
            return "an empty value"
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


def section(top: type[Options], place: Place) -> type[Options] | None:
    """The section at a place; None if the place is a single value or not an option."""
    inner: Any = top
    for step in place:
        inner = _below(inner, step)
    return inner if _is_section(inner) else None


def essence(annotation: Any) -> Any:
    """A type without `Annotated` and `| None`."""
    if get_origin(annotation) is Annotated:
        return essence(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return essence(get_args(annotation)[0])
    return annotation


def _below(outer: Any, step: str | int) -> Any:
    if _is_section(outer):
        found = outer.by_name().get(step)
        return None if found is None else essence(found.annotation)
    if get_origin(outer) is Mapping:
        return essence(get_args(outer)[1])
    if get_origin(outer) is tuple:
        return essence(get_args(outer)[0])
    return None


def _is_section(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, Options)
