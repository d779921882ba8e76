"""All formats, by the names that the configuration has for them."""

from __future__ import annotations

from collections.abc import Mapping

from fletching.destinations.formats.greenarrow import ARRAY, FORM
from fletching.destinations.formats.listmonk import LISTMONK
from fletching.destinations.formats.mailgun import MAILGUN
from fletching.destinations.formats.post import Format
from fletching.destinations.formats.postmark import POSTMARK
from fletching.destinations.formats.sendgrid import SENDGRID
from fletching.destinations.formats.ses import SES

FORMATS: Mapping[str, Format] = {
    "json": ARRAY,
    "form": FORM,
    "listmonk": LISTMONK,
    "sendgrid": SENDGRID,
    "ses": SES,
    "postmark": POSTMARK,
    "mailgun": MAILGUN,
}
