"""PostgreSQL and MariaDB, private, on Unix sockets, with a database for each character set."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
import pymysql

from sandbox.processes import Daemon, Server, program


class _Database(Server):
    """A server with a folder of its own, run by a user that may be no other than root."""

    user: str
    end_by: signal.Signals

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="db-", dir="/var/tmp"))
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            # It becomes the server, where runuser(1) would stay as its parent.
            become = ("--reuid", self.user, "--regid", self.user, "--init-groups", "--")
            self._as_user = [program("setpriv", "util-linux"), *become]
            shutil.chown(self.folder, self.user)
        self._daemon = self._made()

    def _made(self) -> Daemon:
        """Makes what it keeps on disk."""
        raise NotImplementedError

    def _is_ready(self) -> bool:
        raise NotImplementedError

    def _run(self, *argv: str | Path) -> None:
        subprocess.run([*self._as_user, *argv], check=True, capture_output=True, cwd="/")

    def start(self) -> None:
        self._daemon.start(self._is_ready)

    def end(self) -> None:
        """Ends it; `start` has it go on with the same data."""
        if self._daemon.running:
            self._daemon.signal(self.end_by)
        self._daemon.stop()

    def stop(self) -> None:
        self.end()
        shutil.rmtree(self.folder)


class PostgreSql(_Database):
    """With the databases `utf8` and `latin1`."""

    user = "postgres"
    end_by = signal.SIGINT
    """At SIGTERM it would wait for its clients."""

    def _made(self) -> Daemon:
        # Debian keeps them off the path, a folder for each version.
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        assert found, "postgres is missing: apt-get install postgresql"
        programs = found[-1].parent
        data = self.folder / "data"
        self._run(programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                  "--locale", "C")  # fmt: skip
        words: list[str | Path] = ["-D", data, "-k", self.folder, "-c", "listen_addresses="]
        return Daemon([*self._as_user, programs / "postgres", *words], self.folder / "log")

    def _is_ready(self) -> bool:
        try:
            self.ask("SELECT 1", "postgres")
        except psycopg.OperationalError:
            return False
        return True

    def start(self) -> None:
        super().start()
        if not self.ask("SELECT 1 FROM pg_database WHERE datname = 'latin1'", "postgres"):
            for name in ("utf8", "latin1"):
                self.ask(f"CREATE DATABASE {name} ENCODING {name} TEMPLATE template0", "postgres")

    def url(self, database: str) -> str:
        """For SQLAlchemy."""
        return f"postgresql+psycopg://postgres@/{database}?host={self.folder}"

    def ask(self, question: str, database: str) -> Sequence[tuple[Any, ...]]:
        """What a client of the server's own is told."""
        with psycopg.connect(
            host=str(self.folder),
            user="postgres",
            dbname=database,
            autocommit=True,
            client_encoding="utf8",
        ) as connection:
            cursor = connection.execute(question.encode())
            return cursor.fetchall() if cursor.description else []


class MariaDb(_Database):
    """With the databases `utf8mb4` and `utf8mb3`, which have that as their default."""

    user = "mysql"
    end_by = signal.SIGTERM

    def _made(self) -> Daemon:
        data = self.folder / "data"
        install = program("mariadb-install-db", "mariadb-server")
        self._run(install, "--no-defaults", f"--datadir={data}", "--skip-test-db",
                  "--auth-root-authentication-method=normal")  # fmt: skip
        words = ["--no-defaults", f"--datadir={data}", f"--socket={self._socket}",
                 f"--pid-file={self.folder}/pid", "--skip-networking"]  # fmt: skip
        server = program("mariadbd", "mariadb-server")
        return Daemon([*self._as_user, server, *words], self.folder / "log")

    @property
    def _socket(self) -> Path:
        return self.folder / "socket"

    def _is_ready(self) -> bool:
        try:
            self.ask("SELECT 1", "mysql")
        except pymysql.OperationalError:
            return False
        return True

    def start(self) -> None:
        super().start()
        for name in ("utf8mb4", "utf8mb3"):
            self.ask(f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET {name}", "mysql")

    def url(self, database: str) -> str:
        """For SQLAlchemy."""
        return f"mysql+pymysql://root@localhost/{database}?unix_socket={self._socket}"

    def ask(self, question: str, database: str) -> Sequence[tuple[Any, ...]]:
        """What a client of the server's own is told."""
        with (
            pymysql.connect(
                unix_socket=str(self._socket), user="root", database=database, autocommit=True
            ) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(question)
            found: Sequence[tuple[Any, ...]] = cursor.fetchall()
            return found
