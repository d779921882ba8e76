"""Delivery status notifications for programs: the fields of RFC 3464, and of RFC 6533.

Here lives what they say about each recipient. Which part of a mail has them is not known here.
Nothing raises for any text, and the work is linear in the size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

_FIELD = re.compile(r"[ \t]{0,3}([A-Za-z][A-Za-z0-9-]{0,60})[ \t]{0,4}:(.*)")
_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_MAILBOX = re.compile(
    r"(\"[^\"\n]{1,128}\"|[^\s<>()\[\],;:\"'@]{1,128})@([^\s<>()\[\],;:\"'@]{1,255}|\[[^\s\]]{1,60}\])"
)
# The whole value. Then a local part may have an apostrophe, or quoted pairs (RFC 5321 section
# 4.1.2).
_ALONE = re.compile(
    r"<?((?:\"(?:[^\"\\\x00-\x1f\x7f]|\\[ -~]){1,126}\"|[^\s<>()\[\],;:\"@\\\x00-\x1f\x7f]{1,128})"
    r"@(?:[^\s<>()\[\],;:\"'@]{1,255}|\[[^\s\]]{1,60}\]))>?"
)
# RFC 6533 section 3: a character outside ASCII in an address, where the report is in ASCII.
_ESCAPED = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")
# RFC 3461 section 4: xtext, in which an original recipient was given to the server.
_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_ACTIONS = {"failed", "delayed", "delivered", "relayed", "expanded"}
_SENDERS = {"x-postfix-sender", "original-envelope-from", "x-envelope-from", "x-mailer-sender"}

MOST = 1000
"""Recipients that are read, of one report and of one mail."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a report says about one recipient.

    ``action``: failed, delayed, delivered, relayed or expanded, in lower case; empty if missing.
    ``status``: the enhanced status code; ``diagnostic``: the server's words, without their type.
    ``original``: the address that ``email`` replaced, or empty.
    """

    email: str
    action: str
    status: str
    diagnostic: str
    original: str = ""


def reports(text: str) -> list[Report]:
    """What the fields in a text say, one recipient after another."""
    found: list[Report] = []
    for fields in _groups(text):
        names_one = "final-recipient" in fields or "original-recipient" in fields
        if names_one or (not found and _names_nobody(fields)):
            found.append(_report(fields))
        elif found and "diagnostic-code" in fields and not found[-1].diagnostic:
            # A blank line where none should be.
            found[-1] = replace(
                found[-1],
                action=found[-1].action or _word(fields.get("action", "")),
                status=found[-1].status or _code(fields.get("status", "")),
                diagnostic=_without_type(fields["diagnostic-code"]),
            )
        if len(found) == MOST:
            break
    return found


def _names_nobody(fields: dict[str, str]) -> bool:
    """Whether the fields say what became of a recipient, but not of whom."""
    return bool(_code(fields.get("status", ""))) and _word(fields.get("action", "")) in _ACTIONS


def senders(text: str) -> list[str]:
    """The envelope senders of the returned message that the fields name."""
    return [
        address
        for name, value in _fields(text)
        if name in _SENDERS and (address := addressed(value))
    ]


def queue_id(text: str) -> str:
    """The queue id that the fields of a bounce from Postfix name; empty if they do not."""
    return next((value for name, value in _fields(text) if name == "x-postfix-queue-id"), "")


def addressed(value: str) -> str:
    """The address in a field such as ``rfc822; name@example.com``; empty without one."""
    kind, mark, rest = value.partition(";")
    text = rest if mark and "@" not in kind else value
    if "\\x{" in text:
        text = _ESCAPED.sub(_unescaped, text)
    if "@" not in text and "+40" in text:
        text = _XTEXT.sub(lambda octet: chr(int(octet[1], 16)), text)
    if alone := _ALONE.fullmatch(text.strip()):
        return alone[1].rstrip(".")
    found = _MAILBOX.search(text)
    return found[0].rstrip(".") if found else ""


def _unescaped(code: re.Match[str]) -> str:
    number = int(code[1], 16)
    return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else ""


def _groups(text: str) -> Iterator[dict[str, str]]:
    """The fields that belong together: up to a blank line, or a second recipient."""
    fields: dict[str, str] = {}
    for name, value in _fields(text):
        again = name in ("final-recipient", "original-recipient") and name in fields
        if not name or again:
            if fields:
                yield fields
            fields = {}
        if name in fields and name == "diagnostic-code":
            fields[name] += f" {value}"
        elif name:
            fields.setdefault(name, value)
    if fields:
        yield fields


def _fields(text: str) -> Iterator[tuple[str, str]]:
    """Names in lower case, and unfolded values; a blank line is a field without name."""
    name, values = "", [""]
    for line in text.split("\n"):
        if name and line[:1] in (" ", "\t") and line.strip():
            values.append(line.strip())
            continue
        if name:
            yield name, " ".join(values).strip()
            name = ""
        if field := _FIELD.match(line):
            name, values = field[1].lower(), [field[2].strip()]
        elif not line.strip():
            yield "", ""
    if name:
        yield name, " ".join(values).strip()


def _report(fields: dict[str, str]) -> Report:
    email = ""
    for name in ("final-recipient", "original-recipient", "x-actual-recipient"):
        email = email or addressed(fields.get(name, ""))
    status = fields.get("status", "")
    diagnostic = _without_type(fields.get("diagnostic-code", ""))
    if not diagnostic and "(" in status:
        diagnostic = status.partition("(")[2].rstrip(")")
    original = addressed(fields.get("original-recipient", ""))
    if original.replace('"', "").lower() == email.replace('"', "").lower():
        original = ""
    return Report(email, _word(fields.get("action", "")), _code(status), diagnostic, original)


def _word(value: str) -> str:
    return value.lower().partition(" ")[0].partition(";")[0].strip("()")


def _code(value: str) -> str:
    found = _STATUS.search(value)
    return found[1] if found else ""


def _without_type(value: str) -> str:
    """A diagnostic without ``smtp;`` or another type before it."""
    kind, mark, text = value.partition(";")
    return text.strip() if mark and re.fullmatch(r"[A-Za-z0-9_. -]{1,40}", kind) else value
