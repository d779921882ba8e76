"""What the header of a mail says it is: a bounce, a complaint, an automatic reply, an unsubscribe.

Here live the signs by which a mail is taken for one of these. What it says in detail is read in the
files beside this one.
"""

from __future__ import annotations

import re
from email.errors import HeaderParseError
from email.header import decode_header

from fletching.mail import charsets
from fletching.mail.message import Message, addresses
from fletching.returning.status_reports import addressed

_MAILERS = re.compile(
    r"mailer-?_?daemon|mail-?daemon|postmaster|post_master|mmdf|mail\.?delivery"
    r"|double-?bounce|bounce-?(?:s|d|admin|handler)?|mdaemon|mail-?system|sysadmin|root|uucp"
    r"|administrator|microsoftexchange[0-9a-f]*",
    re.IGNORECASE,
)
_MAILER_NAMES = re.compile(
    r"mail(?:er)?[ -]?daemon|mail deliver(?:y|er)? (?:sub)?system|postmaster|system administrator"
    r"|mail administrator|mail delivery (?:service|agent)|ndr administrator",
    re.IGNORECASE,
)
_SUBJECTS = re.compile(
    r"undeliver|returned mail|return(?:ed|ing) (?:message|to sender)|deliver(?:y|ing)? failure"
    r"|delivery (?:has )?(?:fail|status|notification|problem|error|report|delay|unsuccessful|was)"
    r"|fail(?:ed|ure)? (?:delivery|notice|mail|to deliver)|failure delivery|mail (?:delivery )?fail"
    r"|mail (?:system )?error|mail could not|could not be delivered|message could not"
    r"|(?:message|mail) (?:delivery )?(?:has )?failed|non-?deliver|not delivered|nondelivery"
    r"|user unknown|unknown user|bounced?\b|mail .{0,20}not delivered|error sending your"
    r"|message status|warning: (?:message|could not|mail)|message .{0,80}delayed|mail delivery"
    r"|unzustellbar|nicht zugestellt|non remis|non distribu|no entregad|rejected|mail rejected"
    r"|are not member|not a member",
    re.IGNORECASE,
)
_ANSWER = re.compile(r"\s*(?:re|aw|sv|fwd?|wg|tr|rv)\s?:", re.IGNORECASE)
_AUTO_SUBJECTS = re.compile(
    r"\s*(?:auto(?:matic|mated)?(?: |-|:)\s?(?:re(?:ply|sponse|sponder))|auto:|autoreply"
    r"|autoresponse|out of (?:the )?office|ooo:|away from|vacation|i am away|on vacation|abwesen"
    r"|automatische antwort|r\u00e9ponse automatique|respuesta autom\u00e1tica"
    r"|risposta automatica)",
    re.IGNORECASE,
)
_COMPLAINT_SUBJECTS = re.compile(
    r"\s*(?:complaint about message from|e-?mail feedback report for ip|abuse report|"
    r"spam complaint|feedback report)",
    re.IGNORECASE,
)
_UNSUBSCRIBE_SUBJECT = re.compile(r"\s*(?:re:\s*)?(?:unsubscribe|opt-?out)\s*$", re.IGNORECASE)
_NOT_DELIVERED = re.compile(
    r"(?:could not|cannot|can't|was not|unable to) be(?:en)? delivered|undeliverable"
    r"|delivery (?:has )?failed|unable to deliver",
    re.IGNORECASE,
)
_DELAY = re.compile(
    r"\bdelay(?:ed)?\b|warning message only|has not yet been delivered|not yet (?:been )?delivered"
    r"|not been delivered yet|will (?:be retried|continue|keep) |still being retried"
    r"|temporary failure report|this is (?:only )?a warning|do not need to re-?send",
    re.IGNORECASE,
)
# A list of names, each on a line of its own, behind a phrase (AOL).
_UNQUALIFIED = re.compile(
    r"following recipients? could not be delivered[^:]{0,200}:[ \t]*\n"
    r"((?:\s{0,20}[A-Za-z0-9._-]{1,64}[ \t]*(?:\n|$)){1,100})",
    re.IGNORECASE,
)
_SUBJECT_ADDRESS = re.compile(r"[^\s<>()\[\],;:\"'@]{1,128}@[^\s<>()\[\],;:\"'@]{1,255}")
_GENERATED = ("auto-replied", "auto-generated", "auto-notified")


