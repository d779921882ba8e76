"""links.html: which links are rewritten, where they lead, and what stays as it is."""

from __future__ import annotations

import pytest
from fletching.links.splices import LinkKind, LinkNote, Splice, TextLinks
from fletching.links.urls import LinkOptions

from tests.cases import for_every
from tests.link_judges import EVERYTHING, Rewritten, Sent, html, sent

T0 = "https://t.example/click?0"
T1 = "https://t.example/click?1"


def rewritten(text: str, options: LinkOptions = EVERYTHING) -> Sent:
    return sent(lambda given, mint: html(given, options, mint, None), text)


def destinations(text: str, options: LinkOptions = EVERYTHING) -> list[str]:
    return [url for _, url in rewritten(text, options).minted]


# Where the value stands, and that nothing else changes.

SPLICED = {
    "double quotes": ('<a href="http://x.example/">t</a>', f'<a href="{T0}">t</a>'),
    "single quotes": ("<a href='http://x.example/'>t</a>", f"<a href='{T0}'>t</a>"),
    "no quotes": ("<a href=http://x.example/>t</a>", f'<a href="{T0}">t</a>'),
    "no quotes, then more": ("<a href=http://x/a id=b>", f'<a href="{T0}" id=b>'),
    "no quotes, quote inside": ("<a href=http://x/'\">", f'<a href="{T0}">'),
    "apostrophe in double quotes (L4)": ('<a href="http://x/it\'s">', f'<a href="{T0}">'),
    "double quote in single quotes": ("<a href='http://x/\"'>", f"<a href='{T0}'>"),
    "greater-than in quotes": ('<a id="a>b" href="http://x/>">t', f'<a id="a>b" href="{T0}">t'),
    "upper case": ('<A HREF="HTTP://X/">t</A>', f'<A HREF="{T0}">t</A>'),
    "area": ('<area href="http://x/" alt="">', f'<area href="{T0}" alt="">'),
    "other tags": ('<link href="http://x/"><base href="http://x/"><b href="http://x/">',) * 2,
    "data-href": ('<a data-href="http://x/" xlink:href="http://x/">',) * 2,
    "tag that begins with a": ('<abbr href="http://x/"><a1 href="http://x/">',) * 2,
    "space round the sign": ('<a href \t=\r\n "http://x/">', f'<a href \t=\r\n "{T0}">'),
    "slash between": ('<a/href="http://x/"/>', f'<a/href="{T0}"/>'),
    "nothing between": ('<a id="b"href="http://x/"class=c>', f'<a id="b"href="{T0}"class=c>'),
    "tag over lines": (
        '<p>\r\n<a\r\n id=b\r\n href="http://x/">',
        f'<p>\r\n<a\r\n id=b\r\n href="{T0}">',
    ),
    "lone carriage returns": ('a\rb\r<a\rhref="http://x/">\r', f'a\rb\r<a\rhref="{T0}">\r'),
    "all line ends": (
        '\r\n\n\r\r\n<a\n\r\nid\r href="http://x/">',
        f'\r\n\n\r\r\n<a\n\r\nid\r href="{T0}">',
    ),
    "form feed": ('a\f<a\fhref="http://x/"\f>', f'a\f<a\fhref="{T0}"\f>'),
    "beyond the basic plane": (
        '\U0001f600é\n\U0001f600<a href="http://x/">',
        f'\U0001f600é\n\U0001f600<a href="{T0}">',
    ),
    "byte order mark": ('\ufeff<a href="http://x/">', f'\ufeff<a href="{T0}">'),
    "NUL": ('\0<b\0><a \0 href="http://x/"\0>', f'\0<b\0><a \0 href="{T0}"\0>'),
    "other line separators are none": (
        '\u2028\x85\v<a href="http://x/">',
        f'\u2028\x85\v<a href="{T0}">',
    ),
    "first of two": ('<a href="http://x/" HREF="http://y/">', f'<a href="{T0}" HREF="http://y/">'),
    "first of two is no link": ('<a href="#" href="http://y/">',) * 2,
    "name that begins with an equals sign": ('<a =href="http://x/">',) * 2,
    "stray quotes before": ('<a " \' href="http://x/">', f'<a " \' href="{T0}">'),
    "less-than in the tag": ('<a <b href="http://x/">', f'<a <b href="{T0}">'),
    "attributes of an end tag": ('</a href="http://x/">',) * 2,
    "value that looks like an attribute": ('<a title=" href=http://y/ " href="#">',) * 2,
    "never closed": ('<a href="http://x/',) * 2,
    "never closed, after one": (
        '<a href="http://x/"><a href="http://y/"',
        f'<a href="{T0}"><a href="http://y/"',
    ),
    "same URL twice": (
        '<a href="http://x/"><a href="http://x/">',
        f'<a href="{T0}"><a href="{T0}">',
    ),
    "two URLs": ('<a href="http://x/"><a href="http://y/">', f'<a href="{T0}"><a href="{T1}">'),
    "link in a link": (
        '<a href="http://x/"><b><a href="http://y/">',
        f'<a href="{T0}"><b><a href="{T1}">',
    ),
}


