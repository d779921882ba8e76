"""The services of packaging/compose.yaml, from images that buildah builds of the Containerfile.

Nothing here knows Fletching. There is no container engine that could run them, nor a registry: the
base image is what debootstrap makes, and each service runs by `buildah run` with chroot isolation,
in one network namespace for all of them. So what is tested is the Containerfile, and of the Compose
file the commands, users, capabilities, environment and volumes; not its networks, and not that
root file systems are read-only.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from typing import Any

import yaml

from sandbox.processes import Daemon, program, wait_until

BASE = "docker.io/library/debian:bookworm-slim"
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_BUILD_PATIENCE = 1800
_BUILDAH_GIVES = frozenset(
    f"CAP_{name}"
    for name in (
        *("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP"),
        *("SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    )
)


@dataclass(frozen=True, slots=True)
class Service:
    """A service of the Compose file and the configuration of its image."""

    name: str
    argv: tuple[str, ...]
    """Entry point and command."""
    capabilities: frozenset[str]
    environment: Mapping[str, str]
    volumes: Mapping[str, str]
    """Name of a volume or path of a file, by place in the container."""


class Containers:
    """``enter``: the prefix of a command that runs in their network."""

    def __init__(self, place: Path, compose: Path, enter: Sequence[str]) -> None:
        self._place, self._compose, self._enter = place, compose, enter
        # buildah puts the roots of what it runs there, and leaves them if it is killed.
        self._environment = {"TMPDIR": str(place / "roots")}
        (place / "roots").mkdir()
        self._described: dict[str, Any] = yaml.safe_load(compose.read_text())
        self._running: dict[str, Daemon] = {}
        self._name_server = ""
        self._containers: dict[str, str] = {}

    @property
    def _all_environment(self) -> dict[str, str]:
        return {**os.environ, **self._environment}

    # Images

    def _buildah(self, *words: str, patience: int = 120) -> str:
        storage = ("--root", f"{self._place}/images", "--runroot", f"{self._place}/run")
        argv = [program("buildah", "buildah"), *storage, *words]
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=patience, env=self._all_environment
        )
        assert done.returncode == 0, f"{argv}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout.strip()

    def import_base(self, root: Path) -> None:
        """Take a packed root file system for the base image."""
        container = self._buildah("from", "scratch")
        self._buildah("add", "--quiet", container, str(root), "/")
        self._buildah("commit", "--quiet", "--rm", container, BASE)

    def build(self, context: Path) -> None:
        """Build the image of each service. ``context``: a copy of the repository."""
        mounts = []
        if Path(_CERTIFICATES).exists():
            # The machine's package index may have a certificate of its own.
            settings = self._place / "pip.conf"
            settings.write_text("[global]\ncert = /run/certificates.crt\n")
            mounts = ["--volume", f"{_CERTIFICATES}:/run/certificates.crt:ro"]
            mounts += ["--volume", f"{settings}:/etc/pip.conf:ro"]
        for service in self._described["services"].values():
            build = service["build"]
            assert build["context"] == ".."
            options = ("--layers", "--pull-never", "--isolation", "chroot", "--network", "host")
            named = ("--target", build["target"], "--tag", service["image"])
            file = ("--file", str(context / build["dockerfile"]))
            words = (*options, *mounts, *file, *named, str(context))
            self._buildah("build", *words, patience=_BUILD_PATIENCE)

    # Services

    def _service(self, name: str) -> Service:
        given = self._described["services"][name]
        image = self._image(given["image"])
        entry, command = image.get("Entrypoint") or [], image.get("Cmd") or []
        volumes = {}
        for line in given.get("volumes", ()):
            source, place, *_ = line.split(":")
            volumes[place] = source
        assert given["cap_drop"] == ["ALL"]
        hostname = given.get("hostname", name)
        return Service(
            name,
            (*entry, *command),
            frozenset(f"CAP_{each}" for each in given.get("cap_add", ())),
            {"HOSTNAME": hostname, **given.get("environment", {})},
            volumes,
        )

    def _image(self, name: str) -> Any:
        """The configuration of an image: its entry point, command and so on."""
        return json.loads(self._buildah("inspect", "--type", "image", name))["OCIv1"]["config"]

    def _argv(
        self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> list[str]:
        service = self._service(name)
        if name not in self._containers:
            image = self._described["services"][name]["image"]
            # Not a volume for resolv.conf: buildah may mount its own over it.
            words = ("--pull-never", "--dns", self._name_server, image)
            self._containers[name] = self._buildah("from", *words)
        container = self._containers[name]
        # The innermost last: one volume may be in another.
        mounts = [
            word
            for place in sorted(service.volumes)
            for word in ("--volume", f"{self._volume(name, service, place)}:{place}")
        ]
        mounts += ["--volume", f"{self._place}/hosts:/etc/hosts:ro"]
        # Not `--cap-drop ALL`, after which buildah adds none.
        rights = [
            word
            for each in sorted(_BUILDAH_GIVES - service.capabilities)
            for word in ("--cap-drop", each)
        ]
        settings = [
            word
            for key, value in {**service.environment, **(environment or {})}.items()
            for word in ("--env", f"{key}={value}")
        ]
        storage = ["--root", f"{self._place}/images", "--runroot", f"{self._place}/run"]
        argv = [*self._enter, program("buildah", "buildah"), *storage]
        argv += ["run", "--isolation", "chroot", "--network", "host", "--no-hosts"]
        return [*argv, *rights, *settings, *mounts, container, "--", *command]

    def _volume(self, name: str, service: Service, place: str) -> Path:
        """The folder of a volume, with the content of the image at first, as Docker makes it."""
        source = service.volumes[place]
        if source.startswith("."):
            return (self._compose.parent / source).resolve()
        folder = self._place / "volumes" / source
        if not folder.exists():
            root = Path(self._buildah("mount", self._containers[name]))
            content = root / place.lstrip("/")
            folder.parent.mkdir(exist_ok=True)
            if content.is_dir():
                subprocess.run(["cp", "--archive", str(content), str(folder)], check=True)
            else:
                folder.mkdir()
        return folder

    def start(self, name: str, environment: Mapping[str, str] | None = None) -> None:
        """Start a service, and wait until its health check passes.

        ``environment``: what differs from the Compose file.
        """
        service = self._service(name)
        for setting in self._described["services"][name].get("sysctls", ()):
            subprocess.run([*self._enter, program("sysctl", "procps"), "-qw", setting], check=True)
        argv = self._argv(name, service.argv, environment)
        daemon = Daemon(argv, self._place / f"{name}.log", self._environment)
        self._running[name] = daemon
        daemon.start(lambda: self._is_healthy(name))

    def _is_healthy(self, name: str) -> bool:
        check = self._described["services"][name].get("healthcheck")
        if check is None:
            return True
        kind, *command = check["test"]
        assert kind == "CMD"
        done = subprocess.run(
            self._argv(name, command), capture_output=True, timeout=60, env=self._all_environment
        )
        return done.returncode == 0

    def run(self, name: str, *words: str) -> str:
        """As `docker compose run SERVICE WORDS`: the entry point with other words."""
        image = self._image(self._described["services"][name]["image"])
        command = [*(image.get("Entrypoint") or []), *words]
        done = subprocess.run(
            self._argv(name, command),
            capture_output=True,
            text=True,
            timeout=120,
            env=self._all_environment,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def hosts(self, lines: Sequence[str], name_server: str) -> None:
        """What the containers know of the network."""
        (self._place / "hosts").write_text("".join(f"{line}\n" for line in lines))
        self._name_server = name_server

    def stop(self) -> None:
        """End what runs; nothing is mounted afterwards."""
        for daemon in reversed(self._running.values()):
            daemon.kill()
        # Postfix's master(8) is not in the process group of its buildah.
        for pid in self._left():
            os.kill(pid, SIGKILL)
        wait_until("a container's process lives", lambda: not [*self._left()])
        self._buildah("umount", "--all")
        self._buildah("rm", "--all")

    def _left(self) -> Iterator[int]:
        """Process ids of what still runs in the containers."""
        for root in Path("/proc").glob("[0-9]*/root"):
            with suppress(OSError):  # it has just ended
                if root.readlink().is_relative_to(self._place):
                    yield int(root.parent.name)


def services(compose: Path) -> Iterator[str]:
    """The names of the services."""
    yield from yaml.safe_load(compose.read_text())["services"]
