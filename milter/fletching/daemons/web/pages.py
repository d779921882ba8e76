"""The pages that a recipient may see, made once at the start: one for each kind and language; of
the page that shows an address, one for each address.

Here lives where templates and words come from: the folder of `web.templates`, then our own. They
are small, have no script and load nothing. What a page is shown for is decided in `returning/`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import (
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PackageLoader,
    StrictUndefined,
    TemplateError,
)

from fletching.returning.hits import Body

SHOWN = (Body.UNSUBSCRIBE, Body.NO_RECIPIENT, Body.DONE, Body.UNKNOWN, Body.ERROR)
WORDS = "words.json"

LEADS_ON = " http: https:"
"""Behind `form-action`: a form whose answer redirects may do so only where this allows it."""

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; base-uri 'none';"
    " frame-ancestors 'none'; form-action 'self'"
)


class PageError(Exception):
    """A page cannot be made; says which file and why."""


class Pages:
    """Every page in every language, as octets. Raises PageError.

    ``mailboxes``: the addresses that `Body.NO_RECIPIENT` shows.
    """

    def __init__(self, folder: Path | None, mailboxes: Iterable[str] = ()) -> None:
        words = _words(folder)
        ours = PackageLoader("fletching", "templates/web")
        found = ours if folder is None else ChoiceLoader([FileSystemLoader(folder), ours])
        making = Environment(loader=found, autoescape=True, undefined=StrictUndefined)
        shown = [(body, "") for body in SHOWN]
        shown += [(Body.NO_RECIPIENT, mailbox) for mailbox in mailboxes]
        self.languages = tuple(words)
        self._made = {
            (body, mailbox, language): _made(making, body, mailbox, language, words[language])
            for body, mailbox in shown
            for language in words
        }

    def page(self, body: Body, language: str, mailbox: str = "") -> bytes:
        """One page, in UTF-8."""
        return self._made[body, mailbox, language]


def _words(folder: Path | None) -> dict[str, Any]:
    """By language and page; the first language is the one for everybody else."""
    ours = json.loads(files("fletching").joinpath("templates/web", WORDS).read_text("utf-8"))
    path = folder / WORDS if folder is not None else None
    try:
        words = json.loads(path.read_text("utf-8")) if path is not None and path.exists() else ours
    except (OSError, ValueError) as error:
        raise PageError(f"{path}: {error}") from None
    if not isinstance(words, dict) or not words:
        raise PageError(f"{path}: must have an object for each language")
    for language, pages in words.items():
        if isinstance(pages, dict):
            # A file of the operator's may be older than this page.
            ours_here = ours.get(language, ours["en"])
            pages.setdefault(Body.NO_RECIPIENT.value, ours_here[Body.NO_RECIPIENT.value])
    return words


def _made(making: Environment, body: Body, mailbox: str, language: str, words: Any) -> bytes:
    name = f"{body.value}.html"
    try:
        page = making.get_template(name).render(
            language=language,
            words=words[body.value],
            mailbox=mailbox,
            mailto=f"mailto:{quote(mailbox, safe='@')}",
        )
    except (TemplateError, KeyError, TypeError, OSError, UnicodeError) as error:
        raise PageError(f"{name} in {language}: {type(error).__name__}: {error}") from None
    return page.encode()
