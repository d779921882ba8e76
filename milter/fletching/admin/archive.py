"""The data of `fletching archive`: the archived messages of this host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fletching import archive
from fletching.admin import stats
from fletching.config.model import Config
from fletching.figures import moment


class ArchiveError(Exception):
    """The archive cannot be read. Says why."""


def rows(config: Config, campaign: str | None) -> Iterator[dict[str, Any]]:
    """One row per message, by directory, campaign and number.

    ``campaign``: an id, or a SendID, which Redis knows. Raises ArchiveError; `stats.NoCampaign` and
    NoAnswer as `stats.campaign` does.
    """
    classes = [each.archive for each in config.mail_classes.values()]
    folders = dict.fromkeys(config.state_dir / each.directory for each in classes if each)
    if campaign is not None and not any((each / campaign).is_dir() for each in folders):
        campaign = stats.campaign(config, campaign).campaign
    for folder in folders:
        try:
            for file in archive.files(folder, campaign):
                yield {
                    "campaign": file.campaign,
                    "message_number": file.number,
                    "archived": moment(file.written),
                    "size": file.size,
                    "file": str(file.path),
                }
        except OSError as error:
            raise ArchiveError(f"{folder}: {error.strerror}") from None
