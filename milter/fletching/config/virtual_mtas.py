"""The options of a VirtualMTA: a transport of Postfix, a relay, or a pool of others.

Declared as in `model.py`. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal

from pydantic import PrivateAttr, model_validator

from fletching.config.fields import (
    Different,
    Empty,
    Frozen,
    Host,
    IpAddress,
    MtaName,
    Service,
    Several,
    Weight,
)
from fletching.config.limits import Limits, OverLimit, Warmup
from fletching.config.next_hop import NextHop
from fletching.config.sections import Options, lack


class VirtualMta(Options):
    """A Postfix transport, or a pool of VirtualMTAs that share the mail.

    Exactly one of `transport` and `pool` must be set. A transport with `relay` sends all its mail
    through that server.
    """

    transport: Service | None = None
    """The Postfix transport: the name of a service in master.cf."""
    address: IpAddress | None = None
    """The source address of the transport (`fletching postfix` writes it)."""
    helo: Host | None = None
    """The EHLO name of the transport (`fletching postfix` writes it)."""
    relay: NextHop | None = None
    """The server that gets all mail of this VirtualMTA; default: the MX hosts of each recipient's
    domain."""
    fallback_relay: Annotated[tuple[NextHop, ...], Several, Different] = ()
    """The servers that get the mail if `relay` cannot be reached (`fletching postfix` writes
    them)."""
    fallback: MtaName | None = None
    """The VirtualMTA that gets the mail while this one is paused or over its limit; it must not be
    a pool."""
    limits: Annotated[Limits, Empty] | None = None
    """The most recipients in an hour and in a day."""
    warmup: Annotated[Warmup, Empty] | None = None
    """A limit that grows from day to day."""
    over_limit: OverLimit | None = None
    """What to do with mail for which neither this VirtualMTA nor its fallback has room: reply 451,
    so that the application tries again, or let Postfix choose the transport; default: `tempfail`.
    A pool without it takes that of the first member without room."""
    pool: Annotated[Mapping[MtaName, Weight], Frozen] | None = None
    """Instead of a transport: the VirtualMTAs that share the mail, each with its weight."""
    sticky: Literal["message", "campaign", "recipient_domain"] = "message"
    """What determines the pool member: each message separately, the SendID, or the recipient's
    domain."""

    _name: str = PrivateAttr("")

    @cached_property
    def name(self) -> str:
        """The name as configured."""
        return self._name

    @model_validator(mode="after")
    def _one_kind(self) -> VirtualMta:
        if self.transport is None and self.pool is None:
            raise lack("has neither transport nor pool: must have exactly one of them")
        if self.transport is not None and self.pool is not None:
            raise ValueError("has both transport and pool: must have exactly one of them")
        if self.pool is not None and not self.pool:
            raise lack("empty pool: must name at least one VirtualMTA")
        wrong = {"sticky"} if self.pool is None else _OF_A_TRANSPORT
        if wrong := wrong & self.model_fields_set:
            kind = "a single VirtualMTA" if self.pool is None else "a pool"
            raise ValueError(f"{kind} must not have {' or '.join(sorted(wrong))}")
        if self.fallback_relay and self.relay is None:
            raise lack("has fallback_relay, but no relay: must have both")
        return self

    @cached_property
    def route(self) -> str:
        """The transport and its next hop, as in Postfix's transport(5); empty for a pool."""
        if self.transport is None:
            return ""
        return self.transport if self.relay is None else f"{self.transport}:{self.relay}"

    @property
    def limited(self) -> bool:
        """Whether there may be no room for a mail."""
        return self.limits is not None or self.warmup is not None


_OF_A_TRANSPORT = frozenset({"address", "helo", "relay", "fallback_relay", "limits", "warmup"})
