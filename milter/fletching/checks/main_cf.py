"""Checks main.cf for parameters that are set twice: Postfix uses only the last setting.

Reads main.cf itself (postconf(5): logical lines), because postconf(1) shows only the last setting.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fletching.checks.finding import Finding, error
from fletching.config.model import Config
from fletching.postfix.postconf import Installed, lines
from fletching.postfix.settings import pieces

_OURS = "$fletching_milter"
_LISTS = (
    *("smtpd_milters", "non_smtpd_milters"),
    *("milter_header_checks", "sender_dependent_default_transport_maps"),
)


def check_main_cf(config: Config, postfix: Installed) -> Iterator[Finding]:
    """A finding for each of our parameters that has two different values."""
    path = Path(postfix.parameters["config_directory"]) / "main.cf"
    try:
        text = path.read_text("utf-8", "replace")
        ours = {name for name, _, _ in _assignments(pieces(config).main_cf)}
    except (OSError, ValueError):
        return  # already reported
    last = {name: (number, value) for name, number, value in _assignments(text)}
    for name, number, value in _assignments(text):
        final, used = last[name]
        if name in ours and number != final and value and value != used:
            # Milters that change mail must come before us, since we sign it.
            both = (used, value) if _OURS in value else (value, used)
            kept = ", ".join(both) if name in _LISTS else used
            yield error(
                f"{path}:{number}",
                f"{name} = {value} has no effect: line {final} sets it again; write one line,"
                f" such as: {name} = {kept}",
            )


def _assignments(text: str) -> Iterator[tuple[str, int, str]]:
    """Name, line number and value of each logical line."""
    found: list[tuple[int, str]] = []
    for number, line in enumerate(lines(text), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0].isspace() and found:
            start, before = found[-1]
            found[-1] = (start, f"{before} {line.strip()}")
        else:
            found.append((number, line))
    for number, line in found:
        name, sign, value = line.partition("=")
        if sign:
            yield name.strip(), number, " ".join(value.split())
