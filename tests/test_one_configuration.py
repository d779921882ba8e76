"""All workers of a daemon have the configuration that its first process read: at its start, and at
the last SIGHUP that found a valid one. What happens to the files in between changes nothing.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from fletching.keys.dkim_keys import new_dkim_key
from fletching.keys.link_keys import new_link_key
from fletching.store.connection import Store
from fletching.store.events import EventLog
from fletching.tokens import Facts, Kind

from sandbox.processes import free_port, private_directory, wait_until
from sandbox.redis_server import RedisServer
from tests.courier_setting import Courier, event
from tests.milter_daemon import ACCEPT, MilterDaemon, header
from tests.real.fletching import Fletching
from tests.test_dashboard_process import look
from tests.test_web import Web

pytestmark = pytest.mark.slow

FROM = header("From", "app@example.com")
CLASSES = "mail_classes: {old: {list_id: old}, new: {list_id: new}}\n"
OLD, NEW = (f"{CLASSES}default_mail_class: {name}\n" for name in ("old", "new"))
BROKEN = "verpp: true\n"


def kill_all(workers: Callable[[], list[int]]) -> None:
    """Kills every worker, and waits until as many others are there."""
    killed = workers()
    assert killed
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    wait_until(
        "not all workers are replaced",
        lambda: len(workers()) == len(killed) and not set(killed) & set(workers()),
    )


def reload_from_a_pipe(path: Path, hup: Callable[[], object]) -> None:
    """Sends SIGHUP with a pipe in place of the file: one process can read it, once.

    Whoever opens it after that waits forever.
    """
    content = path.read_bytes()
    path.unlink()
    os.mkfifo(path)
    hup()
    path.write_bytes(content)


# The milter

DKIM = """
dkim:
  keys:
    - {{domain: example.com, selector: r, default: true, file: {folder}/example.com.r.pem}}
    - {{domain: example.com, selector: e, file: {folder}/example.com.e.pem}}
