"""The pages that a reader may see, made once at the start: one for each kind and language.

Here lives where templates and words come from: the folder of `web.templates`, then our own. They
are small, have no script and load nothing. What a page is shown for is decided in `returning/`.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import (
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PackageLoader,
    StrictUndefined,
    TemplateError,
)

from fletching.returning.hits import Body

SHOWN = (Body.UNSUBSCRIBE, Body.DONE, Body.UNKNOWN, Body.ERROR)
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
    """Every page in every language, as octets. Raises PageError."""

    def __init__(self, folder: Path | None) -> None:
        words = _words(folder)
        ours = PackageLoader("fletching", "templates/web")
        found = ours if folder is None else ChoiceLoader([FileSystemLoader(folder), ours])
        making = Environment(loader=found, autoescape=True, undefined=StrictUndefined)
        self.languages = tuple(words)
        self._made = {
            (body, language): _made(making, body, language, words[language])
            for body in SHOWN
            for language in words
        }

    def page(self, body: Body, language: str) -> bytes:
        """One page, in UTF-8."""
        return self._made[body, language]


def _words(folder: Path | None) -> dict[str, Any]:
    """By language and page; the first language is the one for everybody else."""
    path = folder / WORDS if folder is not None else None
    try:
        if path is not None and path.exists():
            text = path.read_text("utf-8")
        else:
            text = files("fletching").joinpath("templates/web", WORDS).read_text("utf-8")
        words = json.loads(text)
    except (OSError, ValueError) as error:
        raise PageError(f"{path or WORDS}: {error}") from None
    if not isinstance(words, dict) or not words:
        raise PageError(f"{path}: must have an object for each language")
    return words


def _made(making: Environment, body: Body, language: str, words: Any) -> bytes:
    name = f"{body.value}.html"
    try:
        page = making.get_template(name).render(language=language, words=words[body.value])
    except (TemplateError, KeyError, TypeError, OSError, UnicodeError) as error:
        raise PageError(f"{name} in {language}: {type(error).__name__}: {error}") from None
    return page.encode()
