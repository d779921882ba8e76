"""The faults of a soak, by name. Each returns when it is over, with the servers running again.

A fault that is calm leaves all processes of Fletching alive and lets nobody read old data again, so
that memory can be measured meanwhile.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from os import kill
from pathlib import Path

from bench.soak import hook
from bench.soak.site import Process, Site
from sandbox.processes import processes, wait_until

_RESTARTS_AFTER = 0.5
"""Seconds until a service manager restarts what was killed."""
_REDIS_HANGS = (1.0, 5.0)
_DISK_FULL = (3.0, 8.0)
_WEBHOOK_DOWN = (3.0, 12.0)
_STORM = 20
"""SIGHUPs, one after the other."""
_STORM_PAUSES = (0.01, 0.3)
_POSTFIX = ("smtpd", "cleanup", "qmgr", "smtp", "lmtp")
"""Postfix's processes that are killed. Not postlogd(8): what it has not yet written is gone."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault."""

    happen: Callable[[Site, random.Random], None]
    is_calm: bool = False


def _of(site: Site, daemon: str, *, is_child: bool) -> list[Process]:
    return [each for each in site.processes() if (each.daemon, each.is_child) == (daemon, is_child)]


def _kill(site: Site, dice: random.Random, *, daemon: str, is_child: bool) -> None:
    """The supervisor, or the daemon, replaces it."""
    found: list[Process] = []

    def has_one() -> bool:
        found[:] = _of(site, daemon, is_child=is_child)
        return bool(found)

    wait_until(f"{daemon} is not running", has_one)
    with suppress(ProcessLookupError):
        kill(dice.choice(found).pid, signal.SIGKILL)


def _end(site: Site, dice: random.Random) -> None:
    """SIGTERM of one daemon; the supervisor starts it again."""
    daemon = dice.choice(("milter", "web", "lmtp", "logtail", "courier"))
    for each in _of(site, daemon, is_child=False):
        kill(each.pid, signal.SIGTERM)


def _kill_supervisor(site: Site, dice: random.Random) -> None:
    site.daemon.signal(signal.SIGKILL)
    site.daemon.wait()
    time.sleep(_RESTARTS_AFTER)
    site.start()


def _crash(site: Site, dice: random.Random) -> None:
    site.daemon.kill()
    time.sleep(_RESTARTS_AFTER)
    site.start()


def _restart(site: Site, dice: random.Random) -> None:
    site.daemon.stop()
    site.start()


def _pause_redis(site: Site, dice: random.Random) -> None:
    site.redis.pause()
    time.sleep(dice.uniform(*_REDIS_HANGS))
    site.redis.resume()


def _kill_redis(site: Site, dice: random.Random) -> None:
    site.redis.kill()
    time.sleep(_RESTARTS_AFTER)
    site.redis.start()


def _restart_redis(site: Site, dice: random.Random) -> None:
    site.redis.stop()
    time.sleep(dice.uniform(0.5, 3.0))
    site.redis.start()


def _fill_disk(site: Site, dice: random.Random) -> None:
    site.disk.fill()
    time.sleep(dice.uniform(*_DISK_FULL))
    site.disk.free()


def _storm(site: Site, dice: random.Random) -> None:
    """SIGHUPs with configurations that are valid and broken in turn; the last one is valid."""
    valid = site.configuration()
    other = site.configuration(stats_retention=f"{dice.randint(30, 90)}d")
    texts = (other, f"{valid}\nno_such_option: 1\n", f"{valid}\n'no end", valid)
    for number in range(_STORM):
        site.write_configuration(texts[number % len(texts)])
        site.daemon.signal(signal.SIGHUP)
        time.sleep(dice.uniform(*_STORM_PAUSES))
    site.write_configuration(valid)
    site.daemon.signal(signal.SIGHUP)


def _break_webhook(site: Site, dice: random.Random) -> None:
    site.hook.mode = dice.choice((hook.BROKEN, hook.BUSY, hook.CUT, hook.SLOW))
    time.sleep(dice.uniform(*_WEBHOOK_DOWN))
    site.hook.mode = hook.WORKING


def _rotate(site: Site, dice: random.Random) -> None:
    """Postfix's log, and the file of events."""
    site.postfix.command("postfix", "logrotate")
    number = len([*site.events_file.parent.iterdir()])
    with suppress(FileNotFoundError):
        site.events_file.rename(site.events_file.with_suffix(f".{number}"))
    site.daemon.signal(signal.SIGHUP)


def _reload_postfix(site: Site, dice: random.Random) -> None:
    # Not Postfix.reload(), which waits until smtpd(8) ends: that is when the sessions do.
    site.postfix.command("postfix", "reload")


def _kill_postfix(site: Site, dice: random.Random, *, name: str) -> None:
    """master(8) starts it again when it is needed."""
    for pid in processes(site.postfix.pid):
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if words[0].rpartition(b"/")[2] == name.encode():
                kill(pid, signal.SIGKILL)
                return


def _kills() -> Mapping[str, Fault]:
    kinds = [
        (daemon, is_child)
        for daemon in ("milter", "web", "lmtp", "logtail")
        for is_child in (False, True)
    ]
    return {
        f"kill {daemon}{' child' if is_child else ''}": Fault(
            partial(_kill, daemon=daemon, is_child=is_child)
        )
        for daemon, is_child in [*kinds, ("courier", False)]
    }


FAULTS: Mapping[str, Fault] = {
    **_kills(),
    "kill supervisor": Fault(_kill_supervisor),
    "kill everything": Fault(_crash),
    "restart": Fault(_restart),
    "end a daemon": Fault(_end),
    "pause Redis": Fault(_pause_redis, is_calm=True),
    "kill Redis": Fault(_kill_redis),
    "restart Redis": Fault(_restart_redis),
    "fill the disk": Fault(_fill_disk, is_calm=True),
    "SIGHUP storm": Fault(_storm, is_calm=True),
    "break the webhook": Fault(_break_webhook, is_calm=True),
    "rotate the logs": Fault(_rotate, is_calm=True),
    "reload Postfix": Fault(_reload_postfix, is_calm=True),
    **{f"kill {name}": Fault(partial(_kill_postfix, name=name), is_calm=True) for name in _POSTFIX},
}
"""The faults by name."""

CALM: Sequence[str] = [name for name, fault in FAULTS.items() if fault.is_calm]
"""The names of those that kill no process of Fletching."""
