"""amavisd-new, rspamd and OpenDKIM as private instances on loopback, without scanners."""

from __future__ import annotations

import shutil
from pathlib import Path

from sandbox.processes import Daemon, Server, answers, free_port, program

_AMAVIS = """\
use strict;
$daemon_user = 'amavis'; $daemon_group = 'amavis'; $max_servers = 1;
$MYHOME = $TEMPBASE = $helpers_home = $db_home = '{directory}';
$pid_file = '{directory}/pid'; $lock_file = '{directory}/lock'; $enable_db = 0; $enable_zmq = 0;
$myhostname = 'mx.fletching.example'; $mydomain = 'fletching.example';
$inet_socket_bind = '127.0.0.1'; $inet_socket_port = {port}; $unix_socketname = undef;
$forward_method = 'smtp:[127.0.0.1]:{back}'; $notify_method = $forward_method;
@bypass_virus_checks_maps = (1); @bypass_spam_checks_maps = (1);
@bypass_banned_checks_maps = (1); @bypass_header_checks_maps = (1);
$do_syslog = 0; $logfile = '{directory}/log'; $log_level = 1; $QUARANTINEDIR = undef;
$enable_dkim_verification = 0; $enable_dkim_signing = 0; @local_domains_maps = (['.']);
1;
"""

_RSPAMD = """\
options {{
  pidfile = "{directory}/pid"; temp_dir = "{directory}"; filters = "";
  url_tld = "/usr/share/rspamd/effective_tld_names.dat";
  control_socket = "{directory}/control.sock mode=0600";
  dns {{ nameserver = ["127.255.255.254"]; timeout = 0.1s; retransmits = 1; }}
}}
logging {{ type = "file"; filename = "{directory}/log"; level = "info"; }}
worker "rspamd_proxy" {{
  bind_socket = "127.0.0.1:{port}"; milter = yes; timeout = 30s; count = 1;
  upstream "local" {{ default = yes; self_scan = yes; }}
}}
actions {{ reject = 1000; }}
"""

_OPENDKIM = """\
Mode v
Socket inet:{port}@127.0.0.1
PidFile {directory}/pid
AlwaysAddARHeader yes
AuthservID opendkim.example
Nameservers 127.255.255.254
"""


class FilterProgram(Server):
    """One of them, at ``port``. It runs as its Debian user."""

    def __init__(self, directory: Path, user: str, config: str, argv: tuple[str, ...]) -> None:
        self.port = free_port()
        self._directory = directory
        directory.mkdir()
        file = directory.with_name(f"{directory.name}.conf")
        self._config = config
        self._file = file
        shutil.chown(directory, user, user)
        self._daemon = Daemon([word.format(file=file) for word in argv], directory / "start.log")

    def log(self) -> str:
        """What it has logged."""
        return (self._directory / "log").read_text("utf-8", "replace")

    def start(self) -> None:
        """Serve."""
        text = self._config.replace("{port}", str(self.port))
        self._file.write_text(text)
        self._daemon.start(lambda: answers(self.port))

    def stop(self) -> None:
        """End."""
        self._daemon.stop()


def amavis(directory: Path, back: int) -> FilterProgram:
    """amavisd-new, which hands mail back at the port ``back``."""
    config = _AMAVIS.format(directory=directory, back=back, port="{port}")
    argv = (program("amavisd", "amavisd-new"), "-c", "{file}", "foreground")
    return FilterProgram(directory, "amavis", config, argv)


def rspamd(directory: Path) -> FilterProgram:
    """rspamd's proxy as a milter that scans by itself, with no rules."""
    config = _RSPAMD.format(directory=directory, port="{port}")
    argv = (program("rspamd", "rspamd"), "-f", "-u", "_rspamd", "-g", "_rspamd", "-c", "{file}")
    return FilterProgram(directory, "_rspamd", config, argv)


def opendkim(directory: Path, signing: str = "") -> FilterProgram:
    """OpenDKIM as a milter that verifies, and adds its results to every mail.

    With settings such as Domain, Selector and KeyFile in ``signing``, it signs instead.
    """
    config = _OPENDKIM.format(directory=directory, port="{port}")
    if signing:
        config = config.replace("Mode v\n", f"Mode s\n{signing}")
    argv = (program("opendkim", "opendkim"), "-f", "-x", "{file}")
    return FilterProgram(directory, "opendkim", config, argv)
