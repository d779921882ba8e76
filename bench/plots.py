"""The figures as charts. Nothing is measured here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from bench import latency, outgoing, throughput
from bench.figures import percentile
from bench.setups import ALONE, BLIND, COLLECTS, DKIMPY, FLETCHING, OPENDKIM

# Servers have no display.
mpl.use("Agg")

_COLOURS: Mapping[str, str] = {
    ALONE: "#bbbbbb",
    COLLECTS: "#88aabb",
    BLIND: "#88bb99",
    OPENDKIM: "#ddaa55",
    DKIMPY: "#aa6655",
    FLETCHING: "#226699",
}
_CONNECTIONS = 10
_MODULES_SHOWN = 14
_DOTS = 120
_WHOLE = 20


def plot_throughput(results: throughput.Results, folder: Path) -> None:
    """Mails per second by setup, one panel per size: ``throughput.png``."""
    usual = [found for found in results if found.cell.connections == _CONNECTIONS]
    sizes = list(dict.fromkeys(found.cell.size for found in usual))
    figure = Figure(figsize=(3 * len(sizes), 4.5), layout="constrained")
    panels = figure.subplots(1, len(sizes), squeeze=False)[0]
    for axes, size in zip(panels, sizes, strict=True):
        for place, found in enumerate(one for one in usual if one.cell.size == size):
            speed = found.mails_per_second
            colour = _COLOURS[found.setup]
            bar = axes.bar([place], [speed], 0.85, color=colour, label=found.setup)
            axes.bar_label(bar, fmt="{:.0f}" if speed > _WHOLE else "{:.1f}", fontsize=8)
        axes.set_title(size)
        axes.set_xticks([])
        axes.set_ylim(bottom=0)
    panels[0].set_ylabel(f"mails per second over {_CONNECTIONS} connections")
    bars, names = panels[0].get_legend_handles_labels()
    figure.legend(bars, names, loc="outside lower center", ncols=len(names), fontsize=8)
    figure.savefig(folder / "throughput.png", dpi=_DOTS)


def plot_latency(results: latency.Results, folder: Path) -> None:
    """p50, p99 and p99.9 by load, one panel each: ``latency.png``."""
    percents = (50.0, 99.0, 99.9)
    figure = Figure(figsize=(13, 5), layout="constrained")
    panels = figure.subplots(1, len(percents))
    for axes, percent in zip(panels, percents, strict=True):
        for setup in dict.fromkeys(load.setup for load in results.loads):
            loads = [load for load in results.loads if load.setup == setup]
            shares = [100 * load.share for load in loads]
            colour = _COLOURS[setup]
            service = [percentile(load.service_ms, percent) for load in loads]
            waited = [percentile(load.from_schedule_ms, percent) for load in loads]
            axes.plot(shares, service, "o-", color=colour, label=f"{setup}: dot to reply")
            axes.plot(shares, waited, ".:", color=colour, label=f"{setup}: due to reply")
        axes.set_title(f"p{percent:g}")
        axes.set_xlabel(f"% of {results.highest:.0f} mails/s")
        axes.set_ylabel("milliseconds")
        axes.set_ylim(bottom=0)
    lines, names = panels[0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside lower center", ncols=len(names) // 2, fontsize=8)
    figure.savefig(folder / "latency.png", dpi=_DOTS)


def plot_profile(results: outgoing.Results, folder: Path) -> None:
    """The share of each module in the newsletter's time: ``profile.png``."""
    shown = list(results.module_percent.items())[:_MODULES_SHOWN]
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(
        [name for name, _ in shown], [part for _, part in shown], color=_COLOURS[FLETCHING]
    )
    axes.bar_label(bars, fmt="{:.1f}", fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("% of the CPU time, from the profiler")
    axes.set_title(f"CPU time by module for a mail of {outgoing.PROFILED}")
    figure.savefig(folder / "profile.png", dpi=_DOTS)
