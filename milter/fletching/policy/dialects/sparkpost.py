"""SparkPost's (Momentum's) headers: X-MSYS-API, an object in JSON, and X-Binding."""

from __future__ import annotations

from collections.abc import Iterable

from fletching.policy.dialects import values
from fletching.policy.dialects.table import Dialect, Key, Row, Sets, Wish


def _transactional(value: object) -> Iterable[Wish]:
    return [Sets("list_unsubscribe", "no")] if values.json_flag(value) else []


_RECIPIENTS = '[{"email": "archive@example.com"}]'

_KEYS = (
    Key(
        "metadata",
        "data that the events repeat",
        "Click-Tracking-ID: the object in JSON, without blanks",
        '{"order": "4711"}',
        values.json_object,
    ),
    Key(
        "campaign_id",
        "campaign",
        "InstanceID, if it is valid as one; else the Click-Tracking-ID, if metadata is not",
        '"100525"',
        values.json_names_run,
    ),
    Key(
        "tags",
        "tags for statistics",
        "Click-Tracking-ID, if neither metadata nor campaign_id is",
        '["welcome", "shop"]',
        values.json_texts,
    ),
    Key(
        "options.click_tracking",
        "click tracking",
        "clicks",
        "false",
        values.json_switch("clicks"),
    ),
    Key("options.open_tracking", "open tracking", "opens", "false", values.json_switch("opens")),
    Key(
        "options.ip_pool",
        "pool of addresses to send from",
        "VirtualMTA of that name",
        '"bulk"',
        values.json_sets("virtual_mta"),
    ),
    Key(
        "options.transactional",
        "no marketing: the mail gets no List-Unsubscribe",
        "no List-Unsubscribe",
        "true",
        _transactional,
    ),
    Key(
        "options.sandbox",
        "test by SparkPost's own domain",
        "",
        "true",
        values.json_lacks_if_on(strict=True),
    ),
    Key("options.skip_suppression", "ignore suppressions", "", "true", values.json_lacks_if_on()),
    Key("options.inline_css", "move CSS into the elements", "", "true", values.json_lacks_if_on()),
    Key("options.start_time", "time of sending", "", '"2026-12-24T08:00:00Z"', values.json_lacks),
    Key("cc", "recipients that get a copy", "", _RECIPIENTS, values.json_lacks_strictly),
    Key("bcc", "recipients that get a copy", "", _RECIPIENTS, values.json_lacks_strictly),
    Key("archive", "recipients that get a copy", "", _RECIPIENTS, values.json_lacks_strictly),
    Key(
        "substitution_data",
        "ignored by SparkPost in mail by SMTP",
        "ignored",
        '{"name": "Ada"}',
        values.json_nothing,
    ),
)

DIALECT = Dialect(
    title="SparkPost (Momentum)",
    rows=(
        Row(
            "X-MSYS-API",
            "an object in JSON with the keys below",
            "what its keys say",
            '{"options": {"ip_pool": "bulk"}}',
            keys=_KEYS,
        ),
        Row(
            "X-Binding",
            "binding to send by (Momentum)",
            "VirtualMTA of that name, if options.ip_pool gives none",
            "bulk",
            values.sets("virtual_mta"),
        ),
    ),
    sources=(
        "https://developers.sparkpost.com/api/smtp/",
        "https://www.sparkpost.com (Getting Started on SparkPost Enterprise)",
    ),
    notes=(
        "The headers are removed.",
        "A fold inside a text is a blank of that text. Characters that are not ASCII must be"
        " escaped: `\\u00e1`.",
        "SparkPost refuses bad JSON with 550; here `on_invalid_header` decides.",
    ),
)
