"""Every decision about a mail, each with where it came from (docs/mail.md).

Here control headers, envelope and configuration meet, and become a Plan. What holds for all mails
of a kind comes from `terms.py`, and what is the mail's own is added. How a mail travels, and how
answers come back, is in `ways.py`, for both. The body is not looked at, and shared state is not
asked.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from ipaddress import ip_address
from typing import TypedDict

from fletching.config.model import Config, MailClass
from fletching.mail.dkim import Signature, SigningKey
from fletching.mail.envelope import Envelope
from fletching.mail.message import Message, addresses
from fletching.policy import signers, tracking
from fletching.policy.case import Case, Ledger, MailKind
from fletching.policy.control import MOST_FIELDS, ROUTE_HEADER, Control
from fletching.policy.plan import Plan, Reason, Refuse
from fletching.policy.terms import TermsOf
from fletching.tokens import Facts

TOO_MANY_FIELDS = Refuse(550, "5.6.0", f"more than {MOST_FIELDS} control headers")
_MONITOR_OCTETS = 128
_REPORT = re.compile(rb"(?i)multipart/report\s*;.*report-type\s*=\s*\"?delivery-status", re.S)
_ANGLE = re.compile(rb"<([^<>]*)>")


def resolve(
    asked: Control,
    message: Message,
    envelope: Envelope,
    config: Config,
    keys: tuple[SigningKey, ...],
    terms_of: TermsOf,
    now: datetime,
) -> Plan:
    """Decides everything about a mail.

    ``terms_of`` belongs to the configuration. ``now``: in the configuration's time zone.
    """
    ledger = Ledger()
    counts = _trusted(envelope, config, ledger)
    if len(asked.places) > MOST_FIELDS:
        said = _said(ledger, refusal=TOO_MANY_FIELDS)
        return Plan(trusted=counts, remove=asked.places, **said)
    if not counts:
        return Plan(trusted=False, remove=asked.places, **_said(ledger))
    terms = terms_of(_kind(asked, message, envelope, now))
    ledger.problems += asked.problems
    if terms.forced:
        _do_not_refuse("X-GreenArrow-MailClass", ledger)
    ledger.reasons += terms.plan.reasons
    ledger.warnings += terms.plan.warnings
    ledger.problems += terms.problems
    case = Case(asked, message, envelope, config, keys, ledger)
    mail_class = terms.plan.mail_class
    signatures = _signatures(case, mail_class)
    if mail_class is not None:
        return _classified(case, mail_class, terms.plan, signatures)
    if asked.given:
        ledger.warn("no Mail Class: control headers do nothing but go")
    said = _said(ledger, config.on_invalid_header)
    return Plan(trusted=True, remove=asked.places, signatures=signatures, **said)


def _kind(asked: Control, message: Message, envelope: Envelope, now: datetime) -> MailKind:
    return MailKind(
        login=envelope.login,
        notification=envelope.local and _is_notification(message),
        null_sender=not envelope.sender,
        mailers=envelope.mailers,
        day=now.strftime("%y%m%d") if asked.instance_id is None else "",
        mail_class=asked.mail_class,
        instance_id=asked.instance_id,
        list_id=asked.list_id,
        mta_id=asked.mta_id,
        bounce_mailbox=asked.bounce_mailbox,
        url_domain=asked.url_domain,
        click_tracking=asked.click_tracking,
        tracker_format=asked.tracker_format,
    )


def _is_notification(message: Message) -> bool:
    """Whether local mail is a bounce or a notice to the postmaster, which Postfix itself makes.

    It comes as mail from sendmail(1) does (``internal_mail_filter_classes``); no macro tells the
    difference. Always from MAILER-DAEMON in cleanup's own notices; bounce(5) may have another From,
    but is a delivery report (RFC 3464) then.
    """
    sender, content = message.first(b"from"), message.first(b"content-type")
    if content is not None and _REPORT.match(content.text):
        return True
    return sender is not None and any(
        address.lower().startswith("mailer-daemon@") for address in addresses(sender.value)
    )


def second_pass(
    seen: Facts, message: Message, envelope: Envelope, config: Config, paused: frozenset[str]
) -> Plan:
    """The Plan for a mail of ours that comes again: the route that it had, and nothing else."""
    ledger = Ledger()
    counts = _trusted(envelope, config, ledger)
    ledger.decided("second pass", f"{seen.campaign} {seen.number}", "X-Mailer-Info")
    by_sender = config.route_by == "sender"  # then the return path still says it
    route = None
    if counts and seen.mtaid and not by_sender:
        route = tracking.route_again(seen.mtaid, envelope, config, paused, ledger)
    elif seen.mtaid and not by_sender and not envelope.mailers_told:
        # Perhaps its client had authenticated; perhaps it is mail of ours that came back to us.
        ledger.warn("not routed: comes again from a client of no trusted network")
    forged = _places(message, ROUTE_HEADER.lower())
    refusal = TOO_MANY_FIELDS if len(forged) > MOST_FIELDS else None
    return Plan(trusted=counts, remove=forged, route=route, **_said(ledger, refusal=refusal))


def _classified(
    case: Case, mail_class: MailClass, plan: Plan, signatures: tuple[Signature, ...]
) -> Plan:
    """The Plan of its kind, and what is the mail's own."""
    asked, config, ledger = case.asked, case.config, case.ledger
    email = _email(case, mail_class)
    unsubscribe = tracking.unsubscribe(case, mail_class, plan.tracking.domain, email)
    replaced: set[int] = set()
    if unsubscribe is not None:
        replaced |= _places(case.message, b"list-unsubscribe-post")
    if config.link_keys is not None:
        replaced |= _places(case.message, b"x-mailer-info")
    else:
        ledger.warn("no X-Mailer-Info: there are no link_keys")
    return replace(
        plan,
        remove=asked.places | replaced,
        monitor=_monitor(case.message),
        click_tracking_id=_click_tracking_id(case, mail_class),
        email=email,
        suppress=tracking.suppress(case, mail_class, plan.listid, email),
        logged=_logged(case, mail_class),
        unsubscribe=unsubscribe,
        signatures=signatures,
        seed=asked.seed,
        seed_progress=asked.seed_progress,
        # Last, since all the others have something to say.
        **_said(
            ledger,
            mail_class.on_invalid_header or config.on_invalid_header,
            _several(case, mail_class),
        ),
    )


