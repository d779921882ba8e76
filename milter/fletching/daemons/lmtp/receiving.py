"""What becomes of a returned mail: events that are safe, or a file, before Postfix has its answer.

Here lives the order of it: read, attribute, look up, record or keep, copy. What a mail says is read
in `returning/`, which message it is about is decided in `returning/attribution.py`, and the
protocol is in `server.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from fletching import log
from fletching.config.sections import BounceRule, Bounces
from fletching.daemons.intake.once import Once, entropy
from fletching.daemons.intake.recorder import NotSafeError
from fletching.daemons.lmtp.copies import Copies, CopySettings, NotCopiedError
from fletching.daemons.lmtp.first_reports import ClaimSettings, FirstReports
from fletching.daemons.lmtp.lookups import Lookups
from fletching.daemons.lmtp.server import TRY_AGAIN, Transaction
from fletching.daemons.lmtp.unreadable import Unreadable
from fletching.daemons.process.log_limit import LogLimit
from fletching.events import Event
from fletching.metrics.returned_mails import ReturnedMails
from fletching.providers import Providers
from fletching.returning import attribution
from fletching.returning.attribution import Arrival, EventOrigin
from fletching.returning.delivery_fields import addresses_before, is_from_here
from fletching.returning.kept import KeptMail
from fletching.returning.reading import read
from fletching.returning.rules import compiled
from fletching.store.connection import StoreUnavailable
from fletching.tokens import Facts, Keyring, MessageKey

LOG_EVERY = 10.0
"""Seconds between two log lines about the same trouble."""


@dataclass(frozen=True)
class Opened:
    """What returned mail is judged by; all of it is read when the configuration is opened."""

    keys: Keyring
    server_id: str
    claims: ClaimSettings
    bounces_of: Callable[[str], Bounces]
    copies: CopySettings
    rules: tuple[BounceRule, ...] = ()
    providers: Providers | None = None


@dataclass(frozen=True, slots=True)
class _Delivery:
    """A mail for one of its recipients."""

    transaction: Transaction
    digest: bytes
    recipient: str
    arrival: Arrival
    origin: EventOrigin

    @property
    def name(self) -> str:
        """The same for the same mail, whenever it comes."""
        return self.origin.entropy(0).hex()

    @property
    def kept(self) -> KeptMail:
        """The mail with its envelope for this recipient."""
        return KeptMail(self.transaction.sender, self.recipient, self.transaction.content)


class Receiver:
    """Takes the returned mails of one process. Its methods are for one event loop."""

    def __init__(
        self,
        opened: Opened,
        once: Once,
        lookups: Lookups,
        first: FirstReports,
        unreadable: Unreadable,
        copies: Copies,
        metrics: ReturnedMails,
    ) -> None:
        self._first = first
        self.use(opened)
        self._once, self._lookups, self._metrics = once, lookups, metrics
        self._unreadable, self._copies = unreadable, copies
        self._keeping = ThreadPoolExecutor(1, thread_name_prefix="unreadable")
        self._away, self._full, self._uncopied = (LogLimit(LOG_EVERY) for _ in range(3))

    def use(self, opened: Opened) -> None:
        """Applies an opened configuration to the mails that come from now on."""
        self._opened, self._rules = opened, compiled(opened.rules)
        self._first.settings = opened.claims

    async def receive(self, transaction: Transaction) -> Sequence[str]:
        """The replies, one for each recipient; what was recorded or kept is safe by then.

        Recipients that prove the same, or nothing, are one: anybody can send one mail to a
        hundred addresses of ours.
        """
        mail = read(transaction.content, self._rules)
        before = addresses_before(transaction.content)
        # Once: a large mail may have a hundred recipients, with many events each.
        digest = entropy(transaction.content, b"%d" % transaction.size)
        milliseconds, keys = time.time_ns() // 1_000_000, self._opened.keys
        named = [attribution.named_by(recipient, keys) for recipient in transaction.recipients]
        deliveries: dict[MessageKey | Facts | None, _Delivery] = {}
        for message, recipient in zip(named, transaction.recipients, strict=True):
            if message not in deliveries:
                name = partial(_entropy, digest, recipient)
                origin = EventOrigin(milliseconds, self._opened.server_id, name)
                arrival = Arrival(mail, (recipient, *before))
                deliveries[message] = _Delivery(transaction, digest, recipient, arrival, origin)
        replies = await asyncio.gather(*map(self._reply, deliveries.values()))
        reply_of = dict(zip(deliveries, replies, strict=True))
        return [reply_of[message] for message in named]

    def close(self) -> None:
        self._keeping.shutdown()
        self._lookups.close()
        self._first.close()
        self._copies.close()

    async def _reply(self, delivery: _Delivery) -> str:
        try:
            reply = await self._safe(delivery)
            kind = delivery.arrival.mail.kind.value
            await self._copies.send(self._opened.copies, delivery.kept, kind, delivery.name)
            return reply
        except StoreUnavailable as error:
            if self._away.is_due():
                log.redis_unavailable(str(error))
        except NotCopiedError as error:
            if self._uncopied.is_due():
                log.not_copied(str(error))
        except (NotSafeError, OSError) as error:
            if self._full.is_due():
                log.state_write_failed("returned mail", error)
        self._metrics.deferred()
        return TRY_AGAIN

    async def _safe(self, delivery: _Delivery) -> str:
        """Records the events of a mail, or keeps it. Raises what keeps it from being safe."""
        mail = delivery.arrival.mail
        found = await self._events(delivery)
        self._metrics.received(mail.kind.value)
        if found is None:
            log.returned_mail(mail.kind.value, delivery.recipient, [("reported", "log")])
            return f"250 2.0.0 {mail.kind.value}: Postfix's log has reported it"
        if not found and attribution.is_unexplained(mail):
            await self._keep(delivery)
            return f"250 2.0.0 {mail.kind.value}: kept as {delivery.name}"
        new = await self._once.record(*found) if found else 0
        log.returned_mail(mail.kind.value, delivery.recipient, _facts(found, new))
        return f"250 2.0.0 {mail.kind.value}: {len(found)} events"

    async def _events(self, delivery: _Delivery) -> list[Event] | None:
        """The events of a mail; None if Postfix's log has reported the same already."""
        keys, arrival = self._opened.keys, delivery.arrival
        if (facts := attribution.unsubscribe(arrival, keys)) is not None:
            return [attribution.unsubscribed(facts, delivery.origin)]
        if not attribution.has_events(arrival.mail):
            return []
        facts = await self._facts(arrival)
        # The log reader knows a message by its tag alone.
        message = attribution.tagged(arrival, keys)
        is_ours = is_from_here(delivery.transaction.content)
        # A mail may name a thousand recipients that the message never had: no claims for these.
        recipients = tuple(attribution.of_message(arrival.mail, facts))
        named = replace(arrival.mail, recipients=recipients)
        mail = await self._first.unreported(named, message, is_from_here=is_ours)
        if mail is None:
            return None
        return attribution.events_of(mail, facts, _origin_of(delivery, facts))

    async def _facts(self, arrival: Arrival) -> Facts | None:
        """The facts of the message that came back; None if it is not ours."""
        found = attribution.attribution(arrival, self._opened.keys)
        if found.facts is not None or found.message is None:
            return found.facts
        # Redis may no longer have its campaign.
        return await self._lookups.facts(found.message) or Facts(*found.message)

    async def _keep(self, delivery: _Delivery) -> None:
        loop = asyncio.get_running_loop()
        name = f"{delivery.name}.eml"
        deleted = await loop.run_in_executor(
            self._keeping, self._unreadable.keep, name, delivery.kept
        )
        self._metrics.kept(deleted)
        kind = delivery.arrival.mail.kind.value
        log.returned_mail(kind, delivery.recipient, [("kept", name)])
        if deleted:
            log.unreadable_deleted(deleted)


