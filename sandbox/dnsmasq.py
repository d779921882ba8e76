"""dnsmasq(8), a name server that no one here wrote, with TXT records that a test changes.

For tables of records in a test's own process, also broken ones, see `name_server.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import dns.exception
import dns.resolver

from sandbox.processes import Daemon, Server, free_port, program

_STRING = 255
"""Bytes of a string in a TXT record, at most."""


class Dnsmasq(Server):
    """Answers on a loopback port; a name without a record is unknown (NXDOMAIN)."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.port = free_port()
        self.publish({})

    @property
    def address(self) -> str:
        """As `fletching dkim rotate --name-server` takes it."""
        return f"127.0.0.1:{self.port}"

    @property
    def resolver(self) -> dns.resolver.Resolver:
        """A resolver that asks only here."""
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], self.port
        return resolver

    def texts(self, name: str) -> str | None:
        """The TXT record of a name, as it comes back in an answer."""
        try:
            (found,) = self.resolver.resolve(name, "TXT")
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return None
        return b"".join(found.strings).decode()

    def publish(self, records: Mapping[str, str]) -> None:
        """Replaces all records; a running server is started anew, as it reads them once."""
        conf = self._directory / "dnsmasq.conf"
        lines = ["no-resolv", "no-hosts", "listen-address=127.0.0.1", "bind-interfaces"]
        lines += ["user=root", "pid-file=", f"port={self.port}", "local=/#/"]
        for name, text in records.items():
            strings = [text[at : at + _STRING] for at in range(0, len(text), _STRING)]
            lines.append(f"txt-record={name}," + ",".join(f'"{each}"' for each in strings))
        conf.write_text("\n".join(lines) + "\n")
        if hasattr(self, "_daemon") and self._daemon.running:
            self.stop()
            self.start()

    def start(self) -> None:
        """Serve; also again after an end."""
        command = [program("dnsmasq", "dnsmasq-base"), "--keep-in-foreground"]
        conf = f"--conf-file={self._directory / 'dnsmasq.conf'}"
        self._daemon = Daemon([*command, conf], self._directory / "dnsmasq.log")
        self._daemon.start(self._answers)

    def stop(self) -> None:
        self._daemon.stop()

    def _answers(self) -> bool:
        resolver = self.resolver
        resolver.lifetime = 0.3
        try:
            resolver.resolve("ready.invalid", "TXT")
        except dns.resolver.NXDOMAIN:
            return True
        except dns.exception.DNSException:
            return False
        return True
