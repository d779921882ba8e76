"""Commands of Fletching, run in this process: a process of its own costs each a third of a second.

That each works as a process is tested where the commands are.
"""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner
from fletching.cli.main import main


def output(config: Path, *words: str, given: bytes = b"") -> str:
    """The output of a command with this configuration; an error if it fails."""
    result = CliRunner().invoke(main, [*words, "--config", str(config)], input=given)
    assert result.exit_code == 0, f"{words}: exit {result.exit_code}: {result.stderr}"
    return result.stdout
