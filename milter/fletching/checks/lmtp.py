"""Checks that Postfix hands the mailboxes of returned mail to the LMTP service."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from fletching.checks.access import AccessError, as_user
from fletching.checks.finding import Finding, error, ok, warning
from fletching.checks.socket import NOBODY, connect, refused
from fletching.config.model import Config
from fletching.config.values import host_and_port
from fletching.postfix import postconf
from fletching.postfix.mailboxes import mailboxes, next_hop
from fletching.postfix.postconf import Installed
from fletching.postfix.settings import QUEUE_DIRECTORY
from fletching.tokens import TAG_LENGTH

_DOMAINS = (
    *("mydestination", "virtual_mailbox_domains", "virtual_alias_domains", "relay_domains"),
)
PARAMETERS = ("transport_maps", *_DOMAINS)

_PLACE = "lmtp.listen"


def check_mailboxes(config: Config) -> Iterator[Finding]:
    """Whether there is anything to receive, and whether the service is running."""
    if config.lmtp is None:
        return
    if not mailboxes(config):
        yield warning(
            "lmtp",
            "has no mailboxes: set bounce_mailbox, unsubscribe_mailbox or feedback_mailbox",
        )
    path = Path(config.lmtp.listen.removeprefix("unix:"))
    where = host_and_port(config.lmtp.listen)
    if refused(*where) if where else connect(path) == NOBODY:
        yield _nobody_listens(config.lmtp.listen)


def check_lmtp(config: Config, postfix: Installed, command: Sequence[str]) -> Iterator[Finding]:
    """Whether Postfix reaches the service, and hands it all mailboxes.

    ``postfix``: has `PARAMETERS`. ``command``: postconf(1), perhaps with -c DIRECTORY.
    """
    if config.lmtp is None:
        return
    yield from _socket(config.lmtp.listen, postfix)
    found = mailboxes(config)
    wrong = {
        address: answer
        for address, answer in _transports(config, found, postfix, command).items()
        if not _is_ours(config, answer, postfix)
    }
    for address, answer in wrong.items():
        yield error(
            "transport_maps",
            f"{address}: must have the LMTP service at {config.lmtp.listen} as its transport, but"
            f" has {answer or 'none'}: run `fletching postfix --install`",
        )
    yield from _domains(found, postfix, command)
    if found and not wrong:
        yield ok("transport_maps", f"hands over {', '.join(found)}")


def _domains(found: Sequence[str], postfix: Installed, command: Sequence[str]) -> Iterator[Finding]:
    """Whether this Postfix takes mail of other hosts for the domains of the mailboxes."""
    listed = [word.lower() for each in _DOMAINS for word in postconf.words(postfix.value(each))]
    tables = " ".join(word for word in listed if ":" in word)
    for domain in sorted({address.rpartition("@")[2] for address in found}):
        parents = [domain[start:] for start in _label_starts(domain)]
        if any(word.startswith(("!", "/")) for word in listed) or {*parents, "*"} & {*listed}:
            continue
        if not _any_answer(command, tables, parents):
            yield warning(
                "relay_domains",
                f"{domain} is in none of {', '.join(_DOMAINS)}, so bounces of other hosts are"
                " refused (relay access denied)",
                f"add {domain} to relay_domains, with relay_recipient_maps ="
                " $fletching_recipient_maps; if another host receives this mail and passes it on"
                " to this one, none is needed",
            )


def _any_answer(command: Sequence[str], tables: str, keys: Sequence[str]) -> bool:
    """Whether a table has one of the keys; also if one cannot be read, which Postfix logs."""
    try:
        return bool(postconf.first_answers(command, tables, keys))
    except postconf.PostfixError:
        return True


def _label_starts(domain: str) -> Iterator[int]:
    yield 0
    yield from (place + 1 for place, character in enumerate(domain) if character == ".")


def _socket(listen: str, postfix: Installed) -> Iterator[Finding]:
    if where := host_and_port(listen):
        yield _nobody_listens(listen) if refused(*where) else ok(_PLACE, f"answers at {listen}")
        return
    path = Path(os.path.realpath(listen.removeprefix("unix:")))
    owner = postfix.parameters["mail_owner"]
    jail, inside = _jail(postfix, path)
    try:
        barred = as_user(owner, partial(connect, inside), jail)
    except AccessError as trouble:
        yield warning(_PLACE, f"cannot test whether Postfix's user {owner} can connect: {trouble}")
        return
    if barred is None:
        yield ok(_PLACE, f"Postfix's user {owner} can connect to {listen}")
    elif barred == NOBODY:
        yield _nobody_listens(listen)
    else:
        yield error(
            _PLACE,
            f"Postfix's user {owner} has no access to {barred}, so returned mail stays in the"
            f" queue: give the socket's directory group {owner} and mode 2750"
            " (deploy/systemd/fletching.tmpfiles), and the service UMask=0007",
        )


def _jail(postfix: Installed, path: Path) -> tuple[Path | None, Path]:
    """The root directory of a chrooted lmtp(8) that can see the socket, and the path there."""
    queue = Path(os.path.realpath(postfix.parameters["queue_directory"]))
    agent = postfix.service("lmtp")
    if agent is None or not agent.chroot or not path.is_relative_to(queue):
        return None, path
    return queue, Path("/") / path.relative_to(queue)


def _transports(
    config: Config, found: Sequence[str], postfix: Installed, command: Sequence[str]
) -> dict[str, str]:
    """For each mailbox with a tag, what transport_maps returns."""
    tagged = {address: _with_tag(config, address) for address in found}
    keys = [*tagged.values(), *found, *(address.rpartition("@")[2] for address in found)]
    answers = postconf.first_answers(command, postfix.value("transport_maps"), keys)
    # transport(5): the whole address, the address without extension, the domain.
    return {
        address: next(
            (
                answers[key]
                for key in (tagged[address], address, address.rpartition("@")[2])
                if key in answers
            ),
            "",
        )
        for address in found
    }


def _with_tag(config: Config, address: str) -> str:
    local, _, domain = address.rpartition("@")
    return f"{local}{config.recipient_delimiter}{'a' * TAG_LENGTH}@{domain}"


def _is_ours(config: Config, answer: str, postfix: Installed) -> bool:
    transport, _, hop = answer.partition(":")
    agent = postfix.service(transport)
    if agent is None or agent.command != "lmtp":
        return False
    return postfix.reached(hop, agent) == _listening(config, postfix)


def _listening(config: Config, postfix: Installed) -> str:
    """Where the service listens, in the form of `Installed.reached`."""
    hop = next_hop(config, QUEUE_DIRECTORY)
    if hop.startswith("inet:"):
        return postfix.reached(hop, None)
    listen = config.lmtp.listen if config.lmtp else ""
    return f"unix:{os.path.realpath(listen.removeprefix('unix:'))}"


def _nobody_listens(listen: str) -> Finding:
    return warning(
        _PLACE,
        f"nothing accepts connections at {listen}, so returned mail stays in Postfix's queue:"
        " start the LMTP service (systemctl start fletching-lmtp), or check its log"
        " (journalctl -u fletching-lmtp)",
    )
