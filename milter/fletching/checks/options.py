"""Checks for valid options that are probably a mistake in combination. Pure.

Invalid options are reported by `config/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from fletching.checks.finding import Finding, ok, warning
from fletching.checks.limits import check_limits
from fletching.config.model import Config, MailClass
from fletching.events import UNSUBSCRIBE
from fletching.postfix.settings import POSTFIX_OWN


def check_options(config: Config, today: date) -> Iterator[Finding]:
    """All findings. ``today``: in the configuration's time zone."""
    yield from _in_shadow(config)
    yield from _no_default_key(config)
    yield from _unsubscribes_lost(config)
    yield from check_limits(config, today)
    yield from _fallback_relays(config)


def _in_shadow(config: Config) -> Iterator[Finding]:
    """Which mail is not changed: nobody is to wonder why, or to forget it."""
    if not config.uses_shadow:
        return
    modes = [f"mail without a class: {config.mode}"]
    for name, each in config.mail_classes.items():
        mode = each.mode or config.mode
        modes.append(f"{name}: {mode if each.shadow is None else f'{each.shadow:.0%} shadow'}")
    yield ok("mode", "; ".join(modes))


def _no_default_key(config: Config) -> Iterator[Finding]:
    if not config.dkim.enabled:
        return
    defaults = {key.domain for key in config.dkim.keys if key.default}
    for domain in sorted({key.domain for key in config.dkim.keys} - defaults):
        yield warning(
            "dkim.keys",
            f"no key of {domain} has default: true, so its mail is signed only if"
            " X-GreenArrow-DKIM names the selector; add default: true to one key",
        )


def _unsubscribes_lost(config: Config) -> Iterator[Finding]:
    """Our links record unsubscribes, so something must stop the mail."""
    lost = [
        name
        for name, each in config.mail_classes.items()
        if config.link_keys is not None
        and (each.url_domain or config.url_domain)
        and (each.suppress or config.suppress) == "off"
        and (each.list_unsubscribe or each.track.clicks)
        and not _is_delivered(config, each)
    ]
    if lost:
        yield warning(
            "suppress",
            f"unsubscribes of {', '.join(lost)} have no effect: recipients who unsubscribe see"
            " a confirmation, but still get mail; set suppress: refuse, or add a destination"
            f" for {UNSUBSCRIBE} events",
        )


def _fallback_relays(config: Config) -> Iterator[Finding]:
    for mta in config.virtual_mtas.values():
        if mta.fallback_relay and mta.transport in POSTFIX_OWN:
            yield warning(
                f"virtual_mtas.{mta.name}.fallback_relay",
                f"has no effect: {mta.transport} is a service of Postfix's own, which `fletching"
                " postfix` does not define; use a transport of another name",
            )


def _is_delivered(config: Config, mail_class: MailClass) -> bool:
    """Whether a destination receives the unsubscribes of the class."""
    return any(
        (to.types is None or UNSUBSCRIBE in to.types)
        and (to.classes is None or mail_class.name.lower() in {name.lower() for name in to.classes})
        for to in (config.events.destinations if config.events else ())
    )
