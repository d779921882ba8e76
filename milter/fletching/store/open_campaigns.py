"""What one process remembers of the campaigns that are open: it need not ask Redis for each mail.

Here lives memory only, no question to Redis. A campaign is remembered until its window ends, even
if Redis loses it (docs/decisions/0019). When the memory is full, the campaign that has gone longest
without a message is forgotten.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace

LOOK_UP_EVERY = 600.0
"""Seconds after which the campaign of a SendID is looked up again in Redis."""

REMEMBERED = 4096
"""Campaigns that are remembered."""


def now() -> float:
    """Seconds on a clock that goes on while a virtual machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class OpenCampaign:
    """The campaign of a SendID. ``window_end`` and ``look_up_at``: on the clock of `now`.

    ``highest``: the highest message number that this process received for it.
    """

    id: str
    window_end: float
    look_up_at: float = 0.0
    highest: int = 0


class OpenCampaigns:
    """The open campaigns by SendID, in lower case. Any number of threads may use it."""

    def __init__(self, look_up_every: float = LOOK_UP_EVERY, remembered: int = REMEMBERED) -> None:
        self._look_up_every = look_up_every
        self._remembered = remembered
        self._campaigns: dict[str, OpenCampaign] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._campaigns)

    def current(self, sendid: str) -> str | None:
        """The campaign's id; None if it is unknown, or due to be looked up again."""
        with self._lock:
            campaign = self._campaigns.get(sendid)
        return campaign.id if campaign is not None and now() < campaign.look_up_at else None

    def remembered(self, sendid: str) -> OpenCampaign | None:
        """The campaign while its window lasts, whether or not it is due to be looked up."""
        with self._lock:
            campaign = self._campaigns.get(sendid)
        return campaign if campaign is not None and now() < campaign.window_end else None

    def remember(self, sendid: str, campaign: OpenCampaign) -> None:
        """Stores what a look-up returned."""
        # Another host may remember a campaign that was opened earlier, hence the next look-up.
        look_up_at = min(campaign.window_end, now() + self._look_up_every)
        with self._lock:
            before = self._campaigns.pop(sendid, campaign)
            highest = before.highest if before.id == campaign.id else 0
            self._campaigns[sendid] = replace(campaign, look_up_at=look_up_at, highest=highest)
            if len(self._campaigns) > self._remembered:
                del self._campaigns[next(iter(self._campaigns))]

    def look_up_again(self, sendid: str) -> None:
        """Makes the campaign due to be looked up before its next message."""
        with self._lock:
            if campaign := self._campaigns.get(sendid):
                self._campaigns[sendid] = replace(campaign, look_up_at=0.0)

    def highest(self, sendid: str, id: str) -> int:
        """The highest message number that this process received for a campaign; 0 for none."""
        with self._lock:
            campaign = self._campaigns.get(sendid)
        return campaign.highest if campaign is not None and campaign.id == id else 0

    def received(self, sendid: str, id: str, number: int) -> None:
        """Records a message number, and that the campaign is in use."""
        with self._lock:
            campaign = self._campaigns.get(sendid)
            if campaign is not None and campaign.id == id:
                # A dict keeps the order of insertion: the first one is the next to be forgotten.
                del self._campaigns[sendid]
                highest = max(campaign.highest, number)
                self._campaigns[sendid] = replace(campaign, highest=highest)
