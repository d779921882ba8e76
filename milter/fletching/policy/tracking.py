"""What happens to the body: clicks, opens, and where tracking links point to."""

from __future__ import annotations

from fletching.policy import offers
from fletching.policy.decisions import Decisions, Submission
from fletching.policy.offers import RankedOffers
from fletching.policy.plan import Tracking


def decide(mail: Submission, ranked: RankedOffers, decisions: Decisions) -> Tracking:
    """The tracking of a mail that has a Mail Class."""
    config = mail.config
    clicks = decisions.choose(ranked, offers.CLICKS) is True
    opens = decisions.choose(ranked, offers.OPENS) is True
    text = decisions.choose(ranked, offers.TEXT) if clicks else ranked.value(offers.TEXT)
    domain = decisions.choose(ranked, offers.URL_DOMAIN)
    form = decisions.choose(ranked, offers.TRACKER_FORMAT)
    able = domain is not None and config.link_keys is not None
    if (clicks or opens) and not able:
        missing = "url_domain" if domain is None else "link_keys"
        decisions.warn(f"not tracked: {missing} is not set")
    own_hosts = config.own_hosts
    # No copy if the host is known: all mails then share one set.
    if domain is not None and (host := domain.partition("://")[2]) not in own_hosts:
        own_hosts |= {host}
    return Tracking(
        body=ranked.value(offers.CLICK_TRACKING) is not False and able,
        clicks=clicks and able,
        opens=opens and able,
        text=text is True,
        trap=config.web is not None and config.web.honeypot,
        domain=domain if able else None,
        form=form or "b",
        own_hosts=own_hosts,
        untracked_hosts=ranked.value(offers.UNTRACKED_HOSTS) or (),
        preserve_visible_urls=ranked.value(offers.PRESERVE_VISIBLE_URLS) is True,
        largest=config.max_rewrite_size,
    )
