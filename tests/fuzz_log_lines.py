"""Mutated log lines: `python -m tests.fuzz_log_lines [COUNT]`.

Each line is read by itself, and then all of them in batches by what makes events of them. Nothing
may raise. Every hundredth line is grown to twice and to eight times its length by repeating a piece
of it; the CPU time of all grown lines together shows whether the work is linear in the length.
"""

from __future__ import annotations

import random
import sys
import time
from datetime import datetime

from fletching.daemons.logtail.deliveries import Walk, WalkSettings
from fletching.daemons.logtail.memory import InQueue
from fletching.postfix.logline import parse, seconds_of
from fletching.tokens import Facts

from tests.log_lines import CAMPAIGN, KEYS, Mail, placed

MAIL = Mail("4jdT9k6120zCXPc")
BASE = 4000
"""Bytes to which a line is grown first."""

_NOW = datetime(2026, 11, 30, 16, 0)
_PIECES = [
    *("to=<", "orig_to=<", "from=<", ">, ", "relay=", "[", "]", "delay=", "dsn=", "status=sent ("),
    *(
        "status=deferred (",
        "status=bounced (",
        "status=expired, returned to sender",
        ")",
        "(in reply",
    ),
    *(
        " to RCPT TO command)",
        "said: ",
        "host ",
        "250 ",
        "550 5.1.1 ",
        "queued as ",
        "nrcpt=1",
        '"',
    ),
    *("\\", "\0", "\x1b", "\u202e", "=", ",", ", ", ": ", "/", "@", "removed", "\udcff"),
]


def lines() -> list[str]:
    """Lines of each form."""
    alias = MAIL.bounced(alias="alias@example.com")
    return [
        *(*MAIL.delivered(), MAIL.deferred(), MAIL.bounced(), MAIL.expired(), alias),
        MAIL.attempt("dsn=4.1.1, status=SOFTBOUNCE (host a[::1] said: 550 5.1.1 no)"),
        MAIL.attempt("tls=dane, dsn=4.4.1, status=deferred (connect to a[::1]:25: timed out)"),
        MAIL.sent().replace("2026-11-30T15:54:50.000000+00:00", "Nov 30 15:54:50"),
    ]


def mutated(line: str, chance: random.Random) -> str:
    for _ in range(chance.randrange(1, 6)):
        at, end = sorted(chance.randrange(len(line) + 1) for _ in range(2))
        match chance.randrange(5):
            case 0:
                line = line[:at] + line[end:]
            case 1:
                line = line[:at] + chance.choice(_PIECES) + line[at:]
            case 2:
                line = line[:at] + chr(chance.randrange(0x3000)) + line[at + 1 :]
            case 3:
                line = line[:end] + line[at:end] + line[end:]
            case _:
                line = line[:at] + chance.choice(_PIECES) * chance.randrange(50) + line[at:]
    return line


def grown(line: str, size: int, chance: random.Random) -> str:
    at = chance.randrange(len(line) + 1)
    piece = line[at : at + chance.randrange(1, 9)] or "x"
    return line[:at] + piece * (size // len(piece)) + line[at:]


def read(line: bytes) -> float:
    """Reads one line; CPU seconds."""
    began = time.process_time()
    found = parse(line)
    if found is not None:
        seconds_of(found.time, _NOW)
    return time.process_time() - began


def events_of(texts: list[str], known: dict[str, InQueue]) -> int:
    facts = {(CAMPAIGN, 1): Facts(CAMPAIGN, 1, "News", "1", "t100", "", "h4sh", "a", 0)}
    walk = Walk(placed(texts), WalkSettings(KEYS, "mx1"))
    found = walk.go(known, set(), facts, _NOW)
    known.clear()
    known |= {id: each for id, each in walk.queue.items() if each is not None}
    return sum(len(event.json()) > 0 for event, _ in found)


def main(count: int) -> None:
    chance, started = random.Random(16), lines()
    known: dict[str, InQueue] = {}
    events, said, batch = 0, 0, []
    short = long = 0.0
    for number in range(count):
        text = mutated(chance.choice(started), chance)
        line = text.encode("utf-8", "surrogateescape" if "\udcff" in text else "replace")
        said += parse(line) is not None
        read(line)
        if number % 100 == 0:
            seed = chance.random()
            short += read(grown(text, BASE, random.Random(seed)).encode("utf-8", "replace"))
            long += read(grown(text, 8 * BASE, random.Random(seed)).encode("utf-8", "replace"))
        batch.append(text.encode("utf-8", "replace").decode())
        if len(batch) == 500:
            events += events_of(batch, known)
            batch.clear()
    print(f"{count} lines: no exception; {said} say something, {events} events")
    print(f"eight times the length: {long / short:.1f} times the CPU time")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
