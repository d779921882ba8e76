"""Which messages are archived: the share of a class's mail that numbers choose (docs/archive.md).

The choice is a function of campaign, number and share, so all hosts make the same one.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from fletching.config.model import Archive, MailClass
from fletching.numbering import Numbered
from fletching.policy.decisions import Decisions
from fletching.policy.plan import Plan

OBSCURED = "not archived: the recipient's address is obscured"

_WHOLE = 10**9


def decide(decisions: Decisions, mail_class: MailClass) -> Archive | None:
    """The archive of the class's mail, None for none."""
    if mail_class.archive is not None:
        share = f"{mail_class.archive.sample:g} of the messages"
        decisions.record("archive", share, f"class {mail_class.name}")
    return mail_class.archive


def after_numbering(plan: Plan, numbered: Numbered) -> Plan:
    """The Plan without an archive if the message's number does not choose it, or it is a copy for a
    seed.

    Not archived either, with a warning: a message whose recipient's address is obscured, since the
    copy would show the address.
    """
    if plan.archive is None:
        return plan
    if plan.seed_copy is not None or not is_chosen(
        numbered.campaign, numbered.number, plan.archive.sample
    ):
        return replace(plan, archive=None)
    if plan.hides_recipient:
        return replace(plan, archive=None, warnings=(*plan.warnings, OBSCURED))
    return plan


def is_chosen(campaign: str, number: int, share: float) -> bool:
    """Whether the message is in the share, from 0 to 1, of its campaign.

    The chosen numbers are evenly spread: among any n numbers in a row, their count differs from
    n times the share by less than one. Where they begin depends on the campaign, so that small
    campaigns, too, are archived to that share on average.
    """
    part = round(share * _WHOLE)
    digest = hashlib.sha256(b"fletching archive\0" + campaign.encode()).digest()
    begin = int.from_bytes(digest[:8], "big") % _WHOLE
    return (number * part + begin) // _WHOLE > ((number - 1) * part + begin) // _WHOLE
