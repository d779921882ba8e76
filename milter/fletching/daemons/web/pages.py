"""The pages that recipients see, rendered once at the start, in each language; the page that shows
a mailbox, for each mailbox.

Here live the sources of templates and texts: the folder `web.templates`, then the built-in ones.
Pages are small, have no script and load nothing. `returning/` decides which page is shown.
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

REDIRECTS = " http: https:"
"""Appended to `form-action`: without it, browsers block the redirect after a form."""

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; base-uri 'none';"
    " frame-ancestors 'none'; form-action 'self'"
)


class PageError(Exception):
    """A page cannot be rendered; names the file and the reason."""


class Pages:
    """Every page in every language, as bytes. Raises PageError.

    ``mailboxes``: the addresses that `Body.NO_RECIPIENT` shows.
    """

    def __init__(self, folder: Path | None, mailboxes: Iterable[str] = ()) -> None:
        words = _words(folder)
        ours = PackageLoader("fletching", "templates/web")
        found = ours if folder is None else ChoiceLoader([FileSystemLoader(folder), ours])
        environment = Environment(loader=found, autoescape=True, undefined=StrictUndefined)
        shown = [(body, "") for body in SHOWN]
        shown += [(Body.NO_RECIPIENT, mailbox) for mailbox in mailboxes]
        self.languages = tuple(words)
        self._rendered = {
            (body, mailbox, language): _rendered(
                environment, body, mailbox, language, words[language]
            )
            for body, mailbox in shown
            for language in words
        }

    def page(self, body: Body, language: str, mailbox: str = "") -> bytes:
        """One page, in UTF-8."""
        return self._rendered[body, mailbox, language]


def _words(folder: Path | None) -> dict[str, Any]:
    """The texts by language and page; the first language is the default."""
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
            # A custom file may be older than this page.
            ours_here = ours.get(language, ours["en"])
            pages.setdefault(Body.NO_RECIPIENT.value, ours_here[Body.NO_RECIPIENT.value])
    return words


def _rendered(
    environment: Environment, body: Body, mailbox: str, language: str, words: Any
) -> bytes:
    name = f"{body.value}.html"
    try:
        page = environment.get_template(name).render(
            language=language,
            words=words[body.value],
            mailbox=mailbox,
            mailto=f"mailto:{quote(mailbox, safe='@')}",
        )
    except (TemplateError, KeyError, TypeError, OSError, UnicodeError) as error:
        raise PageError(f"{name} in {language}: {type(error).__name__}: {error}") from None
    return page.encode()
