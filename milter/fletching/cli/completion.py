"""Names from the configuration that the shell offers when somebody presses Tab.

Each function is a `shell_complete` of click. A configuration that cannot be loaded has no names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fletching.cli.options import DEFAULT_CONFIG

if TYPE_CHECKING:
    from fletching.config.model import Config

Completion = Callable[[click.Context, click.Parameter, str], list[str]]


def _names(of: Callable[[Config], Iterable[str]]) -> Completion:
    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        from fletching.config.load import ConfigError, load

        try:
            config = load(Path(context.params.get("config_path") or DEFAULT_CONFIG))
        except (ConfigError, OSError):
            return []
        return sorted({name for name in of(config) if name.startswith(incomplete)})

    return complete


def _destinations(config: Config) -> Iterable[str]:
    return (each.name for each in config.events.destinations) if config.events else ()


virtual_mtas = _names(
    lambda config: [name for name, each in config.virtual_mtas.items() if each.pool is None]
)
"""VirtualMTAs, without pools, which cannot be paused."""

destinations = _names(_destinations)
mail_classes = _names(lambda config: config.mail_classes)
list_ids = _names(lambda config: [c.list_id for c in config.mail_classes.values() if c.list_id])
dkim_domains = _names(
    lambda config: [key.domain for key in config.dkim.keys] if config.dkim else ()
)