@pytest.mark.parametrize(("given", "expected"), SPLICED.values(), ids=SPLICED)
def test_only_the_value_of_href_changes(given: str, expected: str) -> None:
    assert rewritten(given).text == expected


# Not every tag is one.

NOT_TAGS = {
    "comment": '<!-- <a href="http://x/"> -->',
    "comment that is never closed": '<!-- <a href="http://x/">',
    "comment closed at once": '<!--> <!---> <!-- <a href="http://x/"> --!>',
    "script": '<script>"<a href=http://x/>"</script>',
    "script with a comment": '<script><!--<script></script><a href="http://x/">--></script>',
    "style": '<style><a href="http://x/"></style>',
    "title": '<title><a href="http://x/"></title>',
    "textarea": '<textarea><a href="http://x/"></textarea>',
    "iframe, xmp, noembed, noframes": "".join(
        f'<{tag}><a href="http://x/"></{tag}>' for tag in ("iframe", "xmp", "noembed", "noframes")
    ),
    "plaintext": '<plaintext><a href="http://x/">',
    "CDATA": '<![CDATA[<a href="http://x/">]]>',
    "processing instruction": '<?php <a href="http://x/"?>',
    "text": "< a href=http://x/> &lt;a href=http://x/>",
}


@pytest.mark.parametrize("given", NOT_TAGS.values(), ids=NOT_TAGS)
def test_text_that_is_no_tag_is_unchanged(given: str) -> None:
    assert rewritten(given).done == Rewritten((), ())


@pytest.mark.parametrize("tag", ["script", "style", "title", "textarea"])
def test_links_after_raw_text_are_found(tag: str) -> None:
    given = f'<{tag}><a href="http://x/"></{tag}><a href="http://y/">'
    assert destinations(given) == ["http://y/"]


# Outlook's conditional comments.

CONDITIONAL = {
    "hidden": (
        '<!--[if mso]><a href="http://x/">t</a><![endif]-->',
        f'<!--[if mso]><a href="{T0}">t</a><![endif]-->',
    ),
    "hidden, over lines, then shown": (
        "<p>\r\n<!--[if (gte mso 9)|(IE)]>\r\n <AREA\r\n href=http://x/><![endif]-->\r\n"
        '<a href="http://y/">',
        f'<p>\r\n<!--[if (gte mso 9)|(IE)]>\r\n <AREA\r\n href="{T0}"><![endif]-->\r\n'
        f'<a href="{T1}">',
    ),
    "revealed": (
        '<!--[if !mso]><!--><a href="http://x/">t</a><!--<![endif]-->',
        f'<!--[if !mso]><!--><a href="{T0}">t</a><!--<![endif]-->',
    ),
    "revealed, the other way": (
        '<![if !mso]><a href="http://x/">t</a><![endif]>',
        f'<![if !mso]><a href="{T0}">t</a><![endif]>',
    ),
    "end condition missing": (
        "<!--[if mso]><a href=http://x/>-->",
        f'<!--[if mso]><a href="{T0}">-->',
    ),
    "never closed": ('<!--[if mso]><a href="http://x/">', f'<!--[if mso]><a href="{T0}">'),
    "closed with an exclamation mark": ("<!--[if mso]><a href=http://x/--!>",) * 2,
    "closed inside the tag": ("<!--[if mso]><a href=http://x/-->",) * 2,
    "comment inside": ('<!--[if mso]><!-- <a href="http://x/"> -->',) * 2,
    "condition inside": ('<!--[if mso]><!--[if IE]><a href="http://x/"> -->',) * 2,
    "script inside": ('<!--[if mso]><script>"<a href=http://x/>"</script><![endif]-->',) * 2,
    "other words": ('<!--[iffy]><a href="http://x/">--><!-- [if mso]><a href="http://x/">-->',) * 2,
}


@pytest.mark.parametrize(("given", "expected"), CONDITIONAL.values(), ids=CONDITIONAL)
def test_conditional_comments(given: str, expected: str) -> None:
    assert rewritten(given).text == expected


