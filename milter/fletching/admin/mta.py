"""`fletching mta`: the VirtualMTAs, and which are paused.

`paused.py` stores the pauses; `policy/route.py` decides what a pause means for a message.
"""

from __future__ import annotations

from typing import Any

from fletching import paused as file
from fletching.config.conflict import nearest
from fletching.config.model import Config, VirtualMta


class MtaError(Exception):
    """The command cannot be carried out. Says why."""


def rows(config: Config) -> list[dict[str, Any]]:
    """One row per VirtualMTA, in the order of the configuration."""
    now_paused = paused(config)
    return [
        {
            "name": mta.name,
            "transport": mta.transport,
            "pool": dict(mta.pool) if mta.pool is not None else None,
            "fallback": mta.fallback,
            "paused": mta.name.lower() in now_paused,
        }
        for mta in config.virtual_mtas.values()
    ]


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
