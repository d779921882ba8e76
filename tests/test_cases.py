"""Golden mails: what `fletching preview` makes of the mails in tests/cases.

A case is a folder: `in.eml`, perhaps `args` for the command and a `config.yaml` of its own, and
what is expected, `out.eml` and `out.json`. Where something else comes out, it is written beside as
`got.eml` and `got.json`: look at the difference, and rename them if that is what is wanted.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
import shutil
import subprocess
import sys
from email import policy
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import dkim
import pytest
from click.testing import CliRunner
from fletching.cli.main import main
from fletching.config.load import load
from fletching.keys.dkim_keys import dkim_record, read_dkim_keys
from fletching.keys.link_keys import read_link_keys
from fletching.tokens import TokenError

CASES = Path(__file__).parent / "cases"
NAMES = sorted(path.parent.name for path in CASES.glob("*/in.eml"))
NOW = "2026-03-01T10:30:00+01:00"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a host: configurations, and keys that only their owner may read."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(CASES / "keys", folder / "keys")
    for key in (folder / "keys").iterdir():
        key.chmod(0o600)
    shutil.copy(CASES / "config.yaml", folder)
    return folder


def arguments(site: Path, case: Path, *options: str) -> list[str]:
    """The words of the command for a case."""
    config = site / "config.yaml"
    if (case / "config.yaml").exists():
        config = site / f"{case.name}.yaml"
        shutil.copy(case / "config.yaml", config)
    given = (case / "args").read_text() if (case / "args").exists() else ""
    words = ["preview", "--config", str(config), "--now", NOW]
    return [*words, *shlex.split(given), *options, str(case / "in.eml")]


def previewed(site: Path, case: Path) -> tuple[dict[str, Any], bytes]:
    """The JSON of --json, and the mail."""
    ended = CliRunner().invoke(main, arguments(site, case, "--json"))
    shown = json.loads(ended.stdout)
    assert ended.exit_code == (0 if shown["verdict"] == "accept" else 1), ended.stderr
    return shown, base64.b64decode(shown.pop("message"))


@pytest.mark.parametrize("name", NAMES)
def test_case(name: str, site: Path) -> None:
    case = CASES / name
    told, mail = previewed(site, case)
    shown = json.dumps(told, indent=2, ensure_ascii=False) + "\n"
    for kind, got in (("eml", mail), ("json", shown.encode())):
        expected = case / f"out.{kind}"
        beside = case / f"got.{kind}"
        beside.unlink(missing_ok=True)
        if not expected.exists() or got != expected.read_bytes():
            beside.write_bytes(got)
    assert mail == (case / "out.eml").read_bytes()
    assert shown == (case / "out.json").read_text("utf-8")


@pytest.mark.parametrize("name", ["01-newsletter", "15-refused"])
def test_without_json(name: str, site: Path) -> None:
    """The mail alone on stdout, or the reply on stderr: the command as an admin gives it."""
    case = CASES / name
    told, mail = previewed(site, case)
    command = [sys.executable, "-m", "fletching", *arguments(site, case)]
    ended = subprocess.run(command, capture_output=True, check=False)
    if told["verdict"] == "accept":
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, mail, b"")
    else:
        assert (ended.returncode, ended.stdout) == (1, b"")
        assert ended.stderr.decode() == told["reply"] + "\n"


# What holds for every mail that leaves, whoever looks at what is expected.


def _leaves(name: str) -> bool:
    expected = CASES / name / "out.json"
    return expected.exists() and json.loads(expected.read_text("utf-8"))["verdict"] == "accept"


LEAVING = [name for name in NAMES if _leaves(name)]


@pytest.mark.parametrize("name", LEAVING)
def test_what_leaves_is_clean(name: str) -> None:
    raw = (CASES / name / "out.eml").read_bytes()
    assert b"\n" not in raw.replace(b"\r\n", b"")
    header = raw.partition(b"\r\n\r\n")[0].lower()
    assert b"x-greenarrow" not in header
    assert b"x-fletching" not in header
    assert header.count(b"\r\nx-mailer-info:") <= 1
    assert header.count(b"\r\nlist-unsubscribe:") <= 1
    assert max(map(len, raw.split(b"\r\n"))) <= 998


@pytest.mark.parametrize("name", LEAVING)
def test_signatures_verify(name: str, site: Path) -> None:
    """By dkimpy, which we did not write."""
    raw = (CASES / name / "out.eml").read_bytes()
    keys = load(site / "config.yaml").dkim.keys
    records = {
        f"{entry.selector}._domainkey.{entry.domain}.": dkim_record(key).encode()
        for entry, key in zip(keys, read_dkim_keys(keys), strict=True)
    }
    records["20260301._domainkey.customer.example."] = records["k1._domainkey.shared.example."]
    headers = BytesParser(policy=policy.compat32).parsebytes(raw, headersonly=True)
    ours = [i for i, field in enumerate(headers.get_all("DKIM-Signature", []))
            if " b=\r\n" not in f"{field}\r\n" and "bh=;" not in str(field)]  # fmt: skip
    told = json.loads((CASES / name / "out.json").read_text("utf-8"))
    assert bool(ours) == (told["mail_class"] is not None or name == "20-second-pass")
    for index in ours:
        assert dkim.DKIM(raw).verify(idx=index, dnsfunc=lambda asked, **_: records[asked.decode()])


@pytest.mark.parametrize("name", LEAVING)
def test_tokens_open(name: str, site: Path) -> None:
    """Every token of ours, wherever a mail program finds it; all tell the same."""
    raw = (CASES / name / "out.eml").read_bytes()
    told = json.loads((CASES / name / "out.json").read_text("utf-8"))
    mail = BytesParser(policy=policy.default).parsebytes(raw)
    texts = ["".join(str(value).split()) for value in mail.values()]
    for part in mail.walk():
        if part.get_content_maintype() == "text" and part.get_content_charset() != "x-unknown":
            texts.append(part.get_content())
    keys = read_link_keys(site / "keys" / "link-keys")
    facts = set()
    for candidate in re.findall(r"[A-Za-z0-9_-]{40,}", "\n".join(texts)):
        try:
            facts.add(keys.open(candidate).facts)
        except TokenError:
            assert candidate.startswith("BAFhYmNk") or "://" not in candidate
    if told["mail_class"] is not None:
        (found,) = facts
        assert (found.sendid, found.campaign, found.number) == (told["sendid"], "preview", 1)
        assert found.mtaid == (told["virtual_mta"] or "")
        assert found.listid == (told["listid"] or "")
    elif name != "20-second-pass":
        assert not facts
