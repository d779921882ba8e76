"""Mailgun's headers."""

from fletching.policy.dialects import values
from fletching.policy.dialects.table import Dialect, Row, Sets, words

_CLICKS_ON, _CLICKS_OFF = [Sets("clicks", "yes")], [Sets("clicks", "no")]
_HTML_ONLY = Sets("text", "no")
_ALL_ON, _ALL_OFF = [Sets("click_tracking", "yes")], [Sets("click_tracking", "no")]

_clicks = words(
    {
        "yes": _CLICKS_ON,
        "no": _CLICKS_OFF,
        "htmlonly": [*_CLICKS_ON, _HTML_ONLY],
        "true": _CLICKS_ON,
        "false": _CLICKS_OFF,
    }
)
_tracking = words(
    {
        "yes": _ALL_ON,
        "no": _ALL_OFF,
        "htmlonly": [*_ALL_ON, _HTML_ONLY],
        "true": _ALL_ON,
        "false": _ALL_OFF,
    }
)


def _not_here(header: str, meaning: str, example: str) -> Row:
    return Row(header, meaning, "", example, values.lacks)


def _not_here_strictly(header: str, meaning: str, example: str) -> Row:
    return Row(header, meaning, "", example, values.lacks_strictly)


DIALECT = Dialect(
    title="Mailgun",
    namespace="X-Mailgun-",
    rows=(
        Row(
            "X-Mailgun-Variables",
            "data that the webhooks repeat (JSON)",
            "Click-Tracking-ID, as it is",
            '{"order": 4711}',
            values.label,
            kept=True,
        ),
        Row(
            "X-Mailgun-Tag",
            "tag for statistics; may be given several times",
            "Click-Tracking-ID, if X-Mailgun-Variables is not; several joined by commas",
            "welcome",
            values.label,
            several="joined",
            kept=True,
        ),
        Row(
            "X-Mailgun-Campaign-Id",
            "campaign (retired)",
            "InstanceID, if it is valid as one; else as X-Mailgun-Tag",
            "100525",
            values.names_run,
        ),
        Row(
            "X-Mailgun-Track-Clicks",
            "click tracking: yes, no, htmlonly",
            "clicks; `htmlonly`: not in plain text",
            "htmlonly",
            _clicks,
        ),
        Row("X-Mailgun-Track-Opens", "open tracking", "opens", "no", values.yes_no("opens")),
        Row(
            "X-Mailgun-Track",
            "clicks and opens together",
            "Click-Tracking-Do; the two headers above win",
            "no",
            _tracking,
        ),
        Row(
            "X-Mailgun-Sending-Ip",
            "address to send from",
            "VirtualMTA of that name: name it as the address",
            "192.0.2.10",
            values.sets("virtual_mta"),
        ),
        Row(
            "X-Mailgun-Sending-Ip-Pool",
            "pool of addresses to send from",
            "VirtualMTA of that name",
            "bulk",
            values.sets("virtual_mta"),
        ),
        Row(
            "X-Mailgun-Dkim",
            "`no`: do not sign",
            "`no` has no counterpart",
            "no",
            values.lacks_if_off,
        ),
        Row(
            "X-Mailgun-Drop-Message",
            "test mode: do not deliver",
            "",
            "yes",
            values.lacks_if_on(strict=True),
        ),
        Row(
            "X-Mailgun-Require-TLS",
            "deliver by TLS only",
            "",
            "yes",
            values.lacks_if_on(),
        ),
        Row(
            "X-Mailgun-Skip-Verification",
            "do not verify certificates",
            "",
            "yes",
            values.lacks_if_on(),
        ),
        _not_here_strictly(
            "X-Mailgun-Recipient-Variables",
            "texts for each recipient",
            '{"reader@example.org": {"first": "Ada"}}',
        ),
        _not_here_strictly("X-Mailgun-Template-Name", "stored template", "welcome"),
        _not_here_strictly("X-Mailgun-Template-Version", "version of the template", "v2"),
        _not_here_strictly("X-Mailgun-Template-Variables", "texts of the template", '{"a": "b"}'),
        _not_here("X-Mailgun-Deliver-By", "time of delivery", "Fri, 25 Dec 2026 08:00:00 +0000"),
        _not_here("X-Mailgun-Delivery-Time-Optimize-Period", "best time of delivery", "24H"),
        _not_here("X-Mailgun-Time-Zone-Localize", "local time of delivery", "09:00"),
    ),
    sources=(
        "https://documentation.mailgun.com (Passing Sending Options)",
        "https://github.com/mailgun/documentation (`source/user_manual.rst`)",
    ),
    notes=(
        "Mailgun leaves tags and variables in the mail, so they stay here, too.",
        "Mailgun does not deliver a message in test mode; Fletching does, with a warning, unless"
        " `on_invalid_header` is `reject`. A rule can discard it:"
        ' `{when: {header: {X-Mailgun-Drop-Message: "yes"}}, do: {discard: true}}`.',
    ),
)
