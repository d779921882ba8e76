"""What the purge of the Debian package deletes (packaging/debian/fletching.postrm)."""

from __future__ import annotations

import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "packaging/debian/fletching.postrm"

# Only this process sees the file systems that are mounted here: nothing of the host is deleted.
PURGE = """\
script=$(cat "$1")
for each in /etc /var/lib /var/log /var/spool; do mount -t tmpfs none $each; done
mkdir -p /etc/fletching/dkim /etc/other /var/lib/fletching /var/log/fletching
mkdir -p /var/spool/postfix/fletching /var/lib/other
ln -s /var/lib/other /var/log/fletching/link
touch /var/lib/other/kept /etc/fletching/link-keys
mount -t tmpfs none /var/lib/fletching
touch /var/lib/fletching/state
sh -c "$script" postrm purge
find /etc /var/lib /var/log /var/spool -mindepth 1 | sort
"""


def test_purge_deletes_our_folders_alone_and_empties_a_mounted_one() -> None:
    done = subprocess.run(
        [
            *("unshare", "--mount", "--propagation", "private"),
            *("sh", "-e", "-c", PURGE, "purge"),
            str(SCRIPT),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        *("/etc/other", "/var/lib/fletching", "/var/lib/other", "/var/lib/other/kept"),
        "/var/spool/postfix",
    ]
    assert "/var/lib/fletching" in done.stderr
