"""The demo: start the servers, send a campaign, check the results. Exit 0 if all checks pass.

With `KEEP=1` everything keeps running until Ctrl-C, and the addresses are printed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from fletching.store.bounce_records import BounceRecords
from fletching.store.campaigns import Campaigns
from fletching.store.connection import Store
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from demo import newsletter, recipients, returns, seeds, show
from demo.servers import SEEDS, Servers, fletching, servers
from sandbox.sinks import SunkMail
from sandbox.verifiers import verify_dkimpy, verify_opendkim

RECIPIENTS = 60
INSTANCE = "20261121"


def main() -> int:
    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)
    with (
        console.status("starting Postfix, Redis, Fletching and the mail sinks"),
        servers() as running,
    ):
        returns.refuse(running.sinks.values())
        sent = submit(console, running)
        arrived = collect(running, sent)
        passed = show_mail(console, running, sent, arrived)
        passed = show_reactions(console, running, arrived) and passed
        if os.environ.get("KEEP"):
            show.facts(console, "Still running, until Ctrl-C", running.addresses().items())
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
    return 0 if passed else 1


def campaign() -> Iterator[tuple[str, bytes]]:
    """Recipient and content of each mail, as an application would send them."""
    for number in range(1, RECIPIENTS + 1):
        name = newsletter.NAMES[number % len(newsletter.NAMES)]
        recipient = newsletter.recipient(number)
        headers = {
            "X-GreenArrow-MailClass": "newsletter",
            "X-GreenArrow-InstanceID": INSTANCE,
            "X-GreenArrow-Click-Tracking-ID": f"subscriber-{number}",
        }
        yield recipient, newsletter.newsletter(name, recipient, number, headers)
    recipient = "customer@example.net"
    yield (
        recipient,
        newsletter.transactional(recipient, {"X-GreenArrow-MailClass": "transactional"}),
    )


def submit(console: Console, running: Servers) -> dict[str, bytes]:
    """Send all mails over one SMTP session, as a campaign tool does; content by recipient."""
    sent: dict[str, bytes] = {}
    mails = list(campaign())
    with Progress(console=console) as progress, running.postfix.client() as smtp:
        for recipient, raw in progress.track(mails, description="sending a campaign"):
            smtp.sendmail("app@example.com", [recipient], raw)
            sent[recipient] = raw
    return sent


def collect(running: Servers, sent: dict[str, bytes]) -> dict[str, tuple[str, SunkMail]]:
    """By recipient: the transport that delivered the mail, and the mail as delivered."""
    returns.accept_later(running.postfix, running.sinks.values())
    seeds.wait(running.config_path)
    running.postfix.wait_empty()
    found = {
        mail.recipients[0]: (transport, mail)
        for transport, sink in running.sinks.items()
        for mail in sink.mails
    }
    if missing := sent.keys() - found.keys() - returns.REFUSED:
        print(f"not arrived: {', '.join(sorted(missing))}", file=sys.stderr)
    return found


def show_mail(
    console: Console,
    running: Servers,
    sent: dict[str, bytes],
    arrived: dict[str, tuple[str, SunkMail]],
) -> bool:
    """Show one mail, its campaign and the checks; return whether all checks passed."""
    recipient = newsletter.recipient(1)
    transport, mail = arrived[recipient]
    before, after = sent[recipient], show.without_received(mail)
    show.side_by_side(
        console, "One newsletter: its header", show.header_lines(before), show.header_lines(after)
    )
    links_before, links_after = show.links(before), show.links(after)
    pairs = enumerate(zip(links_before, links_after, strict=True))
    tracked = next(index for index, (old, new) in pairs if old != new)
    token = fletching(running.config_path, "token", links_after[tracked])
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
            ("a link before", links_before[tracked]),
            ("the link after", links_after[tracked]),
            ("what the token contains", token.strip()),
            *(
                (f"DKIM verdict of {name}", "pass" if found and found[0].passed else "FAIL")
                for name, found in verdicts.items()
            ),
        ],
    )
    stored = in_redis(running, mail, token)
    show.facts(console, "The campaign in Redis", stored.items())
    return show.results(console, list(checks(running, sent, arrived, stored)))


def show_reactions(
    console: Console, running: Servers, arrived: dict[str, tuple[str, SunkMail]]
) -> bool:
    """Play the recipients and their servers, and show what is recorded; return whether all checks
    passed."""
    news = {name: mail for name, (_, mail) in arrived.items() if name.startswith("recipient")}
    with console.status("recipients open, click, complain and unsubscribe; a mail bounces late"):
        played = recipients.play(running.web, news, returns.EXPECTED + seeds.EXPECTED)
        returns.send_back(running.postfix, news)
        events = recipients.received(running.hook, played)
    show.events(console, "Events that the webhook received, one of each type", events)
    for words in (
        ("stats",),
        ("seeds", f"newsletter{INSTANCE}"),
        ("stats", "--by", "provider"),
        ("stats", "--by", "reason"),
        ("suppression", "list"),
        ("trace", returns.TRACED),
    ):
        console.rule(Text(f"fletching {' '.join(words)}"), align="left")
        console.print(Text(fletching(running.config_path, *words)))
    shown = json.loads(fletching(running.config_path, "stats", "--json"))
    (campaign,) = (each for each in shown["campaigns"] if each["mail_class"] == "newsletter")
    found = json.loads(fletching(running.config_path, "suppression", "list", "--json"))
    trace = fletching(running.config_path, "trace", returns.TRACED)
    passed = [
        *recipients.checks(played, events, campaign),
        *returns.checks(campaign, RECIPIENTS, found["suppression"], trace),
    ]
    return show.results(console, passed)


def in_redis(running: Servers, mail: SunkMail, token: str) -> dict[str, str]:
    """The mail's campaign in Redis, and the record that a bounce of it is attributed by."""
    store = Store(running.config.redis, Path(running.config.state_dir))
    facts = dict(line.split(None, 1) for line in token.splitlines() if " " in line.strip())
    identity, number = facts["campaign"].strip(), int(facts["message_number"])
    found = {"campaign": identity} | (Campaigns(store).campaign(identity) or {})
    record = BounceRecords(store).facts([(identity, number)])[identity, number]
    return found | {f"bounce record of message {number}": str(record)}


