"""Does mail leave from the addresses that VirtualMTAs have? Every answer is a finding.

Here live the addresses of this host and those of Postfix's transports, compared with the options.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

from fletching.admin.finding import Finding, error
from fletching.admin.postconf import Installed
from fletching.config.model import Config

PARAMETERS = ("smtp_bind_address", "smtp_bind_address6", "smtp_bind_address_enforce")


def check_addresses(config: Config, postfix: Installed) -> Iterator[Finding]:
    """A finding for each VirtualMTA whose mail leaves from another address, or not at all."""
    for mta in config.virtual_mtas.values():
        if mta.address is None or mta.transport is None:
            continue
        place, address = f"virtual_mtas.{mta.name}.address", str(mta.address)
        service = postfix.service(mta.transport)
        if service is None:
            continue  # told already
        if not _is_here(address):
            enforced = postfix.value("smtp_bind_address_enforce", service) == "yes"
            yield error(
                place,
                f"{address} is not an address of this host, so that mail of {mta.transport}"
                f" {'waits in the queue' if enforced else 'leaves from another address'}: add it to"
                f" an interface (ip address add {address} dev INTERFACE), or change the option",
            )
        parameter = f"smtp_bind_address{'6' if ':' in address else ''}"
        bound = postfix.value(parameter, service)
        if _packed(bound) != _packed(address):
            yield error(
                f"master.cf {mta.transport}",
                f"{parameter} is {bound or 'empty'}, but {place} is {address}: mail leaves from"
                " what master.cf says; change one of them (`fletching postfix` prints the service)",
            )


def _is_here(address: str) -> bool:
    """Whether a socket can have the address, as Postfix's will."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as trial:
            trial.bind((address, 0))
    except OSError as wrong:
        return wrong.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    return True


def _packed(address: str) -> bytes:
    """An address in its one form; a text that is no address as it is."""
    plain = address.strip("[]")
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in plain else socket.AF_INET, plain)
    except OSError:
        return plain.encode()
