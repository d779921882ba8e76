"""What ships in deploy/: it is what the program prints, systemd accepts it, and READMEs are true.

nginx and Caddy get their files in `real/test_proxies.py`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import date
from pathlib import Path

import click
import pytest
from fletching.checks.finding import Level
from fletching.checks.options import check_options
from fletching.checks.postfix import PARAMETERS, check_postfix
from fletching.cli.main import main
from fletching.config.consistency import doubts
from fletching.config.load import load
from fletching.config.model import Config
from fletching.postfix.one_recipient import one_recipient
from fletching.postfix.postconf import read
from fletching.postfix.settings import pieces

from sandbox.processes import program
from tests.postfix_files import PostfixFiles

DEPLOY = Path(__file__).parent.parent / "deploy"
UNITS = Path("/usr/lib/systemd/system")
SERVICES = (
    *("fletching", "fletching-web", "fletching-lmtp", "fletching-courier", "fletching-logtail"),
    "fletching-run",
)


@pytest.fixture(scope="module")
def example() -> Config:
    return load(DEPLOY / "fletching.yaml")


# The example configuration and deploy/postfix


def test_example_raises_no_doubts(example: Config) -> None:
    assert list(doubts(example)) == []


def test_files_are_what_the_program_prints(example: Config) -> None:
    """If this fails: `fletching postfix --config deploy/fletching.yaml` prints the new text."""
    base, recipe = pieces(example), one_recipient(example)
    files = [file for file in (DEPLOY / "postfix").iterdir() if file.suffix != ".md"]
    shipped = {file.name: file.read_text() for file in files}
    assert shipped == {
        "main.cf.fletching": base.main_cf,
        "master.cf.fletching": base.master_cf,
        **base.tables,
        "one-recipient.main.cf": recipe.main_cf,
        "one-recipient.master.cf": recipe.master_cf,
        **recipe.tables,
    }


def commands(readme: str, heading: str) -> list[str]:
    """The commands of one section of a README in deploy/."""
    text = (DEPLOY / readme).read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"(?m)^ {4}(\S.*)$", section)


def follow(steps: list[str], files: PostfixFiles) -> None:
    """Runs them in deploy/postfix, with our files for the machine's and without its daemons."""
    for step in steps:
        if not step.startswith(("postfix reload", "fletching check", "listen:")):
            files.let_rest()
            command = step.replace("/etc/postfix", str(files.directory))
            command = re.sub(r"^postconf ", f"postconf -c {files.directory} ", command)
            subprocess.run(["sh", "-ec", command], check=True, cwd=DEPLOY / "postfix")


def test_postfix_readme_leads_in_and_out_again(tmp_path: Path, example: Config) -> None:
    files = PostfixFiles(tmp_path / "postfix")
    before = {file.name: file.read_bytes() for file in files.directory.iterdir()}

    follow(commands("postfix/README.md", "Install"), files)
    files.let_rest()
    found = list(check_postfix(example, read(files.postconf, PARAMETERS), files.postconf))
    assert {finding.level for finding in found} == {Level.OK}

    follow(commands("postfix/README.md", "One recipient each"), files)
    recipe = one_recipient(example)
    files.shell(recipe.switch_on)
    files.let_rest()
    found = list(check_postfix(example, read(files.postconf, PARAMETERS), files.postconf))
    assert {finding.level for finding in found} == {Level.OK}

    files.shell(recipe.switch_off)
    follow(re.findall(r"(?m)^# +((?:sed|postconf -MX) .*)$", recipe.master_cf), files)
    for name in recipe.tables:
        (files.directory / name).unlink()
    follow(commands("postfix/README.md", "Remove"), files)
    assert files.main_cf.read_bytes() == before["main.cf"]
    assert {file.name for file in files.directory.iterdir()} == set(before)
    after = files.services
    files.master_cf.write_bytes(before["master.cf"])
    assert after == files.services


