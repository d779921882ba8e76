"""The mails for the benchmarks: newsletters as an application sends them, in five sizes.

HTML and text are quoted-printable, attachments base64, all built with Python's email package. Links
and words are fictional and always the same.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from email import policy
from email.message import EmailMessage
from functools import cache
from itertools import count
from string import Template
from urllib.parse import quote

RECIPIENT = "reader@example.net"
SENDER = "news@example.com"
CONTROL = {
    "X-GreenArrow-MailClass": "newsletter",
    "X-GreenArrow-InstanceID": "20261121",
    "X-GreenArrow-Click-Tracking-ID": "reader-4711",
}
"""The control headers of each mail. Milters that only sign get them too."""

LINE = 64
"""Bytes of a line of prose, including the line end."""
_SITE = "https://shop.example.com"
_PROSE = (
    "the container from the coast cleared customs on tuesday and the whole house smells of it we"
    " have tasted our way through forty samples so that you need not these are the ones we drank"
    " twice light as a window hay and then nothing but the wish for another cup of café crème"
)
_WORDS = _PROSE.split()
_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>$subject</title>
<style>body{margin:0;background:#f4f1ec}td{font:16px/1.5 Georgia,serif;color:#33302b}</style>
</head><body><table role="presentation" width="100%" cellpadding="0" cellspacing="0">
<tr><td align="center"><a href="$site/?week=47&amp;from=logo"><img src="$site/logo.png" alt="Logo"
width="240" border="0"></a></td></tr>
$articles<tr><td style="font-size:12px"><a href="$site/online?issue=47&amp;copy=3">Read online</a>
<a href="##unsubscribetag##$bye">Unsubscribe</a> Pier 7, Hamburg</td></tr>
</table></body></html>
""")
_ARTICLE = Template("""\
<tr><td style="padding:24px 16px 8px;border-top:1px solid #d9d2c5"><!--[if mso]><table><tr><td
width="600"><![endif]--><h2 style="margin:0;font-size:22px;line-height:28px"><a
href="$url&amp;from=title" style="color:#7a4b2a;text-decoration:none" target="_blank"
>$title</a></h2>
<p style="margin:12px 0 0">$text</p><p style="margin:12px 0 0"><a class="button"
href="$url&amp;from=more" style="display:inline-block;padding:8px 24px;background:#7a4b2a"
>Read more &rarr;</a></p><!--[if mso]></td></tr></table><![endif]--></td></tr>
""")


def newsletter(
    articles: int, *attachments: int, control: bool = True, personal: str = "", recipient: str = ""
) -> bytes:
    """A newsletter with ``3 * articles + 5`` links, and attachments of that many bytes each.

    ``personal``: the end of the article links of this recipient. ``recipient``: the name in the
    greeting and in an unsubscribe link of its own.
    """
    chance = random.Random(articles)
    mail = _mail(control=control)
    items = [_article(place, chance, personal) for place in range(articles)]
    bye = f"{_SITE}/bye?list=t100" + (f"&recipient={quote(recipient)}" if recipient else "")
    mail.set_content(_text(items, recipient, bye), cte="quoted-printable")
    greeting = f"<tr><td><p>Dear {recipient},</p></td></tr>\n" if recipient else ""
    page = _PAGE.substitute(
        subject=mail["Subject"],
        site=_SITE,
        articles=greeting + "".join(_ARTICLE.substitute(article) for article in items),
        bye=bye.replace("&", "&amp;"),
    )
    mail.add_alternative(page, subtype="html", cte="quoted-printable")
    for size in attachments:
        mail.add_attachment(
            chance.randbytes(size), "application", "pdf", filename=f"catalogue-{size}.pdf"
        )
    return mail.as_bytes(policy=policy.SMTP)


def linked(links: int) -> bytes:
    """320 lines of HTML, of which ``links`` are links; always the same. No text part."""
    lines = [
        f'<a href="{_SITE}/tea/{place}?lot={place}&amp;size=100g">tea {place}</a>'
        if place < links
        else f"<span style='color:#7a4b2a'>coffee from the lot {place}, by 100g</span>"
        for place in range(320)
    ]
    mail = _mail()
    mail.set_content(_html(lines), subtype="html", cte="quoted-printable")
    return mail.as_bytes(policy=policy.SMTP)


