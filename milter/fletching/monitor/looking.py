"""Where the copies of campaigns are in seed mailboxes: each mailbox is read once for all of them.

Here lives when a mailbox is looked into, the threads that do it, and what becomes of the answers.
IMAP is in `mailbox.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from fletching.config.model import Config
from fletching.monitor.mailbox import Account, Arrival, MailboxError, arrivals
from fletching.placements import Copy, Placement, better
from fletching.tokens import Keyring

AT_ONCE = 8
"""Mailboxes that are read at the same time."""

SHORTEST, LONGEST = 60, 24 * 3600
"""Seconds between two looks for a copy at least; and after its sending, how long it is looked for
in the background."""


AFTER_ERROR = 600
"""The same after a mailbox could not be read: providers lock accounts after wrong passwords."""

Look = Callable[[Account, float, Keyring], list[Arrival]]


def accounts(config: Config) -> dict[str, Account]:
    """The mailboxes that can be looked into, by address in lower case."""
    return {
        seed.address.lower(): Account(seed.imap, seed.imap_login, seed.password_file)
        for seeds in config.seed_lists.values()
        for seed in seeds
        if seed.imap is not None and seed.password_file is not None
    }


def is_due(copy: Copy, known: Placement | None, now: int) -> bool:
    """Whether a copy should be looked for in the background: soon after its sending every minute,
    later more rarely, and no more when it was found or a day has passed."""
    if (known is not None and known.is_found) or now - copy.sent > LONGEST:
        return False
    shortest = AFTER_ERROR if known is not None and known.error else SHORTEST
    pause = max(shortest, (now - copy.sent) // 10)
    return known is None or now - known.looked >= pause


def look(
    copies: Sequence[Copy],
    mailboxes: Mapping[str, Account],
    keys: Keyring,
    now: int,
    read: Look = arrivals,
) -> dict[Copy, Placement]:
    """Looks for copies; those for addresses without a mailbox are left out.

    A mailbox that cannot be read is a placement with the reason.
    """
    by_address: dict[str, list[Copy]] = {}
    for copy in copies:
        if copy.address.lower() in mailboxes:
            by_address.setdefault(copy.address.lower(), []).append(copy)

    def of_address(address: str) -> dict[Copy, Placement]:
        wanted = by_address[address]
        since = min(copy.sent for copy in wanted)
        try:
            found = read(mailboxes[address], since, keys)
        except MailboxError as error:
            return {copy: Placement(copy.address, looked=now, error=str(error)) for copy in wanted}
        return {copy: _placement(copy, found, now) for copy in wanted}

    if not by_address:
        return {}
    with ThreadPoolExecutor(min(AT_ONCE, len(by_address)), "monitor") as threads:
        each = threads.map(of_address, by_address)
        return {copy: placement for found in each for copy, placement in found.items()}


def merged(
    campaign: str, known: Mapping[str, Placement], looked: Mapping[Copy, Placement]
) -> dict[str, Placement]:
    """What a look has shown of a campaign, by address. ``known``: what was known before."""
    return {
        copy.address: better(known.get(copy.address), placement)
        for copy, placement in looked.items()
        if copy.campaign == campaign
    }


def _placement(copy: Copy, found: Iterable[Arrival], now: int) -> Placement:
    """Where the copy is. The campaign's mail to the same address as a recipient does not count."""
    for arrival in found:
        facts = arrival.facts
        if facts.campaign == copy.campaign and facts.seed:
            return Placement(
                copy.address,
                arrival.where,
                arrival.folder,
                arrival.arrived,
                # The clocks of two hosts may differ.
                max(0, arrival.arrived - (facts.sent or copy.sent)),
                now,
            )
    return Placement(copy.address, looked=now)
