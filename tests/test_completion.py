"""Completion in a real bash, with the file of deploy/bash-completion."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.host import Host

pytestmark = pytest.mark.slow

SHIPPED = Path(__file__).parent.parent / "deploy/bash-completion/fletching"
PROGRAM = Path(sys.executable).with_name("fletching")

# As bash does when somebody presses Tab: the line's words, and the function that is registered.
PRESS_TAB = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
compopt() { :; }
read -r _ _ _ _ function _ < <(complete -p fletching)
$function fletching "${COMP_WORDS[COMP_CWORD]}" ""
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def completed(*words: str, config: Path | None = None) -> list[str]:
    """What Tab offers for the last word."""
    environment = {**os.environ, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"}
    if config is not None:
        environment["FLETCHING_CONFIG"] = str(config)
    done = subprocess.run(
        ["bash", "--norc", "-c", PRESS_TAB, "bash", str(SHIPPED), "fletching", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_file_is_what_click_makes() -> None:
    """If this fails: the file says by which command it is made."""
    environment = {**os.environ, "_FLETCHING_COMPLETE": "bash_source"}
    made = subprocess.run([PROGRAM], env=environment, capture_output=True, text=True, check=True)
    text = SHIPPED.read_text()
    assert "\n".join(line for line in text.splitlines() if not line.startswith("#")).strip() == (
        made.stdout.strip()
    )


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["mta", ""], ["list", "pause", "resume"]),
        (["co"], ["courier"]),
        (["check", "--da"], ["--daemon"]),
        (["check", "--daemon", "l"], ["lmtp", "logtail"]),
    ],
    ids=["commands of a group", "command", "option", "values of an option"],
)
def test_tab_completes(words: list[str], offered: list[str]) -> None:
    assert completed(*words) == offered


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["mta", "pause", ""], ["a", "b"]),
        (["mta", "resume", "b"], ["b"]),
        (["events", "--replay", ""], ["crm"]),
        (["events", "dead", "c"], ["crm"]),
        (["stats", "--class", "n"], ["newsletter"]),
        (["suppression", "list", ""], ["t100"]),
        (["dkim", "record", "ex"], ["example.com"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_tab_completes_names_of_the_configuration(
    words: list[str], offered: list[str], host: Host
) -> None:
    host.edit("state_dir:", "events: {destinations: [{name: crm, file: x.jsonl}]}\nstate_dir:")
    assert completed(*words, config=host.config) == offered


def test_tab_completes_after_the_option_config(host: Host) -> None:
    assert completed("mta", "pause", "--config", str(host.config), "b") == ["b"]


def test_tab_with_a_broken_configuration_offers_nothing(host: Host) -> None:
    host.config.write_text("nonsense: [")
    assert completed("mta", "pause", "", config=host.config) == []
