"""links.html: opt-out attributes, visible URLs, the unsubscribe tag and the pixel."""

from __future__ import annotations

from itertools import product

import pytest
from fletching.links.splices import LinkKind
from fletching.links.urls import LinkOptions

from tests.cases import for_every
from tests.link_judges import EVERYTHING, Sent, hrefs, html, sent, tokens

T0 = "https://t.example/click?0"
U0 = "https://t.example/unsub?0"
PIXEL = '<img src="https://t.example/open?0" width="1" height="1" alt="">'


def rewritten(text: str, options: LinkOptions = EVERYTHING, pixel: str | None = None) -> Sent:
    return sent(lambda given, mint: html(given, options, mint, pixel), text)


# Opt-out attributes: the link stays, the attribute is removed.

OPTED_OUT = {
    "ours": ('<a data-fletching-track="off" href="http://x/">', '<a href="http://x/">'),
    "SendGrid's": ("<a clicktracking=off href=http://x/>", "<a href=http://x/>"),
    "SendGrid's, quoted, last": ("<a href=http://x/ CLICKTRACKING = 'OFF'>", "<a href=http://x/>"),
    "SparkPost's": ('<a href="http://x/" data-msys-clicktrack="0">', '<a href="http://x/">'),
    "Amazon's": ("<a ses:no-track href=http://x/>", "<a href=http://x/>"),
    "Amazon's, with a value": ('<a ses:no-track="" href=http://x/>', "<a href=http://x/>"),
    "Postmark's": ("<a href=http://x/ data-pm-no-track>", "<a href=http://x/>"),
    "Mandrill's": ("<a href=http://x/ mc:disable-tracking />", "<a href=http://x/ />"),
    "Mautic's": ('<a data-mautic-disable-tracking="true" href=http://x/>', "<a href=http://x/>"),
    "by reference": ('<a clicktracking=" &#111;ff" href=http://x/>', "<a href=http://x/>"),
    "area": ("<area clicktracking=off href=http://x/>", "<area href=http://x/>"),
    "over lines": (
        '<a\r\n  clicktracking\r\n  =\r\n  "off"\r\n  href="http://x/">',
        '<a\r\n  href="http://x/">',
    ),
    "all at once": (
        "<a ses:no-track clicktracking=off data-pm-no-track href=http://x/>",
        "<a href=http://x/>",
    ),
    "twice": ("<a clicktracking=off clicktracking=on href=http://x/>", "<a href=http://x/>"),
    "glued to the next": ('<a clicktracking="off"href=http://x/>', "<a href=http://x/>"),
    "glued to the one before": ('<a href="http://x/"ses:no-track>', '<a href="http://x/">'),
    "glued to both": (
        '<a href="http://x/"clicktracking="off"id=b>',
        '<a href="http://x/"id=b>',
    ),
    "before the closing slash": (
        '<a href=http://x/ clicktracking="off"/>',
        "<a href=http://x/ />",
    ),
    "behind a slash": ("<a/ses:no-track/href=http://x/>", "<a//href=http://x/>"),
    "in a conditional comment": (
        "<!--[if mso]><a clicktracking=off href=http://x/><![endif]-->",
        "<!--[if mso]><a href=http://x/><![endif]-->",
    ),
    "no link": ("<a clicktracking=off name=b>", "<a name=b>"),
    "scheme": ('<a href="https+notrack://x/?a&amp;b">', '<a href="https://x/?a&amp;b">'),
    "scheme, upper case, no quotes": ("<a href=HTTP+NoTrack://x/>", "<a href=HTTP://x/>"),
    "scheme, white space before": ('<a href="\n http+notrack://x/">', '<a href="\n http://x/">'),
    "scheme by reference": (
        '<a href="https&#43;notrack://x/?a&amp;b&quot;">',
        '<a href="https://x/?a&amp;b&quot;">',
    ),
    "scheme by reference, no quotes": (
        "<a href=https&plus;notrack://x/>",
        '<a href="https://x/">',
    ),
    "scheme over lines": ("<a href='http+no\r\ntrack://x/'>", "<a href='http://x/'>"),
    "scheme and mark": ("<a ses:no-track href=http+notrack://x/>", "<a href=http://x/>"),
}


