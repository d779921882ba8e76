"""Dialects, whatever the headers contain: no exception, linear work, the control header wins."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from fletching.mail.message import Header, Message, parse
from fletching.metrics import mails as metrics
from fletching.outgoing.edits import replay
from fletching.policy.decide import decide
from fletching.policy.dialects import DIALECTS
from fletching.policy.dialects.table import Row
from fletching.policy.plan import Plan
from fletching.policy.setup import Stamp
from fletching.policy.vendor_headers import read

from tests.cases import for_every
from tests.effort import is_linear
from tests.setting import ENTROPY, NOW, SITE, carried, envelope, reason, setup

pytestmark = pytest.mark.slow

NAMES = tuple(DIALECTS)
ROWS = [row for dialect in DIALECTS.values() for row in dialect.rows]
KEYS = [key for row in ROWS for key in row.keys]
ALL = setup(SITE + f"dialects: [{', '.join(NAMES)}]\ndefault_mail_class: newsletter\n")
MAILS = 10_000

CONTROLS = {
    "MailClass": ("crm", {"mail_class": "crm"}),
    "InstanceID": ("7", {"instance_id": "7"}),
    "ListID": ("x1", {"list_id": "x1"}),
    "MtaID": ("b", {"virtual_mta": "b"}),
    "URL-Domain": ("https://x.example", {"url_domain": "https://x.example"}),
    "Click-Tracking-Do": ("yes", {"clicks": "yes", "opens": "yes"}),
    "Click-Tracking-ID": ("id", {"click_tracking_id": "id"}),
}
"""Control headers: a value, and what is decided then."""


class Mails:
    """Makes mails with vendor headers at random."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def mail(self) -> tuple[bytes, list[str]]:
        """A mail, and the names of its control headers."""
        random = self._random
        controls = random.sample(sorted(CONTROLS), random.randrange(3))
        fields = [f"X-GreenArrow-{name}: {CONTROLS[name][0]}".encode() for name in controls]
        fields += [self._field(random.choice(ROWS)) for _ in range(random.randrange(1, 8))]
        random.shuffle(fields)
        return b"\r\n".join([*fields, b"From: a@example.com", b"", b"x"]), controls

    def _field(self, row: Row) -> bytes:
        random = self._random
        name = row.header.replace("*", random.choice(["", "a", "a-b", "~"]))
        name = random.choice([name, name.upper(), name + "x"]) if random.random() < 0.1 else name
        return name.encode() + b": " + self._damaged(self._value(row).encode())

    def _value(self, row: Row) -> str:
        random = self._random
        if row.keys and random.random() < 0.8:
            return json.dumps(self._object())
        examples = [each.example for each in ROWS] + [each.example for each in KEYS]
        return row.example if random.random() < 0.6 else random.choice(examples)

    def _object(self) -> object:
        """An object with keys of any vendor, and values of the right key or of another one."""
        random = self._random
        found: dict[str, Any] = {}
        for key in random.sample(KEYS, random.randrange(5)):
            value = random.choice([key.value, random.choice(KEYS).value, None, 1e999, -1, [], {}])
            *above, name = key.path.split(".")
            inner = found
            for step in above:
                inner = inner.setdefault(step, {})
                if not isinstance(inner, dict):
                    break
            else:
                inner[name] = value
        return found

    def _damaged(self, value: bytes) -> bytes:
        """Mostly as it is, else with other bytes or a fold somewhere."""
        random = self._random
        if random.random() < 0.7:
            return value
        at = random.randrange(len(value) + 1)
        junk = random.choice(
            [b"\r\n ", b"\r\n\t", b"\xff", b"\0", b"{", b'"', b",", b"\\", b"[" * 99]
        )
        return value[:at] + junk + value[at + random.randrange(3) :]


def planned(message: Message) -> Plan:
    return decide(message, envelope(), ALL, Stamp(NOW, ENTROPY))


def test_ten_thousand_mails_follow_their_control_headers() -> None:
    mails = Mails(seed=17)
    for _ in range(MAILS):
        raw, controls = mails.mail()
        plan = planned(parse(raw))
        for name in controls:
            for setting, value in CONTROLS[name][1].items():
                expected = (value, f"X-GreenArrow-{name}")
                assert reason(plan, setting) == expected, raw


