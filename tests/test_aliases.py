"""Aliases: headers of other systems that set a control."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from fletching.config.load import load
from fletching.config.steering import Alias, Control
from fletching.mail.message import parse
from fletching.policy.aliases import read
from fletching.policy.grammar import CONTROLS
from fletching.policy.offers import CLICK_TRACKING_ID, INSTANCE_ID, Asked, SourceKind

from tests.cases import for_every
from tests.setting import SITE, envelope, mail, plan

ALIASES = {
    "X-Tracking-ID": Alias(control="click_tracking_id", remove=True),
    "X-Job": Alias(control="instance_id"),
    "X-Run": Alias(control="instance_id", remove=True),
}


def asked(*lines: bytes) -> Asked:
    return read(parse(b"".join(line + b"\r\n" for line in lines) + b"\r\n"), ALIASES)


def offered(found: Asked) -> dict[str, object]:
    return {setting.name: tuple(offer) for setting, offer in found.offers.by_setting.items()}


READ = {
    "none": ((b"Subject: x",), {}, [], set()),
    "one": ((b"X-Job: 7",), {"instance_id": ("7", "X-Job")}, [], set()),
    "another case, folded": (
        (b"x-tracking-id:\r\n  a b ",),
        {"click_tracking_id": ("a b", "X-Tracking-ID")},
        [],
        {0},
    ),
    "the first in the configuration": (
        (b"X-Run: 8", b"X-Job: 7"),
        {"instance_id": ("7", "X-Job")},
        [],
        {0},
    ),
    "the first is invalid": (
        (b"X-Run: 8", b"X-Job: seven"),
        {},
        ["X-Job: must start with a digit"],
        {0},
    ),
    "twice, the same": ((b"X-Run: 8", b"X-Run: 8"), {"instance_id": ("8", "X-Run")}, [], {0, 1}),
    "twice, different": (
        (b"X-Run: 8", b"X-Run: 9"),
        {},
        ["X-Run: must not be given twice with different values"],
        {0, 1},
    ),
}


@for_every(READ)
def test_reads(
    lines: tuple[bytes, ...], offers: dict[str, object], invalid: list[str], remove: set[int]
) -> None:
    found = asked(*lines)
    assert offered(found) == offers
    assert [str(each) for each in found.invalid] == invalid
    assert found.remove == remove
    assert found.offers.kind is SourceKind.ALIAS


def test_an_alias_can_set_every_control() -> None:
    assert set(get_args(Control)) == set(CONTROLS)


@pytest.mark.parametrize("setting", [INSTANCE_ID, CLICK_TRACKING_ID], ids=lambda each: each.name)
def test_an_invalid_value_names_its_setting(setting: object) -> None:
    found = asked(b"X-Job: x", "X-Tracking-ID: é".encode())
    assert setting in [each.setting for each in found.invalid]


def test_fields_that_every_mail_has_may_be_aliases(tmp_path: Path) -> None:
    """The names of HTTP headers are no matter here."""
    file = tmp_path / "f.yaml"
    names = ("Content-Type", "Subject", "From", "TE", "X-A/B")
    file.write_text("header_aliases:\n" + "".join(f"  {name}: instance_id\n" for name in names))
    assert tuple(load(file).header_aliases) == names


def test_alias_is_removed_from_classified_mail_only() -> None:
    aliases = SITE + "header_aliases: {X-Job: {control: instance_id, remove: true}}\n"
    unclassified = mail("Subject: hello", "X-Job: 7")
    assert plan(unclassified, envelope(), aliases).nothing
    job = mail("X-GreenArrow-MailClass: crm", "X-Job: 7")
    fields = [each for each in job.headers if each.key == b"x-job"]
    removed = plan(job, envelope(), aliases).remove
    assert {each.position for each in fields} <= removed
    stranger = envelope(client="203.0.113.9")
    assert not {each.position for each in fields} & plan(job, stranger, aliases).remove
