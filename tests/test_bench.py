"""bench/: its arithmetic, its mails, what it reads from other programs, and what it writes.

Nothing here says how fast anything is: that would fail on a slow machine. What runs beside a real
Postfix is in tests/real/test_bench.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from email import message_from_bytes, policy
from itertools import pairwise, permutations
from pathlib import Path

import pytest
from fletching.policy.setup import Setup

from bench import (
    against,
    client,
    figures,
    machine,
    mails,
    modules,
    outgoing,
    proof,
    steered,
    store,
    throughput,
)
from bench.course import Effort, in_turn
from bench.machine import Clocks
from bench.setups import FLETCHING, STEERED

ROOT = Path(__file__).parent.parent
THOUSAND = list(range(1, 1001))


class TestPercentile:
    """The nearest rank: always a value that was seen."""

    @pytest.mark.parametrize(
        ("values", "percent", "wanted"),
        [
            pytest.param([7.0], 50, 7.0, id="one value is every percentile"),
            pytest.param([7.0], 99.9, 7.0, id="one value is its tail"),
            pytest.param([1.0, 2.0], 50, 1.0, id="half of two is the lower"),
            pytest.param([3.0, 1.0, 2.0], 50, 2.0, id="order does not matter"),
            pytest.param(THOUSAND, 50, 500, id="half of a thousand"),
            pytest.param(THOUSAND, 99, 990, id="one in a hundred is slower"),
            pytest.param(THOUSAND, 99.9, 999, id="one in a thousand is slower"),
            pytest.param(THOUSAND[:999], 99.9, 999, id="too few for a thousandth: the slowest"),
            pytest.param(THOUSAND, 100, 1000, id="the slowest"),
            pytest.param([1.0, 1.0, 50.0], 99, 50.0, id="an outlier stays"),
        ],
    )
    def test_is(self, values: list[float], percent: float, wanted: float) -> None:
        assert figures.percentile(values, percent) == wanted

    @pytest.mark.parametrize(
        ("values", "percent"),
        [
            pytest.param([], 50, id="no values"),
            pytest.param([1.0], 0, id="no part"),
            pytest.param([1.0], 101, id="more than all"),
        ],
    )
    def test_is_not(self, values: list[float], percent: float) -> None:
        with pytest.raises(ValueError, match=r"no .* % of"):
            figures.percentile(values, percent)


@pytest.mark.parametrize("names", ["AB", "ABC", "ABCD", "ABCDE", "ABCDEF"])
class TestTurns:
    """The order of a round."""

    def test_a_round_has_everybody_once(self, names: str) -> None:
        for number in range(30):
            assert sorted(in_turn(names, number)) == [*names]

    def test_everybody_is_at_each_place_equally_often(self, names: str) -> None:
        rounds = [in_turn(names, number) for number in range(len(names))]
        for place in zip(*rounds, strict=True):
            assert sorted(place) == [*names]

    def test_everybody_is_behind_each_other_one_equally_often(self, names: str) -> None:
        rounds = [in_turn(names, number) for number in range(2 * len(names))]
        behind = Counter(pair for order in rounds for pair in pairwise(order))
        assert behind == dict.fromkeys(permutations(names, 2), 2)


class TestStolen:
    """What a host gave to other machines."""

    @pytest.mark.parametrize(
        ("since", "now", "percent"),
        [
            pytest.param(Clocks(1000, 10), Clocks(1200, 10), 0.0, id="nothing"),
            pytest.param(Clocks(1000, 10), Clocks(1200, 30), 10.0, id="a tenth"),
            pytest.param(Clocks(1000, 10), Clocks(1000, 10), 0.0, id="within one tick"),
        ],
    )
    def test_percent(self, since: Clocks, now: Clocks, percent: float) -> None:
        assert machine.stolen(since, now) == percent

    def test_columns(self) -> None:
        assert Clocks.of("cpu  1 2 3 4 5 6 7 8 9 10") == Clocks(36, 8)

    def test_this_machine_has_clocks(self) -> None:
        assert Clocks.read().all > 0


class TestMiddle:
    """Medians and what is made of rounds."""

    def test_one_disturbed_round_does_not_move_it(self) -> None:
        assert figures.middle([1.0, 1.1, 0.9, 30.0, 1.0]) == 1.0

    def test_of_an_even_number_is_between_the_two(self) -> None:
        assert figures.middle([1.0, 2.0]) == 1.5

    def test_a_ratio_is_made_round_by_round(self) -> None:
        # The machine was twice as slow in the second round, for both.
        assert figures.ratio([1.0, 2.0, 1.0], [2.0, 4.0, 2.0]) == 0.5

    def test_a_ratio_wants_as_many_rounds_of_both(self) -> None:
        with pytest.raises(ValueError, match="zip"):
            figures.ratio([1.0], [1.0, 2.0])

    def test_a_straight_line_has_one_price(self) -> None:
        sizes, costs = (0.0, 10.0, 20.0, 40.0), (5.0, 25.0, 45.0, 85.0)
        assert figures.slope(sizes, costs) == pytest.approx(2)
        assert figures.steepest(sizes, costs) == pytest.approx(1)

    def test_a_square_gets_dearer(self) -> None:
        sizes = (1.0, 2.0, 4.0, 8.0)
        assert figures.steepest(sizes, [size**2 for size in sizes]) == pytest.approx(4)


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    """Fletching with everything on."""
    return outgoing.opened(tmp_path_factory.mktemp("bench"))


def links_rewritten(raw: bytes, setup: Setup) -> int:
    """How many links of a mail are tracked."""
    return outgoing.cost(raw, setup, Effort(quick=True)).links


class TestMails:
    """The mails are what their names say."""

    @pytest.mark.parametrize(
        ("name", "least", "most", "links"),
        [
            pytest.param("2 kB", 1_400, 2_500, 5, id="2 kB"),
            pytest.param("23 kB", 21_000, 25_000, 41, id="23 kB"),
            pytest.param("100 kB", 90_000, 110_000, 167, id="100 kB"),
            pytest.param("1 MB", 950_000, 1_100_000, 41, id="1 MB"),
            pytest.param("10 MB", 9_500_000, 11_000_000, 41, id="10 MB"),
        ],
    )
    def test_size_and_links(
        self, setup: Setup, name: str, least: int, most: int, links: int
    ) -> None:
        raw = mails.SIZES[name]
        assert least <= len(raw) <= most
        assert links_rewritten(raw, setup) == links

    def test_there_are_no_others(self) -> None:
        assert list(mails.SIZES) == ["2 kB", "23 kB", "100 kB", "1 MB", "10 MB"]

    @pytest.mark.parametrize("name", mails.SIZES)
    def test_is_fit_for_smtp(self, name: str) -> None:
        raw = mails.SIZES[name]
        assert raw.isascii()
        assert raw.endswith(b"\r\n")
        assert raw.count(b"\r\n") == raw.count(b"\n") == raw.count(b"\r")
        assert max(map(len, raw.split(b"\r\n"))) <= 998

    def test_is_always_the_same(self) -> None:
        # But for the boundaries, which the email package draws.
        one, other = (
            [
                part.get_payload()
                for part in message_from_bytes(raw).walk()
                if not part.is_multipart()
            ]
            for raw in (mails.newsletter(3, 1000), mails.newsletter(3, 1000))
        )
        assert one == other

    def test_one_asks_for_nothing(self) -> None:
        asked = message_from_bytes(mails.ASKS_NOTHING, policy=policy.default)
        assert not [name for name in asked if name.lower().startswith("x-greenarrow")]
        fields = sum(len(f"{name}: {value}\r\n") for name, value in mails.CONTROL.items())
        assert len(mails.SIZES["23 kB"]) - len(mails.ASKS_NOTHING) == pytest.approx(fields, abs=80)

    @pytest.mark.parametrize("links", [0, 40, 320])
    def test_grows_in_links(self, setup: Setup, links: int) -> None:
        assert links_rewritten(mails.linked(links), setup) == links

    @pytest.mark.parametrize("parts", [0, 3, 100])
    def test_grows_in_parts(self, parts: int) -> None:
        mail = message_from_bytes(mails.parted(parts), policy=policy.default)
        assert len(list(mail.iter_attachments())) == parts

    def test_grows_in_words(self) -> None:
        assert len(mails.worded(2000)) == pytest.approx(2000 * mails.LINE, rel=0.05)


class TestClient:
    """When mails are due, and what is sent."""

    def test_the_schedule_has_the_rate(self) -> None:
        due = client.schedule(5000, 50.0)
        assert due == sorted(due)
        assert due[-1] == pytest.approx(100, rel=0.1)

    def test_the_schedule_is_the_same_for_all(self) -> None:
        assert client.schedule(50, 10.0, seed=1) == client.schedule(50, 10.0, seed=1)
        assert client.schedule(50, 10.0, seed=1) != client.schedule(50, 10.0, seed=2)

    def test_without_a_rate_all_are_due_at_once(self) -> None:
        assert client.schedule(3, 0) == [0.0, 0.0, 0.0]

    def test_dots_are_doubled_and_the_end_is_one(self) -> None:
        before, mail = client.dialogue(
            b"A: b\r\n\r\n.one\r\n..two\r\n", "s@x.example", "r@y.example"
        )
        assert before == b"MAIL FROM:<s@x.example>\r\nRCPT TO:<r@y.example>\r\nDATA\r\n"
        assert mail == b"A: b\r\n\r\n..one\r\n...two\r\n.\r\n"

    def test_a_last_line_without_end_gets_one(self) -> None:
        assert client.dialogue(b"\r\nend", "s@x.example", "r@y.example")[1] == b"\r\nend\r\n.\r\n"

    def test_waiting_in_the_client_counts(self) -> None:
        times = client.Times(due=1.0, begun=3.0, dot=3.5, answered=4.0)
        assert times.service == 0.5
        assert times.from_schedule == 3.0


class TestReading:
    """What other programs say."""

    def test_redis_benchmark(self) -> None:
        said = (
            '"test","rps","avg_latency_ms","max_latency_ms"\n'
            '"EVALSHA 1 {"a":"b","c":"d"} 2","27027.03","0.336","0.719"\n'
        )
        wanted = {"rps": 27027.03, "avg_latency_ms": 0.336, "max_latency_ms": 0.719}
        assert store.parsed_csv(said) == wanted

    def test_monitor_of_redis(self) -> None:
        line = r'1795256350.1 [0 unix:/x y] "EVALSHA" "" "{\"a\":\"\\\\b\"}" "\x00"' + "\n"
        assert store.monitored(line) == ("EVALSHA", "", r'{"a":"\\b"}', "\0")

    def test_module_of_a_file(self) -> None:
        assert modules.module("/anywhere/milter/fletching/outgoing/sign.py") == "outgoing/sign"
        assert modules.module("/usr/lib/python3/re.py") == ""

    @pytest.mark.parametrize(
        ("lines", "count"),
        [
            pytest.param(["mail queue_id=1 verdict=reject reply=550 x"], 1, id="refused"),
            pytest.param(["mail queue_id=1 verdict=accept warning=x s=1"], 1, id="warned"),
            pytest.param(["mail queue_id=1 verdict=accept s=1"], 2, id="too few"),
            pytest.param(["mail queue_id=1 verdict=accept s=1"] * 2, 1, id="too many"),
        ],
    )
    def test_a_milter_that_did_not_do_its_work(self, lines: list[str], count: int) -> None:
        with pytest.raises(proof.IdleError):
            proof.check_log(lines, count)

    def test_a_milter_that_did_its_work(self) -> None:
        proof.check_log(["mail queue_id=1 verdict=accept s=1"], 1)


class TestLoads:
    """Which runs of throughput there are."""

    def test_by_default(self) -> None:
        loads = {(cell.size, cell.connections) for cell in throughput.cells(Effort())}
        assert loads == {(size, 10) for size in mails.SIZES} | {("23 kB", 1), ("23 kB", 50)}

    def test_all(self) -> None:
        loads = [(cell.size, cell.connections) for cell in throughput.cells(Effort(full=True))]
        assert len(loads) == len(set(loads)) == 3 * len(mails.SIZES)

    def test_rounds(self) -> None:
        assert Effort().rounds >= 5  # asked for
        assert Effort().rounds % 6 == 0  # six set-ups, each behind each other one equally often


@pytest.mark.slow
class TestCommand:
    """python -m bench"""

    def test_writes_figures_and_a_picture(self, tmp_path: Path) -> None:
        words = ["--quick", "--only", "outgoing", "--out", str(tmp_path)]
        done = _bench(*words)
        assert done.returncode == 0, done.stderr
        report = json.loads((tmp_path / "bench.json").read_text("utf-8"))
        assert list(report) == ["machine", "quick", "all", "stolen_percent", "outgoing"]
        assert list(report["stolen_percent"]) == ["outgoing"]
        assert {"date", "cpu_model", "cores", "kernel", "versions", "git_commit"} <= set(
            report["machine"]
        )
        assert set(report["machine"]["versions"]) == {
            *("postfix", "redis", "opendkim", "dkimpy-milter", "libmilter", "python"),
            *("openssl", "openssl_of_opendkim"),
        }
        assert list(report["outgoing"]["sizes"]) == list(mails.SIZES)
        assert all(cost["median_cpu_ms"] > 0 for cost in report["outgoing"]["sizes"].values())
        assert report["outgoing"]["rsa_2048_signature_cpu_ms"] > 0
        assert [len(grown["least_cpu_ms"]) for grown in report["outgoing"]["growth"]] == [5] * 4
        assert sum(report["outgoing"]["module_percent"].values()) == pytest.approx(100, abs=0.5)
        assert (tmp_path / "profile.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        assert sorted(file.name for file in tmp_path.iterdir()) == ["bench.json", "profile.png"]

    def test_help_has_examples(self) -> None:
        assert "make bench BENCH=--quick" in _bench("--help").stdout

    def test_an_unknown_benchmark(self, tmp_path: Path) -> None:
        done = _bench("--only", "outgoing,cellar", "--out", str(tmp_path / "none"))
        assert done.returncode == 2
        said = " ".join(done.stderr.replace("│", "").split())
        assert "cellar: must be one of throughput, latency, store, statistics, traces" in said
        assert not (tmp_path / "none").exists()


def _bench(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


class TestAgainst:
    """One version beside another."""

    def test_a_ratio_is_made_round_by_round(self) -> None:
        slow, fast = throughput.Run(1.1, 0.55), throughput.Run(1.0, 0.5)
        runs = {turn: [slow if turn.version == against.BEFORE else fast] for turn in against.TURNS}
        columns = [list(column.cells) for column in against.table(runs).columns]
        assert columns[0] == [against.PLAIN, against.WARNED]
        assert columns[3] == ["+10.0 %"] * 2
        assert columns[6] == ["+9.1 %"] * 2

    def test_cost_of_steering_is_a_ratio_within_rounds(self) -> None:
        runs = {
            FLETCHING: [throughput.Run(1.0, 0.5)] * 3,
            STEERED: [throughput.Run(1.25, 0.6)] * 3,
        }
        assert steered.slower(runs) == pytest.approx(20)
        assert list(steered.table(runs).columns[3].cells) == ["", "20.0 %"]

    @pytest.mark.parametrize("told", ["", "warning=x "])
    def test_a_mail_is_warned_of_or_not(self, told: str) -> None:
        lines = [f"mail queue_id=1 verdict=accept {told}s=1"]
        proof.check_log(lines, 1, warned=bool(told))
        with pytest.raises(proof.IdleError):
            proof.check_log(lines, 1, warned=not told)
