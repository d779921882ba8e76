"""The options of a VirtualMTA: a transport of Postfix, or a pool of others.

Declared as in `model.py`. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal

from pydantic import PrivateAttr, model_validator

from fletching.config.fields import Frozen, Host, IpAddress, MtaName, Service, Weight
from fletching.config.sections import Options, lack


class VirtualMta(Options):
    """A Postfix transport, or a pool of VirtualMTAs that share the mail.

    Exactly one of `transport` and `pool` must be set.
    """

    transport: Service | None = None
    """The Postfix transport: the name of a service in master.cf."""
    address: IpAddress | None = None
    """The source address of the transport (`fletching postfix` writes it)."""
    helo: Host | None = None
    """The EHLO name of the transport (`fletching postfix` writes it)."""
    fallback: MtaName | None = None
    """The VirtualMTA that gets the mail while this one is paused; it must not be a pool."""
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
        wrong = {"sticky"} if self.pool is None else {"address", "helo", "fallback"}
        if wrong := wrong & self.model_fields_set:
            kind = "a single VirtualMTA" if self.pool is None else "a pool"
            raise ValueError(f"{kind} must not have {' or '.join(sorted(wrong))}")
        return self
