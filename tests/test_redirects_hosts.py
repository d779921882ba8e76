"""International hosts of destinations: the Location header has them as a browser's URL does."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from fletching.returning.redirects import location
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import for_every

INTERNATIONAL = {
    "umlaut": ("https://b\u00fccher.example/", "https://xn--bcher-kva.example/"),
    "upper case": ("https://B\u00dcCHER.example/A", "https://xn--bcher-kva.example/A"),
    "upper case beside it": ("https://\u00fc.Example/", "https://xn--tda.example/"),
    "decomposed": ("https://bu\u0308cher.example/", "https://xn--bcher-kva.example/"),
    "sharp s": ("https://stra\u00dfe.example/", "https://xn--strae-oqa.example/"),
    "final sigma": (
        "https://\u03b2\u03cc\u03bb\u03bf\u03c2.example/",
        "https://xn--nxasmm1c.example/",
    ),
    "capital sigma": (
        "https://\u0392\u038c\u039b\u039f\u03a3.example/",
        "https://xn--nxasmq6b.example/",
    ),
    "Chinese": ("https://\u4f8b\u5b50.\u6d4b\u8bd5/", "https://xn--fsqu00a.xn--0zwm56d/"),
    "ideographic dot": (
        "https://\u4f8b\u3048\u3002\u30c6\u30b9\u30c8/",
        "https://xn--r8jz45g.xn--zckzah/",
    ),
    "fullwidth dot": ("https://\u00fc\uff0eexample/", "https://xn--tda.example/"),
    "halfwidth dot": ("https://\u00fc\uff61example/", "https://xn--tda.example/"),
    "fullwidth letters": ("https://\uff45xample.com/", "https://example.com/"),
    "soft hyphen": ("https://ex\u00adample.com/", "https://example.com/"),
    "zero width space": ("https://\u00fc\u200b.example/", "https://xn--tda.example/"),
    "no breaking joiner": ("https://\u00fc\u2060.example/", "https://xn--tda.example/"),
    "Arabic": ("https://\u0645\u062b\u0627\u0644.example/", "https://xn--mgbh0fb.example/"),
    "Persian joiner": (
        "https://\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.example/",
        "https://xn--mgba3gch31f060k.example/",
    ),
    "Hindi": (
        "https://\u0909\u0926\u093e\u0939\u0930\u0923.example/",
        "https://xn--p1b6ci4b4b3a.example/",
    ),
    "symbol": ("https://\u2603.example/", "https://xn--n3h.example/"),
    "emoji": ("https://\U0001f4a9.example/", "https://xn--ls8h.example/"),
    "beside an A-label": ("https://xn--tda.\u00fc.example/", "https://xn--tda.xn--tda.example/"),
    "percent-encoded": ("https://b%C3%BCcher.example/", "https://xn--bcher-kva.example/"),
    "port": ("https://\u00fc.example:8443/", "https://xn--tda.example:8443/"),
    "user": ("https://joe:pw@\u00fc.example/", "https://joe:pw@xn--tda.example/"),
    "international user": ("https://\u00fc@\u00fc.example/", "https://%C3%BC@xn--tda.example/"),
    "path, query, fragment": (
        "https://\u00fc.example/\u00fc?\u00fc#\u00fc",
        "https://xn--tda.example/%C3%BC?%C3%BC#%C3%BC",
    ),
    "host in the path": (
        "https://example.com/https://\u00fc.example",
        "https://example.com/https://%C3%BC.example",
    ),
    "host in the query of an address": (
        "https://[::1]/?https://\u00fc.example",
        "https://[::1]/?https://%C3%BC.example",
    ),
    "at sign in the query": (
        "https://example.com/?@\u00fc.example",
        "https://example.com/?@%C3%BC.example",
    ),
}

# No browser accepts these hosts: they are kept, percent-encoded.
IMPOSSIBLE = {
    "slash in a character": ("https://a\u2100b.example/", "https://a%E2%84%80b.example/"),
    "fullwidth slash": ("https://a\uff0f\u00fc.example/", "https://a%EF%BC%8F%C3%BC.example/"),
    "fullwidth at sign": ("https://a\uff20\u00fc.example/", "https://a%EF%BC%A0%C3%BC.example/"),
    "encoded slash": ("https://a%2F%C3%BC.example/", "https://a%2F%C3%BC.example/"),
    "blank": ("https://\u00fc b.example/", "https://%C3%BC%20b.example/"),
    "ideographic blank": ("https://\u00fc\u3000b.example/", "https://%C3%BC%E3%80%80b.example/"),
    "line separator": ("https://\u00fc\u2028.example/", "https://%C3%BC%E2%80%A8.example/"),
    "control character": ("https://\u00fc\x85.example/", "https://%C3%BC%C2%85.example/"),
    "direction mark": ("https://\u00fc\u202e.example/", "https://%C3%BC%E2%80%AE.example/"),
    "private use": ("https://\ue000.example/", "https://%EE%80%80.example/"),
    "broken UTF-8": ("https://\u00fc%FF.example/", "https://%C3%BC%FF.example/"),
}

TABLE = INTERNATIONAL | IMPOSSIBLE


@for_every(TABLE)
def test_location_has_a_labels(destination: str, expected: str) -> None:
    assert location(destination) == expected


def test_bytes_that_are_not_utf_8_are_kept() -> None:
    assert location("https://\u00fc\udcff.example/") == "https://%C3%BC%FF.example/"


def test_host_longer_than_a_name_stays() -> None:
    assert location(f"https://{chr(0xFC) * 254}/") == f"https://{'%C3%BC' * 254}/"


def test_the_table_agrees_with_node() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("npm's node is not here")
    script = (
        "const urls = JSON.parse(require('fs').readFileSync(0));"
        "const href = url => { try { return new URL(url).href } catch { return null } };"
        "console.log(JSON.stringify(urls.map(href)))"
    )
    urls = [destination for destination, _ in TABLE.values()]
    ran = subprocess.run(
        [node, "-e", script], input=json.dumps(urls), capture_output=True, text=True, check=True
    )
    expected = [to for _, to in INTERNATIONAL.values()] + [None] * len(IMPOSSIBLE)
    assert dict(zip(TABLE, json.loads(ran.stdout), strict=True)) == dict(
        zip(TABLE, expected, strict=True)
    )


# A token can hold surrogate escapes and no other surrogates.
ANY = st.characters(exclude_categories=["Cs"]) | st.characters(
    min_codepoint=0xDC80, max_codepoint=0xDCFF, categories=["Cs"]
)


@given(st.text(ANY, min_size=1))
def test_any_host_stays_one_host_of_ascii(host: str) -> None:
    to = location(f"https://x{host.translate(str.maketrans('', '', '/?#@:[' + chr(92)))}/path")
    assert to is not None
    assert to.isascii()
    assert to.partition("https://")[2].count("/") == 1
    assert to.endswith("/path")
    assert not set(to) & {"@", "?", "#", " ", "\n"}
