"""Finds the links of a text, HTML or plain: the door of this folder.

Who rewrites the parts of a mail comes in here, and gets the values of `splices.py`. Behind it, HTML
is in `html.py` and `html_tags.py`, plain text in `plaintext.py`, `url_ends.py` and `flowed.py`, and
what is known about URLs in `urls.py`. None of these may know what a mail is.
"""

from __future__ import annotations

from fletching.links import html, plaintext
from fletching.links.splices import TextLinks
from fletching.links.urls import LinkOptions

_WHOLE = {"text/html": html.find_links, "text/plain": plaintext.find_links}
_BEGINNING = {
    "text/html": html.find_links_of_beginning,
    "text/plain": plaintext.find_links_of_beginning,
}


def find_links(content_type: str, text: str, options: LinkOptions) -> TextLinks:
    """The links of a text. ``content_type``: ``text/html`` or ``text/plain``."""
    return _WHOLE[content_type](text, options)


def find_links_of_beginning(content_type: str, text: str, options: LinkOptions) -> TextLinks | None:
    """The links of the beginning of a text, up to a line end.

    None if a tag, a comment or a link is not complete there: a longer beginning is needed.
    """
    return _BEGINNING[content_type](text, options)
