"""The way of a mail out, from top to bottom: one call per folder. Read this page first.

Here is the order of things and nothing else: what is decided about the mail, the one question to
the store, what the mail becomes, and the edits that make it so. The answer of the store, the time
and the random bytes are passed in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fletching.mail import dkim, seven_bit
from fletching.mail.envelope import Envelope
from fletching.mail.message import Header, Message
from fletching.numbering import CampaignOf
from fletching.outgoing import added_fields, edits
from fletching.outgoing.edits import Discard, Edit, EnvelopeChanges
from fletching.outgoing.identifiers import Identifiers, facts_of
from fletching.outgoing.rewrite import PartNote, Rewritten, rewrite
from fletching.outgoing.text_parts import TextPartCache
from fletching.policy import check_mail
from fletching.policy.decide import decide
from fletching.policy.plan import Member, Plan
from fletching.policy.setup import Setup, Stamp
from fletching.policy.store_question import after_answer, question
from fletching.policy.verdict import Refusal, Verdict, verdict_of
from fletching.tokens import Facts

TOO_MANY_EDITS = Refusal(550, "5.6.0", "too many header fields to edit")

_UNSAFE = "signed, but a signed or encrypted part has 8-bit data or long lines"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is to happen to one mail. ``refusal`` None: accept it, with the edits in order.

    ``final`` is the mail after the edits. ``facts``: what its tokens say, None for a mail without
    a Mail Class. ``member``: the VirtualMTA that carries it. ``sender``: the new envelope sender,
    None if it stays. ``untracked``: the store did not answer, and the mail goes without tracking.
    ``would``: what would happen to a mail in shadow if it were live; None for live mail, and after
    an error.
    """

    plan: Plan
    final: Message
    edits: tuple[Edit, ...] = ()
    refusal: Refusal | None = None
    facts: Facts | None = None
    member: Member | None = None
    sender: str | None = None
    notes: tuple[PartNote, ...] = ()
    warnings: tuple[str, ...] = ()
    untracked: bool = False
    would: Outcome | None = None

    @property
    def is_in_shadow(self) -> bool:
        return self.plan.shadow is not None

    @property
    def verdict(self) -> Verdict:
        return verdict_of(self.refusal)

    def refused(self, refusal: Refusal) -> Outcome:
        """The same mail, refused after all."""
        return replace(self, edits=(), refusal=refusal)


def carry(
    message: Message,
    envelope: Envelope,
    setup: Setup,
    campaign_of: CampaignOf,
    stamp: Stamp,
    text_parts: TextPartCache,
) -> Outcome:
    """Takes one mail all the way. Raises nothing, whatever the mail contains."""
    plan = decide(message, envelope, setup, stamp)
    outcome = _live(message, plan, setup, campaign_of, stamp, text_parts)
    return outcome if plan.shadow is None else replace(in_shadow(message, plan), would=outcome)


def in_shadow(message: Message, plan: Plan) -> Outcome:
    """What happens to a mail in shadow, whatever would happen to it if it were live."""
    plan = plan.in_shadow
    final = _without(message, plan.remove)
    outcome = Outcome(plan, final, edits=edits.between(message, final))
    # Control headers must not leave, so a mail with too many to remove cannot leave either.
    return outcome.refused(TOO_MANY_EDITS) if _has_too_many(message, outcome) else outcome


def _live(
    message: Message,
    plan: Plan,
    setup: Setup,
    campaign_of: CampaignOf,
    stamp: Stamp,
    text_parts: TextPartCache,
) -> Outcome:
    """What happens to a live mail, by its Plan."""
    numbered = None
    if plan.mail_class is not None and plan.refusal is None:
        numbered = campaign_of(question(plan, stamp))
        plan = after_answer(plan, numbered)
    if plan.refusal is not None or plan.nothing:
        return Outcome(plan, message, refusal=plan.refusal, warnings=plan.warnings)
    if plan.discarded is not None:
        return Outcome(plan, message, edits=(Discard(),), warnings=plan.warnings)

    facts, sender, added = None, None, tuple[Header, ...]()
    rewritten = Rewritten(_without(message, plan.remove))
    if plan.mail_class is not None:
        facts = facts_of(plan, numbered, stamp)
        identifiers = Identifiers(plan, facts, setup.link_keys, text_parts)
        rewritten = rewrite(rewritten.message, plan.tracking, identifiers.urls(), text_parts)
        added, sender = identifiers.headers(), identifiers.sender
    added = (*added, *added_fields.written(plan, facts))
    final, unsafe = _finished(rewritten, added, plan, stamp)

    envelope_changes = EnvelopeChanges(sender, plan.removed, plan.added, plan.hold)
    outcome = Outcome(
        plan=plan,
        final=final,
        edits=edits.for_postfix(message, final, envelope_changes, _route(plan)),
        facts=facts,
        member=plan.member,
        sender=sender,
        notes=rewritten.notes,
        warnings=(*plan.warnings, *_not_tracked(plan, rewritten), *unsafe),
        untracked=facts is not None and numbered is None,
    )
    return outcome.refused(TOO_MANY_EDITS) if _has_too_many(message, outcome) else outcome


def _has_too_many(message: Message, outcome: Outcome) -> bool:
    return edits.are_too_much(message, outcome.edits)


def _route(plan: Plan) -> str | None:
    """Where the route header leads; None for no route."""
    if plan.check_mail is not None:
        transport = plan.member.transport if plan.member else check_mail.UNROUTED
        return f"{transport}:{plan.check_mail.sink}"
    return plan.member.route if plan.member and not plan.by_sender else None


def _without(message: Message, positions: frozenset[int]) -> Message:
    """The mail without the header fields at these positions."""
    if not positions:
        return message
    return Message(tuple(h for h in message.headers if h.position not in positions), message.body)


def _finished(
    rewritten: Rewritten, added: tuple[Header, ...], plan: Plan, stamp: Stamp
) -> tuple[Message, tuple[str, ...]]:
    """The mail as it leaves, and a warning if its signature may not survive."""
    message = rewritten.message
    if added:
        message = Message(message.headers + added, message.body)
    if not plan.signatures:
        return message, ()
    safe = seven_bit.to_seven_bit(message, rewritten.encodings)
    signed = dkim.sign(safe.message, plan.signatures, stamp.seconds)
    return signed, () if safe.complete else (_UNSAFE,)


def _not_tracked(plan: Plan, rewritten: Rewritten) -> tuple[str, ...]:
    """Why parts are not tracked although the Plan wants it."""
    if not (plan.tracking.clicks or plan.tracking.opens):
        return ()
    reasons = (f"not tracked: {n.not_rewritten}" for n in rewritten.notes if n.not_rewritten)
    return tuple(dict.fromkeys(reasons))
