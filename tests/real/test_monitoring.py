"""The Grafana board: a real Prometheus scrapes a running Fletching, and has data for each query."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import pytest
from fletching.metrics import reference

from monitoring.board import board, queries
from sandbox.postfix import Postfix
from sandbox.processes import Daemon, free_port, program, wait_until
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink
from sandbox.web import ask

from .fletching import Fletching
from .mails import NEWSLETTER, RECIPIENT, SENDER, body_of, mail

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parent.parent.parent / "deploy" / "monitoring"


@pytest.fixture
def metrics_port() -> int:
    return free_port()


@pytest.fixture
def web_port() -> int:
    return free_port()


@pytest.fixture
def fletching(
    fresh: Path, postfix: Postfix, redis: RedisServer, metrics_port: int, web_port: int
) -> Iterator[Fletching]:
    change = {
        "metrics": {"listen": f"127.0.0.1:{metrics_port}"},
        "mail_classes": {"trial": {"mode": "shadow"}},
        "web": {"listen": f"127.0.0.1:{web_port}"},
        "lmtp": {"listen": f"unix:{fresh}/sockets/lmtp.sock"},
        "postfix": {"log": str(postfix.root / "maillog")},
        "events": {"destinations": [{"name": "all", "file": str(fresh / "events.jsonl")}]},
    }
    with Fletching(fresh, redis.unix_url, change, command="run") as daemons:
        daemons.join(postfix)
        postfix.set(relay_domains="example.com")
        yield daemons


@pytest.fixture
def prometheus(fresh: Path, fletching: Fletching, metrics_port: int) -> Iterator[int]:
    """The port of a Prometheus with the rules, which scrapes each second."""
    port = free_port()
    folder = fresh.with_name(f"{fresh.name}-prometheus")
    folder.mkdir()
    (folder / "prometheus.yml").write_text(f"""\
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{FOLDER}/fletching.rules.yml"]
scrape_configs:
  - job_name: fletching
    static_configs: [{{targets: ["127.0.0.1:{metrics_port}"]}}]
""")
    words = [
        program("prometheus", "prometheus"),
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    daemon = Daemon(words, folder / "log")
    daemon.start(lambda: ready(port))
    try:
        yield port
    finally:
        daemon.stop()


def ready(port: int) -> bool:
    try:
        return ask(port, f"http://127.0.0.1:{port}/-/ready").status == 200
    except OSError:
        return False


def found(port: int, query: str) -> list[object]:
    """What Prometheus answers, with the variables of the board as Grafana fills them in."""
    filled = query.replace("$__rate_interval", "1m").replace("$host", ".*")
    answer = ask(port, f"http://127.0.0.1:{port}/api/v1/query?query={quote(filled)}")
    reply = json.loads(answer.body)
    assert reply["status"] == "success", (query, reply)
    result: list[object] = reply["data"]["result"]
    return result


def test_each_query_of_the_board_has_data(
    prometheus: int, web_port: int, postfix: Postfix, sinks: Mapping[str, Sink]
) -> None:
    raw = mail(
        b"MIME-Version: 1.0",
        b"Content-Type: text/html",
        NEWSLETTER,
        b"X-GreenArrow-MtaID: a",
        b"X-GreenArrow-Nothing: unknown, so a warning",
        body=b'<a href="https://shop.example.com/">Offers</a>\r\n',
    )
    assert postfix.submit(raw, SENDER, [RECIPIENT]).accepted
    in_shadow = mail(b"X-GreenArrow-MailClass: trial")
    assert postfix.submit(in_shadow, SENDER, [RECIPIENT]).accepted
    (arrived,) = sinks["vmta-a"].wait()
    link = re.search(r"https://click\.example\.com/click[^\s\">]+", body_of(arrived.raw).decode())
    assert link is not None
    assert ask(web_port, link[0]).status == 302
    assert postfix.submit(mail(), "", [arrived.sender]).accepted

    def without_data() -> set[str]:
        return {query for query in queries() if not found(prometheus, query)}

    wait_until("not all queries have data", lambda: not without_data(), 90)
    assert without_data() == set()


def test_board_and_table_of_metrics_agree() -> None:
    """Every metric is on the board, and the board has no other."""
    page = (FOLDER.parent.parent / "docs" / "metrics.md").read_text("utf-8")
    table = page.partition(reference.HEADING)[2]
    exported = set(re.findall(r"(?m)^\| `(fletching_\w+)`", table))
    asked = {
        name.removesuffix("_bucket")
        for query in queries()
        for name in re.findall(r"fletching_\w+", query)
    }
    assert asked == exported


def test_board_is_the_one_in_deploy() -> None:
    """`make docs` writes it."""
    assert json.loads((FOLDER / "fletching-board.json").read_text()) == board()


def test_panels_do_not_overlap() -> None:
    taken = set[tuple[int, int]]()
    for panel in board()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
