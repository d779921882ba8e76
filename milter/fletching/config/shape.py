"""Which options there are at a place of the file, asked of the model itself.

Here lives the walk over the declared types, for messages and for the reference. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from fletching.config.nodes import Place
from fletching.config.sections import Options


def section(top: type[Options], place: Place) -> type[Options] | None:
    """The section at a place; None where the place is a single value or no option at all."""
    inner: Any = top
    for step in place:
        inner = _below(inner, step)
    return inner if _is_section(inner) else None


def essence(annotation: Any) -> Any:
    """A type without what `Annotated` and `| None` put around it."""
    if get_origin(annotation) is Annotated:
        return essence(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return essence(get_args(annotation)[0])
    return annotation


def _below(outer: Any, step: str | int) -> Any:
    if _is_section(outer):
        found = outer.model_fields.get(step)
        return None if found is None else essence(found.annotation)
    if get_origin(outer) is Mapping:
        return essence(get_args(outer)[1])
    if get_origin(outer) is tuple:
        return essence(get_args(outer)[0])
    return None


def _is_section(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, Options)
