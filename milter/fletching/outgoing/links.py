"""Links: which are rewritten, and how, in an HTML or a plain text.

This is the door: who rewrites a mail's parts imports from here. What is known lives behind it, of
URLs in `destinations.py`, of HTML in `html.py`, of running text in `plaintext.py`; the values that
come back in `splices.py`. None of them may know what a mail is.
"""

from fletching.outgoing.destinations import Wanted
from fletching.outgoing.html import html
from fletching.outgoing.plaintext import plain
from fletching.outgoing.splices import Finding, Kind, Mint, Rewritten, Splice

__all__ = ["Finding", "Kind", "Mint", "Rewritten", "Splice", "Wanted", "html", "plain"]