def _origin_of(delivery: _Delivery, facts: Facts | None) -> EventOrigin:
    """The origin of what a mail says about a message, or without one: the same for each of our
    mailboxes that it came to, so that it is recorded once.
    """
    about = f"{facts.campaign} {facts.number}" if facts else ""
    return replace(delivery.origin, entropy=partial(_entropy, delivery.digest, about))


def _entropy(digest: bytes, about: str, index: int) -> bytes:
    """Ten bytes, always the same ones for the same mail. ``digest``: of the mail. ``about``: its
    recipient, or the message that it is about.
    """
    return entropy(digest, about.encode("utf-8", "surrogateescape"), b"%d" % index)


def _facts(found: Sequence[Event], new: int) -> list[tuple[str, object]]:
    """What the log says of the events of a mail."""
    if not found:
        return []
    event = found[0]
    facts: list[tuple[str, object]] = [
        ("event", event.type),
        ("campaign", event.facts.campaign or "-"),
        ("number", event.facts.number),
        ("email", event.facts.email or "-"),
    ]
    for name in ("bounce_type", "bounce_reason", "bounce_status", "attributed"):
        if name in event.details:
            facts.append((name, "-" if event.details[name] == "" else event.details[name]))
    return [*facts, ("events", len(found)), ("repeated", len(found) - new)]
