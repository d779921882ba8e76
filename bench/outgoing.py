"""CPU time of processing a mail, without Postfix, Redis and libmilter: `carry` alone, on one core.

Everything is turned on: clicks, opens, a VERP tag, RSA-2048. Links, parts and sizes grow. The time
is this process's own (`time.process_time`), so other load on the machine matters little. Mails are
parsed before the clock starts, since the milter gets them in fields and chunks.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, islice
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fletching.config.load import parse
from fletching.keys.dkim_keys import new_dkim_key
from fletching.keys.link_keys import new_link_key
from fletching.mail.dkim import SigningKey
from fletching.mail.envelope import Envelope, Recipient
from fletching.mail.message import parse as parse_mail
from fletching.numbering import CampaignOf, Numbered
from fletching.outgoing.flow import Outcome, carry
from fletching.outgoing.text_parts import TextPartCache
from fletching.policy.setup import Setup
from fletching.startup import open_setup, stamp, zone
from rich.table import Table

from bench import mails
from bench.course import Effort, Tell
from bench.figures import middle, slope, steepest
from bench.modules import shares

PROFILED = "23 kB"
_ROUNDS, _SECONDS_A_ROUND = 7, 0.2
_QUICK_ROUNDS, _QUICK_SECONDS = 3, 0.02
_RECIPIENTS = 2000
_CONFIG = b"""\
state_dir: state
max_rewrite_size: 16MiB
bounce_mailbox: bounces@example.com
unsubscribe_mailbox: unsubscribe@example.com
url_domain: https://click.example.com
link_keys: link-keys
mail_classes: {newsletter: {list_id: t100, virtual_mta: a, track: {clicks: true, opens: true}}}
virtual_mtas: {a: {transport: vmta-a}}
dkim: {keys: [{domain: example.com, selector: s1, file: s1.pem, default: true}]}
"""

Way = Callable[[], Outcome]


@dataclass(frozen=True, slots=True)
class Growing:
    """Something that grows: its name, its unit, the amounts, and the mail for each amount."""

    name: str
    unit: str
    steps: tuple[float, ...]
    mail: Callable[[float], bytes]


GROWTH = (
    Growing("links", "link", (0, 40, 80, 160, 320), lambda n: mails.linked(int(n))),
    Growing("attached files", "part", (0, 100, 200, 400, 800), lambda n: mails.parted(int(n))),
    Growing("attachment size in MB", "MB", (0, 1, 2, 4, 8), lambda n: mails.newsletter(12, _mb(n))),
    Growing(
        "HTML size in MB",
        "MB",
        (0, 0.25, 0.5, 1, 2),
        lambda n: mails.worded(round(n * 1e6 / mails.LINE)),
    ),
)


def _mb(amount: float) -> int:
    return round(amount * 1e6)


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU milliseconds of one mail by round, and what was done to it.

    ``page_faults``: per mail. If malloc returns large blocks to the kernel and requests them again,
    each page costs time, and a straight line gets a step.
    """

    mail_bytes: int
    links: int
    edits: int
    ms: tuple[float, ...]
    page_faults: float


@dataclass(frozen=True, slots=True)
class Grown:
    """The cost of each amount."""

    name: str
    unit: str
    steps: tuple[float, ...]
    costs: tuple[Cost, ...]

    @property
    def ms(self) -> list[float]:
        # The minimum, since a disturbance only ever adds time.
        return [min(cost.ms) for cost in self.costs]


@dataclass(frozen=True, slots=True)
class Results:
    """All measurements. ``recipients``: a newsletter that differs for each recipient.
    ``module_percent``: share of each module in the newsletter's time.
    """

    sizes: Mapping[str, Cost]
    recipients: Mapping[str, Cost]
    growth: tuple[Grown, ...]
    rsa_ms: tuple[float, ...]
    ed25519_ms: tuple[float, ...]
    module_percent: Mapping[str, float]


