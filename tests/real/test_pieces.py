"""What `fletching postfix` prints, given to a real Postfix as it stands; and `fletching check`."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
from click.testing import CliRunner
from fletching.cli.main import main
from fletching.config.load import load
from fletching.postfix.one_recipient import one_recipient

from sandbox.postfix import Postfix
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink

from .fletching import Fletching
from .mails import NEWSLETTER, RECIPIENT, SENDER, mail

pytestmark = pytest.mark.slow

Sinks = Mapping[str, Sink]


def pieces(printed: str) -> dict[str, str]:
    """The texts by file, parted where the command says so."""
    found = re.split(r"(?m)^######## (\S+) ########\n\n", printed)
    assert found[0] == "", "something stands before the first file"
    return dict(zip(found[1::2], found[2::2], strict=True))


def apply(postfix: Postfix, printed: str) -> None:
    """As the text tells the admin: append to two files, put the third beside them."""
    files = pieces(printed)
    postfix.apply(files.pop("main.cf"), files.pop("master.cf"), files)


def every_transport_is_reached(postfix: Postfix, sinks: Sinks) -> None:
    for name in ("a", "b", "transactional"):
        wanted = f"X-GreenArrow-MtaID: {name}".encode()
        assert postfix.submit(mail(NEWSLETTER, wanted), SENDER, [RECIPIENT]).accepted
        sinks[f"vmta-{name}"].wait()
    assert not sinks["smtp"].mails


def test_the_printed_pieces_work_as_they_are(
    fletching: Fletching, postfix: Postfix, sinks: Sinks
) -> None:
    postfix.reset()  # the fixture has joined them already
    apply(postfix, fletching.command("postfix"))
    assert re.search(r"(?m)^smtpd_milters = \$fletching_milter$", postfix.postconf("-n"))
    every_transport_is_reached(postfix, sinks)


def test_the_printed_way_out_leads_out(
    fletching: Fletching, postfix: Postfix, sinks: Sinks
) -> None:
    postfix.reset()
    before = postfix.postconf("-n")
    files = pieces(fletching.command("postfix"))
    apply(postfix, fletching.command("postfix"))
    assert postfix.postconf("-n") != before
    (out,) = re.findall(r"(?m)^# Remove: +(sed .*)$", files["main.cf"])
    words = shlex.split(out)
    assert words[-1] == "/etc/postfix/main.cf"
    subprocess.run([*words[:-1], postfix.config_directory / "main.cf"], check=True)
    assert postfix.postconf("-n") == before
    services = re.findall(r"(?m)^# +postconf -MX (\S+)$", files["master.cf"])
    assert services == ["vmta-a/unix", "vmta-b/unix", "vmta-transactional/unix"]
    for service in services:
        postfix.command("postconf", "-MX", service)
    postfix.restart()
    assert postfix.submit(mail(), SENDER, [RECIPIENT]).accepted
    sinks["smtp"].wait()


def test_the_recipe_s_files_are_those_of_its_own_tests(fletching: Fletching) -> None:
    """What `test_one_recipient` runs is what the command prints."""
    recipe = one_recipient(load(fletching.config_path))
    files = pieces(fletching.command("postfix", "--one-recipient"))
    texts = [recipe.main_cf, recipe.master_cf, *recipe.tables.values()]
    assert [text.strip() for text in files.values()] == [text.strip() for text in texts]
    assert list(files)[2:] == list(recipe.tables)
    assert all(f"#       {command}" in files["master.cf"] for command in recipe.switch_on)


# Debian's way: smtpd(8) and cleanup(8) in their jail


@dataclass(frozen=True)
class Jail:
    postfix: Postfix
    fletching: Fletching
    printed: str


@pytest.fixture
def jail(chrooted: Postfix, redis: RedisServer) -> Iterator[Jail]:
    folder = chrooted.socket_folder()
    fletching = Fletching(chrooted.root.parent / "fletching", redis.unix_url)
    # What Debian's admin has printed, whose queue is at the usual place.
    fletching.configure({"listen": "unix:/var/spool/postfix/fletching/milter.sock"})
    printed = fletching.command("postfix")
    fletching.socket = folder / "milter.sock"
    fletching.configure({})
    with fletching, chrooted:
        yield Jail(chrooted, fletching, printed)


def test_the_printed_pieces_work_for_chrooted_daemons(jail: Jail, sinks: Sinks) -> None:
    assert " unix:fletching/milter.sock," in jail.printed
    apply(jail.postfix, jail.printed)
    services = jail.postfix.postconf("-M").splitlines()
    chrooted = {line.split()[7] for line in services if line.split()[4] == "y"}
    assert {"smtpd", "cleanup"} <= chrooted
    every_transport_is_reached(jail.postfix, sinks)
    jail.postfix.sendmail(mail(NEWSLETTER).replace(b"\r\n", b"\n"), "-f", SENDER, RECIPIENT)
    (arrived,) = sinks["smtp"].wait()
    assert "x-mailer-info" in arrived.header_names, "cleanup(8) did not reach the milter"


def test_check_finds_chrooted_daemons_that_cannot_reach_the_socket(jail: Jail) -> None:
    apply(jail.postfix, jail.printed)
    check = Check(jail.fletching, jail.postfix)
    assert check.errors() == []
    socket = jail.fletching.socket
    jail.postfix.command("postconf", "-e", f"fletching_milter={{ unix:{socket} }}")
    found = check.errors()
    assert any("chrooted and looks for the socket at" in line for line in found), found


# fletching check --postfix


@dataclass(frozen=True)
class Check:
    fletching: Fletching
    postfix: Postfix

    def lines(self) -> list[str]:
        """What the command says, which has to fit its exit status."""
        words = ("check", "--postfix", "--config", str(self.fletching.config_path))
        done = CliRunner(env=self.environment).invoke(main, words)
        lines = done.stdout.splitlines()
        wrong = any(line.startswith("error: ") for line in lines)
        assert done.exit_code == (1 if wrong else 0), done.output
        return lines

    @property
    def environment(self) -> dict[str, str]:
        """How Postfix's own commands are told of another instance."""
        path = "/usr/sbin:/usr/bin:/sbin:/bin"
        return {"PATH": path, "MAIL_CONFIG": str(self.postfix.config_directory)}

    def errors(self) -> list[str]:
        return [line for line in self.lines() if line.startswith("error: ")]

    def break_by(self, *words: str) -> None:
        """What somebody did to Postfix."""
        self.postfix.command("postconf", *words)