def subject(message: Message) -> str:
    """The decoded Subject; empty without one."""
    field = message.first(b"subject")
    return _decoded(field.text) if field else ""


def is_bounce(message: Message, notice: str = "") -> bool:
    """Whether a mail server seems to have written it, to say that a mail failed."""
    if message.has(b"x-failed-recipients") or is_from_mailer(message):
        return True
    title = subject(message)
    if is_auto_reply(message) or not _SUBJECTS.search(title):
        return False
    # A person may answer to anything.
    return not _ANSWER.match(title) or bool(_NOT_DELIVERED.search(notice[:4000]))


def is_from_mailer(message: Message) -> bool:
    """Whether the sender is a mail server."""
    return any(_is_mailer(field.text) for field in message.all(b"from")[:1])


def returns(notice: str, returned: str) -> bool:
    """Whether a text with a message behind it says that this message could not be delivered."""
    return bool(returned) and bool(_NOT_DELIVERED.search(notice[:4000]))


def is_complaint(message: Message, returned: str) -> bool:
    """Whether it is a complaint without a feedback report, such as Microsoft's."""
    if "\nx-hmxmroriginalrecipient:" in f"\n{returned}".lower():
        return True
    return bool(returned) and bool(_COMPLAINT_SUBJECTS.match(subject(message)))


def is_auto_reply(message: Message) -> bool:
    """Whether a program answered for a person (RFC 3834 section 5, and older signs)."""
    submitted = message.first(b"auto-submitted")
    if submitted and submitted.text.lower().startswith(tuple(w.encode() for w in _GENERATED)):
        return True
    if any(message.has(name) for name in (b"x-autoreply", b"x-autorespond", b"x-autogenerated")):
        return True
    precedence = message.first(b"precedence")
    if precedence and precedence.text.lower() in (b"auto_reply", b"auto-reply"):
        return True
    return bool(_AUTO_SUBJECTS.match(subject(message)))


def is_unsubscribe(message: Message) -> bool:
    """Whether the mail asks to be removed from a list, without more."""
    return bool(_UNSUBSCRIBE_SUBJECT.match(subject(message))) and not is_bounce(message)


def is_delay(message: Message, text: str) -> bool:
    """Whether a bounce is only a warning: delivery goes on."""
    return bool(_DELAY.search(subject(message)) or _DELAY.search(text[:4000]))


def failed_recipients(message: Message) -> list[str]:
    """The addresses in X-Failed-Recipients, which Exim and Gmail write."""
    fields = message.all(b"x-failed-recipients")
    found = (address for field in fields for address in addresses(field.value))
    return list(dict.fromkeys(found))[:100]


def in_subject(message: Message, own: list[str]) -> list[str]:
    """The address in the Subject, such as ``Undeliverable: name@example.com``."""
    avoided = {each.lower() for each in own}
    found = _SUBJECT_ADDRESS.findall(subject(message))
    return [each.rstrip(".") for each in found if each.lower() not in avoided][:1]


def unqualified(message: Message, notice: str) -> list[str]:
    """The names without a domain that a provider lists as its recipients, with the domain."""
    found = _UNQUALIFIED.search(notice)
    sender = next((each for field in message.all(b"from") for each in addresses(field.value)), "")
    if found is None or not sender:
        return []
    domain = sender.rpartition("@")[2]
    return [f"{name}@{domain}" for name in found[1].split()][:100]


def _is_mailer(sender: bytes) -> bool:
    text = _decoded(sender)
    local = addressed(text).rpartition("@")[0].strip('"')
    return bool(_MAILERS.fullmatch(local) or _MAILER_NAMES.search(text)) or text.strip() == "<>"


def _decoded(value: bytes) -> str:
    """A header field with its encoded words decoded (RFC 2047), whatever is wrong with them."""
    text = value.decode("utf-8", "replace")
    if "=?" not in text:
        return text
    try:
        pieces = decode_header(text[:2000])
    except (HeaderParseError, ValueError):
        return text
    found = []
    for octets, label in pieces:
        if isinstance(octets, str):
            found.append(octets)
        else:
            found.append(octets.decode(charsets.codec(label or "ascii") or "ascii", "replace"))
    return "".join(found)
