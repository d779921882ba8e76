"""The mailing list of a mail: List-Unsubscribe and the suppression list."""

from __future__ import annotations

import re

from fletching.mail.address import is_address
from fletching.policy import offers
from fletching.policy.decisions import Decisions, Submission
from fletching.policy.offers import RankedOffers
from fletching.policy.plan import Unsubscribe

ONE_CLICK = "List-Unsubscribe=One-Click"
"""RFC 8058 section 3.2."""

_OBSCURED = re.compile(r"[ -~]{1,255}")


def unsubscribe(
    mail: Submission, ranked: RankedOffers, decisions: Decisions, domain: str | None, email: str
) -> Unsubscribe | None:
    """The List-Unsubscribe field to add, None for none.

    ``domain``: where our own links point to. ``email``: the one recipient that they unsubscribe.
    """
    name = offers.LIST_UNSUBSCRIBE.name
    if mail.message.has(b"list-unsubscribe"):
        decisions.record(name, "kept", "List-Unsubscribe")
        return None
    wanted, custom = ranked.best(offers.LIST_UNSUBSCRIBE), ranked.best(offers.LIST_UNSUBSCRIBE_URL)
    ours = wanted is not None and wanted.value
    able = ours and email != "" and mail.config.link_keys is not None
    mailbox = ranked.value(offers.UNSUBSCRIBE_MAILBOX)
    if custom is not None:
        decisions.record(name, True, custom.source)
        post = _custom_post(custom.value, ranked, decisions)
        return Unsubscribe(url=custom.value, post=post, mailbox=mailbox if able else None)
    if not ours:
        decisions.choose(ranked, offers.LIST_UNSUBSCRIBE)
        return None
    if not (able and (domain or mailbox)):
        decisions.warn(
            "no List-Unsubscribe: requires link_keys and either url_domain or unsubscribe_mailbox"
            if email
            else "no List-Unsubscribe: needs exactly one recorded recipient"
        )
        return None
    decisions.choose(ranked, offers.LIST_UNSUBSCRIBE)
    https = domain is not None and domain.startswith("https:")
    post = ONE_CLICK if ranked.value(offers.ONE_CLICK) and https else None
    return Unsubscribe(own=domain is not None, post=post, mailbox=mailbox)


def suppress(
    ranked: RankedOffers, decisions: Decisions, listid: str, recipients: tuple[str, ...]
) -> str:
    """What happens to a mail whose recipients are suppressed for its list.

    `off` if there is no list, or no recipient who could be on it.
    """
    if not listid or not recipients:
        source = "no address to look up" if listid else "no ListID"
        decisions.record(offers.SUPPRESS.name, "off", source)
        return "off"
    return decisions.choose(ranked, offers.SUPPRESS) or "off"


def check_suppressible(address: str, *, obscured: bool) -> None:
    """Raises ValueError if no mail could be to a recipient that is on a suppression list so.

    ``obscured``: a value of X-GreenArrow-Obscured-Email is allowed, too.
    """
    if is_address(address) or (obscured and _OBSCURED.fullmatch(address)):
        return
    if obscured:
        raise ValueError("must be a mail address, or 1 to 255 printable ASCII characters")
    raise ValueError("must be a bare mail address such as name@example.com")


def _custom_post(url: str, ranked: RankedOffers, decisions: Decisions) -> str | None:
    """For a URL that is not ours, only the value that the mail asks for; never without https."""
    post = ranked.value(offers.LIST_UNSUBSCRIBE_POST)
    if post is not None and not url.lower().startswith("https:"):
        decisions.warn("no List-Unsubscribe-Post: the unsubscribe URL is not https")
        return None
    return post
