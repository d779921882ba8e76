"""The LMTP service in its first process, and the life of its worker.

Here live the listening socket, the folders where events and mails wait, and the parts of the
worker. There is one worker: whether a mail has come before is known to the process that received
it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from fletching import log
from fletching.config.faults import named_by
from fletching.config.model import Config
from fletching.config.sections import Events, Lmtp
from fletching.daemons.intake.journal import Journal
from fletching.daemons.intake.once import Once, recorded
from fletching.daemons.intake.recorder import Recorder
from fletching.daemons.lmtp.copies import Copies, CopySettings
from fletching.daemons.lmtp.first_reports import ClaimSettings, FirstReports
from fletching.daemons.lmtp.lookups import Lookups
from fletching.daemons.lmtp.receiving import Opened, Receiver
from fletching.daemons.lmtp.server import Clients
from fletching.daemons.lmtp.unreadable import FOLDER, Unreadable
from fletching.daemons.process.fork import END_WORKER, RELOAD_WORKER, even_without_room
from fletching.daemons.process.handover import Handover, Inbox
from fletching.daemons.process.lifecycle import Service
from fletching.daemons.process.listener import ListenError
from fletching.daemons.process.log_limit import LogLimit
from fletching.daemons.process.server_socket import ServerSocket, listen
from fletching.daemons.process.supervise import Child
from fletching.metrics.export import EVERY
from fletching.metrics.returned_mails import ReturnedMails
from fletching.startup import host_name, link_keys, providers
from fletching.store.bounce_claims import BounceClaims
from fletching.store.bounce_records import BounceRecords
from fletching.store.connection import Store
from fletching.store.events import EventLog

REMEMBERED = 6 * 3600
"""Seconds for which a repeated mail is recognized after a crash: Postfix sends a mail again after
at most 4000 seconds (`maximal_backoff_time`)."""

_STOP_TIMEOUT = 8.0
"""Seconds for mails in hand at a stop."""

_LOG_EVERY = 600.0


def opened(config: Config) -> Opened:
    """Reads what the configuration names. Raises UnusableError."""
    keys = link_keys(config, without="no mail can be attributed")
    is_log_read = config.postfix is not None and config.postfix.log is not None
    claims = ClaimSettings(is_log_read, config.bounce_memory)
    rules = config.bounces.rules
    copies = CopySettings(config.bounces.copy_to, config.bounces.submit, keys)
    name, bounces_of = host_name(config), config.bounces_of
    return Opened(keys, name, claims, bounces_of, copies, rules, providers(config))


class LmtpService(Service[Opened]):
    """The socket of `lmtp.listen` and its worker."""

    at_start_only = ("redis", "state_dir", "trace_memory")

    _config: Config
    _socket: ServerSocket

    def open(self, config: Config) -> Opened:
        return opened(config)

    def listen(self, config: Config) -> None:
        self._config = config
        with named_by("state_dir", fault=OSError), even_without_room("journal"):
            _journal(config).close()
        with named_by("state_dir", fault=OSError), even_without_room(FOLDER):
            Unreadable(config.state_dir / FOLDER)
        with named_by("lmtp", "listen", fault=ListenError):
            self._socket = listen(_lmtp(config).listen)

    def begin(self, config: Config, opened: Handover[Opened]) -> list[Child]:
        return [opened.worker("lmtp", self._live)]

    def facts(self) -> list[tuple[str, object]]:
        return [("listen", _lmtp(self._config).listen)]

    def needs_restart(self, begun: Config, now: Config) -> list[str]:
        moved = ["lmtp.listen"] if _lmtp(begun).listen != _lmtp(now).listen else []
        return super().needs_restart(begun, now) + moved

    def close(self) -> None:
        self._socket.close_path()

    def _live(self, value: Opened, inbox: Inbox[Opened]) -> NoReturn:
        asyncio.run(self._work(value, inbox))
        os._exit(0)

    async def _work(self, value: Opened, inbox: Inbox[Opened]) -> None:
        config = self._config
        store = Store(config.redis, config.state_dir)
        known = recorded(_journals(config))
        current = value
        events = EventLog(
            store,
            trace_memory=config.trace_memory,
            thresholds=lambda mail_class: current.bounces_of(mail_class),
            providers=lambda: current.providers,
        )
        recorder = Recorder(events, lambda: _journal(config), repeatable=True)
        metrics = ReturnedMails()
        receiver = Receiver(
            value,
            Once(recorder, known),
            Lookups(BounceRecords(store)),
            FirstReports(BounceClaims(store), value.claims),
            Unreadable(config.state_dir / FOLDER),
            Copies(),
            metrics,
        )
        clients = Clients(receiver.receive, value.server_id)

        def reload() -> None:
            nonlocal current
            current = inbox.latest() or current
            receiver.use(current)

        await _serve(clients, self._socket, reload, lambda: metrics.write(config.state_dir))
        receiver.close()
        recorder.close()


async def _serve(
    clients: Clients,
    socket: ServerSocket,
    reload: Callable[[], None],
    write_metrics: Callable[[], None],
) -> None:
    """Serves a socket until the parent ends this worker."""
    loop, is_over = asyncio.get_running_loop(), asyncio.Event()

    def reload_or_end() -> None:
        try:
            reload()
        except Exception:
            # The replacement of this worker has the new configuration.
            is_over.set()
            raise

    loop.add_signal_handler(END_WORKER, is_over.set)
    loop.add_signal_handler(RELOAD_WORKER, reload_or_end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (END_WORKER, RELOAD_WORKER))
    server = await loop.create_server(clients.connection, sock=socket.socket)
    unwritten = LogLimit(_LOG_EVERY)
    while True:
        try:
            write_metrics()
        except OSError as error:
            if unwritten.is_due():
                log.state_write_failed("lmtp.prom", error)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(is_over.wait(), EVERY)
        if is_over.is_set():
            break
    server.close()
    await clients.end(_STOP_TIMEOUT)


def _lmtp(config: Config) -> Lmtp:
    return config.lmtp or Lmtp()


def _journals(config: Config) -> Path:
    return config.state_dir / "journal" / "lmtp"


def _journal(config: Config) -> Journal:
    kept = (config.events or Events()).keep
    return Journal(_journals(config), kept, recent=REMEMBERED, sync=True)
