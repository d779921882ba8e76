"""Sessions of the dashboard: the value of the cookie, and the token of its forms.

Here lives how both are made and checked. Who gets a session is in `access.py`. No state but the
sessions that were ended early: the keys are derived from the password, so they are the same after a
restart, and another password ends all sessions.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

SECONDS = 12 * 3600
"""A session lasts so long after its login."""

MOST_ENDED = 10_000
"""Sessions that are remembered as ended; of more, the oldest are forgotten."""

_SALT = b"fletching dashboard session"
_VALUE = re.compile(r"([0-9]{1,12})\.[A-Za-z0-9_-]{22}\.[0-9a-f]{64}")


class Sessions:
    """The sessions of one password. Times are unix seconds."""

    def __init__(self, password: str) -> None:
        # Slow on purpose: who gets hold of a cookie must not be able to try passwords with it.
        self._key = hashlib.scrypt(password.encode(), salt=_SALT, n=2**14, r=8, p=1)
        self._ended: dict[str, None] = {}

    def begin(self, now: int) -> str:
        """The value of the cookie for a new session: when it ends, random, signature."""
        value = f"{now + SECONDS}.{secrets.token_urlsafe(16)}"
        return f"{value}.{self._signature('session', value)}"

    def is_valid(self, cookie: str, now: int) -> bool:
        """Whether a cookie is one of ours, and its session has not ended."""
        found = _VALUE.fullmatch(cookie)
        if found is None or int(found[1]) <= now or cookie in self._ended:
            return False
        value, _, signature = cookie.rpartition(".")
        return hmac.compare_digest(signature, self._signature("session", value))

    def end(self, cookie: str) -> None:
        """Ends a session before its time."""
        self._ended[cookie] = None
        if len(self._ended) > MOST_ENDED:
            del self._ended[next(iter(self._ended))]

    def form_token(self, cookie: str) -> str:
        """The token that every form has which this session sends."""
        return self._signature("form", cookie)

    def _signature(self, purpose: str, value: str) -> str:
        return hmac.new(self._key, f"{purpose} {value}".encode(), hashlib.sha256).hexdigest()
