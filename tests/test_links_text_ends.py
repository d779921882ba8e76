"""Where a URL in running text ends: scripts, signs, pairs and schemes, kind by kind.

In each text, what stands between ⟦ and ⟧ is tracked, and nothing else; the marks are not in the
text. What has no marks is left alone.
"""

# ruff: noqa: RUF001 - the tables hold signs that look like ASCII, on purpose

from __future__ import annotations

import re
import unicodedata

import pytest
from fletching.links import url_ends
from fletching.links.flowed import Joined
from fletching.links.urls import LinkOptions
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import for_every
from tests.link_judges import Minting, Sent, plain, sent

EVERYTHING = LinkOptions(clicks=True)
DELSP = LinkOptions(clicks=True, delsp=True)


def rewritten(text: str, options: LinkOptions = EVERYTHING) -> Sent:
    return sent(lambda given, mint: plain(given, options, mint), text)


def led_back(found: Sent, quotes: str = "⟦⟧") -> str:
    """The text as it leaves, each tracking URL as the destination it leads to."""
    opening, closing = quotes[:1], quotes[1:]
    return re.sub(
        r"https://t\.example/click\?([0-9]+)",
        lambda url: f"{opening}{found.minted[int(url[1])][1]}{closing}",
        found.text,
    )


OTHER_LINKS = {
    "mailto": "mailto:?subject=Look&body=https://a.example/1%0A-- a@b.example",
    "mailto in angle brackets": "<mailto:a@b.example?body=https://a.example/1>",
    "mailto in Markdown": "[mail](mailto:a@b.example?body=https://a.example/1) ⟦https://b.example⟧",
    "sms": "sms:+4912345?body=https://a.example/1&x=y",
    "upper case": "SMS:+49?&BODY=HTTPS://a.example/1",
    "ftp": "ftp://f.example/get?u=https://a.example/1;type=a",
    "intent": "intent://x/#Intent;scheme=x;S.browser_fallback_url=https://a.example/1;end",
    "app": "app://open?url=https://a.example/1&t=2 and ⟦https://b.example/?t=2⟧",
    "unknown scheme without slashes": "myapp:open?url=https://a.example/1&t=2",
    "unknown scheme, letters of its own": "web+x.y-z://https://a.example/1",
    "whole URL as its path": "view-source:https://a.example/1 blob:https://a.example/2",
    "xmpp": "xmpp:room@c.example?join;https://a.example/1",
    "websocket": "wss://x.example/https://a.example/1",
    "version control": "svn+http://x.example/?u=https://a.example/1",
    "host and path": "web.archive.example/web/2020/https://a.example/1",
    "host and query": "www.a.example?u=https://a.example/1&t=2",
    "host and port": "localhost:8080/share?u=https://a.example/1&t=2",
    "address": "192.0.2.1/share?u=https://a.example/1",
    "internationalised host": "bücher.example/?u=https://a.example/1&t=2",
    "path alone": "/redirect?to=https://a.example/1&x=1",
    "scheme of its page": "//cdn.example/x?u=https://a.example/1",
    "brackets in it": "mailto:a@b.example?body=(https://a.example/1)",
    "two URLs in it": "mailto:?body=https://a.example/1,https://b.example/2",
    "letters without blanks in it": "mailto:?body=見てhttps://a.example/1&subject=x",
    "http inside http": "⟦https://a.example/?text=hi&u=http://b.example/2&c=d⟧",
    "http inside a path": "⟦https://a.example/https://b.example/2⟧",
    "http inside a fragment": "⟦https://a.example/#u=https://b.example/2⟧",
    "http behind a blank of a query": "⟦https://a.example/?t=a+https://b.example/2&c=%20http://x⟧",
    "label": "Website:⟦https://a.example/1⟧ URL:⟦https://b.example/2⟧",
    "label with a port": "10:30:⟦https://a.example/1⟧",
    "name of a setting": "url=⟦https://a.example/1⟧",
    "unknown scheme, URL behind an equals sign": "myapp:to=https://a.example/1",
    "link ended by a bracket": "[www.a.example/1](⟦https://b.example/2⟧)",
    "link ended by a comma": "www.a.example/1,⟦https://b.example/2⟧",
    "link ended by a letter": "www.a.example/1や⟦https://b.example/2⟧",
    "address before it": "a@b.example,⟦https://b.example/2⟧",
    "host before it": "www.b.example:⟦https://b.example/2⟧",
    "words with a slash": "either/or:⟦https://b.example/2⟧",
}

