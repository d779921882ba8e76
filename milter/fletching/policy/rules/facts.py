"""The facts about a mail that rules test, each worked out once, when a test first asks for it.

Here is what the values of the tests are compared with. How they are compared is in `conditions.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from fletching.domains import a_labels
from fletching.mail.encoded_words import decoded
from fletching.mail.envelope import Envelope
from fletching.mail.message import Message, addresses
from fletching.policy.rules.recipient_table import digest
from fletching.providers import Providers


class Text(NamedTuple):
    """A value to compare: without regard to case, and in bytes for regular expressions."""

    folded: str
    octets: bytes


def text(value: str) -> Text:
    """A value of a mail. What cannot be encoded becomes `?`."""
    return Text(value.casefold(), value.encode("utf-8", "replace"))


Texts = tuple[Text, ...]


class Facts:
    """What rules can test of one mail. The body counts only for its size."""

    def __init__(self, message: Message, envelope: Envelope, providers: Providers) -> None:
        self._message = message
        self._envelope = envelope
        self._providers = providers
        self._texts: dict[str, Texts] = {}

    def texts(self, subject: str) -> Texts:
        """The values of a subject: `sender`, `from`, `recipient`, `recipient_domain`, `provider`,
        `login`, or `header.` and a name in lower case. Several recipients may have one domain.
        """
        found = self._texts.get(subject)
        if found is None:
            make = _SUBJECTS.get(subject)
            values = make(self) if make is not None else self._header(subject[len(HEADER) :])
            found = self._texts[subject] = tuple(map(text, dict.fromkeys(values)))
        return found

    def has(self, name: str) -> bool:
        """Whether there is a field of that name. ``name`` in lower case."""
        return name.encode("ascii") in self._by_name

    @property
    def names(self) -> Iterable[str]:
        """The names of all fields, in lower case."""
        return (name.decode("ascii", "replace") for name in self._by_name)

    @cached_property
    def recipients(self) -> tuple[tuple[int, int], ...]:
        """Each recipient as it is looked up in a table: the digests of its address and domain."""
        return tuple(
            (digest(each.address.lower()), digest(ascii_domain(each.domain)))
            for each in self._envelope.recipients
        )

    @cached_property
    def client(self) -> IPv4Address | IPv6Address | None:
        """The address of the client; None without one."""
        return _address(self._envelope.client)

    @cached_property
    def size(self) -> int:
        """The size of the mail in bytes, with its header."""
        fields = sum(len(each.name) + len(each.value) + 3 for each in self._message.headers)
        return fields + 2 + len(self._message.body)

    def _header(self, name: str) -> Iterable[str]:
        return map(decoded, self._by_name.get(name.encode("ascii"), ()))

    @cached_property
    def _by_name(self) -> Mapping[bytes, list[bytes]]:
        """The values of all fields; a mail has few, and many rules ask for one."""
        fields: dict[bytes, list[bytes]] = {}
        for each in self._message.headers:
            fields.setdefault(each.key, []).append(each.value)
        return fields

    def _sender(self) -> Iterable[str]:
        return (self._envelope.sender,)

    def _from(self) -> Iterable[str]:
        fields = self._by_name.get(b"from", ())
        return (address for field in fields for address in addresses(field.replace(b"\r\n", b"")))

    def _recipient(self) -> Iterable[str]:
        return (each.address for each in self._envelope.recipients)

    def _recipient_domain(self) -> Iterable[str]:
        return (ascii_domain(each.domain) for each in self._envelope.recipients)

    def _provider(self) -> Iterable[str]:
        return (self._providers.provider(each) for each in self._recipient_domain())

    def _login(self) -> Iterable[str]:
        return (self._envelope.login,) if self._envelope.login else ()


HEADER = "header."
EVERY = ("recipient", "recipient_domain", "provider")
"""Subjects of which every value must match; of the others, one must."""

_SUBJECTS: Mapping[str, Callable[[Facts], Iterable[str]]] = {
    "sender": Facts._sender,
    "from": Facts._from,
    "recipient": Facts._recipient,
    "recipient_domain": Facts._recipient_domain,
    "provider": Facts._provider,
    "login": Facts._login,
}


def ascii_domain(domain: str) -> str:
    """A domain with A-labels; as it is if it can have none."""
    try:
        return a_labels(domain)
    except ValueError:
        return domain


def _address(client: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(client)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
