"""The manual pages: man and mandoc accept them, and they name every command and every option."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import click
import pytest
from fletching.cli.main import main
from fletching.config.reference import GROUPS, tables
from fletching.manual import roff
from fletching.manual.__main__ import write

from sandbox.processes import program

pytestmark = pytest.mark.slow

COMMANDS = sorted(main.commands)
FILES = ["fletching.8", "fletching.yaml.5", *(f"fletching-{name}.8" for name in COMMANDS)]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("manual") / "man"
    write(directory, date(2026, 12, 1))
    return directory


def rendered(file: Path) -> str:
    """What `man` shows, without bold and underlined letters, in one paragraph."""
    argv = [program("man", "man-db"), "--encoding=utf8", "--local-file", str(file)]
    environment = {"MANWIDTH": "200", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(argv, env=environment, capture_output=True, check=True, timeout=60)
    return " ".join(re.sub(r".\x08", "", done.stdout.decode()).split())


def test_one_page_for_each_command(pages: Path) -> None:
    assert sorted(file.name for file in pages.iterdir()) == sorted(FILES)


def test_man_and_mandoc_accept_every_page(pages: Path) -> None:
    environment = {"MANWIDTH": "80", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}
    lint = [program("mandoc", "mandoc"), "-T", "lint", "-W", "warning"]
    found = subprocess.run([*lint, *pages.iterdir()], capture_output=True, text=True, check=False)
    assert found.stdout + found.stderr == ""
    for file in pages.iterdir():
        argv = [program("man", "man-db"), "--warnings", "--local-file", str(file)]
        done = subprocess.run(argv, env=environment, capture_output=True, check=True, timeout=60)
        assert done.stderr == b"", file.name


def test_lexgrog_reads_the_name_of_every_page(pages: Path) -> None:
    """As mandb does, for whatis(1) and apropos(1)."""
    argv = [program("lexgrog", "man-db"), *map(str, sorted(pages.iterdir()))]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(FILES)
    for line in lines:
        assert re.fullmatch(r'.*/(\S+)\.[58]: "\1 - [a-zA-Z].*[^.]"', line), line


def options(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield from parameter.opts
    if isinstance(command, click.Group):
        for below in command.commands.values():
            yield from options(below)


@pytest.mark.parametrize("name", COMMANDS)
def test_page_of_a_command_has_all_its_options_and_commands(name: str, pages: Path) -> None:
    text = rendered(pages / f"fletching-{name}.8")
    command = main.commands[name]
    for option in options(command):
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", text), option
    for below in getattr(command, "commands", {}):
        assert f"fletching {name} {below} " in text
    parts = ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "FILES", "EXAMPLES")
    for part in (*parts, "SEE ALSO"):
        assert f" {part} " in text


def test_main_page_names_all_commands(pages: Path) -> None:
    text = rendered(pages / "fletching.8")
    for name in COMMANDS:
        assert f"fletching-{name}(8)" in text


def test_page_of_the_configuration_has_all_options(pages: Path) -> None:
    text = rendered(pages / "fletching.yaml.5")
    for names in GROUPS.values():
        for table in tables(names):
            section = f" {table.path} " if table.path else ""
            assert section in text
            for option in table.options:
                assert re.search(rf" {re.escape(option.name)} [A-Z]", text), option.name
                plain = re.sub(r"\[([^]]+)]\([^)]*\)", r"\1", option.about)
                assert re.sub(r"`+|\*\*", "", plain) in text, option.name


def test_output_depends_on_the_day_only(pages: Path, tmp_path: Path) -> None:
    write(tmp_path, date(2026, 12, 1))
    for file in tmp_path.iterdir():
        assert file.read_bytes() == (pages / file.name).read_bytes()


def test_day_is_that_of_source_date_epoch(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "fletching.manual", str(tmp_path)]
    environment = {"SOURCE_DATE_EPOCH": "0"}
    subprocess.run(argv, env=environment, check=True)
    assert '"1970-01-01"' in (tmp_path / "fletching.8").read_text().splitlines()[0]


@pytest.mark.parametrize(
    "text",
    [
        ".TH is a request\n'so is this",
        "a\\b \\fBc\\e \\(aq \\n(.k",
        "--since=`x` 'quoted' \"double\" ^~ a-b -c",
        "\\.\n\n.\n'",
    ],
    ids=["requests", "backslashes", "signs", "dots"],
)
def test_texts_are_shown_as_they_are(text: str, tmp_path: Path) -> None:
    file = tmp_path / "x.8"
    source = roff.title("x", 8, "2026-12-01", "1") + roff.heading("NAME") + "x \\- x\n"
    file.write_text(source + roff.heading("EXAMPLES") + roff.example(text))
    assert " ".join(text.split()) in rendered(file)


def test_running_text_in_markdown(tmp_path: Path) -> None:
    text = "See [bots](bots.md), **all** of `a-b`; \\e and --since stay."
    file = tmp_path / "x.8"
    source = roff.title("x", 8, "2026-12-01", "1") + roff.heading("NAME") + "x \\- x\n"
    file.write_text(source + roff.heading("DESCRIPTION") + roff.paragraphs([roff.markdown(text)]))
    assert "See bots, all of a-b; \\e and --since stay." in rendered(file)
