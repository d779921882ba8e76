"""The offers in the output of `fletching explain`: all values that sources give for each setting.

Nothing is decided here: which offer won is what `policy/` decided.
"""

from __future__ import annotations

from typing import Any

from fletching.policy.plan import Decision, Plan


def offers(plan: Plan) -> list[dict[str, Any]]:
    """Every offer for each setting, the strongest first, and whether it won.

    None wins where something else decides, as an envelope without a sender does.
    """
    if plan.offers is None:
        return []
    decided = {each.setting: each for each in plan.decisions}
    rows: list[dict[str, Any]] = []
    settled: set[str] = set()
    for setting, offer, place in plan.offers.everything():
        decision = decided.get(setting.name)
        won = setting.name not in settled and (decision is None or decision.source == offer.source)
        if won:
            settled.add(setting.name)
        rows.append(
            {
                "setting": setting.name,
                "value": Decision(setting.name, offer.value, offer.source).text,
                "source": offer.source,
                "place": place or None,
                "won": won,
            }
        )
    return rows
