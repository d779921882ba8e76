"""The way of a mail out, from top to bottom: one call a room. Read this page first.

Here lives the order of things and nothing else. The one question to shared state, the clock and
chance come in from the edge that calls.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field, replace
from datetime import datetime

from fletching import tokens
from fletching.config.model import Config
from fletching.mail import dkim, seven_bit
from fletching.mail.envelope import Envelope
from fletching.mail.message import Header, Message
from fletching.numbering import CampaignOf, Numbered, Question, campaign_id
from fletching.outgoing import edits, rewrite
from fletching.outgoing.edits import Edit
from fletching.outgoing.identifiers import Marks
from fletching.outgoing.rewrite import PartNote
from fletching.policy import control, decide
from fletching.policy.control import ROUTE_HEADER
from fletching.policy.plan import Plan, Refuse
from fletching.policy.route import Member
from fletching.policy.terms import TermsOf, decided_once
from fletching.tokens import Facts, Keyring

STORE_AWAY = Refuse(451, "4.3.0", "campaign store is not available, try again")
SUPPRESSED = Refuse(550, "5.7.1", "the recipient is suppressed for this list")
ALL_PAUSED = Refuse(451, "4.3.0", "the VirtualMTA is paused, try again")
UNSAFE = "signed, but a signed or encrypted part has 8-bit data or long lines"
TOO_MUCH_WORK = Refuse(550, "5.6.0", "too many header fields to edit")
NO_TAG_NO_ROUTE = "not routed: route_by sender needs a tag, and there is none without the store"


@dataclass(frozen=True, slots=True)
class Setup:
    """What an edge has opened before the first mail. ``paused``: names in lower case.

    ``terms_of`` follows from the others, and gets to know the kinds of mail.
    """

    config: Config
    link_keys: Keyring
    dkim_keys: tuple[dkim.SigningKey, ...]
    paused: frozenset[str]
    terms_of: TermsOf = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms_of", decided_once(self.config, self.paused))

    def __reduce__(self) -> tuple[type[Setup], tuple[object, ...]]:
        return Setup, (self.config, self.link_keys, self.dkim_keys, self.paused)


@dataclass(frozen=True, slots=True)
class Stamp:
    """When, in the configuration's time zone, and 8 random octets."""

    time: datetime
    entropy: bytes

    @property
    def seconds(self) -> int:
        return int(self.time.timestamp())


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is to happen to one mail. ``refusal`` None: accept it, with the edits in order.

    ``final`` is the mail after the edits. ``untracked``: the store did not answer, and the mail
    goes without tracking.
    """

    plan: Plan
    final: Message
    edits: tuple[Edit, ...] = ()
    refusal: Refuse | None = None
    facts: Facts | None = None
    member: Member | None = None
    sender: str | None = None
    notes: tuple[PartNote, ...] = ()
    warnings: tuple[str, ...] = ()
    untracked: bool = False


def carry(
    message: Message, envelope: Envelope, setup: Setup, campaign_of: CampaignOf, stamp: Stamp
) -> Outcome:
    """Takes one mail all the way, unless what Postfix would have to do for it knows no bounds."""
    outcome = _carried(message, envelope, setup, campaign_of, stamp)
    if edits.are_too_much(message, outcome.edits):
        return replace(outcome, edits=(), refusal=TOO_MUCH_WORK)
    return outcome


def reads_body(headers: tuple[Header, ...], envelope: Envelope, config: Config) -> bool:
    """Whether the body of such a mail can matter; where it cannot, an edge need not keep it.

    Only mail with a Mail Class, or that is signed, has a body that is read.
    """
    if not decide.trusted(envelope, config):
        return False
    return (
        config.dkim.sign_unclassified
        or config.default_mail_class is not None
        or config.user_name(envelope.login) is not None
        or any(header.key.startswith(control.PREFIX) for header in headers)
    )


def _carried(
    message: Message, envelope: Envelope, setup: Setup, campaign_of: CampaignOf, stamp: Stamp
) -> Outcome:
    """What the mail asks for, what is decided, what becomes of it."""
    asked = control.read(message.headers)
    seen = _seen_before(message, asked, setup.link_keys)
    if seen is not None:
        return _again(message, seen, envelope, setup)
    todo = decide.resolve(
        asked, message, envelope, setup.config, setup.dkim_keys, setup.terms_of, stamp.time
    )
    refusal = todo.refusal or (ALL_PAUSED if todo.route and not todo.route.members else None)
    if refusal is not None or todo.nothing:
        return Outcome(todo, message, refusal=refusal, warnings=todo.warnings)
    final = _without(message, todo.remove)
    if todo.mail_class is None:
        signed, unsafe = _signed(final, todo, stamp)
        requests = edits.between(message, signed)
        return Outcome(todo, signed, requests, warnings=todo.warnings + unsafe)
    member = _member(todo, envelope, stamp)
    numbered = campaign_of(_question(todo, stamp))
    if (refusal := _kept_back(todo, numbered)) is not None:
        return Outcome(todo, message, refusal=refusal, warnings=todo.warnings)
    if numbered is None and todo.by_sender:
        member = None  # NO_TAG_NO_ROUTE
    facts = _facts(todo, member, numbered, stamp)
    marks = Marks(
        plan=todo if numbered else _untracked(todo),
        facts=facts,
        keys=setup.link_keys,
        transport=member.transport if member else None,
    )
    rewritten = rewrite.rewrite(final, marks.plan.tracking, marks.urls())
    marked = Message(rewritten.message.headers + marks.headers(), rewritten.message.body)
    signed, unsafe = _signed(marked, todo, stamp, rewritten.labels)
    return Outcome(
        plan=todo,
        final=signed,
        edits=_requests(message, signed, todo, marks.sender, member),
        facts=facts,
        member=member,
        sender=marks.sender,
        notes=rewritten.notes,
        warnings=_warnings(marks.plan, numbered, rewritten.notes) + unsafe,
        untracked=numbered is None,
    )


def _signed(
    final: Message, todo: Plan, stamp: Stamp, labels: frozenset[str] | None = None
) -> tuple[Message, tuple[str, ...]]:
    """The mail as it leaves, and a warning where its signature may not last."""
    if not todo.signatures:
        return final, ()
    safe = seven_bit.to_seven_bit(final, labels)
    signed = dkim.sign(safe.message, todo.signatures, stamp.seconds)
    return signed, () if safe.complete else (UNSAFE,)


def _requests(
    message: Message, final: Message, todo: Plan, sender: str | None, member: Member | None
) -> tuple[Edit, ...]:
    """What Postfix has to do for it."""
    requests = edits.between(message, final)
    if sender is not None:
        requests = edits.from_sender(sender, requests)
    if member is not None and not todo.by_sender:
        requests = edits.routed(ROUTE_HEADER, member.transport, requests)
    return requests


def _member(todo: Plan, envelope: Envelope, stamp: Stamp) -> Member | None:
    """The single VirtualMTA that carries the mail."""
    if todo.route is None:
        return None
    sticks_to = {
        "message": stamp.entropy.hex(),
        "campaign": todo.sendid.lower(),
        "recipient_domain": next((to.domain for to in envelope.recipients), ""),
    }
    return todo.route.pick(sticks_to[todo.route.sticky])


def _question(todo: Plan, stamp: Stamp) -> Question:
    remember = {
        "listid": todo.listid,
        "click_tracking_id": todo.click_tracking_id,
        "email": todo.email,
    }
    return Question(
        sendid=todo.sendid,
        mail_class=todo.mail_class.name if todo.mail_class else "",
        instance_id=todo.instance_id,
        monitor=todo.monitor,
        now=stamp.seconds,
        window=todo.window,
        candidate=campaign_id(stamp.seconds, stamp.entropy),
        remember=tuple(remember.items()) if todo.verp else (),
        bounce_memory=todo.bounce_memory,
        listid=todo.listid,
        suppress=todo.suppress,
        email=todo.email,
    )


def _kept_back(todo: Plan, numbered: Numbered | None) -> Refuse | None:
    """Why the mail may not go after what the store answered."""
    if numbered is None:
        return None if todo.untracked_without_store else STORE_AWAY
    return SUPPRESSED if numbered.suppressed and todo.suppress == "refuse" else None


def _warnings(
    todo: Plan, numbered: Numbered | None, notes: tuple[PartNote, ...]
) -> tuple[str, ...]:
    return (*todo.warnings, *_reported(todo, numbered), *_left_alone(todo, notes))


def _reported(todo: Plan, numbered: Numbered | None) -> tuple[str, ...]:
    """That the mail goes although its recipient is suppressed."""
    if numbered is None or not numbered.suppressed or todo.suppress == "off":
        return ()
    return (f"suppressed: {numbered.suppressed}",)


def _facts(todo: Plan, member: Member | None, numbered: Numbered | None, stamp: Stamp) -> Facts:
    """What its tokens say of the message."""
    return Facts(
        campaign=numbered.campaign if numbered else "",
        number=numbered.number if numbered else 0,
        mail_class=todo.mail_class.name if todo.mail_class else "",
        instance_id=todo.instance_id,
        listid=todo.listid,
        click_tracking_id=todo.click_tracking_id,
        email=todo.email,
        mtaid=member.name if member else "",
        sent=stamp.seconds,
    )


def _untracked(todo: Plan) -> Plan:
    """The Plan without clicks and opens. Unsubscribe links work without a campaign, and stay.

    A tag needs a campaign, so the return path cannot tell the transport either.
    """
    warnings = todo.warnings
    if todo.by_sender and todo.route is not None:
        warnings += (NO_TAG_NO_ROUTE,)
    return replace(
        todo, tracking=replace(todo.tracking, clicks=False, opens=False), warnings=warnings
    )


def _left_alone(todo: Plan, notes: tuple[PartNote, ...]) -> tuple[str, ...]:
    """Why parts are not tracked although the Plan wants it (docs/tracking.md)."""
    if not (todo.tracking.clicks or todo.tracking.opens):
        return ()
    return tuple(dict.fromkeys(f"not tracked: {n.left_alone}" for n in notes if n.left_alone))


def _seen_before(message: Message, asked: control.Control, keys: Keyring) -> Facts | None:
    """The facts of a mail that has been here already (docs/mail.md, "Second pass")."""
    if asked.given:
        return None
    for header in message.all(b"x-mailer-info"):
        try:
            opened = keys.open(tokens.found_in(header.text.decode("ascii", "replace")))
        except tokens.TokenError:
            continue
        if opened.kind is tokens.Kind.MAILER_INFO:
            return opened.facts
    return None


def _again(message: Message, seen: Facts, envelope: Envelope, setup: Setup) -> Outcome:
    """A second pass: the mail stays. Its route, which Postfix has forgotten, is set again."""
    todo = decide.second_pass(seen, message, envelope, setup.config, setup.paused)
    refusal = todo.refusal or (ALL_PAUSED if todo.route and not todo.route.members else None)
    if refusal is not None:
        return Outcome(todo, message, refusal=refusal, warnings=todo.warnings)
    final = _without(message, todo.remove)
    member = todo.route.pick(f"{seen.campaign}:{seen.number}") if todo.route else None
    requests = edits.between(message, final)
    if member is not None:
        requests = edits.routed(ROUTE_HEADER, member.transport, requests)
    return Outcome(todo, final, edits=requests, member=member, warnings=todo.warnings)


def _without(message: Message, places: Set[int]) -> Message:
    return Message(tuple(h for h in message.headers if h.place not in places), message.body)
