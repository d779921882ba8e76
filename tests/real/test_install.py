"""The commands of docs/install-from-source.md and of `deploy/*/README.md`, in order, in a fresh
Debian 12 that runs systemd, Postfix, Redis, nginx and Caddy, until a mail arrives signed and
tracked, and out again.

One system serves all tests of this file, in their order: each goes on from where the last one left.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.processes import DidNotHappenError, program, wait_until
from sandbox.sinks import _below_dump_lines, find_leaks
from sandbox.verifiers import verify_dkimpy, verify_opendkim

from . import checkout
from .clean_root import CleanRoot
from .mails import SHOP_NEWSLETTER, USER_UNKNOWN_REPORT

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
OPT = "/opt/fletching"
CERTIFICATE = "/etc/letsencrypt/live/click.example.com"
MAIL_HOST = "198.51.100.25"
"""Where the mail for example.org goes: smtp-sink, in the system's own network."""

ADDRESSES = ("192.0.2.9", "192.0.2.10", "192.0.2.11", MAIL_HOST)
"""The example configuration's VirtualMTAs are addresses of that host."""


def steps(readme: str, heading: str) -> dict[str, str]:
    """The commands of a section, by the number of their step; without numbers all under "0".

    Without ``heading``, those of the whole page.
    """
    text = (ROOT / readme).read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0] if heading else text
    assert section, f"{readme} has no section {heading}"
    found: dict[str, str] = {}
    number = "0"
    for line in section.splitlines():
        number = step[1] if (step := re.match(r"(\d+)\. ", line)) else number
        if command := re.match(r" {7}(\S.*)| {4}(\S.*)", line):
            found[number] = found.get(number, "") + (command[1] or command[2]) + "\n"
    return found


def commands(readme: str, heading: str, without: str = "(?!)") -> str:
    """A section's commands; those that match ``without`` are no commands."""
    lines = "".join(steps(readme, heading).values()).splitlines()
    return "\n".join(line for line in lines if not re.match(without, line))


INSTALL = steps("docs/install-from-source.md", "Install")


@pytest.fixture(scope="module")
def root() -> Iterator[CleanRoot]:
    """Postfix as an administrator has it, and the programs that deploy/ names; step 1 is done."""
    with CleanRoot(ADDRESSES) as made:
        made.install(
            "apt-get install postfix nginx-light caddy openssl curl && "
            "systemctl disable nginx caddy && "
            "postconf -e inet_interfaces=127.0.0.1 myhostname=mx.example.com"
        )
        checkout.copy_to(made.path / "srv/fletching")
        made.install(INSTALL["1"].replace("REPOSITORY", "/srv/fletching"))
        made.boot()
        yield made


def test_user_services_configuration_and_keys(root: CleanRoot) -> None:
    root.run(INSTALL["2"] + INSTALL["3"], OPT)
    assert root.run("stat -c '%U:%G %a' /etc/fletching/link-keys").strip() == "root:fletching 640"


def test_preview_before_any_mail(root: CleanRoot) -> None:
    (root.path / "opt/fletching/newsletter.eml").write_bytes(SHOP_NEWSLETTER)
    said = root.run(INSTALL["4"], OPT)
    assert "List-Unsubscribe-Post: List-Unsubscribe=One-Click" in said
    assert "https://shop.example.com/1?a=b" in said


def test_milter_starts_and_check_finds_nothing_wrong(root: CleanRoot) -> None:
    said = root.run(INSTALL["5"], OPT)
    assert "error: " not in said
    assert "warning: listen" not in said


def records(root: CleanRoot) -> dict[str, str]:
    """The DKIM records by name."""
    lines = root.run("fletching dkim record").splitlines()
    found = {line.split()[0].rstrip("."): "".join(re.findall(r'"([^"]*)"', line)) for line in lines}
    assert found
    return found


