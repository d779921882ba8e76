"""What looks like a mistake in the actions of rules. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fletching.config.conflict import Conflict
from fletching.config.model import Config

_NOT_ROUTED = (
    "mail with these recipients is sent by a VirtualMTA only if Postfix names an outbound transport"
    " for another recipient in their domain; if none of them is local, add unknown to"
    " routed_mailers, or use route_by: sender"
)


def doubts(config: Config) -> Iterator[Conflict]:
    """Rules whose recipients keep mail from being routed (docs/actions.md, "Routing")."""
    if not config.virtual_mtas or config.route_by == "sender":
        return
    if "unknown" in config.routed_mailers:
        return
    for number, rule in enumerate(config.rules):
        for name in ("redirect", "bcc"):
            if rule.do is not None and getattr(rule.do, name) is not None:
                yield Conflict(("rules", number, "do", name), _NOT_ROUTED)