@for_every([*product(OPTED_OUT, (True, False))])
def test_opted_out_link_is_not_rewritten(name: str, clicks: bool) -> None:
    given, expected = OPTED_OUT[name]
    found = rewritten(given, LinkOptions(clicks=clicks))
    assert found[:2] == (expected, [])
    assert [reason.partition(" (")[0] for reason in found.reasons] in (["opted out"], [])
    assert len(found.reasons) == len(hrefs(given))


NOT_OPTED_OUT = {
    "ours, on": '<a data-fletching-track="on" href="http://x/">',
    "ours, no value": '<a data-fletching-track href="http://x/">',
    "SendGrid's, on": '<a clicktracking="on" href="http://x/">',
    "SparkPost's, 1": '<a data-msys-clicktrack="1" href="http://x/">',
    "first of two counts": '<a clicktracking=on clicktracking=off href="http://x/">',
    "longer name": '<a data-ses:no-track ses:no-tracking href="http://x/">',
    "Kelvin's sign": '<a mc:disable-trac\u212aing href="http://x/">',
    "in a value": '<a title="ses:no-track clicktracking=off" href="http://x/">',
    "on another tag": '<b ses:no-track><a href="http://x/">',
    "on the end tag": '<a href="http://x/"></a ses:no-track>',
}


@pytest.mark.parametrize("given", NOT_OPTED_OUT.values(), ids=NOT_OPTED_OUT)
def test_other_attributes_opt_out_nothing(given: str) -> None:
    assert rewritten(given).text == given.replace("http://x/", T0)


def test_opt_out_that_separates_two_attributes_stays() -> None:
    # Without the mark, "c" would get the value "d".
    given = '<a href=http://x/ c clicktracking="off" =d>'
    assert rewritten(given)[:2] == (given, [])


REASONS = {
    "data-fletching-track=off": "data-fletching-track=off",
    "clicktracking='OFF'": "clicktracking=off",
    "data-msys-clicktrack=0": "data-msys-clicktrack=0",
    "ses:no-track=x": "ses:no-track",
    "data-pm-no-track": "data-pm-no-track",
    "mc:disable-tracking": "mc:disable-tracking",
    "data-mautic-disable-tracking": "data-mautic-disable-tracking",
}


@pytest.mark.parametrize(("mark", "said"), REASONS.items())
def test_reason_names_the_opt_out_attribute(mark: str, said: str) -> None:
    assert rewritten(f"<a href=http://x/ {mark}>").reasons == [f"opted out ({said})"]


def test_reason_names_the_notrack_scheme() -> None:
    done = rewritten('<a href="https+notrack://x/">').done
    assert [(found.url, found.reason) for found in done.notes] == [
        ("https://x/", "opted out (+notrack)")
    ]


# Links that show a URL to their reader.

SHOWN = {
    "http": ("http://x.example/a", "http://x.example/a"),
    "https, other host": ("http://x.example/a", "HTTPS://y.example/b and more"),
    "www": ("http://x.example/a", "WWW.y.example"),
    "white space round": ("http://x.example/", " \r\n\t&nbsp;http://x.example/&#160;\r\n"),
    "unseen characters round": ("http://x.example/", "&zwnj;&#8203;&shy;x.example\ufeff"),
    "host": ("http://x.example/a?b#c", "x.example"),
    "host, other case": ("http://X.example/a", "x.Example"),
    "host, slash": ("http://x.example", "x.example/"),
    "host with port": ("http://x.example:81/a", "x.example:81"),
    "host without its port": ("http://x.example:81/a", "x.example"),
    "host and path": ("http://x.example/A/b?c#d", "x.example/A/b"),
    "host and path, slash": ("http://x.example/A/", "X.example/A"),
    "host, path and query": ("http://x.example/a?b&amp;c#d", "x.example/a?b&amp;c"),
    "host, path, query and fragment": ("http://x.example/a?b#c", "x.example/a?b#c"),
    "tags inside": ("http://x.example/", "<b>x.<i>exam</i><wbr>ple</b><img alt=text src=x.png>"),
    "by reference": ("http://x.example/", "&#120;.example&sol;"),
    "style inside": ("http://x.example/", "<style>b{}</style>x.example"),
    "comments inside": ("http://x.example/", "x.<!-- no -->example"),
    "never closed": ("http://x.example/", "x.example"),
    "over lines": ("http://x.example/", "\r\n  <b>\r\n    x.example\r\n  </b>\r\n"),
}


