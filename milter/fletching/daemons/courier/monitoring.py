"""Looks for seed copies in seed mailboxes, by one courier at a time.

Here lives the thread, and the choice of campaigns and copies. How a mailbox is read, and when a
copy is looked for again, is in `monitor/`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from fletching import log
from fletching.config.model import Config
from fletching.daemons.courier.leased import LeasedThread
from fletching.daemons.process.log_limit import LogLimit
from fletching.monitor.looking import LONGEST, accounts, is_due, look, merged
from fletching.monitor.rows import copies_of
from fletching.placements import Copy, Placement
from fletching.store.connection import Store
from fletching.store.lease import Lease
from fletching.store.placements import Placements
from fletching.store.seeds import Seeds
from fletching.tokens import Keyring

LEASE = "monitor"

CHECK_EVERY = 15.0
"""Seconds between two searches for copies that are due."""

_LOG_EVERY = 3600.0
"""Seconds between two lines about mailboxes that cannot be read."""


class Monitoring(LeasedThread):
    """Looks for the copies of all campaigns, in a thread of its own."""

    awaited = False  # a mailbox may take minutes

    def __init__(
        self,
        store: Store,
        keys: Keyring,
        config: Config,
        *,
        check_every: float = CHECK_EVERY,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(LEASE, Lease(store, LEASE), check_every)
        self._seeds, self._placements = Seeds(store), Placements(store)
        self._keys = keys
        self._mailboxes = accounts(config)
        self._now = now
        self._limit = LogLimit(_LOG_EVERY)

    @property
    def has_mailboxes(self) -> bool:
        """Whether there is anything to look into."""
        return bool(self._mailboxes and self._keys)

    def process(self) -> None:
        """Looks for all copies that are due. Raises StoreUnavailable."""
        now = int(self._now())
        self._placements.watch(self._seeds.campaigns(), now)
        known: dict[str, dict[str, Placement]] = {}
        due: list[Copy] = []
        for campaign in self._placements.watched(now - 2 * LONGEST):
            copies = copies_of(self._seeds.of_campaign(campaign))
            known[campaign] = self._placements.of_campaign(campaign)
            due += [copy for copy in copies if is_due(copy, known[campaign].get(copy.address), now)]
        looked = look(due, self._mailboxes, self._keys, now)
        for campaign in {copy.campaign for copy in looked}:
            new = merged(campaign, known[campaign], looked)
            self._placements.keep(campaign, new.values())
        self._log_errors(looked.values())

    def _log_errors(self, looked: Iterable[Placement]) -> None:
        errors = {each.address: each.error for each in looked if each.error}
        if errors and self._limit.is_due():
            address, reason = next(iter(errors.items()))
            log.mailbox_unreadable(address, reason, len(errors) - 1)
