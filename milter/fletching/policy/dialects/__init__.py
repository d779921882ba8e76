"""Dialects: the headers of other vendors, one table for each (option `dialects`, docs/dialects.md).

Here are tables, and how a vendor's value is read. `policy/vendor_headers.py` applies them to a
mail.
"""

from __future__ import annotations

from collections.abc import Mapping

from fletching.policy.dialects import (
    mailgun,
    mandrill,
    postal,
    postmark,
    powermta,
    sendgrid,
    ses,
    sparkpost,
)
from fletching.policy.dialects.table import Dialect

DIALECTS: Mapping[str, Dialect] = {
    "powermta": powermta.DIALECT,
    "mailgun": mailgun.DIALECT,
    "sendgrid": sendgrid.DIALECT,
    "sparkpost": sparkpost.DIALECT,
    "mandrill": mandrill.DIALECT,
    "postmark": postmark.DIALECT,
    "ses": ses.DIALECT,
    "postal": postal.DIALECT,
}
"""By name of the dialect, as in the option."""
