"""`fletching check`: whether seed copies can be sent."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator

from fletching.checks.finding import Finding, error, ok, warning
from fletching.config.model import Config
from fletching.config.values import host_and_port

_TIMEOUT = 5.0


def check_seeds(config: Config) -> Iterator[Finding]:
    """A finding about the SMTP server, or about link_keys, if there are seed lists."""
    if not any(config.seed_lists.values()):
        return
    if config.link_keys is None:
        yield warning("seed_lists", "no copies are sent: link_keys is not set")
        return
    yield _answers(config.seeds.submit)


def _answers(server: str) -> Finding:
    cure = "seed copies wait until it does; set seeds.submit to an smtpd service with this milter"
    try:
        with smtplib.SMTP(*host_and_port(server) or ("", 0), timeout=_TIMEOUT) as client:
            code, _ = client.ehlo()
    except (OSError, smtplib.SMTPException) as away:
        return error("seeds.submit", f"{server} does not answer: {away}; {cure}")
    if code != 250:
        return error("seeds.submit", f"{server} refuses EHLO with {code}; {cure}")
    return ok("seeds.submit", f"{server} answers")
