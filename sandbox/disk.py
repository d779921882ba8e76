"""A small file system in memory, to be filled: a disk of its own for a state directory."""

from __future__ import annotations

import subprocess
from pathlib import Path


class Disk:
    """A tmpfs at a folder. Only root may mount it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def mount(self, options: str) -> None:
        """Mount it over the folder. ``options``: of tmpfs(5), such as ``size=1m``."""
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder)]
        subprocess.run(command, check=True)

    def unmount(self) -> None:
        """Unmount it; what is in it is gone."""
        subprocess.run(["umount", str(self.folder)], check=True)

    def change(self, options: str) -> None:
        """Mount it with other options; its files stay."""
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.folder)], check=True)

    @property
    def _filling(self) -> Path:
        return self.folder / "filling"

    def fill(self) -> None:
        """Fill it until nothing more fits."""
        try:
            with self._filling.open("wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass
        except OSError:
            return

    def free(self) -> None:
        """Make room again."""
        self._filling.unlink(missing_ok=True)