def test_postfix_gets_its_lines(root: CleanRoot) -> None:
    zone = ["local=/example.com/example.org/", "address=/click.example.com/127.0.0.1"]
    zone += ["mx-host=example.com,mx.example.com"]
    zone += ["mx-host=example.org,mx.example.org", f"address=/mx.example.org/{MAIL_HOST}"]
    for name, text in records(root).items():
        pieces = [text[start : start + 250] for start in range(0, len(text), 250)]
        zone.append(f"txt-record={name},{','.join(pieces)}")
    root.name_server(zone)
    files = [root.path / "etc/postfix" / name for name in ("main.cf", "master.cf")]
    for file in files:
        shutil.copy(file, root.path / "root" / f"{file.name}.before")
    said = root.run(INSTALL["6"].replace("--install", "--install --yes"), OPT)
    assert "error: " not in said
    assert "+smtpd_milters = $fletching_milter" in said


def test_a_mail_arrives_signed_and_tracked_and_its_link_leads_on(root: CleanRoot) -> None:
    root.run(INSTALL["7"], OPT)
    sunk = root.path / "srv/sunk"
    sunk.mkdir()
    sunk.chmod(0o777)
    sink = [program("smtp-sink", "postfix"), "-u", "nobody", "-R", str(sunk), "-d", "mail."]
    root.serve_beside([*sink, f"{MAIL_HOST}:25", "10"], 25, MAIL_HOST)
    submit = (
        "import smtplib, sys;"
        "smtplib.SMTP('127.0.0.1').sendmail(*sys.argv[1:], sys.stdin.buffer.read())"
    )
    words = shlex.join(["python3", "-c", submit, "app@example.com", "joe@example.org"])
    root.run(f"{words} < newsletter.eml", OPT)
    try:
        wait_until("the mail arrives", lambda: any(_whole(file) for file in sunk.iterdir()))
    except DidNotHappenError as failure:
        log = root.run("mailq; journalctl --no-pager --lines=40")
        raise DidNotHappenError(f"{failure}\n{log}") from None
    (dump,) = (file.read_bytes() for file in sunk.iterdir() if _whole(file))
    mail = _below_dump_lines(dump).replace(b"\n", b"\r\n")
    find_leaks(mail, "the installed Fletching")
    for verify in (verify_dkimpy, verify_opendkim):
        assert [(each.domain, each.passed) for each in verify(mail, records(root))] == [
            ("example.com", True)
        ]
    link = re.search(rb'href="(https://click\.example\.com/click\?[\w-]+)"', mail)
    assert link is not None
    follow = "curl -s -o /dev/null -w '%{redirect_url}' -H 'Host: click.example.com'"
    at = link[1].decode().replace("https://click.example.com", "http://127.0.0.1:8090")
    assert root.run(f"{follow} '{at}'").strip() == "https://shop.example.com/1?a=b"
    wait_until("it is counted", lambda: "20261130" in root.run("fletching stats"))


def test_its_delivery_is_read_from_the_journal(root: CleanRoot) -> None:
    def delivered() -> object:
        return json.loads(root.run("fletching stats --json"))["campaigns"][0]["delivered"]

    try:
        wait_until("it is delivered", lambda: delivered() == 1)
    except DidNotHappenError as failure:
        log = root.run("journalctl --no-pager --lines=40 -u fletching-logtail")
        raise DidNotHappenError(f"{failure}\n{log}") from None
    assert "ok: postfix.log: " in root.run("fletching check")


def test_a_bounce_comes_back_through_postfix(root: CleanRoot) -> None:
    config = root.path / "etc/fletching/fletching.yaml"
    config.write_text(re.sub(r"(?m)^# (?=lmtp:)", "", config.read_text()))
    root.run(INSTALL["8"].replace("--install", "--install --yes") + "fletching check --postfix")
    (dump,) = (file.read_bytes() for file in (root.path / "srv/sunk").iterdir())
    sender = re.search(rb"(?m)^X-Mail-Args: <([^>]+)>", dump)
    assert sender is not None
    (root.path / "root/bounce.eml").write_bytes(USER_UNKNOWN_REPORT)
    root.run(f"sendmail -f '<>' {sender[1].decode()} < bounce.eml")

    def bounced() -> object:
        return json.loads(root.run("fletching stats --json"))["campaigns"][0]["bounces_hard"]

    try:
        wait_until("the bounce is counted", lambda: bounced() == 1)
    except DidNotHappenError as failure:
        log = root.run("mailq; journalctl --no-pager --lines=40")
        raise DidNotHappenError(f"{failure}\n{log}") from None
    wait_until(
        "the address is suppressed",
        lambda: "joe@example.org" in root.run("fletching suppression list"),
    )


