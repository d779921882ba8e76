"""links.plain: where a URL in running text begins and ends, and what becomes of it."""

# ruff: noqa: RUF001 - the tables hold punctuation that looks like ASCII, on purpose

from __future__ import annotations

import re

import pytest
from fletching.links.splices import LinkKind, LinkNote
from fletching.links.urls import LinkOptions

from tests.cases import for_every
from tests.link_judges import Sent, plain, sent

WANTED = LinkOptions(
    clicks=True,
    own_hosts=frozenset({"own.example"}),
    untracked_hosts=("untracked.example",),
    charset="iso-8859-1",
)


def rewritten(text: str, options: LinkOptions = WANTED) -> Sent:
    return sent(lambda given, mint: plain(given, options, mint), text)


# In each text, what stands between ⟦ and ⟧ is the URL; the marks are not in the text.

URLS = {
    "alone": "⟦http://x.example/⟧",
    "in a sentence": "Look at ⟦https://x.example/a?b=c&d#e⟧ now.",
    "upper case": "⟦HTTP://X.Example/A⟧",
    "round brackets (L10)": "(⟦http://x/⟧)",
    "angle brackets (L10)": "<⟦http://x/⟧>",
    "square brackets": "[⟦http://x/⟧] [a](⟦http://x/b⟧) [[⟦http://x/c⟧]]",
    "Markdown": "[⟦http://x/a⟧](⟦http://x/b⟧) [⟦http://x/c(d)⟧](⟦http://x/(e)⟧)",
    "Markdown, one bracket too many": "[⟦http://x/a⟧]((⟦http://x/b⟧)",
    "braces": "{⟦http://x/⟧}",
    "balanced brackets inside": "(⟦http://x/a(b)c⟧)",
    "balanced brackets at the end": "⟦http://x/a_(b)⟧ (⟦http://x/a_(b)⟧) ⟦http://x/?a[]=b[c]⟧",
    "nested brackets": "(⟦http://x/((a)[b])⟧)",
    "closing bracket of another kind": "⟦http://x/a⟧]b (⟦http://x/a⟧])",
    "crossed brackets": "⟦http://x/a⟧(b[c)d ⟦http://x/a⟧(b]c)d",
    "opening bracket": "⟦http://x/a⟧(see below)",
    "two in one word": "(⟦http://x/a⟧),(⟦http://x/b(c)⟧)",
    "an opening bracket, then another URL": "⟦http://x/a⟧(⟦http://x/b(c)d⟧",
    "full stop": "⟦http://x/a⟧. ⟦http://x/b.c⟧.",
    "trailing punctuation": "⟦http://x/a⟧.,;:!?",
    "punctuation before a bracket": "(⟦http://x/a⟧.)",
    "punctuation after a bracket": "(⟦http://x/a(b)⟧).",
    "ellipsis": "⟦http://x/a⟧... ⟦http://x/b⟧…",
    "punctuation inside": "⟦http://x/a.b,c;d:e!f?g⟧",
    "kept at the end": "⟦http://x/a/⟧ ⟦http://x/a=⟧ ⟦http://x/a-⟧ ⟦http://x/a_⟧ ⟦http://x/a~⟧",
    "kept there too": "⟦http://x/a&⟧ ⟦http://x/a+⟧ ⟦http://x/a$⟧ ⟦http://x/a@⟧ ⟦http://x/#⟧",
    "quotes": '"⟦http://x/a⟧" “⟦http://x/b⟧” „⟦http://x/c⟧“ »⟦http://x/d⟧« ‘⟦http://x/e⟧’',
    "apostrophes": "'⟦http://x/a⟧', '⟦http://x/b⟧','⟦http://x/c⟧' ⟦http://x/it's⟧",
    "apostrophe inside brackets": "'⟦http://x/a⟧(b'c)",
    "apostrophe at the end": "⟦http://x/a⟧'",
    "grave accents": "`⟦http://x/a⟧`",
    "host at once followed": "⟦http://x.example⟧, ⟦http://x.example⟧.",
    "query at once": "⟦http://x?a⟧",
    "port and userinfo": "⟦http://u:p@x:8080/⟧",
    "IPv6": "⟦http://[::1]:80/⟧ (⟦http://[::1]⟧)",
    "IRI": "⟦http://bücher.example/straße?ä=ö#ü⟧, ⟦http://例え.テスト/a⟧",
    "surrogate pair": "⟦http://x/\U00010428⟧",
    "full-width punctuation": "见⟦http://x/a⟧。（⟦http://x/b⟧）「⟦http://x/c⟧」⟦http://x/d⟧、",
    "behind a letter without case": "请访问⟦http://x/⟧",
    "no-break space": "⟦http://x/a⟧\xa0b",
    "zero-width space": "⟦http://x/a⟧\u200bb",
    "backslash": "⟦http://x/a⟧\\n",
    "line ends": "⟦http://x/a⟧\r\n⟦http://x/b⟧\r⟦http://x/c⟧\n⟦http://x/d⟧\0⟦http://x/e⟧\x85",
    "signs before": "*⟦http://x/a⟧\n-⟦http://x/b⟧\n.⟦http://x/c⟧\n_⟦http://x/d⟧\n>⟦http://x/e⟧",
    "plus before": "+⟦http://x/a⟧ 1 +⟦http://x/b⟧",
    "URL in the query": "⟦http://x/?u=http://y/⟧",
    "URL in the path": "⟦http://x/http://y/⟧",
    "HTML in text": '<a href="⟦http://x/a⟧">⟦http://x/b⟧</a>',
    "table": "|⟦http://x/a⟧",
}


