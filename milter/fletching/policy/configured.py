"""What the configuration offers: the entry of a login, the Mail Class, the global options.

Here options become offers, each with its source. Which offer wins is not decided here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from fletching.config.added_headers import ClassRepair
from fletching.config.model import Config, MailClass
from fletching.policy import offers
from fletching.policy.offers import Offer, Offers, Setting, SourceKind


def of_login(config: Config, login: str | None) -> tuple[Offers, ...]:
    """What `users` says of an SMTP AUTH login: a Mail Class that it must use, and its default."""
    name = config.user_name(login)
    if name is None:
        return ()
    user = config.users[name]
    forced, usual = user.force_mail_class, user.mail_class
    return (
        _of_user(config, SourceKind.FORCED, name, "force_mail_class", forced),
        _of_user(config, SourceKind.LOGIN, name, "mail_class", usual),
    )


def _of_user(
    config: Config, kind: SourceKind, name: str, option: str, mail_class: str | None
) -> Offers:
    found = _offers(kind, f"users.{name}.{option}", [(offers.MAIL_CLASS, mail_class)])
    return replace(found, places={offers.MAIL_CLASS: config.where("users", name, option)})


def default_mail_class(config: Config) -> Offers:
    """The Mail Class of mail for which nothing else names one."""
    default = (offers.MAIL_CLASS, config.default_mail_class)
    found = _offers(SourceKind.GLOBAL, "default_mail_class", [default])
    return replace(found, places={offers.MAIL_CLASS: config.where("default_mail_class")})


def of_class(mail_class: MailClass) -> Offers:
    """The options of a Mail Class."""
    repair = mail_class.repair or ClassRepair()
    return _offers(
        SourceKind.CLASS,
        f"class {mail_class.name}",
        [
            (offers.LIST_ID, mail_class.list_id),
            (offers.VIRTUAL_MTA, mail_class.virtual_mta),
            (offers.BOUNCE_MAILBOX, mail_class.bounce_mailbox),
            (offers.VERP, mail_class.verp),
            (offers.CLICKS, mail_class.track.clicks),
            (offers.OPENS, mail_class.track.opens),
            (offers.TEXT, mail_class.track.text),
            (offers.URL_DOMAIN, mail_class.url_domain),
            (offers.TRACKER_FORMAT, mail_class.tracker_format),
            (offers.UNTRACKED_HOSTS, mail_class.untracked_hosts),
            (offers.PRESERVE_VISIBLE_URLS, mail_class.preserve_visible_urls),
            (offers.LIST_UNSUBSCRIBE, mail_class.list_unsubscribe),
            (offers.UNSUBSCRIBE_MAILBOX, mail_class.unsubscribe_mailbox),
            (offers.ONE_CLICK, mail_class.one_click),
            (offers.SUPPRESS, mail_class.suppress),
            (offers.ON_INVALID_HEADER, mail_class.on_invalid_header),
            (offers.REPAIR_DATE, repair.date),
            (offers.REPAIR_MESSAGE_ID, repair.message_id),
        ],
    )


def of_config(config: Config) -> Offers:
    """The global options."""
    return _offers(
        SourceKind.GLOBAL,
        "global",
        [
            (offers.BOUNCE_MAILBOX, config.bounce_mailbox),
            (offers.VERP, config.verp),
            (offers.URL_DOMAIN, config.url_domain),
            (offers.TRACKER_FORMAT, config.tracker_format),
            (offers.UNTRACKED_HOSTS, config.untracked_hosts),
            (offers.PRESERVE_VISIBLE_URLS, config.preserve_visible_urls),
            (offers.UNSUBSCRIBE_MAILBOX, config.unsubscribe_mailbox),
            (offers.ONE_CLICK, config.one_click),
            (offers.SUPPRESS, config.suppress),
            (offers.ON_INVALID_HEADER, config.on_invalid_header),
            (offers.REPAIR_DATE, config.repair.date),
            (offers.REPAIR_MESSAGE_ID, config.repair.message_id),
        ],
    )


_PATHS: Mapping[Setting[Any], tuple[str, ...]] = {
    offers.CLICKS: ("track", "clicks"),
    offers.OPENS: ("track", "opens"),
    offers.TEXT: ("track", "text"),
    offers.REPAIR_DATE: ("repair", "date"),
    offers.REPAIR_MESSAGE_ID: ("repair", "message_id"),
}
"""Where the option of a setting is, if not under the setting's own name."""


def placed(found: Offers, config: Config, *section: str | int) -> Offers:
    """The offers of a section, with the places of its options; one that is not in the file has its
    built-in default.
    """
    places = {
        setting: config.where(*section, *_PATHS.get(setting, (setting.name,))) or "default"
        for setting in found.by_setting
    }
    return replace(found, places=places)


def _offers(kind: SourceKind, source: str, values: Iterable[tuple[Setting[Any], object]]) -> Offers:
    """An option that is not set offers nothing."""
    given = {setting: Offer(value, source) for setting, value in values if value is not None}
    return Offers(kind, given)
