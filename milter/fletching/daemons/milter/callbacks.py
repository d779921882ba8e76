"""The milter protocol: callbacks from Postfix, and edits sent to it. The only file with pymilter.

Nothing is decided here: `outgoing/flow.py` computes all edits of a mail before the first one is
sent.

Callbacks of one connection may run in different threads, but never two at once. An error in a
callback without reply is remembered until the end of the mail: libmilter would discard it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar, cast

import Milter

from fletching import log
from fletching.daemons.milter import shadow
from fletching.daemons.milter.afterwards import Answered
from fletching.daemons.milter.archiving import copy_of
from fletching.daemons.milter.mail import Mail
from fletching.daemons.milter.seeding import DueSeeds
from fletching.daemons.milter.worker import Worker
from fletching.mail.envelope import Recipient, address_of
from fletching.outgoing.edits import (
    AddHeader,
    AddRecipient,
    ChangeHeader,
    ChangeSender,
    DeleteHeader,
    Discard,
    Edit,
    Hold,
    InsertHeader,
    RemoveRecipient,
    ReplaceBody,
)
from fletching.outgoing.flow import Outcome
from fletching.policy.store_question import OVER_LIMIT
from fletching.policy.verdict import Refusal, Verdict, verdict_of

NAME = "fletching"

_MACROS = (
    (Milter.M_CONNECT, "{daemon_name}"),
    (Milter.M_ENVFROM, "{auth_authen}"),
    (Milter.M_ENVRCPT, "{rcpt_mailer}"),
    (Milter.M_EOM, "i"),
)
_ACTIONS = (
    Milter.ADDHDRS
    | Milter.CHGHDRS
    | Milter.CHGBODY
    | Milter.CHGFROM
    | Milter.ADDRCPT
    | Milter.DELRCPT
    | Milter.QUARANTINE
    | Milter.SETSYMLIST
)

# What a milter may send in one packet (libmilter's MILTER_CHUNK_SIZE).
_CHUNK = 65535

# A client may send any login; the configuration allows none that is longer.
_LOGIN_LOGGED = 255

_FAILED = Refusal(451, "4.3.0", "internal error, try again")
_RESTARTING = Refusal(421, "4.3.2", "the service is restarting, try again")

F = TypeVar("F", bound=Callable[..., int])


def _no_reply(callback: F) -> F:
    """Marks a callback without reply: Postfix does not wait for its result."""
    return cast(F, Milter.noreply(callback))


class Connection(Milter.Base):  # type: ignore[misc] # pymilter has no types
    """One connection of Postfix: one SMTP session with any number of mails.

    Attributes must not be named like callbacks: pymilter would call them.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._client: str | None = None
        self._service: str | None = None
        self._mail: Mail | None = None
        self._begin_error: Exception | None = None

    def negotiate(self, opts: list[int]) -> int:
        """Requests the macros that are used: the lists in Postfix's configuration may lack them."""
        if opts[0] & Milter.SETSYMLIST:
            for stage, names in _MACROS:
                # Base.setsymlist passes bytes where the C function takes str.
                self._ctx.setsymlist(stage, names)
        return int(super().negotiate(opts))

    @_no_reply
    def connect(self, hostname: str, family: int, hostaddr: Any) -> int:
        # Without an IP address, no network matches the client.
        self._client = str(hostaddr[0]) if isinstance(hostaddr, tuple) else ""
        self._service = self._macro("{daemon_name}")
        return int(Milter.CONTINUE)

    @_no_reply
    def envfrom(self, sender: str, *parameters: str) -> int:
        self._drop_mail()
        try:
            self._mail = Mail(
                setup=self._worker.setup(),
                sender=address_of(sender),
                login=self._macro("{auth_authen}"),
                release=self._worker.open_mails.add(),
            )
        except Exception as error:  # noqa: BLE001 an edge: answered at the end of the mail
            # If it were raised, Postfix would get no reply until its time-out.
            self._begin_error = error
        return int(Milter.CONTINUE)

    @_no_reply
    def envrcpt(self, recipient: str, *parameters: str) -> int:
        def add(mail: Mail) -> None:
            mailer = self._macro("{rcpt_mailer}")
            mail.recipients.append(Recipient(address_of(recipient), mailer))

        return self._collect(add)

    @_no_reply
    def header(self, name: str, value: bytes) -> int:
        return self._collect(lambda mail: mail.add_header(name, value))

    @_no_reply
    def body(self, chunk: bytes) -> int:
        client, service = self._client or "", self._service
        return self._collect(lambda mail: mail.add_body(chunk, client, service))

    def eom(self) -> int:
        mail, self._mail = self._mail, None
        try:
            return self._end(mail)
        finally:
            if mail is not None:
                mail.end()

    def abort(self) -> int:
        self._drop_mail()
        return int(Milter.CONTINUE)

    def close(self) -> int:
        self._drop_mail()
        return int(Milter.CONTINUE)

    def _drop_mail(self) -> None:
        mail, self._mail, self._begin_error = self._mail, None, None
        if mail is not None:
            mail.end()

    def _collect(self, add: Callable[[Mail], None]) -> int:
        mail = self._mail
        if mail is not None and mail.failure is None:
            try:
                add(mail)
            except Exception as error:  # noqa: BLE001 an edge: answered at the end of the mail
                mail.failure = error
        return int(Milter.CONTINUE)

    def _macro(self, name: str) -> str | None:
        try:
            value = self._ctx.getsymval(name)
        except UnicodeDecodeError:
            # No configuration can have such a name.
            return "\N{REPLACEMENT CHARACTER}"
        return None if value is None else str(value)

    def _end(self, mail: Mail | None) -> int:
        """The reply to one mail. All edits are known before the first one is sent."""
        began = time.monotonic()
        queue_id = ""
        try:
            queue_id = self._macro("i") or ""
            if mail is None or self._client is None:
                why = "a mail without MAIL FROM, or from no client"
                raise self._begin_error or RuntimeError(why)
            if mail.release is None:
                return self._refuse(_RESTARTING)
            envelope = mail.envelope(self._client, queue_id, self._service)
            outcome = self._worker.carry(mail, envelope)
            facts = (*self._source(mail), *_facts(outcome))
            requests = [request for edit in outcome.edits for request in self._requests(edit)]
            for request in requests:
                request()
        except Exception as error:  # noqa: BLE001 an edge: answered with 451
            verdict = verdict_of(_FAILED)
            # pymilter raises its own error where Postfix has hung up amid the edits.
            told = log.session_lost if isinstance(error, Milter.error) else log.mail_failed
            told(queue_id, verdict, error, self._source(mail))
            self._worker.add_answered(Answered(queue_id, verdict, time.monotonic() - began))
            return self._refuse(_FAILED)
        seconds = time.monotonic() - began
        self._worker.add_answered(
            _answered(queue_id, seconds, outcome, facts, mail.due_seeds), copy_of(outcome)
        )
        if outcome.refusal is not None:
            return self._refuse(outcome.refusal)
        return int(Milter.DISCARD if Discard() in outcome.edits else Milter.ACCEPT)

    def _source(self, mail: Mail | None) -> Iterator[tuple[str, object]]:
        """The origin of the mail, for its log line."""
        yield "client", self._client or "unknown"
        if mail is not None and mail.login is not None:
            yield "login", mail.login[:_LOGIN_LOGGED]

    def _requests(self, edit: Edit) -> Iterator[Callable[[], object]]:
        """An edit as calls to pymilter; everything that can fail is done before the first call."""
        match edit:
            case AddHeader(name, value):
                yield partial(self.addheader, _text(name), _value(value))
            case InsertHeader(name, value):
                # 0 would be above Postfix's own Received field, which milters do not see.
                yield partial(self.addheader, _text(name), _value(value), 1)
            case ChangeHeader(name, index, value):
                yield partial(self.chgheader, _text(name), index, _value(value))
            case DeleteHeader(name, index):
                yield partial(self.chgheader, _text(name), index, "")
            case ChangeSender(address):
                yield partial(self.chgfrom, f"<{_text(address.encode())}>")
            case RemoveRecipient(address):
                yield partial(self.delrcpt, f"<{_text(address.encode())}>")
            case AddRecipient(address):
                yield partial(self.addrcpt, f"<{_text(address.encode())}>")
            case Hold(reason):
                yield partial(self.quarantine, _text(reason.encode()))
            case Discard():
                pass  # the reply
            case ReplaceBody(body):
                for start in range(0, len(body), _CHUNK) or (0,):
                    yield partial(self._replace, body, start)

    def _replace(self, body: bytes, start: int) -> None:
        # Sliced only now: a large body must not be in memory twice.
        self.replacebody(body[start : start + _CHUNK])

    def _refuse(self, refusal: Refusal) -> int:
        try:
            self.setreply(str(refusal.code), refusal.enhanced, refusal.text.replace("%", "%%"))
        except (Milter.error, ValueError) as error:
            # Postfix sends its default reply then.
            log.state_write_failed(f"reply {refusal.code}", error)
        tempfail = verdict_of(refusal) is Verdict.TEMPFAIL
        return int(Milter.TEMPFAIL if tempfail else Milter.REJECT)


