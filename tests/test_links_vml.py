"""Buttons that Outlook draws (VML): links like the ``<a>`` beside them, and counted with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fletching.keys.link_keys import read_link_keys
from fletching.links.urls import LinkOptions
from fletching.mail.message import parse
from fletching.returning.hits import Moment, Request, Settings, answer
from fletching.store.events import EventLog

from sandbox.redis_server import RedisServer
from tests.cli_setting import NEW
from tests.cli_setting import sent as messages_sent
from tests.host import Host
from tests.link_judges import EVERYTHING, html, sent
from tests.rewriting import read
from tests.stores import open_store

T0 = "https://t.example/click?0"
T1 = "https://t.example/click?1"
URL = "https://x.example/"
CAREFUL = replace(EVERYTHING, preserve_visible_urls=True)
SHAPES = (
    "arc", "curve", "group", "image", "line", "oval", "polyline", "rect", "roundrect", "shape",
)  # fmt: skip
NO_SHAPES = (
    "v:shapetype", "v:fill", "v:stroke", "v:shadow", "v:imagedata", "v:textbox", "v:formulas",
    "v:a", "v:rects", "w:anchorlock", "o:lock", "rect", "x:rect",
)  # fmt: skip


def tracked(page: str, options: LinkOptions = EVERYTHING) -> str:
    return sent(lambda given, mint: html(given, options, mint, None), page).text


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_are_links(shape: str) -> None:
    page = f'<!--[if mso]><v:{shape} arcsize="5%" href="{URL}"></v:{shape}><![endif]-->'
    assert tracked(page) == page.replace(URL, T0)


@pytest.mark.parametrize("tag", NO_SHAPES)
def test_other_vml_elements_are_no_links(tag: str) -> None:
    page = f'<!--[if mso]><{tag} href="{URL}"></{tag}><![endif]-->'
    assert tracked(page) == page


WRITTEN = {
    "single quotes": f"<v:rect href='{URL}'/>",
    "over lines": f'<v:rect\r\n xmlns:v="urn:x"\r\n href="{URL}"\r\n>',
    "upper case": f'<V:RECT HREF="{URL}"></V:RECT>',
    "outside a condition": f'<v:rect href="{URL}"></v:rect>',
    "condition for some versions": f'<!--[if gte mso 9]><v:rect href="{URL}"/><![endif]-->',
}
LEFT = {
    "opted out": (f'<v:rect clicktracking=off href="{URL}">', f'<v:rect href="{URL}">'),
    "other scheme": ('<v:rect href="mailto:a@b.example">',) * 2,
    "a placeholder": ('<v:rect href="{{url}}">',) * 2,
    "no href": ('<v:rect src="https://x.example/" o:href="https://x.example/">',) * 2,
    "shows its URL": (f'<v:rect href="{URL}"><center>{URL}</center></v:rect>',) * 2,
    "in a comment without condition": (f'<!-- <v:rect href="{URL}"> -->',) * 2,
}


def test_visible_text_of_a_shape() -> None:
    page = f'<v:rect href="{URL}"/>{URL}<v:oval href="{URL}">Buy</v:oval>{URL}'
    assert tracked(page, CAREFUL) == page.replace(f'"{URL}"', f'"{T0}"')


def test_shape_around_a_link() -> None:
    page = f'<v:rect href="{URL}a"><a href="{URL}b">b</a></v:rect>'
    assert tracked(page, CAREFUL) == page.replace(f"{URL}a", T0).replace(f"{URL}b", T1)


@pytest.mark.parametrize("page", WRITTEN.values(), ids=WRITTEN)
def test_case_and_quotes_of_shapes_do_not_matter(page: str) -> None:
    assert tracked(page) == page.replace(URL, T0)


@pytest.mark.parametrize(("page", "expected"), LEFT.values(), ids=LEFT)
def test_shapes_that_are_not_rewritten(page: str, expected: str) -> None:
    assert tracked(page, CAREFUL) == expected


BUTTON = """\
X-GreenArrow-MailClass: newsletter
X-GreenArrow-InstanceID: 20260301
From: a@example.com
To: b@example.org
Content-Type: text/html; charset=utf-8

<!--[if mso]>
<v:roundrect xmlns:v="urn:schemas-microsoft-com:vml" href="https://x.example/?a=1&amp;b=2">
<center>Buy</center></v:roundrect>
<![endif]-->
<!--[if !mso]><!--><a href="https://x.example/?a=1&amp;b=2">Buy</a><!--<![endif]-->
"""


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def test_shape_and_fallback_count_as_one_link(redis: RedisServer, tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.edit("redis://127.0.0.1:1/0", redis.url)
    host.mail.write_text(BUTTON)
    ((_, page),) = read(parse(host.run("preview", str(host.mail)).stdout_bytes))
    links = re.findall(r'href="https://click\.example\.com(/click\?[\w-]+)"', page.decode())
    assert len(links) == 2
    keys = read_link_keys(tmp_path / "link-keys")
    settings = Settings(keys, "mx1")
    clicks = []
    for link in links:
        facts = keys.open(link.partition("?")[2]).facts
        moment = Moment((facts.sent + 3600) * 1000, bytes(10))
        event = answer(Request("GET", link), moment, settings).event
        assert event is not None
        # The preview's campaign is none of the store's.
        clicks.append(replace(event, facts=replace(facts, campaign=NEW, number=1)))
    messages_sent(redis, tmp_path, 1)
    EventLog(open_store(redis.url)).append(clicks)
    counted = host.json("stats", NEW, "--by", "link")
    assert counted["rows"] == [
        {"link": "https://x.example/?a=1&b=2", "clicks": 2, "unique_clicks": 1, "bot_clicks": 0}
    ]
