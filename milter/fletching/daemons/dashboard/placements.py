"""The table of placements on a campaign's page: where the copies for its seeds arrived.

The courier reads the mailboxes; a page shows what it found last.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from fletching.config.model import Config
from fletching.daemons.dashboard.pages import Cell, Table, TableRow
from fletching.monitor.rows import rows_of
from fletching.placements import PLACEMENTS, PlacementRow
from fletching.seed_report import report
from fletching.store.connection import Store
from fletching.store.counts import Campaign
from fletching.store.placements import Placements
from fletching.store.seeds import Seeds

_COLUMNS = ("Arrived in", "Minutes after sending")


class PlacementTables:
    """Makes the table of a campaign. ``config``: whose seed lists and mailboxes are known."""

    def __init__(self, store: Store, config: Config) -> None:
        self._seeds, self._placements = Seeds(store), Placements(store)
        self._config = config

    def __call__(self, campaign: Campaign) -> list[tuple[str, Table]]:
        """The table with its heading; nothing for a campaign whose seeds have no copies, or if no
        mailbox is in the configuration."""
        has_access = any(seed.imap for seeds in self._config.seed_lists.values() for seed in seeds)
        claimed = self._seeds.of_campaign(campaign.campaign) if has_access else []
        if not claimed:
            return []
        known = self._placements.of_campaign(campaign.campaign)
        progress, now = self._seeds.progress(campaign.campaign), int(time.time())
        found = report(self._config, campaign, claimed, progress, now)
        return [("Seed placement", table(rows_of(self._config, found, known, now)))]


def table(rows: Sequence[PlacementRow]) -> Table:
    """Placements as a table."""
    caption = "Where seed copies arrived"
    return Table(caption, "Seed", _COLUMNS, [_row(each) for each in rows])


def _row(row: PlacementRow) -> TableRow:
    where = f"{PLACEMENTS[row.placement]}{', late' if row.is_late else ''}"
    minutes = "" if row.seconds is None else f"{row.seconds / 60:.1f}"
    return TableRow(row.address, (Cell(where), Cell(minutes)), about=row.folder or row.reason)
