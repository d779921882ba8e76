"""The page of the last day's warnings: by kind, each with an example."""

from __future__ import annotations

import time

from fletching.daemons.dashboard.frame import Frame, page
from fletching.daemons.dashboard.times import time_html
from fletching.store.connection import Store
from fletching.store.warned import WarnedMails

PATH = "/warnings"


class WarningsPage:
    """Makes the page."""

    def __init__(self, store: Store) -> None:
        self._mails = WarnedMails(store)

    def __call__(self, frame: Frame) -> str:
        """The page. Raises StoreUnavailable."""
        now = int(time.time())
        rows = [(each, time_html(each.example.seconds)) for each in self._mails.of_last_day(now)]
        return page("warnings.html", PATH, frame, now, live="", times=True, rows=rows)
