"""A host for tests of the commands: a folder with a configuration, keys and a mail."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from fletching.cli.main import main

from tests.setting import NEWSLETTER

KEYS = Path(__file__).parent / "cases" / "keys"
NOW = "2026-03-01T09:00:00Z"

SITE = """\
redis: redis://127.0.0.1:1/0
state_dir: state
bounce_mailbox: bounces@example.com
unsubscribe_mailbox: unsubscribe@example.com
url_domain: https://click.example.com
link_keys: link-keys
users: {crm: {force_mail_class: crm}}
mail_classes:
  newsletter: {list_id: t100, virtual_mta: bulk, track: {clicks: true, opens: true}}
  crm: {on_invalid_header: reject}
virtual_mtas:
  a: {transport: vmta-a}
  b: {transport: vmta-b, fallback: a}
  bulk: {pool: {a: 3, b: 1}}
dkim: {keys: [{domain: example.com, selector: r1, file: dkim.pem, default: true}]}
"""


class Host:
    """A folder with a configuration, keys and mails, and the commands given there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "fletching.yaml"
        self.config.write_text(SITE)
        self.mail = folder / "mail.eml"
        self.mail.write_text(NEWSLETTER)
        (folder / "state").mkdir()
        for name, key in (("link-keys", "link-keys"), ("dkim.pem", "rsa.pem")):
            shutil.copy(KEYS / key, folder / name)
            (folder / name).chmod(0o600)

    def run(self, *words: str, stdin: bytes = b"", config: str | None = None) -> Result:
        environment = {"FLETCHING_CONFIG": config or str(self.config)}
        return CliRunner().invoke(main, words, input=stdin, env=environment)

    def json(self, *words: str) -> Any:
        result = self.run(*words, "--json")
        return json.loads(result.stdout)

    def edit(self, old: str, new: str) -> None:
        text = self.config.read_text()
        assert old in text
        self.config.write_text(text.replace(old, new))
