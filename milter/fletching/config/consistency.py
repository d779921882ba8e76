"""Checks options against each other: names that must exist, and options that require others.

It gets a configuration whose single values are valid, and yields all conflicts with their places.
Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from fletching.config import action_doubts, rule_conflicts, rule_doubts, values
from fletching.config.conflict import Conflict, Place, unknown
from fletching.config.model import Config, MailClass
from fletching.config.sections import Web


def conflicts(config: Config, providers: Collection[str] = ()) -> Iterator[Conflict]:
    """All conflicts between options. ``providers``: the names of all mailbox providers."""
    yield from _alike("mail_classes", config.mail_classes)
    yield from _alike("virtual_mtas", config.virtual_mtas)
    yield from _chosen_classes(config)
    yield from _shadow(config)
    yield from _virtual_mtas(config)
    yield from _fallback_loops(config)
    yield from _seed_lists(config)
    yield from _dkim_keys(config)
    yield from _destinations(config)
    yield from _dashboard(config)
    yield from _metrics(config)
    yield from _return_paths(config)
    yield from _postfix_log(config)
    yield from _lmtp(config)
    yield from _links(config)
    yield from _archives(config)
    yield from _providers(config, providers)
    yield from rule_conflicts.conflicts(config, providers)


def _alike(section: str, entries: Mapping[str, Any]) -> Iterator[Conflict]:
    seen: dict[str, str] = {}
    for name in entries:
        first = seen.setdefault(name.lower(), name)
        if first != name:
            yield Conflict(
                (section, name),
                f"duplicate name: {first} is already defined (names are case-insensitive)",
            )


def _providers(config: Config, known: Collection[str]) -> Iterator[Conflict]:
    """``known``: the names of all providers, also those of the built-in table."""
    owners: dict[str, str] = {}
    for name, domains in config.providers.items():
        for other in sorted(known):
            if other != name and other.lower() == name.lower():
                rule = f"another spelling of provider {other}: use one of them"
                yield Conflict(("providers", name), rule)
        for number, domain in enumerate(domains):
            first = owners.setdefault(domain.lower(), name)
            if first != name:
                rule = f"duplicate domain: it is in {first} already"
                yield Conflict(("providers", name, number), rule)


def _chosen_classes(config: Config) -> Iterator[Conflict]:
    yield from _mail_class(config, ("default_mail_class",), config.default_mail_class)
    for login, user in config.users.items():
        yield from _mail_class(config, ("users", login, "force_mail_class"), user.force_mail_class)
        yield from _mail_class(config, ("users", login, "mail_class"), user.mail_class)


def _shadow(config: Config) -> Iterator[Conflict]:
    for name, mail_class in config.mail_classes.items():
        if mail_class.mode is not None and mail_class.shadow is not None:
            path, other = ("mail_classes", name, "shadow"), ("mail_classes", name, "mode")
            rule = "cannot be combined with mode: remove one of them (shadow: 1 is mode: shadow)"
            yield Conflict(path, rule, (other,))


def _shadow_doubts(config: Config) -> Iterator[Conflict]:
    keeping: list[tuple[Place, bool | None]] = [
        (("shadow_keeps_headers",), config.shadow_keeps_headers),
        *(
            (("mail_classes", name, "shadow_keeps_headers"), each.shadow_keeps_headers)
            for name, each in config.mail_classes.items()
        ),
    ]
    for path, keeps in keeping:
        if keeps and config.uses_shadow:
            rule = "control headers of mail in shadow leave this server: the next one must"
            yield Conflict(path, f"{rule} remove them")
        elif keeps:
            yield Conflict(path, "has no effect: no mail is in shadow")


def doubts(config: Config) -> Iterator[Conflict]:
    """What is allowed but looks like a mistake."""
    if config.mail_classes and config.link_keys is None:
        rule = "not set: mail gets no X-Mailer-Info and no VERP tag, so bounces and"
        yield Conflict(("link_keys",), f"{rule} complaints are not attributed")
    for name, mail_class in config.mail_classes.items():
        if mail_class.seed is not None and not config.seed_lists[mail_class.seed.list]:
            rule = "the seed list is empty, so no copies are sent"
            yield Conflict(("mail_classes", name, "seed", "list"), rule)
    mailboxes = [config.bounce_mailbox, *(c.bounce_mailbox for c in config.mail_classes.values())]
    if config.postfix is not None and config.postfix.log is not None and not any(mailboxes):
        rule = (
            "finds only mail with a VERP tag, and no bounce_mailbox is set (in a class or globally)"
        )
        yield Conflict(("postfix", "log"), rule)
    yield from _shadow_doubts(config)
    yield from action_doubts.doubts(config)
    yield from rule_doubts.doubts(config)


def _mail_class(config: Config, path: Place, name: str | None) -> Iterator[Conflict]:
    if name is not None and config.mail_class(name) is None:
        yield unknown(path, name, "Mail Class", "mail_classes", config.mail_classes)


def _virtual_mtas(config: Config) -> Iterator[Conflict]:
    for name, mail_class in config.mail_classes.items():
        wanted = mail_class.virtual_mta
        if wanted is not None and config.virtual_mta(wanted) is None:
            path = ("mail_classes", name, "virtual_mta")
            yield unknown(path, wanted, "VirtualMTA", "virtual_mtas", config.virtual_mtas)
    for name, virtual_mta in config.virtual_mtas.items():
        if virtual_mta.fallback is not None:
            yield from _single(config, ("virtual_mtas", name, "fallback"), virtual_mta.fallback)
        yield from _members(config, name, virtual_mta.pool or {})


def _members(config: Config, name: str, pool: Mapping[str, int]) -> Iterator[Conflict]:
    seen: set[str] = set()
    for member in pool:
        path = ("virtual_mtas", name, "pool", member)
        yield from _single(config, path, member)
        if member.lower() in seen:
            yield Conflict(path, "duplicate pool member (names are case-insensitive)")
        seen.add(member.lower())


def _single(config: Config, path: Place, wanted: str) -> Iterator[Conflict]:
    found = config.virtual_mta(wanted)
    singles = [name for name, each in config.virtual_mtas.items() if each.pool is None]
    if found is None:
        yield unknown(path, wanted, "VirtualMTA", "virtual_mtas", singles)
    elif found.pool is not None:
        yield Conflict(path, f"must name a single VirtualMTA, but {found.name} is a pool")


def _fallback_loops(config: Config) -> Iterator[Conflict]:
    """Reports each fallback loop once."""
    done: set[str] = set()
    for start in config.virtual_mtas:
        way: list[str] = []
        at = config.virtual_mta(start)
        while at is not None and at.name not in done and at.name not in way:
            way.append(at.name)
            at = config.virtual_mta(at.fallback) if at.fallback is not None else None
        done.update(way)
        if at is not None and at.name in way:
            loop = way[way.index(at.name) :]
            rule = f"fallback loop: {' -> '.join([*loop, at.name])}"
            yield Conflict(("virtual_mtas", at.name, "fallback"), rule)


def _seed_lists(config: Config) -> Iterator[Conflict]:
    for name, seeds in config.seed_lists.items():
        seen: set[str] = set()
        for number, seed in enumerate(seeds):
            if seed.address.lower() in seen:
                rule = "duplicate address: it is in this list already"
                yield Conflict(("seed_lists", name, number), rule)
            seen.add(seed.address.lower())
    for name, mail_class in config.mail_classes.items():
        seed_of_class = mail_class.seed
        if seed_of_class is None:
            continue
        path = ("mail_classes", name, "seed")
        if seed_of_class.list not in config.seed_lists:
            kind = "seed list"
            listed = (*path, "list")
            yield unknown(listed, seed_of_class.list, kind, "seed_lists", config.seed_lists)
        if config.link_keys is None:
            rule = "requires link_keys (a global option): they authenticate and encrypt the copies"
            yield Conflict(path, rule, (("link_keys",),))


def _dkim_keys(config: Config) -> Iterator[Conflict]:
    names: set[tuple[str, str]] = set()
    defaults: set[str] = set()
    for number, key in enumerate(config.dkim.keys):
        if (key.domain, key.selector) in names:
            rule = (
                f"duplicate key: an earlier one has the same domain and selector ({key.selector} of"
            )
            yield Conflict(("dkim", "keys", number), f"{rule} {key.domain})")
        elif key.default and key.domain in defaults:
            rule = f"must be false: an earlier key is the default of {key.domain}"
            yield Conflict(("dkim", "keys", number, "default"), rule)
        names.add((key.domain, key.selector))
        if key.default:
            defaults.add(key.domain)


def _destinations(config: Config) -> Iterator[Conflict]:
    seen: set[str] = set()
    for number, destination in enumerate(config.events.destinations if config.events else ()):
        section = ("events", "destinations", number)
        if destination.name.lower() in seen:
            yield Conflict(
                (*section, "name"), "duplicate destination name (names are case-insensitive)"
            )
        seen.add(destination.name.lower())
        for item, name in enumerate(destination.classes or ()):
            yield from _mail_class(config, (*section, "classes", item), name)


def _dashboard(config: Config) -> Iterator[Conflict]:
    web = config.web
    if web and web.admin_password_file is None and not values.is_of_this_host(web.admin_listen):
        yield Conflict(
            ("web", "admin_listen"),
            "must be a loopback address or a Unix socket unless web.admin_password_file is set",
            (("web", "admin_password_file"),),
        )


def _metrics(config: Config) -> Iterator[Conflict]:
    """Another socket of ours at the same place: only the daemon that starts first would run."""
    if config.metrics is None:
        return
    place = values.inet_place(config.listen)
    used = [("listen", f"{place[0]}:{place[1]}" if place else config.listen)]
    if config.link_keys is not None:
        web = config.web or Web()
        used += [("web.listen", web.listen), ("web.admin_listen", web.admin_listen)]
    if config.lmtp is not None:
        used.append(("lmtp.listen", config.lmtp.listen))
    for name, listen in used:
        if listen == config.metrics.listen:
            yield Conflict(("metrics", "listen"), f"must not be the same as {name}")


def _return_paths(config: Config) -> Iterator[Conflict]:
    """With the VERP tag, a local part must not be longer than 64 bytes."""
    if config.verp:
        yield from _room_for_tag(("bounce_mailbox",), config.bounce_mailbox, ("verp",))
    for name, mail_class in config.mail_classes.items():
        section = ("mail_classes", name)
        tagged = config.verp if mail_class.verp is None else mail_class.verp
        if tagged and mail_class.bounce_mailbox is not None:
            path = (*section, "bounce_mailbox")
            yield from _room_for_tag(path, mail_class.bounce_mailbox, ("verp",), (*section, "verp"))
        elif tagged and not config.verp:
            yield from _room_for_tag((*section, "verp"), config.bounce_mailbox, ("verp",))


def _room_for_tag(path: Place, mailbox: str | None, *requires: Place) -> Iterator[Conflict]:
    if mailbox is not None and len(mailbox.rpartition("@")[0]) > values.BOUNCE_LOCAL_PART:
        rule = (
            "local part too long: with verp, a bounce mailbox may have at most"
            f" {values.BOUNCE_LOCAL_PART} characters before the @, since the VERP tag takes"
            " 33 of 64"
        )
        yield Conflict(path, rule, requires)


def _postfix_log(config: Config) -> Iterator[Conflict]:
    if config.postfix is not None and config.postfix.log is not None and config.link_keys is None:
        rule = "requires link_keys: without keys no line of the log is attributed to a message"
        yield Conflict(("postfix", "log"), rule, (("link_keys",),))


def _lmtp(config: Config) -> Iterator[Conflict]:
    if config.lmtp is not None and config.link_keys is None:
        rule = "requires link_keys: without keys no returned mail is attributed to a message"
        yield Conflict(("lmtp",), rule, (("link_keys",),))


def _links(config: Config) -> Iterator[Conflict]:
    for name, mail_class in config.mail_classes.items():
        section = ("mail_classes", name)
        domain = mail_class.url_domain or config.url_domain
        tracked = [on for on in ("clicks", "opens") if getattr(mail_class.track, on)]
        if tracked and domain is None:
            yield Conflict(
                (*section, "track", tracked[0]),
                "requires url_domain, in the class or globally",
                (("url_domain",), (*section, "url_domain")),
            )
        path = (*section, "track", tracked[0]) if tracked else (*section, "list_unsubscribe")
        if config.link_keys is None and (tracked or _unsubscribes(config, mail_class)):
            on = "" if tracked or mail_class.model_fields_set & {"list_unsubscribe"} else _DEFAULT
            rule = f"{on}requires link_keys (a global option): links carry signed tokens"
            yield Conflict(path, rule, (("link_keys",), path))


def _archives(config: Config) -> Iterator[Conflict]:
    first: dict[Path, MailClass] = {}
    for name, mail_class in config.mail_classes.items():
        archive, section = mail_class.archive, ("mail_classes", name, "archive")
        if archive is None:
            continue
        if mail_class.privacy == "aggregate":
            rule = "not allowed with privacy: aggregate: a copy shows the recipient"
            yield Conflict(section, rule)
        other = first.setdefault(archive.directory, mail_class)
        if other.archive is not None and other.archive.keep != archive.keep:
            rule = f"must be the same as in class {other.name}, which has the same directory"
            yield Conflict((*section, "keep"), rule)


_DEFAULT = "list_unsubscribe is on by default and "


def _unsubscribes(config: Config, mail_class: MailClass) -> bool:
    """Whether mail of the class gets a List-Unsubscribe of ours."""
    return mail_class.list_unsubscribe and any(
        (
            mail_class.url_domain,
            config.url_domain,
            mail_class.unsubscribe_mailbox,
            config.unsubscribe_mailbox,
        )
    )