# Where a link leads: the value decoded once, as a browser's URL parser begins with it.

DECODED = {
    "ampersand (L1)": ("http://x/?a=1&amp;b=2", "http://x/?a=1&b=2"),
    "bare ampersand": ("http://x/?a=1&b=2", "http://x/?a=1&b=2"),
    "ampersand without semicolon": ("http://x/?a&amp b", "http://x/?a& b"),
    "decimal (L2)": ("http://x/?a=1&#38;b&#038;c&#38d", "http://x/?a=1&b&c&d"),
    "hexadecimal": ("http://x/?a&#x26;b&#X26c", "http://x/?a&b\u026c"),
    "decoded once (L3)": ("http://x/?a&amp;amp;b", "http://x/?a&amp;b"),
    "parameter named like a reference": (
        "http://x/?a=1&copy=3&reg=4",
        "http://x/?a=1&copy=3&reg=4",
    ),
    "parameter that begins like one": (
        "http://x/?a&copyright&notit;&ltb",
        "http://x/?a&copyright&notit;&ltb",
    ),
    "reference with semicolon": ("http://x/?a&copy;=3&eacute;", "http://x/?a©=3é"),
    "reference at the end": ("http://x/?a&copy", "http://x/?a©"),
    "two characters": ("http://x/?&NotEqualTilde;", "http://x/?\u2242\u0338"),
    "Windows's C1": ("http://x/?&#128;", "http://x/?€"),
    "no reference": ("http://x/?a=&;b&#;&#x;&nosuch;", "http://x/?a=&;b&#;&#x;&nosuch;"),
    "out of range": ("http://x/&#0;&#xd800;&#x110000;", "http://x/\ufffd\ufffd\ufffd"),
    "quote": ("http://x/&quot;&#39;", "http://x/\"'"),
    "scheme by reference": ("&#104;ttp&colon;//x/", "http://x/"),
    "space round": (" \t\x01http://x/ \f", "http://x/"),
    "space by reference": ("&#32;http://x/&nbsp;", "http://x/\xa0"),
    "line ends inside": ("http://x/a\r\n\tb\nc\rd", "http://x/abcd"),
    "space inside": ("http://x/a b", "http://x/a b"),
    "fragment (L5)": ("http://x/#color=grün", "http://x/#color=grün"),
    "fragment behind a query": ("http://x/?a#b?c#d", "http://x/?a#b?c#d"),
    "IRI": ("http://bücher.example/straße?ä=ö", "http://bücher.example/straße?ä=ö"),
    "percent signs": ("http://x/%zz%2f%C3%BC", "http://x/%zz%2f%C3%BC"),
    "a single brace": ("http://x/{a}", "http://x/{a}"),
    "encoded percent sign": ("http://x/?50%25%20off", "http://x/?50%25%20off"),
    "case": ("HtTpS://WWW.X.Example/Path", "HtTpS://WWW.X.Example/Path"),
    "userinfo and port": ("http://u:p@x:8080/", "http://u:p@x:8080/"),
    "no path": ("http://x.example", "http://x.example"),
    "query at once": ("http://x?a", "http://x?a"),
    "IPv6": ("http://[2001:db8::1]:80/", "http://[2001:db8::1]:80/"),
    "backslash": ("http://x\\a", "http://x\\a"),
    "dots": ("http://x/a/../b/./", "http://x/a/../b/./"),
}


@pytest.mark.parametrize(("value", "expected"), DECODED.values(), ids=DECODED)
def test_destination(value: str, expected: str) -> None:
    assert destinations(f'<a href="{value}">') == [expected]


def test_character_reference_in_an_unquoted_value() -> None:
    assert destinations("<a href=http://x/?a&amp;b&copy>") == ["http://x/?a&b©"]


# The query goes out in the part's charset.

CHARSETS = {
    "UTF-8": ("utf-8", "http://x/ü?ü#ü", "http://x/ü?ü#ü"),
    "query only": ("iso-8859-15", "http://ü/ü?a=ü€&b=c#ü", "http://ü/ü?a=%FC%A4&b=c#ü"),
    "no query": ("iso-8859-15", "http://x/ü#?ü", "http://x/ü#?ü"),
    "ISO-8859-1 is Windows-1252": ("iso-8859-1", "http://x/?€", "http://x/?%80"),
    "US-ASCII is Windows-1252": ("us-ascii", "http://x/?&uuml;", "http://x/?%FC"),
    "not in the charset": ("koi8-r", "http://x/?ж☃", "http://x/?%D6%26%239731%3B"),
    "two octets, one ASCII": ("shift_jis", "http://x/?表", "http://x/?%95\\"),
    "with escape sequences": ("iso-2022-jp", "http://x/?あa", "http://x/?%1B$B$%22%1B(Ba"),
    "ASCII stays": ("koi8-r", "http://x/?a b'%zz", "http://x/?a b'%zz"),
    "UTF-16": ("utf-16", "http://x/?ü", "http://x/?ü"),
    "in which nobody encodes": ("hz", "http://x/?ü", "http://x/?ü"),
}