@for_every(URLS)
def test_urls_in_text_are_rewritten(marked: str) -> None:
    given = marked.replace("⟦", "").replace("⟧", "")
    pieces = marked.replace("⟦", "⟧").split("⟧")
    found = rewritten(given)
    assert [url for _, url in found.minted] == list(dict.fromkeys(pieces[1::2]))
    numbers = {url: f"https://t.example/click?{n}" for n, (_, url) in enumerate(found.minted)}
    assert found.text == "".join(numbers.get(piece, piece) for piece in pieces)
    assert found.reasons == ["click"] * len(pieces[1::2])


NOT_URLS = {
    "behind a letter": "xhttp://x/ XHTTPS://x/",
    "behind a digit": "1http://x/",
    "behind a scheme": "svn+http://x/",
    "another scheme": "ftp://x/ mailto:a@x.example",
    "no scheme": "www.x.example //x.example/",
    "one slash": "http:/x/ http:x https:\\\\x\\",
    "space inside": "http: //x/",
    "long s": "http\u017f://x/",
}


@pytest.mark.parametrize("given", NOT_URLS.values(), ids=NOT_URLS)
def test_text_that_is_no_url(given: str) -> None:
    assert rewritten(given)[:3] == (given, [], [])


LEFT = {
    "no host": ("http:///x http://, http://)", ["no host"] * 3),
    "own link": ("(http://own.example/click?T).", ["own tracking link"]),
    "own open link": ("https://OWN.example/open/T,", ["own tracking link"]),
    "untracked host": ("http://untracked.example/a", ["untracked host"]),
    "braces": ("http://x/{{id}}/a", ["placeholder"]),
    "braces with spaces": ("http://x/{{ id }}", ["placeholder"]),
    "URL in braces with spaces": ("http://x/?a={{http://y/ }}", ["placeholder"]),
    "braces at once": ("http://{{host}}/a", ["placeholder"]),
    "square brackets with a space": ("http://x/?a=[[first name]]", ["placeholder"]),
    "percent signs with a space": ("http://x/?a=%%first name%%", ["placeholder"]),
    "Mailchimp's": ("http://x/*|ID|*", ["placeholder"]),
    "brace in the host": ("http://{host}/", ["placeholder"]),
    "surrogate": ("http://x/\udcfc", ["not text"]),
}


@pytest.mark.parametrize(("given", "reasons"), LEFT.values(), ids=LEFT)
def test_urls_that_are_not_rewritten(given: str, reasons: list[str]) -> None:
    assert rewritten(given)[:3] == (given, [], reasons)


def test_each_occurrence_is_replaced_by_one_tracking_url() -> None:
    found = rewritten("http://x/ http://x/, http://x/.")
    assert found.text == "@ @, @.".replace("@", "https://t.example/click?0")
    assert found.minted == [(LinkKind.CLICK, "http://x/")]


def test_query_is_unchanged_in_any_charset() -> None:
    # Who makes a link of it is the reader's mail program, not a document in that charset.
    assert rewritten("http://x/?ü").minted == [(LinkKind.CLICK, "http://x/?ü")]


def test_no_url_is_rewritten_with_clicks_off() -> None:
    given = "http://x/ and https://y/"
    found = rewritten(given, LinkOptions(clicks=False))
    assert found[:3] == (given, [], ["click tracking is off"] * 2)