@pytest.fixture
def check(fletching: Fletching, postfix: Postfix) -> Check:
    postfix.reset()
    apply(postfix, fletching.command("postfix"))
    return Check(fletching, postfix)


def test_check_has_nothing_to_say_against_the_printed_pieces(check: Check) -> None:
    lines = check.lines()
    places = [line for line in lines if re.search("milter|master.cf", line)]
    assert len(places) >= 4, lines
    assert all(line.startswith("ok: ") for line in places), lines


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["-X", "smtpd_milters"], r"smtpd_milters: no smtpd service has Fletching"),
        (["-X", "non_smtpd_milters"], r"non_smtpd_milters: does not include Fletching"),
        (["-MX", "vmta-b/unix"], r"master\.cf vmta-b: not defined"),
        (["-X", "milter_header_checks"], r"milter_header_checks: must map .* to vmta-a:"),
        (
            ["-e", "milter_header_checks=regexp:{{/Route: vmta-a$$/ FILTER vmta-b:}}"],
            r"milter_header_checks: must map .* to vmta-a:, but returns FILTER vmta-b:",
        ),
    ],
    ids=["milter", "local", "transport", "table's parameter", "table's rule"],
)
def test_check_finds_what_is_wrong(check: Check, change: list[str], says: str) -> None:
    check.break_by(*change)
    found = check.errors()
    assert any(re.search(says, line) for line in found), found


def test_check_finds_a_table_that_is_not_there(check: Check) -> None:
    (check.postfix.config_directory / "milter_header_checks").unlink()
    found = check.errors()
    assert any("milter_header_checks" in line for line in found), found


def test_check_finds_a_milter_that_does_not_run(check: Check) -> None:
    check.fletching.stop()
    try:
        reply = check.postfix.submit(mail(), SENDER, [RECIPIENT])
        found = check.errors()
    finally:
        check.fletching.start()
    assert reply.code == 451, reply
    assert any("so mail gets 451: start the milter" in line for line in found), found
    assert check.errors() == []


def test_check_finds_a_listen_that_main_cf_does_not_follow(check: Check) -> None:
    """The milter is there; Postfix asks at another place, and does what `check` says."""
    entry = check.postfix.postconf("-h", "fletching_milter")
    socket = str(check.fletching.socket)
    check.break_by("-e", f"fletching_milter={entry.replace(socket, f'{socket}.old')}")
    found = check.errors()
    assert any("connects to Fletching at" in line and "mail gets 451" in line for line in found), (
        found
    )
    check.postfix.restart()
    reply = check.postfix.submit(mail(), SENDER, [RECIPIENT])
    assert reply.code == 451, reply


def test_check_finds_default_action_accept(check: Check) -> None:
    entry = check.postfix.postconf("-h", "fletching_milter")
    says = re.compile(r"milter_default_action: with accept, mail leaves with its control headers")
    check.break_by("-e", "milter_default_action=accept")
    assert check.errors() == [], "our entry has a default_action of its own"
    check.break_by("-e", f"fletching_milter={entry.replace('tempfail', 'accept')}")
    found = check.errors()
    assert any(says.search(line) for line in found), found
    check.break_by("-e", f"fletching_milter=unix:{check.fletching.socket}")
    found = check.errors()
    assert any(says.search(line) for line in found), found
    check.break_by("-e", "milter_default_action=tempfail")
    assert check.errors() == []
