"""Mails that once came out wrong, kept beside the checkout: what `preview` makes of them."""

from __future__ import annotations

import email
import re
from pathlib import Path

import pytest
from fletching.keys.link_keys import read_link_keys
from fletching.mail.message import parse
from fletching.tokens import Keyring, Kind, found_in

from tests.host import NOW, Host
from tests.rewriting import read

CASES = Path(__file__).resolve().parents[2] / "shared" / "cases" / "links"
TRACKING = re.compile(r"https://click\.example\.com/[a-z]+\?[A-Za-z0-9_-]+")
CLICK = re.compile(rb"https://click\.example\.com/click\?[A-Za-z0-9_-]+")
OPEN = re.compile(rb"https://click\.example\.com/open\?[A-Za-z0-9_-]+")
CONFIRM = f"https://a.example/confirm/{'0123456789abcdef' * 2}0123456789?user=joe&list=7"

# What the tracking URLs lead to, by the name of the mail: one text each.
OF_TEXTS = {
    "nested-in-other-link": ["https://a.example/4?next=https://b.example/5"],
    "cjk": [f"https://a.example/{number}" for number in (1, 2, 3)],
    "dash": ["https://a.example/1", "https://a.example/2"],
    "emphasis": [f"https://a.example/{path}" for path in ("pull/1", "2", "data-*", "?x=*")],
    "flowed-delsp": [CONFIRM],
}


# What the tracking URLs lead to, by the name of the mail, and whether it gets a pixel.
OF_PARTS = {
    "inline-file": (["https://a.example/body"], False),
    "latin1-is-1252": (["https://a.example/caf\u2019e?q=%80%96#\u201c"], True),
    "label-windows-874": (["https://a.example/1"], True),
    "meta-charset": (["https://a.example/1"], True),
    "boundary-2231": (["https://a.example/text", "https://a.example/html"], True),
    "cut-in-attribute": ([], False),
    "content-md5": (["https://a.example/"], False),
}


def previewed(name: str, tmp_path: Path) -> tuple[bytes, bytes, Keyring]:
    """A mail, what becomes of it, and the keys of its links."""
    if not CASES.is_dir():
        pytest.skip(f"{CASES} is not beside this checkout")
    host = Host(tmp_path)
    host.edit("opens: true", "opens: true, text: true")
    mail = CASES / f"{name}.eml"
    result = host.run("preview", str(mail), "--rcpt", "joe@rcpt.example", "--now", NOW)
    assert (result.exit_code, result.stderr) == (0, "")
    return mail.read_bytes(), result.stdout_bytes, read_link_keys(host.folder / "link-keys")


def content(raw: bytes) -> str:
    """The content of a mail that is one text, with the lines joined that are one."""
    ((kind, text),) = read(parse(raw))
    assert kind == "text/plain"
    joined = re.sub(rb" \r?\n", b"", text) if b"delsp=yes" in raw else text
    return joined.decode().replace("\r\n", "\n")


@pytest.mark.parametrize(("name", "destinations"), OF_TEXTS.items(), ids=OF_TEXTS)
def test_destinations_of_plain_text_mails(
    name: str, destinations: list[str], tmp_path: Path
) -> None:
    mail, sent, keys = previewed(name, tmp_path)
    led_to: list[str] = []

    def led_back(url: re.Match[str]) -> str:
        led_to.append(keys.open(found_in(url[0])).destination)
        return led_to[-1]

    assert TRACKING.sub(led_back, content(sent)) == content(mail)
    assert led_to == destinations


@pytest.mark.parametrize("name", OF_PARTS)
def test_destinations_and_pixel_of_mails_with_parts(name: str, tmp_path: Path) -> None:
    mail, sent, keys = previewed(name, tmp_path)
    contents = b"".join(content for _, content in read(parse(sent)))
    led_to = [keys.open(found_in(url.decode())) for url in CLICK.findall(contents)]
    destinations, pixel = OF_PARTS[name]
    assert [token.destination for token in led_to] == destinations
    assert all(token.kind in (Kind.CLICK_HTML, Kind.CLICK_TEXT) for token in led_to)
    assert bool(OPEN.search(contents)) is pixel
    if name == "inline-file":
        assert b"c2VlIGh0dHBzOi8vbG9nLmV4YW1wbGUvIGhlcmUK" in sent
    if name == "cut-in-attribute":
        assert contents == mail.partition(b"\n\n")[2].replace(b"\n", b"\r\n")
    if name == "content-md5":
        assert {"Content-MD5", "Content-Length"}.isdisjoint(email.message_from_bytes(sent))
    if name == "meta-charset":
        assert "Καλημέρα".encode() in contents
