"""What an admin adds to Postfix for a configuration: main.cf, master.cf and a lookup table.

Here lives text made from a configuration, for Postfix 3.7 and later; nothing is read, written or
run. The recipe for mail to several recipients is in `one_recipient.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from ipaddress import IPv4Address
from pathlib import PurePosixPath

from fletching.config import values
from fletching.config.model import Config, VirtualMta
from fletching.policy.control import ROUTE_HEADER
from fletching.policy.return_path import sender_suffix
from fletching.postfix.one_recipient import one_recipient as recipe
from fletching.postfix.text import Pieces, main_cf_block, out_of_main_cf, service_lines

QUEUE_DIRECTORY = PurePosixPath("/var/spool/postfix")
MARK = "fletching"
CONNECT_TIMEOUT, COMMAND_TIMEOUT, CONTENT_TIMEOUT = "10s", "30s", "120s"

# In every master.cf: a VirtualMTA may use them, but a second definition would be a mistake.
POSTFIX_OWN = frozenset({"smtp", "relay", "lmtp", "local", "virtual", "error", "retry", "discard"})


def pieces(config: Config) -> Pieces:
    """Everything that Postfix needs to work with this configuration.

    Raises ValueError where the transports have no names that can be told apart.
    """
    by_sender = config.route_by == "sender"
    return Pieces(
        main_cf=_main_cf(config),
        master_cf=_master_cf(config),
        tables={"fletching_senders": _senders(config)}
        if by_sender
        else {"milter_header_checks": _milter_header_checks(config)},
    )


def printed(config: Config, *, one_recipient: bool = False) -> str:
    """What `fletching postfix` prints. Raises ValueError as these two do."""
    return str(recipe(config) if one_recipient else pieces(config))


def endpoint(listen: str) -> str:
    """Our ``listen`` in Postfix's words.

    Below the queue directory the path is relative: that is right inside the chroot and outside.
    """
    place = values.inet_place(listen)
    if place is not None:
        host, port = place
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return f"inet:[{host}]:{port}" if ":" in host else f"inet:{host}:{port}"
    path = PurePosixPath(listen.removeprefix("unix:"))
    if path.is_relative_to(QUEUE_DIRECTORY):
        path = path.relative_to(QUEUE_DIRECTORY)
    return f"unix:{path}"


def milter_entry(config: Config) -> str:
    """Our entry of ``smtpd_milters``, with settings that hold for no other milter of the site."""
    return (
        f"{{ {endpoint(config.listen)}, default_action=tempfail, connect_timeout={CONNECT_TIMEOUT},"
        f" command_timeout={COMMAND_TIMEOUT}, content_timeout={CONTENT_TIMEOUT} }}"
    )


# main.cf

_MAIN_CF = """\
# Fletching in main.cf. Made by `fletching postfix`.
#
# In:   append these lines to main.cf, then: postfix reload
#       Does your main.cf name milters already? Then keep its lists and add $fletching_milter to
#       them. One order is right: what scans or changes mail, then Fletching, then nothing.
# Out:  {out}
#       postfix reload

# Where Fletching listens, and what Postfix does while it is away: 451, and the application tries
# again. Never write accept here: mail would leave with its control headers, or half edited. From
# Postfix 3.11 on, default_action=shutdown is better still: it also ends the SMTP session, where
# with tempfail a client that keeps its connection open gets 451 until it connects anew.
{chroot}fletching_milter = {entry}

# Mail that comes by SMTP, and mail from sendmail(1).
smtpd_milters = $fletching_milter
non_smtpd_milters = $fletching_milter

# The same for milters that have no default_action of their own: the default up to Postfix 3.10.
milter_default_action = tempfail
milter_protocol = 6

{route}"""

_CHROOT = {
    "jail": """\
# The path is meant from the queue directory, so it is right whether smtpd(8) and cleanup(8) are
# chrooted (Debian) or not. The folder has to be there: see deploy/systemd/fletching.tmpfiles.
""",
    "path": """\
# Debian runs smtpd(8) and cleanup(8) chrooted: they would look for this path below
# /var/spool/postfix and not find it. There, let Fletching listen in the queue directory:
# listen: unix:/var/spool/postfix/fletching/milter.sock
""",
    "inet": """\
# Whoever can connect to this port is believed: he can have mail signed. Let no other host, and on
# a host with users who log in no port at all, lead there: a Unix socket is better.
""",
}

_ROUTE_BY_HEADER = """\
# How Fletching tells Postfix the transport of a VirtualMTA; the table has more.
milter_header_checks = regexp:$config_directory/milter_header_checks
"""

_ROUTE_BY_SENDER = """\
# How Fletching tells Postfix the transport of a VirtualMTA; the table has more.
sender_dependent_default_transport_maps = regexp:$config_directory/fletching_senders
"""


def _main_cf(config: Config) -> str:
    entry = milter_entry(config)
    if values.inet_place(config.listen):
        chroot = _CHROOT["inet"]
    else:
        chroot = _CHROOT["path" if endpoint(config.listen).startswith("unix:/") else "jail"]
    text = _MAIN_CF.format(
        out=out_of_main_cf(MARK),
        entry=entry,
        chroot=chroot,
        route=_ROUTE_BY_SENDER if config.route_by == "sender" else _ROUTE_BY_HEADER,
    )
    return main_cf_block(MARK, text)


# master.cf

_MASTER_CF = """\
# Fletching in master.cf: one delivery agent per VirtualMTA. Made by `fletching postfix`.
#
# In:   append these lines to master.cf, then: postfix reload
# Out:  first let the queue run empty of mail for these transports, or send it another way by
#       `postsuper -r QUEUE_ID`: mail whose transport is gone stays in the queue. Then
{out}
#       postfix reload
#       (the comments stay)
#
# smtp_bind_address_enforce (Postfix 3.7): without it, mail leaves from any address of the host when
# the wanted one cannot be had. inet_protocols: an IPv4 address is no source for IPv6.
# Limits go by the transport's name, in main.cf: {first}_destination_concurrency_limit = 5

