"""Mandrill's (Mailchimp Transactional's) headers."""

from __future__ import annotations

from collections.abc import Iterable

from fletching.policy.dialects import values
from fletching.policy.dialects.table import Dialect, Lacks, Row, Sets, VendorError, Wish

_TRACKED = {
    "opens": (True, None),
    "clicks": (None, True),
    "clicks_all": (None, True),
    "clicks_htmlonly": (None, True),
    "clicks_textonly": (None, False),
}


def _track(text: str) -> Iterable[Wish]:
    """A list of what is tracked. What is not in it is not tracked."""
    named = {each.strip().lower() for each in text.split(",")} - {""}
    if not named <= {*_TRACKED, *values.OFF, "none"}:
        known = "opens, clicks, clicks_all, clicks_htmlonly, clicks_textonly and none"
        raise VendorError(f"must be a list of {known}")
    opens = "opens" in named
    clicks = bool(named & {"clicks", "clicks_all", "clicks_htmlonly"})
    yield Sets("opens", "yes" if opens else "no")
    yield Sets("clicks", "yes" if clicks else "no")
    if "clicks_htmlonly" in named:
        yield Sets("text", "no")
    if "clicks_textonly" in named and not clicks:
        yield Lacks("clicks_textonly")


def _https(text: str) -> Iterable[Wish]:
    return [Sets("url_domain", f"https://{text}")]


def _not_here(header: str, meaning: str, example: str) -> Row:
    return Row(header, meaning, "", example, values.lacks)


def _off(header: str, meaning: str, example: str = "true") -> Row:
    return Row(header, meaning, "", example, values.lacks_if_on())


DIALECT = Dialect(
    title="Mandrill (Mailchimp Transactional)",
    namespace="X-MC-",
    rows=(
        Row(
            "X-MC-Track",
            "list of what is tracked: opens, clicks, clicks_all, clicks_htmlonly, clicks_textonly",
            "clicks and opens; what the list does not name is off; `clicks_htmlonly`: not in"
            " plain text",
            "opens,clicks_htmlonly",
            _track,
        ),
        Row(
            "X-MC-Metadata",
            "data that the webhooks repeat (JSON)",
            "Click-Tracking-ID, as it is",
            '{"order": 4711}',
            values.label,
        ),
        Row(
            "X-MC-Tags",
            "tags for statistics",
            "Click-Tracking-ID, if X-MC-Metadata is not",
            "welcome,shop",
            values.label,
            several="joined",
        ),
        Row(
            "X-MC-Subaccount",
            "subaccount: statistics, reputation and quota of its own",
            "Mail Class of that name",
            "newsletter",
            values.class_name,
        ),
        Row(
            "X-MC-TrackingDomain",
            "host of tracking links",
            "URL domain, with https",
            "go.example.com",
            _https,
        ),
        Row(
            "X-MC-SigningDomain",
            "domain of the DKIM signature",
            "X-GreenArrow-DKIM with that domain",
            "example.com",
            values.sets("dkim_domain"),
        ),
        Row(
            "X-MC-IpPool",
            "pool of addresses to send from",
            "VirtualMTA of that name",
            "bulk",
            values.sets("virtual_mta"),
        ),
        Row(
            "X-MC-PreserveRecipients",
            "`false`: each recipient sees no other one",
            "`false` has no counterpart",
            "false",
            values.lacks_if_off,
        ),
        Row(
            "X-MC-Template",
            "stored template",
            "",
            "welcome|main",
            values.lacks_strictly,
        ),
        Row(
            "X-MC-MergeVars",
            "texts for merge tags (JSON)",
            "",
            '{"first": "Ada"}',
            values.lacks_strictly,
            several="joined",
        ),
        _not_here("X-MC-MergeLanguage", "language of merge tags", "handlebars"),
        Row(
            "X-MC-BccAddress",
            "address that gets a copy",
            "",
            "archive@example.com",
            values.lacks_strictly,
        ),
        _not_here("X-MC-ReturnPathDomain", "domain of the return path", "bounces.example.com"),
        _not_here("X-MC-SendAt", "time of sending", "2026-12-24 08:00:00"),
        _not_here("X-MC-GoogleAnalytics", "domains of links to be marked", "example.com"),
        _not_here("X-MC-GoogleAnalyticsCampaign", "mark of links", "welcome"),
        _off("X-MC-Autotext", "make a plain-text part"),
        _off("X-MC-AutoHtml", "make an HTML part"),
        _off("X-MC-InlineCSS", "move CSS into the elements"),
        _off("X-MC-URLStripQS", "strip query strings in statistics"),
        _off("X-MC-ViewContentLink", "content visible in Mandrill"),
        _off("X-MC-Important", "send ahead of other messages"),
    ),
    sources=("https://mandrill.zendesk.com/hc/en-us/articles/205582117",),
    notes=("The headers are removed.",),
)
