"""Bounces that only people are meant to read: which addresses failed, and what was said about each.

There are as many wordings as mail servers, but few forms, and each is read here in general:

- an address begins a line, and the reason follows, on the line or below it, or stands above it;
- a phrase and an address: ``could not be delivered to <name@example.com>``;
- a transcript of the SMTP session: ``>>> RCPT TO:<...>``, ``<<< 550 ...``.

Here lives where addresses and reasons stand. What a reason means is not known here. Nothing raises
for any text, and the work is linear in the size.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

MOST_LINES = 1000
LONGEST_LINE = 500
"""Lines of a notice, and characters of a line, that are looked at."""
MOST = 100
"""Recipients of one notice that are read."""
_LONGEST_REASON = 25
"""Lines that may say something about one address."""

_LOCAL = r"(?:\"[^\"\n]{1,64}\"|[^\s<>()\[\],;:\"'@=|/*]{1,128})"
_LABEL = r"[^\s<>()\[\],;:\"'@=|/*.]{1,63}"
_ADDRESS = rf"{_LOCAL}@(?:{_LABEL}(?:\.{_LABEL}){{0,20}}\.?|\[[0-9A-Fa-f.:]{{2,45}}\])"
_HEAD = re.compile(
    rf"(?:\s{{0,8}}\d{{1,3}}[.)](?=\s))?[\s>*\u2022\-\"'(\[]{{0,12}}(?:(?:mailto|smtp|rfc822):|c=[^@]{{0,80}}smtp=)?"
    rf"<?(?P<address>{_ADDRESS})>?"
    rf"(?P<rest>[.\"')\]]{{0,3}}(?:[\s:;,<\[(.].*)?)$",
    re.IGNORECASE,
)
# How a forwarded address is shown (Postfix, Sendmail, Exim).
_EXPANDED = re.compile(
    rf"\((?:expanded|generated) from:?\s{{1,8}}<?(?P<address>{_ADDRESS})>?", re.IGNORECASE
)
# `552 Quota violation for name@example.com`; `Delivery failed 20 attempts: name@example.com`.
_REPLIED = re.compile(
    rf"\s{{0,8}}[45]\d\d[ -][^@<]{{0,80}}[\s<](?P<address>{_ADDRESS})"
    rf"|[^@<:]{{3,80}}:\s{{0,4}}<?(?P<last>{_ADDRESS})>?\s{{0,4}}$"
)
_LABELLED = re.compile(
    r"(?:"
    r"not be delivered to|not be delivered because|not delivered to|wasnt delivered to"
    r"|unable to deliver (?:the |your |this )?(?:message|mail|e-?mail)(?: to)?"
    r"|delivering (?:your |the )?(?:mail|message) to|deliver(?:y|ed)?(?: has)? failed"
    r"|delivery (?:to|for)(?: the)?(?: recipient)?|failed to deliver(?: to)?"
    r"|deliver mail to|deliver your message to|undeliverable(?: mail)? to|undeliverable"
    r"|undelivered to|did not reach(?: the following recipients?)?(?:\(s\))?"
    r"|permanent errors|temporary errors|final delivery userid|unknown user|user unknown"
    r"|unknown recipient|invalid recipient|no such user|no such recipient|not listed in|rcpt to"
    r"|error-for|was addressed"
    r"|recipients?(?:\(s\))?(?: e?-?mail)?(?: address)?(?:es)?|mailing list"
    r"|failed recipient|failed address|intended recipient|address(?:es)? failed|address"
    r"|mailbox|mail for|mail to|message to|sent to|account|user|to"
    rf")[\s:=('\",]{{1,6}}\[?(?:smtp:)?<?(?P<address>{_ADDRESS})",
    re.IGNORECASE,
)
_NOT_THE_RECIPIENT = re.compile(
    r"(?:mail )?from\b|sender|contact|postmaster@|assistance|please send|reply to|help|support"
    r"|sent by|questions|forward (?:this|it)|^to:|^cc:",
    re.IGNORECASE,
)
_FROM = re.compile(rf"from:? <?{_ADDRESS}>?,? (?:sent |addressed )?to$", re.IGNORECASE)
# `<<< 550 5.1.1 text`, `550 5.1.1 <a@b>... text`; the arrows differ.
_COMMAND = re.compile(
    r"(?:>>>|<<<|->|Sent <<<|C:)\s{0,4}(RCPT TO|MAIL FROM|DATA|HELO|EHLO|QUIT|RSET)\b"
    rf"(?:[:\s]{{0,4}}<?(?P<address>{_ADDRESS}))?",
    re.IGNORECASE,
)
_REPLY = re.compile(r"(?:<<<|>>>|<-|Received >>>|S:)\s{0,4}([245]\d\d[ -].*)$")
_SENDMAIL = re.compile(
    rf"([45]\d\d)[ -](?:[45]\.\d+\.\d+ )?<?(?P<address>{_ADDRESS})>?\.\.\. ?(.*)$"
)
_NO_RCPT = re.compile(
    r"need rcpt|no valid recip|rcpt commands? (?:were|must)|recipient", re.IGNORECASE
)
# A line between two sections.
_RULE = re.compile(r"\s{0,20}[-=*_|+]{3,}(?:[^\n]*[-=*_|+]{3,})?\s*$")
_INTRODUCES_ANOTHER = re.compile(
    r"(?:contact|to the address|write to|e?-?mail(?: us)? at|send (?:mail|it|this)[^\n]{0,40} to"
    r"|reply to|postmaster|from|sender(?:s? (?:e-?mail )?address)?)\W{0,5}$",
    re.IGNORECASE,
)
# When the server said no.
_WHEN = re.compile(
    r"(?:after|in reply to|reply to|like our|like|step:|smtp:|command\s|\[|\(|response to)"
    r"\s{0,3}(?:the )?(?:pipelined )?(?:sending )?(?:final |end of |initial )?"
    r"(connection|ehlo|helo|mail|rcpt|recipient|data|body|i sent the message|message)\b",
    re.IGNORECASE,
)
_SENDER_WAS_REJECTED = re.compile(r"but sender was rejected|sender was rejected", re.IGNORECASE)
_COMMANDS = {
    "connection": "CONN",
    "ehlo": "EHLO",
    "helo": "HELO",
    "mail": "MAIL",
    "rcpt": "RCPT",
    "recipient": "RCPT",
    "data": "DATA",
    "body": "DATA",
    "message": "DATA",
    "i sent the message": "DATA",
}
# The server's own words begin at the reply code.
_SAID = re.compile(r"(?:^|[\s:\"'(\[,])([45][0-5]\d(?=[\s:<,#-]).*)", re.DOTALL)
_REMOTE_SAID = re.compile(
    r"(?:remote host said|said|server response|error was|response was|returned was|message)\s?:"
    r"\s{0,4}(.*)",
    re.DOTALL | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Notice:
    """What a notice says about one address.

    ``texts``: what may be the reason, the best first. ``command``: the SMTP command that was
    refused, as `classify` takes it, or empty. ``original``: the address that this one replaced.
    """

    email: str
    texts: tuple[str, ...]
    command: str
    original: str = ""


def notices(text: str, known: Collection[str], ours: Collection[str]) -> list[Notice]:
    """What a notice says about each address that failed.

    ``known``: the addresses that failed, as far as other fields name them; then no others are
    looked for. ``ours``: addresses that did not fail: to whom the notice was sent, and its sender.
    """
    lines = [line[:LONGEST_LINE] for line in text.split("\n")[:MOST_LINES]]
    wanted = {each.lower() for each in known}
    avoided = {each.lower() for each in ours} - wanted
    heads = [
        (number, head["address"], head["rest"])
        for number, line in enumerate(lines)
        if (head := _HEAD.match(line))
        and _may_be(head["address"], wanted, avoided)
        and not _INTRODUCES_ANOTHER.search(_before(lines, number))
    ]
    spoken = _transcript(lines, wanted, avoided)
    found = [_below(lines, heads, number, spoken) for number in _first_of_each(heads)]
    if not found:
        found = [Notice(email, *said) for email, said in spoken.items()]
    if not found:
        found = _labelled(lines, wanted, avoided)
    return found[:MOST]


def command_in(text: str) -> str:
    """The SMTP command that a text says was refused; empty if it does not say."""
    if _SENDER_WAS_REJECTED.search(text):
        return "MAIL"
    found = _WHEN.search(text)
    return _COMMANDS[found[1].lower()] if found else ""


def said(text: str) -> str:
    """The server's own words in a text: from the reply code on, if there is one."""
    if found := _SAID.search(text):
        return found[1]
    found = _REMOTE_SAID.search(text)
    return found[1] if found and found[1].strip() else text


