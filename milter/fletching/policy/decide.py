"""Every decision about a mail, each with its source, in the order they are made (docs/mail.md).

Control headers, envelope and configuration come in here; a Plan comes out. What offers a value is
ranked in `offers.py`. Each topic has its own file: `trust`, `second_pass`, `route`, `return_path`,
`tracking`, `lists`, `privacy`, `signers`. The body is not looked at, and the store is not asked.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import replace

from fletching.config.model import MailClass
from fletching.mail.envelope import Envelope
from fletching.mail.message import Message, addresses
from fletching.policy import (
    actions,
    added_headers,
    aliases,
    archive,
    check_mail,
    configured,
    control,
    limits,
    lists,
    mode,
    offers,
    privacy,
    return_path,
    route,
    rule_offers,
    second_pass,
    seed_copy,
    seeding,
    signers,
    subject,
    tracking,
    vendor_headers,
)
from fletching.policy.actions import Actions
from fletching.policy.added_headers import Wanted
from fletching.policy.decisions import Decisions, Submission
from fletching.policy.offers import Asked, Offers, RankedOffers, SourceKind
from fletching.policy.plan import Plan
from fletching.policy.seed_copy import SeedCopy
from fletching.policy.setup import Setup, Stamp
from fletching.policy.trust import trusted
from fletching.policy.verdict import Refusal
from fletching.tokens import Facts

TOO_MANY_FIELDS = Refusal(550, "5.6.0", f"more than {control.MOST_FIELDS} control headers")

SEED_WITHOUT_CLASS = Refusal(550, "5.6.0", "the Mail Class of this seed copy no longer exists")

_DIALECTS_IGNORED = "no Mail Class; headers of dialects ignored"
_MONITOR_BYTES = 128
_REPORT = re.compile(rb"(?i)multipart/report\s*;.*report-type\s*=\s*\"?delivery-status", re.S)
_ANGLE = re.compile(rb"<([^<>]*)>")


def decide(message: Message, envelope: Envelope, setup: Setup, stamp: Stamp) -> Plan:
    """Makes every decision about a mail that does not depend on the store."""
    check = check_mail.read(message, envelope, setup.link_keys, stamp.seconds)
    if check is None:
        return _decided(message, envelope, setup, stamp)
    plan = _decided(message, envelope, setup, stamp, is_check=True)
    return check_mail.planned(plan, check)


def _decided(
    message: Message, envelope: Envelope, setup: Setup, stamp: Stamp, *, is_check: bool = False
) -> Plan:
    copy = seed_copy.read(message, envelope, setup.link_keys)
    if copy is not None:
        envelope = seed_copy.as_submitted(envelope, copy)
    mail = Submission(message, envelope, control.read(message.headers), setup, stamp)
    decisions = Decisions()
    if copy is not None:
        decisions.record("trusted", True, seed_copy.SOURCE)
        return _trusted(mail, decisions, copy)
    is_trusted, why = trusted(envelope, setup.config)
    decisions.record("trusted", is_trusted, why)
    first = second_pass.facts_of_first(mail)
    if first is not None:
        return _again(mail, first, decisions, is_trusted)
    too_many = TOO_MANY_FIELDS if len(mail.control.remove) > control.MOST_FIELDS else None
    if not is_trusted or (too_many and not setup.config.uses_shadow):
        return _removing(mail, decisions, is_trusted, too_many)
    plan = _trusted(mail, decisions, is_check=is_check)
    if too_many is None:
        return plan
    removing = _removing(mail, decisions, is_trusted, too_many)
    if plan.shadow is None:
        return removing
    return replace(removing, mail_class=plan.mail_class, shadow=plan.shadow)


def _removing(
    mail: Submission, decisions: Decisions, is_trusted: bool, refusal: Refusal | None = None
) -> Plan:
    """Control headers are removed and ignored, and nothing else happens."""
    return Plan(
        trusted=is_trusted,
        remove=mail.control.remove,
        decisions=tuple(decisions.made),
        refusal=refusal,
    )


def _again(mail: Submission, first: Facts, decisions: Decisions, is_trusted: bool) -> Plan:
    """A second pass: the route that the mail had, and nothing else."""
    candidates = second_pass.candidates(mail, first, decisions, trusted=is_trusted)
    forged = mail.control.remove
    too_many = TOO_MANY_FIELDS if len(forged) > control.MOST_FIELDS else None
    return Plan(
        trusted=is_trusted,
        remove=forged,
        candidates=candidates or (),
        decisions=tuple(decisions.made),
        warnings=decisions.all_warnings(),
        refusal=too_many or _if_paused(candidates),
    )


def _trusted(
    mail: Submission,
    decisions: Decisions,
    copy: SeedCopy | None = None,
    *,
    is_check: bool = False,
) -> Plan:
    """The Plan of a mail whose control headers count. ``copy``: if it is a seed copy."""
    config = mail.config
    decisions.ignore(*mail.control.invalid)
    dialects = vendor_headers.read(mail.message, config.dialects)
    matched = mail.setup.rules.matching(mail.message, mail.envelope, mail.setup.providers)
    sources = [
        *([seed_copy.offers_of(copy, config)] if copy is not None else []),
        mail.control.offers,
    ]
    foreign = [aliases.read(mail.message, config.header_aliases), *dialects]
    _take(foreign, sources, decisions)
    if matched.rules:
        recorded = privacy.stand_in(mail, RankedOffers(sources), decisions)
        ruled = rule_offers.read(mail, matched, recorded)
        _take(ruled, sources, decisions)
        foreign += ruled
    sources += configured.of_login(config, mail.envelope.login)
    if not _is_notification(mail):
        sources.append(mail.setup.default_class)
    acts, submitted = actions.of(matched, decisions), mail
    if copy is not None or is_check:
        acts = acts.for_seed
    if acts.is_last:
        # Its class matters for the mode only, and is none of the decisions.
        shadow = mode.decide(mail, _mail_class(mail, sources, Decisions()), decisions)
        return replace(_ended(acts, decisions), shadow=shadow)
    if matched.actions:
        mail = actions.changed(mail, acts)
    mail_class = _mail_class(mail, sources, decisions)
    is_live = copy is not None or is_check
    shadow = None if is_live else mode.decide(submitted, mail_class, decisions)
    if copy is not None and (mail_class is None or mail_class.name != copy.facts.mail_class):
        return _removing(mail, decisions, True, SEED_WITHOUT_CLASS)
    remove = mail.control.remove
    if mail_class is not None:
        remove = remove.union(*(asked.remove for asked in foreign))
        plan = _classified(mail, mail_class, sources, remove, acts.headers, decisions)
    else:
        plan = _unclassified(mail, sources, remove, acts.headers, decisions)
    if any(asked.offers.by_setting for asked in dialects) and mail_class is None:
        plan = replace(plan, warnings=(*plan.warnings, _DIALECTS_IGNORED))
    if copy is not None:
        plan = replace(plan, seeding=None, archive=None, seed_copy=copy)
    if shadow is not None:
        plan = replace(plan, shadow=shadow)
    return actions.carried_out(plan, acts, submitted, mail) if matched.actions else plan


def _take(found: Iterable[Asked], sources: list[Offers], decisions: Decisions) -> None:
    for asked in found:
        decisions.ignore(*asked.invalid)
        decisions.warn(*asked.warnings)
        sources.append(asked.offers)


def _ended(acts: Actions, decisions: Decisions) -> Plan:
    """The Plan of a mail that a rule refuses or discards. It takes no message number."""
    return Plan(
        trusted=True,
        remove=frozenset(),
        rejected=None if acts.discards else acts.by,
        discarded=acts.by if acts.discards else None,
        decisions=tuple(decisions.made),
        warnings=decisions.all_warnings(),
        refusal=acts.refusal,
    )


def _unclassified(
    mail: Submission,
    sources: list[Offers],
    remove: frozenset[int],
    wanted: tuple[Wanted, ...],
    decisions: Decisions,
) -> Plan:
    """The Plan of a mail that has no Mail Class.

    ``remove``: positions of fields. ``wanted``: fields that rules add.
    """
    ranked = RankedOffers(sources)
    signatures = signers.decide(mail, ranked, decisions, None)
    headers = added_headers.decide(mail, wanted, {}, signatures, decisions)
    if mail.control.count:
        decisions.warn("no Mail Class; control headers removed and ignored")
    return Plan(
        trusted=True,
        remove=remove,
        signatures=signatures,
        headers=headers,
        decisions=tuple(decisions.made),
        offers=ranked,
        warnings=decisions.all_warnings(),
        refusal=_if_invalid(decisions, ranked, mail.config.on_invalid_header, SourceKind.RULE),
    )


def _classified(
    mail: Submission,
    mail_class: MailClass,
    sources: list[Offers],
    remove: frozenset[int],
    wanted: tuple[Wanted, ...],
    decisions: Decisions,
) -> Plan:
    """The Plan of a mail that has a Mail Class.

    ``remove``: positions of fields. ``wanted``: fields that rules add.
    """
    config = mail.config
    ranked = RankedOffers((*sources, *mail.setup.class_offers[mail_class.name]))
    instance_id = decisions.choose(ranked, offers.INSTANCE_ID) or _today(mail, decisions)
    listid = decisions.choose(ranked, offers.LIST_ID) or ""
    bounce_mailbox = return_path.bounce_mailbox(mail, ranked, decisions)
    verp = return_path.verp(mail, ranked, decisions, bounce_mailbox)
    sendid = mail_class.name + instance_id
    candidates = route.decide(mail, ranked, decisions, sendid, tagged=verp)
    limited = bool(candidates and candidates[0].periods)
    if limited:
        names = ", ".join(each.name for each in candidates or ())
        decisions.record("candidates", names, "in this order, the first one that has room")
    body = tracking.decide(mail, ranked, decisions)
    signatures = signers.decide(mail, ranked, decisions, mail_class)
    values = added_headers.class_values(mail, ranked, decisions, mail_class, instance_id, listid)
    wanted += tuple(added_headers.of_class(mail, mail_class))
    headers = added_headers.decide(mail, wanted, values, signatures, decisions)
    headers += tuple(added_headers.repairs(mail, ranked, headers, decisions))
    email = privacy.email(mail, ranked, decisions, mail_class)
    unsubscribe = lists.unsubscribe(mail, ranked, decisions, body.domain, email)
    replaced = _replaced(mail, decisions, adds_unsubscribe=unsubscribe is not None)
    click_tracking_id = privacy.click_tracking_id(ranked, decisions, mail_class)
    recipients = privacy.looked_up(mail, ranked, decisions)
    suppress = lists.suppress(ranked, decisions, listid, recipients)
    seeds = seeding.decide(mail, ranked, decisions, mail_class)
    several = privacy.several(mail, decisions, mail_class)
    invalid = _if_invalid(decisions, ranked, ranked.value(offers.ON_INVALID_HEADER))
    return Plan(
        trusted=True,
        remove=remove | replaced,
        mail_class=mail_class,
        instance_id=instance_id,
        listid=listid,
        monitor=_monitor(mail.message),
        subject=subject.stored(mail, mail_class),
        click_tracking_id=click_tracking_id,
        email=email,
        suppress=suppress,
        recipients=recipients if suppress != "off" else (),
        logged=privacy.logged(mail, ranked, decisions, mail_class),
        candidates=candidates or (),
        counted=limits.counted(mail.everyone, mail.setup.providers) if limited else (),
        unrouted_over_limit=limited and route.unrouted_over_limit(mail, ranked, candidates or ()),
        bounce_mailbox=bounce_mailbox,
        verp=verp,
        tracking=body,
        unsubscribe=unsubscribe,
        signatures=signatures,
        headers=headers,
        seeding=seeds,
        campaign_ids=None if seeds is None else seeding.campaign_ids(mail),
        untracked_without_store=config.on_store_failure == "untracked",
        window=config.campaign_window,
        bounce_memory=config.bounce_memory,
        archive=archive.decide(decisions, mail_class),
        hides_recipient=privacy.hides_recipient(ranked, decisions),
        delimiter=config.recipient_delimiter,
        by_sender=config.route_by == "sender",
        decisions=tuple(decisions.made),
        offers=ranked,
        warnings=decisions.all_warnings(),
        refusal=invalid or several or _if_paused(candidates),
    )


def _replaced(mail: Submission, decisions: Decisions, *, adds_unsubscribe: bool) -> frozenset[int]:
    """The positions of fields that our own ones replace."""
    positions = mail.positions(b"list-unsubscribe-post") if adds_unsubscribe else frozenset[int]()
    if mail.config.link_keys is None:
        decisions.warn("no X-Mailer-Info: link_keys is not set")
        return positions
    return positions | mail.positions(b"x-mailer-info")


def _mail_class(mail: Submission, sources: list[Offers], decisions: Decisions) -> MailClass | None:
    """The Mail Class, None if there is none."""
    rule = "must name a configured Mail Class"
    return decisions.choose_named(
        RankedOffers(sources), offers.MAIL_CLASS, mail.config.mail_class, rule
    )


def _is_notification(mail: Submission) -> bool:
    """Whether this is a bounce or a notice to the postmaster, which Postfix itself makes.

    It arrives as mail from sendmail(1) does (``internal_mail_filter_classes``); no macro tells the
    difference. cleanup's own notices are always from MAILER-DAEMON; a bounce may have another From
    (bounce(5)), but is a delivery report (RFC 3464) then.
    """
    if not mail.envelope.local:
        return False
    sender, content = mail.message.first(b"from"), mail.message.first(b"content-type")
    if content is not None and _REPORT.match(content.text):
        return True
    return sender is not None and any(
        address.lower().startswith("mailer-daemon@") for address in addresses(sender.value)
    )


def _today(mail: Submission, decisions: Decisions) -> str:
    """The InstanceID of mail for which nothing offers one."""
    day = mail.stamp.time.strftime("%y%m%d")
    decisions.record(offers.INSTANCE_ID.name, day, "today's date")
    return day


def _if_invalid(
    decisions: Decisions,
    ranked: RankedOffers,
    on_invalid: str | None,
    harmless: SourceKind | None = None,
) -> Refusal | None:
    """The refusal because of the first invalid value that no stronger source outranks, if the
    configuration says so.

    ``harmless``: a kind of source for which no mail is refused. What rules set steers classified
    mail only; other mail asked for nothing.
    """
    if on_invalid != "reject":
        return None
    for each in decisions.invalid:
        if each.strict and each.kind is not harmless and not ranked.outrank(each):
            return Refusal(550, "5.6.0", str(each))
    return None


def _if_paused(candidates: tuple[object, ...] | None) -> Refusal | None:
    """The refusal of a mail whose VirtualMTAs are all paused."""
    return route.ALL_PAUSED if candidates == () else None


def _monitor(message: Message) -> str:
    """GreenArrow Monitor's grouping (docs/campaigns.md): X-CampaignID, or a digest of From and
    Subject.

    Of From only the address counts: display names differ within a campaign.
    """
    campaign_id = message.first(b"x-campaignid")
    if campaign_id is not None:
        return campaign_id.text[:_MONITOR_BYTES].decode("ascii", "replace")
    sender, subject = message.first(b"from"), message.first(b"subject")
    text = sender.text if sender else b""
    # The last one: a quoted display name may contain brackets, too.
    address = next(reversed(_ANGLE.findall(text)), text)
    digest = hashlib.sha256(address.lower() + b"\0")
    digest.update((subject.text if subject else b"") + b"\0")
    return digest.hexdigest()[:32]
