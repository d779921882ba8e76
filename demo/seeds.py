"""The seed list of the demo: mailboxes of the sender, which get copies spread over the campaign."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from demo.servers import SEEDS, fletching
from sandbox.processes import wait_until

EXPECTED = Counter(seed_sent=len(SEEDS))
"""The events of the copies."""


def wait(config_path: Path) -> None:
    """Wait until each seed has its copy; the courier looks for due seeds once a second."""
    wait_until("the seeds have no copies", lambda: _states(config_path) == ["sent"] * len(SEEDS))


def checks(config_path: Path, arrived: Collection[str], sent: int) -> Iterator[tuple[str, bool]]:
    """Everything that must be true. ``arrived``: recipients of all mails that were delivered."""
    copied = [each["message_number"] for each in _campaign(config_path)["seeds"]]
    numbers = ", ".join(map(str, copied))
    yield (
        f"{len(SEEDS)} seeds got one copy each, of messages {numbers}",
        Counter(each for each in arrived if each in SEEDS) == dict.fromkeys(SEEDS, 1),
    )
    # The copies take message numbers, too.
    points = (1, sent // 2, sent)
    close = (0 <= number - due <= 2 for number, due in zip(copied, points, strict=True))
    yield "the copies are spread over the campaign", all(close)


def _campaign(config_path: Path) -> Any:
    (campaign,) = json.loads(fletching(config_path, "seeds", "--json"))["campaigns"]
    return campaign


def _states(config_path: Path) -> list[str]:
    campaigns = json.loads(fletching(config_path, "seeds", "--json"))["campaigns"]
    return [seed["state"] for campaign in campaigns for seed in campaign["seeds"]]
