"""The screenshots of docs/dashboard.md: `python -m tests.browser.pictures` takes them anew."""

from __future__ import annotations

from math import exp
from pathlib import Path

from fletching.store.counts import Failures, Link

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
    ended = {"delivered": 59_871, "deferred": 4_310, "bounces_hard": 702, "bounces_soft": 655}
    ended |= {"bounces_other": 12, "blocked": 2_904, "complaints": 31}
    of_shop = {"delivered": 8_236, "bounces_hard": 104, "bounces_soft": 60, "complaints": 4}
    unknown = {"seeds": None}
    untracked = dict.fromkeys((*read, *unique, *came, "seeds"))
    numbers = Numbers(
        campaign(
            *("aaaabbbbcccc", "newsletter20261121"),
            sent=61_240,
            **read | unique | came | ended | unknown,
        ),
        campaign("aaaabbbbdddd", "shop20261120", sent=8_400, **shop | of_shop | unknown),
        campaign(
            *("aaaabbbbeeee", "transactional20261121"),
            sent=1_022,
            **untracked | {"delivered": 1_020, "bounces_hard": 2},
        ),
    )
    numbers.counted = {
        "sent": {OPENED: 24_000, OPENED + HOUR: 30_100, OPENED + 2 * HOUR: 7_140},
        "delivered": {OPENED: 21_040, OPENED + HOUR: 29_300, OPENED + 2 * HOUR: 8_201}
        | {OPENED + n * HOUR: round(900 * exp(-n / 4)) for n in range(3, 12)},
        "deferred": {OPENED: 2_480, OPENED + HOUR: 1_510, OPENED + 2 * HOUR: 320},
        "bounces": {
            OPENED: 420,
            OPENED + HOUR: 611,
            OPENED + 2 * HOUR: 160,
            OPENED + 5 * HOUR: 178,
        },
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
        "mtaid": (row("a", sent=45_930, delivered=44_980), row("b", sent=15_310, delivered=14_891)),
        "provider": (
            row("google", delivered=27_710, bounces_hard=221, bounces_soft=402, complaints=0),
            row("microsoft", delivered=11_020, deferred=2_611, bounces_soft=93, blocked=2_590),
            row("gmx", delivered=9_404, deferred=730, bounces_hard=88, blocked=314, complaints=19),
            row("other", delivered=11_737, deferred=969, bounces_hard=393, bounces_soft=160),
        ),
    }
    later = "421 RP-N (<id>) Unfortunately, some messages from <ip> weren't sent. Try again later."
    numbers.failed = (
        Failures("rate_limited", later, 0, 2_590, "microsoft"),
        Failures(
            "user_unknown",
            "550 5.1.1 The account that you tried to reach does not exist.",
            *(221, 0, "google"),
        ),
        Failures(
            "mailbox_full", "452 4.2.2 The recipient's inbox is out of storage", 402, 180, "google"
        ),
        Failures(
            "domain_unknown", "Host or domain name not found. Name service error", 131, 0, "other"
        ),
    )
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
