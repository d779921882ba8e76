"""What is decided about all mails of one kind, once (docs/mail.md).

The mails of a campaign go to different readers, and ask for the same. What follows from that alone
is decided here, and remembered: no more of a mail can be seen here than its `MailKind`, so what was
decided about one holds for every other of that kind, as long as the configuration does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial

from fletching.config.model import Config, MailClass
from fletching.policy import tracking
from fletching.policy.case import KindCase, Ledger, MailKind
from fletching.policy.control import Problem
from fletching.policy.plan import Plan

_REMEMBERED = 512
"""Kinds of mail: as many as campaigns on their way, by each login and by Postfix's mailers. Where
every mail has an InstanceID or a bounce mailbox of its own, each is a kind, and nothing is won."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for every mail of a kind.

    ``plan`` is the Plan of each of them, but for what is the mail's own, and without Mail Class
    where it has none. ``problems``: control headers that do not count. ``forced``: its Mail Class
    follows from its login, whatever the mail asks for.
    """

    plan: Plan
    problems: tuple[Problem, ...]
    forced: bool


TermsOf = Callable[[MailKind], Terms]


def decided_once(config: Config, paused: frozenset[str]) -> TermsOf:
    """The terms of any kind under a configuration. ``paused``: VirtualMTAs, in lower case."""
    return lru_cache(maxsize=_REMEMBERED)(partial(_terms, config, paused))


def _terms(config: Config, paused: frozenset[str], kind: MailKind) -> Terms:
    ledger = Ledger()
    case = KindCase(kind, config, paused, ledger)
    mail_class, forced = _mail_class(case)
    plan = Plan(trusted=True, remove=frozenset()) if mail_class is None else _plan(case, mail_class)
    told = replace(plan, reasons=tuple(ledger.reasons), warnings=tuple(ledger.warnings))
    return Terms(told, tuple(ledger.problems), forced)


def _plan(case: KindCase, mail_class: MailClass) -> Plan:
    kind, config, ledger = case.kind, case.config, case.ledger
    instance_id = ledger.pick(
        "instance_id", ("X-GreenArrow-InstanceID", kind.instance_id), ("date", kind.day)
    )
    listid = ledger.pick(
        "listid",
        ("X-GreenArrow-ListID", kind.list_id),
        (f"class {mail_class.name}", mail_class.list_id),
    )
    bounce_mailbox = tracking.bounce_mailbox(case, mail_class)
    verp = bounce_mailbox is not None and tracking.verp(case, mail_class, bounce_mailbox)
    return Plan(
        trusted=True,
        remove=frozenset(),
        mail_class=mail_class,
        instance_id=instance_id or "",
        listid=listid or "",
        route=tracking.route(case, mail_class, tagged=verp),
        bounce_mailbox=bounce_mailbox,
        verp=verp,
        tracking=tracking.tracking(case, mail_class),
        untracked_without_store=config.on_store_failure == "untracked",
        window=config.campaign_window,
        bounce_memory=config.bounce_memory,
        delimiter=config.recipient_delimiter,
        by_sender=config.route_by == "sender",
    )


def _mail_class(case: KindCase) -> tuple[MailClass | None, bool]:
    """The Mail Class (docs/mail.md), and whether the login forces it. An unknown one falls through
    to the next source.
    """
    config, ledger = case.config, case.ledger
    login = config.user_name(case.kind.login)
    user = config.users[login] if login is not None else None
    header, forced = "X-GreenArrow-MailClass", f"force_mail_class of {login}"
    for source, name in (
        (forced, user.force_mail_class if user else None),
        (header, case.kind.mail_class),
        (f"mail_class of {login}", user.mail_class if user else None),
        ("default_mail_class", None if case.kind.notification else config.default_mail_class),
    ):
        if name is None:
            continue
        chosen = config.mail_class(name)
        if chosen is not None:
            ledger.decided("mail_class", chosen.name, source)
            return chosen, source == forced
        # Of the configuration's own names all exist.
        ledger.invalid(header, "must name a Mail Class of the configuration")
    return None, False
