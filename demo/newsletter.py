"""The mails of the demonstration, as an application would make them.

Here live three newsletters of invented senders, in MJML with their texts beside it in
`newsletters/`, and a transactional mail. They are assembled by Python's email package.
"""

from __future__ import annotations

from collections.abc import Mapping
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from functools import cache
from html import escape, unescape
from pathlib import Path
from string import Template
from typing import Any

import yaml
from mjml import mjml2html

NAMES = ("shop", "association", "magazine")
SENDER = "news@example.com"
_FOLDER = Path(__file__).parent / "newsletters"
_DATE = "Sat, 21 Nov 2026 09:00:00 +0000"


def newsletter(name: str, reader: str, number: int, headers: Mapping[str, str]) -> bytes:
    """One reader's copy: text and HTML with CRLF line ends; ``headers`` are control headers."""
    told = _told(name)
    sender = str(Address(told["name"], addr_spec=SENDER))
    mail = _mail(sender, reader, told["subject"], f"{name}.{number}", headers)
    mail.set_content(_text(name), cte="quoted-printable")
    mail.add_alternative(_html(name), subtype="html", cte="quoted-printable")
    return mail.as_bytes(policy=policy.SMTP)


def transactional(reader: str, headers: Mapping[str, str]) -> bytes:
    """A password reset: nobody wants that link to be anything but what it is."""
    mail = _mail("Accounts <accounts@example.com>", reader, "Your new password", "reset.1", headers)
    mail.set_content(
        "Somebody, probably you, asked for a new password.\r\n\r\n"
        "https://shop.example.com/reset?code=f3Q8-77-hs_2&for=customer\r\n\r\n"
        "The link works for one hour. If it was not you, do nothing.\r\n"
    )
    return mail.as_bytes(policy=policy.SMTP)


def _mail(
    sender: str, reader: str, subject: str, name: str, headers: Mapping[str, str]
) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = sender, reader, subject
    mail["Date"], mail["Message-ID"] = _DATE, f"<{name}@example.com>"
    for header, value in headers.items():
        mail[header] = value
    return mail


@cache
def _told(name: str) -> dict[str, Any]:
    told: dict[str, Any] = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text("utf-8"))
    return told


@cache
def _html(name: str) -> str:
    told = _told(name)
    piece = Template((_FOLDER / "article.mjml").read_text("utf-8"))
    articles = "".join(
        piece.substitute(
            told,
            title=title,
            url=escape(told["site"] + path),
            image=f"https://img.example.com/{told['slug']}/{place}.jpg",
            text=text,
        )
        for place, (title, path, text) in enumerate(told["articles"], 1)
    )
    items = "<br />".join(
        f'<a href="{escape(told["site"] + path)}">{title}</a>' for title, path in told["links"]
    )
    whole = Template((_FOLDER / "newsletter.mjml").read_text("utf-8"))
    mjml = whole.substitute(told, title=told["subject"], articles=articles, list=items)
    return str(mjml2html(mjml))


@cache
def _text(name: str) -> str:
    told = _told(name)
    blocks = [told["name"], told["greeting"], told["intro"], f"{told['button']}: {told['site']}/"]
    blocks += [
        f"* {title}\n  {text}\n  {told['site']}{path}" for title, path, text in told["articles"]
    ]
    blocks += ["\n".join(f"{title}: {told['site']}{path}" for title, path in told["links"])]
    blocks += [f"{told['bye']}: ##unsubscribetag##{told['site']}/bye?list=t100", told["address"]]
    return unescape("\n\n".join(blocks)) + "\n"