def _whole(file: Path) -> bool:
    return b"<img " in file.read_bytes()


def test_services_reload_and_restart(root: CleanRoot) -> None:
    root.run(commands("deploy/systemd/README.md", "Operation"))
    assert "reload=done" in root.run("journalctl --no-pager SYSLOG_IDENTIFIER=fletching")


def test_reload_with_a_broken_configuration_fails_and_changes_nothing(root: CleanRoot) -> None:
    services = "fletching fletching-web fletching-courier fletching-logtail fletching-lmtp"
    root.run("cd /etc/fletching && cp -p fletching.yaml good && echo nonsense: >>fletching.yaml")
    for service in services.split():
        status, printed = root.status(f"systemctl reload {service}")
        assert (status, f"Job for {service}.service failed" in printed) == (1, True)
        assert "nonsense: " in root.run(f"journalctl --no-pager --lines=9 --unit={service}")
    assert root.run(f"systemctl is-active {services}").split() == ["active"] * 5
    journal = "journalctl --no-pager SYSLOG_IDENTIFIER=fletching"
    assert "reload=failed" not in root.run(journal), "no daemon was asked"
    root.run(f"cd /etc/fletching && mv good fletching.yaml && systemctl reload {services}")


SERVICES = (
    "fletching",
    "fletching-web",
    "fletching-courier",
    "fletching-logtail",
    "fletching-lmtp",
)


@pytest.mark.parametrize(
    ("damage", "repair", "failing", "says"),
    [
        (
            "chmod 600 /etc/fletching/dkim/*",
            "chmod 640 /etc/fletching/dkim/*",
            {"fletching"},
            "dkim.keys.*: Permission denied",
        ),
        (
            "chmod 600 /etc/fletching/link-keys",
            "chmod 640 /etc/fletching/link-keys",
            {*SERVICES},
            "link_keys: .*: Permission denied",
        ),
    ],
    ids=["DKIM key", "link keys"],
)
def test_reload_fails_for_the_daemons_that_cannot_read_a_key(
    root: CleanRoot, damage: str, repair: str, failing: set[str], says: str
) -> None:
    root.run(damage)
    try:
        failed = {each for each in SERVICES if root.status(f"systemctl reload {each}")[0] != 0}
        checked = root.status("fletching check")[1]
    finally:
        root.run(repair)
    assert failed == failing
    for service in failing:
        log = root.run(f"journalctl --no-pager -u {service} -n 20")
        assert re.search(says, log), log
    assert "cannot read it: chgrp fletching " in checked, checked
    root.run(f"systemctl is-active {' '.join(SERVICES)} && systemctl reload {' '.join(SERVICES)}")


def test_only_the_milter_sees_the_dkim_keys(root: CleanRoot) -> None:
    def sees(service: str) -> bool:
        process = f"$(systemctl show --property=MainPID --value {service})"
        listing = root.run(f"nsenter --target={process} --mount ls -A /etc/fletching/dkim")
        return ".pem" in listing

    assert {service for service in SERVICES if sees(service)} == {"fletching"}


def test_nginx_serves_the_links(root: CleanRoot) -> None:
    root.run(
        f"mkdir -p {CERTIFICATE} && openssl req -x509 -newkey rsa:2048 -nodes -days 2"
        f" -subj /CN=click.example.com -addext subjectAltName=DNS:click.example.com"
        f" -keyout {CERTIFICATE}/privkey.pem -out {CERTIFICATE}/fullchain.pem"
        f" && cp {CERTIFICATE}/fullchain.pem /usr/local/share/ca-certificates/click.crt"
        " && update-ca-certificates && systemctl start nginx"
    )
    said = root.run(commands("deploy/nginx/README.md", "", "web:"), f"{OPT}/deploy/nginx")
    assert re.search(r"(?m)^HTTP/1.1 404", said)
    assert "error: " not in said


