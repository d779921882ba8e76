"""The story of the demonstration: start, send, look. Exit 0 if all is as it should be, else 1.

`KEEP=1` leaves everything running, with the ports printed, until Ctrl-C.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from fletching.store.campaigns import Campaigns
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from demo import newsletter, readers, show
from demo.house import House, fletching, house
from sandbox.sinks import SunkMail
from sandbox.verifiers import verify_dkimpy, verify_opendkim

READERS = 60
INSTANCE = "20261121"


def main() -> int:
    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)
    with console.status("starting Postfix, Redis, the milter and the sinks"), house() as running:
        sent = submit(console, running)
        arrived = collect(running, len(sent))
        fine = tell(console, running, sent, arrived)
        fine = read(console, running, arrived) and fine
        if os.environ.get("KEEP"):
            show.facts(console, "Still running, until Ctrl-C", running.places().items())
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
    return 0 if fine else 1


def campaign() -> Iterator[tuple[str, bytes]]:
    """The mails as an application would make them: recipient and octets."""
    for number in range(1, READERS + 1):
        name = newsletter.NAMES[number % len(newsletter.NAMES)]
        reader = f"reader{number}@mail{number % 7}.example.net"
        headers = {
            "X-GreenArrow-MailClass": "newsletter",
            "X-GreenArrow-InstanceID": INSTANCE,
            "X-GreenArrow-Click-Tracking-ID": f"subscriber-{number}",
        }
        yield reader, newsletter.newsletter(name, reader, number, headers)
    reader = "customer@example.net"
    yield reader, newsletter.transactional(reader, {"X-GreenArrow-MailClass": "transactional"})


def submit(console: Console, running: House) -> dict[str, bytes]:
    """Sends all mails over one SMTP session, as a campaign tool does."""
    sent: dict[str, bytes] = {}
    mails = list(campaign())
    with Progress(console=console) as progress, running.postfix.client() as smtp:
        for reader, raw in progress.track(mails, description="sending a campaign"):
            smtp.sendmail("app@example.com", [reader], raw)
            sent[reader] = raw
    return sent


def collect(running: House, count: int) -> dict[str, tuple[str, SunkMail]]:
    """By recipient: the transport that carried the mail, and the mail as it arrived."""
    running.postfix.wait_empty()
    found = {
        mail.recipients[0]: (transport, mail)
        for transport, sink in running.sinks.items()
        for mail in sink.mails
    }
    if len(found) != count:
        print(f"{len(found)} of {count} mails arrived", file=sys.stderr)
    return found


def tell(
    console: Console,
    running: House,
    sent: dict[str, bytes],
    arrived: dict[str, tuple[str, SunkMail]],
) -> bool:
    """Shows one mail, its campaign and the findings; whether all is well."""
    reader = "reader1@mail1.example.net"
    transport, mail = arrived[reader]
    before, after = sent[reader], show.arrived(mail)
    show.side_by_side(
        console, "One newsletter: header", show.header_lines(before), show.header_lines(after)
    )
    links_before, links_after = show.links(before), show.links(after)
    pairs = enumerate(zip(links_before, links_after, strict=True))
    place = next(at for at, (was, now) in pairs if was != now)
    token = fletching(running.config_path, "token", links_after[place])
    verdicts = {
        "dkimpy": verify_dkimpy(mail.raw, running.records),
        "OpenDKIM": verify_opendkim(mail.raw, running.records),
    }
    show.facts(
        console,
        "The same mail",
        [
            ("envelope sender before", "app@example.com"),
            ("envelope sender after", mail.sender),
            ("transport", transport),
            ("a link before", links_before[place]),
            ("the link after", links_after[place]),
            ("what the token says", token.strip()),
            *(
                (f"DKIM, {name} says", "pass" if found and found[0].passed else "FAIL")
                for name, found in verdicts.items()
            ),
        ],
    )
    stored = in_redis(running, mail, token)
    show.facts(console, "The campaign as Redis has it", stored.items())
    return show.findings(console, list(checks(running, sent, arrived, stored)))


def read(console: Console, running: House, arrived: dict[str, tuple[str, SunkMail]]) -> bool:
    """Plays the readers, and shows what came back; whether all is well."""
    news = {reader: mail for reader, (_, mail) in arrived.items() if reader.startswith("reader")}
    with console.status("readers open, click and leave; a scanner looks at every link"):
        played = readers.play(running.web, news)
        events = readers.received(running.hook, played)
    show.events(console, "What the customer's webhook was told, one of each kind", events)
    console.print(Text(fletching(running.config_path, "stats")))
    told = json.loads(fletching(running.config_path, "stats", "--json"))
    (campaign,) = (each for each in told["campaigns"] if each["mail_class"] == "newsletter")
    return show.findings(console, list(readers.checks(played, events, campaign)))


def in_redis(running: House, mail: SunkMail, token: str) -> dict[str, str]:
    """What the store knows of the mail's campaign, and of a bounce of the mail."""
    store = Campaigns(running.config.redis, Path(running.config.state_dir))
    words = dict(line.split(None, 1) for line in token.splitlines() if " " in line.strip())
    identity, number = words["campaign"].strip(), int(words["message_number"])
    found = {"campaign": identity} | (store.campaign(identity) or {})
    return found | {f"a bounce of message {number}": str(store.bounce_record(identity, number))}


def checks(
    running: House,
    sent: dict[str, bytes],
    arrived: dict[str, tuple[str, SunkMail]],
    stored: dict[str, str],
) -> Iterator[tuple[str, bool]]:
    """Everything that has to hold."""
    mails = [mail for _, mail in arrived.values()]
    news = {reader: found for reader, found in arrived.items() if reader.startswith("reader")}
    carried = [transport for transport, _ in news.values()]
    yield f"all {len(sent)} mails arrived", arrived.keys() == sent.keys()
    yield (
        "no control header arrived",
        not any(
            name.startswith(("x-greenarrow-", "x-fletching-"))
            for m in mails
            for name in m.header_names
        ),
    )
    yield (
        f"the pool spread the campaign: vmta-a {carried.count('vmta-a')}, "
        f"vmta-b {carried.count('vmta-b')}",
        set(carried) == {"vmta-a", "vmta-b"},
    )
    yield (
        "the transactional mail took its transport",
        arrived["customer@example.net"][0] == "vmta-a",
    )
    for name, verify in (("dkimpy", verify_dkimpy), ("OpenDKIM", verify_opendkim)):
        verdicts = [verdict for mail in mails for verdict in verify(mail.raw, running.records)]
        passed = sum(verdict.passed for verdict in verdicts)
        yield f"{passed} of {len(mails)} signatures verify with {name}", passed == len(mails)
    rewritten = [
        sum(link.startswith("https://click.example.com/") for link in show.links(mail.raw))
        for _, mail in news.values()
    ]
    yield f"{min(rewritten)} to {max(rewritten)} links a newsletter are ours", min(rewritten) > 30
    yield (
        f"one campaign in Redis, {stored.get('number')} messages",
        stored.get("number") == str(len(news)),
    )
    senders = {mail.sender for _, mail in news.values()}
    yield "every newsletter has its own return path", len(senders) == len(news)


if __name__ == "__main__":
    sys.exit(main())