def _text(value: bytes) -> str:
    """pymilter takes only str, and libmilter takes no NUL."""
    if b"\0" in value:
        raise ValueError("a NUL cannot be sent to Postfix")
    return value.decode("utf-8")


def _value(value: bytes) -> str:
    """Postfix adds the space after the colon itself, and uses LF as line end."""
    return _text(value.removeprefix(b" ").replace(b"\r\n", b"\n"))


def _answered(
    queue_id: str,
    seconds: float,
    outcome: Outcome,
    facts: tuple[tuple[str, object], ...],
    seeds: DueSeeds | None = None,
) -> Answered:
    """What to write about the mail, without the mail itself."""
    mail_class = outcome.plan.mail_class
    message_id = outcome.final.first(b"message-id") if mail_class else None
    return Answered(
        queue_id,
        outcome.verdict,
        seconds,
        facts=(("verdict", outcome.verdict), ("seconds", f"{seconds:.3f}"), *facts),
        mail_class=mail_class.name if mail_class else "",
        message=outcome.facts,
        warnings=outcome.warnings,
        over_limit=outcome.refusal == OVER_LIMIT,
        untracked=outcome.untracked,
        message_id=message_id.text if message_id else b"",
        recipients=outcome.plan.logged,
        hold=outcome.plan.hold if outcome.refusal is None else None,
        seeds=seeds,
        shadow=shadow.counts(outcome, seconds) if outcome.is_in_shadow else None,
    )


