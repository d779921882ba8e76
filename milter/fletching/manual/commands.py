"""The pages of section 8: fletching(8), and one for each command, with its subcommands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import click

from fletching.cli.main import main
from fletching.cli.options import DEFAULT_CONFIG
from fletching.config.model import Config
from fletching.manual import roff
from fletching.manual.help_texts import Help, help_of, subcommands
from fletching.manual.page import Page

SECTION = 8
CONFIGURATION = ("fletching.yaml", 5)
_NAMES = tuple(main.list_commands(click.Context(main)))


def pages() -> Iterator[Page]:
    """All pages of commands, fletching(8) first."""
    yield Page("fletching", SECTION, _main_page())
    for name in _NAMES:
        yield Page(_page(name), SECTION, _command_page(name, main.commands[name]))


def _page(name: str) -> str:
    return f"fletching-{name}"


def _main_page() -> str:
    top = help_of(main, "")
    return "".join(
        (
            _name("fletching", top),
            roff.heading("SYNOPSIS") + _synopsis(top),
            roff.heading("DESCRIPTION"),
            roff.paragraphs(map(roff.markdown, [f"{top.summary}.", *top.paragraphs])),
            roff.heading("COMMANDS"),
            *(_listed(name, main.commands[name]) for name in _NAMES),
            roff.heading("OPTIONS") + _options(top.options),
            _ends(top.statuses, top.examples),
            _see_also(),
        )
    )


def _listed(name: str, command: click.Command) -> str:
    below = [each.words.split()[-1] for each in subcommands(command, name)]
    about = f"{help_of(command, name).summary}."
    text = roff.markdown(about)
    if below:
        text += f" Commands: {', '.join(map(roff.bold, below))}."
    return roff.entry(roff.reference(_page(name), SECTION), text)


def _command_page(name: str, command: click.Command) -> str:
    top = help_of(command, name)
    below = tuple(subcommands(command, name))
    # A group that does nothing by itself has no usage of its own.
    is_called = not below or getattr(command, "invoke_without_command", False)
    used = [*([top] if is_called else []), *below]
    statuses = {**help_of(main, "").statuses, **({} if below else top.statuses)}
    shown = top if is_called else below[0]
    shared = [each for each in shown.options if all(each in one.options for one in below)]
    examples = "\n".join(dict.fromkeys(each.examples for each in (top, *below)))
    about = roff.paragraphs(map(roff.markdown, [f"{top.summary}.", *top.paragraphs]))
    return "".join(
        (
            _name(_page(name), top),
            roff.heading("SYNOPSIS") + ".br\n".join(map(_synopsis, used)),
            roff.heading("DESCRIPTION") + about,
            roff.heading("COMMANDS") if below else "",
            *(_subcommand(each, shared) for each in below),
            roff.heading("OPTIONS") + _options(top.options if is_called else shared),
            _ends(dict(sorted(statuses.items())), examples),
            _see_also(("fletching", SECTION)),
        )
    )


def _name(page: str, help_: Help) -> str:
    summary = help_.summary[0].lower() + help_.summary[1:]
    return f"{roff.heading('NAME')}{roff.literal(page)} \\- {roff.markdown(summary)}\n"


def _synopsis(help_: Help) -> str:
    called = roff.bold(f"fletching {help_.words}".strip())
    return roff.lines(f"{called} {' '.join(map(roff.italic, help_.usage))}") + "\n"


def _subcommand(help_: Help, shared: Sequence[tuple[str, str]]) -> str:
    """``shared``: options that the page has elsewhere."""
    texts = [f"{help_.summary}.", *help_.paragraphs]
    if help_.statuses:
        listed = "; ".join(f"{number}: {text}" for number, text in help_.statuses.items())
        texts.append(f"Exit status {listed}.")
    words = " ".join(("fletching", help_.words, *help_.usage))
    own = [each for each in help_.options if each not in shared]
    return roff.subheading(words) + roff.paragraphs(map(roff.markdown, texts)) + _options(own)


def _options(options: Iterable[tuple[str, str]]) -> str:
    return "".join(
        roff.entry(_term(names), roff.markdown(" ".join(about.split()))) for names, about in options
    )


def _term(names: str) -> str:
    """`-h, --help` or `--config FILE`: names bold, values italic."""
    words = (roff.bold(word) if word[0] == "-" else roff.italic(word) for word in names.split())
    return " ".join(words)


def _ends(statuses: Mapping[int, str], examples: str) -> str:
    parts = [roff.heading("EXIT STATUS")]
    parts += [
        roff.entry(roff.bold(str(number)), roff.markdown(f"{meaning[0].upper()}{meaning[1:]}."))
        for number, meaning in statuses.items()
    ]
    parts += [roff.heading("ENVIRONMENT"), *(roff.entry(*each) for each in _environment())]
    parts += [roff.heading("FILES"), *(roff.entry(*each) for each in _files())]
    if examples:
        parts += [roff.heading("EXAMPLES"), roff.example(examples)]
    return "".join(parts)


def _environment() -> Iterable[tuple[str, str]]:
    yield (
        roff.bold("FLETCHING_CONFIG"),
        f"The configuration file, if there is no {roff.bold('--config')}.",
    )


def _files() -> Iterable[tuple[str, str]]:
    yield roff.italic(DEFAULT_CONFIG), f"The configuration: {roff.reference(*CONFIGURATION)}."
    state = Config.model_fields["state_dir"]
    yield (
        roff.italic(str(state.default)),
        roff.markdown(" ".join((state.description or "").split())),
    )


def _see_also(*others: tuple[str, int]) -> str:
    named = [roff.reference(*each) for each in (*others, CONFIGURATION)]
    return f"{roff.heading('SEE ALSO')}{roff.lines(', '.join(named))}\n"
