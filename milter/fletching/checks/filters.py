"""Checks the path of mail through Postfix's services: filters, trust, and added recipients.

Before-queue and after-queue content filters, trust by service, and recipients that cleanup(8) adds
after the milters have seen RCPT. `postfix/postconf.py` reads Postfix's settings.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from ipaddress import ip_address
from pathlib import PurePath

from fletching.checks.finding import Finding, error, warning
from fletching.config.model import Config
from fletching.postfix.mailboxes import RECIPIENTS
from fletching.postfix.one_recipient import LISTENER, SPLIT
from fletching.postfix.postconf import Installed, Service, words

# Each adds or changes recipients in cleanup(8), after milters have seen all RCPT commands.
_ADD_RECIPIENTS = (
    *("always_bcc", "sender_bcc_maps", "recipient_bcc_maps"),
    *("virtual_alias_maps", "canonical_maps", "recipient_canonical_maps"),
)
_LOCAL_DOMAINS = ("mydestination", "virtual_mailbox_domains")

PARAMETERS = (
    *("smtpd_proxy_filter", "content_filter", "milter_macro_daemon_name"),
    *("receive_override_options", "cleanup_service_name", "canonical_classes"),
    *_ADD_RECIPIENTS,
    *_LOCAL_DOMAINS,
)

_LOOPBACK = tuple(ip_address(each) for each in ("127.0.0.1", "::1"))
_PAGE = "docs/content-filters.md"


def check_filters(
    config: Config, postfix: Installed, asking: Sequence[Service]
) -> Iterator[Finding]:
    """All findings. ``asking``: the smtpd services that have Fletching in their milters."""
    for service in asking:
        yield from _before_queue(postfix, service)
        yield from _mail_that_comes_back(config, postfix, service)
    yield from _mail_that_comes_back_by_sendmail(config, postfix)
    yield from _services_without_mail(config, postfix, asking)
    yield from _added_recipients(config, postfix, asking)


def _before_queue(postfix: Installed, service: Service) -> Iterator[Finding]:
    if proxy := postfix.value("smtpd_proxy_filter", service):
        yield error(
            f"{service} smtpd_proxy_filter",
            f"Postfix sends message content to {proxy}, not to milters, so control headers"
            " are delivered; set smtpd_milters= for this service, and add Fletching to the"
            f" smtpd_milters of the service that receives the mail back ({_PAGE})",
        )


def _mail_that_comes_back(
    config: Config, postfix: Installed, service: Service
) -> Iterator[Finding]:
    name = postfix.value("milter_macro_daemon_name", service)
    services = config.trusted.services
    trusted = not services or name in services
    if trusted and _trusts_loopback(config) and _takes_mail_back(postfix, service, services):
        cure = (
            f"remove {name} from trusted.services, or give this service its own"
            " milter_macro_daemon_name"
            if services
            else "give the services that applications send to a milter_macro_daemon_name, and list"
            " these names in trusted.services"
        )
        yield error(
            f"{service} smtpd_milters",
            "mail returned by a content filter comes from a trusted network, whoever sent"
            f" it, so control headers of untrusted clients take effect; {cure} ({_PAGE})",
        )


def _mail_that_comes_back_by_sendmail(config: Config, postfix: Installed) -> Iterator[Finding]:
    """A filter run by pipe(8) may return mail as local mail, which has no service name."""
    for service in postfix.smtp_servers if _trusts_loopback(config) else ():
        transport = postfix.service(postfix.value("content_filter", service).partition(":")[0])
        if transport is not None and transport.command == "pipe":
            yield warning(
                f"{service} content_filter",
                f"if {transport.name} returns mail through sendmail(1), mail of untrusted"
                f" clients is trusted as local mail; return it by SMTP instead ({_PAGE})",
            )


def _trusts_loopback(config: Config) -> bool:
    return any(host in network for host in _LOOPBACK for network in config.trusted.networks)


def _takes_mail_back(postfix: Installed, service: Service, trusted: Container[str]) -> bool:
    """Whether this service receives mail back from a filter, so that it must not have that filter.

    A service for applications on this host looks the same. It is not one if its name is in
    ``trusted``, the services that the operator has listed.
    """
    if service.options.get("syslog_name") == LISTENER or _filter(postfix, service):
        return False
    if "smtpd_authorized_xforward_hosts" in service.options:
        return True
    if service.options.get("milter_macro_daemon_name") in trusted:
        return False
    filtered = any(_filter(postfix, other) for other in postfix.smtp_servers)
    return filtered and (service.is_local or "content_filter" in service.options)


def passes_us_later(postfix: Installed, service: Service, asking: Iterable[Service]) -> bool:
    """Whether a proxy filter returns mail of a service to one that has Fletching."""
    proxied = bool(postfix.value("smtpd_proxy_filter", service))
    return proxied and any(_takes_mail_back(postfix, each, ()) for each in asking)


def _filter(postfix: Installed, service: Service) -> str:
    """The before-queue or after-queue content filter of a service; empty if none."""
    after = postfix.value("content_filter", service)
    if after.startswith(f"{SPLIT}:"):
        after = ""
    return postfix.value("smtpd_proxy_filter", service) or after


def _services_without_mail(
    config: Config, postfix: Installed, asking: Iterable[Service]
) -> Iterator[Finding]:
    names = {postfix.value("milter_macro_daemon_name", service) for service in asking}
    for name in config.trusted.services:
        if name not in names:
            yield error(
                "trusted.services",
                "no smtpd service with Fletching in its milters has"
                f" milter_macro_daemon_name={name}, so this entry has no effect; set it:"
                f" postconf -P 'SERVICE/inet/milter_macro_daemon_name={name}'",
            )


def _added_recipients(
    config: Config, postfix: Installed, asking: Sequence[Service]
) -> Iterator[Finding]:
    if config.route_by != "header" or not config.transports:
        return
    pickup = postfix.service("pickup")
    sources = [*asking, *([pickup] if pickup else [])]
    cleanups = dict.fromkeys(
        postfix.value("cleanup_service_name", source)
        for source in sources
        if "no_address_mappings" not in postfix.value("receive_override_options", source)
    )
    for name in cleanups:
        cleanup = postfix.service(name)
        for parameter in _ADD_RECIPIENTS:
            value = _of_others(postfix.value(parameter, cleanup))
            if value and not _only_senders(parameter, postfix, cleanup):
                yield _added(parameter, value, name, postfix)


def _of_others(value: str) -> str:
    """A list of tables without ours, which adds nobody: it maps each mailbox to itself."""
    tables = words(value)
    others = [each for each in tables if PurePath(each).name != RECIPIENTS]
    return value if len(others) == len(tables) else ", ".join(others)


def _only_senders(parameter: str, postfix: Installed, cleanup: Service | None) -> bool:
    classes = words(postfix.value("canonical_classes", cleanup))
    return parameter == "canonical_maps" and "envelope_recipient" not in classes


def _added(parameter: str, value: str, cleanup: str, postfix: Installed) -> Finding:
    place = parameter if cleanup == "cleanup" else f"{cleanup}/unix {parameter}"
    domain = value.rpartition("@")[2].lower() if "@" in value else ""
    local = {word.lower() for name in _LOCAL_DOMAINS for word in words(postfix.value(name))}
    is_local = parameter == "always_bcc" and (not domain or domain in local)
    say = error if is_local else warning
    return say(
        place,
        f"{'adds' if is_local else 'can add'} a recipient on this host that Fletching does"
        " not see; if the mail has a VirtualMTA, that copy is sent to the network and deferred;"
        " set route_by: sender in fletching.yaml, or"
        " receive_override_options=no_address_mappings for the services that use Fletching",
    )
