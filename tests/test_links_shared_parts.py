"""Mails of parts that once came out wrong, kept beside the checkout, as `preview` has them."""

from __future__ import annotations

import email
import re
from pathlib import Path

import pytest
from fletching.keyfiles import read_link_keys
from fletching.outgoing.message import parse
from fletching.tokens import Kind, found_in

from tests.host import NOW, Host
from tests.rewriting import read

CASES = Path(__file__).resolve().parents[2] / "shared" / "cases" / "links"
TRACKING = re.compile(rb"https://click\.example\.com/click\?[A-Za-z0-9_-]+")
OPEN = re.compile(rb"https://click\.example\.com/open\?[A-Za-z0-9_-]+")

# What the tracking URLs lead to, by the name of the mail, and whether it gets a pixel.
DESTINATIONS = {
    "inline-file": (["https://a.example/body"], False),
    "latin1-is-1252": (["https://a.example/caf\u2019e?q=%80%96#\u201c"], True),
    "label-windows-874": (["https://a.example/1"], True),
    "meta-charset": (["https://a.example/1"], True),
    "boundary-2231": (["https://a.example/text", "https://a.example/html"], True),
    "cut-in-attribute": ([], False),
    "content-md5": (["https://a.example/"], False),
}


@pytest.mark.parametrize("name", DESTINATIONS)
def test_case(name: str, tmp_path: Path) -> None:
    if not CASES.is_dir():
        pytest.skip(f"{CASES} is not beside this checkout")
    host = Host(tmp_path)
    host.edit("opens: true", "opens: true, text: true")
    keys = read_link_keys(host.folder / "link-keys")
    mail = CASES / f"{name}.eml"
    result = host.run("preview", str(mail), "--rcpt", "joe@rcpt.example", "--now", NOW)
    assert (result.exit_code, result.stderr) == (0, "")
    sent = result.stdout_bytes
    contents = b"".join(content for _, content in read(parse(sent)))
    led_to = [keys.open(found_in(url.decode())) for url in TRACKING.findall(contents)]
    destinations, pixel = DESTINATIONS[name]
    assert [token.destination for token in led_to] == destinations
    assert all(token.kind in (Kind.CLICK_HTML, Kind.CLICK_TEXT) for token in led_to)
    assert bool(OPEN.search(contents)) is pixel
    if name == "inline-file":
        assert b"c2VlIGh0dHBzOi8vbG9nLmV4YW1wbGUvIGhlcmUK" in sent
    if name == "cut-in-attribute":
        assert contents == mail.read_bytes().partition(b"\n\n")[2].replace(b"\n", b"\r\n")
    if name == "content-md5":
        assert {"Content-MD5", "Content-Length"}.isdisjoint(email.message_from_bytes(sent))
    if name == "meta-charset":
        assert "Καλημέρα".encode() in contents
