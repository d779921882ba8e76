"""Mail in shadow (docs/shadow.md): what the log says of it, and what an error does to it.

Here lives what keeps an error of ours from such a mail. What it would have become is decided in
`outgoing/flow.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

from fletching.mail.envelope import Envelope
from fletching.mail.message import Message
from fletching.outgoing.flow import Outcome, in_shadow
from fletching.policy import mode
from fletching.policy.decide import decide
from fletching.policy.plan import Plan
from fletching.policy.setup import Setup, Stamp

ERROR = "error"
"""What a mail would have become if that could not be computed."""


def after_error(message: Message, envelope: Envelope, setup: Setup, stamp: Stamp) -> Outcome | None:
    """The outcome of a mail whose changes could not be computed; None if it is live.

    Raises nothing unless even the control headers cannot be removed.
    """
    if not setup.config.uses_shadow:
        return None
    plan: Plan | None
    try:
        plan = decide(message, envelope, setup, stamp)
    except Exception:  # noqa: BLE001 the caller has an error to log already
        plan = mode.of_undecided(message, setup.config)
    return None if plan is None or plan.shadow is None else in_shadow(message, plan)


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
    for name in ("rejected", "discarded", "redirected", "hold"):
        if (why := getattr(would.plan, name)) is not None:
            yield f"would_{name}", why
    yield "would_edits", len(would.edits)
    yield "would_links", sum(link.rewritten for note in would.notes for link in note.links)
