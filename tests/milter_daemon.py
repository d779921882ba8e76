"""A running milter for tests, and miltertest(8) as the Postfix that talks to it.

miltertest speaks the MTA's side of the protocol and was not written by us. A script can wait in the
middle of a mail until the test says that it may go on.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from sandbox.processes import (
    Daemon,
    Server,
    in_memory,
    processes,
    program,
    wait_until,
)
from tests import commands
from tests.waiting import wait_for_rest

KEYS = Path(__file__).parent

CONFIG = """
workers: {workers}
redis: {redis}
listen: unix:{folder}/milter.sock
state_dir: {folder}/state
link_keys: {folder}/link-keys
url_domain: https://click.example.com
bounce_mailbox: bounces@example.com
unsubscribe_mailbox: unsubscribe@example.com
"""

ACCEPT, CONTINUE, TEMPFAIL, REJECT, REPLY = "a", "c", "t", "r", "y"
"""Replies of a milter, as the protocol has them."""

# What a script can use. Values go out as hexadecimal digits: they may hold anything.
_PRELUDE = r"""
local function hex(text)
  return (text:gsub(".", function(c) return string.format("%02x", c:byte()) end))
end
function out(name, value)
  io.write(name, " ", hex(value or ""), "\n")
  io.flush()
end
function open(client)
  local conn = mt.connect("local:" .. SOCKET)
  if conn == nil then error("no connection") end
  mt.conninfo(conn, "client.example.com", client or "127.0.0.1")
  return conn
end
function begin(conn, sender, login)
  if login then mt.macro(conn, SMFIC_MAIL, "{auth_authen}", login) end
  mt.mailfrom(conn, sender or "<app@example.com>")
end
function rcpt(conn, address, mailer)
  -- miltertest has no macros for the end of a mail; what was said at RCPT holds there, too.
  if mailer == "" then
    mt.macro(conn, SMFIC_RCPT, "i", "4TestQueueId")
  else
    mt.macro(conn, SMFIC_RCPT, "i", "4TestQueueId", "{rcpt_mailer}", mailer or "smtp")
  end
  mt.rcptto(conn, address or "<reader@example.org>")
end
function finish(conn)
  mt.eom(conn)
  out("reply", string.char(mt.getreply(conn)))
end
function added(conn, name)
  out(name, mt.getheader(conn, name, 0))
end
function gate(name)
  io.write("gate ", name, "\n")
  io.flush()
  local line
  repeat  -- Without a line, whoever opened the last gate had not closed it yet.
    local pipe = io.open(GATE, "r")
    line = pipe:read("l")
    pipe:close()
  until line
end
"""

# miltertest does not say what went wrong in a script.
_WHOLE = """
local fine, why = pcall(function()
{script}
end)
if not fine then print(why) error(why) end
"""


def lua(text: bytes | str) -> str:
    """A Lua string with these octets."""
    octets = text.encode() if isinstance(text, str) else text
    return '"' + "".join(f"\\{octet:03d}" for octet in octets) + '"'


def header(name: bytes | str, value: bytes | str) -> str:
    return f"mt.header(conn, {lua(name)}, {lua(value)})"


def body(text: bytes, size: int = 65535) -> str:
    """The body in chunks of that size."""
    chunks = [text[start : start + size] for start in range(0, len(text), size)]
    return "\n".join(f"mt.bodystring(conn, {lua(chunk)})" for chunk in chunks)


class Conversation:
    """A script of miltertest while it runs."""

    def __init__(self, socket: Path, script: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="miltertest-")
        folder = Path(self._folder.name)
        self._gate = folder / "gate"
        os.mkfifo(self._gate)
        (folder / "script").write_text(_PRELUDE + _WHOLE.format(script=script))
        given = {"SOCKET": socket, "GATE": self._gate}
        self._process = subprocess.Popen(
            [
                program("miltertest", "miltertest"),
                *(word for name, value in given.items() for word in ("-D", f"{name}={value}")),
                *("-s", str(folder / "script")),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said: list[tuple[str, bytes]] = []
        self.ended = False
        self._other: list[str] = []

    def reach(self, gate: str) -> Conversation:
        """Waits until the script waits at that gate."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line == f"gate {gate}\n":
                return self
            self._hear(line)
        raise AssertionError(f"never came to {gate}: {self.end(ok=False)}")

    def go(self) -> Conversation:
        """Lets it go on."""
        self._gate.write_text("go\n")
        return self

    def end(self, *, ok: bool = True) -> Conversation:
        """Waits for its end; ``ok`` false where its connection is cut off."""
        out, _ = self._process.communicate(timeout=60)
        for line in out.splitlines(keepends=True):
            self._hear(line)
        self._folder.cleanup()
        self.ended = True
        assert (self._process.returncode == 0) == ok, (self._process.returncode, self._other)
        return self

    def all(self, name: str) -> list[bytes]:
        """What the script said under that name, in order."""
        return [value for said, value in self.said if said == name]

    @property
    def replies(self) -> list[str]:
        return [reply.decode() for reply in self.all("reply")]

    def _hear(self, line: str) -> None:
        found = re.fullmatch(r"(\S+) ((?:[0-9a-f]{2})*)\n", line)
        if found:
            self.said.append((found[1], bytes.fromhex(found[2])))
        else:
            self._other.append(line)


