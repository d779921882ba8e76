"""The Debian package in a fresh Debian 12 with systemd, Postfix and Redis: from the first command
of README.md to a purge that leaves nothing.

One system serves all tests of this file, in their order: each goes on from where the last one left.
"""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fletching.config.consistency import doubts
from fletching.config.load import load

from sandbox.processes import program, wait_until

from .clean_root import CleanRoot, CommandError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
DEPENDENCIES = "libmilter1.0.1 python3 tzdata ca-certificates logrotate postfix redis-server"
"""What apt would fetch from the network."""

SERVICES = (
    *("fletching-run", "fletching", "fletching-web", "fletching-courier"),
    *("fletching-logtail", "fletching-lmtp"),
)
LATER = "9.0"
"""A version above that of the source."""

SEND = """\
import pathlib, re, smtplib, sys, time

subject, stop = sys.argv[1], pathlib.Path(sys.argv[2])
text = "From: news@shop.test\\nSubject: {}-{}\\nX-GreenArrow-MailClass: newsletter\\n\\nHello\\n"
taken = refused = 0
while taken == 0 or not stop.exists():
    try:
        with smtplib.SMTP("127.0.0.1") as client:
            client.sendmail("app@shop.test", "joe@localhost", text.format(subject, taken))
        taken += 1
    except (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused) as answer:
        refused += 1
        assert re.search("[(]4[0-9][0-9], ", str(answer)), answer
    except (smtplib.SMTPException, OSError):
        refused += 1  # the session has ended
    time.sleep(0.1)
print(taken, refused)
"""
"""An application: sends a mail again after 4xx, and more of them until the file `stop` exists."""


