"""International domain names in ASCII.

Configuration, signatures and redirects share this conversion. Nothing here knows URLs or header
fields. Pure.
"""

from __future__ import annotations

import re
import unicodedata

_LONGEST = 253
"""Characters of a name (RFC 1035 section 2.3.4); conversion makes no name shorter."""

_DOTS = re.compile("[\u3002\uff0e\uff61]")
# Characters that UTS 46 removes: word joiners, byte order marks, soft hyphens, variation selectors.
_IGNORED = re.compile(
    "[\u00ad\u034f\u180b-\u180d\u180f\u200b\u2060\u2064\ufeff\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
# The forbidden domain code points of the URL standard.
_FORBIDDEN = re.compile(r"[\x00-\x20#%/:<>?@\[\\\]^|\x7f]")
# In the scripts that use them, they are like letters (RFC 5892 appendices A.1 and A.2).
_JOINERS = "\u200c\u200d"


def a_labels(domain: str, *, symbols: bool = False) -> str:
    """A domain name with A-labels (RFC 5890) in place of labels that are not ASCII.

    Dots, width, case and composition are mapped first, as browsers do (UTS 46, not transitional).
    Raises ValueError for a label that has more than letters, marks, digits and hyphens; with
    ``symbols``, for one that no browser accepts.
    """
    if domain.isascii():
        return domain
    if len(domain) > _LONGEST:
        raise ValueError("not a domain name")
    labels = (_a_label(label, symbols) for label in _mapped(domain).split("."))
    return ".".join(labels)


def _mapped(domain: str) -> str:
    domain = unicodedata.normalize("NFKC", _IGNORED.sub("", _DOTS.sub(".", domain)))
    # Character by character: lower() of a whole word would write its last sigma as another letter.
    lower = "".join(character.lower() for character in domain)
    return unicodedata.normalize("NFKC", lower)


def _a_label(label: str, symbols: bool) -> str:
    if _FORBIDDEN.search(label):
        raise ValueError("not a domain name")
    if label.isascii():
        return label
    categories = {
        unicodedata.category(character)[0]
        for character in label
        if character != "-" and not (symbols and character in _JOINERS)
    }
    if not categories <= ({*"LMNPS"} if symbols else {*"LMN"}):
        raise ValueError("not a domain name")
    return "xn--" + label.encode("punycode").decode("ascii")
