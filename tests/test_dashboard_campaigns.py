"""The list of campaigns on the dashboard: search, dates, order, pages, totals, CSV."""

from __future__ import annotations

import csv
import io
import re
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import urlencode

import html5lib  # type: ignore[import-untyped]
import pytest
from fletching.daemons.dashboard.campaign_list import MOST_CAMPAIGNS, Shown, csv_pieces
from fletching.daemons.dashboard.campaign_query import Query
from fletching.daemons.dashboard.campaigns import CampaignList
from fletching.figures import campaign_row, share_of_all
from fletching.store.counts import Campaign, Counts, total

from tests.dashboard_numbers import OPENED, Numbers, campaign, served

pytestmark = pytest.mark.slow

DAY = 86400
HOSTILE = "<script>alert(1)</script>\"'&"
PERCENT = "\N{NO-BREAK SPACE}%"


def respond(port: int, path: str, method: str = "GET") -> tuple[HTTPResponse, str]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as client:
        client.request(method, path)
        response = client.getresponse()
        return response, response.read().decode()


def body(port: int, path: str) -> str:
    response, text = respond(port, path)
    assert response.status == 200
    return text


def names(page: str) -> list[str]:
    """The SendIDs of a page, in order."""
    return re.findall(r'href="/campaign/[a-z2-7]+">([^<]*)<', page)


def cells(page: str) -> dict[str, str]:
    return dict(re.findall(r'data-cell="([^"]+)">([^<]*)<', page))


@pytest.fixture
def numbers() -> Numbers:
    """Three campaigns of three days, newest first."""
    measured = {"delivered": 900, "unique_opens": 450, "bounces_hard": 20, "bounces_soft": 10}
    return Numbers(
        campaign("aaaa", "shop3", sent=1000, **measured, subject="Sale: 20 % off", listid="vip"),
        campaign(
            *("bbbb", "news2"),
            sent=50,
            delivered=None,
            unique_opens=40,
            bounces_hard=None,
            opened=OPENED - DAY,
            subject="Grüße",
        ),
        campaign("cccc", "news1", sent=10, opened=OPENED - 2 * DAY, mail_class="Transactional"),
    )


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, ["shop3", "news2", "news1"]),
        ({"q": "NEWS2"}, ["news2"]),
        ({"q": "grüße"}, ["news2"]),
        ({"q": " sale:  20 % "}, ["shop3"]),
        ({"q": "VIP"}, ["shop3"]),
        ({"q": "transact"}, ["news1"]),
        ({"q": "cccc"}, ["news1"]),
        ({"q": "nosuch"}, []),
        ({"from": "2026-11-21"}, ["shop3"]),
        ({"to": "2026-11-20"}, ["news2", "news1"]),
        ({"from": "2026-11-20", "to": "2026-11-20"}, ["news2"]),
        ({"from": "2026-11-20", "to": "2026-11-20", "q": "shop"}, []),
        # They began at 08:00 UTC: 22:00 of the day before in Honolulu.
        ({"from": "2026-11-21", "zone": "Pacific/Honolulu"}, []),
        ({"to": "2026-11-20", "zone": "Pacific/Honolulu"}, ["shop3", "news2", "news1"]),
        ({"from": "2026-11-21", "zone": "../etc/passwd"}, ["shop3"]),
        ({"from": "yesterday", "to": "2026-13-01"}, ["shop3", "news2", "news1"]),
        ({"order": "sent"}, ["shop3", "news2", "news1"]),
        ({"order": "unique_opens_share"}, ["news2", "shop3", "news1"]),
        ({"order": "bounces_share"}, ["shop3", "news1", "news2"]),
        ({"order": "nosuch"}, ["shop3", "news2", "news1"]),
    ],
)
def test_search_dates_and_order_choose_the_campaigns(
    numbers: Numbers, fields: dict[str, str], found: list[str]
) -> None:
    address = "/?" + urlencode(fields)
    with served(numbers) as port:
        page = body(port, address)
        rows = list(csv.DictReader(io.StringIO(body(port, "/campaigns.csv?" + urlencode(fields)))))
    assert names(page) == found
    assert [row["sendid"] for row in rows] == found
    if not found:
        assert "No campaign matches." in page
    assert html5lib.HTMLParser(strict=True).parse(page) is not None


