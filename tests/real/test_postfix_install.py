"""`fletching postfix --install` and `--remove` on a Postfix that runs, with mail afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

import pytest
from fletching.admin.postfix import Instance, plan_install
from fletching.config.load import load
from fletching.postfix import transaction

from sandbox.filter_programs import opendkim, rspamd
from sandbox.postfix import Postfix
from sandbox.processes import processes, wait_until
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink
from sandbox.verifiers import verify_dkimpy

from .fletching import Fletching
from .mails import NEWSLETTER, RECIPIENT, SENDER, mail

pytestmark = pytest.mark.slow

Sinks = Mapping[str, Sink]
TRANSPORTS = ("vmta-a", "vmta-b", "vmta-transactional")
TO_A = mail(NEWSLETTER, b"X-GreenArrow-MtaID: a")


def without_services(postfix: Postfix) -> None:
    """Takes out the transports of the sandbox: the command is to add them."""
    for name in TRANSPORTS:
        postfix.command("postconf", "-MX", f"{name}/unix")
    postfix.restart()


def run(fletching: Fletching, postfix: Postfix, option: str) -> str:
    """Runs the command as root would; its warnings."""
    words = ["postfix", option, "--yes", "--config", str(fletching.config_path)]
    done = subprocess.run(
        [sys.executable, "-m", "fletching", *words],
        env={**os.environ, "MAIL_CONFIG": str(postfix.config_directory)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


def change(fletching: Fletching, postfix: Postfix, option: str) -> str:
    """The same, and waits until no process of Postfix is an old one."""
    old = set(processes(postfix.pid)) - {postfix.pid}
    printed = run(fletching, postfix, option)
    wait_until("Postfix has not reloaded", lambda: not old & set(processes(postfix.pid)))
    return printed


def mail_is_signed_and_routed(fletching: Fletching, postfix: Postfix, sinks: Sinks) -> bytes:
    """Sends a mail for a VirtualMTA; what arrives at its transport."""
    postfix.lead_to_sinks()
    assert postfix.submit(TO_A, SENDER, [RECIPIENT]).accepted
    (arrived,) = sinks["vmta-a"].wait()
    verdicts = verify_dkimpy(arrived.raw, fletching.records)
    assert verdicts
    assert all(each.passed for each in verdicts)
    return arrived.raw


@pytest.fixture
def bare(fletching: Fletching, postfix: Postfix) -> Postfix:
    """Postfix without Fletching."""
    postfix.reset()
    without_services(postfix)
    return postfix


def test_install_reloads_and_remove_leaves_no_byte(
    fletching: Fletching, bare: Postfix, sinks: Sinks
) -> None:
    files = {name: bare.config_directory / name for name in ("main.cf", "master.cf")}
    before = {name: file.read_bytes() for name, file in files.items()}
    change(fletching, bare, "--install")
    assert "reload" in bare.log()
    assert fletching.command("postfix", "main.cf")
    change(fletching, bare, "--remove")
    assert {name: file.read_bytes() for name, file in files.items()} == before
    assert bare.submit(mail(), SENDER, [RECIPIENT]).accepted
    (arrived,) = sinks["smtp"].wait()
    assert "dkim-signature" not in arrived.header_names


def test_change_that_was_interrupted_after_the_reload_is_undone_with_another_reload(
    fletching: Fletching, bare: Postfix, sinks: Sinks
) -> None:
    before = (bare.config_directory / "main.cf").read_bytes()
    place = Instance(bare.config_directory, PurePosixPath("/var/spool/postfix"))
    changes = plan_install(load(fletching.config_path), place).changes
    transaction.begin(bare.config_directory, changes)
    transaction.change(bare.config_directory, changes)
    bare.reload()
    assert "An interrupted change was undone." in change(fletching, bare, "--remove")
    assert (bare.config_directory / "main.cf").read_bytes() == before
    assert bare.submit(mail(), SENDER, [RECIPIENT]).accepted
    (arrived,) = sinks["smtp"].wait()
    assert "dkim-signature" not in arrived.header_names


def in_front(postfix: Postfix, port: int) -> None:
    entry = f"inet:127.0.0.1:{port}"
    postfix.command("postconf", "-e", f"smtpd_milters={entry}", "non_smtpd_milters=$smtpd_milters")


def over_several_lines(postfix: Postfix, port: int) -> None:
    with (postfix.config_directory / "main.cf").open("a") as file:
        file.write(f"smtpd_milters =\n# scans\n\n    {{ inet:127.0.0.1:{port},\n\tprotocol=6 }}")


@pytest.mark.parametrize(
    "prepare",
    [in_front, over_several_lines],
    ids=["one line", "continuation lines"],
)
def test_rspamd_comes_first(
    fletching: Fletching,
    bare: Postfix,
    sinks: Sinks,
    fresh: Path,
    prepare: Callable[[Postfix, int], None],
) -> None:
    with rspamd(fresh) as scanner:
        prepare(bare, scanner.port)
        change(fletching, bare, "--install")
        mail_is_signed_and_routed(fletching, bare, sinks)
        assert "1@example.com" in scanner.log()


def test_opendkim_that_verifies_comes_first(
    fletching: Fletching, bare: Postfix, sinks: Sinks, fresh: Path
) -> None:
    with opendkim(fresh) as verifier:
        in_front(bare, verifier.port)
        # As old guides have it; our entry in the list has its own.
        bare.command("postconf", "-e", "milter_default_action=accept", "milter_protocol=2")
        change(fletching, bare, "--install")
        raw = mail_is_signed_and_routed(fletching, bare, sinks)
    assert b"Authentication-Results: opendkim.example" in raw


def test_signature_of_opendkim_that_still_signs_is_replaced(
    fletching: Fletching, bare: Postfix, sinks: Sinks, fresh: Path
) -> None:
    """docs/from-opendkim.md: no mail leaves with two signatures or none meanwhile."""
    key = fresh.with_name(f"{fresh.name}.pem")
    text = (fletching.directory / "example.com.s1.pem").read_text()
    key.write_text(text[text.index("-----BEGIN") :])  # OpenDKIM looks for it at the beginning
    shutil.chown(key, "opendkim", "opendkim")
    signing = f"Domain example.com\nSelector s1\nKeyFile {key}\nRequireSafeKeys no\n"
    with opendkim(fresh, signing) as signer:
        in_front(bare, signer.port)
        bare.restart()
        assert bare.submit(mail(), SENDER, [RECIPIENT]).accepted
        (arrived,) = sinks["smtp"].wait()
        assert arrived.header_names.count("dkim-signature") == 1, "OpenDKIM signs"
        change(fletching, bare, "--install")
        raw = mail_is_signed_and_routed(fletching, bare, sinks)
    assert raw.lower().count(b"\ndkim-signature:") + raw.lower().startswith(b"dkim-signature:") == 1


def test_service_with_milters_of_its_own(
    fletching: Fletching, bare: Postfix, sinks: Sinks, fresh: Path, logins: Mapping[str, str]
) -> None:
    """submission with -o smtpd_milters, while main.cf has none."""
    with rspamd(fresh) as scanner:
        service = f"127.0.0.1:{bare.sasl_port}/inet"
        option = f"smtpd_milters=inet:127.0.0.1:{scanner.port}"
        bare.command("postconf", "-P", f"{service}/{option}")
        change(fletching, bare, "--install")
        bare.lead_to_sinks()
        login = ("other", logins["other"])
        assert bare.submit(TO_A, SENDER, [RECIPIENT], login=login).accepted
        (arrived,) = sinks["vmta-a"].wait()
        assert "dkim-signature" in arrived.header_names
        assert "1@example.com" in scanner.log()


def test_postscreen(fletching: Fletching, bare: Postfix, sinks: Sinks) -> None:
    """Mail comes to the service smtpd/pass."""
    bare.command("postconf", "-MX", f"127.0.0.1:{bare.port}/inet")
    bare.command("postconf", "-e", "postscreen_access_list=permit_mynetworks")
    with (bare.config_directory / "master.cf").open("a") as file:
        file.write(f"127.0.0.1:{bare.port} inet n - n - 1 postscreen\nsmtpd pass - - n - - smtpd\n")
        file.write("dnsblog unix - - n - 0 dnsblog\ntlsproxy unix - - n - 0 tlsproxy\n")
    bare.restart()
    change(fletching, bare, "--install")
    mail_is_signed_and_routed(fletching, bare, sinks)


def test_second_install_follows_the_configuration(
    fletching: Fletching, bare: Postfix, sinks: Sinks
) -> None:
    change(fletching, bare, "--install")
    fletching.configure({"virtual_mtas": {"a": {"transport": "vmta-a", "helo": "a.example.com"}}})
    try:
        change(fletching, bare, "--install")
        assert "smtp_helo_name = a.example.com" in bare.postconf("-P", "vmta-a/unix/smtp_helo_name")
        mail_is_signed_and_routed(fletching, bare, sinks)
    finally:
        fletching.configure({})


def test_removal_names_the_queued_mail_that_needs_our_transports(
    fletching: Fletching, bare: Postfix, sinks: Sinks
) -> None:
    change(fletching, bare, "--install")
    bare.command("postconf", "-e", "defer_transports=vmta-a vmta-b")
    bare.restart()
    for _ in range(2):
        assert bare.submit(TO_A, SENDER, [RECIPIENT]).accepted
    bare.wait_idle()
    assert "(2 for vmta-a)" in change(fletching, bare, "--remove")
    bare.command("postconf", "-X", "defer_transports")
    bare.command("postsuper", "-r", "ALL")
    bare.restart()
    bare.command("postqueue", "-f")
    assert len(sinks["smtp"].wait(2)) == 2


def test_chrooted_daemons_reach_the_socket_after_install(
    chrooted: Postfix, redis: RedisServer, sinks: Sinks
) -> None:
    fletching = Fletching(chrooted.root.parent / "fletching", redis.unix_url)
    fletching.socket = chrooted.socket_folder() / "milter.sock"
    fletching.configure({})
    with fletching, chrooted:
        without_services(chrooted)
        change(fletching, chrooted, "--install")
        (milter,) = chrooted.postconf("-h", "fletching_milter").splitlines()
        milter = chrooted.postconf("-h", "fletching_milter")
        assert milter.startswith("{ unix:fletching/milter.sock,")
        mail_is_signed_and_routed(fletching, chrooted, sinks)


def test_postfix_that_is_stopped_is_changed_and_not_started(
    fletching: Fletching, bare: Postfix, sinks: Sinks
) -> None:
    bare.stop()
    run(fletching, bare, "--install")
    bare.restart()
    mail_is_signed_and_routed(fletching, bare, sinks)
