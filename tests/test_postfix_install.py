"""`fletching postfix --install` and `--remove` on files of Postfix that no daemon reads."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

import pytest
from click.testing import CliRunner, Result
from fletching.admin import postfix as admin
from fletching.cli.main import main
from fletching.config.load import load
from fletching.postfix import transaction

from tests.cases import for_every
from tests.postfix_files import PostfixFiles

pytestmark = pytest.mark.slow

VIRTUAL_MTAS = """\
virtual_mtas:
  a: {transport: vmta-a, helo: a.example.com}
  b: {transport: vmta-b}
"""


class Machine:
    """A Postfix configuration directory and a configuration of ours."""

    def __init__(self, folder: Path, main_cf: bytes = b"# end\n") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.files = PostfixFiles(folder / "postfix")
        self.directory = self.files.directory
        for name in ("queue", "data"):
            (folder / name).mkdir()
        shutil.chown(folder / "data", "postfix")
        base = f"compatibility_level = 3.6\nqueue_directory = {folder}/queue\n"
        base += f"data_directory = {folder}/data\nrecipient_delimiter = +\n"
        self.files.main_cf.write_bytes(base.encode() + main_cf)
        self.config = folder / "fletching.yaml"
        self.configure(VIRTUAL_MTAS)

    def configure(self, text: str) -> None:
        # A port, since pytest's folders are too long for the path of a socket.
        listen = "listen: inet:8899@127.0.0.1\n"
        listen += f"link_keys: {self.folder}/link-keys\n"
        self.config.write_text(f"{listen}redis: redis://127.0.0.1:1/0\n{text}")

    def run(self, *words: str, given: str | None = None) -> Result:
        environment = {
            "MAIL_CONFIG": str(self.directory),
            "FLETCHING_CONFIG": str(self.config),
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        }
        self.files.let_rest()
        return CliRunner(env=environment).invoke(main, ["postfix", *words], input=given)

    def install(self) -> Result:
        return done(self.run("--install", "--yes"))

    def remove(self) -> Result:
        return done(self.run("--remove", "--yes"))

    def add(self, text: str, name: str = "main.cf") -> None:
        with (self.directory / name).open("a") as file:
            file.write(text)

    def replace(self, old: str, new: str, name: str = "main.cf") -> None:
        path = self.directory / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    @property
    def state(self) -> Mapping[str, tuple[bytes, int, int, int]]:
        """All files with their content, mode and owner."""
        found = {}
        for file in sorted(self.directory.rglob("*")):
            status = file.stat()
            content = b"" if file.is_dir() else file.read_bytes()
            name = str(file.relative_to(self.directory))
            found[name] = (content, status.st_mode, status.st_uid, status.st_gid)
        return found


def done(result: Result) -> Result:
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine")


def symlinked(machine: Machine) -> None:
    real = machine.folder / "real.cf"
    machine.files.main_cf.rename(real)
    machine.files.main_cf.symlink_to(real)


def secret(machine: Machine) -> None:
    machine.files.master_cf.chmod(0o600)
    os.chown(machine.files.main_cf, 0, shutil._get_gid("postfix"))  # type: ignore[attr-defined]
    machine.files.main_cf.chmod(0o640)
    os.setxattr(machine.files.main_cf, "user.note", b"kept")


SHAPES: Mapping[str, tuple[bytes, Callable[[Machine], None]]] = {
    "Debian's": (b"", lambda machine: None),
    "no newline at the end": (b"smtpd_milters = inet:localhost:11332", lambda machine: None),
    "CRLF": (b"# a\r\nsmtpd_milters =\r\n  inet:a:1,\r\n  inet:b:2\r\n", lambda machine: None),
    "a comment that is not UTF-8": (b"# caf\xe9 \xff\n", lambda machine: None),
    "main.cf is a symbolic link": (b"non_smtpd_milters = $smtpd_milters\n", symlinked),
    "mode, group and attribute": (b"", secret),
}


def test_remove_restores_every_byte_mode_and_owner(tmp_path: Path) -> None:
    @for_every({name: (name, *shape) for name, shape in SHAPES.items()})
    def restores(name: str, main_cf: bytes, prepare: Callable[[Machine], None]) -> None:
        machine = Machine(tmp_path / str([*SHAPES].index(name)), main_cf)
        prepare(machine)
        is_link = machine.files.main_cf.is_symlink()
        before = machine.state
        assert "Installed." in machine.install().stdout
        installed = machine.state
        assert b"fletching_milter" in installed["main.cf"][0]
        assert installed["main.cf"][1:] == before["main.cf"][1:]
        assert "Nothing to do" in machine.install().stdout
        assert machine.state == installed
        machine.config.unlink()  # --remove does not need it
        assert "Removed." in machine.remove().stdout
        assert machine.state == before
        assert machine.files.main_cf.is_symlink() == is_link
        if prepare is secret:
            assert os.getxattr(machine.files.main_cf, "user.note") == b"kept"
        assert "Nothing to do" in machine.remove().stdout

    restores()


def test_backup_is_readable_by_root_alone_and_stays_the_first(machine: Machine) -> None:
    first = machine.files.main_cf.read_bytes()
    machine.install()
    backup = machine.directory / "fletching-backup"
    assert backup.stat().st_mode & 0o777 == 0o700
    machine.add("biff = no\n")
    machine.configure("virtual_mtas:\n  b: {transport: vmta-b}\n")
    done(machine.run("--install", "--yes"))
    assert (backup / "original/main.cf").read_bytes() == first
    assert (backup / "before/main.cf").read_bytes() == first + b"biff = no\n"
    assert "vmta-a" not in machine.files.services
    machine.remove()
    assert machine.files.main_cf.read_bytes() == first + b"biff = no\n"


def test_backup_in_a_folder_that_others_may_open_is_closed_to_them(machine: Machine) -> None:
    secret(machine)
    for folder in ("", "original", "before", "undo"):
        (machine.directory / "fletching-backup" / folder).mkdir()
        (machine.directory / "fletching-backup" / folder).chmod(0o755)
        (machine.directory / "fletching-backup" / folder / "note").touch()
    machine.install()
    backup = machine.directory / "fletching-backup"
    assert {
        each.stat().st_mode & 0o077 for each in (backup, *backup.iterdir()) if each.is_dir()
    } == {0}


def test_later_changes_of_both_files_stay_after_remove(machine: Machine) -> None:
    machine.install()
    machine.files.set("smtpd_milters=inet:localhost:11332, $fletching_milter", "biff=no")
    machine.files.ask("postconf", "-P", "vmta-a/unix/smtp_sasl_auth_enable=yes")
    machine.files.ask("postconf", "-M", "mine/unix=mine unix - - n - - smtp")
    machine.remove()
    assert machine.files.ask("postconf", "-nh", "smtpd_milters", "biff") == (
        "inet:localhost:11332\nno\n"
    )
    assert "fletching" not in machine.files.main_cf.read_text()
    services = machine.files.services
    assert "vmta-a" not in services
    assert "mine " in services


def test_difference_is_shown_and_nothing_changes_without_a_terminal(machine: Machine) -> None:
    before = machine.state
    result = machine.run("--install")
    assert result.exit_code == 2
    assert "+smtpd_milters = $fletching_milter" in result.stdout
    assert "+vmta-a    unix" in result.stdout
    assert f"+++ {machine.directory}/milter_header_checks" in result.stdout
    assert "Add --yes" in result.stderr
    assert machine.state == before
    machine.install()
    installed = machine.state
    result = machine.run("--remove")
    assert (result.exit_code, "-vmta-a    unix" in result.stdout) == (2, True)
    assert machine.state == installed


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("n\n", 1), ("\n", 1)])
def test_question_at_a_terminal(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, answer: str, status: int
) -> None:
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False)
    before = machine.state
    result = machine.run("--install", given=answer)
    assert result.exit_code == status, result.output
    assert "Change these files and reload Postfix? [y/N]" in result.stdout
    assert (machine.state == before) == (status == 1)


def different_service(machine: Machine) -> None:
    machine.add("vmta-a unix - - n - - lmtp\n", "master.cf")


def other_table(machine: Machine) -> None:
    (machine.directory / "fletching_transports").write_text("# mine\n")
    machine.configure(f"{VIRTUAL_MTAS}lmtp: {{}}\nbounce_mailbox: b@example.com\n")


def proxied(machine: Machine) -> None:
    machine.files.ask("postconf", "-P", "smtp/inet/smtpd_proxy_filter=127.0.0.1:10024")


def jailed(machine: Machine) -> None:
    machine.config.write_text("listen: unix:/run/fletching/milter.sock\nredis: embedded\n")


def no_main_cf(machine: Machine) -> None:
    machine.files.main_cf.write_text("smtpd_milters\n")


@pytest.mark.parametrize(
    ("prepare", "cure"),
    [
        (different_service, "remove the service: postconf -MX vmta-a/unix"),
        (other_table, "fletching_transports exists already with other content: move it away"),
        (proxied, "set smtpd_milters= for this service"),
        (jailed, "chrooted and looks for the socket at"),
        (no_main_cf, "missing '='"),
    ],
    ids=["service", "table", "proxy filter", "chroot", "main.cf"],
)
def test_what_cannot_be_merged_is_an_error_and_nothing_changes(
    machine: Machine, prepare: Callable[[Machine], None], cure: str
) -> None:
    prepare(machine)
    before = machine.state
    result = machine.run("--install", "--yes")
    assert (result.exit_code, cure in result.stderr) == (1, True), result.output
    assert machine.state == before


def test_table_of_that_name_is_left_and_ours_gets_another_name(machine: Machine) -> None:
    mine = machine.directory / "milter_header_checks"
    mine.write_text("/^X-Mine:/ IGNORE\n")
    machine.files.set("milter_header_checks=regexp:$config_directory/milter_header_checks")
    before = machine.state
    machine.install()
    assert mine.read_text() == "/^X-Mine:/ IGNORE\n"
    tables = machine.files.ask("postconf", "-xh", "milter_header_checks").split(", ")
    assert [Path(each.strip()).name for each in tables] == [
        "fletching_milter_header_checks",
        "milter_header_checks",
    ]
    machine.remove()
    assert machine.state == before


def test_table_that_an_administrator_changed_stays(machine: Machine) -> None:
    machine.install()
    machine.add("/^X-Mine:/ IGNORE\n", "milter_header_checks")
    result = machine.run("--install", "--yes")
    assert (result.exit_code, "has been changed since it was" in result.stderr) == (1, True)
    assert "it stays" in machine.remove().stderr
    assert (machine.directory / "milter_header_checks").exists()
    assert "milter_header_checks" not in machine.files.main_cf.read_text()


def test_services_and_tables_follow_the_configuration(machine: Machine) -> None:
    before = machine.state
    machine.install()
    machine.configure(
        "route_by: sender\nbounce_mailbox: b@example.com\nlmtp: {}\n"
        "virtual_mtas:\n  b: {transport: vmta-b, helo: b.example.com}\n"
    )
    machine.install()
    names = set(machine.state)
    assert {"fletching_senders", "fletching_transports", "fletching_recipients"} <= names
    assert "milter_header_checks" not in names
    assert "smtp_helo_name=b.example.com" in machine.files.services
    assert "vmta-a" not in machine.files.services
    machine.remove()
    assert machine.state == before


@pytest.mark.parametrize(
    ("recipients", "warned"),
    [
        ("$fletching_recipient_maps", True),
        ("\n    $fletching_recipient_maps", True),
        ("hash:/etc/postfix/relayed $fletching_recipient_maps", False),
        ("hash:/etc/postfix/relayed\n    $fletching_recipient_maps", False),
        ("", False),
    ],
    ids=["only ours", "only ours, continued", "another one", "another one, continued", "none"],
)
def test_remove_warns_if_every_relay_recipient_is_accepted(
    machine: Machine, recipients: str, warned: bool
) -> None:
    machine.configure(f"{VIRTUAL_MTAS}lmtp: {{}}\nbounce_mailbox: b@example.com\n")
    machine.install()
    machine.add(f"relay_domains = example.com\nrelay_recipient_maps = {recipients}\n")

    removed = machine.remove().stderr

    assert ("take the domain of the mailboxes out of relay_domains" in removed) == warned
    assert "fletching" not in machine.files.main_cf.read_text()


def test_signers_are_warned_of_and_dkim_off_puts_us_before_them(machine: Machine) -> None:
    machine.files.set("smtpd_milters=inet:localhost:11332, unix:opendkim/opendkim.sock")
    assert "opendkim.sock comes before Fletching: if it signs" in machine.install().stderr
    machine.remove()
    machine.configure(f"{VIRTUAL_MTAS}dkim: {{enabled: false}}\n")
    machine.install()
    assert machine.files.ask("postconf", "-nh", "smtpd_milters").strip() == (
        "inet:localhost:11332, $fletching_milter, unix:opendkim/opendkim.sock"
    )


# What goes wrong


def test_files_are_put_back_when_postfix_check_fails(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = machine.state
    shutil.rmtree(machine.folder / "data")
    (machine.folder / "data").write_text("not a directory")
    result = machine.run("--install", "--yes")
    assert (result.exit_code, "All files are as before." in result.stderr) == (1, True)
    assert machine.state == before


@pytest.mark.parametrize("after", range(11))
def test_crash_between_two_files_is_undone_by_the_next_run(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    class Crash(BaseException):
        pass

    before = machine.state
    written = 0
    write = transaction.write

    def crashing(*arguments: object) -> None:
        nonlocal written
        if written == after:
            raise Crash
        written += 1
        write(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(transaction, "write", crashing)
        patch.setattr(transaction, "recover", lambda _: False)  # as no process is left to do it
        with pytest.raises(Crash):
            admin.apply(machine.directory, _plan(machine))
    transaction.recover(machine.directory)
    assert machine.state == before


def _plan(machine: Machine) -> admin.Plan:
    place = admin.Instance(machine.directory, PurePosixPath(machine.folder / "queue"))
    return admin.plan_install(load(machine.config), place)


def test_interrupted_change_is_not_undone_over_later_changes(machine: Machine) -> None:
    transaction.begin(machine.directory, _plan(machine).changes)
    machine.add("biff = no\n")
    result = machine.run("--remove", "--yes")
    assert (result.exit_code, "was changed after an interrupted run" in result.stderr) == (1, True)


@pytest.mark.parametrize("name", ["main.cf", "master.cf"])
def test_mounted_file_cannot_be_replaced_and_all_others_are_put_back(
    machine: Machine, name: str
) -> None:
    before = machine.state
    run = f"from fletching.cli.main import main; main({['postfix', '--install', '--yes']})"
    mounted = 'mount --bind "$0" "$0" && exec "$@"'
    environment = {
        "MAIL_CONFIG": str(machine.directory),
        "FLETCHING_CONFIG": str(machine.config),
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    }
    machine.files.let_rest()
    result = subprocess.run(
        [
            *("unshare", "--mount", "sh", "-c", mounted, str(machine.directory / name)),
            *(sys.executable, "-c", run),
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, "All files are as before." in result.stderr) == (1, True), result
    assert f"{machine.directory / name} is a mount point" in result.stderr
    assert machine.state == before
    machine.install()


def test_second_command_at_the_same_time_is_refused(machine: Machine) -> None:
    handle = os.open(machine.directory, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    result = machine.run("--install", "--yes")
    os.close(handle)
    assert (result.exit_code, "another `fletching postfix`" in result.stderr) == (1, True)


def test_damaged_record_names_the_original_files(machine: Machine) -> None:
    machine.install()
    (machine.directory / "fletching-backup/record.json").write_text("{}")
    result = machine.run("--remove", "--yes")
    assert (result.exit_code, "fletching-backup/original" in result.stderr) == (1, True)


def test_remove_works_when_postfix_is_gone(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = machine.state
    machine.install()
    monkeypatch.setattr("fletching.postfix.postconf._SBIN", "/nowhere")
    words = ["postfix", "--remove", "--yes"]
    environment = {"MAIL_CONFIG": str(machine.directory), "PATH": "/nowhere"}
    done(CliRunner(env=environment).invoke(main, words))
    assert machine.state == before
    environment["MAIL_CONFIG"] = "/nowhere/postfix"
    assert "does not exist" in done(CliRunner(env=environment).invoke(main, words)).stdout


def test_only_root_may_change_files_of_postfix(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for option in ("--install", "--remove"):
        result = machine.run(option, "--yes")
        assert (result.exit_code, f"sudo fletching postfix {option}" in result.stderr) == (2, True)


# One file


@pytest.mark.parametrize("piece", ["main.cf", "master.cf", "milter_header_checks"])
def test_one_piece_is_printed_alone(machine: Machine, piece: str) -> None:
    whole = done(machine.run()).stdout
    text = done(machine.run(piece)).stdout
    assert f"######## {piece} ########\n\n{text}" in whole
    assert "########" not in text


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["aliases"], "choose one of main.cf, master.cf, milter_header_checks"),
        (["--install", "--remove"], "exclude each other"),
        (["--install", "main.cf"], "take neither FILE nor"),
        (["--yes"], "only for --install and --remove"),
    ],
)
def test_wrong_usage_is_refused_with_the_rule(
    machine: Machine, words: list[str], error: str
) -> None:
    result = machine.run(*words)
    assert (result.exit_code, error in result.stderr) == (2, True), result.output
