"""Any bytes are read: mutated returned mails, and mails made to take long."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import pytest
from fletching.returning.reading import read
from fletching.returning.returned import BounceType, MailKind, Reason
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cases import for_every
from tests.effort import is_linear
from tests.fuzz_returned import SEEDS, mutated

pytestmark = pytest.mark.slow


@given(st.sampled_from(SEEDS), st.integers(0, 2**32))
@settings(max_examples=150)
def test_any_mutation_is_read(seed: bytes, number: int) -> None:
    found = read(mutated(seed, random.Random(number)))
    assert found.kind in MailKind
    for each in found.recipients:
        assert "\n" not in each.email + each.original
        if each.failure:
            assert each.failure.text.isprintable()
            assert each.failure.reason in Reason
            assert each.failure.type in BounceType


HEAD = b"From: mailer-daemon@a.example\nContent-Type: %s\n\n"
LONG = {
    "recipients of a report": b"Final-Recipient: rfc822; a@b\nAction: failed\n\n",
    "one recipient many times": b"Final-Recipient: rfc822; a@b\n",
    "diagnostics": b"Diagnostic-Code: x\n x\n",
    "addresses that begin a line": b"<a@b.example>: full\n",
    "replies of a transcript": b">>> DATA\n<<< 550 x\n",
    "delimiters": b"--b\n\n",
    "messages in messages": b"--b\nContent-Type: message/rfc822\n\n",
    "headers": b"Received: a\n",
    "tags": b"<p>",
    "tokens": b"X-Mailer-Info: a\n b\n",
    "one word": b"a",
    "at signs": b"a@",
    "JSON": b'{"notificationType":',
}


@for_every(LONG)
def test_effort_is_linear(piece: bytes) -> None:
    for kind in (b"text/plain", b"text/html", b"multipart/report; boundary=b"):
        assert is_linear(partial(reading, HEAD % kind, piece), 60), kind


def reading(head: bytes, piece: bytes, size: int) -> Callable[[], object]:
    raw = head + piece * size
    return lambda: read(raw)
