"""A seed's mailbox over IMAP (RFC 3501): which of our mails are in it, in which folder, since when.

Here is all that knows IMAP. Nothing in a mailbox is changed: folders are opened by EXAMINE, and
header fields are read by BODY.PEEK. What a campaign is, is not known here.
"""

from __future__ import annotations

import binascii
import imaplib
import re
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from fletching.keys import secret_file
from fletching.monitor.connection import TOO_LONG, Connection, SecureConnection, TooMuchError
from fletching.placements import FOLDER, INBOX, SPAM, Where
from fletching.tokens import Facts, Keyring, TokenError, found_in

TIMEOUT = 20.0
"""Seconds for the connection, and for each answer of a server."""

LONGEST = 60.0
"""Seconds for a whole mailbox."""

_TOGETHER = 200
"""Mails whose header field is fetched by one command."""

_MOST_MAILS = 5000
"""Mails of a folder that are looked at, the newest ones."""

_MOST_FOLDERS = 200

_FIELD = "HEADER.FIELDS (X-Mailer-Info)"
_LONGEST_FIELD = 16384
"""Bytes of it that are fetched. Ours has about 500."""

# Names that providers give the spam folder, where the server does not mark it (RFC 6154).
_SPAM_NAMES = {
    *("spam", "junk", "junk e-mail", "junk email", "junk mail", "bulk", "bulk mail"),
    *("spamverdacht", "unerwünscht", "indésirables", "courrier indésirable", "correo no deseado"),
    *("posta indesiderata", "ongewenste e-mail", "lixo eletrônico", "спам", "quarantine"),
}
_LINE = re.compile(rb'\((?P<flags>[^)]*)\) (?P<separator>NIL|"(?:\\.|[^"\\])*") (?P<name>.*)', re.S)
_LITERAL = re.compile(rb"\{\d+\}\Z")
_DATE = re.compile(rb'INTERNALDATE "([^"]+)"')
_BASE64 = re.compile(r"&([A-Za-z0-9+,]*)-")
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_STORED = re.compile(r" ?(\d{1,2})-(\w{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")


class MailboxError(Exception):
    """The mailbox cannot be read. Says why in one line, without the password."""


@dataclass(frozen=True, slots=True)
class Account:
    """How to get into a mailbox. ``server``: imaps://HOST or imap://HOST, perhaps with a port."""

    server: str
    login: str
    password_file: Path


@dataclass(frozen=True, slots=True)
class Arrival:
    """A mail of ours in a mailbox. ``facts``: of its X-Mailer-Info. ``arrived``: unix seconds."""

    facts: Facts
    where: Where
    folder: str
    arrived: int


@dataclass(frozen=True, slots=True)
class _Folder:
    """``name``: as the server has it, quoted for a command. ``title``: the same for people."""

    name: bytes
    title: str
    where: Where
    rank: int


