"""Bounces of our own Postfix, whose log may have reported the same failures already.

Here lives the wait for the log. Which report is the first one is decided in
`store/bounce_claims.py`; why, in docs/decisions/0031.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from fletching.returning.returned import MailKind, ReturnedMail, ReturnedRecipient
from fletching.store.bounce_claims import BounceClaims, Claim, failure_of
from fletching.tokens import MessageKey

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds for which a bounce waits for the log, which has the line before the bounce is made."""

_LOOK_AFTER = (0.05, 0.1, 0.2, 0.4)
"""Seconds between the first looks; then the last one again."""


@dataclass(frozen=True, slots=True)
class ClaimSettings:
    """``is_log_read``: whether `fletching logtail` reads Postfix's log. ``kept``: seconds for which
    claims are kept.
    """

    is_log_read: bool
    kept: int


class FirstReports:
    """For one event loop."""

    def __init__(
        self, claims: BounceClaims, settings: ClaimSettings, patience: float = PATIENCE
    ) -> None:
        self.settings, self._patience = settings, patience
        self._claims = claims
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="claims")

    async def unreported(
        self, mail: ReturnedMail, message: MessageKey | None, *, is_from_here: bool
    ) -> ReturnedMail | None:
        """The mail without the recipients whose failure the log has reported; None if none is left.

        ``message``: which message of ours it is about. ``is_from_here``: whether this host's
        Postfix made it. Raises StoreUnavailable.
        """
        if mail.kind is not MailKind.BOUNCE or not mail.queue_id or message is None:
            return mail
        claims = {each: _claim(mail, message, each) for each in mail.recipients if _failed(each)}
        if not claims:
            return mail
        wanted = list(claims.values())
        if self.settings.is_log_read and is_from_here:
            await self._wait(wanted)
        claim = partial(self._claims.claim, "mail", wanted, self.settings.kept)
        owned = dict(zip(claims, await self._ask(claim), strict=True))
        left = tuple(each for each in mail.recipients if owned.get(each, True))
        return replace(mail, recipients=left) if any(owned.values()) else None

    def close(self) -> None:
        self._thread.shutdown()

    async def _wait(self, claims: Sequence[Claim]) -> None:
        """Until the log has reported all of them, or the patience is over."""
        waited, pauses = 0.0, iter(_LOOK_AFTER)
        while not await self._ask(partial(self._claims.are_claimed, claims)):
            if waited >= self._patience:
                return
            pause = next(pauses, _LOOK_AFTER[-1])
            await asyncio.sleep(pause)
            waited += pause

    async def _ask(self, question: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, question)


def _failed(recipient: ReturnedRecipient) -> bool:
    return recipient.failure is not None and not recipient.is_delayed and bool(recipient.email)


def _claim(mail: ReturnedMail, message: MessageKey, recipient: ReturnedRecipient) -> Claim:
    return Claim(*message, failure_of(mail.queue_id, recipient.email))
