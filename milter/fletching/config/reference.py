"""The page docs/configuration.md, made from the model.

Here lives how options become a page: `python -m fletching.config.reference` writes it to standard
output. What an option is and does stands in the model alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from fletching.config.fields import Kind
from fletching.config.model import LATER, LATER_OF_A_CLASS, Config, MailClass
from fletching.config.sections import Options
from fletching.config.wording import essence

GROUPS: dict[str, tuple[str, ...]] = {
    "The daemon": (
        "listen",
        "workers",
        "worker_max_messages",
        "redis",
        "on_store_failure",
        "state_dir",
        "server_id",
        "max_rewrite_size",
    ),
    "Whose mail, and which class": (
        "trusted",
        "users",
        "default_mail_class",
        "on_invalid_header",
    ),
    "Campaigns": ("campaign_window", "timezone", "stats_retention"),
    "Return path": ("bounce_mailbox", "recipient_delimiter", "verp", "bounce_memory"),
    "Links": (
        "url_domain",
        "tracker_format",
        "link_keys",
        "untracked_hosts",
        "preserve_visible_urls",
    ),
    "Unsubscribing": ("unsubscribe_mailbox", "one_click", "unsubscribe_tag", "suppress"),
    "Mail Classes": ("mail_classes",),
    "VirtualMTAs": ("virtual_mtas", "routed_mailers", "route_by"),
    "DKIM": ("dkim",),
    "What comes back": ("web", "events"),
    "For later versions": LATER,
}

EXAMPLE = """\
redis: redis://127.0.0.1:6379/0
link_keys: /etc/fletching/link-keys
url_domain: https://click.example.com
bounce_mailbox: bounces@example.com
unsubscribe_mailbox: unsubscribe@example.com
default_mail_class: newsletter
suppress: refuse
mail_classes:
  newsletter:
    list_id: news
    virtual_mta: bulk
    track: {clicks: true, opens: true}
  receipts:
    virtual_mta: a
    list_unsubscribe: false
virtual_mtas:
  a: {transport: vmta-a, address: 192.0.2.10, helo: a.example.com}
  b: {transport: vmta-b, address: 192.0.2.11, helo: b.example.com, fallback: a}
  bulk: {pool: {a: 3, b: 1}, sticky: message}
dkim:
  keys:
    - {domain: example.com, selector: s1, file: dkim/example.com.s1.pem, default: true}
"""

_INTRO = f"""\
# Configuration

<!-- Made by `python -m fletching.config.reference`. Change the model, not this page. -->

Fletching reads one YAML file, by default `/etc/fletching/fletching.yaml`. Every option has a
default unless the table says "required"; an empty file is a configuration too.

- What is wrong with the file is told all at once, a line for each problem:
  `file:line: path.to.key: what is wrong, what is allowed`. An option that is not known is an error,
  and so is one that is given twice.
- Names that the file defines and uses, of Mail Classes and of VirtualMTAs, are compared without
  regard to case.
- A relative path is meant from the folder of the file.
- A text that YAML takes for something else, such as `12` or `no`, needs quotes as a value. As a
  name, left of the colon, it needs none.
- Anchors, aliases and `<<` work; tags (`!something`) do not.

```yaml
{EXAMPLE}```
"""

_LATER_NOTE = "This version reads and checks it, and does nothing with it yet."


def page() -> str:
    """The whole page."""
    parts = [_INTRO]
    for title, names in GROUPS.items():
        parts.append(f"\n## {title}\n")
        parts.append(_table(Config, names))
        parts += [part for name in names for part in _subsections(Config, name, name)]
    return "".join(parts)


def _subsections(outer: type[Options], name: str, path: str) -> Iterator[str]:
    """The sections below an option, each under its path."""
    inner, path = _inner_section(get_type_hints(outer, include_extras=True)[name], path)
    if inner is None:
        return
    later = outer is MailClass and name in LATER_OF_A_CLASS
    about = " ".join((inner.__doc__ or "").split()) + (f" {_LATER_NOTE}" if later else "")
    yield f"\n### `{path}`\n\n{about}\n"
    yield _table(inner, tuple(inner.model_fields))
    for below in inner.model_fields:
        yield from _subsections(inner, below, f"{path}.{below}")


def _inner_section(annotation: Any, path: str) -> tuple[type[Options] | None, str]:
    kind = essence(annotation)
    if get_origin(kind) is Mapping:
        return _inner_section(get_args(kind)[1], f"{path}.NAME")
    if get_origin(kind) is tuple:
        return _inner_section(get_args(kind)[0], f"{path}[]")
    found = kind if isinstance(kind, type) and issubclass(kind, Options) else None
    return found, path


def _table(outer: type[Options], names: tuple[str, ...]) -> str:
    rows = ["", "| option | type | default | what it does |", "| --- | --- | --- | --- |"]
    hints = get_type_hints(outer, include_extras=True)
    for name in names:
        about = " ".join((outer.model_fields[name].description or "").split())
        if outer is Config and name in LATER:
            about += f" {_LATER_NOTE}"
        cells = (f"`{name}`", _words(hints[name]), _default(outer, name, hints[name]), about)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _words(annotation: Any) -> str:
    """What the reader may write there."""
    if kind := _kind(annotation):
        return kind.words
    inner = essence(annotation)
    arguments = get_args(inner)
    if get_origin(inner) is Literal:
        *most, last = (f"`{each}`" for each in arguments)
        return f"{', '.join(most)} or {last}"
    if get_origin(inner) is Mapping:
        return f"mapping from {_words(arguments[0])} to {_words(arguments[1])}"
    if get_origin(inner) is tuple:
        return f"list of {_words(arguments[0])}"
    return "section"


def _kind(annotation: Any) -> Kind | None:
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return next((each for each in more if isinstance(each, Kind)), None) or _kind(inner)
    if get_origin(annotation) in (Union, UnionType):
        return _kind(get_args(annotation)[0])
    return None


def _default(outer: type[Options], name: str, annotation: Any) -> str:
    field = outer.model_fields[name]
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None:
        as_global = outer is MailClass and name in Config.model_fields
        return "as global" if as_global else "none"
    if isinstance(value, Options):
        return "as below"
    kind = _kind(annotation)
    return f"`{kind.show(value) if kind and kind.show else _yaml(value)}`"


def _yaml(value: object) -> str:
    """A default in the notation of the file."""
    match value:
        case bool():
            return str(value).lower()
        case tuple():
            return f"[{', '.join(map(_yaml, value))}]"
        case Mapping():
            return f"{{{', '.join(value)}}}"
        case PurePath():
            return value.as_posix()
        case _:
            return str(value)


if __name__ == "__main__":
    sys.stdout.write(page())
