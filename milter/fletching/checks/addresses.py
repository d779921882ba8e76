"""Checks that mail of VirtualMTAs leaves with their configured addresses and EHLO names.

Compares the options with this host's addresses and with Postfix's transports.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

from fletching.checks.finding import Finding, error
from fletching.config.model import Config, VirtualMta
from fletching.postfix.postconf import Installed, Service
from fletching.source_addresses import is_here

PARAMETERS = (
    *("smtp_bind_address", "smtp_bind_address6", "smtp_bind_address_enforce"),
    "smtp_helo_name",
)


def check_addresses(config: Config, postfix: Installed) -> Iterator[Finding]:
    """A finding for each VirtualMTA whose mail leaves with another address or name, or waits."""
    for mta in config.virtual_mtas.values():
        service = postfix.service(mta.transport) if mta.transport is not None else None
        if service is None:
            continue  # a pool, or already reported
        if mta.address is not None:
            yield from _address(mta, str(mta.address), postfix, service)
        greets = postfix.value("smtp_helo_name", service)
        if mta.helo is not None and greets.lower() != mta.helo.lower():
            yield _differs(mta, "helo", mta.helo, "smtp_helo_name", greets)


def _address(
    mta: VirtualMta, address: str, postfix: Installed, service: Service
) -> Iterator[Finding]:
    if not is_here(address):
        enforced = postfix.value("smtp_bind_address_enforce", service) == "yes"
        yield error(
            f"virtual_mtas.{mta.name}.address",
            f"{address} is not an address of this host, so mail of {mta.transport}"
            f" {'waits in the queue' if enforced else 'leaves from another address'}: add it"
            f" to an interface (ip address add {address} dev INTERFACE), or change the option",
        )
    parameter = f"smtp_bind_address{'6' if ':' in address else ''}"
    bound = postfix.value(parameter, service)
    if _packed(bound) != _packed(address):
        yield _differs(mta, "address", address, parameter, bound)


def _differs(mta: VirtualMta, option: str, wanted: str, parameter: str, there: str) -> Finding:
    return error(
        f"master.cf {mta.transport}",
        f"{parameter} is {there or 'empty'}, but virtual_mtas.{mta.name}.{option} is {wanted}:"
        " Postfix uses the value in master.cf; change one of them (`fletching postfix --install`"
        " writes the service)",
    )


def _packed(address: str) -> bytes:
    """An address in binary form; other texts unchanged."""
    plain = address.strip("[]")
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in plain else socket.AF_INET, plain)
    except OSError:
        return plain.encode()