# deploy/systemd


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A file system with our services, their programs and Debian's units."""
    shutil.copytree(UNITS, tmp_path / UNITS.relative_to("/"), symlinks=True)
    for name in ("opt/fletching/.venv/bin/fletching", "bin/sh"):
        file = tmp_path / name
        file.parent.mkdir(parents=True)
        file.write_text("#!/bin/sh\n")
        file.chmod(0o755)
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    for service in SERVICES:
        shutil.copy(DEPLOY / f"systemd/{service}.service", tmp_path / "etc/systemd/system")
    return tmp_path


def verified(root: Path, service: str) -> tuple[int, str]:
    argv = [program("systemd-analyze", "systemd"), "verify", "--man=no", f"--root={root}"]
    done = subprocess.run(
        [*argv, f"{service}.service"], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def settings(service: str) -> dict[str, str]:
    """What a unit says, by name; of a name that is repeated, the last."""
    return dict(
        re.findall(r"(?m)^(\w+)=(.*)$", (DEPLOY / f"systemd/{service}.service").read_text())
    )


@pytest.mark.parametrize("service", SERVICES)
def test_systemd_accepts_the_service(root: Path, service: str) -> None:
    assert verified(root, service) == (0, "")


@pytest.mark.parametrize("service", SERVICES)
def test_systemd_would_say_what_is_wrong(root: Path, service: str) -> None:
    unit = root / f"etc/systemd/system/{service}.service"
    unit.write_text(unit.read_text().replace("RemoveIPC=yes", "RemvoeIPC=yes"))
    assert "RemvoeIPC" in verified(root, service)[1]


@pytest.mark.parametrize("service", SERVICES)
def test_service_is_shut_in(service: str) -> None:
    argv = [program("systemd-analyze", "systemd"), "security", "--offline=true"]
    # Exit status 1 above the threshold, in tenths of the figure that systemd calls exposure.
    subprocess.run(
        [*argv, "--threshold=12", DEPLOY / f"systemd/{service}.service"],
        check=True,
        capture_output=True,
    )


@pytest.mark.parametrize("service", SERVICES)
def test_service_has_its_user_and_folders(service: str) -> None:
    said = settings(service)
    sysusers = (DEPLOY / "systemd/fletching.sysusers").read_text()
    assert f"\nu {said['User']} " in sysusers
    assert (said["Group"], said["StateDirectory"]) == (said["User"], "fletching")
    folders = re.findall(r"(?m)^d (\S+)", (DEPLOY / "systemd/fletching.tmpfiles").read_text())
    assert {path.lstrip("-") for path in said.get("ReadWritePaths", "").split()} <= {*folders}
    command = said["ExecStart"].removeprefix("/opt/fletching/.venv/bin/fletching ")
    assert command in main.commands


@pytest.mark.parametrize("service", SERVICES)
def test_reload_checks_before_it_tells_the_daemon(service: str) -> None:
    text = (DEPLOY / f"systemd/{service}.service").read_text()
    program = "/opt/fletching/.venv/bin/fletching"
    daemon = settings(service)["ExecStart"].removeprefix(f"{program} ")
    assert re.findall(r"(?m)^ExecReload=(.*)$", text) == [
        f"{program} check --daemon {daemon}",
        '/bin/sh -c "kill -HUP $$MAINPID"',
    ]


def test_example_consumes_unsubscribes(example: Config) -> None:
    assert example.suppress == "refuse"
    assert list(check_options(example, date(2026, 12, 1))) == []
    off = example.model_copy(update={"suppress": "off", "events": None})
    assert [each.place for each in check_options(off, date(2026, 12, 1))] == ["suppress"]


def test_no_service_takes_away_the_folder_of_another() -> None:
    """Each that has /run/fletching would remove it at its end, with the others' sockets."""
    kept = {
        said["RuntimeDirectoryPreserve"]
        for said in map(settings, SERVICES)
        if said.get("RuntimeDirectory") == "fletching"
    }
    assert kept == {"yes"}


def test_user_and_folders(tmp_path: Path) -> None:
    for folder in ("etc", "var/spool/postfix"):
        (tmp_path / folder).mkdir(parents=True)
    root, postfix = "root:x:0:0::/:/bin/sh\n", "postfix:x:105:107::/:/bin/false\n"
    (tmp_path / "etc/passwd").write_text(root + postfix)
    (tmp_path / "etc/group").write_text("root:x:0:\npostfix:x:107:\n")
    systemd = DEPLOY / "systemd"
    for tool, file in (
        (["systemd-sysusers"], "fletching.sysusers"),
        (["systemd-tmpfiles", "--create"], "fletching.tmpfiles"),
    ):
        argv = [program(tool[0], "systemd"), *tool[1:], f"--root={tmp_path}", str(systemd / file)]
        subprocess.run(argv, check=True, capture_output=True)
    user = re.search(r"(?m)^fletching:x:(\d+):(\d+):", (tmp_path / "etc/passwd").read_text())
    assert user is not None
    uid, gid = map(int, user.groups())
    for folder, owner in (
        ("etc/fletching", (0, gid)),
        ("etc/fletching/dkim", (0, gid)),
        ("var/spool/postfix/fletching", (uid, 107)),
    ):
        status = (tmp_path / folder).stat()
        assert (status.st_uid, status.st_gid) == owner
        assert status.st_mode & 0o7777 == 0o2750


# READMEs


READMES = ("nginx", "caddy", "systemd")
NAMES = re.compile(r"(?<![\w/.*-])(?!/)[\w./-]+\.(?:conf|service|sysusers|tmpfiles|yaml|md)\b")


def code(folder: str) -> list[str]:
    """The lines of code in a README, and what stands between backticks."""
    text = (DEPLOY / folder / "README.md").read_text()
    return [line or word for line, word in re.findall(r"(?m)^ {4}(\S.*)$|`([^`]+)`", text)]


@pytest.mark.parametrize("folder", READMES)
def test_readme_names_files_that_are_there(folder: str) -> None:
    said = "\n".join(code(folder))
    places = (DEPLOY / folder, DEPLOY, DEPLOY.parent)
    # systemd's tools take the name that a file was installed under.
    asked = re.sub(r"(?m)^systemd-(?:sysusers|tmpfiles) .*$", "", said)
    for name in NAMES.findall(asked):
        assert any((place / name).is_file() for place in places), name
    told = " ".join(re.findall(r"systemctl [^#\n]*", said))
    for unit in re.findall(r"\bfletching(?:-\w+)?\b", told):
        assert unit in SERVICES


@pytest.mark.parametrize("folder", READMES)
def test_readme_has_every_file(folder: str) -> None:
    text = (DEPLOY / folder / "README.md").read_text()
    for file in (DEPLOY / folder).iterdir():
        assert file.name == "README.md" or file.name in text


@pytest.mark.parametrize("folder", READMES)
def test_readme_has_commands_that_there_are(folder: str) -> None:
    found = [re.match(r"(?:/\S*/)?fletching ([a-z].*)", line) for line in code(folder)]
    asked = [match[1].split() for match in found if match is not None]
    assert asked
    for words in asked:
        command: click.Command | None = main
        for word in words:
            if isinstance(command, click.Group):
                command = command.commands.get(word)
        assert command is not None, words


@pytest.mark.parametrize("folder", ["nginx", "caddy"])
def test_readme_has_a_configuration_that_loads(tmp_path: Path, folder: str) -> None:
    (line,) = (line for line in code(folder) if line.startswith("web:"))
    config = tmp_path / "fletching.yaml"
    config.write_text(line)
    web = load(config).web
    assert web is not None
    assert web.trusted_proxies


def test_systemd_readme_leads_in(tmp_path: Path) -> None:
    folders = {"sysusers.d", "tmpfiles.d", "systemd/system", "fletching"}
    for folder in folders:
        (tmp_path / "etc" / folder).mkdir(parents=True)
    for step in commands("systemd/README.md", "Install"):
        if step.startswith("install "):
            command = step.replace(" /etc/", f" {tmp_path}/etc/").replace("-g fletching ", "")
            subprocess.run(["sh", "-ec", command], check=True, cwd=DEPLOY / "systemd")
    installed = {file.name for file in (tmp_path / "etc/systemd/system").iterdir()}
    assert installed == {f"{service}.service" for service in SERVICES}
    for name in ("sysusers.d/fletching.conf", "tmpfiles.d/fletching.conf"):
        assert (tmp_path / "etc" / name).is_file()
