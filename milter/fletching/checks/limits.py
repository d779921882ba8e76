"""Checks for limits of VirtualMTAs that stop mail, or that Redis could forget. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from fletching.checks.finding import Finding, warning
from fletching.config.model import Config
from fletching.config.virtual_mtas import VirtualMta


def check_limits(config: Config, today: date) -> Iterator[Finding]:
    """All findings. ``today``: in the configuration's time zone."""
    waiting = {
        mta.name.lower()
        for mta in config.virtual_mtas.values()
        if mta.warmup is not None and mta.warmup.since > today
    }
    for mta in config.virtual_mtas.values():
        place = f"virtual_mtas.{mta.name}"
        if mta.warmup is not None and mta.name.lower() in waiting:
            yield warning(
                f"{place}.warmup.since",
                f"is in the future: {mta.name} gets no mail before {mta.warmup.since}",
            )
        elif _is_lower(mta):
            yield warning(
                f"{place}.limits",
                "hour is not lower than day, so it has no effect",
            )
        if mta.pool is not None and {name.lower() for name in mta.pool} <= waiting:
            hint = "" if mta.fallback is None else f", and all mail goes to {mta.fallback}"
            yield warning(
                f"{place}.pool",
                f"no member can have room today, since the warm-up of each begins later{hint}",
            )


def _is_lower(mta: VirtualMta) -> bool:
    """Whether the limit of a day is always reached before that of an hour."""
    limits = mta.limits
    return (
        limits is not None
        and limits.hour is not None
        and limits.day is not None
        and limits.hour >= limits.day
    )
