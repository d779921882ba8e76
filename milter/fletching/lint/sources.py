"""Who demands what a rule demands, and where that is written.

Here are the sources with the day on which they were read. What each rule is, is in `rules.py`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """A page. ``by``: who demands it. ``read``: the day in ISO 8601, empty for an RFC, which does
    not change."""

    by: str
    url: str
    read: str = ""

    def __str__(self) -> str:
        return f"{self.url}, read {self.read}" if self.read else self.url


def rfc(number: int) -> Source:
    """An RFC."""
    return Source(f"RFC {number}", f"https://www.rfc-editor.org/rfc/rfc{number}")


_DAY = "2026-11-30"

GMAIL = Source("Gmail", "https://support.google.com/mail/answer/81126", _DAY)
YAHOO = Source("Yahoo", "https://emailkarma.net/yahoo-updates-senders-hub-best-practices/", _DAY)
MICROSOFT = Source("Microsoft", "https://dmarcian.com/microsoft-enforces-spf-dkim-dmarc", _DAY)
APPLE = Source("Apple", "https://support.apple.com/en-us/102322", _DAY)
GMX = Source("GMX", "https://postmaster.gmx.net/en/best-practices", _DAY)
WEBDE = Source("WEB.DE", "https://postmaster.web.de/en/requirements-and-recommendations", _DAY)
LAPOSTE = Source(
    "La Poste",
    "https://postmaster.laposte.net/contents/quelles-sont-les-specifications-techniques"
    "-a-respecter-pour-emettre-des-emails-vers-laposte-net",
    _DAY,
)
CLIPPING = Source(
    "Gmail", "https://www.spamresource.com/2022/01/what-is-gmail-clipping-and-what-to-do.html", _DAY
)
SPAMASSASSIN_TEXT = Source(
    "SpamAssassin", "https://wiki.apache.org/spamassassin/Rules/MIME_HTML_MOSTLY", _DAY
)
SPAMASSASSIN_IMAGES = Source(
    "SpamAssassin", "https://wiki.apache.org/spamassassin/Rules/HTML_IMAGE_RATIO_02", _DAY
)
WCAG = Source("WCAG 2.2", "https://www.w3.org/TR/WCAG22/#non-text-content")
SHORTENERS = Source(
    "spam filters", "https://www.wordtothewise.com/2011/06/bitly-gets-you-blocked", _DAY
)
SUBSCRIPTIONS = Source("Gmail", "https://support.google.com/a/answer/15263077", _DAY)
POSTFIX = Source("Postfix", "https://www.postfix.org/postconf.5.html#message_size_limit")
