"""Amazon SES's headers."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fletching.policy.dialects import values
from fletching.policy.dialects.table import Dialect, Lacks, Row, Sets, VendorError, Wish


def _list(text: str) -> Iterable[Wish]:
    """`LIST; topic=TOPIC`, or `contactListName=LIST; topicName=TOPIC`."""
    name, *more = (each.strip() for each in text.split(";"))
    name = re.sub(r"(?i)^contactListName=", "", name)
    if "=" in name:
        raise VendorError("must be LIST or LIST; topic=TOPIC")
    yield Sets("list_id", name)
    if any(more):
        yield Lacks("topics")


def _not_here(header: str, meaning: str, example: str) -> Row:
    return Row(header, meaning, "", example, values.lacks)


DIALECT = Dialect(
    title="Amazon SES",
    namespace="X-SES-",
    rows=(
        Row(
            "X-SES-CONFIGURATION-SET",
            "configuration set: where events go, which addresses send",
            "Mail Class of that name",
            "newsletter",
            values.class_name,
        ),
        Row(
            "X-SES-MESSAGE-TAGS",
            "tags that the events repeat: `a=b, c=d`",
            "Click-Tracking-ID, as it is",
            "order=4711, shop=de",
            values.label,
        ),
        Row(
            "X-SES-LIST-MANAGEMENT-OPTIONS",
            "contact list and topic that an unsubscribe is for",
            "ListID; a topic has no counterpart",
            "news; topic=offers",
            _list,
        ),
        _not_here("X-SES-TENANT", "tenant", "shop"),
        _not_here("X-SES-SOURCE-ARN", "permission to send", "arn:aws:ses:eu:1:identity/a"),
        _not_here("X-SES-FROM-ARN", "permission to use From", "arn:aws:ses:eu:1:identity/a"),
        _not_here("X-SES-RETURN-PATH-ARN", "permission to use a return path", "arn:aws:ses:eu:1:a"),
    ),
    sources=(
        "https://docs.aws.amazon.com/ses/latest/dg/event-publishing-send-email.html",
        "https://docs.aws.amazon.com/ses/latest/dg/sending-email-subscription-management.html",
    ),
    notes=("The headers are removed.",),
)
