"""What click knows of a command, in the parts of a manual page.

Nothing here knows a notation: texts are as `--help` has them.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import click

from fletching.cli.main import main

_STATUS = re.compile(r"\s*Exit status (\d+: [^.]*)\.")


@dataclass(frozen=True, slots=True)
class Help:
    """A command. ``words`` call it, such as `mta pause`; ``usage`` follows them."""

    words: str
    usage: tuple[str, ...]
    summary: str
    paragraphs: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    examples: str
    statuses: Mapping[int, str]


def help_of(command: click.Command, words: str) -> Help:
    """The help of one command; of a group, without its subcommands."""
    # Without its parent, the command would keep a help option that has no -h.
    parent = click.Context(main, info_name="fletching", **main.context_settings)
    context = click.Context(command, info_name=words, parent=parent)
    records = (parameter.get_help_record(context) for parameter in command.get_params(context))
    examples = ""
    statuses: dict[int, str] = {}
    texts = []
    for block in re.split(r"\n\s*\n", inspect.cleandoc(command.help or "")):
        if block.startswith("\b"):
            examples = textwrap.dedent(block.partition(":\n")[2]).strip()
            continue
        text = " ".join(block.split())
        for found in _STATUS.finditer(text):
            statuses |= _meanings(found[1])
        texts.append(_STATUS.sub("", text).strip())
    summary, *paragraphs = texts
    return Help(
        words,
        tuple(command.collect_usage_pieces(context)),
        summary.removesuffix("."),
        tuple(text for text in paragraphs if text),
        tuple(record for record in records if record is not None and record[1]),
        examples,
        statuses,
    )


def _meanings(text: str) -> dict[int, str]:
    """`0: shown; 1: none`, by number."""
    found = re.findall(r"(\d+): (.*?)(?=; \d+: |$)", text)
    return {int(number): meaning for number, meaning in found}


def subcommands(command: click.Command, words: str) -> Iterator[Help]:
    """The helps of a group's commands, in the order of `--help`."""
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            yield help_of(command.commands[name], f"{words} {name}")
