"""Times on the pages: UTC as sent, local time by the browser (`times.js`). Pure."""

from __future__ import annotations

from markupsafe import Markup

from fletching.figures import minute, moment


def time_html(seconds: float) -> Markup:
    """Unix time as a time element, to the minute."""
    return Markup('<time datetime="{}">{}</time>').format(moment(seconds), minute(seconds))
