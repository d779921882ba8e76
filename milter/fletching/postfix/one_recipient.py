"""The Postfix recipe that gives each recipient a mail of his own before Fletching sees it.

Here lives text made from a configuration, as in `postfix.py`; nothing is read, written or run.
Applications go on sending one mail to many recipients. Postfix takes it without Fletching and hands
it, once per recipient, to listeners of its own on loopback, where Fletching stands.

A listener's mail is trusted, so only mail of trusted clients may be led there. It cannot learn the
login of the first session, since Postfix's SMTP client knows no XCLIENT: each login that the
configuration names has a listener that claims it by ``milter_macro_defaults``, others share one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from fletching.config.model import Config
from fletching.postfix.text import Pieces, main_cf_block, out_of_main_cf, service_lines

FIRST_PORT = 10587
MARK = "fletching one-recipient"
SPLIT = "fletching-split"
OTHER_LOGIN = "forwarded"
"""The login that the milter sees in place of those that the configuration does not name."""

LISTENER = "postfix/fletching-in"
"""The syslog_name of the listeners."""

_TABLE = "$config_directory/fletching_"


@dataclass(frozen=True, slots=True)
class _Listener:
    """One way in for split mail. ``login``: whom it claims to be, None for no login."""

    port: int
    about: str
    login: str | None = None


def one_recipient(config: Config) -> Pieces:
    """The recipe. Raises ValueError for a login that cannot be written in master.cf."""
    listeners = tuple(
        _Listener(port, about, login)
        for port, (about, login) in enumerate(_wanted_listeners(config), FIRST_PORT)
    )
    options = tuple(_options_of_services(listeners))
    on = tuple(f"postconf -P '{service}/{option}'" for service, option in options)
    off = tuple(f"postconf -PX {service}/{option.partition('=')[0]}" for service, option in options)
    return Pieces(
        main_cf=main_cf_block(MARK, _MAIN_CF),
        master_cf=_master_cf(config, listeners, on, off),
        tables=dict(_tables(config, listeners)),
        switch_on=on,
        switch_off=off,
    )


def _wanted_listeners(config: Config) -> Iterator[tuple[str, str | None]]:
    if config.trusted.networks:
        yield "Mail of the networks of `trusted`.", None
    if config.trusted.authenticated:
        yield "Mail of logins that `users` does not name.", OTHER_LOGIN
        for login in config.users:
            if not re.fullmatch(r"[^\s{}$,\"]+", login):
                raise ValueError(f"users.{login}: master.cf has no way to write this login")
            if login != OTHER_LOGIN:
                yield f"Mail of the login {login}.", login


def _options_of_services(listeners: tuple[_Listener, ...]) -> Iterator[tuple[str, str]]:
    """For services that are there already. No value may have a blank: postconf -P refuses it."""
    ports = {listener.login: listener.port for listener in listeners}
    if OTHER_LOGIN in ports:
        service = "submission/inet"
        yield service, "smtpd_milters="
        yield service, f"content_filter={_filter(ports[OTHER_LOGIN])}"
        yield service, "smtpd_client_restrictions=permit_sasl_authenticated,reject"
        yield service, f"smtpd_data_restrictions=check_sasl_access,regexp:{_TABLE}logins"
    if None in ports:
        service = "smtp/inet"
        yield service, f"smtpd_milter_maps=cidr:{_TABLE}networks_milters"
        yield service, f"smtpd_data_restrictions=check_client_access,cidr:{_TABLE}networks"


def _filter(port: int) -> str:
    return f"{SPLIT}:[127.0.0.1]:{port}"


# main.cf

_MAIN_CF = f"""\
# Fletching in main.cf, one recipient each. Made by `fletching postfix --one-recipient`.
#
# In:   append these lines to main.cf, below those of `fletching postfix`
# Out:  as the piece of master.cf says, last of all

