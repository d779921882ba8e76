"""`fletching mta`: the VirtualMTAs, which are paused, and what they have used of their limits.

`paused.py` stores the pauses; `policy/route.py` decides what a pause means for a message.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fletching import paused as file
from fletching.admin.asking import asking, store
from fletching.config.conflict import nearest
from fletching.config.model import Config, VirtualMta
from fletching.source_addresses import vanished
from fletching.startup import stamp, zone
from fletching.usage import Use, uses


class MtaError(Exception):
    """The command cannot be carried out. Says why."""


def rows(config: Config) -> list[dict[str, Any]]:
    """One row per VirtualMTA, in the order of the configuration, with its limits in `limits`.

    Redis is asked only if there are limits. Raises MtaError and NoAnswer.
    """
    now_paused, now_vanished = paused(config), vanished(config)
    used: dict[str, tuple[Use, ...]] = {}
    if any(mta.limited for mta in config.virtual_mtas.values()):
        with asking():
            used = uses(config, store(config), stamp(zone(config)).time)
    return [
        {
            "name": mta.name,
            "transport": mta.transport,
            "relay": mta.relay,
            "pool": dict(mta.pool) if mta.pool is not None else None,
            "fallback": mta.fallback,
            "paused": mta.name.lower() in now_paused,
            "vanished": mta.name.lower() in now_vanished,
            "limits": [_limit(use, config) for use in used.get(mta.name, ())],
        }
        for mta in config.virtual_mtas.values()
    ]


def _limit(use: Use, config: Config) -> dict[str, Any]:
    turns_over = datetime.fromtimestamp(use.turns_over, zone(config)).astimezone(zone(config))
    return {
        "period": use.period,
        "per": "all" if use.provider is None else "provider",
        "provider": use.provider or None,
        "used": use.used,
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
    before = paused(config)
    after = before | {mta.name.lower()} if stop else before - {mta.name.lower()}
    if after != before:
        try:
            file.write(config.state_dir, after)
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
