"""Opens the links of a check mail, and unsubscribes with its List-Unsubscribe, as recipients do.

First at the web service itself, then at the tracking host: what only the second answers wrongly is
the fault of what is between them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from urllib.parse import urlsplit

from fletching.checks.finding import Finding, error, ok, warning
from fletching.checks.live.arrivals import Links
from fletching.checks.live.http import (
    ONE_CLICK,
    BadCertificate,
    Response,
    Unreachable,
    ask,
    ask_service,
)
from fletching.checks.lookups import Lookups
from fletching.config.model import Config
from fletching.config.values import host_and_port

_CLOCK = 120
"""Seconds that the clocks of two hosts may differ."""

_KEYS = (
    "give all hosts the same key file (link_keys), and restart the web service"
    " (systemctl restart fletching-web)"
)
_START = "start it (systemctl start fletching-web), or check its log (journalctl -u fletching-web)"
_PASS_ON = "have the proxy pass {} to the web service unchanged (deploy/nginx)"

Ask = Callable[[str, bytes | None], Response]


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """The unsubscribe of a check mail was accepted. ``source``: the address from which the tracking
    host was asked; empty if the web service was."""

    source: str


def check_links(links: Links, config: Config, lookups: Lookups) -> Iterator[Finding | Unsubscribed]:
    """All findings about the links of one mail, and whether it could be unsubscribed."""
    service_works = False
    yield from _proxies(config)
    if config.web is not None:
        listen = config.web.listen
        wrong = list(_service(links, listen))
        yield from wrong
        service_works = not wrong
        if service_works:
            yield ok("web.listen", f"the web service at {listen} opens links and unsubscribes")
        elif any("does not answer" in each.text for each in wrong):
            return
    done = False
    for host in dict.fromkeys(filter(None, map(_host, (links.click, links.unsubscribe)))):
        for found in _tracking_host(host, links, lookups, service_works):
            done = done or isinstance(found, Unsubscribed)
            yield found
    if config.web is not None and service_works and links.unsubscribe and not done:
        with suppress(Unreachable):
            if ask_service(config.web.listen, links.unsubscribe, ONE_CLICK).status == 200:
                yield Unsubscribed("")


def _proxies(config: Config) -> Iterator[Finding]:
    """The web service speaks no TLS, so before an https host there is a proxy."""
    of_classes = (each.url_domain for each in config.mail_classes.values())
    secure = any((each or "").startswith("https:") for each in (config.url_domain, *of_classes))
    web = config.web
    if secure and web is not None and host_and_port(web.listen) and not web.trusted_proxies:
        yield warning(
            "web.trusted_proxies",
            "is empty, but links are https, so a proxy is before the web service: its address is"
            " recorded for every recipient",
            "list the proxy's address, such as 127.0.0.1/32, and have it set X-Forwarded-For",
        )


def _host(url: str | None) -> str:
    return urlsplit(url).netloc if url is not None else ""


def _service(links: Links, listen: str) -> Iterator[Finding]:
    """What the web service does wrong by itself."""

    try:
        if links.click is not None:
            response = ask_service(listen, links.click)
            if response.location != links.destination:
                yield error(
                    "web.listen",
                    f"the web service at {listen} does not open the link of a check mail"
                    f" (HTTP {response.status}): it has other link keys, or another program"
                    " listens there",
                    _KEYS,
                )
                return
        if links.unsubscribe is None:
            return
        status = ask_service(listen, links.unsubscribe).status
        if status != 200:
            yield error(
                "web.listen",
                f"the web service at {listen} does not know the unsubscribe link of a check mail"
                f" (HTTP {status})",
                _KEYS,
            )
    except Unreachable as why:
        yield error("web.listen", f"the web service at {listen} does not answer: {why}", _START)


# What recipients reach


def _tracking_host(
    host: str, links: Links, lookups: Lookups, service_works: bool
) -> Iterator[Finding | Unsubscribed]:
    name = urlsplit(f"//{host}").hostname or ""
    addresses = (name,) if _is_address(name) else sorted(lookups.addresses(name) or ())
    if not addresses:
        yield error(
            host,
            "has no A or AAAA record, so no recipient can open a link",
            "publish an address record, or correct url_domain",
        )
        return

    def ask_host(url: str, body: bytes | None = None) -> Response:
        return ask(url, addresses, body)

    try:
        answers = [*_click(host, links, ask_host), *_unsubscribe(host, links, ask_host)]
    except BadCertificate as why:
        yield error(
            f"https://{host}", f"its certificate is not valid: {why}", _certificate(str(why))
        )
    except Unreachable as why:
        text = f"{', '.join(addresses)} cannot be reached: {why}"
        if service_works:
            yield warning(
                host,
                f"{text}; the web service works, so this may be true for this host only (NAT)",
                "open a tracked link from another network; let the proxy listen, and the firewall"
                " pass its port",
            )
        else:
            yield error(host, text, "start the proxy, and let the firewall pass its port")
    else:
        yield from answers
        if not any(isinstance(each, Finding) for each in answers):
            yield ok(host, "opens the link of a check mail, and unsubscribes by one click")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _certificate(why: str) -> str:
    if "expired" in why:
        return "renew the certificate, and reload the proxy (certbot renew)"
    if "Hostname mismatch" in why or "IP address mismatch" in why:
        return "get a certificate for this name, or correct url_domain"
    if "not yet valid" in why:
        return "set the clock of this host (timedatectl)"
    return "install the certificate with its intermediate certificates (fullchain.pem)"


def _click(host: str, links: Links, ask_host: Ask) -> Iterator[Finding]:
    if links.click is None or _host(links.click) != host:
        return
    response = ask_host(links.click, None)
    if response.status == 302 and response.location == links.destination:
        yield from _on_the_way(host, response)
        return
    yield error(
        host, f"does not open the link of a check mail: {_instead(response)}", _cure(response)
    )


def _unsubscribe(host: str, links: Links, ask_host: Ask) -> Iterator[Finding | Unsubscribed]:
    if links.unsubscribe is None or _host(links.unsubscribe) != host:
        return
    response = ask_host(links.unsubscribe, None)
    if response.status != 200:
        yield error(
            host,
            f"does not show the page of an unsubscribe link: {_instead(response)}",
            _cure(response),
        )
        return
    response = ask_host(links.unsubscribe, ONE_CLICK)
    if response.status != 200:
        yield error(
            host,
            f"does not take the POST of an unsubscribe by one click: {_instead(response)}",
            _PASS_ON.format("POST") + ", without a redirect, login or form protection",
        )
    else:
        yield Unsubscribed(response.source)


def _instead(response: Response) -> str:
    if response.status // 100 == 3:
        return f"HTTP {response.status}, a redirect to {response.location or 'nowhere'}"
    return f"HTTP {response.status}"


def _cure(response: Response) -> str:
    if response.status in (502, 503, 504):
        return (
            "have the proxy pass requests to web.listen, and let its user connect there; check its"
            " error log"
        )
    if response.status // 100 == 3:
        return "remove the redirect from the proxy; url_domain must be the URL that it ends at"
    if response.status in (401, 403):
        return "remove login and access rules from /click, /open and /unsub in the proxy"
    if response.status in (404, 400):
        return (
            _PASS_ON.format("path and query of /click, /open and /unsub")
            + "; a web service on another host needs the same link keys"
        )
    return f"let url_domain name the proxy before Fletching; {_PASS_ON.format('/click')}"


def _on_the_way(host: str, response: Response) -> Iterator[Finding]:
    """What a proxy does to a right answer."""
    cached = (
        response.headers.get("age", "0") != "0"
        or "hit" in response.headers.get("x-cache", "").lower()
    )
    if cached or "no-store" not in response.headers.get("cache-control", ""):
        yield warning(
            host,
            "a proxy caches tracking links, so only the first click of each link is counted",
            "switch off caching for /click, /open and /unsub, and keep Cache-Control: no-store",
        )
    if "date" in response.headers:
        try:
            ahead = parsedate_to_datetime(response.headers["date"]).timestamp() - time.time()
        except ValueError:
            return
        if abs(ahead) > _CLOCK:
            way = "ahead of" if ahead > 0 else "behind"
            yield warning(
                host,
                f"its clock is {abs(ahead):.0f} s {way} this host's",
                "synchronize both with NTP (timedatectl)",
            )
