"""All of `fletching check`: options, key files, Redis, state directory, and the other checks."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence

from dns.resolver import Resolver

from fletching.checks.addresses import PARAMETERS as OF_ADDRESSES
from fletching.checks.addresses import check_addresses
from fletching.checks.archive import check_archives
from fletching.checks.dns import check_dns
from fletching.checks.finding import Finding, Level, error, ok, warning
from fletching.checks.lmtp import PARAMETERS as OF_LMTP
from fletching.checks.lmtp import check_lmtp, check_mailboxes
from fletching.checks.main_cf import check_main_cf
from fletching.checks.metrics import check_metrics
from fletching.checks.monitor import check_seed_passwords
from fletching.checks.options import check_options
from fletching.checks.postfix import PARAMETERS as OF_POSTFIX
from fletching.checks.postfix import check_postfix
from fletching.checks.postfix_log import PARAMETERS as OF_LOG
from fletching.checks.postfix_log import check_log
from fletching.checks.rules import check_rules
from fletching.checks.seeds import check_seeds
from fletching.checks.socket import check_listen, check_running, check_socket
from fletching.checks.store import check_store
from fletching.config import wording
from fletching.config.consistency import doubts
from fletching.config.model import Config, VirtualMta
from fletching.keys.dkim_rotation import State, live_keys
from fletching.keys.link_keys import read_link_keys
from fletching.keys.secret_file import KeyFileError
from fletching.mail.dkim import SigningKey
from fletching.postfix import postconf
from fletching.postfix.settings import pieces
from fletching.startup import stamp, zone
from fletching.store.connection import Store, StoreUnavailable

__all__ = ["Finding", "Level", "check"]

_TRIAL = 64 * 1024
_ROOM = 64 * 2**20
"""Bytes: about 200,000 events, some minutes of a large campaign without Redis."""
_FILES = 100

_USES: dict[State, str] = {
    "signing": "can sign",
    "waiting": "waits for its DNS record and `fletching dkim rotate`",
    "kept": "is replaced, and can be retired with `fletching dkim retire`",
}
"""What a DKIM key is there for."""


def check(
    config: Config,
    *,
    dns: bool = False,
    postfix: bool = False,
    resolver: Resolver | None = None,
    postconf_command: Sequence[str] = ("postconf",),
) -> list[Finding]:
    """All findings about a valid configuration.

    ``resolver``: used with ``dns``; default: the system's name servers.
    ``postconf_command``: Postfix's postconf(1), perhaps with -c DIRECTORY.
    """
    findings = [
        *_options(config),
        *check_options(config, stamp(zone(config)).time.date()),
        *check_listen(config),
    ]
    findings += _link_keys(config)
    keys: list[tuple[SigningKey, State]] = []
    for found in _dkim_keys(config):
        if isinstance(found, Finding):
            findings.append(found)
        else:
            keys.append(found)
            key, state = found
            findings.append(ok(f"dkim.keys {key.selector} of {key.domain}", _USES[state]))
    findings += [*_redis(config), _state_dir(config), *check_archives(config)]
    findings += [*check_seeds(config), *check_seed_passwords(config)]
    findings += [*check_rules(config), *check_metrics(config)]
    if dns:
        findings += check_dns(config, keys, resolver or Resolver())
    if postfix:
        findings += _postfix(config, postconf_command)
    else:
        findings += [*check_running(config), *check_mailboxes(config), *check_log(config)]
    return findings


def _postfix(config: Config, command: Sequence[str]) -> Iterator[Finding]:
    """Postfix's configuration, and what this host needs for it to work."""
    wanted = ("config_directory", "mail_owner", *OF_POSTFIX, *OF_ADDRESSES, *OF_LMTP, *OF_LOG)
    try:
        installed = postconf.read(command, dict.fromkeys(wanted))
    except postconf.PostfixError as trouble:
        yield error("postfix", str(trouble))
        return
    yield from check_postfix(config, installed, command)
    yield from check_socket(config, installed)
    yield from check_addresses(config, installed)
    yield from check_main_cf(config, installed)
    yield from check_lmtp(config, installed, command)
    yield from check_log(config, installed)


