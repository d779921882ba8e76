"""Table: what SMTP reply codes mean when neither words nor an enhanced status code say more.

Sources: RFC 5321 section 4.2.2, RFC 4954 section 6 (530, 534, 535, 538), RFC 7504 (521, 556); 523
and 525 are drafts that some servers implement. 550, 553 and 554 are not here: servers use them for
everything.

To extend: add a code.
"""

from __future__ import annotations

from fletching.returning.returned import Reason

REPLIES = {
    432: Reason.POLICY,
    451: Reason.SYSTEM,
    452: Reason.SYSTEM,
    454: Reason.POLICY,
    455: Reason.PROTOCOL,
    500: Reason.PROTOCOL,
    501: Reason.PROTOCOL,
    502: Reason.PROTOCOL,
    503: Reason.PROTOCOL,
    504: Reason.PROTOCOL,
    521: Reason.NO_MAIL_SERVICE,
    523: Reason.TOO_BIG,
    525: Reason.MAILBOX_DISABLED,
    530: Reason.POLICY,
    534: Reason.POLICY,
    535: Reason.POLICY,
    538: Reason.POLICY,
    551: Reason.MOVED,
    552: Reason.MAILBOX_FULL,
    555: Reason.PROTOCOL,
    556: Reason.NO_MAIL_SERVICE,
}
