"""What is judged: a mail as it leaves, and what is known beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fletching.domains import a_labels
from fletching.lint.organization import Alignment
from fletching.lint.signatures import SignatureField
from fletching.mail.message import Message, address_domain

_LONGEST = 80


def _no_link_of_ours(_: str) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Sent:
    """A mail as it leaves.

    ``return_path``: the envelope sender, empty for the null sender, None if it is not known.
    ``signatures``: its DKIM-Signature fields from the top down. ``signed_later``: a program behind
    Fletching signs. ``subscription``: recipients can unsubscribe from it; false for mail of a class
    without list_unsubscribe. ``warnings``: those of Fletching about this mail. ``destination``:
    where one of our tracking URLs leads, None for any other URL.
    """

    message: Message
    return_path: str | None = None
    signatures: tuple[SignatureField, ...] = ()
    signed_later: bool = False
    subscription: bool = True
    warnings: tuple[str, ...] = ()
    alignment: Alignment = field(default_factory=Alignment)
    destination: Callable[[str], str | None] = _no_link_of_ours

    @property
    def author(self) -> str | None:
        """The domain of From as A-labels; None without one."""
        header = self.message.first(b"from")
        domain = address_domain(header.text) if header else None
        return None if domain is None else ascii_or_same(domain)

    @property
    def return_path_domain(self) -> str:
        """The domain of the return path as A-labels, empty without one."""
        return ascii_or_same((self.return_path or "").rpartition("@")[2].lower())

    def why(self, text: str) -> str:
        """A text, and the warning that begins with it, which says why."""
        reasons = (each for each in self.warnings if each.startswith(f"{text}: "))
        return next(reasons, text)

    def aligned(self) -> tuple[SignatureField, ...]:
        """The signatures that verify, or may, and are aligned with From."""
        author = self.author
        return tuple(
            each
            for each in self.signatures
            if author is not None and each.usable and self.alignment.dkim(each.domain, author)
        )


def ascii_or_same(domain: str) -> str:
    """The domain as A-labels; as it is if it is no domain name."""
    try:
        return a_labels(domain)
    except ValueError:
        return domain


def short(text: str) -> str:
    """A text from the mail as it is quoted: cut, on one line."""
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
