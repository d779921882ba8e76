"""What the demonstration shows: one mail before and after, its campaign, and the findings."""

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
    """Two texts, equal lines beside each other, what is only on one side in colour."""
    table = Table("as submitted", "as it arrived", title=title, title_justify="left", expand=True)
    for (left, left_new), (right, right_new) in _paired(before, after):
        table.add_row(
            Text(left, style="red" if left_new else "", overflow="fold"),
            Text(right, style="green" if right_new else "", overflow="fold"),
        )
    console.print(table)


def facts(console: Console, title: str, rows: Iterable[tuple[str, str]]) -> None:
    """Names and values."""
    table = Table("", "", title=title, title_justify="left", show_header=False, expand=True)
    table.columns[0].no_wrap = True
    for name, value in rows:
        table.add_row(Text(name), Text(value, overflow="fold"))
    console.print(table)


def events(console: Console, title: str, told: Iterable[Mapping[str, object]]) -> None:
    """The first event of each kind, in the names that a webhook gets."""
    first = {(each["event_type"], each.get("is_bot")): each for each in reversed([*told])}
    names = ("event_type", "email", "message_number", "mtaid", "is_bot", "bot_reason", "click_url")
    table = Table(*names, title=title, title_justify="left", expand=True)
    for each in reversed(first.values()):
        table.add_row(*(Text(str(each.get(name, "")), overflow="fold") for name in names))
    console.print(table)


def findings(console: Console, checked: Sequence[tuple[str, bool]]) -> bool:
    """One line a check; whether all hold."""
    for what, holds in checked:
        mark = Text("ok  ", style="green") if holds else Text("NOT ", style="bold red")
        console.print(mark + Text(what))
    return all(holds for _, holds in checked)


def header_lines(raw: bytes) -> list[str]:
    """The header of a mail, line by line."""
    block = raw.partition(b"\r\n\r\n")[0]
    return block.decode("utf-8", "replace").split("\r\n")


def links(raw: bytes) -> list[str]:
    """The destinations of the HTML part, in order, as a reader's program would read them."""
    message = message_from_bytes(raw, policy=policy.default)
    part = message.get_body(("html",))
    html = part.get_content() if part is not None else ""
    found = re.findall(r"<a\b[^>]*?\shref=\"([^\"]*)\"", str(html))
    return [link.replace("&amp;", "&") for link in found]


def arrived(mail: SunkMail) -> bytes:
    """The mail without Postfix's Received."""
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
