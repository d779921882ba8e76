"""The screenshots of docs/dashboard.md: `python -m tests.browser.pictures` takes them anew."""

from __future__ import annotations

from math import exp
from pathlib import Path

from fletching.store.counts import Link

from tests.browser.chromium import Chromium
from tests.dashboard_numbers import HOUR, OPENED, Numbers, campaign, row, served

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
SHOP = "https://shop.example.com"
TAKEN = (
    ("dashboard", "/", 1100, False),
    ("dashboard-campaign", "/campaign/aaaabbbbcccc", 1100, False),
    ("dashboard-campaign-dark", "/campaign/aaaabbbbcccc", 1100, True),
    ("dashboard-telephone", "/campaign/aaaabbbbcccc", 320, True),
)


def invented() -> Numbers:
    """Three campaigns as they might be."""
    read = {"opens": 25_180, "privacy_opens": 6_032, "clicks": 4_120}
    unique = {"unique_opens": 19_884, "confirmed_opens": 15_006, "unique_clicks": 2_977}
    came = {"bot_opens": 6_033, "bot_clicks": 1_418, "unsubscribes": 87}
    shop = {"opens": 5_102, "unique_opens": 3_877, "confirmed_opens": 3_201, "privacy_opens": 877}
    kinds = ("delivered", "bounces_hard", "bounces_soft", "complaints", "seeds")
    unknown = dict.fromkeys(kinds)
    untracked = dict.fromkeys((*read, *unique, *came, *kinds))
    numbers = Numbers(
        campaign(
            "aaaabbbbcccc", "newsletter20261121", sent=61_240, **read | unique | came | unknown
        ),
        campaign("aaaabbbbdddd", "shop20261120", sent=8_400, **shop | unknown),
        campaign("aaaabbbbeeee", "transactional20261121", sent=1_022, **untracked),
    )
    numbers.counted = {
        "sent": {OPENED: 24_000, OPENED + HOUR: 30_100, OPENED + 2 * HOUR: 7_140},
        **{
            kind: {OPENED + n * HOUR: round(most * (n + 0.3) * exp(-n / 5)) for n in range(36)}
            for kind, most in (("opens", 1_400), ("clicks", 190), ("unsubscribes", 4))
        },
    }
    numbers.clicked = (
        Link(f"{SHOP}/spring?from=newsletter", 1_940, 1_511, 402),
        Link(f"{SHOP}/new/boots", 1_102, 870, 390),
        Link(f"{SHOP}/imprint", 41, 40, 377),
    )
    numbers.rows = {
        "mtaid": (
            row("a", sent=45_930, complaints=None),
            row("b", sent=15_310, complaints=None),
        )
    }
    return numbers


def main() -> None:
    """Takes them."""
    FOLDER.mkdir(exist_ok=True)
    with served(invented()) as port, Chromium() as chromium:
        for name, path, width, dark in TAKEN:
            page = chromium.open(f"http://127.0.0.1:{port}{path}", width, height=300, dark=dark)
            page.until("document.querySelector('[data-state]').textContent === 'Live.'")
            (FOLDER / f"{name}.png").write_bytes(page.picture())


if __name__ == "__main__":
    main()