def _facts(outcome: Outcome) -> Iterator[tuple[str, object]]:
    """The facts of the mail's log line, as far as the Plan lets them be logged.

    Facts that a mail may have many of come last, recipients after all others: a line has a limit.
    """
    plan, facts = outcome.plan, outcome.facts
    if outcome.refusal is not None:
        yield "reply", outcome.refusal
    if not plan.trusted:
        yield "trusted", "no"
    if plan.mail_class is not None:
        yield "class", plan.mail_class.name
        yield "sendid", plan.sendid
        yield "list", plan.listid
    if outcome.is_in_shadow:
        yield "mode", "shadow"
        yield from shadow.facts(outcome)
    if facts is not None and facts.campaign:
        yield "campaign", facts.campaign
        yield "number", facts.number
    if plan.seed_copy is not None:
        yield "seed_copy", "yes"
    if plan.check_mail is not None:
        yield "check_mail", "yes"
    if outcome.member is not None:
        yield "mta", outcome.member.name
        yield "transport", outcome.member.transport
    if outcome.untracked:
        yield "untracked", "store"
    for name in ("rejected", "discarded", "redirected", "hold"):
        if (why := getattr(plan, name)) is not None:
            yield name, why
    yield "edits", len(outcome.edits)
    for recipient in plan.logged[:1] if plan.mail_class is not None else ():
        yield "rcpt", recipient
    for warning in (outcome.would or outcome).warnings:
        yield "warning", warning
    for recipient in plan.logged[1:] if plan.mail_class is not None else ():
        yield "rcpt", recipient


def open_socket(where: str) -> None:
    """Opens the socket, once for all workers; ``where`` in libmilter's notation."""
    Milter.set_flags(_ACTIONS)
    Milter.set_connect_callback(Milter.connect_callback)
    Milter.set_envfrom_callback(lambda ctx, *words: ctx.getpriv().envfrom_bytes(*words))
    Milter.set_envrcpt_callback(lambda ctx, *words: ctx.getpriv().envrcpt_bytes(*words))
    # The default callback of pymilter would decode the value.
    Milter.set_header_callback(lambda ctx, name, value: ctx.getpriv().header(name, value))
    Milter.set_body_callback(lambda ctx, chunk: ctx.getpriv().body(chunk))
    Milter.set_eom_callback(lambda ctx: ctx.getpriv().eom())
    Milter.set_abort_callback(lambda ctx: ctx.getpriv().abort())
    Milter.set_close_callback(Milter.close_callback)
    Milter.setconn(where)
    Milter.register(NAME, negotiate=Milter.negotiate_callback)
    Milter.opensocket(False)


def serve(worker: Worker) -> None:
    """Serves the connections of one worker until the process ends."""
    Milter.factory = lambda: Connection(worker)
    Milter.main()
