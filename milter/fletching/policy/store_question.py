"""The one question to shared state about a mail, and what its answer changes in the Plan.

The question is a value (`numbering.py`), asked elsewhere. This file decides what happens if
the store does not answer, if recipients are suppressed, and if no VirtualMTA has room.
"""

from __future__ import annotations

from dataclasses import replace

from fletching.numbering import MTA, RECIPIENTS, SEED, Candidate, Numbered, Question, campaign_id
from fletching.policy import archive, check_mail
from fletching.policy.plan import Plan
from fletching.policy.setup import Stamp
from fletching.policy.verdict import Refusal

STORE_UNAVAILABLE = Refusal(451, "4.3.0", "campaign store is not available, try again")
OVER_LIMIT = Refusal(451, "4.7.1", "the VirtualMTA is over its limit, try again later")
SUPPRESSED = Refusal(550, "5.7.1", "the recipient is suppressed for this list")

MOST_NAMED = 100
"""Recipients of a mail that are kept, so that the log reader may name them."""

TOO_MANY = Refusal(550, "5.5.3", "too many suppressed recipients: split the mail")

MOST_REMOVALS = 2_000_000
"""Recipients times suppressed ones of a mail: to remove one, cleanup(8) reads the whole queue file
from the start. This much took Postfix 3.7 about 5 s (docs/limits.md)."""

_NOT_ROUTED = (
    "not routed: route_by: sender requires a VERP tag, and there is none while Redis is unavailable"
)
_UNLIMITED = "not routed: all VirtualMTAs have limits, which cannot be checked without Redis"
NO_ROOM = "not routed: every VirtualMTA is over its limit"
NOT_CHECKED = "limits of the VirtualMTA not checked: Redis was not asked"


def question(plan: Plan, stamp: Stamp) -> Question:
    """What the store needs to number the message and to attribute its bounce."""
    remember = (
        ("listid", plan.listid),
        ("click_tracking_id", plan.click_tracking_id),
        ("email", plan.email),
        *([(MTA, plan.member.name)] if plan.member else []),
        *([(SEED, "yes")] if plan.counts_nowhere else []),
        *([(RECIPIENTS, "\n".join(plan.logged[:MOST_NAMED]))] if len(plan.logged) > 1 else []),
    )
    candidate = campaign_id(stamp.seconds, stamp.entropy)
    asked = Question(
        sendid=plan.sendid,
        mail_class=plan.mail_class.name if plan.mail_class else "",
        instance_id=plan.instance_id,
        monitor=plan.monitor if plan.campaign_ids is None else candidate,
        now=stamp.seconds,
        window=plan.window,
        candidate=candidate,
        remember=remember if plan.verp else (),
        bounce_memory=plan.bounce_memory,
        listid=plan.listid,
        suppress=plan.suppress,
        recipients=plan.recipients,
        candidates=_limited(plan),
        counted=plan.counted,
        needs_room=not plan.unrouted_over_limit,
        subject=plan.subject,
        only_looks=plan.shadow is not None,
    )
    return asked if plan.check_mail is None else _of_check(asked)


def _of_check(asked: Question) -> Question:
    """A campaign that all check mails share, and that no list shows."""
    kept = check_mail.KEPT
    return replace(
        asked, sendid=check_mail.SENDID, window=kept, bounce_memory=kept, is_listed=False
    )


def _limited(plan: Plan) -> tuple[Candidate, ...]:
    """The candidates up to the first one that always has room; none if that is the first."""
    found: list[Candidate] = []
    for member in plan.candidates:
        found.append(Candidate(member.name, member.periods))
        if not member.periods:
            break
    return tuple(found) if found and found[0].periods else ()


def after_answer(plan: Plan, numbered: Numbered | None) -> Plan:
    """The Plan after the store answered; None: it did not."""
    if numbered is None:
        return _without_store(plan)
    plan = _with_room(archive.after_numbering(plan, numbered), numbered)
    if plan.campaign_ids:
        plan = replace(plan, remove=plan.remove | plan.campaign_ids)
    if plan.refusal is not None or not numbered.suppressed or plan.suppress == "off":
        return plan
    if plan.suppress == "refuse":
        return _without(plan, numbered.suppressed)
    reasons = dict.fromkeys(filter(None, numbered.suppressed))
    return replace(plan, warnings=(*plan.warnings, *(f"suppressed: {each}" for each in reasons)))


def _without(plan: Plan, suppressed: tuple[str, ...]) -> Plan:
    """Sent to the recipients that are not suppressed; refused if all are, or too many."""
    if all(suppressed):
        return replace(plan, refusal=SUPPRESSED)
    both = zip(plan.recipients, suppressed, strict=True)
    removed = tuple(address for address, reason in both if reason)
    if len(removed) * len(plan.recipients) > MOST_REMOVALS:
        return replace(plan, refusal=TOO_MANY)
    # A recipient that a rule added is not added; the mail has not been sent to it yet.
    return replace(
        plan,
        removed=(*plan.removed, *(each for each in removed if each not in plan.added)),
        added=tuple(each for each in plan.added if each not in removed),
        logged=tuple(address for address in plan.logged if address not in removed),
        warnings=(*plan.warnings, f"suppressed recipients removed: {len(removed)}"),
    )


def _with_room(plan: Plan, numbered: Numbered) -> Plan:
    """With the candidate that had room only; without any, refused for now, or not routed."""
    if not plan.member or not plan.member.periods or _is_refused(plan, numbered):
        return plan
    if numbered.route is None:
        return replace(plan, warnings=(*plan.warnings, NOT_CHECKED))
    chosen = tuple(each for each in plan.candidates if each.name == numbered.route)[:1]
    if chosen:
        return replace(plan, candidates=chosen)
    if plan.unrouted_over_limit:
        return replace(plan, candidates=(), warnings=(*plan.warnings, NO_ROOM))
    return replace(plan, refusal=OVER_LIMIT)


def _is_refused(plan: Plan, numbered: Numbered) -> bool:
    """Whether the store counted nothing, because all recipients are suppressed."""
    return plan.suppress == "refuse" and bool(numbered.suppressed) and all(numbered.suppressed)


def _without_store(plan: Plan) -> Plan:
    """Refused for now, or sent without clicks and opens. Unsubscribe links need no campaign, and
    stay. A tag needs one, so the return path cannot show the transport either. No limit can be
    checked, so only a VirtualMTA without limits is used.
    """
    if not plan.untracked_without_store:
        return replace(plan, refusal=STORE_UNAVAILABLE)
    unlimited = tuple(each for each in plan.candidates if not each.periods)
    if plan.candidates and not unlimited:
        if not plan.unrouted_over_limit:
            return replace(plan, refusal=STORE_UNAVAILABLE)
        plan = replace(plan, warnings=(*plan.warnings, _UNLIMITED))
    plan = replace(plan, candidates=unlimited)
    tracking = replace(plan.tracking, clicks=False, opens=False)
    # Without a number, nothing chooses the messages to archive.
    plan = replace(plan, archive=None)
    if plan.by_sender and plan.candidates:
        warnings = (*plan.warnings, _NOT_ROUTED)
        return replace(plan, tracking=tracking, candidates=(), warnings=warnings)
    return replace(plan, tracking=tracking)
