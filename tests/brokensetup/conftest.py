"""The working set-up, once for each file of cases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.processes import in_memory, private_directory
from tests.brokensetup.setting import BrokenSetup, running


@pytest.fixture(scope="session")
def broken() -> Iterator[BrokenSetup]:
    with private_directory(in_memory()) as directory, running(directory) as found:
        yield found
