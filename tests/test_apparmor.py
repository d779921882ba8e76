"""deploy/apparmor: the profiles compile, and the units enter them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from sandbox.processes import program

PROFILES = Path(__file__).parent.parent / "deploy/apparmor"
UNITS = PROFILES.with_name("systemd")
NAMES = sorted(file.name for file in PROFILES.glob("fletching-*"))


@pytest.mark.parametrize("name", NAMES)
def test_profile_compiles(name: str) -> None:
    argv = [program("apparmor_parser", "apparmor"), "--skip-kernel-load", "--skip-cache"]
    argv += ["--Include", str(PROFILES), "--Include", "/etc/apparmor.d", str(PROFILES / name)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_profile_is_named_as_its_file(name: str) -> None:
    assert re.findall(r"(?m)^profile (\S+)", (PROFILES / name).read_text()) == [name]


def test_each_unit_enters_the_profile_of_its_daemon() -> None:
    entered = set()
    for unit in UNITS.glob("*.service"):
        text = unit.read_text()
        (command,) = re.findall(r"(?m)^ExecStart=\S+/fletching (\w+)$", text)
        assert re.findall(r"(?m)^AppArmorProfile=(.*)$", text) == [f"-fletching-{command}"]
        entered.add(f"fletching-{command}")
    assert entered == {*NAMES}
