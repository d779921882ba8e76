"""How a mail goes out, and how answers to it come back: VirtualMTA, return path, links.

Here live the decisions of the pages named below, for mail that has a Mail Class. Each takes the
first word of the header, the class and the global setting. Those about a `KindCase` hold for all
mails of that kind, those about a `Case` for the one mail. The body is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from fletching.config.model import Config, MailClass
from fletching.config.values import BOUNCE_LOCAL_PART
from fletching.mail.envelope import Envelope
from fletching.policy.case import Case, KindCase, Ledger
from fletching.policy.plan import Tracking, Unsubscribe
from fletching.policy.return_path import SUFFIX_LENGTH
from fletching.policy.route import Route, routes

T = TypeVar("T")

ONE_CLICK = "List-Unsubscribe=One-Click"
"""RFC 8058 section 3.2."""


def route(case: KindCase, mail_class: MailClass, *, tagged: bool) -> Route | None:
    """The VirtualMTA (docs/routing.md). ``tagged``: the return path has room to tell it."""
    config, ledger, mta_id = case.config, case.ledger, case.kind.mta_id
    wanted = config.virtual_mta(mta_id) if mta_id is not None else None
    if mta_id is not None and wanted is None:
        ledger.invalid("X-GreenArrow-MtaID", "must name a VirtualMTA of the configuration")
    by_class = config.virtual_mta(mail_class.virtual_mta) if mail_class.virtual_mta else None
    chosen = wanted or by_class
    if chosen is None:
        return None
    source = "X-GreenArrow-MtaID" if wanted else f"class {mail_class.name}"
    ledger.decided("virtual_mta", chosen.name, source)
    if not _outbound(case.kind.mailers, config, ledger):
        return None
    if config.route_by == "sender" and not tagged:
        ledger.warn("not routed: route_by sender needs a tag in the return path")
        return None
    return routes(chosen, config, case.paused)


def route_again(
    name: str, envelope: Envelope, config: Config, paused: frozenset[str], ledger: Ledger
) -> Route | None:
    """The route of a mail that had that VirtualMTA when it was here first.

    Where recipients' mailers are not told: they were outbound then, or the mail would have had
    no VirtualMTA; where mailers are told, they count.
    """
    chosen = config.virtual_mta(name)
    if chosen is None:
        ledger.warn("not routed: the VirtualMTA that it had is gone from the configuration")
        return None
    ledger.decided("virtual_mta", chosen.name, "X-Mailer-Info")
    if envelope.mailers_told and not _outbound(envelope.mailers, config, ledger):
        return None
    return routes(chosen, config, paused)


def _outbound(mailers: Iterable[str | None], config: Config, ledger: Ledger) -> bool:
    """FILTER would take local recipients out to the network as well."""
    for told in mailers:
        mailer = told or "unknown"
        if mailer not in config.routed_mailers:
            ledger.warn(f"not routed: a recipient's mailer is {mailer}")
            return False
    return True


def bounce_mailbox(case: KindCase, mail_class: MailClass) -> str | None:
    """The mailbox of the return path (docs/return-path.md), None where the sender stays."""
    if case.kind.null_sender:
        # Nothing may bounce to the null sender (RFC 5321 section 4.5.5).
        case.ledger.decided("bounce_mailbox", "<>", "null sender")
        return None
    return case.ledger.pick(
        "bounce_mailbox",
        ("X-GreenArrow-BounceMailboxOverride", case.kind.bounce_mailbox),
        (f"class {mail_class.name}", mail_class.bounce_mailbox),
        ("global", case.config.bounce_mailbox),
    )


def verp(case: KindCase, mail_class: MailClass, mailbox: str) -> bool:
    """Whether the return path gets a tag."""
    config, ledger = case.config, case.ledger
    offers = ((f"class {mail_class.name}", mail_class.verp), ("global", config.verp))
    if not ledger.pick("verp", *offers):
        return False
    room = BOUNCE_LOCAL_PART - (SUFFIX_LENGTH + 1 if config.route_by == "sender" else 0)
    if len(mailbox.rpartition("@")[0]) > room:
        ledger.warn("no tag in the return path: the bounce mailbox is too long for it")
        return False
    if config.link_keys is None:
        ledger.warn("no tag in the return path: there are no link_keys")
        return False
    return True


def tracking(case: KindCase, mail_class: MailClass) -> Tracking:
    """What happens to the body (docs/tracking.md)."""
    kind, config, ledger = case.kind, case.config, case.ledger
    class_says = f"class {mail_class.name}"
    header = ("X-GreenArrow-Click-Tracking-Do", kind.click_tracking)
    clicks = bool(ledger.pick("clicks", header, (class_says, mail_class.track.clicks)))
    opens = bool(ledger.pick("opens", header, (class_says, mail_class.track.opens)))
    if clicks:
        ledger.decided("text", mail_class.track.text, class_says)
    domain = ledger.pick(
        "url_domain",
        ("X-GreenArrow-URL-Domain", kind.url_domain),
        (class_says, mail_class.url_domain),
        ("global", config.url_domain),
    )
    form = ledger.pick(
        "tracker_format",
        ("X-GreenArrow-Tracker-Format", kind.tracker_format),
        (class_says, mail_class.tracker_format),
        ("global", config.tracker_format),
    )
    able = domain is not None and config.link_keys is not None
    if (clicks or opens) and not able:
        ledger.warn(f"not tracked: there is no {'url_domain' if domain is None else 'link_keys'}")
    own_hosts = config.own_hosts
    # No copy where the host is known: all kinds of mail then have the one set.
    if domain is not None and (host := domain.partition("://")[2]) not in own_hosts:
        own_hosts |= {host}
    return Tracking(
        body=kind.click_tracking is not False and able,
        clicks=clicks and able,
        opens=opens and able,
        text=mail_class.track.text,
        trap=config.web is not None and config.web.honeypot,
        domain=domain if able else None,
        form=form or "b",
        own_hosts=own_hosts,
        untracked_hosts=_either(mail_class.untracked_hosts, config.untracked_hosts),
        preserve_visible_urls=_either(
            mail_class.preserve_visible_urls, config.preserve_visible_urls
        ),
        largest=config.max_rewrite_size,
    )


def unsubscribe(
    case: Case, mail_class: MailClass, domain: str | None, email: str
) -> Unsubscribe | None:
    """What List-Unsubscribe gets (docs/unsubscribe.md), None for nothing.

    ``domain``: where links of ours point to. ``email``: the one recipient that they unsubscribe.
    """
    config, ledger, url = case.config, case.ledger, case.asked.unsubscribe_url
    if case.message.has(b"list-unsubscribe"):
        ledger.decided("list_unsubscribe", "as it is", "List-Unsubscribe")
        return None
    if not mail_class.list_unsubscribe and url is None:
        ledger.decided("list_unsubscribe", False, f"class {mail_class.name}")
        return None
    able = mail_class.list_unsubscribe and email != "" and config.link_keys is not None
    mailbox = _either(mail_class.unsubscribe_mailbox, config.unsubscribe_mailbox)
    if url is not None:
        ledger.decided("list_unsubscribe", True, "X-GreenArrow-List-Unsubscribe-HTTP-URL")
        return Unsubscribe(url=url, post=_custom_post(case, url), mailbox=mailbox if able else None)
    if not (able and (domain or mailbox)):
        ledger.warn(
            "no List-Unsubscribe: it needs link_keys and url_domain or unsubscribe_mailbox"
            if email
            else "no List-Unsubscribe: a link of ours would have to name one recipient"
        )
        return None
    ledger.decided("list_unsubscribe", True, f"class {mail_class.name}")
    one_click = _either(mail_class.one_click, config.one_click)
    https = domain is not None and domain.startswith("https:")
    return Unsubscribe(
        own=domain is not None, post=ONE_CLICK if one_click and https else None, mailbox=mailbox
    )


def suppress(case: Case, mail_class: MailClass, listid: str, email: str) -> str:
    """What becomes of a mail whose list must not write to its recipient.

    `off` where there is no list, or nobody who could be on it.
    """
    if not listid or not email:
        source = "recorded as nobody" if listid else "no ListID"
        case.ledger.decided("suppress", "off", source)
        return "off"
    offers = (
        (f"class {mail_class.name}", mail_class.suppress),
        ("global", case.config.suppress),
    )
    return case.ledger.pick("suppress", *offers) or "off"


def _custom_post(case: Case, url: str) -> str | None:
    """To a URL that is not ours only what the header says; never without https."""
    post = case.asked.unsubscribe_post
    if post is not None and not url.lower().startswith("https:"):
        case.ledger.warn("no List-Unsubscribe-Post: the URL is not https")
        return None
    return post


def _either(first: T | None, second: T) -> T:
    return second if first is None else first
