"""What a daemon's first process hands to its workers: values and descriptors.

Each test runs a first process of its own, since that may have no threads.
"""

from __future__ import annotations

import subprocess
import sys

_FIRST_PROCESS = """
import gc, os, socket, sys
from fletching.daemons.process.handover import Handover, Inbox

gc.disable()

def descriptors():
    return len(os.listdir("/proc/self/fd"))

def end(child):
    child.retiring = True
    os.waitpid(child.pid, 0)
    child.pid = 0

def tells_descriptors(value, inbox):
    os.write(1, f"worker has {descriptors()}\\n".encode())
    os._exit(0)
"""


def printed(program: str) -> list[str]:
    argv = [sys.executable, "-c", _FIRST_PROCESS + program]
    done = subprocess.run(argv, capture_output=True, check=False, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_retired_workers_leave_no_descriptor() -> None:
    """Not even until the garbage collector runs, which it hardly does in an idle process."""
    lines = printed("""
handover = Handover("value")
found = []
for number in range(20):
    child = handover.worker(f"web {number}", tells_descriptors)
    child.begin()
    end(child)
    found.append(descriptors())
print(len(set(found[1:])))
""")
    assert lines[-1] == "1"
    assert len(set(lines[:-1])) == 1, "the worker of each generation has as many as the first"


def test_a_worker_has_no_socket_of_its_siblings() -> None:
    lines = printed("""
handover = Handover("value")
for number in range(5):
    child = handover.worker(f"web {number}", tells_descriptors)
    child.begin()
    os.waitpid(child.pid, 0)
""")
    assert len(lines) == 5
    assert len(set(lines)) == 1, lines


def test_a_value_that_arrives_as_descriptor_0_is_read() -> None:
    assert printed("""
def reads(value, inbox):
    os.close(0)
    receiver = inbox._receiver
    receiver.setblocking(True)
    receiver.recv(1, socket.MSG_PEEK)
    receiver.setblocking(False)
    os.write(1, f"{value} {inbox.latest()}\\n".encode())
    os._exit(0)

handover = Handover("old")
child = handover.worker("web 0", reads)
child.begin()
with handover.packed("new") as give:
    give()
os.waitpid(child.pid, 0)
""") == ["old new"]


def test_nothing_changes_before_everything_is_packed() -> None:
    assert printed("""
handover = Handover("old")
with handover.packed("new") as give:
    print(handover.value)
    give()
print(handover.value)
""") == ["old", "new"]
