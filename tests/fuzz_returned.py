"""Mutated returned mails: `python -m tests.fuzz_returned [COUNT] [SEED]`.

Reads COUNT mutated status notifications, feedback reports and bounces for people (200,000 without
an argument). Any exception is a bug. `test_returned_fuzz.py` does a few of them in the suite.
"""

from __future__ import annotations

import random
import sys
import time
import traceback
from collections.abc import Iterator

from fletching.returning.reading import read
from fletching.returning.returned import MailKind

from tests.test_reading import COMPLAINTS, NOTICES, REPORTS

SEEDS = [case.raw for cases in (REPORTS, NOTICES, COMPLAINTS) for case in cases.values()]
PIECES = [
    b"\n", b"\r\n", b"\r", b"\0", b"\xff", b" ", b"\t", b"--b\n", b"--b--\n", b":", b";", b"<",
    b">", b"@", b'"', b"(", b")", b"=", b"=\n", b"=3D", b"\\x{110000}", b"\\x{d800}", b"+40",
    b"550 ", b"5.1.1", b"Final-Recipient: rfc822; ", b"Original-Recipient: ", b"Action: delayed\n",
    b"Status: 4.", b"Diagnostic-Code: smtp; ", b"Content-Type: message/rfc822\n\n", b"{", b"}",
    b"Content-Type: multipart/report; boundary=b\n\n", b"Content-Transfer-Encoding: base64\n",
    b"Content-Type: text/html; charset=utf-7\n", b"\x1b$B", b"X-Mailer-Info: ", b"Return-Path: <",
    b"Feedback-Type: ", b">>> DATA\n<<< 550 ", b"=?utf-8?b?", b"?=", b"notificationType",
]  # fmt: skip


def mutated(raw: bytes, chance: random.Random) -> bytes:
    """The mail with up to eight places changed, cut, repeated or mixed with another one."""
    for _ in range(chance.randint(1, 8)):
        at, end = sorted(chance.randint(0, len(raw)) for _ in range(2))
        end = min(end, at + 200)
        match chance.randrange(6):
            case 0:
                raw = raw[:at] + raw[end:]
            case 1:
                raw = raw[:at] + chance.choice(PIECES) + raw[at:]
            case 2:
                raw = raw[:end] + raw[at:end] * chance.randint(1, 20) + raw[end:]
            case 3:
                raw = raw[:at] + chance.randbytes(chance.randint(1, 8)) + raw[at:]
            case 4:
                other = chance.choice(SEEDS)
                raw = raw[:at] + other[chance.randint(0, len(other)) :]
            case _:
                raw = raw[:at] + raw[at:end].swapcase() + raw[end:]
    return raw


def mails(count: int, seed: int) -> Iterator[bytes]:
    """That many mutated mails; the same ones for the same seed."""
    chance = random.Random(seed)
    for _ in range(count):
        yield mutated(chance.choice(SEEDS), chance)


def main(count: int, seed: int) -> int:
    kinds = dict.fromkeys(MailKind, 0)
    failures = slowest = 0
    began = time.process_time()
    for raw in mails(count, seed):
        before = time.process_time()
        try:
            kinds[read(raw).kind] += 1
        except Exception:  # noqa: BLE001
            failures += 1
            print(raw)
            traceback.print_exc()
        slowest = max(slowest, int((time.process_time() - before) * 1_000_000))
    seconds = time.process_time() - began
    print(f"{count} mails, {failures} exceptions, {seconds:.0f} s, slowest {slowest} us")
    print(", ".join(f"{kind} {number}" for kind, number in kinds.items()))
    return 1 if failures else 0


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    sys.exit(main(*[*numbers, 200_000, 1][:1], *[*numbers[1:], 1][:1]))
