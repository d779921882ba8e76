"""docs/greenarrow.md names everything that SimpleMH has; docs/migration.md has what works."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from fletching.cli.main import main
from fletching.config.load import load
from fletching.config.reference import GROUPS
from fletching.policy import control, grammar

from tests.host import KEYS

DOCS = Path(__file__).parent.parent / "docs"
GREENARROW = (DOCS / "greenarrow.md").read_text("utf-8")
MIGRATION = (DOCS / "migration.md").read_text("utf-8")


# docs/greenarrow.md


def rows() -> dict[str, str]:
    """The control name of each header in the table of headers."""
    table = GREENARROW.partition("\n## Headers\n")[2].partition("\n## ")[0]
    found = re.findall(r"(?m)^\| \[?(X-[\w-]+?)\]?(?:\(\S+\))? \| `?(\w+)`? \|", table)
    return dict(found)


def test_every_control_header_has_a_row_with_its_control_name() -> None:
    known = {f"X-GreenArrow-{header}": name for header, name in control._CONTROLS.items()}
    known["X-GreenArrow-DKIM"] = "none"
    found = {header: name for header, name in rows().items() if header.startswith("X-GreenArrow-")}
    assert found == known


def test_every_control_that_a_header_sets_has_a_row() -> None:
    assert set(rows().values()) - {"none"} == set(control._CONTROLS.values())
    assert set(control._CONTROLS.values()) <= set(grammar.CONTROLS)


def test_other_headers_of_simplemh_have_a_row() -> None:
    assert {"X-CampaignID", "X-Mailer-Info"} <= set(rows())


def options() -> set[str]:
    """The names of all options, of sections too."""
    page = (DOCS / "configuration.md").read_text("utf-8")
    names = {name for group in GROUPS.values() for name in group}
    return names | set(re.findall(r"(?m)^\| `([a-z_]+)` \|", page))


WORDS = {
    *("html", "text", "immediate", "confirm", "form", "refuse", "reject", "false", "a"),
    *("powermta", "mailgun", "sendgrid", "postal", "users"),
    *("msguid", "sendsliceid", "throttleid", "smtp_timing", "headers"),
}  # fmt: skip
"""Values of options, and GreenArrow's fields of events that we lack."""


@pytest.mark.parametrize("page", [GREENARROW, MIGRATION], ids=["greenarrow", "migration"])
def test_options_in_the_right_column_exist(page: str) -> None:
    cells = re.findall(r"(?m)^\| .* \| (.*) \|$", page)
    named = {
        word
        for cell in cells
        for code in re.findall(r"`([a-z_.: ]+)`", cell)
        for word in re.split(r"[.: ]+", code)
        if word and code.split()[0] not in ("fletching",)
    }
    events = (DOCS / "events.md").read_text("utf-8")
    unknown = {word for word in named - options() - WORDS if f"`{word}`" not in events}
    assert unknown - set(grammar.CONTROLS) == set()


# docs/migration.md


def vendors() -> Iterator[tuple[str, str, str]]:
    """Each vendor with its configuration and its mail."""
    for section in MIGRATION.split("\n## From ")[1:]:
        name, _, text = section.partition("\n")
        (config,) = re.findall(r"(?ms)^```yaml\n(.*?)^```$", text)
        after = text.rpartition("```")[2]
        indented = [line for line in after.splitlines() if line.startswith("    ") or not line]
        mail = "\n".join(line[4:] for line in indented).strip("\n") + "\n"
        yield name, config, mail


def moved(config: str, folder: Path) -> Path:
    """The configuration on this host, with keys."""
    text = config.replace("/etc/fletching/", f"{folder}/")
    path = folder / "fletching.yaml"
    path.write_text(text)
    shutil.copy(KEYS / "link-keys", folder / "link-keys")
    (folder / "link-keys").chmod(0o600)
    (folder / "dkim").mkdir()
    for key in yaml.safe_load(text)["dkim"]["keys"]:
        shutil.copy(KEYS / "rsa.pem", key["file"])
        Path(key["file"]).chmod(0o600)
    return path


EXPECTED: dict[str, tuple[str, dict[str, Any]]] = {
    "GreenArrow": ("news", {
        "mail_class": "newsletter", "sendid": "newsletter0901220005", "virtual_mta": "b",
        "clicks": True, "click_tracking_id": "4711", "signed": "default",
    }),
    "PowerMTA": ("crm", {
        "mail_class": "campaign", "sendid": "campaign100525", "virtual_mta": "mta2",
        "clicks": False, "signed": "pmta",
    }),
    "Mailgun": ("postmaster@example.com", {
        "mail_class": "app", "virtual_mta": "bulk", "clicks": True, "click_tracking_id": "welcome",
        "signed": "s1",
    }),
    "SendGrid": ("app", {
        "mail_class": "app", "virtual_mta": "transactional", "listid": "12", "clicks": False,
        "click_tracking_id": "welcome", "signed": "s1",
    }),
    "Postal": ("app", {
        "mail_class": "app", "clicks": False, "click_tracking_id": "welcome",
        "signed": "postal-ab12cd",
    }),
}  # fmt: skip
"""The login that sends the mail, and what becomes of it."""


def test_every_vendor_is_tried() -> None:
    assert [name for name, *_ in vendors()] == [*EXPECTED]


@pytest.mark.parametrize(("name", "config", "mail"), [*vendors()], ids=EXPECTED)
def test_mail_of_a_vendor(name: str, config: str, mail: str, tmp_path: Path) -> None:
    path = moved(config, tmp_path)
    load(path)
    login, expected = EXPECTED[name]
    words = ["-", "--rcpt", "joe@example.org", "--auth", login, "--config", str(path), "--json"]
    result = CliRunner().invoke(main, ["explain", *words], input=mail)
    assert result.exit_code == 0, result.output
    explained = json.loads(result.stdout)
    assert explained["warnings"] == []
    shown = CliRunner().invoke(main, ["preview", *words], input=mail)
    sent = base64.b64decode(json.loads(shown.stdout)["message"])
    decisions = {each["setting"]: each["value"] for each in explained["decisions"]}
    found = {
        **explained,
        "clicks": b"/click?" in sent,
        "click_tracking_id": decisions.get("click_tracking_id"),
        "signed": explained["signatures"][0]["selector"],
    }
    assert {key: found[key] for key in expected} == expected