@pytest.mark.parametrize(("url", "words"), SHOWN.values(), ids=SHOWN)
def test_link_with_visible_url_is_not_rewritten(url: str, words: str) -> None:
    given = f'<p><a href="{url}">{words}</a> and on'
    options = LinkOptions(clicks=True)
    assert rewritten(given, options)[:3] == (given, [], ["visible URL"])
    assert rewritten(given, EVERYTHING).reasons == ["click"]


NOT_SHOWN = {
    "words": ("http://x.example/", "Read more"),
    "nothing": ("http://x.example/", ""),
    "image": ("http://x.example/", '<img alt="http://x.example/" src="http://x.example/i">'),
    "URL in the words": ("http://x.example/", "Read http://x.example/"),
    "another host": ("http://x.example/", "y.example"),
    "a part of the host": ("http://www.x.example/", "x.example"),
    "a part of the path": ("http://x.example/a/b", "x.example/a"),
    "path in other case": ("http://x.example/a", "x.example/A"),
    "host and words": ("http://x.example/", "x.example rocks"),
    "address": ("http://x.example/", "info@x.example"),
    "wwwords": ("http://x.example/", "wwwords"),
    "behind the end": ("http://x.example/", "</a>x.example"),
    "behind the next link": ("http://x.example/", "<a name=b>x.example"),
    "in a script": ("http://x.example/", "<script>x.example</script>"),
}


@pytest.mark.parametrize(("url", "words"), NOT_SHOWN.values(), ids=NOT_SHOWN)
def test_link_without_visible_url_is_rewritten(url: str, words: str) -> None:
    assert rewritten(f'<a href="{url}">{words}', LinkOptions(clicks=True)).reasons == ["click"]


def test_area_has_no_visible_text() -> None:
    given = '<area href="http://x.example/">x.example'
    assert rewritten(given, LinkOptions(clicks=True)).reasons == ["click"]


def test_visible_url_in_a_conditional_comment() -> None:
    given = (
        '<a href="http://x.example/"><!--[if mso]>x.example<a href="http://y.example/">y.example</a>'
        "<![endif]-->Words</a>"
    )
    assert rewritten(given, LinkOptions(clicks=True)).reasons == ["click", "visible URL"]


# The unsubscribe tag.

TAGGED = {
    "plain": ("##unsubscribetag##http://x/u?a&amp;b", "http://x/u?a&b"),
    "encoded": ("%23%23unsubscribetag%23%23https://x/u", "https://x/u"),
    "other case, space round": (" ##UnsubscribeTag##HTTPS://x/u ", "HTTPS://x/u"),
    "twice": ("##unsubscribetag##%23%23unsubscribetag%23%23http://x/u", "http://x/u"),
    "opted out of clicks": ("##unsubscribetag##https+notrack://x/u", "https://x/u"),
    "untracked host": ("##unsubscribetag##http://untracked.example/", "http://untracked.example/"),
    "own link": ("##unsubscribetag##http://own.example/click/T", "http://own.example/click/T"),
    "placeholder behind": ("##unsubscribetag##http://x/?{{id}}", "http://x/?{{id}}"),
    "charset": ("##unsubscribetag##http://x/?ü", "http://x/?%FC"),
}


