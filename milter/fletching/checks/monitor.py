"""`fletching check`: whether seed mailboxes can be logged into, as far as this host knows."""

from __future__ import annotations

from collections.abc import Iterator

from fletching.checks.finding import Finding, error, ok
from fletching.config.model import Config
from fletching.keys import secret_file


def check_seed_passwords(config: Config) -> Iterator[Finding]:
    """A finding for each password file that cannot be used, and one for all others together."""
    usable = 0
    for name, seeds in config.seed_lists.items():
        for number, seed in enumerate(seeds):
            if seed.password_file is None:
                continue
            option = f"seed_lists.{name}[{number}].password_file"
            try:
                password = secret_file.read(seed.password_file).partition(b"\n")[0].strip()
            except secret_file.KeyFileError as wrong:
                yield error(option, str(wrong))
                continue
            if not password:
                yield error(option, f"{seed.password_file}: no password in the first line")
            usable += bool(password)
    if usable:
        yield ok("seed_lists", f"readable password files: {usable}")