def checks(
    running: Servers,
    sent: dict[str, bytes],
    arrived: dict[str, tuple[str, SunkMail]],
    stored: dict[str, str],
) -> Iterator[tuple[str, bool]]:
    """Everything that must be true."""
    mails = [mail for _, mail in arrived.values()]
    news = {name: found for name, found in arrived.items() if name.startswith("recipient")}
    transports = [transport for transport, _ in news.values()]
    yield (
        f"{len(arrived)} mails arrived, {len(returns.REFUSED)} were refused by their servers",
        arrived.keys() == sent.keys() - returns.REFUSED | {*SEEDS},
    )
    yield (
        "no control header arrived",
        not any(
            name.startswith(("x-greenarrow-", "x-fletching-"))
            for m in mails
            for name in m.header_names
        ),
    )
    yield (
        f"the pool divided the campaign: vmta-a {transports.count('vmta-a')}, "
        f"vmta-b {transports.count('vmta-b')}",
        set(transports) == {"vmta-a", "vmta-b"},
    )
    yield (
        "the transactional mail went through vmta-a",
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
    yield (
        f"{min(rewritten)} to {max(rewritten)} links per newsletter are tracked",
        min(rewritten) > 30,
    )
    yield (
        f"Redis has one campaign with {stored.get('number')} messages",
        stored.get("number") == str(RECIPIENTS + len(SEEDS)),
    )
    everybody = [m.recipients[0] for sink in running.sinks.values() for m in sink.mails]
    yield from seeds.checks(running.config_path, everybody, RECIPIENTS)
    senders = {mail.sender for _, mail in news.values()}
    yield "every newsletter has its own return path", len(senders) == len(news)


if __name__ == "__main__":
    sys.exit(main())