@pytest.mark.parametrize(("charset", "value", "expected"), CHARSETS.values(), ids=CHARSETS)
def test_query_is_encoded_in_the_charset_of_the_part(
    charset: str, value: str, expected: str
) -> None:
    options = LinkOptions(clicks=True, charset=charset)
    assert destinations(f'<a href="{value}">', options) == [expected]


# What is left alone, and why.

OURS = LinkOptions(
    clicks=True,
    own_hosts=frozenset({"click.example.com", "click.example.com:8443"}),
    untracked_hosts=("untracked.example", "*.example.org", "[::1]", "ported.example:81"),
    preserve_visible_urls=False,
)
LEFT = {
    "empty": ("", "empty"),
    "white space": (" \t\r\n", "empty"),
    "anchor": ("#top", "anchor"),
    "anchor with a placeholder": ("#{{top}}", "anchor"),
    "relative": ("page.html", "relative"),
    "path": ("/page:1", "relative"),
    "protocol-relative": ("//x.example/", "relative"),
    "query": ("?a=http://x/", "relative"),
    "mailto (L6)": ("mailto:a@x.example?body=http://x/", "scheme mailto"),
    "tel": ("tel:+491234", "scheme tel"),
    "sms": ("SMS:1234", "scheme sms"),
    "cid": ("cid:part1@x", "scheme cid"),
    "data": ("data:text/html,<a>", "scheme data"),
    "javascript": ("javascript:location='http://x/'", "scheme javascript"),
    "app": ("myapp+x-1.0://open", "scheme myapp+x-1.0"),
    "ftp": ("ftp://x/", "scheme ftp"),
    "no scheme with that letter": ("http\u017f://x/", "relative"),
    "one slash": ("http:/x/", "no host"),
    "no slash": ("http:x", "no host"),
    "backslashes": ("https:\\\\x/", "no host"),
    "three slashes": ("https:///x/", "no host"),
    "nothing more": ("http://", "no host"),
    "only userinfo": ("http://u@/", "no host"),
    "only a port": ("http://:80/", "no host"),
    "port that is none": ("http://x:a/", "no host"),
    "space in the host": ("http://a b/", "no host"),
    "braces (L7)": ("{{url}}", "placeholder"),
    "braces in the path": ("http://x/{{path}}", "placeholder"),
    "braces in the host": ("http://{{host}}/", "placeholder"),
    "braces, encoded": ("http://x/%7B%7bpath%7D%7D", "placeholder"),
    "brace in the host": ("http://{host}/", "placeholder"),
    "percent signs": ("%%url%%", "placeholder"),
    "percent signs in the query": ("http://x/?a=%%id%%", "placeholder"),
    "percent signs, encoded": ("http://x/?a=%25%25id%25%25", "placeholder"),
    "Mailchimp's": ("*|URL|*", "placeholder"),
    "Mailchimp's in the query": ("http://x/?a=*|ID|*", "placeholder"),
    "Mailchimp's, encoded": ("http://x/?a=%2A%7CID%7C%2A", "placeholder"),
    "Mailchimp's, half encoded": ("http://x/?a=*%7CID%7C*", "placeholder"),
    "square brackets": ("http://x/[[id]]", "placeholder"),
    "square brackets in the host": ("http://[[host]]/", "placeholder"),
    "square brackets, encoded": ("http://x/%5b%5Bid%5D%5D", "placeholder"),
    "placeholder by reference": ("http://x/&#123;&lcub;id}}", "placeholder"),
    "own, form a": ("https://click.example.com/click/TOKEN", "own tracking link"),
    "own, form b": ("https://click.example.com/open?TOKEN", "own tracking link"),
    "own, form c": ("https://click.example.com/unsub?qs=TOKEN", "own tracking link"),
    "own, other case and scheme": ("HTTP://Click.Example.COM/click/TOKEN", "own tracking link"),
    "own, the scheme's port": ("https://click.example.com:443/click/TOKEN", "own tracking link"),
    "own, with a port": ("https://click.example.com:8443/click/TOKEN", "own tracking link"),
    "untracked": ("https://untracked.example/a", "untracked host"),
    "untracked, other case, port": ("https://UNTRACKED.example.:81/a", "untracked host"),
    "untracked, with that port": ("https://ported.example:81/a", "untracked host"),
    "untracked, IPv6": ("https://[::1]/", "untracked host"),
    "untracked, below": ("https://a.b.example.org/", "untracked host"),
    "untracked, behind userinfo": ("https://x@untracked.example/", "untracked host"),
}


