"""The types of the options of rules, with their validation, as in `fields.py`.

No option is known here. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, PlainValidator

from fletching.config import control_values, templates, units, values
from fletching.config.added_headers import (
    AddedName,
    RemovedName,
    different_names,
    field_name,
    not_empty,
)
from fletching.config.fields import Address, Different, File, Frozen, Network, OptionType

MOST_ADDRESSES = 100
"""Addresses that a rule adds to a mail, at most."""


@dataclass(frozen=True, slots=True)
class SizeBound:
    """`> 1MiB` (``larger``) or `< 20KiB`."""

    larger: bool
    octets: int

    def __str__(self) -> str:
        return f"{'>' if self.larger else '<'} {units.show_size(self.octets)}"


def _one_or_more(value: object) -> object:
    """A single value is a list of one."""
    if value == []:
        raise ValueError("must not be empty")
    return value if isinstance(value, list) else [value]


def _true(value: object) -> bool:
    if value is not True:
        raise ValueError("must be true; leave it out otherwise")
    return True


def _texts(value: object) -> tuple[str, ...]:
    """What a text is compared with; whole numbers are texts, since `X-Priority: 1` is."""
    given = value if isinstance(value, list) else [value]
    found = []
    for each in given:
        if isinstance(each, int) and not isinstance(each, bool):
            each = str(each)
        if not isinstance(each, str):
            raise ValueError("must be text, or a list of texts")
        if not each.isprintable() or len(each) > 1000:
            raise ValueError("must be printable, and at most 1000 characters long")
        if is_pattern(each):
            values.pattern(each)
        found.append(each)
    if not found:
        raise ValueError("must not be empty")
    return tuple(dict.fromkeys(found))


def is_pattern(text: str) -> bool:
    """Whether a text to compare with is a regular expression between slashes."""
    return len(text) >= 3 and text.startswith("/") and text.endswith("/")


def is_exact(text: str) -> bool:
    """Whether a text to compare with is neither a regular expression nor a glob."""
    return not is_pattern(text) and not ("*" in text or "?" in text)


def _texts_or_presence(value: object) -> bool | tuple[str, ...]:
    return value if isinstance(value, bool) else _texts(value)


def _size(value: object) -> SizeBound:
    found = (
        re.fullmatch(r"([<>]) *([0-9]+)((?:[KMG]iB)?)", value) if isinstance(value, str) else None
    )
    if found is None:
        raise ValueError('must be > or < and a size, in quotes, such as "> 1MiB"')
    number, unit = found[2], found[3]
    return SizeBound(found[1] == ">", units.size(number + unit if unit else int(number[:11])))


def _few(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(value) > MOST_ADDRESSES:
        raise ValueError(f"must be at most {MOST_ADDRESSES} addresses")
    return value


def _reply(value: str) -> str:
    if not re.fullmatch(r"[!-~](?:[ -~]{0,198}[!-~])?", value):
        raise ValueError("must be 1 to 200 printable ASCII characters")
    return value


def _name(value: str) -> str:
    if not re.fullmatch(r"[!-~](?:[ -~]{0,62}[!-~])?", value):
        raise ValueError("must be 1 to 64 printable ASCII characters")
    return value


def yes_or_no(value: object) -> object:
    """YAML reads yes and no as true and false."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if value in (0, 1) else value


def filled(check: Callable[[str], object]) -> AfterValidator:
    """The check of a value without placeholders; others are checked in each mail."""

    def checked(value: str) -> str:
        if templates.placeholders(templates.check(value)):
            return value
        plain = "".join(text for text, _ in templates.pieces(value))
        check(plain)
        return value

    return AfterValidator(checked)


Texts = Annotated[
    tuple[str, ...],
    PlainValidator(_texts),
    OptionType("text, glob or `/regular expression/`, or a list of them"),
]
HeaderTest = Annotated[
    bool | tuple[str, ...],
    PlainValidator(_texts_or_presence),
    OptionType("`true`, `false`, or text, glob or `/regular expression/`, or a list of them"),
]
FieldName = Annotated[str, AfterValidator(field_name), OptionType("header name")]
Sizes = Annotated[
    tuple[Annotated[SizeBound, PlainValidator(_size)], ...],
    BeforeValidator(_one_or_more),
    OptionType('`"> SIZE"` or `"< SIZE"`, or a list of them'),
]
Clients = Annotated[
    tuple[Network, ...], BeforeValidator(_one_or_more), OptionType("network (CIDR), or a list")
]
Files = Annotated[tuple[File, ...], BeforeValidator(_one_or_more), OptionType("path, or a list")]
Addresses = Annotated[
    tuple[Address, ...],
    BeforeValidator(_one_or_more),
    Different,
    AfterValidator(_few),
    OptionType("list of mail addresses"),
]
Reply = Annotated[str, AfterValidator(_reply), OptionType("text")]
RuleName = Annotated[str, AfterValidator(_name), OptionType("text")]
Template = Annotated[
    str,
    AfterValidator(not_empty),
    AfterValidator(templates.check),
    OptionType("text with placeholders"),
]


ClassTemplate = Annotated[str, filled(values.class_name), OptionType("name of a Mail Class")]
InstanceTemplate = Annotated[str, filled(control_values.instance_id), OptionType("text")]
ListTemplate = Annotated[str, filled(values.list_id), OptionType("text")]
MtaTemplate = Annotated[str, filled(values.virtual_mta_name), OptionType("name of a VirtualMTA")]
AddressTemplate = Annotated[str, filled(values.address), OptionType("mail address")]
SwitchTemplate = Annotated[
    str, BeforeValidator(yes_or_no), filled(control_values.switch), OptionType("yes or no")
]
IdTemplate = Annotated[str, filled(control_values.click_tracking_id), OptionType("text")]
UrlDomainTemplate = Annotated[
    str, filled(values.url_domain), OptionType("`http://` or `https://`, host, optional port")
]
FormatTemplate = Annotated[
    str, filled(control_values.tracker_format), OptionType("`a`, `b` or `c`")
]
UrlTemplate = Annotated[
    str, filled(control_values.unsubscribe_url), OptionType("http or https URL")
]
Yes = Annotated[bool, PlainValidator(_true), OptionType("`true`")]
FieldTests = Annotated[Mapping[FieldName, HeaderTest], Frozen, AfterValidator(different_names)]
FieldTemplates = Annotated[Mapping[AddedName, Template], Frozen, AfterValidator(different_names)]
RemovedFields = Annotated[
    tuple[RemovedName, ...], BeforeValidator(_one_or_more), OptionType("list of header names")
]