def test_row_shows_subject_class_list_and_time(numbers: Numbers) -> None:
    with served(numbers) as port:
        page = body(port, "/")
    assert '<bdi class="subject">Sale: 20 % off</bdi>' in page
    assert "<small>newsletter, list vip, <time datetime=" in page
    assert '<time datetime="2026-11-21T08:00:00Z">2026-11-21 08:00</time>' in page
    assert "<p data-zone>Times are UTC.</p>" in page


def test_shares_name_their_denominator(numbers: Numbers) -> None:
    with served(numbers) as port:
        shown = cells(body(port, "/"))
        one, two = cells(body(port, "/campaign/aaaa")), cells(body(port, "/campaign/bbbb"))
    assert shown["aaaa.unique_opens.share"] == f"50.0{PERCENT}"
    assert shown["bbbb.unique_opens.share"] == f"80.0{PERCENT} of sent"
    assert shown["cccc.unique_opens.share"] == "", "nothing is delivered yet"
    assert shown["aaaa.bounces.share"] == f"3.0{PERCENT}"
    assert shown["aaaa.delivered.share"] == f"90.0{PERCENT}"
    assert "aaaa.opens.share" not in shown
    assert one["unique_opens"] == f"450 (50.0{PERCENT} of delivered)"
    assert one["bounces_hard"] == f"20 (2.0{PERCENT} of sent)"
    assert two["unique_opens"] == f"40 (80.0{PERCENT} of sent)"


def test_totals_of_what_matches(numbers: Numbers) -> None:
    with served(numbers) as port:
        everything, some = body(port, "/"), body(port, "/?q=letter")
    assert "Total of all 3<" in everything
    assert cells(everything)["total.sent"] == "1,060"
    assert "Total of all 2<" in some
    assert (cells(some)["total.sent"], cells(some)["total.unique_opens"]) == ("1,050", "490")


def test_share_of_a_total_is_of_the_campaigns_that_measure_it() -> None:
    measured = Counts(sent=100, delivered=80, unique_opens=40)
    unopened = Counts(sent=900, delivered=900, unique_opens=None)
    unknown = Counts(sent=100, delivered=None, unique_opens=40)
    assert share_of_all([measured, unopened], "unique_opens") == (50.0, "delivered")
    assert share_of_all([measured, unknown], "unique_opens") == (40.0, "sent")
    assert share_of_all([measured, unopened], "delivered") == (98.0, "sent")
    assert share_of_all([unopened], "unique_opens") is None


def test_total_of_what_nothing_measures_is_unknown() -> None:
    one, two = Counts(sent=2, opens=None, clicks=None), Counts(sent=3, opens=5, clicks=None)
    found = total([one, two])
    assert (found.sent, found.opens, found.clicks) == (5, 5, None)
    assert total([]).sent == 0


def many(count: int) -> Numbers:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return Numbers(
        *(
            campaign(f"{letters[n // 26 % 26]}{letters[n % 26]}{n // 676 * 'a'}", f"n{n}", sent=n)
            for n in range(count)
        )
    )


def test_every_page_of_a_search_is_reached_by_links_and_number() -> None:
    with served(many(2 * MOST_CAMPAIGNS + 20)) as port:
        address, seen = "/?q=n&order=sent", []
        while address:
            page = body(port, address)
            seen += names(page)
            link = re.search(r'rel="next" href="([^"]+)"', page)
            address = link[1].replace("&amp;", "&") if link else ""
        assert seen == [f"n{n}" for n in reversed(range(220))]
        assert 'name="page" min="1" max="3" value="3"' in page
        assert "Total of all 220<" in page
        assert names(body(port, "/?q=n&order=sent&page=2")) == seen[100:200]
        plain = body(port, "/?page=2")
        assert "Total of 100 on this page<" in plain
        assert "220 campaigns." in plain
        csv_address = re.search(r'href="(/campaigns.csv[^"]*)" download', page)
        assert csv_address
        assert csv_address[1] == "/campaigns.csv?q=n&amp;order=sent"
        rows = body(port, csv_address[1].replace("&amp;", "&")).splitlines()
        assert len(rows) == 221