@for_every(LEFT)
def test_links_that_are_not_rewritten(value: str, reason: str) -> None:
    given = f'<a id="b" href="{value}">'
    assert rewritten(given, OURS)[:3] == (given, [], [reason])


NOT_LEFT = {
    "own host, other path": "https://click.example.com/clicks?a",
    "own host, path below": "https://click.example.com/a/click/b",
    "own host, other port": "https://click.example.com:8444/click/TOKEN",
    "own host in userinfo": "https://click.example.com@x.example/click/TOKEN",
    "own host as a label": "https://click.example.com.x.example/click/TOKEN",
    "own host in the query": "https://x.example/?https://click.example.com/click/TOKEN",
    "below an untracked host": "https://www.untracked.example/",
    "untracked, other port": "https://ported.example/",
    "the host itself": "https://example.org/",
    "ends like it": "https://notexample.org/",
    "untracked host in the path": "https://x.example/untracked.example",
}


@pytest.mark.parametrize("value", NOT_LEFT.values(), ids=NOT_LEFT)
def test_links_that_are_rewritten(value: str) -> None:
    assert destinations(f'<a href="{value}">', OURS) == [value]


def test_url_with_a_lone_surrogate_is_not_rewritten() -> None:
    assert rewritten('<a href="http://x/\udcfc">').reasons == ["not text"]


def test_href_without_value_and_no_href() -> None:
    given = "<a href><a href=><a name=b>"
    assert rewritten(given)[:3] == (given, [], ["empty", "empty"])


def test_no_link_is_rewritten_with_clicks_off() -> None:
    given = '<a href="http://x/"><a href="mailto:a@x"><p></body>'
    found = rewritten(given, LinkOptions(clicks=False))
    assert found[:3] == (given, [], ["click tracking is off", "scheme mailto"])


def test_notes_are_in_document_order() -> None:
    found = rewritten(
        '<a href="http://x/?a&amp;b">www.y.example<!--[if mso]><a href="#"><![endif]--></a>'
        '<area href="http://y/">',
        LinkOptions(clicks=True),
    )
    assert found.done.notes == (
        LinkNote("http://x/?a&b", False, "visible URL"),
        LinkNote("#", False, "anchor"),
        LinkNote("http://y/", True, "click"),
    )
    assert found.minted == [(LinkKind.CLICK, "http://y/")]


# Values are checked when made.


@pytest.mark.parametrize("start_end", [(-1, 0), (2, 1)])
def test_splice_must_be_a_range_of_the_text(start_end: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="overlap"):
        TextLinks((Splice(*start_end, ""),), (), 9)


def test_splices_are_in_order_and_do_not_overlap() -> None:
    TextLinks((Splice(0, 1, ""), Splice(1, 1, ""), Splice(1, 2, "")), (), 2)
    with pytest.raises(ValueError, match="overlap"):
        TextLinks((Splice(0, 2, ""), Splice(1, 3, "")), (), 9)
    with pytest.raises(ValueError, match="overlap"):
        TextLinks((Splice(3, 4, ""), Splice(1, 2, "")), (), 9)
    with pytest.raises(ValueError, match="overlap"):
        TextLinks((Splice(3, 4, ""),), (), 3)


@pytest.mark.parametrize("host", ["Click.example.com", "https://x", "x/y", "", "*.x"])
def test_own_hosts_are_hosts_in_lower_case(host: str) -> None:
    with pytest.raises(ValueError, match="not a host in lower case"):
        LinkOptions(clicks=True, own_hosts=frozenset({host}))


@pytest.mark.parametrize("host", ["https://x", "x/y", "", "*", "*.", "a.*.b", "*x"])
def test_untracked_hosts_are_hosts(host: str) -> None:
    with pytest.raises(ValueError, match="neither a host"):
        LinkOptions(clicks=True, untracked_hosts=(host,))


@pytest.mark.parametrize("charset", ["no-such", "base64", "rot13", "undefined", "a\0b"])
def test_charset_must_exist(charset: str) -> None:
    with pytest.raises(ValueError, match="not a charset"):
        LinkOptions(clicks=True, charset=charset)