LISTS = {
    "comma and semicolon": "⟦https://a.example/1⟧,⟦https://b.example/2⟧;⟦https://c.example/3⟧",
    "bars": "⟦https://a.example/1⟧|⟦https://b.example/2⟧|⟦https://c.example/3⟧",
    "hosts": "⟦https://a.example⟧,⟦https://b.example⟧,⟦https://c.example⟧",
    "in brackets": "(⟦https://a.example/1⟧,⟦https://b.example/2⟧)",
    "in angle brackets": "<⟦https://a.example/1⟧,⟦https://b.example/2⟧>",
    "in square brackets": "[⟦https://a.example/1⟧;⟦https://b.example/2⟧]",
    "each in quotes": "\"⟦https://a.example/1⟧\",'⟦https://b.example/2⟧'",
    "each in brackets": "(⟦https://a.example/1⟧),(⟦https://b.example/2⟧)",
    "two commas": "⟦https://a.example/1⟧,,⟦https://b.example/2⟧",
    "sentences": "⟦https://a.example/1⟧.⟦https://b.example/2⟧!⟦https://c.example/3⟧.",
    "with brackets in them": "⟦https://a.example/(1)⟧,⟦https://b.example/(2)⟧",
    "East Asian comma": "⟦https://a.example/1⟧、⟦https://b.example/2⟧・⟦https://c.example/3⟧",
    "arrows": "⟦https://a.example/1⟧->⟦https://b.example/2⟧=>⟦https://c.example/3⟧-->",
    "bullets": "•⟦https://a.example/1⟧•⟦https://b.example/2⟧·⟦https://c.example/3⟧",
    "emphasised": "*⟦https://a.example/1⟧*,*⟦https://b.example/2⟧*",
    "without a scheme between": "⟦https://a.example/1⟧,www.b.example/2,⟦https://c.example/3⟧",
    "mailto behind": "⟦https://a.example/1⟧,mailto:a@b.example",
    "another scheme behind": "⟦https://a.example/1⟧;ftp://b.example/2",
    "comma in a path": "⟦https://a.example/@1,2,3z/x:y⟧",
    "queries": "https://a.example/?a=1,https://b.example/?b=2",
    "fragments": "https://a.example/#x|https://b.example/#y",
    "a letter beyond ASCII in a query": "https://a.example/?q=éhttps://b.example/2",
    "a list in a query": "https://a.example/?u=https://b.example/1,https://c.example/2",
    "one query": "⟦https://a.example/1⟧,https://b.example/?q=2,https://c.example/3",
    "plus": "https://a.example/1+https://b.example/2",
    "hyphen": "https://a.example/1-https://b.example/2",
    "ampersand": "https://a.example/1&https://b.example/2",
    "nothing between": "https://a.example/1https://b.example/2",
    "bracket between": "https://a.example/1(https://b.example/2)",
    "bracket around the second": "https://a.example/(1,https://b.example/2)",
}

