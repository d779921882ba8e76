"""The panels of the Grafana board, and their form as Grafana's JSON (Grafana 9 and later).

A panel is a title, a unit and its queries. The variable `$host` is the `instance` of the scrape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_WIDTH, _HEIGHT, _PER_ROW = 8, 7, 3
"""Of a panel, in Grafana's grid of 24 columns."""

_SOURCE = {"type": "prometheus", "uid": "${source}"}


@dataclass(frozen=True, slots=True)
class Panel:
    """``queries``: legend and PromQL. ``unit``: as Grafana names it."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]


def _rate(metric: str, by: str = "") -> str:
    """Per second over all workers; ``by``: a label to keep."""
    rate = f'rate({metric}{{instance=~"$host"}}[$__rate_interval])'
    return f"sum by ({by}) ({rate})" if by else f"sum({rate})"


def _quantile(share: float, metric: str) -> str:
    return f"histogram_quantile({share}, {_rate(f'{metric}_bucket', 'le')})"


def _seconds(metric: str) -> tuple[tuple[str, str], ...]:
    return tuple((f"p{share * 100:.0f}", _quantile(share, metric)) for share in (0.5, 0.99))


def _gauge(metric: str) -> str:
    return f'{metric}{{instance=~"$host"}}'


ROWS: Mapping[str, tuple[Panel, ...]] = {
    "Mail": (
        Panel(
            "Mails by verdict",
            "reqps",
            (("{{verdict}}", _rate("fletching_mails_total", "verdict")),),
        ),
        Panel(
            "Mails by Mail Class",
            "reqps",
            (("{{mail_class}}", _rate("fletching_mails_total", "mail_class")),),
        ),
        Panel(
            "From the end of a mail to the reply", "s", _seconds("fletching_end_of_message_seconds")
        ),
        Panel(
            "Warnings",
            "reqps",
            (("{{warning}}", f"topk(10, {_rate('fletching_warnings_total', 'warning')})"),),
        ),
        Panel(
            "Mails in shadow, by what would have happened",
            "reqps",
            (("{{would}}", _rate("fletching_shadow_mails_total", "would")),),
        ),
        Panel(
            "Deferred over a limit; sent without tracking",
            "reqps",
            (
                ("over limit", _rate("fletching_over_limit_total")),
                ("without tracking", _rate("fletching_untracked_total")),
            ),
        ),
        Panel(
            "Archive and seeds",
            "reqps",
            (
                ("archived", _rate("fletching_archived_total")),
                ("not archived", _rate("fletching_not_archived_total")),
                ("seed copies {{outcome}}", _rate("fletching_seed_copies_total", "outcome")),
            ),
        ),
    ),
    "Clicks and opens": (
        Panel(
            "Requests by event",
            "reqps",
            (("{{event}}", _rate("fletching_web_requests_total", "event")),),
        ),
        Panel(
            "Requests by status",
            "reqps",
            (("{{status}}", _rate("fletching_web_requests_total", "status")),),
        ),
        Panel("Time of a request", "s", _seconds("fletching_web_request_seconds")),
    ),
    "What comes back": (
        Panel(
            "Returned mails by kind",
            "reqps",
            (("{{kind}}", _rate("fletching_returned_mails_total", "kind")),),
        ),
        Panel(
            "Returned mails that need attention",
            "reqps",
            (
                ("deferred", _rate("fletching_returned_mails_deferred_total")),
                ("unreadable", _rate("fletching_unreadable_mails_total")),
                ("unreadable, deleted", _rate("fletching_unreadable_mails_deleted_total")),
            ),
        ),
        Panel(
            "Bad addresses found", "reqps", (("addresses", _rate("fletching_bad_addresses_total")),)
        ),
        Panel(
            "Lines of Postfix's log",
            "reqps",
            (
                ("read", _rate("fletching_log_lines_total")),
                ("about our mail", _rate("fletching_log_lines_ours_total")),
            ),
        ),
        Panel(
            "Log not read yet", "bytes", (("{{instance}}", _gauge("fletching_log_behind_bytes")),)
        ),
    ),
    "Events": (
        Panel(
            "Delivered",
            "reqps",
            (("{{destination}}", _rate("fletching_events_delivered_total", "destination")),),
        ),
        Panel(
            "Failed attempts, dead letters",
            "reqps",
            (
                (
                    "{{destination}} failed",
                    _rate("fletching_events_failed_total", "destination"),
                ),
                ("{{destination}} dead", _rate("fletching_events_dead_total", "destination")),
            ),
        ),
        Panel(
            "Waiting",
            "short",
            (
                (
                    "{{destination}}",
                    f"max by (destination) ({_gauge('fletching_events_waiting')})",
                ),
            ),
        ),
    ),
    "Hosts": (
        Panel("Milter answers the scrape", "short", (("{{instance}}", _gauge("up")),)),
        Panel(
            "Seconds since a daemon's last update",
            "s",
            (
                (
                    "{{instance}} {{daemon}}",
                    f"time() - {_gauge('fletching_metrics_updated_seconds')}",
                ),
            ),
        ),
        Panel("Largest journal", "bytes", (("{{instance}}", _gauge("fletching_journal_bytes")),)),
        Panel("Version", "short", (("{{instance}} {{version}}", _gauge("fletching_build_info")),)),
    ),
}


def queries() -> Iterator[str]:
    """Every query of the board."""
    for panels in ROWS.values():
        for panel in panels:
            yield from (query for _, query in panel.queries)


def board() -> dict[str, Any]:
    """The board, as Grafana imports it."""
    variables = [
        {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
        {
            "name": "host",
            "label": "Host",
            "type": "query",
            "datasource": _SOURCE,
            "query": "label_values(fletching_build_info, instance)",
            "includeAll": True,
            "multi": True,
            "current": {"text": "All", "value": "$__all"},
            "refresh": 2,
        },
    ]
    return {
        "title": "Fletching",
        "uid": "fletching",
        "tags": ["mail", "postfix"],
        "schemaVersion": 37,
        "editable": True,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": variables},
        "panels": list(_panels()),
    }


def _panels() -> Iterator[dict[str, Any]]:
    number, top = 0, 0
    for title, panels in ROWS.items():
        number += 1
        place = {"x": 0, "y": top, "w": 24, "h": 1}
        yield {"id": number, "type": "row", "title": title, "gridPos": place, "panels": []}
        top += 1
        for index, panel in enumerate(panels):
            number += 1
            row, column = divmod(index, _PER_ROW)
            place = {"x": column * _WIDTH, "y": top + row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT}
            yield _panel(number, panel, place)
        top += (len(panels) + _PER_ROW - 1) // _PER_ROW * _HEIGHT


def _panel(number: int, panel: Panel, place: Mapping[str, int]) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + index), "datasource": _SOURCE, "expr": query, "legendFormat": name}
        for index, (name, query) in enumerate(panel.queries)
    ]
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list"}, "tooltip": {"mode": "multi"}},
        "targets": targets,
    }
