"""The page fletching.yaml(5): every option, as docs/configuration.md has it."""

from __future__ import annotations

from fletching.cli.options import DEFAULT_CONFIG
from fletching.config.reference import EXAMPLE, GROUPS, RULES_OF_THE_FILE, Option, Table, tables
from fletching.manual import roff
from fletching.manual.page import Page

NAME, SECTION = "fletching.yaml", 5


def page() -> Page:
    """The whole page."""
    parts = [
        roff.heading("NAME"),
        f"{roff.literal(NAME)} \\- configuration of Fletching\n",
        roff.heading("SYNOPSIS"),
        roff.italic(DEFAULT_CONFIG) + "\n",
        roff.heading("DESCRIPTION"),
        roff.paragraphs(map(roff.markdown, RULES_OF_THE_FILE)),
    ]
    for title, names in GROUPS.items():
        parts.append(roff.heading(title.upper()))
        parts += map(_shown, tables(names))
    parts += [
        roff.heading("FILES"),
        roff.entry(roff.italic(DEFAULT_CONFIG), "The default path of the file."),
        roff.heading("EXAMPLES"),
        roff.example(EXAMPLE),
        roff.heading("SEE ALSO"),
        f"{roff.reference('fletching', 8)}, {roff.reference('fletching-check', 8)}\n",
    ]
    return Page(NAME, SECTION, "".join(parts))


def _shown(table: Table) -> str:
    opening = ""
    if table.path:
        opening = roff.subheading(table.path) + f"{roff.lines(roff.markdown(table.about))}\n"
    return opening + "".join(map(_option, table.options))


def _option(option: Option) -> str:
    default = option.default
    known = default if default in ("required", "as below") else f"default: {default}"
    about = f"{option.about} ({option.values}; {known})"
    return roff.entry(roff.bold(option.name), roff.markdown(about))
