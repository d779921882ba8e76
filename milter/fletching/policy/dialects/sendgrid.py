"""SendGrid's header, X-SMTPAPI: an object in JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fletching.policy.dialects import values
from fletching.policy.dialects.table import Dialect, Key, Lacks, Row, Sets, VendorError, Wish
from fletching.policy.dialects.values import Json, json_flag


def _settings(value: object) -> dict[str, Any]:
    """The settings of a filter."""
    settings = value.get("settings", {}) if isinstance(value, dict) else None
    if not isinstance(settings, dict):
        raise VendorError("must be an object with settings")
    return settings


def _on(settings: dict[str, Any], name: str = "enable") -> bool | None:
    """Whether a setting is on, None if it is not given."""
    try:
        return json_flag(settings[name]) if name in settings else None
    except VendorError as error:
        raise VendorError(f"{name} {error}") from None


def _switch(control: str, on: bool) -> Sets:
    return Sets(control, "yes" if on else "no")


def _clicks(value: object) -> Iterable[Wish]:
    settings = _settings(value)
    on, text = _on(settings), _on(settings, "enable_text")
    if on is not None:
        yield _switch("clicks", on)
    if text is not None and on is not False:
        yield _switch("text", text)


def _opens(value: object) -> Iterable[Wish]:
    settings = _settings(value)
    on = _on(settings)
    if on is not None:
        yield _switch("opens", on)
    if on is not False and "replace" in settings:
        yield Lacks("replace")


def _unsubscribe(value: object) -> Iterable[Wish]:
    settings = _settings(value)
    on = _on(settings)
    if on is not None:
        yield _switch("list_unsubscribe", on)
    if on is not False:
        texts = {"text/html", "text/plain", "replace"} & settings.keys()
        yield from (Lacks(each, strict=True) for each in sorted(texts))


def _signature(value: object) -> Iterable[Wish]:
    settings = _settings(value)
    if "domain" in settings and not _on(settings, "use_from"):
        yield Sets("dkim_domain", values.json_text(settings["domain"]))


def _group(value: object) -> Iterable[Wish]:
    """The number of an unsubscribe group."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise VendorError("must be a number")
    return [Sets("list_id", str(value))]


def _lacks_if_on(strict: bool) -> Json:
    return lambda value: [] if _on(_settings(value)) is False else [Lacks(strict=strict)]


def _filter(name: str, meaning: str, strict: bool = False) -> Key:
    example = '{"settings": {"enable": 1}}'
    return Key(f"filters.{name}", meaning, "", example, _lacks_if_on(strict))


_KEYS = (
    Key(
        "unique_args",
        "data that the webhooks repeat",
        "Click-Tracking-ID: the object in JSON, without blanks",
        '{"order": "4711"}',
        values.json_object,
    ),
    Key(
        "category",
        "one or several categories for statistics",
        "Click-Tracking-ID, if unique_args is not",
        '"welcome"',
        values.json_texts,
    ),
    Key(
        "asm_group_id",
        "unsubscribe group",
        "ListID: the number of the group",
        "12",
        _group,
    ),
    Key(
        "ip_pool",
        "pool of addresses to send from",
        "VirtualMTA of that name",
        '"bulk"',
        values.json_sets("virtual_mta"),
    ),
    Key(
        "filters.clicktrack",
        "click tracking: enable, enable_text",
        "clicks, in plain text too with enable_text",
        '{"settings": {"enable": 1, "enable_text": false}}',
        _clicks,
    ),
    Key(
        "filters.opentrack",
        "open tracking: enable, replace",
        "opens; replace has no counterpart: write `<opentag/>` where the pixel is to be",
        '{"settings": {"enable": 0}}',
        _opens,
    ),
    Key(
        "filters.subscriptiontrack",
        "unsubscribe links: enable, text/html, text/plain, replace",
        "List-Unsubscribe; links in the text have no counterpart: write `##unsubscribetag##`",
        '{"settings": {"enable": 0}}',
        _unsubscribe,
    ),
    Key(
        "filters.dkim",
        "domain of the DKIM signature",
        "X-GreenArrow-DKIM with that domain",
        '{"settings": {"domain": "example.com", "use_from": false}}',
        _signature,
    ),
    Key(
        "filters.domainkeys",
        "domain of the DKIM signature (older name)",
        "as filters.dkim",
        '{"settings": {"enable": 1, "domain": "example.com"}}',
        _signature,
    ),
    Key("to", "recipients", "", '["reader@example.org"]', values.json_lacks_strictly),
    Key(
        "sub",
        "texts for each recipient",
        "",
        '{"-name-": ["Ada"]}',
        values.json_lacks_strictly,
    ),
    Key(
        "section",
        "texts for substitutions",
        "",
        '{"-a-": "Dear -name-"}',
        values.json_lacks_strictly,
    ),
    Key("asm", "unsubscribe groups to show", "", '{"group_id": 12}', values.json_lacks),
    Key("asm_groups_to_display", "unsubscribe groups to show", "", "[12]", values.json_lacks),
    Key("send_at", "time of sending", "", "1409348513", values.json_lacks),
    Key("send_each_at", "times of sending", "", "[1409348513]", values.json_lacks),
    Key("batch_id", "name by which sending can be stopped", "", '"a1"', values.json_lacks),
    _filter("bypass_list_management", "ignore suppressions"),
    _filter("bcc", "address that gets a copy", strict=True),
    _filter("footer", "footer of the text", strict=True),
    _filter("templates", "stored template", strict=True),
    _filter("template", "template around the text", strict=True),
    _filter("ganalytics", "marks of links for Google Analytics"),
    _filter("spamcheck", "test by SpamAssassin"),
)

DIALECT = Dialect(
    title="SendGrid",
    rows=(
        Row(
            "X-SMTPAPI",
            "an object in JSON with the keys below",
            "what its keys say",
            '{"ip_pool": "bulk"}',
            several="first",
            keys=_KEYS,
        ),
    ),
    sources=(
        "https://www.twilio.com (SendGrid: Building an X-SMTPAPI Header)",
        "https://github.com/sendgrid/docs (`smtp-filters.md`)",
    ),
    notes=(
        "The header is removed. Of several ones, the first counts, as at SendGrid.",
        "A fold inside a text is a blank of that text. Characters that are not ASCII must be"
        " escaped: `\\u00e1`.",
    ),
)
