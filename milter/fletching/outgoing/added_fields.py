"""Added header fields as they are written: the last values filled in, encoded and folded.

Which fields there are is decided in `policy/added_headers.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

from fletching.mail.encoded_words import encoded
from fletching.mail.message import Header
from fletching.policy.plan import Plan
from fletching.tokens import Facts

LONGEST = 4000
"""Characters of a value. Encoded, that is well below the 65535 bytes that libmilter carries."""


def written(plan: Plan, facts: Facts | None) -> Iterator[Header]:
    """The fields. ``facts``: what the tokens of the mail say; None for mail without a Mail Class.

    A placeholder without a value becomes nothing: without the store, there is no campaign.
    """
    late = {
        "campaign": facts.campaign if facts else "",
        "message_number": str(facts.number) if facts and facts.number else "",
        "virtual_mta": plan.member.name if plan.member else "",
    }
    for header in plan.headers:
        text = "".join(late[text] if is_name else text for text, is_name in header.pieces)
        if text := text[:LONGEST].strip():
            yield Header(header.name.encode("ascii"), encoded(header.name.encode("ascii"), text))
