"""A mail that would make Postfix work without end is refused before Postfix has done any of it."""

from __future__ import annotations

import re

import pytest

from sandbox.postfix import Postfix
from sandbox.sinks import Sink

from .fletching import Fletching
from .mails import RECIPIENT, SENDER, mail

TROUBLE = re.compile(r"/cleanup\[.*(?:warning|error|fatal|panic):")
MANY = tuple(b"X-GreenArrow-J: b" for _ in range(12_000))
FEW = tuple(b"X-GreenArrow-J: b" for _ in range(100))
ORDINARY = tuple(b"A: b" for _ in range(40_000))


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2"])
def test_12000_control_headers_are_refused_and_postfix_logs_no_trouble(
    fletching: Fletching, postfix: Postfix, source: str
) -> None:
    before = len(postfix.log())
    reply = postfix.submit(mail(*MANY), SENDER, [RECIPIENT], source=source)
    assert (reply.code, reply.text) == (550, "5.6.0 more than 100 control headers")
    assert not TROUBLE.search(postfix.log()[before:])


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2"])
def test_the_most_edits_that_are_taken(
    fletching: Fletching, postfix: Postfix, sinks: dict[str, Sink], source: str
) -> None:
    """`python -m bench --only budgets` says what such a mail costs cleanup(8)."""
    before = len(postfix.log())
    reply = postfix.submit(mail(*ORDINARY, *FEW), SENDER, [RECIPIENT], source=source)
    assert reply.accepted, reply
    (arrived,) = sinks["smtp"].wait()
    assert not any(name.startswith("x-greenarrow") for name in arrived.header_names)
    assert not TROUBLE.search(postfix.log()[before:])
