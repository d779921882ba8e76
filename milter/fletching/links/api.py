"""Links: which are rewritten, and how, in an HTML or a plain text.

This is the door: who rewrites a mail's parts imports from here. What is known lives behind it, of
URLs in `destinations.py`, of HTML in `html.py`, of running text in `plaintext.py`; the values that
come back in `splices.py`. None of them may know what a mail is.
"""

from fletching.links import html, plaintext
from fletching.links.splices import (
    Addition,
    Finding,
    Found,
    Kind,
    Link,
    Splice,
    added,
    additions,
    has_place,
)
from fletching.links.urls import Wanted

__all__ = [
    "Addition", "Finding", "Found", "Kind", "Link", "Splice", "Wanted", "added", "additions",
    "has_place", "html", "plaintext",
]  # fmt: skip