def test_caddy_takes_its_configuration(root: CleanRoot) -> None:
    """Its certificate would come from the internet: real/test_proxies.py shows it at work."""
    root.run("systemctl stop nginx && systemctl start caddy")
    root.run(commands("deploy/caddy/README.md", "", "web:|curl "), f"{OPT}/deploy/caddy")


def test_one_service_runs_all_daemons(root: CleanRoot) -> None:
    before = json.loads(root.run("fletching stats --json"))
    root.run(f"cp {OPT}/deploy/systemd/fletching-run.service /etc/systemd/system/")
    root.run("systemctl daemon-reload && systemctl start fletching-run")
    for service in SERVICES:
        assert root.status(f"systemctl is-active {service}")[1].strip() == "inactive"
    root.run("systemctl reload fletching-run && systemctl is-active fletching-run")
    journal = root.run("journalctl --no-pager -u fletching-run")
    assert "daemons=milter,web,lmtp,logtail,courier" in journal
    assert "error: " not in root.run("fletching check --postfix")
    assert json.loads(root.run("fletching stats --json")) == before


def test_upgrade_restarts_the_services_that_run(root: CleanRoot) -> None:
    """docs/upgrade.md, while fletching-run stands for all of them; pip would need a network."""
    git = "git -C /srv/fletching -c user.name=t -c user.email=t@example.org"
    root.run(f"{git} commit -q --allow-empty -m newer")
    main_pid = "systemctl show --property=MainPID --value fletching-run"
    before = root.run(main_pid)
    root.run(commands("docs/upgrade.md", "One host, from source", r"\.venv/bin/pip |.* --live"))
    assert root.run(main_pid) not in {before, "0\n"}
    for service in SERVICES:
        assert root.status(f"systemctl is-active {service}")[1].strip() == "inactive"


def test_old_links_and_bounces_outlive_the_milter(root: CleanRoot) -> None:
    """docs/uninstall.md: one service for all daemons goes on."""
    lines = commands("docs/uninstall.md", "1. No new mail").splitlines()
    root.run("\n".join(line for line in lines if line.startswith("systemctl ")))
    assert root.run("systemctl is-active fletching-run").strip() == "active"
    status = "curl -s -o /dev/null -w '%{http_code}' -H 'Host: click.example.com'"
    assert root.run(f"{status} http://127.0.0.1:8090/click?forged") == "404"


def test_one_service_runs_a_redis_of_its_own(root: CleanRoot) -> None:
    root.run("cd /etc/fletching && sed -i 's/^redis: .*/redis: embedded/' fletching.yaml")
    root.run("systemctl stop redis-server && systemctl restart fletching-run")
    assert json.loads(root.run("fletching stats --json")) == {"campaigns": []}
    root.run("fletching suppression add t100 joe@example.org")
    root.run("systemctl restart fletching-run")
    assert "joe@example.org" in root.run("fletching suppression list")
    assert "error: " not in root.run("fletching check")
    root.run("systemctl start redis-server")


def test_removal(root: CleanRoot) -> None:
    root.run("fletching postfix --remove --yes")
    for name in ("main.cf", "master.cf"):
        root.run(f"cmp {name}.before /etc/postfix/{name}")
    root.run("systemctl disable --now fletching-run")
    root.run(commands("deploy/systemd/README.md", "Remove"))
    assert "milter" not in root.run("postconf -n; postconf -M")
    ours = "find /etc -name 'fletching*' -not -path '/etc/fletching*' -not -path '/etc/nginx/*'"
    assert root.run(ours) == ""
    assert root.status("systemctl is-active fletching")[0] != 0
    root.run("postfix check && systemctl is-active postfix redis-server")