def _before(lines: Sequence[str], number: int) -> str:
    """The last line before a line that is not blank; the one before a blank line at most."""
    return next((line for line in reversed(lines[max(0, number - 2) : number]) if line.strip()), "")


def _may_be(address: str, wanted: set[str], avoided: set[str]) -> bool:
    lower = address.lower().rstrip(".")
    return lower in wanted if wanted else lower not in avoided


def _first_of_each(heads: Sequence[tuple[int, str, str]]) -> list[int]:
    """The index of the first head of each address."""
    first: dict[str, int] = {}
    for index, (_, address, _) in enumerate(heads):
        first.setdefault(address.lower().rstrip("."), index)
    return list(first.values())


def _below(
    lines: Sequence[str],
    heads: Sequence[tuple[int, str, str]],
    index: int,
    spoken: dict[str, tuple[tuple[str, ...], str]],
) -> Notice:
    """What is said about an address that begins a line: behind it, below it, above it."""
    number, address, rest = heads[index]
    email = address.rstrip(".")
    others = (at for at, other, _ in heads[index + 1 :] if other.lower() != address.lower())
    until = next(others, len(lines))
    below = lines[number + 1 : min(until, number + 1 + _LONGEST_REASON)]
    above = lines[max(number - 20, heads[index - 1][0] + 1 if index else 0) : number]
    above = [line for line in above if line.strip()][-6:]
    replies = [found[1] for line in above if (found := _SAID.search(line))]
    texts, command = spoken.get(email.lower(), ((), ""))
    below = [line for line in below if not _RULE.match(line)]
    first = _joined([rest.lstrip(" :;,>.\"')"), *_paragraph(below)])
    whole = _joined([rest.lstrip(" :;,>.\"')"), *below])
    candidates = [
        said(first),
        said(whole),
        first,
        whole,
        *texts,
        *replies,
        _joined(above),
    ]
    expanded = _EXPANDED.search(whole[:300])
    return Notice(
        email,
        _different(candidates),
        command_in(first) or command or command_in(whole),
        expanded["address"] if expanded else "",
    )


