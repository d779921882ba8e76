"""Checks Postfix's configuration: milters, routing, and what changes mail after signing.

`postfix/postconf.py` reads Postfix's settings.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from ipaddress import ip_address

from fletching.checks.filters import PARAMETERS as OF_FILTERS
from fletching.checks.filters import check_filters, passes_us_later
from fletching.checks.finding import Finding, error, ok, warning
from fletching.config.model import Config
from fletching.policy.control import ROUTE_HEADER
from fletching.policy.return_path import sender_suffix
from fletching.postfix import postconf
from fletching.postfix.one_recipient import SPLIT
from fletching.postfix.postconf import Installed, MilterEntry, PostfixError, Service
from fletching.postfix.settings import destination, endpoint
from fletching.tokens import TAG_LENGTH

_CHANGE_SIGNED = (
    "smtp_generic_maps",
    "smtp_header_checks",
    "smtp_mime_header_checks",
    "smtp_nested_header_checks",
    "smtp_body_checks",
)
_CHANGE_SENDER = {
    "canonical_maps": "canonical_classes",
    "sender_canonical_maps": "",
    "masquerade_domains": "masquerade_classes",
}
PARAMETERS = (
    *("queue_directory", "smtpd_milters", "non_smtpd_milters", "smtpd_milter_maps"),
    *("milter_default_action", "milter_protocol", "milter_header_checks"),
    *("sender_dependent_default_transport_maps", "content_filter", "recipient_delimiter"),
    *("fletching_milter", "inet_protocols"),
    *("receive_override_options", "smtpd_data_restrictions"),
    *OF_FILTERS,
    *_CHANGE_SIGNED,
    *_CHANGE_SENDER,
    *(parameter for parameter in _CHANGE_SENDER.values() if parameter),
)

# How to recognize a milter that signs: by the path of its socket, or its usual port.
_SIGNERS = re.compile(r"(opendkim|dkimpy|dkim|rspamd|:8891\b|:8892\b|:11332\b)")

_INSTALL = "run `fletching postfix --install`"
_SHUTDOWN_SINCE = (3, 11)


def check_postfix(config: Config, postfix: Installed, command: Sequence[str]) -> Iterator[Finding]:
    """All findings.

    ``postfix``: has `PARAMETERS`. ``command``: postconf(1), perhaps with -c DIRECTORY.
    """
    try:
        yield from _milters(config, postfix)
        yield from check_filters(config, postfix, asking(config, postfix))
        yield from _local_mail(config, postfix)
        yield from _routes(config, postfix, command)
        yield from _transports(config, postfix)
        yield from _after_signing(config, postfix)
        yield from _return_path(config, postfix)
    except PostfixError as trouble:
        yield error("postfix", str(trouble))


# The milter lists


def _milters(config: Config, postfix: Installed) -> Iterator[Finding]:
    ours = 0
    for service in postfix.smtp_servers:
        entries = _smtpd_entries(postfix, service)
        place = _our_place(entries, config, postfix, service)
        if place is not None:
            ours += 1
            wrong = [
                *_default_action(entries[place], postfix, service),
                *_family(entries[place], postfix, service),
                *_protocol(entries[place], postfix, service),
                *_order(entries, place, config, service),
                *_filters(config, postfix, service),
            ]
            yield from wrong or [
                _configured(f"{service} smtpd_milters", entries[place], postfix, service)
            ]
        else:
            yield from _without_us(entries, config, postfix, service)
    if not ours:
        yield error(
            "smtpd_milters",
            f"no smtpd service has Fletching ({config.listen}) in its milters",
            _INSTALL,
        )


def _entries(
    postfix: Installed, parameter: str, service: Service | None
) -> tuple[MilterEntry, ...]:
    return postconf.milters(postfix.value(parameter, service))


def _smtpd_entries(postfix: Installed, service: Service) -> tuple[MilterEntry, ...]:
    if "no_milters" in postfix.value("receive_override_options", service):
        return ()
    return _entries(postfix, "smtpd_milters", service)


def _our_place(
    entries: Sequence[MilterEntry], config: Config, postfix: Installed, service: Service | None
) -> int | None:
    for place, entry in enumerate(entries):
        if postfix.reached(entry.endpoint, service) == postconf.listening(config.listen):
            return place
    return None


def asking(config: Config, postfix: Installed) -> tuple[Service, ...]:
    """The smtpd services that have Fletching in their milters."""
    return tuple(
        each
        for each in postfix.smtp_servers
        if _our_place(_smtpd_entries(postfix, each), config, postfix, each) is not None
    )


def _action(entry: MilterEntry, postfix: Installed, service: Service | None) -> str:
    """What Postfix does with mail while this milter does not answer."""
    return entry.options.get("default_action") or postfix.value("milter_default_action", service)


def _configured(
    parameter: str, entry: MilterEntry, postfix: Installed, service: Service | None
) -> Finding:
    return ok(parameter, f"configured, default_action={_action(entry, postfix, service)}")


def _default_action(
    entry: MilterEntry, postfix: Installed, service: Service | None
) -> Iterator[Finding]:
    action = _action(entry, postfix, service)
    place = f"{service or 'cleanup/unix'} milter_default_action"
    if action == "shutdown" and postfix.version < _SHUTDOWN_SINCE:
        yield error(place, "shutdown requires Postfix 3.11; set it to tempfail")
    elif action == "reject":
        yield warning(
            place,
            "with reject, mail is permanently refused while Fletching is down; set it to tempfail",
        )
    elif action not in ("tempfail", "shutdown"):
        yield error(
            place,
            f"with {action}, mail leaves with its control headers while Fletching is down, and"
            " Postfix before 3.12 can queue the original body if Fletching fails in the"
            " middle of a message; set it to tempfail",
        )


def _family(entry: MilterEntry, postfix: Installed, service: Service | None) -> Iterator[Finding]:
    """Postfix does not connect to addresses of a protocol that inet_protocols excludes."""
    kind, _, place = entry.endpoint.partition(":")
    host = place.rpartition(":")[0].strip("[]").lower().removeprefix("ipv6:")
    spoken = postfix.value("inet_protocols", service)
    # A host name may have addresses of both protocols.
    with contextlib.suppress(ValueError):
        family = f"ipv{ip_address(host).version}"
        if kind == "inet" and not {family, "all"} & set(postconf.words(spoken)):
            yield error(
                f"{service} inet_protocols",
                f"is {spoken}, so Postfix cannot connect to Fletching at {entry.endpoint} and"
                f" mail gets 451; set inet_protocols = {spoken}, {family}",
            )


def _order(
    entries: Sequence[MilterEntry], place: int, config: Config, service: Service
) -> Iterator[Finding]:
    where = f"{service} smtpd_milters"
    for entry in entries[:place]:
        if _SIGNERS.search(entry.endpoint):
            yield warning(
                where,
                f"{entry.endpoint} comes before Fletching: if it signs, Fletching's changes"
                " break its signatures",
                "if it signs, let it only verify (Mode v of OpenDKIM; enabled = false in rspamd's"
                " dkim_signing.conf)",
            )
    for entry in entries[place + 1 :] if config.dkim.enabled else ():
        yield warning(
            where,
            f"{entry.endpoint} comes after Fletching: any change it makes breaks Fletching's"
            " signatures",
            "put Fletching last (`fletching postfix --install` does), unless it changes nothing",
        )


def _filters(config: Config, postfix: Installed, service: Service) -> Iterator[Finding]:
    content_filter = postfix.value("content_filter", service)
    if content_filter and config.route_by == "header" and config.transports:
        yield warning(
            f"{service} content_filter",
            f"mail with a VirtualMTA bypasses {content_filter}: FILTER replaces it",
        )
    maps = postfix.value("smtpd_milter_maps", service)
    if maps and "fletching_networks_milters" not in maps:
        yield warning(
            f"{service} smtpd_milter_maps",
            "its result must include Fletching for each client that it matches, or mail of that"
            " client bypasses Fletching",
        )


def _without_us(
    entries: Sequence[MilterEntry], config: Config, postfix: Installed, service: Service
) -> Iterator[Finding]:
    place = f"{service} smtpd_milters"
    outside = config.listen.removeprefix("unix:")
    if service.chroot and any(e.endpoint.partition(":")[2] == outside for e in entries):
        queue = postfix.parameters["queue_directory"]
        yield error(
            place,
            f"the service is chrooted and looks for the socket at {queue}{outside}; set"
            f" listen: unix:{queue}/fletching/milter.sock",
        )
    elif stale := _stale(entries, postfix):
        yield _elsewhere(place, stale, config, postfix, service)
    elif postfix.value("content_filter", service).startswith(f"{SPLIT}:"):
        yield ok(place, "its mail reaches Fletching through the one-recipient recipe")
    elif passes_us_later(postfix, service, asking(config, postfix)):
        yield ok(place, "its mail reaches Fletching through the proxy filter")
    elif not service.is_local:
        yield warning(place, "mail received here bypasses Fletching")


def _stale(entries: Sequence[MilterEntry], postfix: Installed) -> MilterEntry | None:
    """An outdated entry of ours, which `fletching postfix` names fletching_milter."""
    named = postconf.milters(postfix.parameters.get("fletching_milter", ""))
    return next((entry for entry in entries if entry in named), None)


def _elsewhere(
    place: str, stale: MilterEntry, config: Config, postfix: Installed, service: Service | None
) -> Finding:
    action = _action(stale, postfix, service)
    happens = {"accept": "bypasses Fletching", "reject": "is permanently refused"}
    return error(
        place,
        f"connects to Fletching at {stale.endpoint}, but listen is {config.listen}: unless"
        f" something listens there too, mail {happens.get(action, 'gets 451')}; set"
        f" fletching_milter in main.cf to {endpoint(config.listen)} (`fletching postfix"
        " --install`), or change listen back",
    )


def _local_mail(config: Config, postfix: Installed) -> Iterator[Finding]:
    """Mail from sendmail(1): cleanup(8) calls the milters."""
    cleanup = postfix.service("cleanup")
    entries = _entries(postfix, "non_smtpd_milters", cleanup)
    ours = _our_place(entries, config, postfix, cleanup)
    if ours is not None:
        wrong = [
            *_default_action(entries[ours], postfix, cleanup),
            *_family(entries[ours], postfix, cleanup),
            *_protocol(entries[ours], postfix, cleanup),
        ]
        yield from wrong or [_configured("non_smtpd_milters", entries[ours], postfix, cleanup)]
    elif stale := _stale(entries, postfix):
        yield _elsewhere("non_smtpd_milters", stale, config, postfix, cleanup)
    else:
        yield error(
            "non_smtpd_milters",
            "does not include Fletching: mail from sendmail(1) leaves with its control headers",
            "set non_smtpd_milters = $fletching_milter in main.cf",
        )


def _protocol(entry: MilterEntry, postfix: Installed, service: Service | None) -> Iterator[Finding]:
    version = entry.options.get("protocol") or postfix.value("milter_protocol", service)
    if not version.startswith("6"):
        place = f"{service or 'cleanup/unix'} milter_protocol"
        yield error(place, f"must be 6, not {version}; add protocol=6 to fletching_milter")


# Routing to the transports


def _routes(config: Config, postfix: Installed, command: Sequence[str]) -> Iterator[Finding]:
    if not config.transports:
        return
    if config.route_by == "sender":
        parameter = "sender_dependent_default_transport_maps"
        keys = {route: _example_sender(config, route) for route in config.routes}
        answers = postconf.first_answers(command, postfix.value(parameter), keys.values())
        routed = answers
    else:
        parameter = "milter_header_checks"
        keys = {route: _route_header(route) for route in config.routes}
        # A transport that no rule should accept.
        foreign = _route_header("x".join(sorted(config.transports)) + "x")
        tables = postfix.value(parameter, postfix.service("cleanup"))
        answers = postconf.first_answers(command, tables, (*keys.values(), foreign))
        routed = {key: to for key, answer in answers.items() if (to := _filtered(answer))}
        if foreign in routed:
            yield warning(parameter, "its rule accepts transports that no VirtualMTA uses")
    wrong = [each for each in sorted(config.routes) if routed.get(keys[each]) != destination(each)]
    for route in wrong:
        answer = answers.get(keys[route], "nothing")
        yield error(
            parameter,
            f"must map `{keys[route]}` to {destination(route)}, but returns {answer}; run"
            " `fletching postfix --install`",
        )
    if not wrong:
        yield ok(parameter, f"routes to {', '.join(sorted(config.routes))}")


def _example_sender(config: Config, route: str) -> str:
    tag = "a" * TAG_LENGTH
    mailbox, _, domain = (config.bounce_mailbox or "bounces@example.com").rpartition("@")
    return f"{mailbox}{config.recipient_delimiter}{tag}-{sender_suffix(route)}@{domain}"


def _route_header(route: str) -> str:
    return f"{ROUTE_HEADER.decode('ascii')}: {route}"


def _filtered(action: str) -> str:
    """Where an action of header_checks(5) leads to."""
    name, _, destination = action.partition(" ")
    return destination.strip() if name.upper() == "FILTER" else ""


def _transports(config: Config, postfix: Installed) -> Iterator[Finding]:
    missing = [t for t in sorted(config.transports) if postfix.service(t) is None]
    for transport in missing:
        yield error(
            f"master.cf {transport}",
            "not defined: mail for it stays in the queue, and eventually bounces; `fletching"
            " postfix --install` adds the service",
        )
    if config.transports and not missing:
        yield ok("master.cf", f"defines {', '.join(sorted(config.transports))}")


# After Fletching


def _after_signing(config: Config, postfix: Installed) -> Iterator[Finding]:
    if not config.dkim.enabled:
        return
    agents = [postfix.service(name) for name in ("smtp", "relay", *sorted(config.transports))]
    for parameter in _CHANGE_SIGNED:
        names = [agent.name for agent in agents if agent and postfix.value(parameter, agent)]
        if names:
            yield warning(
                parameter,
                f"set for {', '.join(names)}: any change it makes to signed mail breaks the"
                " signature",
            )


def _return_path(config: Config, postfix: Installed) -> Iterator[Finding]:
    classes = config.mail_classes.values()
    if config.bounce_mailbox is None and not any(each.bounce_mailbox for each in classes):
        return
    delimiters = postfix.value("recipient_delimiter")
    # The tables for the LMTP service match a tag after any delimiter.
    if config.lmtp is None and config.recipient_delimiter not in delimiters:
        yield warning(
            "recipient_delimiter",
            f"is `{delimiters}`, but must include `{config.recipient_delimiter}` if this"
            " Postfix receives the bounces: otherwise their addresses are unknown",
        )
    for parameter, applies_to in _CHANGE_SENDER.items():
        classes_of = postfix.value(applies_to) if applies_to else "envelope_sender"
        if postfix.value(parameter) and "envelope_sender" in classes_of:
            yield warning(parameter, "is set: it must not change Fletching's return paths")
