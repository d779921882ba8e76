"""A mail of ours that comes again: requeued, or sent back to us by a content filter
(docs/mail.md, "Second pass").

Its X-Mailer-Info proves that it was processed. It stays as it is; only its route, which Postfix
does not remember, is set again.
"""

from __future__ import annotations

from fletching import tokens
from fletching.policy import route
from fletching.policy.decisions import Decisions, Submission
from fletching.policy.plan import Member
from fletching.tokens import Facts


def facts_of_first(mail: Submission) -> Facts | None:
    """What X-Mailer-Info says of the first pass; None for a mail that was not here before.

    A mail with control headers is new, whatever else it carries.
    """
    if mail.control.count:
        return None
    for header in mail.message.all(b"x-mailer-info"):
        try:
            token = mail.setup.link_keys.open(
                tokens.found_in(header.text.decode("ascii", "replace"))
            )
        except tokens.TokenError:
            continue
        if token.kind is tokens.Kind.MAILER_INFO:
            return token.facts
    return None


def candidates(
    mail: Submission, first: Facts, decisions: Decisions, *, trusted: bool
) -> tuple[Member, ...] | None:
    """The VirtualMTAs that may carry the mail this time; None for Postfix's own routing."""
    config = mail.config
    decisions.record("second pass", f"{first.campaign} {first.number}", "X-Mailer-Info")
    # With `route_by: sender` the return path still shows the transport.
    if not first.mtaid or config.route_by == "sender":
        return None
    if trusted:
        sticks_to = f"{first.campaign}:{first.number}"
        return route.decide_again(mail, first.mtaid, sticks_to, decisions)
    if not mail.envelope.mailers_told:
        # The client may have authenticated; or this is mail of ours that came back to us.
        decisions.warn("not routed: second pass from an untrusted client")
    return None
