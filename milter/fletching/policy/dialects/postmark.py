"""Postmark's headers."""

from fletching.policy.dialects import values
from fletching.policy.dialects.table import Dialect, Lacks, Row, Sets, words

_links = words(
    {
        "None": [Sets("clicks", "no")],
        "HtmlAndText": [Sets("clicks", "yes"), Sets("text", "yes")],
        "HtmlOnly": [Sets("clicks", "yes"), Sets("text", "no")],
        "TextOnly": [Sets("clicks", "no"), Lacks("TextOnly")],
    }
)

DIALECT = Dialect(
    title="Postmark",
    namespace="X-PM-",
    rows=(
        Row(
            "X-PM-Message-Stream",
            "message stream",
            "Mail Class of that name",
            "newsletter",
            values.class_name,
        ),
        Row("X-PM-TrackOpens", "open tracking", "opens", "true", values.yes_no("opens")),
        Row(
            "X-PM-TrackLinks",
            "click tracking: None, HtmlAndText, HtmlOnly, TextOnly",
            "clicks, in plain text only with `HtmlAndText`; `TextOnly`: none, with a warning",
            "HtmlOnly",
            _links,
        ),
        Row(
            "X-PM-Metadata-*",
            "data that the webhooks repeat",
            "Click-Tracking-ID: an object in JSON with all of them",
            "4711",
            values.label,
            several="object",
        ),
        Row(
            "X-PM-Tag",
            "tag for statistics",
            "Click-Tracking-ID, if there is no X-PM-Metadata-",
            "welcome",
            values.label,
            kept=True,
        ),
        Row(
            "X-PM-KeepID",
            "keep the Message-ID",
            "always so",
            "true",
            values.nothing,
        ),
    ),
    sources=(
        "https://postmarkapp.com/developer/user-guide/send-email-with-smtp",
        "https://postmarkapp.com/developer/user-guide/tracking-links",
    ),
    notes=(
        "Postmark leaves the tag in the mail, so it stays here, too.",
        "Applications name a stream in every message, often `outbound`: configure a Mail Class of"
        " that name. Without it, each message has a warning and its class comes from the next"
        " source; with `on_invalid_header: reject` it is refused.",
    ),
)
