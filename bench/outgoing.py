"""CPU time of a newsletter's way out, without Redis and Postfix: `make bench`.

One newsletter of the demonstration (30 kB; 41 links in HTML, 20 in text), everything on, RSA-2048,
on one core.
The time is this process's own (`time.process_time`), so other load on the machine matters little.
"""

from __future__ import annotations

import cProfile
import os
import pstats
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from fletching.config.load import parse
from fletching.grouping import Numbered, Question
from fletching.keyfiles import new_dkim_key, new_link_key
from fletching.opening import open_setup, stamp, zone
from fletching.outgoing.envelope import Envelope, Recipient
from fletching.outgoing.flow import Outcome, Setup, carry
from fletching.outgoing.message import Message
from fletching.outgoing.message import parse as parse_mail

from demo import newsletter

ROUNDS, REPEATS = 7, 100
_READER = "reader@example.net"
_CONFIG = b"""\
state_dir: state
bounce_mailbox: bounces@example.com
unsubscribe_mailbox: unsubscribe@example.com
url_domain: https://click.example.com
link_keys: link-keys
mail_classes: {newsletter: {list_id: t100, virtual_mta: a, track: {clicks: true, opens: true}}}
virtual_mtas: {a: {transport: vmta-a}}
dkim: {keys: [{domain: example.com, selector: s1, file: s1.pem, default: true}]}
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        setup = _setup(Path(name))
    mail = _mail()
    way = _way(mail, setup)
    outcome = way()
    assert outcome.refusal is None, outcome.refusal
    assert not outcome.warnings, outcome.warnings
    links = sum(found.rewritten for note in outcome.notes for found in note.findings)
    size = len(bytes(mail))
    print(f"newsletter of {size} octets, {links} links rewritten, {len(outcome.edits)} edits")
    rounds = [_milliseconds(way) for _ in range(ROUNDS)]
    print(
        f"CPU for one mail: median {statistics.median(rounds):.2f} ms, "
        f"best {min(rounds):.2f} ms, worst {max(rounds):.2f} ms of {ROUNDS} rounds"
    )
    _by_room(way)


def _setup(directory: Path) -> Setup:
    new_link_key(directory / "link-keys", 0)
    new_dkim_key(directory / "s1.pem", "rsa", 2048)
    return open_setup(parse(_CONFIG, directory / "fletching.yaml"))


def _mail() -> Message:
    asked = {"X-GreenArrow-MailClass": "newsletter", "X-GreenArrow-InstanceID": "1"}
    return parse_mail(newsletter.newsletter(newsletter.NAMES[0], _READER, 1, asked))


def _way(mail: Message, setup: Setup) -> Callable[[], Outcome]:
    envelope = Envelope("app@example.com", (Recipient(_READER, "smtp"),), "127.0.0.1")
    now = stamp(zone(setup.config))

    def numbered(_: Question) -> Numbered:
        return Numbered("nmarxcaz4ujb", 1)

    return lambda: carry(mail, envelope, setup, numbered, now)


def _milliseconds(way: Callable[[], Outcome]) -> float:
    began = time.process_time()
    for _ in range(REPEATS):
        way()
    return (time.process_time() - began) / REPEATS * 1000


def _by_room(way: Callable[[], Outcome]) -> None:
    """The shares of the rooms, by profile: what a room calls outside of ours counts as its own."""
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(REPEATS):
        way()
    profile.disable()
    spent: dict[str, float] = defaultdict(float)
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined] # not in the stubs
    for (file, _, _), (_, _, own, _, callers) in stats.items():
        if _room(file):
            spent[_room(file)] += own
        for (caller, _, _), (_, _, within, _) in callers.items():
            if not _room(file) and _room(caller):
                spent[_room(caller)] += within
    total = sum(spent.values())
    print("share by room (under a profiler, which makes small calls dear):")
    for room, seconds in sorted(spent.items(), key=lambda item: -item[1])[:12]:
        print(f"  {room:24} {100 * seconds / total:5.1f} %  {'#' * round(50 * seconds / total)}")


def _room(file: str) -> str:
    mark = f"{os.sep}fletching{os.sep}"
    return file.rpartition(mark)[2].removesuffix(".py") if mark in file else ""


if __name__ == "__main__":
    main()