class MilterDaemon(Server):
    """`fletching milter`, or another command that serves, with a configuration of its own."""

    def __init__(
        self, redis: str, config: str, *, workers: int = 1, command: Sequence[str] = ("milter",)
    ) -> None:
        # Not below pytest's directory: a Unix socket's path has 107 octets at most.
        self.folder = Path(tempfile.mkdtemp(prefix="milter-", dir=in_memory()))
        self.path = self.folder / "fletching.yaml"
        self.socket = self.folder / "milter.sock"
        self.state_dir = self.folder / "state"
        self._base = CONFIG.format(folder=self.folder, redis=redis, workers=workers)
        self.configure(config)
        self._notify = self.folder / "notify"
        self._talks: list[Conversation] = []
        commands.output(self.path, "key", "new")
        self.daemon = Daemon(
            [sys.executable, "-m", "fletching", *command, "--config", self.path],
            self.folder / "log",
        )

    def fletching(self, *arguments: str) -> str:
        """The output of another command with the same configuration."""
        return commands.output(self.path, *arguments)

    def configure(self, config: str) -> None:
        """Writes another configuration; it counts from the next start or SIGHUP on."""
        self.path.write_text(self._base + config)

    def start(self) -> None:
        before = self.log().count("started daemon=milter")
        self.daemon.start(lambda: self.log().count("started daemon=milter") > before)

    def stop(self) -> None:
        assert self.daemon.stop() == 0

    def __exit__(self, *raised: object) -> None:
        try:
            if self.daemon.running:
                self.stop()
        finally:
            self.daemon.kill()
            shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        log = self.folder / "log"
        return log.read_text("utf-8", "replace") if log.exists() else ""

    def lines(self, name: str) -> list[str]:
        """Lines of the log with that name; those of mails come after the answer."""
        if name == "mail" and self.daemon.running:
            wait_for_rest(self.log, self._has_all_mails)
        return self._lines(name)

    def _lines(self, name: str) -> list[str]:
        return [line for line in self.log().splitlines() if line.split(" ")[0] == name]

    def _has_all_mails(self, _log: str) -> bool:
        """Whether there is a line for each mail that has a reply, and none is under way."""
        replies = sum(len(talk.replies) for talk in self._talks)
        return all(talk.ended for talk in self._talks) and len(self._lines("mail")) == replies

    def rest(self) -> None:
        """Waits until all is written about mails, also to Redis."""
        wait_for_rest(self.log)

    def forget(self) -> None:
        """Empties the log, with what is left to say of earlier mails."""
        self.lines("mail")
        (self.folder / "log").write_bytes(b"")
        self._talks.clear()

    def wait_for(self, name: str, count: int = 1) -> list[str]:
        wait_until(f"the log has no {name}", lambda: len(self.lines(name)) >= count)
        return self.lines(name)

    def talk(self, *script: str) -> Conversation:
        """Starts a script of miltertest."""
        talk = Conversation(self.socket, "\n".join(script) + "\n")
        self._talks.append(talk)
        return talk

    def mail(
        self,
        *headers: str,
        text: bytes = b"Hello.\r\n",
        want: Iterable[str] = (),
        begin: str = "",
        client: str = "127.0.0.1",
    ) -> Conversation:
        """One mail to its end, and the values of the header fields that are added to it."""
        return self.talk(
            f"conn = open({lua(client)})",
            f"begin(conn, {begin or 'nil'})",
            "rcpt(conn)",
            *headers,
            body(text),
            "finish(conn)",
            *(f"added(conn, {lua(name)})" for name in want),
            "mt.disconnect(conn)",
        ).end()

    def children(self) -> list[int]:
        """Process ids of all processes of the daemon but the first."""
        return [pid for pid in processes(self.daemon.pid) if pid != self.daemon.pid]

    def settle(self) -> None:
        """Waits until the workers have taken up all that was said to them.

        Postfix and miltertest wait for no reply before the end of a mail. A thread that has
        something to read or to do does not sleep.
        """
        looks = iter(range(3))

        def asleep() -> bool:
            nonlocal looks
            if any(_awake(pid) for pid in self.workers()):
                looks = iter(range(3))
            return next(looks, None) is None

        wait_until("the workers do not come to rest", asleep)

    def workers(self) -> list[int]:
        """Process ids of the worker processes."""
        return [pid for pid in self.children() if "redis-server" not in command_line(pid)]


def _awake(pid: int) -> bool:
    """Whether a thread of the process runs or could run."""
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        if stat.read_text().rpartition(")")[2].split()[0] != "S":
            return True
    return False


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""
