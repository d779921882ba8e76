"""The mails of the demo, as an application would send them.

Three newsletters of fictional senders (MJML templates and texts are in `newsletters/`) and one
transactional mail, built with Python's email package.
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
# Providers' names under a top-level domain that never exists (ISO 3166-1 reserves ZZ for users).
_DOMAINS = (
    "example.net",
    "yahoo.zz",
    "gmx.zz",
    "hotmail.zz",
    "example.org",
    "outlook.zz",
    "aol.zz",
)
_FOLDER = Path(__file__).parent / "newsletters"
_DATE = "Sat, 21 Nov 2026 09:00:00 +0000"


def recipient(number: int) -> str:
    """The address of a recipient of the campaign."""
    return f"recipient{number}@{_DOMAINS[number % len(_DOMAINS)]}"


def newsletter(name: str, recipient: str, number: int, headers: Mapping[str, str]) -> bytes:
    """One recipient's copy: text and HTML with CRLF line ends; ``headers``: control headers."""
    texts = _texts(name)
    sender = str(Address(texts["name"], addr_spec=SENDER))
    mail = _mail(sender, recipient, texts["subject"], f"{name}.{number}", headers)
    mail.set_content(_text(name), cte="quoted-printable")
    mail.add_alternative(_html(name), subtype="html", cte="quoted-printable")
    return mail.as_bytes(policy=policy.SMTP)


def transactional(recipient: str, headers: Mapping[str, str]) -> bytes:
    """A password reset, whose link must not be tracked."""
    mail = _mail(
        "Accounts <accounts@example.com>", recipient, "Your new password", "reset.1", headers
    )
    mail.set_content(
        "Somebody, probably you, asked for a new password.\r\n\r\n"
        "https://shop.example.com/reset?code=f3Q8-77-hs_2&for=customer\r\n\r\n"
        "The link works for one hour. If it was not you, do nothing.\r\n"
    )
    return mail.as_bytes(policy=policy.SMTP)


def _mail(
    sender: str, recipient: str, subject: str, name: str, headers: Mapping[str, str]
) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = sender, recipient, subject
    mail["Date"], mail["Message-ID"] = _DATE, f"<{name}@example.com>"
    for header, value in headers.items():
        mail[header] = value
    return mail


@cache
def _texts(name: str) -> dict[str, Any]:
    texts: dict[str, Any] = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text("utf-8"))
    return texts


@cache
def _html(name: str) -> str:
    texts = _texts(name)
    piece = Template((_FOLDER / "article.mjml").read_text("utf-8"))
    articles = "".join(
        piece.substitute(
            texts,
            title=title,
            url=escape(texts["site"] + path),
            image=f"https://img.example.com/{texts['slug']}/{place}.jpg",
            text=text,
        )
        for place, (title, path, text) in enumerate(texts["articles"], 1)
    )
    items = "<br />".join(
        f'<a href="{escape(texts["site"] + path)}">{title}</a>' for title, path in texts["links"]
    )
    whole = Template((_FOLDER / "newsletter.mjml").read_text("utf-8"))
    mjml = whole.substitute(texts, title=texts["subject"], articles=articles, list=items)
    return str(mjml2html(mjml))


@cache
def _text(name: str) -> str:
    texts = _texts(name)
    blocks = [
        texts["name"],
        texts["greeting"],
        texts["intro"],
        f"{texts['button']}: {texts['site']}/",
    ]
    blocks += [
        f"* {title}\n  {text}\n  {texts['site']}{path}" for title, path, text in texts["articles"]
    ]
    blocks += ["\n".join(f"{title}: {texts['site']}{path}" for title, path in texts["links"])]
    blocks += [f"{texts['bye']}: ##unsubscribetag##{texts['site']}/bye?list=t100", texts["address"]]
    return unescape("\n\n".join(blocks)) + "\n"
