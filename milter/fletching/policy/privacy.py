"""What is recorded of the recipient: in tokens, in Redis, in the log (docs/mail.md)."""

from __future__ import annotations

from collections.abc import Mapping

from fletching.config.model import MailClass
from fletching.policy import offers
from fletching.policy.decisions import Decisions, Submission
from fletching.policy.offers import RankedOffers
from fletching.policy.verdict import Refusal

ONE_RECIPIENT = Refusal(550, "5.5.3", "this Mail Class allows one recipient per message")

_RECORDED = "recorded recipient"


def email(
    mail: Submission, ranked: RankedOffers, decisions: Decisions, mail_class: MailClass
) -> str:
    """What stands for the recipient in tokens and records, empty for nothing."""
    if mail.shares_body:
        several = mail.has_several_recipients
        decisions.record(_RECORDED, "none", "several recipients" if several else "bcc")
        return ""
    if mail_class.privacy == "aggregate":
        decisions.record(_RECORDED, "none", f"class {mail_class.name}")
        return ""
    if (invalid := _invalid_obscured(decisions)) is not None:
        decisions.record(_RECORDED, "none", invalid)
        decisions.warn("recipient not recorded: the obscured address is invalid")
        return ""
    obscured = ranked.best(offers.OBSCURED_EMAIL)
    if obscured is not None:
        decisions.record(_RECORDED, obscured.value, obscured.source)
        return obscured.value
    for recipient in mail.envelope.recipients[:1]:
        decisions.record(_RECORDED, recipient.address, "envelope")
        return recipient.address
    return ""


def shown(mail: Submission, ranked: RankedOffers, decisions: Decisions) -> str:
    """What stands for the one recipient in header fields that are added; empty for several."""
    obscured = ranked.value(offers.OBSCURED_EMAIL)
    if mail.shares_body or _invalid_obscured(decisions) is not None:
        return ""
    if obscured is not None:
        return obscured
    return next((recipient.address for recipient in mail.envelope.recipients), "")


def stand_in(mail: Submission, ranked: RankedOffers, decisions: Decisions) -> Mapping[str, str]:
    """What rules use in place of the recipient; nothing if the mail does not hide it."""
    if not hides_recipient(ranked, decisions):
        return {}
    return {"recipient": shown(mail, ranked, decisions)}


def looked_up(mail: Submission, ranked: RankedOffers, decisions: Decisions) -> tuple[str, ...]:
    """What stands for the recipients in the suppression list. Looking it up records nothing.

    Nothing if it is not known which obscured address stands for which recipient. A recipient whose
    address is not UTF-8 could not be removed, and is left out.
    """
    if _invalid_obscured(decisions) is not None:
        return ()
    obscured = ranked.value(offers.OBSCURED_EMAIL)
    if obscured is not None:
        return () if mail.has_several_recipients else (obscured,)
    addresses = [recipient.address for recipient in mail.envelope.recipients]
    if mail.has_several_recipients:
        return tuple(address for address in dict.fromkeys(addresses) if _is_utf8(address))
    return tuple(addresses[:1])


def logged(
    mail: Submission, ranked: RankedOffers, decisions: Decisions, mail_class: MailClass
) -> tuple[str, ...]:
    """What stands for the recipients in the log."""
    obscured = ranked.value(offers.OBSCURED_EMAIL)
    if obscured is not None:
        return (obscured,)
    if mail_class.privacy == "aggregate" or _invalid_obscured(decisions) is not None:
        return ()
    return tuple(recipient.address for recipient in mail.everyone)


def hides_recipient(ranked: RankedOffers, decisions: Decisions) -> bool:
    """Whether the mail asks that the recipient's address be written nowhere."""
    is_obscured = ranked.best(offers.OBSCURED_EMAIL) is not None
    return is_obscured or _invalid_obscured(decisions) is not None


def click_tracking_id(ranked: RankedOffers, decisions: Decisions, mail_class: MailClass) -> str:
    """The Click-Tracking-ID to record, empty for none."""
    if mail_class.privacy == "aggregate" and ranked.best(offers.CLICK_TRACKING_ID) is not None:
        decisions.record(offers.CLICK_TRACKING_ID.name, "none", f"class {mail_class.name}")
        return ""
    return decisions.choose(ranked, offers.CLICK_TRACKING_ID) or ""


def several(mail: Submission, decisions: Decisions, mail_class: MailClass) -> Refusal | None:
    """The refusal of a mail whose one body would go to several recipients, if its class says so.

    A bcc that a rule adds is no reason to refuse it: the application cannot help it.
    """
    if mail.has_several_recipients and mail_class.multiple_recipients == "reject":
        return ONE_RECIPIENT
    if mail.has_several_recipients:
        decisions.warn("several recipients share one body: links identify none of them")
    elif mail.bcc:
        decisions.warn("bcc: recipients share one body, so links identify none of them")
    return None


def _is_utf8(address: str) -> bool:
    """Whether it has no bytes that were not UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in address)


def _invalid_obscured(decisions: Decisions) -> str | None:
    """The source of an invalid obscured address: who tries to hide an address must not see it
    recorded because of a typing error."""
    return next(
        (each.source for each in decisions.invalid if each.setting is offers.OBSCURED_EMAIL), None
    )