# One recipient per mail, and no brake on the way from Postfix to itself.
{SPLIT}_destination_recipient_limit = 1
{SPLIT}_destination_rate_delay = 0s
{SPLIT}_transport_rate_delay = 0s
"""

# master.cf

_MASTER_CF = """\
# Fletching in master.cf, one recipient each. Made by `fletching postfix --one-recipient`.
#
# Mail of a trusted client is queued as it comes, without Fletching. {split} then carries it,
# one recipient at a time, to a listener below, where Fletching stands; from there it is queued
# again, and leaves. The first queue keeps a recipient until the second one has it: none is lost,
# and while Fletching is away, mail waits there. What Fletching refuses bounces to the sender.
#
# In:   append these lines to master.cf, put the tables beside it, then
{on}
#       postfix reload
#       Repeat what is said for submission/inet for every other service at which clients log in
#       (submissions/inet). Milters that are not Fletching stay there: smtpd_milters=inet:...
#       With postscreen(8), say smtpd/pass for smtp/inet.
# Out:
{off}
#       postfix reload
#       and when no mail for {split} is left in the queue (postqueue -p)
{remove}
#       postfix reload
#       (the comments stay)
#
# Trust: whatever reaches a listener is taken for mail of a trusted client. Only these are led
# there: clients that have logged in, and the networks of `trusted`. All other mail meets Fletching
# at the port it came to, as before, and loses its control headers there.
# A login that `users` does not name is seen as {other}. Rules that ask for a client's network, or
# for a login that `users` does not name, do not match mail that came this way.
{before_use}
# From the first queue to the listeners. What main.cf says about mail to other hosts must not hold
# here. No connection is kept: with default_action=tempfail one that saw Fletching restart would
# answer 451 for as long as it lives.
{transport}
# The listeners. What the first session has checked is not checked again, what it has rewritten
# (virtual aliases, canonical addresses, always_bcc) is not rewritten again, and no filter leads
# back to the start.
{listeners}"""

_LOOPBACK_IS_NOT_TRUSTED = """\
#
# BEFORE USE: put 127.0.0.1 into trusted.networks. Without it, mail of the networks loses its
# control headers at its listener.
"""

_ONLY_AT_SERVICES = """\
#
# BEFORE USE: networks count at trusted.services alone ({names}). Say what is said for smtp/inet for
# the service of that name instead: where it is said, networks are trusted.
"""

_TRANSPORT = (
    f"syslog_name=postfix/{SPLIT}",
    "smtp_send_xforward_command=yes",
    "smtp_bind_address=127.0.0.1",
    "smtp_bind_address6=",
    "inet_protocols=ipv4",
    "smtp_connection_cache_on_demand=no",
    "smtp_connection_cache_destinations=",
    "smtp_tls_security_level=none",
    "smtp_tls_policy_maps=",
    "smtp_sasl_auth_enable=no",
    "smtp_fallback_relay=",
    "smtp_discard_ehlo_keywords=",
    "smtp_generic_maps=",
    "smtp_header_checks=",
    "smtp_mime_header_checks=",
    "smtp_nested_header_checks=",
    "smtp_body_checks=",
    "disable_mime_output_conversion=yes",
)

_LISTENER = (
    f"syslog_name={LISTENER}",
    "smtpd_milters=$fletching_milter",
    "smtpd_milter_maps=",
    "content_filter=",
    "receive_override_options=no_address_mappings,no_unknown_recipient_checks,no_header_body_checks",
    "mynetworks=127.0.0.0/8",
    "smtpd_authorized_xforward_hosts=127.0.0.0/8",
    "smtpd_client_restrictions=permit_mynetworks,reject",
    "smtpd_helo_restrictions=",
    "smtpd_sender_restrictions=",
    "smtpd_reject_unlisted_sender=no",
    "smtpd_relay_restrictions=permit_mynetworks,reject",
    "smtpd_recipient_restrictions=permit_mynetworks,reject",
    "smtpd_data_restrictions=",
    "smtpd_end_of_data_restrictions=",
    "smtpd_discard_ehlo_keywords=",
    "smtpd_tls_security_level=none",
    "smtpd_sasl_auth_enable=no",
    "local_header_rewrite_clients=",
)


def _master_cf(
    config: Config, listeners: tuple[_Listener, ...], on: tuple[str, ...], off: tuple[str, ...]
) -> str:
    services = (f"{SPLIT}/unix", *(f"127.0.0.1:{listener.port}/inet" for listener in listeners))
    loopback = ip_address("127.0.0.1")
    trusts_loopback = any(loopback in network for network in config.trusted.networks)
    names = ", ".join(config.trusted.services)
    only_at_services = _ONLY_AT_SERVICES.format(names=names) if names else ""
    return _MASTER_CF.format(
        split=SPLIT,
        other=OTHER_LOGIN,
        on=_in_comment(on),
        off=_in_comment(off),
        remove=_in_comment(
            (*(f"postconf -MX {service}" for service in services), out_of_main_cf(MARK))
        ),
        before_use=("" if trusts_loopback else _LOOPBACK_IS_NOT_TRUSTED) + only_at_services,
        transport=service_lines(f"{SPLIT} unix - - n - 20 smtp", _TRANSPORT),
        listeners="\n".join(_service_of(listener, config) for listener in listeners),
    )


def _in_comment(commands: tuple[str, ...]) -> str:
    return "\n".join(f"#       {command}" for command in commands)


def _service_of(listener: _Listener, config: Config) -> str:
    options: tuple[str, ...] = _LISTENER
    if listener.login is not None:
        claim = f"milter_macro_defaults={{auth_type=forwarded}},{{auth_authen={listener.login}}}"
        options = (*_LISTENER, claim)
    elif config.trusted.services:
        options = (*_LISTENER, f"milter_macro_daemon_name={config.trusted.services[0]}")
    service = f"127.0.0.1:{listener.port} inet n - n - - smtpd"
    return f"# {listener.about}\n{service_lines(service, options)}"


# Lookup tables

_LOGINS = """\
# Fletching, one recipient each: to the listener of a login. Made by
# `fletching postfix --one-recipient`. Any other login goes where content_filter says.
"""

_NETWORKS = """\
# Fletching, one recipient each: mail of the networks of `trusted`, to their listener. Made by
# `fletching postfix --one-recipient`.
"""

_NETWORKS_MILTERS = """\
# Fletching, one recipient each: no milter for the networks of `trusted` at the port they come to.
# Made by `fletching postfix --one-recipient`. DISABLE holds for all milters: where others have to
# see this mail, name them in its place.
"""


def _tables(config: Config, listeners: tuple[_Listener, ...]) -> Iterator[tuple[str, str]]:
    ports = {listener.login: listener.port for listener in listeners}
    if OTHER_LOGIN in ports:
        # The full names first: the first line that matches wins.
        rules = [
            f"/^{_literally(login)}{realm}$/ FILTER {_filter(port)}\n"
            for realm in ("", "@[^@]*")
            for login, port in ports.items()
            if login not in (None, OTHER_LOGIN)
        ]
        yield "fletching_logins", _LOGINS + "".join(rules)
    if None in ports:
        networks = [str(network) for network in config.trusted.networks]
        action = f"FILTER {_filter(ports[None])}"
        yield "fletching_networks", _NETWORKS + "".join(f"{net} {action}\n" for net in networks)
        disabled = "".join(f"{net} DISABLE\n" for net in networks)
        yield "fletching_networks_milters", _NETWORKS_MILTERS + disabled


def _literally(text: str | None) -> str:
    """As a regular expression of POSIX between slashes."""
    return re.sub(r"([\\.\[\]()*+?^|/])", r"\\\1", text or "")