SCRIPTS = {
    "Han": "详情请见⟦https://a.example/1⟧查看",
    "Han behind a query": "请访问⟦https://a.example/?id=1⟧了解详情",
    "Hiragana": "⟦https://a.example/1⟧をご覧、⟦https://a.example/2⟧も",
    "Katakana": "⟦https://a.example/1⟧ページ ⟦https://a.example/2⟧ｶﾅ",
    "Hangul": "⟦https://a.example/1⟧에서 ⟦https://a.example/2⟧를",
    "Thai": "ดู⟦https://a.example/1⟧ครับ",
    "Lao": "⟦https://a.example/1⟧ຂໍ",
    "Khmer": "⟦https://a.example/1⟧សូម",
    "Myanmar": "⟦https://a.example/1⟧ဒီ",
    "Tibetan": "⟦https://a.example/1⟧་བོད",
    "Bopomofo": "⟦https://a.example/1⟧ㄅㄆ",
    "Yi": "⟦https://a.example/1⟧ꀀꀁ",
    "Han beyond the first plane": "⟦https://a.example/1⟧\U00020000",
    "full-width letters": "⟦https://a.example/1⟧ＡＢＣ ⟦https://a.example/2⟧１２３",
    "host alone": "⟦https://a.example⟧をご覧ください",
    "host and port": "⟦https://a.example:8080⟧をご覧ください",
    "behind punctuation": "⟦https://a.example/1⟧,これ ⟦https://a.example/1⟧.これ",
    "behind a bracket": "⟦https://a.example/(1)⟧を",
    "in brackets": "(⟦https://a.example/1⟧を見る)",
    "between two URLs": "⟦https://a.example/1⟧と⟦https://a.example/2⟧も",
    "behind a letter of another script": "⟦https://a.example/straße⟧を",
    "behind an escape": "⟦https://a.example/%E3%81%82⟧を",
    "behind a fragment": "⟦https://a.example/#1⟧を",
    "emphasised": "**⟦https://a.example/1⟧**を",
    "internationalised host": "⟦http://例え.jp/1⟧ ⟦http://例え.テスト/⟧ ⟦http://例え.jp⟧です",
    "in angle brackets": "<⟦https://ja.example/wiki/日本⟧>",
    "behind a slash": "https://a.example/をご覧ください",
    "behind a full stop in the path": ")⟦https://a.example/1⟧.見a https://a.example/1.見@",
    "in the path": "https://ja.example/wiki/日本 https://ja.example/日本/1",
    "in the query": "https://a.example/?q=東京&x=1 https://a.example/?q=東京",
    "in a segment": "https://a.example/A型/info",
    "before a dot and a letter": "https://a.example/1型.html",
    "within brackets of the URL": "https://a.example/(1を)",
    "end of an internationalised host": "http://例え.テスト",
    "behind an underscore": "https://a.example/1_を",
    "before a URL, in a query": "https://a.example/?t=1とhttps://b.example/2",
    "scripts with blanks": "⟦https://a.example/привет⟧ ⟦https://a.example/مرحبا⟧ ⟦https://a.example/ä⟧",
}

SIGNS = {
    "dashes": "⟦https://a.example/1⟧–2 ⟦https://a.example/1⟧―x ⟦https://a.example/1⟧‒x",
    "hyphens of prose": "⟦https://a.example/1⟧‐x ⟦https://a.example/1⟧‑x",
    "two hyphens": "⟦https://a.example/1--it⟧ ⟦https://a.example/1--⟧",
    "arrows": "➜⟦https://a.example/1⟧→x ⟦https://a.example/1⟧⇒x ⟦https://a.example/1⟧⟶x",
    "arrows of ASCII": "⟦https://a.example/1⟧->x ⟦https://a.example/1⟧=>x",
    "comment": "<!--⟦https://a.example/1⟧--> <⟦https://a.example/?a=⟧>",
    "bullets": "•⟦https://a.example/1⟧•x ⟦https://a.example/1⟧‣ ⟦https://a.example/1⟧◦x",
    "shapes": "⟦https://a.example/1⟧▪x ⟦https://a.example/1⟧●x ⟦https://a.example/1⟧★★",
    "ellipses": "⟦https://a.example/1⟧…x ⟦https://a.example/1⟧⋯x ⟦https://a.example/1⟧...",
    "ticks": "⟦https://a.example/1⟧✓ ⟦https://a.example/1⟧✗",
    "marks of trade": "⟦https://a.example/1⟧™ ⟦https://a.example/1⟧® ⟦https://a.example/1⟧©",
    "raised figures": "⟦https://a.example/1⟧¹ ⟦https://a.example/1⟧⁴ ⟦https://a.example/1⟧①",
    "pictures": "⟦https://a.example/1⟧🎉 ⟦https://a.example/1⟧👍🏽 ⟦https://a.example/1⟧✨✨",
    "picture as path or host": "https://a.example/🎉 http://i❤.example/ ⟦http://❤.example/1⟧",
    "daggers": "⟦https://a.example/1⟧† ⟦https://a.example/1⟧‡ ⟦https://a.example/1⟧§2",
    "currencies, figures": "⟦https://a.example/1⟧€ ⟦https://a.example/1⟧×2 ⟦https://a.example/1⟧−2",
    "primes": "⟦https://a.example/1⟧′x ⟦https://a.example/1⟧″ ⟦https://a.example/1⟧‰",
    "quotes": "‚⟦https://a.example/1⟧‘ ‹⟦https://a.example/1⟧› ⟦https://a.example/1⟧”",
    "East Asian brackets": "【⟦https://a.example/1⟧】《⟦https://a.example/1⟧》［⟦https://a.example/1⟧］",
    "East Asian stops": "⟦https://a.example/1⟧。⟦https://b.example/2⟧！⟦https://c.example/3⟧：x",
    "Arabic": "⟦https://a.example/1⟧،x ⟦https://a.example/1⟧؟ ⟦https://a.example/1⟧۔",
    "Indic, Armenian": "⟦https://a.example/1⟧। ⟦https://a.example/1⟧։ ⟦https://a.example/1⟧፡x",
    "Hebrew": "⟦https://a.example/1⟧׃ ⟦https://a.example/1⟧־x",
    "of no width": "⟦https://a.example/1⟧\u2060x ⟦https://a.example/1⟧\ufeffx ⟦https://a.example/1⟧\u00adx",
    "blanks": "⟦https://a.example/1⟧\u3000x ⟦https://a.example/1⟧\u2003x ⟦https://a.example/1⟧\u202fx",
    "within a word": "https://ca.example/Pol·len https://fa.example/می\u200cخواهم",
    "middle dot of a list": "⟦https://a.example/1⟧· ⟦https://a.example/1⟧·⟦https://b.example/2⟧",
}

