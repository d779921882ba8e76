"""`fletching token`: what a token contains. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from fletching import tokens
from fletching.tokens import Keyring, Kind, TokenError

_KINDS = {
    Kind.CLICK_HTML: ("click", "h"),
    Kind.CLICK_TEXT: ("click", "t"),
    Kind.OPEN: ("open", "h"),
    Kind.UNSUBSCRIBE_HTML: ("unsub", "h"),
    Kind.UNSUBSCRIBE_TEXT: ("unsub", "t"),
    Kind.LIST_UNSUBSCRIBE: ("list-unsubscribe", ""),
    Kind.MAILER_INFO: ("x-mailer-info", ""),
    Kind.SEED: ("x-fletching-seed", ""),
    Kind.CHECK: ("x-fletching-check", ""),
}
_NAME = re.compile(r"\s*X-Mailer-Info\s*:", re.IGNORECASE)


def opened(text: str, keys: Keyring, delimiter: str) -> dict[str, Any]:
    """The facts in a token, in a URL or header with one, or in a return path.

    Names are those of docs/commands.md, "fletching token --json". Raises `TokenError`.
    """
    text = _NAME.sub("", text, count=1).strip()
    local, at, _ = text.strip("<>").rpartition("@")
    if at and not re.search(r"[/:?]", local):
        campaign, number = _of_return_path(local, keys, delimiter)
        return {"kind": "return-path", "campaign": campaign, "message_number": number}
    token = keys.open(tokens.found_in(text))
    kind, html_or_text = _KINDS[token.kind]
    facts = token.facts
    return {
        "kind": kind,
        "click_url": "" if token.kind in (Kind.SEED, Kind.CHECK) else token.destination,
        "html_or_text": html_or_text,
        "email": facts.email,
        "listid": facts.listid,
        "sendid": facts.sendid,
        "click_tracking_id": facts.click_tracking_id,
        "mail_class": facts.mail_class,
        "instance_id": facts.instance_id,
        "campaign": facts.campaign,
        "message_number": facts.number,
        "mtaid": facts.mtaid,
        "sent": datetime.fromtimestamp(facts.sent, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "key": token.key_id,
        "is_seed": facts.seed,
    }


def _of_return_path(local: str, keys: Keyring, delimiter: str) -> tuple[str, int]:
    """Campaign and number: the tag is the last part, or comes before a transport's suffix."""
    error = TokenError("this return path has no VERP tag")
    for piece in reversed(re.split(f"[{re.escape(delimiter)}-]", local)[1:]):
        try:
            return keys.open_tag(piece)
        except TokenError as wrong:
            # Report the error of the part that looks most like a tag.
            error = wrong if len(piece) >= tokens.SHORTEST_TAG else error
    raise error