def test_edits_of_a_thousand_mails_make_the_final_mail() -> None:
    mails = Mails(seed=18)
    for _ in range(1_000):
        message = parse(mails.mail()[0])
        outcome = carried(message, opened=ALL)
        assert replay(message, outcome.edits) == outcome.final


JSON_HEADERS = ("X-SMTPAPI", "X-MSYS-API")
HOSTILE: dict[str, Callable[[int], str]] = {
    "nested arrays": lambda size: "[" * size,
    "nested objects": lambda size: '{"a":' * size,
    "nested in a value": lambda size: '{"unique_args":' + '{"a":' * size + "1" + "}" * (size + 1),
    "a long number": lambda size: '{"asm_group_id":' + "9" * size + "}",
    "many keys": lambda size: json.dumps({f"k{n}": n for n in range(size)}),
    "many filters": lambda size: json.dumps({"filters": {f"k{n}": {} for n in range(size)}}),
    "a long key": lambda size: json.dumps({"k" * size: 1}),
    "a long text": lambda size: json.dumps({"category": "k" * size}),
    "a lone surrogate": lambda _size: '{"category": "\\ud800", "ip_pool": "\\ud800"}',
}


@for_every(HOSTILE)
def test_hostile_json_raises_nothing(content: Callable[[int], str]) -> None:
    for size in (10, 990, 5_000, 200_000):
        for name in JSON_HEADERS:
            (*found,) = read(parse(f"{name}: {content(size)}\r\n\r\n".encode()), NAMES)
            texts = [text for each in found for text in (*each.warnings, *map(str, each.invalid))]
            assert all(len(text) < 200 for text in texts)


@for_every(
    {
        "tags": "X-Mailgun-Tag: a\r\n",
        "metadata": "X-PM-Metadata-a: b\r\n",
        "unknown": "X-MC-Other: b\r\n",
        "others": "X-Other: b\r\n",
        "first": "X-SMTPAPI: {}\r\n",
    }
)
def test_work_is_linear_in_the_number_of_headers(line: str) -> None:
    def work(size: int) -> Callable[[], object]:
        message = parse(line.encode() * size + b"\r\n")
        return lambda: read(message, NAMES)

    assert is_linear(work, 200)


def test_a_mail_without_vendor_headers_asks_for_nothing() -> None:
    assert read(parse(b"Subject: x\r\nX-Mailgunner: a\r\n\r\n"), NAMES) == ()
    assert read(parse(b"X-Mailgun-Track: no\r\n\r\n"), ()) == ()


def test_unknown_headers_that_warnings_name_are_few() -> None:
    lines = b"".join(b"X-MC-U%d: 1\r\n" % number for number in range(50))
    (found,) = read(parse(lines + b"\r\n"), ("mandrill",))
    assert len(found.warnings) == 11
    assert found.warnings[-1] == "X-MC-...: more than 10 unknown vendor headers"


def test_as_many_unknown_headers_as_warnings_name() -> None:
    lines = b"".join(b"X-MC-U%d: 1\r\n" % number for number in range(10))
    (found,) = read(parse(lines + b"\r\n"), ("mandrill",))
    assert found.warnings == tuple(f"X-MC-U{number}: unknown vendor header" for number in range(10))


def test_long_name_of_an_unknown_header_is_cut_off() -> None:
    message = Message((Header(b"X-MC-" + b"\xff" * 100, b" 1", 0),), b"")
    (found,) = read(message, ("mandrill",))
    assert found.warnings == ("X-MC-" + "\ufffd" * 59 + ": unknown vendor header",)


def test_labels_of_the_metrics_contain_no_name_from_a_client() -> None:
    lines = b"".join(b"X-MC-U%d: 1\r\n" % number for number in range(50))
    (found,) = read(parse(lines + b"\r\n"), ("mandrill",))
    assert {metrics._kind(each) for each in found.warnings} == {"unknown vendor header", "X-MC-..."}