def _options(config: Config) -> Iterator[Finding]:
    """Options that are valid, but may not do what was intended."""
    for doubt in doubts(config):
        yield warning(wording.shown(doubt.path), doubt.rule)
    if config.dkim.enabled and not config.dkim.keys:
        yield warning("dkim.keys", "no key: mail is not signed")
    yield from _shared_transports(config)
    try:
        pieces(config)
    except ValueError as wrong:
        yield error("route_by", str(wrong))


def _shared_transports(config: Config) -> Iterator[Finding]:
    first: dict[str, VirtualMta] = {}
    for mta in config.virtual_mtas.values():
        if mta.transport is None:
            continue
        other = first.setdefault(mta.transport, mta)
        options = ("address", "helo", "fallback_relay")
        differ = [each for each in options if getattr(mta, each) != getattr(other, each)]
        if differ:
            yield warning(
                f"virtual_mtas.{mta.name}",
                f"uses the transport of {other.name}, so for {' and '.join(differ)} the value of"
                f" {other.name} applies",
            )


def _link_keys(config: Config) -> Iterator[Finding]:
    if config.link_keys is None:
        return
    try:
        keyring = read_link_keys(config.link_keys)
    except KeyFileError as wrong:
        yield error("link_keys", str(wrong))
    else:
        yield ok(
            "link_keys",
            f"key {keyring.keys[-1].id} is used for new tokens, {len(keyring.keys)} can decrypt",
        )


def _dkim_keys(config: Config) -> Iterator[tuple[SigningKey, State] | Finding]:
    for entry in config.dkim.keys:
        try:
            yield from [(key, row.state) for row, key in live_keys(entry)]
        except KeyFileError as wrong:
            yield error(f"dkim.keys {entry.selector} of {entry.domain}", str(wrong))


def _redis(config: Config) -> Iterator[Finding]:
    store = Store(config.redis, config.state_dir)
    try:
        store.ping()
    except StoreUnavailable as away:
        yield _redis_away(config, away)
    else:
        yield ok("redis", "answers")
        yield from check_store(config, store)


def _redis_away(config: Config, away: StoreUnavailable) -> Finding:
    if config.redis != "embedded":
        return error("redis", f"does not answer: {away}", _redis_cure(str(away)))
    if shutil.which("redis-server") is None:
        return error("redis", "embedded requires redis-server: apt-get install redis-server")
    return ok("redis", "the embedded server starts together with Fletching")


def _redis_cure(why: str) -> str:
    if "uthenticat" in why or "WRONGPASS" in why or "NOPERM" in why:
        return (
            "put user and password into the URL of redis, as in redis://:PASSWORD@127.0.0.1:6379/0"
        )
    return "start Redis (systemctl start redis-server), or correct the URL of redis"


def _state_dir(config: Config) -> Finding:
    folder = config.state_dir
    try:
        with tempfile.TemporaryFile(dir=folder) as trial:
            # Buffered: one system call may write only a part, and the next one fails.
            trial.write(bytes(_TRIAL))
            trial.flush()
            os.fsync(trial.fileno())
        free = os.statvfs(folder)
    except OSError as wrong:
        return error(
            "state_dir",
            f"{folder}: not writable: {wrong.strerror}",
            "create it, and give it to the service's user: install -d -o fletching -g fletching -m"
            f" 750 {folder}",
        )
    room = free.f_bavail * free.f_frsize
    # A file system without inode counts reports 0.
    if room < _ROOM or (free.f_files and free.f_favail < _FILES):
        return warning(
            "state_dir",
            f"{folder}: only {room // 2**20} MiB and {free.f_favail} inodes are free: events"
            f" are kept there during a Redis outage; free at least {_ROOM // 2**20} MiB",
        )
    return ok("state_dir", f"{folder} is writable")
