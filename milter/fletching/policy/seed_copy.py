"""A seed copy: a mail of a campaign that the courier submits again for an address of a seed list
(docs/seeds.md).

Its X-Fletching-Seed authenticates it, whichever client submits it. It gets the decisions that the
copied mail got: the same Mail Class, SendID, ListID and VirtualMTA, and what rules and `users` say
of the client and the login that submitted the copied mail. It makes no seed due.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from fletching import tokens
from fletching.config.model import Config
from fletching.mail.envelope import Envelope
from fletching.mail.message import Message
from fletching.policy import offers
from fletching.policy.control import SEED_HEADER
from fletching.policy.offers import Offer, Offers, Setting, SourceKind
from fletching.tokens import Facts, Keyring, Kind, TokenError

SOURCE = "X-Fletching-Seed"


@dataclass(frozen=True, slots=True)
class SeedCopy:
    """What X-Fletching-Seed says. ``facts``: those of the copied mail, but ``email`` is the seed.

    ``attempt``: which attempt to submit this copy. ``client`` and ``login``: of the copied mail.
    """

    facts: Facts
    attempt: int
    client: str
    login: str | None = None

    def token(self, keys: Keyring) -> str:
        """The value of the field."""
        about = json.dumps([self.attempt, self.client, self.login])
        return keys.seal(Kind.SEED, self.facts, about)


def read(message: Message, envelope: Envelope, keys: Keyring) -> SeedCopy | None:
    """What proves that a mail is a seed copy for its only recipient; None for other mail."""
    for header in message.all(SEED_HEADER.lower()):
        copy = _opened(header.text.decode("ascii", "replace"), keys)
        if copy is not None and _is_for(copy.facts.email, envelope):
            return copy
    return None


def _opened(text: str, keys: Keyring) -> SeedCopy | None:
    try:
        token = keys.open("".join(text.split()))
    except TokenError:
        return None
    if token.kind is not tokens.Kind.SEED:
        return None
    attempt, client, login = json.loads(token.destination)
    return SeedCopy(token.facts, attempt, client, login)


def _is_for(seed: str, envelope: Envelope) -> bool:
    return [each.address.lower() for each in envelope.recipients] == [seed.lower()]


def as_submitted(envelope: Envelope, copy: SeedCopy) -> Envelope:
    """The envelope with the client and the login of the copied mail."""
    return replace(envelope, client=copy.client, login=copy.login)


def offers_of(copy: SeedCopy, config: Config) -> Offers:
    """What the copied mail was given, above every other source."""
    facts = copy.facts
    forced: list[tuple[Setting[Any], object]] = [
        (offers.MAIL_CLASS, facts.mail_class),
        (offers.INSTANCE_ID, facts.instance_id),
        (offers.LIST_ID, facts.listid),
        (offers.OBSCURED_EMAIL, facts.email),
        (offers.SUPPRESS, "off"),
    ]
    if config.virtual_mta(facts.mtaid) is not None:
        forced.append((offers.VIRTUAL_MTA, facts.mtaid))
    return Offers(SourceKind.FORCED, {each: Offer(value, SOURCE) for each, value in forced})
