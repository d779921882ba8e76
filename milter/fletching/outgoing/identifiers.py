"""What identifies one message: the tokens in its links, its return path, X-Mailer-Info and
List-Unsubscribe.

Here are the values by which a click, a bounce or a complaint that comes back finds its message.
They follow from the Plan and the message's number, and from nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from urllib.parse import quote

from fletching.mail.message import Header
from fletching.numbering import Numbered
from fletching.outgoing.text_parts import TextPartCache
from fletching.outgoing.tracking_urls import CampaignUrls, MessageUrls, url
from fletching.policy.grammar import LONGEST_URI
from fletching.policy.plan import Plan
from fletching.policy.return_path import sender_suffix
from fletching.policy.setup import Stamp
from fletching.tokens import PURPOSES, Facts, Keyring, Kind, Purpose

_INFO_LINE = 72
_PLAIN_IN_MAILTO = "@!$'*+"
"""Characters of an address that a mailto: URI (RFC 6068) need not encode, beside the usual ones."""


def facts_of(plan: Plan, numbered: Numbered | None, stamp: Stamp) -> Facts:
    """What the tokens of a message say. ``numbered`` None: the store did not answer."""
    return Facts(
        campaign=numbered.campaign if numbered else "",
        number=numbered.number if numbered else 0,
        mail_class=plan.mail_class.name if plan.mail_class else "",
        instance_id=plan.instance_id,
        listid=plan.listid,
        click_tracking_id=plan.click_tracking_id,
        email=plan.email,
        mtaid=plan.member.name if plan.member else "",
        sent=stamp.seconds,
        seed=plan.counts_nowhere,
    )


@dataclass(frozen=True)
class Identifiers:
    """The identifiers of one message. ``facts``: what its tokens say."""

    plan: Plan
    facts: Facts
    keys: Keyring
    text_parts: TextPartCache

    def urls(self) -> MessageUrls:
        """What its tracking URLs consist of."""
        return MessageUrls(self._campaign_urls.ends, self._half)

    @cached_property
    def _campaign_urls(self) -> CampaignUrls:
        tracking, facts = self.plan.tracking, self.facts
        return self.text_parts.campaign_urls(
            self.keys, tracking.domain or "", tracking.form, facts.campaign, facts.sendid
        )

    @cached_property
    def _half(self) -> Callable[[Purpose], str]:
        """The message's half of its tokens."""
        # A reference to `self` would be a cycle, which only the garbage collector can free.
        keys, packed = self.keys, self.facts.packed
        return cache(lambda purpose: keys.message_half(purpose, packed))

    def _token(self, kind: Kind) -> str:
        return self._half(PURPOSES[kind]) + self._campaign_urls.half_without_destination(kind)

    @cached_property
    def sender(self) -> str | None:
        """The envelope sender to set, None if it stays."""
        mailbox = self.plan.bounce_mailbox
        if mailbox is None:
            return None
        if not self.plan.verp or not self.facts.number:
            return mailbox
        local, _, domain = mailbox.rpartition("@")
        tag = self.keys.tag(self.facts.campaign, self.facts.number)
        if self.plan.by_sender and self.plan.member is not None:
            tag += f"-{sender_suffix(self.plan.member.route)}"
        return f"{local}{self.plan.delimiter}{tag}@{domain}"

    def headers(self) -> tuple[Header, ...]:
        """The fields to add."""
        return (*self._unsubscribe(), *self._mailer_info(), *self._campaign_id())

    def _campaign_id(self) -> tuple[Header, ...]:
        """The same X-CampaignID in all mail of a campaign with seeds."""
        if self.plan.campaign_ids is None or not self.facts.campaign:
            return ()
        return (Header(b"X-CampaignID", b" " + self.facts.campaign.encode("ascii")),)

    def _mailer_info(self) -> tuple[Header, ...]:
        if not self.keys:
            return ()
        token = self._token(Kind.MAILER_INFO)
        pieces = [token[at : at + _INFO_LINE] for at in range(0, len(token), _INFO_LINE)]
        return (Header(b"X-Mailer-Info", ("\r\n".join(f" {piece}" for piece in pieces)).encode()),)

    def _unsubscribe(self) -> tuple[Header, ...]:
        """List-Unsubscribe and, if its URL is https, List-Unsubscribe-Post."""
        wanted = self.plan.unsubscribe
        if wanted is None:
            return ()
        link = wanted.url if wanted.url is not None else self._unsubscribe_link()
        mail = self._unsubscribe_mail()
        uris = [f" <{uri}>" for uri in (link, mail) if uri is not None]
        if not uris:
            return ()
        # Folded at ", ": Postfix leaves it as it is.
        fields = [Header(b"List-Unsubscribe", ",\r\n".join(uris).encode("ascii"))]
        if wanted.post is not None and link is not None:
            fields.append(Header(b"List-Unsubscribe-Post", b" " + wanted.post.encode("ascii")))
        return tuple(fields)

    def _unsubscribe_link(self) -> str | None:
        domain, form = self.plan.tracking.domain, self.plan.tracking.form
        if self.plan.unsubscribe is None or not self.plan.unsubscribe.own or domain is None:
            return None
        return self._short(lambda token: url(domain, form, Kind.LIST_UNSUBSCRIBE, token))

    def _unsubscribe_mail(self) -> str | None:
        mailbox = self.plan.unsubscribe.mailbox if self.plan.unsubscribe else None
        if mailbox is None:
            return None
        address = quote(mailbox, safe=_PLAIN_IN_MAILTO)
        return self._short(lambda token: f"mailto:{address}?subject={token}")

    def _short(self, uri: Callable[[str], str]) -> str | None:
        """The URI with a token, on a line that Postfix does not break; None if none fits.

        A URI cannot be folded. If it is too long, the token leaves out the VirtualMTA's name, and
        then the Click-Tracking-ID. It must contain the recipient.
        """
        made = uri(self._token(Kind.LIST_UNSUBSCRIBE))
        if len(made) <= LONGEST_URI:
            return made
        for facts in (
            replace(self.facts, mtaid=""),
            replace(self.facts, mtaid="", click_tracking_id=""),
        ):
            made = uri(self.keys.seal(Kind.LIST_UNSUBSCRIBE, facts))
            if len(made) <= LONGEST_URI:
                return made
        return None