MARKS = {
    "stars": "*⟦https://a.example/1⟧* **⟦https://a.example/2⟧** ***⟦https://a.example/3⟧***",
    "underscores": "_⟦https://a.example/1⟧_ __⟦https://a.example/2⟧__",
    "tildes": "~~⟦https://a.example/1⟧~~ ~⟦https://a.example/2⟧~",
    "a sentence": "**All done: ⟦https://a.example/pull/1⟧** and more",
    "over two lines": "**All\r\ndone: ⟦https://a.example/pull/1⟧**",
    "one in another": "**bold *⟦https://a.example/1⟧***",
    "punctuation behind": "*⟦https://a.example/1⟧*. *⟦https://a.example/2⟧*, **⟦https://a.example/3⟧**!",
    "punctuation within": "*See ⟦https://a.example/1⟧.*",
    "brackets": "(*⟦https://a.example/1⟧*) *(⟦https://a.example/2⟧)* *see (⟦https://a.example/3⟧*)",
    "quotes": '*"⟦https://a.example/1⟧"* "*⟦https://a.example/2⟧*"',
    "Markdown": "**[⟦https://a.example/1⟧](⟦https://a.example/2⟧)**",
    "quoted line": "> *⟦https://a.example/1⟧*",
    "URL in the query": "*⟦https://a.example/?u=https://b.example/1⟧*",
    "underscores within": "_⟦https://a.example/a_b_c⟧_ _⟦https://a.example/a_b⟧",
    "table": "|⟦https://a.example/1⟧|⟦https://a.example/2⟧|",
    "table with blanks": "| a |⟦https://a.example/1⟧| b |",
    "a URL's own star": "⟦https://a.example/data-*⟧ and ⟦https://a.example/?x=*⟧",
    "a URL's own star, emphasised": "**⟦https://a.example/data-*⟧**",
    "closed before": "*a* ⟦https://a.example/x-*⟧ *b* __init__ ⟦https://a.example/y__⟧",
    "bullet": "* ⟦https://a.example/x-*⟧",
    "product": "5 * 3 ⟦https://a.example/x*⟧ snake_case ⟦https://a.example/x_⟧",
    "call": "f(*args) ⟦https://a.example/x*⟧",
    "behind a paragraph": "Note:\n\n_⟦https://a.example/1⟧_",
    "open in the paragraph before": "_Note\n\n⟦https://a.example/1_⟧",
    "a sign by itself closed before": "**@**⟦https://a.example/1⟧**",
    "a word closed before": "*new*⟦https://a.example/1*⟧ *new* *⟦https://a.example/2⟧*",
    "a script without blanks closed before": "~~見~~⟦https://a.example/1+⟧.~'",
    "a script without blanks before it": "*·x=見⟦https://a.example/1⟧*",
    "twice opened, once closed": "__<_[⟦https://a.example/1_⟧_'",
    "an own sign before the end": "!_'⟦https://a.example/1~~⟧_",
    "behind a slash": "/*https://a.example/1*見",
    "behind a letter": "é~~⟦https://a.example/1~⟧",
    "in the text behind the URL": "⟦https://a.example/1⟧見*|見て",
    "another paragraph": "*a ⟦https://a.example/1⟧\r\n\r\n⟦https://a.example/2*⟧",
    "in a URL before": "⟦https://a.example/*foo⟧ and ⟦https://b.example/x*⟧",
    "home": "⟦https://a.example/~joe/⟧",
    "a URL's own bar": "⟦https://a.example/?family=A|B⟧",
    "placeholder": "*https://a.example/*|ID|*",
    "a letter behind": "*https://a.example/1*foo",
    "a path behind": "*https://a.example/a*b/c*",
    "a bar within a table": "|https://a.example/?family=A|B|",
    "forum": "[b]⟦https://a.example/1⟧[/b] [url=⟦https://a.example/2⟧]x[/url]",
}
KINDS = {
    "other link": OTHER_LINKS, "list": LISTS, "script": SCRIPTS, "sign": SIGNS, "mark": MARKS,
}  # fmt: skip
NEIGHBOURS = {f"{kind}: {name}": text for kind, of in KINDS.items() for name, text in of.items()}


