"""Header fields that are added to a mail: those of `add_headers`, and a missing Date or Message-ID
(docs/mail.md, "Added headers").

Here is which fields, and their values as far as they follow from the mail. Campaign, message number
and VirtualMTA are put in by `outgoing/added_fields.py`, which also writes the fields.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from email.utils import format_datetime
from typing import NamedTuple

from fletching.config.model import MailClass
from fletching.config.templates import pieces
from fletching.mail.dkim import Signature, ascii_domain
from fletching.mail.message import address_domain
from fletching.policy import offers, privacy
from fletching.policy.decisions import Decisions, Submission
from fletching.policy.offers import RankedOffers
from fletching.policy.plan import AddedHeader
from fletching.policy.substitution import clean, substitute

LATE = frozenset(("campaign", "message_number", "virtual_mta"))
"""Placeholders whose values are known only once the store has answered."""

_CFBL = frozenset(("cfbl-address", "cfbl-feedback-id"))


class Wanted(NamedTuple):
    """A header field that is to be added, unless the mail has it: its value as configured."""

    name: str
    template: str
    source: str


def of_class(mail: Submission, mail_class: MailClass) -> list[Wanted]:
    """What the configuration adds to mail of a class. The class's value of a name wins."""
    found = _wanted(mail_class.add_headers or {}, f"class {mail_class.name}")
    return list((_wanted(mail.config.add_headers, "global") | found).values())


def _wanted(headers: Mapping[str, str], source: str) -> dict[str, Wanted]:
    return {name.lower(): Wanted(name, text, source) for name, text in headers.items()}


def decide(
    mail: Submission,
    wanted: Iterable[Wanted],
    values: Mapping[str, str],
    signatures: Sequence[Signature],
    decisions: Decisions,
) -> tuple[AddedHeader, ...]:
    """The fields that are added. Of several with one name, the first one counts.

    ``values``: those of further placeholders. ``signatures``: the DKIM signatures of the mail.
    """
    found: dict[str, AddedHeader] = {}
    # A field that a rule removes can still be read.
    readable = mail if mail.original is None else replace(mail, message=mail.original)
    for each in wanted:
        key = each.name.lower()
        if key in found or mail.message.has(key.encode("ascii")):
            continue
        header = AddedHeader(each.name, _filled(each.template, readable, values))
        if not header.is_empty and (objection := _objection(header, mail, signatures)):
            decisions.warn(f"no {each.name}: {objection}")
        elif header.is_empty:
            decisions.warn(f"no {each.name}: its value is empty")
        else:
            found[key] = header
            decisions.record(f"header {each.name}", each.template, each.source)
    return tuple(found.values())


def class_values(
    mail: Submission,
    ranked: RankedOffers,
    decisions: Decisions,
    mail_class: MailClass,
    instance_id: str,
    listid: str,
) -> dict[str, str]:
    """The values of placeholders that mail of a class has."""
    return {
        "mail_class": mail_class.name,
        "list_id": listid,
        "instance_id": instance_id,
        "sendid": mail_class.name + instance_id,
        "recipient": privacy.shown(mail, ranked, decisions),
    }


def _filled(
    template: str, mail: Submission, values: Mapping[str, str]
) -> tuple[tuple[str, bool], ...]:
    """The pieces of a value: text, or the name of a placeholder that is filled in later."""
    found: list[tuple[str, bool]] = []
    for text, is_name in pieces(template):
        if is_name and text not in LATE:
            text = clean(values[text]) if text in values else substitute(f"{{{text}}}", mail)
            is_name = False
        found.append((text, is_name))
    return tuple(found)


def _objection(header: AddedHeader, mail: Submission, signatures: Sequence[Signature]) -> str:
    """Why a field of a complaint feedback loop is not added (RFC 9477 section 3.1); empty if it is.

    The From domain must sign it. If the address is not in that domain, its own domain must as well.
    """
    if header.name.lower() not in _CFBL:
        return ""
    signed = {ascii_domain(each.domain) for each in signatures}
    author = mail.message.first(b"from")
    domain = _ascii(address_domain(author.value) if author is not None else None)
    if domain not in signed:
        return "requires a DKIM signature of the From domain"
    if header.name.lower() == "cfbl-address":
        own = _ascii(address_domain(header.text.partition(";")[0].encode()))
        if own is None:
            return "its value must begin with a mail address"
        if own != domain and not own.endswith(f".{domain}") and own not in signed:
            return "requires a DKIM signature of the address's domain"
    return ""


def _ascii(domain: str | None) -> str | None:
    try:
        return None if domain is None else ascii_domain(domain)
    except ValueError:
        return None


def repairs(
    mail: Submission,
    ranked: RankedOffers,
    headers: Iterable[AddedHeader],
    decisions: Decisions,
) -> Iterator[AddedHeader]:
    """Date and Message-ID, if they are missing beside these added headers."""
    present = {header.name.lower() for header in headers}
    present |= {name for name in ("date", "message-id") if mail.message.has(name.encode())}
    date, message_id = ranked.best(offers.REPAIR_DATE), ranked.best(offers.REPAIR_MESSAGE_ID)
    if date is not None and date.value and "date" not in present:
        yield _repaired("Date", format_datetime(mail.stamp.time), date.source, decisions)
    if message_id is not None and message_id.value and "message-id" not in present:
        domain = _own_domain(mail)
        if domain is None:
            decisions.warn("no Message-ID: neither From nor the envelope sender has a domain")
        else:
            text = f"<{_unique(mail)}@{domain}>"
            yield _repaired("Message-ID", text, message_id.source, decisions)


def _repaired(name: str, text: str, source: str, decisions: Decisions) -> AddedHeader:
    decisions.record(f"header {name}", "added", f"repair ({source})")
    return AddedHeader(name, ((text, False),))


def _own_domain(mail: Submission) -> str | None:
    author = mail.message.first(b"from")
    sender = mail.envelope.sender
    domain = _ascii(address_domain(author.value) if author is not None else None)
    return domain or _ascii(sender.rpartition("@")[2] if "@" in sender else None)


def _unique(mail: Submission) -> str:
    """What no other mail has: the time, and 64 random bits, which are used for other things, too,
    and so are not shown."""
    digest = hashlib.blake2b(mail.stamp.entropy, digest_size=8, person=b"message-id").hexdigest()
    return f"{mail.stamp.time:%Y%m%d%H%M%S}.{digest}"
