"""What is known before a mail is decided about: configuration, keys, paused VirtualMTAs, the time.

Here are the two values that whoever carries mail passes in: what was opened at the start, and the
moment at which the mail is carried. Nothing is read or drawn here (`startup.py` does both).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fletching.config.model import Config
from fletching.mail.dkim import SigningKey
from fletching.policy import configured
from fletching.policy.offers import Offers
from fletching.policy.rules import matching
from fletching.policy.rules.conditions import Tables
from fletching.policy.rules.matching import CompiledRules
from fletching.providers import Providers
from fletching.tokens import Keyring


@dataclass(frozen=True, slots=True)
class Setup:
    """What was opened before the first mail. ``paused``: names of VirtualMTAs in lower case.
    ``providers``: the mailbox providers by recipient domain. ``vanished``: VirtualMTAs, in lower
    case, whose `address` this host does not have. ``recipient_tables``: the files of
    `recipient_in`, by path.

    Three fields follow from the configuration, so that no mail has to work them out:
    ``class_offers``, what the options of each Mail Class and the global ones offer, and
    ``default_class``, what `default_mail_class` offers, and ``rules``, ready for matching.
    """

    config: Config
    link_keys: Keyring
    dkim_keys: tuple[SigningKey, ...]
    paused: frozenset[str]
    providers: Providers = field(default_factory=lambda: Providers(""), repr=False, compare=False)
    recipient_tables: Tables = field(default_factory=dict, repr=False, compare=False)
    vanished: frozenset[str] = frozenset()
    class_offers: Mapping[str, tuple[Offers, ...]] = field(init=False, repr=False, compare=False)
    default_class: Offers = field(init=False, repr=False, compare=False)
    rules: CompiledRules = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        config = self.config
        everywhere = configured.placed(configured.of_config(config), config)
        offers = {
            name: (
                configured.placed(configured.of_class(found), config, "mail_classes", name),
                everywhere,
            )
            for name, found in config.mail_classes.items()
        }
        object.__setattr__(self, "class_offers", offers)
        object.__setattr__(self, "default_class", configured.default_mail_class(config))
        object.__setattr__(self, "rules", matching.compiled(config, self.recipient_tables))

    def __reduce__(self) -> tuple[type[Setup], tuple[object, ...]]:
        """Another process works out the offers anew: their settings are compared by identity."""
        given = (self.config, self.link_keys, self.dkim_keys, self.paused, self.providers)
        return Setup, (*given, self.recipient_tables, self.vanished)


@dataclass(frozen=True, slots=True)
class Stamp:
    """The time, in the configuration's time zone, and 8 random bytes.

    ``turn``: a number from 0 up to 1. Those of a worker's mails are spread more evenly than chance
    would spread them. Default: by chance.
    """

    time: datetime
    entropy: bytes
    turn: float | None = None

    @property
    def share(self) -> float:
        """The turn, or a random number."""
        if self.turn is not None:
            return self.turn
        digest = hashlib.blake2b(self.entropy, digest_size=6).digest()
        return int.from_bytes(digest, "big") / 2**48

    @property
    def seconds(self) -> int:
        """Unix time."""
        return int(self.time.timestamp())