def test_only_the_newest_are_added_up_and_sorted() -> None:
    found = CampaignList(many(250), most_summed=120)  # type: ignore[arg-type]

    def shown(asked: Query) -> Shown:
        return found._shown(asked)

    by_time = shown(Query(search="n", page=3))
    assert (by_time.count, len(by_time.summed), by_time.is_cut) == (250, 120, True)
    assert [each.sendid for each in by_time.found] == [f"n{n}" for n in range(200, 250)]
    sorted_by_sent = shown(Query(search="n", order="sent"))
    assert (sorted_by_sent.count, sorted_by_sent.pages) == (120, 2)
    assert sorted_by_sent.found[0].sendid == "n119"


@pytest.mark.parametrize("path", ["/?q=news", "/?page=2", "/?order=sent", "/?from=2026-11-20"])
def test_only_the_plain_first_page_is_live(numbers: Numbers, path: str) -> None:
    with served(numbers) as port:
        assert "data-live=" in body(port, "/")
        assert "data-live=" not in body(port, path)


def test_search_is_escaped(numbers: Numbers) -> None:
    numbers.set("aaaa", subject=HOSTILE, listid=HOSTILE)
    with served(numbers) as port:
        page = body(port, "/?" + urlencode({"q": HOSTILE, "zone": HOSTILE, "order": HOSTILE}))
        one = body(port, "/campaign/aaaa")
    for text in (page, one):
        tree = html5lib.parse(text, namespaceHTMLElements=False)
        assert not any("alert" in (each.text or "") for each in tree.iter("script"))
    field = next(each for each in tree.iter("bdi"))
    assert field.text == HOSTILE
    assert 'value="&lt;script&gt;' in page


# CSV


def test_csv_has_the_names_of_stats_and_plain_numbers(numbers: Numbers) -> None:
    with served(numbers) as port:
        response, text = respond(port, "/campaigns.csv")
        head, nothing = respond(port, "/campaigns.csv", "HEAD")
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert response.headers["Content-Disposition"] == 'attachment; filename="campaigns.csv"'
    assert (head.status, nothing) == (200, "")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == list(campaign_row(Campaign()))
    assert (rows[0]["sent"], rows[1]["delivered"]) == ("1000", "")
    assert rows[1]["subject"] == "Grüße"
    assert rows[0]["opened"] == "2026-11-21T08:00:00Z"


@pytest.mark.parametrize(
    ("subject", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t'=1"),
        ("\r=1", "'\r'=1"),
        ("a=1", "a=1"),
        ("a;=1+1", "a;'=1+1"),
        ('a;"=1+1', "a;\"'=1+1"),
        ("a\n@SUM(A1)", "a\n'@SUM(A1)"),
        ("Sale; -20 %", "Sale; -20 %"),
        ('say "hi", Joe', 'say "hi", Joe'),
        ("", ""),
    ],
)
def test_csv_has_no_formulas(subject: str, written: str) -> None:
    found = campaign("aaaa", "-news", subject=subject, sent=3)
    text = "".join(csv_pieces([found] * 450))
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == 450
    assert (rows[-1]["subject"], rows[-1]["sendid"], rows[-1]["sent"]) == (written, "'-news", "3")


def test_csv_while_redis_is_away(numbers: Numbers) -> None:
    numbers.away = True
    with served(numbers) as port:
        assert respond(port, "/campaigns.csv")[0].status == 503
        assert respond(port, "/?q=news")[0].status == 503