def measure(effort: Effort, tell: Tell) -> Results:
    """Measure everything, in this process."""
    with tempfile.TemporaryDirectory() as name:
        setup = opened(Path(name))
    in_shadow = replace(setup, config=setup.config.model_copy(update={"mode": "shadow"}))
    total = len(mails.SIZES) + len(GROWTH) + 2
    sizes: dict[str, Cost] = {}
    for size, mail in mails.SIZES.items():
        tell(f"a mail of {size}", len(sizes) / total)
        sizes[size] = cost(mail, setup, effort)
    growth: list[Grown] = []
    for growing in GROWTH:
        tell(growing.name, (len(sizes) + len(growth)) / total)
        costs = tuple(unknown(growing.mail(step), setup, effort) for step in growing.steps)
        growth.append(Grown(growing.name, growing.unit, growing.steps, costs))
    tell("RSA alone, and the modules", (total - 2) / total)
    rsa, ed25519 = (
        milliseconds(partial(key.sign, b"what is signed" * 50), effort).rounds
        for key in (setup.dkim_keys[0], SigningKey("x", "x", Ed25519PrivateKey.generate(), False))
    )
    repeats = 20 if effort.quick else 200
    modules = shares(way_of(mails.SIZES[PROFILED], setup), repeats)
    campaign = [*islice(mails.campaign(), _RECIPIENTS)]
    recipients = {
        "23 kB, a unique name and link": differing(campaign, setup, effort),
        "the same, in shadow": differing(campaign, in_shadow, effort),
        "23 kB, all links unique": differing(mails.personal(_RECIPIENTS // 10), setup, effort),
        "23 kB, as if it were the first": unknown(mails.SIZES[PROFILED], setup, effort),
    }
    return Results(sizes, recipients, tuple(growth), rsa, ed25519, modules)


def opened(directory: Path) -> Setup:
    """A configuration with everything turned on, and its keys."""
    new_link_key(directory / "link-keys", 0)
    new_dkim_key(directory / "s1.pem", "rsa", 2048)
    return open_setup(parse(_CONFIG, directory / "fletching.yaml"))


def way_of(
    raw: bytes,
    setup: Setup,
    campaign_of: CampaignOf | None = None,
    cache: Callable[[], TextPartCache] | None = None,
) -> Way:
    """A function that processes the mail; it can be called any number of times.

    ``cache``: called each time; by default all calls share a cache of their own.
    """
    mail = parse_mail(raw)
    envelope = Envelope(mails.SENDER, (Recipient(mails.RECIPIENT, "smtp"),), "127.0.0.1")
    now = stamp(zone(setup.config))
    numbered = campaign_of or (lambda _: Numbered("nmarxcaz4ujb", 1))
    text_parts = TextPartCache()
    cached = cache or (lambda: text_parts)
    return lambda: carry(mail, envelope, setup, numbered, now, cached())


def cost(raw: bytes, setup: Setup, effort: Effort) -> Cost:
    """The cost of this mail; an error if it is not accepted."""
    return _cost(len(raw), way_of(raw, setup), effort)


def unknown(raw: bytes, setup: Setup, effort: Effort) -> Cost:
    """The cost of this mail if none of its lines was seen before."""
    return _cost(len(raw), way_of(raw, setup, cache=TextPartCache), effort)


def differing(raw: Sequence[bytes], setup: Setup, effort: Effort) -> Cost:
    """The cost of mails to different recipients, one after another.

    After the last one, the cache is emptied, as if no mail were ever repeated.
    """
    caches = [TextPartCache()]
    ways = [way_of(each, setup, cache=lambda: caches[-1]) for each in raw]
    turn = count()

    def next_one() -> Outcome:
        place = next(turn) % len(ways)
        if place == 0:
            caches[:] = [TextPartCache()]
        return ways[place]()

    return _cost(len(raw[0]), next_one, effort)


def _cost(size: int, way: Way, effort: Effort) -> Cost:
    links, edits = _done(way)
    before = _page_faults()
    ms = milliseconds(way, effort)
    faults = _page_faults() - before
    return Cost(size, links, edits, ms.rounds, faults / ms.calls)


def _done(way: Way) -> tuple[int, int]:
    """The number of rewritten links and of edits."""
    outcome = way()
    assert outcome.refusal is None, outcome.refusal
    assert not outcome.warnings, outcome.warnings
    notes = (outcome.would or outcome).notes
    links = sum(found.rewritten for note in notes for found in note.links)
    return links, len(outcome.edits)


@dataclass(frozen=True, slots=True)
class Milliseconds:
    """CPU milliseconds of one call by round, and the total number of calls."""

    rounds: tuple[float, ...]
    calls: int


def milliseconds(way: Callable[[], object], effort: Effort) -> Milliseconds:
    """Time a call, in rounds that are long enough for the clock."""
    rounds = _QUICK_ROUNDS if effort.quick else _ROUNDS
    seconds = _QUICK_SECONDS if effort.quick else _SECONDS_A_ROUND
    once = _seconds(way, 1)
    repeats = max(1, round(seconds / max(once, 1e-6)))
    taken = tuple(1000 * _seconds(way, repeats) / repeats for _ in range(rounds))
    return Milliseconds(taken, 1 + repeats * rounds)


def _page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _seconds(way: Callable[[], object], repeats: int) -> float:
    began = time.process_time()
    for _ in range(repeats):
        way()
    return time.process_time() - began


def figures(results: Results) -> dict[str, object]:
    """For JSON, with units in the names."""
    return {
        "sizes": {name: _figures(cost) for name, cost in results.sizes.items()},
        "recipients": {name: _figures(cost) for name, cost in results.recipients.items()},
        "rsa_2048_signature_cpu_ms": round(middle(results.rsa_ms), 4),
        "ed25519_signature_cpu_ms": round(middle(results.ed25519_ms), 4),
        "growth": [_grown(grown) for grown in results.growth],
        "profiled_mail": PROFILED,
        "module_percent": {name: round(part, 2) for name, part in results.module_percent.items()},
    }


def _figures(cost: Cost) -> dict[str, object]:
    return {
        "mail_bytes": cost.mail_bytes,
        "links_rewritten": cost.links,
        "edits": cost.edits,
        "median_cpu_ms": round(middle(cost.ms), 4),
        "round_cpu_ms": [round(ms, 4) for ms in cost.ms],
        "page_faults_per_mail": round(cost.page_faults, 1),
    }


def _grown(grown: Grown) -> dict[str, object]:
    return {
        "of": grown.name,
        "amounts": list(grown.steps),
        "mail_bytes": [cost.mail_bytes for cost in grown.costs],
        "links_rewritten": [cost.links for cost in grown.costs],
        "least_cpu_ms": [round(ms, 4) for ms in grown.ms],
        "page_faults_per_mail": [round(cost.page_faults, 1) for cost in grown.costs],
        f"cpu_ms_per_{grown.unit}": round(slope(grown.steps, grown.ms), 5),
        "last_step_price_to_first": round(steepest(grown.steps, grown.ms), 2),
    }


def tables(results: Results) -> Iterator[Table]:
    """Sizes, growth, and modules."""
    yield _sizes(results)
    for grown in results.growth:
        yield _steps(grown)
    table = Table(
        "module", title=f"share by module, {PROFILED}, from the profiler", title_justify="left"
    )
    table.add_column("%", justify="right")
    table.add_column("")
    for name, part in list(results.module_percent.items())[:12]:
        table.add_row(name, f"{part:.1f}", "#" * round(part / 2))
    yield table


def _sizes(results: Results) -> Table:
    rsa = middle(results.rsa_ms)
    ed25519 = middle(results.ed25519_ms)
    title = f"CPU time of a mail (an Ed25519 signature would take {ed25519:.2f} ms)"
    table = Table("mail", title=title, title_justify="left")
    for name in ("bytes", "links", "edits", "ms", "min to max", "page faults", "RSA part"):
        table.add_column(name, justify="right")
    for name, cost in (*results.sizes.items(), *results.recipients.items()):
        ms = middle(cost.ms)
        table.add_row(
            *(name, f"{cost.mail_bytes:,}", str(cost.links), str(cost.edits), f"{ms:.2f}"),
            *(f"{min(cost.ms):.2f}-{max(cost.ms):.2f}", f"{cost.page_faults:.0f}"),
            f"{rsa:.2f} ms, {rsa / ms:.0%}",
        )
    return table


def _steps(grown: Grown) -> Table:
    title = f"growth: {grown.name} ({slope(grown.steps, grown.ms):.4f} ms per {grown.unit})"
    table = Table(grown.name, title=title, title_justify="left")
    for name in ("bytes", "links rewritten", "page faults", "ms (minimum)"):
        table.add_column(name, justify="right")
    table.add_column(f"ms per {grown.unit} since the line above", justify="right")
    for place, (step, cost) in enumerate(zip(grown.steps, grown.costs, strict=True)):
        table.add_row(
            *(f"{step:g}", f"{cost.mail_bytes:,}", str(cost.links), f"{cost.page_faults:.0f}"),
            *(f"{grown.ms[place]:.2f}", _more(grown.steps, grown.ms, place)),
        )
    return table


def _more(steps: Sequence[float], ms: Sequence[float], place: int) -> str:
    if place == 0:
        return ""
    return f"{(ms[place] - ms[place - 1]) / (steps[place] - steps[place - 1]):.4f}"
