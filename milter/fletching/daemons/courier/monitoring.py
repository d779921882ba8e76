"""Looks for seed copies in seed mailboxes, by one courier at a time.

Here lives the thread, and the choice of campaigns and copies. How a mailbox is read, and when a
copy is looked for again, is in `monitor/`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable

from fletching import log
from fletching.config.model import Config
from fletching.daemons.process.log_limit import LogLimit
from fletching.monitor.looking import LONGEST, accounts, is_due, look, merged
from fletching.monitor.rows import copies_of
from fletching.placements import Copy, Placement
from fletching.store.connection import Store, StoreUnavailable
from fletching.store.lease import Lease
from fletching.store.placements import Placements
from fletching.store.seeds import Seeds
from fletching.tokens import Keyring

LEASE = "monitor"

CHECK_EVERY = 15.0
"""Seconds between two searches for copies that are due."""

_LOG_EVERY = 3600.0
"""Seconds between two lines about mailboxes that cannot be read."""


class Monitoring:
    """Looks for the copies of all campaigns, in a thread of its own."""

    def __init__(
        self,
        store: Store,
        keys: Keyring,
        config: Config,
        *,
        check_every: float = CHECK_EVERY,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._seeds, self._placements = Seeds(store), Placements(store)
        self._lease = Lease(store, LEASE)
        self._holding = threading.Lock()
        self._keys = keys
        self._mailboxes = accounts(config)
        self._check_every = check_every
        self._now = now
        self._limit = LogLimit(_LOG_EVERY)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)

    @property
    def has_mailboxes(self) -> bool:
        """Whether there is anything to look into."""
        return bool(self._mailboxes and self._keys)

    def begin(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def end(self) -> None:
        """Ends it; does not wait for a mailbox that is being read."""
        self._ended.set()

    def wait(self, seconds: float) -> bool:
        """Whether it has ended, within that time."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def renew(self) -> None:
        """Renews the lease, however long a mailbox takes. Raises StoreUnavailable."""
        with self._holding:
            if self._lease.held:
                self._lease.acquire()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                with self._holding:
                    is_ours = self._lease.acquire()
                if is_ours:
                    self.process()
            except StoreUnavailable:
                pass  # the courier logs it
            except Exception as error:  # noqa: BLE001 the edge of this thread
                log.seeding_failed(error)
            self._ended.wait(self._check_every)
        with self._holding, contextlib.suppress(StoreUnavailable):
            self._lease.release()

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
            of_it = {copy: found for copy, found in looked.items() if copy.campaign == campaign}
            self._placements.keep(campaign, merged(known[campaign], of_it).values())
        self._log_errors(looked.values())

    def _log_errors(self, looked: Iterable[Placement]) -> None:
        errors = {each.address: each.error for each in looked if each.error}
        if errors and self._limit.is_due():
            address, reason = next(iter(errors.items()))
            log.mailbox_unreadable(address, reason, len(errors) - 1)
