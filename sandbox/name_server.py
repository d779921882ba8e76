"""A DNS server for tests: UDP on loopback, a table of records, ended with its `with` block."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping, Sequence

import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset

Records = Mapping[tuple[str, str], Sequence[str]]


class NameServer:
    """Answers from ``records``: (name, type) to texts as in a zone file.

    A name without records is unknown (NXDOMAIN), a type that it does not have is an empty answer,
    and a name in ``broken`` is SERVFAIL.
    """

    def __init__(self, records: Records, broken: Sequence[str] = ()) -> None:
        self._records = {(name.lower(), kind): texts for (name, kind), texts in records.items()}
        self._broken = broken
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> NameServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # A datagram of our own ends the loop.
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    @property
    def resolver(self) -> dns.resolver.Resolver:
        """A resolver that asks only here."""
        resolver = dns.resolver.Resolver(configure=False)
        host, resolver.port = self._socket.getsockname()
        resolver.nameservers = [host]
        resolver.lifetime = 10
        return resolver

    def _serve(self) -> None:
        while True:
            question, sender = self._socket.recvfrom(65535)
            if not question:
                return
            self._socket.sendto(self._answer(dns.message.from_wire(question)).to_wire(), sender)

    def _answer(self, question: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.RA
        asked = question.question[0]
        name = asked.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(asked.rdtype)
        if name in self._broken:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif texts := self._records.get((name, kind)):
            answer.answer.append(dns.rrset.from_text_list(asked.name, 60, "IN", kind, texts))
        elif not any(known == name for known, _ in self._records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer
