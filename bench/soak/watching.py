"""Measures the memory and the open files of all processes of Fletching during a soak."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

from bench.soak.growth import Sample
from bench.soak.site import Process, Site

_ANONYMOUS = re.compile(r"(?m)^(?:Anonymous|Swap): +(\d+) kB$")
"""Lines of smaps_rollup (proc(5)). Not the private pages alone: a forked process makes private
copies of its parent's pages for a long time without using more memory than before."""


class Watcher:
    """Looks at all processes every ``every`` seconds. Memory: bytes of anonymous
    pages, which is all memory but that of files."""

    def __init__(self, site: Site, every: float) -> None:
        self._site, self._every = site, every
        self.memory: list[Sample] = []
        self.files: list[Sample] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        """Start looking."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._every):
            for process in self._site.processes():
                self._look(process)

    def _look(self, process: Process) -> None:
        folder, now = Path(f"/proc/{process.pid}"), time.monotonic()
        try:
            pages = (folder / "smaps_rollup").read_text()
            files = sum(1 for _ in (folder / "fd").iterdir())
        except OSError:  # it has just ended
            return
        anonymous = 1024 * sum(map(int, _ANONYMOUS.findall(pages)))
        self.memory.append(Sample(now, process.pid, process.kind, anonymous))
        self.files.append(Sample(now, process.pid, process.kind, files))
