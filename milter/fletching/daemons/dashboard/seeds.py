"""The table of seeds on a campaign's page: which of them have their copy."""

from __future__ import annotations

import time

from fletching.config.model import Config
from fletching.daemons.dashboard.pages import Cell, Table, TableRow
from fletching.daemons.dashboard.times import time_html
from fletching.seed_report import SeedReport, SeedRow, has_seeds, report
from fletching.store.connection import Store
from fletching.store.counts import Campaign
from fletching.store.seeds import Seeds

_COLUMNS = ("State", "Due", "Copied message", "Claimed", "Sent", "Reply")


class SeedTables:
    """Makes the table of a campaign. ``config``: whose seed lists are shown."""

    def __init__(self, store: Store, config: Config) -> None:
        self._seeds = Seeds(store)
        self._config = config

    def __call__(self, campaign: Campaign) -> list[tuple[str, Table]]:
        """The table with its heading; nothing for a campaign without seeds."""
        claimed = self._seeds.of_campaign(campaign.campaign)
        if not has_seeds(campaign, claimed):
            return []
        progress = self._seeds.progress(campaign.campaign)
        found = report(self._config, campaign, claimed, progress, int(time.time()))
        return [("Seeds", table(found))]


def table(found: SeedReport) -> Table:
    """A report as a table."""
    return Table(found.summary, "Seed", _COLUMNS, [_row(row) for row in found.rows])


def _row(row: SeedRow) -> TableRow:
    number = f"{row.message:,}" if row.message else ""
    moments = (time_html(at / 1000) if at else "" for at in (row.claimed, row.sent))
    texts = (row.state, row.due, number, *moments, row.reply)
    return TableRow(row.address, tuple(Cell(text) for text in texts))