class _Said(TypedDict):
    """The part of a Plan that tells how it was made."""

    reasons: tuple[Reason, ...]
    warnings: tuple[str, ...]
    refusal: Refuse | None


def _said(ledger: Ledger, on_invalid: str = "ignore", refusal: Refuse | None = None) -> _Said:
    """All that was said, and the refusal that follows."""
    strict = [problem for problem in ledger.problems if problem.strict]
    if strict and on_invalid == "reject":
        refusal = Refuse(550, "5.6.0", str(strict[0]))
    return {
        "reasons": tuple(ledger.reasons),
        "warnings": tuple(dict.fromkeys([*map(str, ledger.problems), *ledger.warnings])),
        "refusal": refusal,
    }


def trusted(envelope: Envelope, config: Config) -> bool:
    """Whether the control headers of such a mail count."""
    return _trusted(envelope, config, Ledger())


def _trusted(envelope: Envelope, config: Config, ledger: Ledger) -> bool:
    """Whether the client is trusted (docs/mail.md, "Trusted clients")."""
    # An empty name is nobody who could have authenticated.
    if envelope.login and config.trusted.authenticated:
        ledger.decided("trusted", True, "SMTP AUTH")
        return True
    services = config.trusted.services
    # sendmail(1) is no smtpd service; whoever can run it is on this host.
    if services and not envelope.local and envelope.service not in services:
        ledger.decided("trusted", False, "trusted.services")
        return False
    near = _in_networks(envelope.client, config.trusted.networks)
    ledger.decided("trusted", near, "trusted.networks")
    return near


@lru_cache(maxsize=1024)
def _in_networks(client: str, networks: tuple[object, ...]) -> bool:
    try:
        address = ip_address(client)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)  # type: ignore[operator]


def _do_not_refuse(header: str, ledger: Ledger) -> None:
    """What does not count anyway is no reason to refuse a mail."""
    ledger.problems = [
        replace(problem, strict=False) if problem.header == header else problem
        for problem in ledger.problems
    ]