@pytest.mark.parametrize(("value", "destination"), TAGGED.values(), ids=TAGGED)
@pytest.mark.parametrize("clicks", [True, False])
def test_unsubscribe_tag(value: str, destination: str, clicks: bool) -> None:
    options = LinkOptions(
        clicks=clicks,
        own_hosts=frozenset({"own.example"}),
        untracked_hosts=("untracked.example",),
        charset="iso-8859-1",
    )
    found = rewritten(f'<a ses:no-track href="{value}">http://x/u</a>', options)
    expected = f'<a href="{U0}">http://x/u</a>'
    assert found[:3] == (expected, [(LinkKind.UNSUBSCRIBE, destination)], ["unsubscribe"])


def test_unsubscribe_tag_without_quotes() -> None:
    assert rewritten("<a href=##unsubscribetag##http://x/>").text == f'<a href="{U0}">'


@pytest.mark.parametrize(
    "url", ["", "/u", "mailto:a@x", "http:///u", "{{url}}", " http://x/", "http://x/\udcfc"]
)
def test_unsubscribe_tag_without_a_url(url: str) -> None:
    given = f'<a href="##unsubscribetag##{url}">'
    reason = "unsubscribe tag without an absolute http or https URL"
    assert rewritten(given)[:3] == (given, [], [reason])


def test_click_and_unsubscribe_link_to_one_url_differ() -> None:
    found = rewritten('<a href="http://x/"><a href="##unsubscribetag##http://x/">')
    assert found.minted == [(LinkKind.CLICK, "http://x/"), (LinkKind.UNSUBSCRIBE, "http://x/")]


# The pixel: one, in the right place.

PLACED = {
    "open tag": ("<p>a<opentag/>b</p></body>", "<p>a@b</p></body>"),
    "open tag without slash": ("a<opentag>b</body>", "a@b</body>"),
    "open tag, space and upper case": ("a<OpenTag />b", "a@b"),
    "open tag with an end tag": ("a<opentag></opentag>b", "a@b"),
    "open tag over lines": ("a\r\n<opentag\r\n/>b\r\n", "a\r\n@b\r\n"),
    "several": ("a<opentag/>b<opentag/>c</opentag>", "a@bc"),
    "open tag in a comment": ("<!--<opentag/>-->a", "<!--<opentag/>-->a@"),
    "open tag in a title": ("<title><opentag/></title>a", "<title><opentag/></title>a@"),
    "open tag for Outlook only": (
        "<!--[if mso]><opentag/><![endif]-->a</body>",
        "<!--[if mso]><![endif]-->a@</body>",
    ),
    "longer name": ("<opentags/>", "<opentags/>@"),
    "last end of the body": ("a</body>b</BODY\r\n>c</html>", "a</body>b@</BODY\r\n>c</html>"),
    "end of the body in a comment": ("a</body><!--</body>-->", "a@</body><!--</body>-->"),
    "end of the body in a script": (
        "a</body><script>'</body>'</script>",
        "a@</body><script>'</body>'</script>",
    ),
    "end of the body for Outlook only": (
        "a</body><!--[if mso]></body><![endif]-->b",
        "a@</body><!--[if mso]></body><![endif]-->b",
    ),
    "end of the body in a value": ("a<b title='</body>'>b", "a<b title='</body>'>b@"),
    "end of a longer name": ("a</bodyx>b", "a</bodyx>b@"),
    "no end of the body": ("<body>a", "<body>a@"),
    "nothing": ("", "@"),
}


@pytest.mark.parametrize(("given", "expected"), PLACED.values(), ids=PLACED)
def test_where_the_pixel_goes(given: str, expected: str) -> None:
    found = rewritten(given, LinkOptions(clicks=False), PIXEL)
    assert found.text == expected.replace("@", PIXEL)
    assert found.reasons == []


@pytest.mark.parametrize(("given", "expected"), PLACED.values(), ids=PLACED)
def test_open_tags_are_removed_without_a_pixel(given: str, expected: str) -> None:
    assert rewritten(given, LinkOptions(clicks=False)).text == expected.replace("@", "")


def test_pixel_is_an_image_to_html5lib() -> None:
    text = rewritten("<p>a<opentag/>b</body>", pixel=PIXEL).text
    images = [dict(token.attributes) for token in tokens(text) if token.tag == "img"]
    assert images == [{"src": "https://t.example/open?0", "width": "1", "height": "1", "alt": ""}]