def build() -> Path:
    """The package of the source as it lies here."""
    (ROOT / "build").mkdir(exist_ok=True)
    with (ROOT / "build/deb.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            [str(ROOT / "packaging/build-deb")], capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return ROOT / done.stdout.splitlines()[-1]


def with_version(package: Path, version: str, folder: Path) -> Path:
    """The same package under another version."""
    tree = folder / version
    subprocess.run([program("dpkg-deb", "dpkg"), "-R", package, tree], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^Version: .*", f"Version: {version}", control.read_text()))
    made = folder / f"fletching_{version}_amd64.deb"
    subprocess.run([program("dpkg-deb", "dpkg"), "-Znone", "-b", tree, made], check=True)
    return made


@dataclass(frozen=True, slots=True)
class Host:
    """The system, the package, and what was there before it."""

    root: CleanRoot
    package: str
    later: str
    files: frozenset[str]
    postfix: str

    def run(self, line: str) -> str:
        return self.root.run(line, "/srv/source")

    def apt(self, words: str) -> str:
        """apt, as an administrator who keeps his configuration."""
        return self.run(f"DEBIAN_FRONTEND=noninteractive apt {words}")

    def active(self) -> set[str]:
        states = self.root.status(f"systemctl is-active {' '.join(SERVICES)}")[1].split()
        return {name for name, state in zip(SERVICES, states, strict=True) if state == "active"}

    def version(self) -> str:
        return self.run("dpkg-query --show --showformat='${Version}' fletching")

    def mail(self) -> str:
        return self.run("cat /var/mail/joe")

    def sends_and_gets(self, subject: str) -> None:
        """A mail arrives, sent by SMTP and on time."""
        self.run(f"python3 send.py {subject} /")
        wait_until(f"{subject} arrives", lambda: f"Subject: {subject}-0\n" in self.mail())


def files(root: CleanRoot) -> frozenset[str]:
    """All paths that a package may own, but for what dpkg, apt and systemd write themselves."""
    own = "/var/lib/dpkg /var/lib/apt /var/cache /var/log /var/lib/systemd"
    own += " /var/lib/postfix /var/lib/redis /var/lib/logrotate /var/spool/postfix/*/* /var/tmp"
    skipped = " -o ".join(f"-path '{path}'" for path in own.split())
    found = root.run(f"find /etc /usr /lib /opt /var '(' {skipped} ')' -prune -o -print")
    return frozenset(found.splitlines())


def postfix_files(root: CleanRoot) -> str:
    """Checksum, mode and owner of each file in Postfix's configuration directory."""
    sums = "find . -type f -exec sha256sum '{}' + | sort"
    return root.run(f"cd /etc/postfix && {sums} && find . -printf '%p %m %U:%G %l\\n' | sort")


@pytest.fixture(scope="module")
def package() -> Path:
    return build()


@pytest.fixture(scope="module")
def host(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Postfix as an administrator has it; the package and README.md lie in /srv/source."""
    with CleanRoot([]) as root:
        root.install(
            f"apt-get install {DEPENDENCIES} sensible-utils curl && "
            "postconf -e inet_interfaces=127.0.0.1 myhostname=mx.shop.test && "
            "useradd --create-home joe"
        )
        source = root.path / "srv/source"
        source.mkdir()
        later = with_version(package, LATER, tmp_path_factory.mktemp("later"))
        for file in (ROOT / "README.md", package, later):
            shutil.copy(file, source)
        (source / later.name).rename(root.path / "srv" / later.name)
        shutil.copytree(ROOT / "packaging", source / "packaging")
        (source / "send.py").write_text(SEND)
        root.boot()
        yield Host(root, package.name, f"/srv/{later.name}", files(root), postfix_files(root))


def test_configuration_of_the_package_raises_no_doubts() -> None:
    assert list(doubts(load(ROOT / "packaging/fletching.yaml"))) == []


def test_lintian_finds_no_error_and_no_warning(package: Path) -> None:
    lintian = [program("lintian", "lintian"), "--allow-root", "--fail-on=error,warning"]
    done = subprocess.run([*lintian, package], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_five_commands_of_the_readme_and_a_mail(host: Host) -> None:
    readme = (ROOT / "README.md").read_text().partition("\n## Install\n")[2].partition("\n## ")[0]
    commands = re.findall(r"(?m)^ {4}(\S.*)$", readme)
    assert len(commands) == 5
    printed = host.run("packaging/debian/tests/first-mail")
    for command in commands:
        assert f"# {command}" in printed, "each of them was run as it is there"
    assert "the mail arrived, signed and tracked" in printed


def test_check_finds_no_error(host: Host) -> None:
    printed = host.root.status("fletching check --postfix")[1]
    assert "error: " not in printed


def test_version_names_release_and_commit(host: Host) -> None:
    printed = host.run("fletching --version")
    assert re.fullmatch(r"fletching, version 0\.1\.0 \(commit [0-9a-f]{7,}(-dirty)?\)\s*", printed)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/etc/fletching", "root:fletching 2750"),
        ("/etc/fletching/fletching.yaml", "root:fletching 640"),
        ("/etc/fletching/link-keys", "root:fletching 640"),
        ("/etc/fletching/dkim", "root:fletching 2750"),
        ("/etc/fletching/dkim/shop.test.pem", "root:fletching 640"),
        ("/var/lib/fletching", "fletching:fletching 750"),
        ("/var/log/fletching", "fletching:fletching 750"),
        ("/var/spool/postfix/fletching", "fletching:postfix 2750"),
        ("/usr/lib/fletching/python/fletching", "root:root 755"),
    ],
)
def test_owner_and_mode(host: Host, path: str, expected: str) -> None:
    assert host.run(f"stat --format='%U:%G %a' {path}").strip() == expected


def test_libraries_are_compiled(host: Host) -> None:
    python = "find /usr/lib/fletching -name '*.py' | wc -l"
    compiled = "find /usr/lib/fletching -name '*.pyc' | wc -l"
    assert host.run(python) == host.run(compiled)


def test_no_library_of_the_host_is_imported(host: Host) -> None:
    host.run(
        "mkdir -p /root/.local/lib/python3.11/site-packages && cd /root/.local/lib/python3.11/"
        "site-packages && echo 'raise SystemExit(\"hijacked\")' | tee click.py redis.py"
    )
    printed = host.run(
        "cd /root/.local/lib/python3.11/site-packages && PYTHONPATH=. fletching --version"
    )
    host.run("rm -r /root/.local")
    assert "fletching, version" in printed


def test_pages_and_completion_are_there(host: Host) -> None:
    documents = "/usr/share/doc/fletching"
    host.run(f"test -s {documents}/docs/install.md && test -s {documents}/deploy/nginx/README.md")
    host.run("test -s /usr/share/bash-completion/completions/fletching")
    host.run("test -s /etc/logrotate.d/fletching && logrotate --debug /etc/logrotate.d/fletching")


def test_upgrade_restarts_what_runs_and_keeps_the_configuration(host: Host) -> None:
    host.run("echo '# mine' >> /etc/fletching/fletching.yaml")
    config = host.run("cat /etc/fletching/fletching.yaml; cat /etc/fletching/link-keys")
    main_pid = "systemctl show --property=MainPID --value fletching-run"
    before = host.run(main_pid)
    host.run(
        "systemd-run --quiet --unit=sending --property=StandardOutput=file:/run/sent"
        " python3 /srv/source/send.py upgrade /run/stop"
    )
    host.apt(f"install {host.later}")
    assert host.version() == LATER
    assert host.run("cat /etc/fletching/fletching.yaml; cat /etc/fletching/link-keys") == config
    assert host.active() == {"fletching-run"}
    assert host.run(main_pid) != before
    host.run("touch /run/stop")
    wait_until("the last one is sent", lambda: host.run("cat /run/sent") != "")
    taken = int(host.run("cat /run/sent").split()[0])
    expected = {f"upgrade-{number}" for number in range(taken)}

    def arrived() -> set[str]:
        return set(re.findall(r"(?m)^Subject: (upgrade-\d+)$", host.mail()))

    wait_until("no mail is lost", lambda: arrived() == expected)
    assert "X-GreenArrow" not in host.mail(), "while the milter was away, none left without it"


def test_downgrade_does_not_start_what_does_not_run(host: Host) -> None:
    host.run("systemctl stop fletching-run")
    host.apt(f"install --allow-downgrades ./{host.package}")
    assert host.version() != LATER
    assert host.active() == set()
    host.run("systemctl start fletching-run")
    host.sends_and_gets("downgraded")


def test_removal_leaves_postfix_as_it_was(host: Host) -> None:
    assert postfix_files(host.root) != host.postfix
    host.apt("remove fletching")
    assert postfix_files(host.root) == host.postfix
    assert host.active() == set()
    host.sends_and_gets("without")
    host.run("test -s /etc/fletching/link-keys && test -s /etc/fletching/dkim/shop.test.pem")
    assert host.run("find /usr/lib/fletching 2> /dev/null || true") == ""


def test_installation_after_a_removal_keeps_keys_and_statistics(host: Host) -> None:
    keys = host.run("cat /etc/fletching/link-keys")
    host.apt(f"install ./{host.package}")
    assert host.run("cat /etc/fletching/link-keys") == keys
    host.run("systemctl start fletching-run && fletching postfix --install --yes")
    assert json.loads(host.run("fletching stats --json"))["campaigns"]
    host.sends_and_gets("again")


def test_purge_leaves_nothing_but_the_user(host: Host) -> None:
    host.apt("purge fletching")
    assert postfix_files(host.root) == host.postfix
    assert files(host.root) - host.files - {"/var/mail/joe"} == set()
    assert (
        host.run("ls -A /etc/fletching /var/lib/fletching /var/log/fletching 2>/dev/null || true")
        == ""
    )
    assert host.run("id -u fletching").strip().isdigit()
    with pytest.raises(CommandError):
        host.run("command -v fletching")