@for_every(NEIGHBOURS)
def test_where_a_url_ends(marked: str) -> None:
    given = re.sub("[⟦⟧]", "", marked)
    found = rewritten(given)
    assert led_back(found) == marked
    assert led_back(found, "") == given


# In each text, what stands between ⟦ and ⟧ leads where its lines joined lead.
FLOWED = {
    "two lines": "See ⟦https://a.example/1234 \r\n5678⟧\r\n",
    "three lines": "⟦https://a.example/12 \r\n34 \r\n56⟧ is it",
    "LF": "⟦https://a.example/12 \n34⟧\n",
    "cut at once": "⟦https:// \r\na.example/1⟧",
    "two spaces": "⟦https://a.example/1⟧  \r\nand more",
    "no space": "⟦https://a.example/1⟧\r\nand more",
    "space behind": "⟦https://a.example/1⟧ and \r\nmore",
    "stuffed": "⟦https://a.example/12 \r\n 34⟧",
    "quoted": "> ⟦https://a.example/12 \r\n> 34⟧",
    "quoted twice, without blanks": ">>⟦https://a.example/12 \r\n>>34⟧",
    "another depth": "> ⟦https://a.example/12⟧ \r\n>> 34",
    "quote ends": "> ⟦https://a.example/12⟧ \r\n34",
    "signature below": "⟦https://a.example/12⟧ \r\n-- \r\nJoe",
    "signature above": "-- \r\n⟦https://a.example/12⟧",
    "quoted signature": "> ⟦https://a.example/12⟧ \r\n> -- \r\n> Joe",
    "end of paragraph": "⟦https://a.example/12⟧ \r\n\r\n34",
    "stuffed space alone": "⟦https://a.example/12⟧ \r\n \r\n34",
    "end of text": "⟦https://a.example/12⟧ \r\n",
    "two URLs": "⟦https://a.example/12 \r\n34⟧ or ⟦https://b.example/ \r\n56⟧\r\n⟦https://c.example⟧",
    "in brackets": "(⟦https://a.example/12 \r\n34⟧). And \r\nso on",
    "in another link": "mailto:a@b.example?body= \r\nhttps://a.example/1",
    "word of the next line": "⟦https://a.example/12 \r\nand⟧ so on",
}


@pytest.mark.parametrize("marked", FLOWED.values(), ids=FLOWED)
def test_flowed_with_delsp(marked: str) -> None:
    given = re.sub("[⟦⟧]", "", marked)
    pieces = marked.replace("⟦", "⟧").split("⟧")
    expected = [piece if at % 2 == 0 else f"⟦{whole(piece)}⟧" for at, piece in enumerate(pieces)]
    assert led_back(rewritten(given, DELSP)) == "".join(expected)


def whole(piece: str) -> str:
    """A URL with its lines joined."""
    return re.sub(r" \r?\n>* ?", "", piece)


@pytest.mark.parametrize("given", [re.sub("[⟦⟧]", "", marked) for marked in FLOWED.values()])
def test_flowed_without_delsp_is_plain_text(given: str) -> None:
    assert led_back(rewritten(given), "") == given


