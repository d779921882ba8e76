"""`fletching mta`: the VirtualMTAs, which are paused, and what they have used of their limits.

`paused.py` stores the pauses; `policy/route.py` decides what a pause means for a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from fletching import paused as file
from fletching.admin.asking import NoAnswer, asking, store
from fletching.config.conflict import nearest
from fletching.config.model import Config, VirtualMta
from fletching.source_addresses import vanished
from fletching.startup import stamp, zone
from fletching.usage import Use, unused, uses


class MtaError(Exception):
    """The command cannot be carried out. Says why."""


class Listing(NamedTuple):
    """``rows``: one per VirtualMTA. ``unknown``: why it is not known what is used of their limits,
    empty if it is."""

    rows: list[dict[str, Any]]
    unknown: str = ""


def listing(config: Config) -> Listing:
    """The VirtualMTAs, in the order of the configuration, with the limits of each in `limits`.

    Redis is asked only if there are limits. Raises MtaError.
    """
    now = stamp(zone(config)).time
    try:
        with asking():
            is_limited = any(mta.limited for mta in config.virtual_mtas.values())
            return Listing(_rows(config, uses(config, store(config), now) if is_limited else {}))
    except NoAnswer as error:
        return Listing(_rows(config, unused(config, now), known=False), str(error))


def _rows(
    config: Config, used: Mapping[str, tuple[Use, ...]], *, known: bool = True
) -> list[dict[str, Any]]:
    """``known``: whether the uses were counted."""
    now_paused, now_vanished = paused(config), vanished(config)
    return [
        {
            "name": mta.name,
            "transport": mta.transport,
            "relay": mta.relay,
            "pool": dict(mta.pool) if mta.pool is not None else None,
            "fallback": mta.fallback,
            "paused": mta.name.lower() in now_paused,
            "vanished": mta.name.lower() in now_vanished,
            "limits": [_limit(use, config, known) for use in used.get(mta.name, ())],
        }
        for mta in config.virtual_mtas.values()
    ]


def _limit(use: Use, config: Config, known: bool) -> dict[str, Any]:
    turns_over = datetime.fromtimestamp(use.turns_over, zone(config)).astimezone(zone(config))
    return {
        "period": use.period,
        "per": "all" if use.provider is None else "provider",
        "provider": use.provider or None,
        "used": use.used if known else None,
        "cap": use.cap,
        "turns_over": turns_over.isoformat(),
    }


def paused(config: Config) -> frozenset[str]:
    """The names of the paused VirtualMTAs, in lower case. Raises MtaError."""
    try:
        return file.read(config.state_dir)
    except OSError as error:
        raise MtaError(f"{file.path(config.state_dir)}: {error.strerror}") from None


def pause(config: Config, name: str, stop: bool) -> str:
    """Pauses or resumes a VirtualMTA. Returns its new state as a sentence. Raises MtaError."""
    mta = _single(config, name)
    try:
        file.change(config.state_dir, mta.name, pause=stop)
    except OSError as error:
        raise MtaError(f"{file.path(config.state_dir)}: {error.strerror}") from None
    if not stop:
        return f"{mta.name} is active"
    if mta.fallback is not None:
        return f"{mta.name} is paused: pools skip it; other mail for it uses {mta.fallback}"
    return f"{mta.name} is paused: pools skip it; other mail for it gets 451 (no fallback)"


def _single(config: Config, name: str) -> VirtualMta:
    mta = config.virtual_mta(name)
    if mta is None:
        raise MtaError(f"{name}: unknown VirtualMTA: {nearest(name, config.virtual_mtas)}")
    if mta.pool is not None:
        raise MtaError(f"{mta.name}: is a pool: pause its members, {', '.join(mta.pool)}")
    return mta
