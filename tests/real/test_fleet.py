"""A campaign of two hosts with a pool, a cap, a pause, seeds and crashes: what must come of it.

`tests/fleet.py` runs it, also larger: `python -m tests.fleet 10000 cluster`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from sandbox.redis_cluster import SHAPES
from tests.fleet import SEEDS, SESSIONS, WEIGHTS, Arrival, Fleet, fleet

pytestmark = pytest.mark.slow

COUNT = 2_000


@pytest.mark.parametrize("shape", SHAPES)
def test_campaign_of_two_hosts_that_crash(shape: str, place: Path) -> None:
    folder = place / shape
    folder.mkdir()
    with fleet(folder, COUNT, shape) as running:
        running.campaign()
        running.wait_delivered()
        judge(running, running.arrivals())


def judge(made: Fleet, arrivals: Sequence[Arrival]) -> None:
    """Every law, also those that a crash could break."""
    mails = [each for each in arrivals if not each.is_seed]
    _each_arrives(made, mails)
    _cap_holds(made, arrivals)
    early = [each for each in mails if each.place < made.count * 35 // 100]
    _weights_hold(early, WEIGHTS)
    capped = [each for each in mails if made.count * 6 // 10 <= each.place < made.count * 3 // 4]
    _weights_hold([each for each in capped if each.member != "c"], {"a": 5, "b": 3})
    late = {each.member for each in mails if each.place >= made.count * 3 // 4}
    assert "b" not in late, "a paused member has mail"
    _seeds_are_due(made, arrivals)


def _each_arrives(made: Fleet, mails: Sequence[Arrival]) -> None:
    """Each mail once, but for those whose answer a crash swallowed: they were sent again."""
    assert {each.place for each in mails} == set(range(made.count))
    assert len(mails) <= made.count + SESSIONS
    assert {each.member for each in mails} <= set(WEIGHTS), "a mail had no VirtualMTA"


def _cap_holds(made: Fleet, arrivals: Sequence[Arrival]) -> None:
    """Never more, and not less but for the room of mails that were taken and then put off."""
    count = sum(each.member == "c" for each in arrivals)
    assert made.cap - made.put_off - 2 * SESSIONS <= count <= made.cap


def _weights_hold(mails: Sequence[Arrival], weights: dict[str, int]) -> None:
    """Within one per cent of all; of few mails, within ten: workers may have those of others."""
    shares = Counter(each.member for each in mails)
    for name, weight in weights.items():
        share = weight / sum(weights.values())
        assert abs(shares[name] - share * len(mails)) <= max(0.01 * len(mails), 10), (name, shares)


def _seeds_are_due(made: Fleet, arrivals: Sequence[Arrival]) -> None:
    """Each seed has one copy: of a mail within one per cent of its due point."""
    copies = [each for each in arrivals if each.is_seed]
    assert sorted(each.recipient for each in copies) == sorted(SEEDS)
    for copy in copies:
        due = 100 * SEEDS.index(copy.recipient) / (len(SEEDS) - 1)
        at = 100 * copy.place / (made.count - 1)
        assert abs(at - due) <= 1, f"{copy.recipient}: due at {due:.2f} %, sent at {at:.2f} %"
