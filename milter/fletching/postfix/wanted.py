"""What `fletching postfix --install` adds to Postfix's files for a configuration.

The same settings as in `settings.py`, as data. `milter_default_action` and `milter_protocol` are
not among them: our entry in the list of milters has its own, and other milters keep theirs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from fletching.config.model import Config
from fletching.postfix import mailboxes
from fletching.postfix.edits.main_cf import ListWord
from fletching.postfix.settings import milter_entry, pieces, transport_services

HEADER_CHECKS = "milter_header_checks"
SENDERS = "fletching_senders"

_SIGNS_ONLY = re.compile(r"opendkim|dkimpy|dkim-milter|:8891\b|:8892\b")
"""Milters that do nothing but sign and verify: by the path of their socket, or its usual port."""


LISTS = (
    *("smtpd_milters", "non_smtpd_milters", HEADER_CHECKS, "transport_maps"),
    *("sender_dependent_default_transport_maps", "virtual_alias_maps"),
)
"""All lists that may get a word of ours, depending on the configuration."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """``own``: parameters of our own. ``services``: by name and type. ``tables``: by file name."""

    own: Mapping[str, str]
    lists: tuple[ListWord, ...]
    services: Mapping[str, str]
    tables: Mapping[str, str]


def wanted(config: Config, queue_directory: PurePosixPath, checks_file: str) -> Wanted:
    """``checks_file``: the name of our milter_header_checks table.

    Raises ValueError if the names of transports cannot be distinguished.
    """
    tables = dict(pieces(config, queue_directory).tables)
    own = {"fletching_milter": milter_entry(config, queue_directory)}
    place = _before_signers if not config.dkim.enabled else _last
    lists = [
        ListWord("smtpd_milters", "$fletching_milter", place),
        ListWord("non_smtpd_milters", "$fletching_milter", place),
    ]
    if config.route_by == "sender":
        own["fletching_sender_maps"] = f"regexp:$config_directory/{SENDERS}"
        lists.append(
            ListWord("sender_dependent_default_transport_maps", "$fletching_sender_maps", _first)
        )
    else:
        own["fletching_header_checks"] = f"regexp:$config_directory/{checks_file}"
        lists.append(ListWord(HEADER_CHECKS, "$fletching_header_checks", _first))
        tables[checks_file] = tables.pop(HEADER_CHECKS)
    if mailboxes.TRANSPORTS in tables:
        own["fletching_transport_maps"] = f"regexp:$config_directory/{mailboxes.TRANSPORTS}"
        own["fletching_recipient_maps"] = f"regexp:$config_directory/{mailboxes.RECIPIENTS}"
        lists += [
            ListWord("transport_maps", "$fletching_transport_maps", _first),
            ListWord("virtual_alias_maps", "$fletching_recipient_maps", _first, "virtual_maps"),
        ]
    return Wanted(own, tuple(lists), transport_services(config), tables)


def _first(_: Sequence[str]) -> int:
    return 0


def _last(found: Sequence[str]) -> int:
    return len(found)


def _before_signers(found: Sequence[str]) -> int:
    """After all that may change the mail, before those that then sign it."""
    signers = (index for index, word in enumerate(found) if _SIGNS_ONLY.search(word))
    return next(signers, len(found))