"""


def test_milter_signs_after_a_reload(redis: RedisServer) -> None:
    """The workers are handed private keys, too."""
    with MilterDaemon(f"unix://{redis.socket}", OLD) as milter:
        for selector, algorithm in (("r", "rsa"), ("e", "ed25519")):
            file = milter.folder / f"example.com.{selector}.pem"
            new_dkim_key(file, algorithm)  # type: ignore[arg-type]
        milter.configure(NEW + DKIM.format(folder=milter.folder))
        milter.daemon.signal(signal.SIGHUP)
        wait_until("no reload", lambda: "reload=done" in milter.log())
        milter.settle()
        (signature,) = milter.mail(FROM, want=["DKIM-Signature"]).all("DKIM-Signature")
        assert b"s=r;" in signature


def classes(milter: MilterDaemon) -> set[str]:
    """The Mail Classes of some mails, which several workers get."""
    before = len(milter.lines("mail"))
    for talk in [milter.talk("conn = open()", *ONE_MAIL) for _ in range(8)]:
        assert talk.end().replies == [ACCEPT]
    lines = milter.lines("mail")[before:]
    return {word for line in lines for word in line.split() if word.startswith("class=")}


ONE_MAIL = (
    "begin(conn)",
    "rcpt(conn)",
    FROM,
    'mt.bodystring(conn, "Hello.\\r\\n")',
    "finish(conn)",
    "mt.disconnect(conn)",
)


@pytest.mark.parametrize("workers", [1, 3])
def test_milter_worker_has_the_configuration_of_its_parent(
    redis: RedisServer, workers: int
) -> None:
    with MilterDaemon(f"unix://{redis.socket}", OLD, workers=workers) as milter:
        milter.configure(NEW)
        kill_all(milter.workers)
        assert classes(milter) == {"class=old"}

        milter.configure(BROKEN)
        (milter.folder / "link-keys").rename(milter.folder / "moved")
        milter.daemon.signal(signal.SIGHUP)
        failed = milter.wait_for("configuration")
        assert all("reload=failed" in line and "verpp" in line for line in failed)
        kill_all(milter.workers)
        assert classes(milter) == {"class=old"}

        (milter.folder / "moved").rename(milter.folder / "link-keys")
        milter.configure(NEW)
        milter.daemon.signal(signal.SIGHUP)
        wait_until("no reload", lambda: "reload=done" in milter.log())
        milter.configure(OLD)
        milter.settle()
        assert classes(milter) == {"class=new"}
        kill_all(milter.workers)
        assert classes(milter) == {"class=new"}


def test_milter_reload_reads_the_file_once(redis: RedisServer) -> None:
    with MilterDaemon(f"unix://{redis.socket}", OLD, workers=3) as milter:
        milter.configure(NEW)
        reload_from_a_pipe(milter.path, lambda: milter.daemon.signal(signal.SIGHUP))
        milter.wait_for("configuration")
        milter.settle()
        assert classes(milter) == {"class=new"}


# The tracking service


def mailboxes(web: Web) -> set[str]:
    """The unsubscribe mailboxes that pages show; several workers answer."""
    facts = Facts("abcdefghijkl", 7, "news", "01", "T100", "", "", "bulk", 1)
    target = f"/unsub?{web.keys.seal(Kind.UNSUBSCRIBE_HTML, facts, 'https://example.com/bye')}"
    pages = [web.ask("GET", target)[2].decode() for _ in range(8)]
    return {page.partition('href="mailto:')[2].partition("@")[0] for page in pages}


def mailbox(name: str, workers: int) -> dict[str, object]:
    return {"unsubscribe_mailbox": f"{name}@example.com", "workers": workers}


@pytest.mark.parametrize("workers", [1, 3])
def test_web_worker_has_the_configuration_of_its_parent(
    tmp_path: Path, redis: RedisServer, workers: int
) -> None:
    web = Web(tmp_path, redis.url, mailbox("old", workers))
    web.start()
    try:
        web.configure(mailbox("new", workers))
        kill_all(lambda: web.workers)
        assert mailboxes(web) == {"old"}

        web.config.write_text(BROKEN)
        web.daemon.signal(signal.SIGHUP)
        web.says("reload=failed")
        assert "verpp" in web.log()
        kill_all(lambda: web.workers)
        assert mailboxes(web) == {"old"}

        web.configure(mailbox("new", workers))
        web.daemon.signal(signal.SIGHUP)
        web.says("reload=done")
        web.configure(mailbox("old", workers))
        wait_until("the old one is in force", lambda: mailboxes(web) == {"new"})
        kill_all(lambda: web.workers)
        assert mailboxes(web) == {"new"}
    finally:
        web.daemon.stop()


def test_web_reload_reads_the_file_once(tmp_path: Path, redis: RedisServer) -> None:
    web = Web(tmp_path, redis.url, mailbox("old", 3))
    web.start()
    try:
        web.configure(mailbox("new", 3))
        reload_from_a_pipe(web.config, lambda: web.daemon.signal(signal.SIGHUP))
        wait_until("the old one is in force", lambda: mailboxes(web) == {"new"})
        web.daemon.signal(signal.SIGTERM)
        assert web.daemon.wait() == 0
    finally:
        web.daemon.stop()


def test_web_worker_has_the_link_keys_of_its_parent(tmp_path: Path, redis: RedisServer) -> None:
    web = Web(tmp_path, redis.url, {"workers": 1})
    web.start()
    try:
        link = f"/click?{web.token()}"
        assert web.ask("GET", link)[0] == 302
        web.keys_file.unlink()
        new_link_key(web.keys_file, 2)
        kill_all(lambda: web.workers)
        assert web.ask("GET", link)[0] == 302
        web.daemon.signal(signal.SIGHUP)
        wait_until("the old keys are in force", lambda: web.ask("GET", link)[0] == 404)
    finally:
        web.daemon.stop()


# The dashboard

FIRST, SECOND = "the first password", "the second password"


def test_dashboard_has_the_password_of_its_parent(redis: RedisServer) -> None:
    with private_directory() as folder:
        file, port = folder / "password", free_port()
        file.write_text(FIRST)
        options = {"admin_listen": f"127.0.0.1:{port}", "admin_password_file": str(file)}
        with Fletching(folder / "web", redis.url, {"web": options}, command="web") as running:

            def statuses() -> list[int]:
                return [look(port, password).status for password in (FIRST, SECOND)]

            file.write_text(SECOND)
            kill_all(lambda: running.workers)
            assert statuses() == [200, 401]

            file.write_text("short")
            assert running.reload() == "failed"
            assert "must have at least 12 characters" in running.log()
            kill_all(lambda: running.workers)
            assert statuses() == [200, 401]

            file.write_text(SECOND)
            assert running.reload() == "done"
            file.write_text(FIRST)
            wait_until("the first password is in force", lambda: statuses() == [401, 200])
            kill_all(lambda: running.workers)
            assert statuses() == [401, 200]


# The courier, whose deliveries are threads of its one process


def test_courier_delivers_as_configured_at_its_last_reload(
    tmp_path: Path, redis: RedisServer
) -> None:
    redis.empty()
    files = {name: tmp_path / name for name in ("old", "new")}
    old, new = (f"{{destinations: [{{name: log, file: {files[name]}}}]}}" for name in files)
    events = EventLog(Store(redis.url, tmp_path))

    def delivered(name: str) -> list[str]:
        return files[name].read_text().splitlines() if files[name].exists() else []

    with Courier(tmp_path / "courier", redis.url, old) as courier:
        courier.configure(new)
        events.append([event(1)])
        wait_until("the first event is not delivered", lambda: len(delivered("old")) == 1)

        courier.configure("{destinations: [{name: log}]}")
        courier.reload()
        assert "reload=failed" in courier.lines("configuration")[-1]
        events.append([event(2)])
        wait_until("the second event is not delivered", lambda: len(delivered("old")) == 2)
        assert delivered("new") == []

        courier.configure(new)
        courier.reload()
        events.append([event(3)])
        wait_until("the third event is not delivered", lambda: len(delivered("new")) == 1)
        assert len(delivered("old")) == 2
