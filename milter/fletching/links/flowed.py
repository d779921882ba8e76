"""Joined lines: ``format=flowed; delsp=yes`` (RFC 3676), and offsets from before they were joined.

Here lives how the recipient's mail program joins lines. Without ``delsp`` a space stays between two
lines, which ends a URL like any other space, so that nothing has to be joined. What a link is may
not be known here.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from fletching.links.splices import Splice

# A flowed line, its end, which is removed, and the quote marks and the stuffed space of the next
# (section 4.5). Quotes of different depth are not joined, nor is "-- " (section 4.3).
_UNSTUFFED = r" ?+(?!-- \r?$)"
_SOFT_END = re.compile(rf"^(>*+){_UNSTUFFED}[^\n]*( \r?\n)(?=(\1(?!>){_UNSTUFFED}))", re.MULTILINE)


def delsp(parameters: Mapping[str, str]) -> bool:
    """Whether the lines of a part with these parameters are joined without their last space."""
    return all(
        parameters.get(name, "").lower() == value
        for name, value in (("format", "flowed"), ("delsp", "yes"))
    )


class Joined:
    """A text with its flowed lines joined."""

    def __init__(self, text: str) -> None:
        gone = [(line.start(2), line.end(3)) for line in _SOFT_END.finditer(text)]
        ends = [*(start for start, _ in gone), len(text)]
        starts = [0, *(end for _, end in gone)]
        self.text = "".join(text[start:end] for start, end in zip(starts, ends, strict=True))
        sizes = (end - start for start, end in zip(starts, ends, strict=True))
        # Where each piece ends in the joined text, and where it begins there and in the text.
        self._ends = [*accumulate(sizes)]
        self._begins = [0, *self._ends[:-1]]
        self._starts = starts

    def taken_apart(self, splices: Iterable[Splice]) -> Iterator[Splice]:
        """Splices into the joined text as splices into the original text. None may be empty."""
        for splice in splices:
            first = bisect_right(self._begins, splice.start) - 1
            last = bisect_left(self._ends, splice.end)
            start = splice.start - self._begins[first] + self._starts[first]
            end = splice.end - self._begins[last] + self._starts[last]
            yield splice._replace(start=start, end=end)