"""


_TRUSTED_SERVICES = """\
# trusted.services: networks count at these services alone, which Postfix has to name to Fletching.
# SERVICE is the first column of your master.cf, as in submission/inet.
#
# In:
{on}
#       postfix reload
# Out:
#       postconf -PX SERVICE/inet/milter_macro_daemon_name

"""


def _master_cf(config: Config) -> str:
    return _named_services(config) + _transports(config)


def _named_services(config: Config) -> str:
    on = (
        f"#       postconf -P 'SERVICE/inet/milter_macro_daemon_name={name}'"
        for name in config.trusted.services
    )
    return _TRUSTED_SERVICES.format(on="\n".join(on)) if config.trusted.services else ""


def _transports(config: Config) -> str:
    services = {
        mta.transport: _service(mta)
        for mta in config.virtual_mtas.values()
        if mta.transport is not None and mta.transport not in POSTFIX_OWN
    }
    if not services:
        return "# Fletching needs nothing in master.cf: no VirtualMTA has a transport of its own.\n"
    names = sorted(services)
    out = "\n".join(f"#       postconf -MX {name}/unix" for name in names)
    head = _MASTER_CF.format(out=out, first=names[0])
    return head + "\n".join(services[name] for name in names)


def _service(mta: VirtualMta) -> str:
    options = [f"syslog_name=postfix/{mta.transport}"]
    if mta.helo is not None:
        options.append(f"smtp_helo_name={mta.helo}")
    if mta.address is not None:
        old = isinstance(mta.address, IPv4Address)
        options += [
            f"smtp_bind_address{'' if old else '6'}={mta.address}",
            "smtp_bind_address_enforce=yes",
            f"inet_protocols={'ipv4' if old else 'ipv6'}",
        ]
    return service_lines(f"{mta.transport} unix - - n - - smtp", options)


# Lookup tables

_MILTER_HEADER_CHECKS = """\
# Fletching's milter_header_checks. Made by `fletching postfix`.
#
# In:   put this file into Postfix's configuration directory (the parameter is in main.cf), then:
#       postfix reload. If milter_header_checks names a table already, put the rules there.
# Out:  take the parameter out of main.cf, remove this file, postfix reload.
#
# For each mail with a VirtualMTA, Fletching adds the header field below and deletes it at once.
# Postfix reads only fields that a milter adds with this table: a client that sends the field
# achieves nothing, and the field leaves with no mail. There is one rule per transport, so no other
# one can be chosen. `FILTER transport:` keeps each recipient's domain as the destination.
#
# regexp:, not pcre: Postfix has it built in (pcre: is the package postfix-pcre on Debian), and
# like every table it is opened before cleanup(8) goes into its chroot: no copy is needed there.

if /^{header}: /
{rules}endif
"""


def _milter_header_checks(config: Config) -> str:
    header = ROUTE_HEADER.decode("ascii")
    rules = [
        f"/^{header}: {transport}$/ FILTER {transport}:\n"
        for transport in sorted(config.transports)
    ]
    return _MILTER_HEADER_CHECKS.format(header=header, rules="".join(rules))


_SENDERS = """\
# Fletching's sender_dependent_default_transport_maps. Made by `fletching postfix`.
#
# In:   put this file into Postfix's configuration directory (the parameter is in main.cf), then:
#       postfix reload
# Out:  take the parameter out of main.cf, remove this file, postfix reload.
#
# The return path that Fletching writes ends in four characters that stand for the transport:
# mailbox, recipient_delimiter, tag, -, suffix. Postfix asks at every delivery attempt, and only for
# recipients that it would send out anyway: local and virtual ones, relay_domains and transport_maps
# stay as they are. Mail without such a return path goes as if there were no VirtualMTA: with the
# null sender, with `verp: false`, and without a bounce mailbox.

{rules}"""


def _senders(config: Config) -> str:
    delimiter = f"[{config.recipient_delimiter}]"
    rules = [
        f"/^[^@]+{delimiter}[a-z2-7]{{20,}}-{suffix}@[^@]+$/ {transport}:\n"
        for transport, suffix in _suffixes(config.transports).items()
    ]
    return _SENDERS.format(rules="".join(rules))


def _suffixes(transports: Iterable[str]) -> dict[str, str]:
    owners: defaultdict[str, list[str]] = defaultdict(list)
    for transport in sorted(transports):
        owners[sender_suffix(transport)].append(transport)
    for names in owners.values():
        if len(names) > 1:
            raise ValueError(
                f"virtual_mtas: transports {' and '.join(names)}: with route_by: sender they cannot"
                " be told apart; rename one of them"
            )
    return {names[0]: suffix for suffix, names in owners.items()}