def _signatures(case: Case, mail_class: MailClass | None) -> tuple[Signature, ...]:
    """Which signatures to make (docs/dkim.md, "Which keys sign")."""
    dkim, wishes, ledger = case.config.dkim, case.asked.dkim, case.ledger
    if case.envelope.local or not dkim.enabled:
        _do_not_refuse("X-GreenArrow-DKIM", ledger)
    if wishes is not None and case.envelope.local:
        ledger.invalid("X-GreenArrow-DKIM", "does not count in mail from sendmail", False)
        wishes = None
    if not dkim.enabled:
        ledger.decided("dkim", False, "dkim.enabled")
        if wishes is not None:
            ledger.invalid("X-GreenArrow-DKIM", "does not count: dkim.enabled is false", False)
        return ()
    if mail_class is None and not dkim.sign_unclassified:
        return ()
    signatures, unsigned = signers.choose(case.message, wishes, case.keys)
    ledger.warnings += unsigned
    source = "default key" if wishes is None else "X-GreenArrow-DKIM"
    for signature in signatures:
        ledger.decided("dkim", f"{signature.selector}._domainkey.{signature.domain}", source)
    return signatures


def _email(case: Case, mail_class: MailClass) -> str:
    """What is recorded as the recipient (docs/mail.md, "Obscured addresses"), empty for nothing."""
    if case.shared:
        case.ledger.decided("recorded as", "nobody", "several recipients")
        return ""
    if mail_class.privacy == "aggregate":
        case.ledger.decided("recorded as", "nobody", f"class {mail_class.name}")
        return ""
    if _obscured_but_invalid(case.asked):
        case.ledger.decided("recorded as", "nobody", "X-GreenArrow-Obscured-Email")
        case.ledger.warn("recipient not recorded, since its obscured form is not valid")
        return ""
    email = case.ledger.pick(
        "recorded as",
        ("X-GreenArrow-Obscured-Email", case.asked.obscured_email),
        ("envelope", next((to.address for to in case.envelope.recipients), None)),
    )
    return email or ""


def _logged(case: Case, mail_class: MailClass) -> tuple[str, ...]:
    if case.asked.obscured_email is not None:
        return (case.asked.obscured_email,)
    if mail_class.privacy == "aggregate" or _obscured_but_invalid(case.asked):
        return ()
    return tuple(recipient.address for recipient in case.envelope.recipients)


def _obscured_but_invalid(asked: Control) -> bool:
    """Who tries to hide an address must not see it written down because of a slip."""
    return any(problem.header == "X-GreenArrow-Obscured-Email" for problem in asked.problems)


def _click_tracking_id(case: Case, mail_class: MailClass) -> str:
    given = case.asked.click_tracking_id
    if given is None:
        return ""
    if mail_class.privacy == "aggregate":
        case.ledger.decided("click_tracking_id", "none", f"class {mail_class.name}")
        return ""
    case.ledger.decided("click_tracking_id", given, "X-GreenArrow-Click-Tracking-ID")
    return given


def _several(case: Case, mail_class: MailClass) -> Refuse | None:
    """The refusal of a mail to several recipients (docs/mail.md, "Several recipients"), or None."""
    if not case.shared:
        return None
    if mail_class.multiple_recipients == "reject":
        return Refuse(550, "5.5.3", "this Mail Class takes one recipient a message")
    case.ledger.warn("several recipients share one body: links name none of them")
    return None


def _monitor(message: Message) -> str:
    """GreenArrow Monitor's grouping (docs/campaigns.md): X-CampaignID, else From and Subject.

    Of From only the address counts: display names differ within a campaign.
    """
    campaign_id = message.first(b"x-campaignid")
    if campaign_id is not None:
        return campaign_id.text[:_MONITOR_OCTETS].decode("ascii", "replace")
    sender, subject = message.first(b"from"), message.first(b"subject")
    text = sender.text if sender else b""
    # The last one: a display name in quotes may hold brackets, too.
    address = next(reversed(_ANGLE.findall(text)), text)
    digest = hashlib.sha256(address.lower() + b"\0")
    digest.update((subject.text if subject else b"") + b"\0")
    return digest.hexdigest()[:32]


def _places(message: Message, name: bytes) -> frozenset[int]:
    """The places of the fields of that name."""
    return frozenset(h.place for h in message.all(name) if h.place is not None)