def arrivals(account: Account, since: float, keys: Keyring) -> list[Arrival]:
    """Our mails in a mailbox that arrived since that time (unix seconds; a day or two more).

    A mail that is in several folders is listed once: in the inbox, if it is there, else in the spam
    folder, else in another one. Raises MailboxError.
    """
    try:
        password = secret_file.read(account.password_file).partition(b"\n")[0].strip()
    except secret_file.KeyFileError as error:
        raise MailboxError(str(error)) from None
    try:
        client = _logged_in(account, password)
        try:
            return _found(client, since, keys)
        finally:
            with suppress(imaplib.IMAP4.error, OSError):
                client.logout()
    except MailboxError:
        raise
    except TooMuchError as error:
        raise MailboxError(str(error)) from None
    except ssl.SSLCertVerificationError as error:
        raise MailboxError(f"certificate not trusted: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise MailboxError(f"TLS: {error.reason or error}") from None
    except TimeoutError:
        raise MailboxError("no answer in time") from None
    except socket.gaierror as error:
        raise MailboxError(f"unknown host: {error.strerror}") from None
    except OSError as error:
        raise MailboxError(error.strerror or str(error)) from None
    except imaplib.IMAP4.error as error:
        raise MailboxError(_words(error)) from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        # imaplib takes apart what it got, and expects IMAP.
        raise MailboxError("the server's answer is not IMAP") from None


def _logged_in(account: Account, password: bytes) -> imaplib.IMAP4:
    where = urlsplit(account.server)
    host, secure = where.hostname or "", where.scheme == "imaps"
    context = ssl.create_default_context()
    client: imaplib.IMAP4
    if secure:
        client = SecureConnection(
            LONGEST, host, where.port or 993, ssl_context=context, timeout=TIMEOUT
        )
    else:
        client = Connection(LONGEST, host, where.port or 143, timeout=TIMEOUT)
    with ExitStack() as opened:
        opened.callback(_hang_up, client)
        if not secure and not _is_loopback(client):
            # A password must not leave this host in clear text.
            client.starttls(context)
        _log_in(client, account.login, password)
        opened.pop_all()
    return client


def _hang_up(client: imaplib.IMAP4) -> None:
    # The socket may be closed already, after a failed STARTTLS.
    with suppress(imaplib.IMAP4.error, OSError):
        client.shutdown()


def _is_loopback(client: imaplib.IMAP4) -> bool:
    address = str(client.socket().getpeername()[0])
    return address == "::1" or address.startswith("127.")


def _log_in(client: imaplib.IMAP4, login: str, password: bytes) -> None:
    try:
        if "AUTH=PLAIN" in client.capabilities:
            # LOGIN allows ASCII only.
            secret = b"\0".join((b"", login.encode(), password))
            client.authenticate("PLAIN", lambda _: secret)
        else:
            client.login(login, password.decode("utf-8", "replace"))
    except imaplib.IMAP4.abort:
        raise
    except imaplib.IMAP4.error as error:
        raise MailboxError(f"login refused: {_words(error)}") from None
    except UnicodeError:
        raise MailboxError("the server allows only ASCII in login and password") from None


def _found(client: imaplib.IMAP4, since: float, keys: Keyring) -> list[Arrival]:
    ends = time.monotonic() + LONGEST
    found: dict[tuple[str, int], Arrival] = {}
    for folder in _folders(client)[:_MOST_FOLDERS]:
        with suppress(_NotReadableError):
            for facts, arrived in _mails(client, folder, since, keys, ends):
                arrival = Arrival(facts, folder.where, folder.title, arrived)
                found.setdefault((facts.campaign, facts.number), arrival)
    return list(found.values())


class _NotReadableError(Exception):
    """The server does not let this folder be opened, or it was deleted meanwhile."""


def _folders(client: imaplib.IMAP4) -> list[_Folder]:
    """The folders that can hold mail: inbox, spam, others, and last what has all mail once more."""
    pattern = '"*"'
    if "SPECIAL-USE" in client.capabilities and "LIST-EXTENDED" in client.capabilities:
        pattern = '"*" RETURN (SPECIAL-USE)'
    _, lines = client.list('""', pattern)
    found = [folder for line in _joined(lines) if (folder := _folder(line)) is not None]
    if not any(folder.where == INBOX for folder in found):
        found.append(_Folder(b'"INBOX"', "INBOX", INBOX, 0))
    if any(folder.rank == 1 for folder in found):
        # The server marks its spam folder. Another one of such a name is the recipient's.
        found = [
            _Folder(each.name, each.title, FOLDER, 3) if each.rank == 2 else each for each in found
        ]
    return sorted(found, key=lambda folder: folder.rank)


def _joined(lines: Sequence[Any]) -> Iterator[bytes]:
    """The lines of an answer. A name that came as a literal is quoted."""
    for line in lines:
        if isinstance(line, tuple):
            head, name = line
            yield _LITERAL.sub(b"", head) + _quoted(name)
        elif line and line != b")":
            yield line


def _folder(line: bytes) -> _Folder | None:
    parsed = _LINE.fullmatch(line)
    if parsed is None:
        return None
    if any(octet < 32 for octet in parsed["name"]):
        # It would end the command that names it.
        return None
    flags = {flag.lower() for flag in parsed["flags"].split()}
    if flags & {rb"\noselect", rb"\nonexistent"}:
        return None
    name, separator = _unquoted(parsed["name"]), _unquoted(parsed["separator"])
    title = _title(name)
    last = title.rpartition(separator.decode("ascii", "replace"))[2] if separator else title
    where: Where = FOLDER
    rank = 3
    if name.upper() == b"INBOX":
        where, rank = INBOX, 0
    elif rb"\junk" in flags:
        where, rank = SPAM, 1
    elif last.lower() in _SPAM_NAMES:
        where, rank = SPAM, 2
    elif rb"\all" in flags:
        rank = 4
    return _Folder(_quoted(name), title, where, rank)


def _unquoted(text: bytes) -> bytes:
    if text == b"NIL":
        return b""
    return re.sub(rb"\\(.)", rb"\1", text[1:-1]) if text.startswith(b'"') else text


def _quoted(name: bytes) -> bytes:
    return b'"' + re.sub(rb'(["\\])', rb"\\\1", name) + b'"'


def _title(name: bytes) -> str:
    """A name in modified UTF-7 (RFC 3501 section 5.1.3), as text."""

    def decoded(coded: re.Match[str]) -> str:
        if not coded[1]:
            return "&"
        data = coded[1].replace(",", "/")
        return binascii.a2b_base64(data + "=" * (-len(data) % 4)).decode("utf-16-be")

    text = name.decode("utf-8", "replace")
    try:
        return _BASE64.sub(decoded, text)
    except (ValueError, UnicodeError):
        return text


def _mails(
    client: imaplib.IMAP4, folder: _Folder, since: float, keys: Keyring, ends: float
) -> Iterator[tuple[Facts, int]]:
    """Our mails in a folder: what their X-Mailer-Info says, and when they arrived.

    ``ends``: the time of the monotonic clock after which it takes too long.
    """
    _check_time(ends)
    # EXAMINE. The name is quoted already, and may be UTF-8, which imaplib takes as bytes only.
    answer, _ = client.select(cast(str, folder.name), readonly=True)
    if answer != "OK":
        raise _NotReadableError
    # A server compares the date in its own time zone.
    day = datetime.fromtimestamp(since, UTC) - timedelta(days=1)
    date = f"{day.day}-{_MONTHS[day.month - 1]}-{day.year}"
    # Some servers cannot search in such a field; they refuse, or find nothing.
    ids = _search(client, "SINCE", date, "HEADER", "X-Mailer-Info", '""')
    ids = (ids or _search(client, "SINCE", date))[-_MOST_MAILS:]
    for start in range(0, len(ids), _TOGETHER):
        _check_time(ends)
        few = b",".join(ids[start : start + _TOGETHER]).decode("ascii")
        _, parts = client.uid(
            "FETCH", few, f"(INTERNALDATE BODY.PEEK[{_FIELD}]<0.{_LONGEST_FIELD}>)"
        )
        for about, fields in _fetched(parts):
            arrived = _stored(about)
            for facts in _facts(fields, keys):
                yield facts, arrived


def _check_time(ends: float) -> None:
    if time.monotonic() > ends:
        raise MailboxError(TOO_LONG)


def _search(client: imaplib.IMAP4, *criteria: str) -> list[bytes]:
    """The ids of mails, oldest first; none if the server refuses such a search."""
    try:
        answer, data = client.uid("SEARCH", *criteria)
    except imaplib.IMAP4.abort:
        raise
    except imaplib.IMAP4.error:
        return []
    ids = data[0] if answer == "OK" and data else None
    return [each for each in ids.split() if each.isdigit()] if isinstance(ids, bytes) else []


def _fetched(parts: Sequence[Any]) -> Iterator[tuple[bytes, bytes]]:
    """Each mail of an answer to FETCH: what is said about it, and its header fields."""
    about, fields = b"", b""
    for part in parts:
        if isinstance(part, tuple):
            if about:
                yield about, fields
            about, fields = part
        elif part:
            # What the server says behind the header fields.
            about += part
    if about:
        yield about, fields


def _stored(about: bytes) -> int:
    """The unix seconds of an INTERNALDATE; 0 if there is none."""
    date = _DATE.search(about)
    parsed = _STORED.fullmatch(date[1].decode("ascii", "replace")) if date else None
    if parsed is None or parsed[2] not in _MONTHS:
        return 0
    day, month, year, hour, minute, second, sign, hours, minutes = parsed.groups()
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    words = (int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second))
    try:
        local = datetime(*words, tzinfo=UTC)
        return int((local - offset if sign == "+" else local + offset).timestamp())
    except (ValueError, OverflowError):
        return 0


def _facts(fields: bytes, keys: Keyring) -> Iterator[Facts]:
    """The facts of all X-Mailer-Info fields that we made."""
    for value in message_from_bytes(fields).get_all("X-Mailer-Info", []):
        with suppress(TokenError):
            yield keys.open(found_in(str(value))).facts


def _words(error: Exception) -> str:
    """A server's words in one line."""
    text = error.args[0] if error.args else ""
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    return " ".join(words.split())[:200] or "unknown error"