def parted(parts: int) -> bytes:
    """A page with ``parts`` short attachments; only the page is rewritten."""
    mail = _mail()
    mail.set_content(_html([f'<a href="{_SITE}/">tea</a>']), subtype="html", cte="7bit")
    for place in range(parts):
        content = f"lot {place}\n".encode() * 8
        mail.add_attachment(content, "application", "pdf", filename=f"lot-{place}.pdf")
    return mail.as_bytes(policy=policy.SMTP)


def worded(lines: int) -> bytes:
    """A page with ``lines`` lines of prose of `LINE` bytes each, and one link at its end."""
    chance = random.Random(lines)
    words = [word for word in _WORDS if word.isascii()]
    prose = [_fitted(" ".join(chance.choices(words, k=20))) for _ in range(lines)]
    mail = _mail()
    page = _html([*prose, f'<a href="{_SITE}/">tea</a>'])
    mail.set_content(page, subtype="html", cte="quoted-printable")
    return mail.as_bytes(policy=policy.SMTP)


def _fitted(text: str) -> str:
    return f"<p>{text[: LINE - 8]}</p>"


def _html(lines: list[str]) -> str:
    body = "\n".join(lines)
    return f"<!DOCTYPE html>\n<html><body>\n{body}\n</body></html>\n"


def _mail(*, control: bool = True) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = SENDER, RECIPIENT, "First flush is in"
    mail["Date"], mail["Message-ID"] = "Sat, 21 Nov 2026 09:00:00 +0000", "<47.1@example.com>"
    for name, value in CONTROL.items() if control else ():
        mail[name] = value
    return mail


def _article(place: int, chance: random.Random, personal: str) -> dict[str, str]:
    path = f"{place}/{'-'.join(chance.choices(_WORDS, k=4))}"
    return {
        "url": f"{_SITE}/tea/{path}?lot={place}&size=100g{personal}",
        "title": " ".join(chance.choices(_WORDS, k=5)).title(),
        "text": " ".join(chance.choices(_WORDS, k=135)).capitalize() + ".",
    }


def _text(articles: list[dict[str, str]], recipient: str, bye: str) -> str:
    blocks = [
        f"First flush is in\n{_SITE}/?week=47",
        *([f"Dear {recipient},"] if recipient else []),
    ]
    blocks += [f"* {item['title']}\n{item['text'][:120]}\n{item['url']}" for item in articles]
    blocks += [f"Unsubscribe: ##unsubscribetag##{bye}"]
    return "\n\n".join(blocks) + "\n"


_SIZES = {
    "2 kB": (0,),
    "23 kB": (12,),
    "100 kB": (54,),
    "1 MB": (12, 740_000),
    "10 MB": (12, 4_000_000, 3_700_000),
}


@cache
def _of_size(size: str) -> bytes:
    return newsletter(*_SIZES[size])


class _Newsletters(Mapping[str, bytes]):
    """Each is built when it is first wanted: all of them take a third of a second."""

    def __getitem__(self, size: str) -> bytes:
        return _of_size(size)

    def __iter__(self) -> Iterator[str]:
        return iter(_SIZES)

    def __len__(self) -> int:
        return len(_SIZES)


SIZES: Mapping[str, bytes] = _Newsletters()
"""Mails by the name of their size, with CRLF line ends."""


def campaign(first: int = 0) -> Iterator[bytes]:
    """An endless campaign of the 23 kB mail, each with its own name and unsubscribe link."""
    placeholder = b"7777777"
    mail = newsletter(12, recipient=f"Reader {placeholder.decode()}")
    for recipient in count(first):
        yield mail.replace(placeholder, b"%07d" % recipient)


def personal(recipients: int) -> list[bytes]:
    """23 kB mails, each with links that no other mail has."""
    return [newsletter(12, personal=f"&reader={number:05}") for number in range(recipients)]


ASKS_NOTHING = newsletter(12, control=False)
"""The 23 kB mail without control headers, which Fletching does not change."""