def _labelled(lines: Sequence[str], wanted: set[str], avoided: set[str]) -> list[Notice]:
    """The addresses behind a phrase. The whole notice may say why."""
    whole = _joined(lines[:40])
    found: dict[str, Notice] = {}
    for number, line in enumerate(lines):
        plain = line.replace("'", "").replace("\u2019", "")
        label = _LABELLED.search(plain) or _EXPANDED.search(plain) or _REPLIED.match(plain)
        if label is None:
            continue
        name = "address" if label["address"] else "last"
        before = plain[: label.start(name)]
        before = _FROM.sub("", before.strip())
        if label.re is not _EXPANDED and _NOT_THE_RECIPIENT.search(before):
            continue
        email = label[name].rstrip(".")
        if email.lower() in found or not _may_be(email, wanted, avoided):
            continue
        below = _joined([line[label.end(name) :], *lines[number + 1 : number + 8]])
        texts = _different([said(below), below, said(whole), line, whole])
        found[email.lower()] = Notice(email, texts, command_in(below) or command_in(whole))
    return list(found.values())


def _transcript(
    lines: Sequence[str], wanted: set[str], avoided: set[str]
) -> dict[str, tuple[tuple[str, ...], str]]:
    """By address: what a server replied in a session, and to which command."""
    found: dict[str, tuple[tuple[str, ...], str]] = {}
    command, address = "", ""
    replies: list[str] = []
    for line in (line.strip() for line in lines):
        if asked := _COMMAND.match(line):
            command = asked[1].upper().split()[0]
            address = (asked["address"] or "") if command == "RCPT" else address
            replies = []
        elif reply := _REPLY.match(line):
            if command == "DATA" and _NO_RCPT.search(reply[1]):
                # With pipelining, what was replied before belongs to RCPT.
                found = {email: (texts, "RCPT") for email, (texts, _) in found.items()}
            elif reply[1][0] in "45":
                replies.append(reply[1])
                if command == "RCPT" and address:
                    _add(found, address, replies, command, wanted, avoided)
        elif refused := _SENDMAIL.match(line):
            texts = [_joined(replies), line] if replies else [line]
            # The next recipients may have failed before the session with this host.
            spoken_to = command if replies or command != "MAIL" else ""
            _add(found, refused["address"], texts, spoken_to, wanted, avoided)
            replies = []
    if not found and len(wanted) == 1 and replies:
        _add(found, next(iter(wanted)), replies, command, wanted, avoided)
    return found


def _add(
    found: dict[str, tuple[tuple[str, ...], str]],
    address: str,
    replies: Sequence[str],
    command: str,
    wanted: set[str],
    avoided: set[str],
) -> None:
    email = address.lower().rstrip(".")
    if _may_be(email, wanted, avoided):
        before, first = found.get(email, ((), command))
        found[email] = ((*before, *replies)[:10], first)


def _paragraph(lines: Sequence[str]) -> list[str]:
    """The lines up to a blank one, without blank ones before them."""
    found: list[str] = []
    for line in lines:
        if line.strip():
            found.append(line)
        elif found:
            break
    return found


def _joined(lines: Sequence[str]) -> str:
    return " ".join(" ".join(lines).split())


def _different(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))