# What holds for any text.

URLS = [f"https://a.example/{path}" for path in ("1", "2/3", "?a=1", "#b", "c(d)", "%20", "")]
PROSE = [
    " ", "\r\n", " and ", " (", ") ", "“", "”", "、", "。", "—", "–", "→", "•", "…", "·", "🎉",
    "，", "を", "查看", "에서", "ครับ", "*", "**", "_", "~", "|", ",", ";", ".", "!", "<", ">", '"',
    "'", "->", " mailto:a@b.example ", " www.x.example ", "Web:", " sms:1?body=", ", ",
]  # fmt: skip
prose = st.lists(st.sampled_from(URLS + PROSE), max_size=12).map("".join)
texts = st.lists(
    st.sampled_from([*URLS, *PROSE, "http://", "(", ")", "[", "]", "/", "?", "=", "&", "-", "x"])
    | st.text(st.characters(exclude_categories=()), max_size=3),
    max_size=20,
).map("".join)


@given(texts)
def test_no_word_of_any_text_is_lost(text: str) -> None:
    assert led_back(rewritten(text), "") == text


@given(texts.map(lambda text: text.replace(",", " \r\n").replace("&", " \n> ")))
def test_no_word_of_any_flowed_text_is_lost(text: str) -> None:
    # An end of a line that has become part of a URL is gone, and nothing else.
    assert Joined(led_back(rewritten(text, DELSP), "")).text == Joined(text).text


@given(prose)
def test_no_prose_becomes_part_of_a_destination(text: str) -> None:
    for _, destination in rewritten(text).minted:
        outside = re.sub(
            "|".join(map(re.escape, sorted(URLS, key=len, reverse=True))), "", destination
        )
        assert not re.search(r"[^\x00-\x7f]|and|body|[<>\"]", outside), destination


# The table itself, by the Unicode database.

CHARACTERS = [character for code in range(0x80, 0x10000) if (character := chr(code))]
ENDING = re.compile(f"[{url_ends.ENDS}]")
WITHOUT_BLANKS = (
    "CJK UNIFIED", "HIRAGANA LETTER", "KATAKANA LETTER", "HANGUL SYLLABLE", "THAI CHARACTER",
    "LAO LETTER", "KHMER LETTER", "MYANMAR LETTER", "TIBETAN LETTER", "BOPOMOFO LETTER",
    "TAI LE LETTER", "NEW TAI LUE LETTER", "TAI THAM LETTER", "TAI VIET LETTER", "YI SYLLABLE",
    "JAVANESE LETTER", "BALINESE LETTER", "HALFWIDTH KATAKANA LETTER",
)  # fmt: skip


def test_punctuation_and_spaces_of_all_scripts_can_end_a_url() -> None:
    unknown = [
        f"{ord(character):04X} {unicodedata.name(character, '')}"
        for character in CHARACTERS
        if unicodedata.category(character)[0] in "PZ"
        and not (ENDING.match(character) or url_ends.DOUBTFUL.match(character))
    ]
    assert unknown == []


def test_no_letter_always_ends_a_url() -> None:
    ending = [
        unicodedata.name(character, "")
        for character in CHARACTERS
        if unicodedata.category(character)[0] in "LMN" and ENDING.match(character)
    ]
    assert ending == ["VERTICAL TILDE"]


def test_only_letters_of_scripts_without_spaces_may_end_a_url() -> None:
    for character in CHARACTERS:
        name = unicodedata.name(character, "")
        if unicodedata.category(character) == "Lo" and name.startswith(WITHOUT_BLANKS):
            assert url_ends.DOUBTFUL.match(character), name
        if name.startswith(("LATIN SMALL", "GREEK SMALL", "CYRILLIC", "ARABIC L", "DEVANAGARI L")):
            assert not url_ends.DOUBTFUL.match(character) or 0x2070 <= ord(character) < 0x2190


def test_reasons_why_urls_are_not_rewritten() -> None:
    mint = Minting()
    done = plain("mailto:?body=https://a.example/1 https://a.example/を", EVERYTHING, mint)
    assert [finding.reason for finding in done.notes] == [
        "in another link",
        "the end of the URL is unclear",
    ]
