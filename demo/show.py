"""The output of the demo: one mail before and after, its campaign, events, and the checks."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from email import message_from_bytes, policy

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sandbox.sinks import SunkMail


def side_by_side(console: Console, title: str, before: Sequence[str], after: Sequence[str]) -> None:
    """Print two texts in two columns; lines that are on one side only have a color."""
    table = Table("as submitted", "as delivered", title=title, title_justify="left", expand=True)
    for (left, left_new), (right, right_new) in _paired(before, after):
        table.add_row(
            Text(left, style="red" if left_new else "", overflow="fold"),
            Text(right, style="green" if right_new else "", overflow="fold"),
        )
    console.print(table)


def facts(console: Console, title: str, rows: Iterable[tuple[str, str]]) -> None:
    """Print a table of names and values."""
    table = Table("", "", title=title, title_justify="left", show_header=False, expand=True)
    table.columns[0].no_wrap = True
    for name, value in rows:
        table.add_row(Text(name), Text(value, overflow="fold"))
    console.print(table)


def events(console: Console, title: str, received: Iterable[Mapping[str, object]]) -> None:
    """Print the first event of each type, with the field names that a webhook gets."""
    first = {(each["event_type"], each.get("is_bot")): each for each in reversed([*received])}
    names = (
        *("event_type", "email", "message_number", "mtaid", "is_bot", "bot_reason"),
        *("bounce_reason", "click_url"),
    )
    table = Table(*names, title=title, title_justify="left", expand=True)
    for each in reversed(first.values()):
        table.add_row(*(Text(str(each.get(name, "")), overflow="fold") for name in names))
    console.print(table)


def results(console: Console, checks: Sequence[tuple[str, bool]]) -> bool:
    """Print one line per check, and return whether all passed."""
    for text, passed in checks:
        verdict = Text("ok    ", style="green") if passed else Text("FAIL  ", style="bold red")
        console.print(verdict + Text(text))
    return all(passed for _, passed in checks)


def header_lines(raw: bytes) -> list[str]:
    """The lines of a mail's header."""
    block = raw.partition(b"\r\n\r\n")[0]
    return block.decode("utf-8", "replace").split("\r\n")


def links(raw: bytes) -> list[str]:
    """The destinations of the HTML part's links, in order, as a mail program reads them."""
    message = message_from_bytes(raw, policy=policy.default)
    part = message.get_body(("html",))
    html = part.get_content() if part is not None else ""
    found = re.findall(r"<a\b[^>]*?\shref=\"([^\"]*)\"", str(html))
    return [link.replace("&amp;", "&") for link in found]


def without_received(mail: SunkMail) -> bytes:
    """The delivered mail without Postfix's Received header."""
    return mail.below_received


def _paired(
    before: Sequence[str], after: Sequence[str]
) -> Iterable[tuple[tuple[str, bool], tuple[str, bool]]]:
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for kind, start, end, other_start, other_end in matcher.get_opcodes():
        left, right = before[start:end], after[other_start:other_end]
        for at in range(max(len(left), len(right))):
            changed = kind != "equal"
            yield (
                (left[at], changed) if at < len(left) else ("", False),
                (right[at], changed) if at < len(right) else ("", False),
            )
