"""Text mails that once came out wrong, kept beside the checkout: what `preview` makes of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fletching.keyfiles import read_link_keys
from fletching.outgoing.message import parse
from fletching.tokens import found_in

from tests.host import NOW, Host
from tests.rewriting import read

CASES = Path(__file__).resolve().parents[2] / "shared" / "cases" / "links"
TRACKING = re.compile(r"https://click\.example\.com/[a-z]+\?[A-Za-z0-9_-]+")
CONFIRM = f"https://a.example/confirm/{'0123456789abcdef' * 2}0123456789?user=joe&list=7"

# What the tracking URLs lead to, by the name of the mail.
DESTINATIONS = {
    "nested-in-other-link": ["https://a.example/4?next=https://b.example/5"],
    "cjk": [f"https://a.example/{number}" for number in (1, 2, 3)],
    "dash": ["https://a.example/1", "https://a.example/2"],
    "emphasis": [f"https://a.example/{path}" for path in ("pull/1", "2", "data-*", "?x=*")],
    "flowed-delsp": [CONFIRM],
}


def content(raw: bytes) -> str:
    """The content of a mail that is one text, with the lines joined that are one."""
    ((kind, text),) = read(parse(raw))
    assert kind == "text/plain"
    joined = re.sub(rb" \r?\n", b"", text) if b"delsp=yes" in raw else text
    return joined.decode().replace("\r\n", "\n")


@pytest.mark.parametrize(("name", "destinations"), DESTINATIONS.items(), ids=DESTINATIONS)
def test_text_case(name: str, destinations: list[str], tmp_path: Path) -> None:
    if not CASES.is_dir():
        pytest.skip(f"{CASES} is not beside this checkout")
    host = Host(tmp_path)
    host.edit("opens: true", "opens: true, text: true")
    keys = read_link_keys(host.folder / "link-keys")
    mail = CASES / f"{name}.eml"
    result = host.run("preview", str(mail), "--rcpt", "joe@rcpt.example", "--now", NOW)
    assert (result.exit_code, result.stderr) == (0, "")
    led_to: list[str] = []

    def led_back(url: re.Match[str]) -> str:
        led_to.append(keys.open(found_in(url[0])).destination)
        return led_to[-1]

    assert TRACKING.sub(led_back, content(result.stdout_bytes)) == content(mail.read_bytes())
    assert led_to == destinations