# Opt-outs.

OPTED_OUT = {
    "scheme": ("a https+notrack://x/a, b", "a https://x/a, b", "+notrack"),
    "scheme, upper case": ("(HTTP+NOTRACK://x/a)", "(HTTP://x/a)", "+notrack"),
    "SparkPost's": (
        'a http://x/a[[data-msys-clicktrack="0"]] b',
        "a http://x/a b",
        "data-msys-clicktrack=0",
    ),
    "SparkPost's, in brackets": (
        '(http://x/a(b)[[ data-msys-clicktrack = "0" ]]).',
        "(http://x/a(b)).",
        "data-msys-clicktrack=0",
    ),
    "both": (
        'http+notrack://x/[[data-msys-clicktrack="0"]]',
        "http://x/",
        "data-msys-clicktrack=0",
    ),
}


@pytest.mark.parametrize(("given", "expected", "mark"), OPTED_OUT.values(), ids=OPTED_OUT)
@pytest.mark.parametrize("clicks", [True, False])
def test_opted_out_url_is_not_rewritten(given: str, expected: str, mark: str, clicks: bool) -> None:
    found = rewritten(given, LinkOptions(clicks=clicks))
    assert found[:3] == (expected, [], [f"opted out ({mark})"])


def test_url_after_an_opted_out_url_is_rewritten() -> None:
    found = rewritten('http://x/[[data-msys-clicktrack="0"]]http://y/ https+notrack://z/ http://y/')
    assert found.text == "http://x/@ https://z/ @".replace("@", "https://t.example/click?0")


@pytest.mark.parametrize(
    "given",
    [
        'http://x/[[data-msys-clicktrack="1"]]',
        "http://x/[[other]]",
        'http://x/[[data-msys-clicktrack="0"',
    ],
)
def test_other_double_brackets_are_a_placeholder(given: str) -> None:
    assert rewritten(given)[:3] == (given, [], ["placeholder"])


# The unsubscribe tag.

TAGGED = {
    "plain": ("##unsubscribetag##⟦http://x/u⟧", "http://x/u"),
    "encoded, other case": ("%23%23UnsubscribeTag%23%23⟦HTTP://x/u⟧", "HTTP://x/u"),
    "in brackets": ("(##unsubscribetag##⟦http://x/u(a)⟧).", "http://x/u(a)"),
    "own link": ("##unsubscribetag##⟦http://own.example/click/T⟧", "http://own.example/click/T"),
    "untracked host": (
        "##unsubscribetag##⟦http://untracked.example/⟧",
        "http://untracked.example/",
    ),
    "placeholder": ("##unsubscribetag##⟦http://x/?{{id}}⟧", "http://x/?{{id}}"),
    "twice": ("##unsubscribetag####unsubscribetag##⟦http://x/u⟧", "http://x/u"),
    "opted out of clicks": ("##unsubscribetag##⟦https+notrack://x/u⟧", "https://x/u"),
    "behind a word": ("a##unsubscribetag##⟦http://x/u⟧ b", "http://x/u"),
}


@pytest.mark.parametrize(("marked", "url"), TAGGED.values(), ids=TAGGED)
@pytest.mark.parametrize("clicks", [True, False])
def test_unsubscribe_tag(marked: str, url: str, clicks: bool) -> None:
    options = LinkOptions(clicks, frozenset({"own.example"}), ("untracked.example",))
    before, rest = marked.split("⟦")
    found = rewritten(before + rest.replace("⟧", ""), options)
    untagged = re.sub(r"(?:(?:##|%23%23)unsubscribetag(?:##|%23%23))+$", "", before, flags=re.I)
    expected = untagged + "https://t.example/unsub?0" + rest.split("⟧")[1]
    assert found[:3] == (expected, [(LinkKind.UNSUBSCRIBE, url)], ["unsubscribe"])


@pytest.mark.parametrize(
    "rest",
    ["", "http://x/\udcfc", " http://", "/u", "mailto:a@x", "http:///u"],
)
def test_unsubscribe_tag_without_a_url(rest: str) -> None:
    given = f"a ##unsubscribetag##{rest}"
    found = rewritten(given, LinkOptions(clicks=False))
    assert found.minted == []
    assert found.done.notes[0] == LinkNote(
        f"##unsubscribetag##{rest.split(' ')[0]}",
        False,
        "unsubscribe tag without an absolute http or https URL",
    )
