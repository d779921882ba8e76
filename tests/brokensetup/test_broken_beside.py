"""Broken set-ups: what else Postfix's configuration has, beside Fletching. `fletching check --live`
must find each, and say the right cure."""

from __future__ import annotations

from typing import Any

import pytest
from fletching.checks.finding import Level

from tests.brokensetup.setting import Breaking, BrokenSetup, Case

pytestmark = pytest.mark.slow

ERROR, WARNING = Level.ERROR, Level.WARNING


def main_cf(**parameters: str) -> Breaking:
    return lambda broken: broken.postfix_set(**parameters)


def service(broken: BrokenSetup, option: str) -> str:
    """An option of the service to which applications submit mail."""
    return f"127.0.0.1:{broken.postfix.port}/inet/{option}"


def case(*fields: Any) -> Case:
    return Case(*fields)


CASES = (
    case(
        "a signer before Fletching",
        main_cf(smtpd_milters="{ inet:127.0.0.1:8891, default_action=accept }, $fletching_milter"),
        *(WARNING, "smtpd_milters", "break its signatures", "let it only verify"),
    ),
    case(
        "a milter after Fletching",
        main_cf(smtpd_milters="$fletching_milter, { inet:127.0.0.1:1, default_action=accept }"),
        *(WARNING, "smtpd_milters", "comes after Fletching", "put Fletching last"),
    ),
    case(
        "an old milter protocol",
        lambda broken: broken.postfix_set(
            fletching_milter=f"{{ unix:{broken.fletching.socket}, default_action=tempfail }}",
            milter_protocol="2",
        ),
        *(ERROR, "milter_protocol", "must be 6", "add protocol=6"),
    ),
    case(
        "a proxy filter before Fletching",
        lambda broken: broken.master(service(broken, "smtpd_proxy_filter=127.0.0.1:1")),
        *(ERROR, "smtpd_proxy_filter", "control headers are delivered", "set smtpd_milters="),
    ),
    case(
        *("a deferred transport", main_cf(defer_transports="vmta-a"), ERROR, "transport vmta-a"),
        *("defer_transports", "remove it from defer_transports"),
    ),
    case(
        "a copy of every mail to this host",
        main_cf(always_bcc="reader@local.example"),
        *(ERROR, "always_bcc", "adds a recipient on this host", "route_by: sender"),
    ),
    case(
        *("no mail for the bounce domain", main_cf(relay_domains=""), WARNING, "relay_domains"),
        *("bounces of other hosts are refused", "add example.com to relay_domains"),
    ),
)


@pytest.mark.parametrize("broken_by", CASES, ids=[each.name for each in CASES])
def test_mistake_beside_fletching_is_found_with_its_cure(
    broken: BrokenSetup, broken_by: Case
) -> None:
    broken_by.assert_found(broken)
