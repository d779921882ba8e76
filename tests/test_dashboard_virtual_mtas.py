"""VirtualMTAs on the dashboard: their state, their limits, the curve of a warm-up."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import html5lib  # type: ignore[import-untyped]
import pytest
from fletching import paused
from fletching.numbering import Candidate, Question
from fletching.policy import limits
from fletching.startup import stamp, zone
from fletching.store.campaigns import Campaigns

from sandbox.redis_server import RedisServer
from tests.dashboard_client import PASSWORD, Browser, logged_in
from tests.dashboard_numbers import Numbers, served
from tests.setting import config
from tests.stores import shared_store
from tests.test_dashboard import body
from tests.test_dashboard_traces import words

pytestmark = pytest.mark.slow

BERLIN = ZoneInfo("Europe/Berlin")
SINCE = datetime.now(BERLIN).date() - timedelta(days=2)
SITE = """\
timezone: Europe/Berlin
state_dir: %s
virtual_mtas:
  a: {transport: vmta-a, address: 127.0.0.9}
  <b>: {transport: vmta-b, address: 192.0.2.9, fallback: a}
  far: {transport: relay, relay: "[smtp.example.net]:587", limits: {hour: 500}}
  warm: {transport: vmta-w, warmup: {since: %s, start: 100, growth: 2, until: 1000}}
  later: {transport: vmta-l, warmup: {since: 2099-01-01, start: 100, growth: 2, until: 1000}}
  bulk: {pool: {a: 3, warm: 1}}
"""


def page(port: int) -> str:
    found = body(port, "/virtual-mtas")
    html5lib.HTMLParser(strict=True).parse(found)
    return found


def test_states_limits_and_curve(redis: RedisServer, tmp_path: Path) -> None:
    redis.client.flushall()
    text = SITE % (tmp_path, SINCE)
    paused.write(tmp_path, frozenset({"a"}))
    site = config(text)
    for name in ("far", "warm"):
        mta = site.virtual_mta(name)
        assert mta is not None
        candidate = Candidate(name, limits.periods(mta, stamp(zone(site)).time))
        question = Question(
            *("a1", "a", "1", "", 0, 86400, "a" * 12, (), 86400),
            candidates=(candidate,),
            counted=(("google", 20),),
        )
        assert Campaigns(shared_store(redis.url)).campaign_of(question)
    with served(Numbers(), redis=redis.url, site=text) as port:
        found = page(port)
    shown = words(found)
    assert "a vmta-a paused" in shown
    assert "<b> vmta-b a address 192.0.2.9 has vanished" in shown
    assert "far relay to [smtp.example.net]:587 active" in shown
    assert "later vmta-l warm-up begins on 2099-01-01" in shown
    assert "bulk pool of a (3), warm (1) active" in shown
    assert "far google, this hour 20 500 4 %" in shown
    assert "warm google, this day 20 400 5 %" in shown
    assert f"{SINCE}: 0 of 100, {SINCE + timedelta(1)}: 0 of 200, " in found
    assert f"{SINCE + timedelta(2)}: 20 of 400, " in found
    assert '<a href="/virtual-mtas" aria-current="page">' in found


def test_without_virtual_mtas_there_is_nothing_to_show() -> None:
    with served(Numbers()) as port:
        assert words(page(port)) == "VirtualMTAs No VirtualMTAs are configured."


def test_virtual_mta_is_paused_and_resumed(
    tmp_path: Path, redis: RedisServer, capfd: pytest.CaptureFixture[str]
) -> None:
    with served(Numbers(), PASSWORD, redis=redis.url, site=SITE % (tmp_path, SINCE)) as port:
        browser = logged_in(port)
        question = browser.get("/virtual-mtas/pause", name="<b>").text
        html5lib.HTMLParser(strict=True).parse(question)
        assert "On this host, pools skip it, and other mail for it uses a." in question
        assert paused.read(tmp_path) == frozenset(), "the question changes nothing"
        answer = browser.post("/virtual-mtas/pause", name="<B>")
        assert (answer.status, answer.headers["Location"]) == (303, "/virtual-mtas")
        assert paused.read(tmp_path) == {"<b>"}
        assert 'aria-label="Resume &lt;b&gt;"' in browser.get("/virtual-mtas").text
        browser.post("/virtual-mtas/resume", name="<b>")
        assert paused.read(tmp_path) == frozenset()
    lines = capfd.readouterr().err
    assert "dashboard_action client=127.0.0.1 action=pause virtual_mta=<b>\n" in lines
    assert "dashboard_action client=127.0.0.1 action=resume virtual_mta=<b>\n" in lines


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/virtual-mtas/pause?name=a", 200),
        ("GET", "/virtual-mtas/pause?name=far", 200),
        ("GET", "/virtual-mtas/pause?name=bulk", 404),
        ("GET", "/virtual-mtas/pause?name=nowhere", 404),
        ("GET", "/virtual-mtas/pause", 404),
        ("GET", "/virtual-mtas/resume?name=a", 405),
        ("DELETE", "/virtual-mtas", 405),
        ("GET", "/virtual-mtas/nowhere", 404),
    ],
)
def test_status_of_each_virtual_mta_request(
    tmp_path: Path, method: str, path: str, status: int
) -> None:
    with served(Numbers(), PASSWORD, site=SITE % (tmp_path, SINCE)) as port:
        assert logged_in_without_redis(port).request(method, path, {}).status == status


def logged_in_without_redis(port: int) -> Browser:
    browser = Browser(port)
    answer = browser.post("/login", password=PASSWORD)
    browser.cookie = answer.headers["Set-Cookie"].partition(";")[0]
    return browser


@pytest.mark.parametrize("action", ["pause", "resume"])
@pytest.mark.parametrize("name", ["bulk", "nowhere", "", "a\nb"])
def test_only_a_configured_virtual_mta_is_paused(
    tmp_path: Path, redis: RedisServer, action: str, name: str
) -> None:
    with served(Numbers(), PASSWORD, redis=redis.url, site=SITE % (tmp_path, SINCE)) as port:
        assert logged_in(port).post(f"/virtual-mtas/{action}", name=name).status == 422
    assert paused.read(tmp_path) == frozenset()


@pytest.mark.parametrize("action", ["pause", "resume"])
def test_pause_requires_a_login_and_its_token(
    tmp_path: Path, redis: RedisServer, action: str
) -> None:
    paused.write(tmp_path, frozenset({"far"}))
    site, path = SITE % (tmp_path, SINCE), f"/virtual-mtas/{action}"
    with served(Numbers(), PASSWORD, redis=redis.url, site=site) as port:
        assert Browser(port).post(path, name="far").status == 403
        assert logged_in(port).post(path, token="0" * 64, name="a").status == 403
    with served(Numbers(), redis=redis.url, site=site) as port:
        assert Browser(port).post(path, name="a").status == 403
        assert "<button aria-label" not in page(port)
    assert paused.read(tmp_path) == {"far"}


def test_pauses_of_two_processes_are_both_kept(tmp_path: Path) -> None:
    names = [f"vmta{number}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(paused.change, tmp_path, name, pause=True) for name in names]:
            done.result()
    assert paused.read(tmp_path) == set(names)
