"""What matching rules do to a mail: their `do` (docs/actions.md).

Here the actions of all rules that match become one value, and the mail is changed as they say
before anything else is decided: tokens, suppression and routing are those of the new recipients.
Which rules match is decided in `policy/rules/`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fletching.config.rules import Do
from fletching.mail.envelope import Recipient
from fletching.policy.added_headers import Wanted
from fletching.policy.decisions import Decisions, Submission
from fletching.policy.plan import Plan
from fletching.policy.rules.matching import Matched
from fletching.policy.store_question import MOST_REMOVALS
from fletching.policy.verdict import Refusal

TOO_MANY = Refusal(550, "5.5.3", "too many recipients to redirect: split the mail")
NOT_UTF_8 = Refusal(550, "5.6.7", "a recipient to redirect is not UTF-8")


@dataclass(frozen=True, slots=True)
class Actions:
    """The actions of all matching rules. ``by``: the rule that refuses, discards or redirects.

    ``redirect``: the new recipients, None to keep those of the mail. ``headers``: fields to add.
    ``unwanted``: names of fields to remove, in lower case.
    """

    refusal: Refusal | None = None
    discards: bool = False
    by: str = ""
    hold: str | None = None
    redirect: tuple[str, ...] | None = None
    bcc: tuple[str, ...] = ()
    headers: tuple[Wanted, ...] = ()
    unwanted: frozenset[bytes] = frozenset()

    @property
    def is_last(self) -> bool:
        """Whether nothing else is to be decided about the mail."""
        return self.refusal is not None or self.discards

    @property
    def for_seed(self) -> Actions:
        """What is done to a seed copy: it has the header fields of the copied mail, and its own
        recipient."""
        return Actions(headers=self.headers, unwanted=self.unwanted)


def of(matched: Matched, decisions: Decisions) -> Actions:
    """The actions, in the order of the rules. The first one that refuses or discards the mail ends
    it. Of several redirects, the last one counts, since each replaces the recipients.
    """
    found = Actions()
    for source, do in matched.actions:
        _record(do, source, decisions)
        if do.reject is not None:
            return Actions(refusal=Refusal(550, "5.7.1", do.reject), by=source)
        if do.discard:
            return Actions(discards=True, by=source)
        found = _with(found, do, source, decisions)
    return found


def _record(do: Do, source: str, decisions: Decisions) -> None:
    for name in ("reject", "discard", "hold", "redirect", "bcc", "remove_headers"):
        value = getattr(do, name)
        if value is not None:
            text = ", ".join(value) if isinstance(value, tuple) else value
            decisions.record(f"do {name}", text, source)


def _with(found: Actions, do: Do, source: str, decisions: Decisions) -> Actions:
    if do.redirect is not None:
        if found.redirect is not None:
            decisions.warn(f"redirected by several rules: only the last one counts, {source}")
        found = replace(found, redirect=do.redirect, by=source)
    if do.hold is not None:
        hold = do.hold if found.hold is None else f"{found.hold}; {do.hold}"
        found = replace(found, hold=hold)
    added = (Wanted(name, text, source) for name, text in (do.add_headers or {}).items())
    removed = (name.lower().encode("ascii") for name in do.remove_headers or ())
    return replace(
        found,
        bcc=(*found.bcc, *(do.bcc or ())),
        headers=(*found.headers, *added),
        unwanted=found.unwanted.union(removed),
    )


def changed(mail: Submission, actions: Actions) -> Submission:
    """The mail as if it had been submitted as the actions say."""
    message, envelope = mail.message, mail.envelope
    if actions.unwanted:
        kept = tuple(each for each in message.headers if each.key not in actions.unwanted)
        message = replace(message, headers=kept)
    if actions.redirect is not None:
        recipients = tuple(_recipient(address, mail) for address in actions.redirect)
        envelope = replace(envelope, recipients=recipients)
    known = {each.mailbox for each in envelope.recipients}
    bcc = {each.mailbox: each for each in (_recipient(one, mail) for one in actions.bcc)}
    further = tuple(each for mailbox, each in bcc.items() if mailbox not in known)
    return replace(mail, message=message, envelope=envelope, bcc=further, original=mail.message)


def _recipient(address: str, mail: Submission) -> Recipient:
    """A recipient that Postfix has not seen. Its transport is known only if Postfix named that of
    another recipient in its domain: a route would send local mail to the network.
    """
    found = Recipient(address)
    mailers = {each.mailer for each in mail.envelope.recipients if each.domain == found.domain}
    return Recipient(address, mailers.pop()) if len(mailers) == 1 else found


def carried_out(plan: Plan, actions: Actions, mail: Submission, now: Submission) -> Plan:
    """The Plan with the actions. ``mail`` is the mail as it was submitted, ``now`` as it is after
    `changed`.
    """
    before = dict.fromkeys(each.address for each in mail.envelope.recipients)
    after = dict.fromkeys(each.address for each in now.everyone)
    removed = tuple(each for each in before if each not in after)
    unwanted = (each for each in mail.message.headers if each.key in actions.unwanted)
    hold = () if actions.hold is None else (f"held: {actions.hold}",)
    return replace(
        plan,
        remove=plan.remove.union(each.position for each in unwanted if each.position is not None),
        removed=removed,
        added=tuple(each for each in after if each not in before),
        hold=actions.hold,
        redirected=actions.by or None,
        warnings=(*plan.warnings, *hold),
        refusal=plan.refusal or _too_much(removed, mail),
    )


def _too_much(removed: tuple[str, ...], mail: Submission) -> Refusal | None:
    """The refusal of a mail whose recipients Postfix could not remove, or not in a short time."""
    if len(removed) * len(mail.envelope.recipients) > MOST_REMOVALS:
        return TOO_MANY
    for address in removed:
        if any("\ud800" <= character <= "\udfff" for character in address):
            return NOT_UTF_8
    return None
