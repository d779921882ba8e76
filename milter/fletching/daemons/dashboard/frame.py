"""What surrounds every page of the dashboard: navigation, search field, who is logged in.

Here lives how a template becomes a page. What the pages show is in `pages.py` and in the files of
their topics; who is logged in, in `access.py`. Pure. Jinja2 escapes every text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from fletching.daemons.dashboard.times import time_html
from fletching.store.counts import Dimension

BREAKDOWNS: Mapping[Dimension, str] = {
    "mail_class": "Mail Classes",
    "listid": "Lists",
    "mtaid": "VirtualMTAs",
    "day": "Days",
    "provider": "Providers",
    "reason": "Reasons",
}
"""The breakdowns of `Statistics.by`, and their titles."""

_NAV = (
    ("/", "Campaigns"),
    *((f"/by/{what}", title) for what, title in BREAKDOWNS.items()),
    ("/health", "Health"),
    ("/warnings", "Warnings"),
    ("/virtual-mtas", "Pauses and limits"),
    ("/suppression", "Suppression"),
)

TEMPLATES = Environment(
    loader=PackageLoader("fletching", "templates/dashboard"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
)


@dataclass(frozen=True, slots=True)
class Frame:
    """What one response needs around its page.

    ``nonce``: of its style and script. ``token``: of its forms; empty if nobody is logged in, so
    that the page has no forms that change anything. ``can_log_in``: whether there is a password.
    """

    nonce: str
    token: str = ""
    can_log_in: bool = False


def page(template: str, here: str, frame: Frame, now: int, **values: object) -> str:
    """``here``: the path; ``now``: unix time of the numbers; ``values``: its other texts;
    ``times``: whether it has times that the browser shows as local ones."""
    found = TEMPLATES.get_template(template)
    values = {"searched": "", "times": False} | values
    return found.render(nav=_NAV, here=here, frame=frame, now=time_html(now), **values)
