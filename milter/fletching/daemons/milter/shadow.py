"""Mail in shadow (docs/shadow.md): what is logged and counted of it, and what an error does to it.

Here lives what keeps an error of ours from such a mail. What it would have become is decided in
`outgoing/flow.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from fletching import log, shadow_counts
from fletching.daemons.milter.mail import Mail
from fletching.mail.envelope import Envelope
from fletching.mail.message import Message
from fletching.outgoing.flow import Outcome, in_shadow
from fletching.policy import mode
from fletching.policy.decide import decide
from fletching.policy.plan import Plan
from fletching.policy.setup import Setup, Stamp
from fletching.shadow_counts import Counted

ERROR = "error"
"""What a mail would have become if that could not be computed."""

_ACTIONS = ("rejected", "discarded", "redirected", "hold")
_WORD = re.compile(r"(?<!^)(?=[A-Z])")


def unharmed(
    message: Message, envelope: Envelope, setup: Setup, stamp: Stamp, error: Exception
) -> Outcome:
    """The outcome of a mail in shadow whose changes could not be computed; the error is logged.

    Raises the error if the mail is live.
    """
    plan = _plan(message, envelope, setup, stamp) if setup.config.uses_shadow else None
    if plan is None or plan.shadow is None:
        raise error
    outcome = in_shadow(message, plan)
    log.mail_failed(envelope.queue_id, outcome.verdict, error)
    return outcome


def _plan(message: Message, envelope: Envelope, setup: Setup, stamp: Stamp) -> Plan | None:
    try:
        return decide(message, envelope, setup, stamp)
    except Exception:  # noqa: BLE001 the caller has an error to log already
        return mode.of_undecided(message, setup.config)


def uncollected(mail: Mail, envelope: Envelope, stamp: Stamp, error: Exception) -> Outcome:
    """The same for a mail that could not be collected, perhaps without its body.

    Raises the error unless the header is complete and all mail is in shadow: rules may choose the
    class, and so the mode, by the body.
    """
    if not (mail.has_whole_header and mail.setup.config.is_all_in_shadow):
        raise error
    return unharmed(mail.message(), envelope, mail.setup, stamp, error)


def facts(outcome: Outcome) -> Iterator[tuple[str, object]]:
    """The facts of the log line of a mail in shadow that begin with `would`."""
    would = outcome.would
    if would is None:
        yield "would", ERROR
        return
    yield "would", would.verdict
    if would.refusal is not None:
        yield "would_reply", would.refusal
    if would.member is not None:
        yield "would_mta", would.member.name
        yield "would_transport", would.member.transport
    if would.untracked:
        yield "would_untracked", "store"
    for name in _ACTIONS:
        if (why := getattr(would.plan, name)) is not None:
            yield f"would_{name}", why
    yield "would_edits", len(would.edits)
    yield "would_links", sum(link.rewritten for note in would.notes for link in note.links)


def counts(outcome: Outcome, seconds: float) -> Counter[Counted]:
    """What is counted of a mail in shadow. ``seconds``: from its end to the reply."""
    mail_class, would = outcome.plan.mail_class, outcome.would
    name = mail_class.name if mail_class is not None else ""
    found: Counter[Counted] = Counter()

    def add(topic: str, what: str = "", number: int = 1) -> None:
        found[Counted(name, topic, what)] += number

    add(shadow_counts.TIME, str(shadow_counts.bucket(seconds)))
    add(shadow_counts.SLOWEST, number=int(seconds * 1_000_000))
    add(shadow_counts.VERDICT, ERROR if would is None else would.verdict.value)
    if would is None:
        return found
    for warning in would.warnings:
        add(shadow_counts.WARNING, warning)
    if would.refusal is not None:
        add(shadow_counts.REPLY, str(would.refusal))
        return found
    for action in _ACTIONS:
        if getattr(would.plan, action) is not None:
            add(shadow_counts.ACTION, action)
    for kind, number in Counter(map(type, would.edits)).items():
        add(shadow_counts.EDIT, _WORD.sub("_", kind.__name__).lower(), number)
    for note in would.notes:
        if note.not_rewritten:
            add(shadow_counts.PART, note.not_rewritten)
        left = Counter(link.reason for link in note.links if not link.rewritten)
        for reason, number in left.items():
            add(shadow_counts.LEFT, reason, number)
        if (tracked := len(note.links) - left.total()) > 0:
            add(shadow_counts.TRACKED, number=tracked)
    for signature in would.plan.signatures:
        add(shadow_counts.SIGNATURE, signature.domain)
    if would.plan.mail_class is not None:
        add(shadow_counts.ROUTE, would.member.name if would.member is not None else "")
    return found
