"""The configuration of the private Postfix: main.cf, master.cf and the files of its jail.

Plain text made from names and ports. How a sink is reached without DNS
-----------------------------------------------------------------------
``FILTER vmta-a:`` leaves the next hop to be each recipient's domain, and that must stay so: it is
how the product works. So the delivery agent itself has to end up at our sink, for any domain:

* every smtp(8) service is chrooted (as in Debian's own master.cf), and the jail's hosts file and
  resolv.conf know no name and no name server that answers. No recipient domain is ever found, at
  once and without a packet leaving the machine;
* ``smtp_fallback_relay`` is "where to go when the destination is not found". Given per service
  with ``-o``, it leads each transport to a sink of its own.

So the queue manager routes, schedules and logs by transport and recipient domain as in production,
and only the last step is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

HOST = "mx.fletching.example"
LOCAL_DOMAIN = "local.example"
LOCAL_USER = f"reader@{LOCAL_DOMAIN}"
VIRTUAL_DOMAIN = "mailbox.example"

# Nothing listens there, so a question is refused at once.
DEAF_RESOLVER = "nameserver 127.255.255.254\noptions timeout:1 attempts:1\n"

JAIL = {
    "etc/hosts": "127.0.0.1 localhost\n",
    "etc/resolv.conf": DEAF_RESOLVER,
    "etc/nsswitch.conf": "hosts: files dns\n",
    "etc/services": "smtp 25/tcp\n",
}

# Debian's services: name, type, private, unprivileged, chroot, wake-up, limit, command. chroot "@"
# is filled in: "y" is Debian's way, the default here is not to. qmgr(8) looks at new mail each
# second also uncalled: a mail lies there that was due again while its first delivery ended.
_SERVICES = """\
pickup     unix  n - @ 60    1 pickup
cleanup    unix  n - @ -     0 cleanup
qmgr       unix  n - n 1     1 qmgr
rewrite    unix  - - @ -     - trivial-rewrite
bounce     unix  - - @ -     0 bounce
defer      unix  - - @ -     0 bounce
trace      unix  - - @ -     0 bounce
verify     unix  - - @ -     1 verify
flush      unix  n - @ 1000? 0 flush
proxymap   unix  - - n -     - proxymap
proxywrite unix  - - n -     1 proxymap
showq      unix  n - @ -     - showq
error      unix  - - @ -     - error
retry      unix  - - @ -     - error
discard    unix  - - @ -     - discard
lmtp       unix  - - @ -     - lmtp
local      unix  - n n -     - local
virtual    unix  - n n -     - virtual
anvil      unix  - - @ -     1 anvil
scache     unix  - - @ -     1 scache
postlog    unix-dgram n - n - 1 postlogd
"""


def main_cf(root: Path) -> str:
    """main.cf of an instance whose directories lie below ``root``."""
    return f"""\
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
maillog_file = {root}/maillog
maillog_file_prefixes = {root}
myhostname = {HOST}
myorigin = {LOCAL_DOMAIN}
mydestination = {LOCAL_DOMAIN}
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_peername_lookup = no
biff = no
notify_classes =
smtpd_error_sleep_time = 0
smtp_dns_support_level = disabled
smtp_tls_security_level = none
smtpd_tls_security_level = none
alias_database =
alias_maps = texthash:$config_directory/aliases
local_recipient_maps = $alias_maps
virtual_mailbox_domains = {VIRTUAL_DOMAIN}
virtual_mailbox_base = {root}/mailboxes
virtual_mailbox_maps = static:virtual/
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 2s
"""


def master_cf(
    port: int, sasl_port: int, routes: Mapping[str, int], *, chroot: bool, sasl_path: str
) -> str:
    """master.cf: an open port, a port with SMTP AUTH, and a delivery agent per transport."""
    jailed = "y" if chroot else "n"
    smtpd = f"inet n - {jailed} - - smtpd"
    return "".join(
        [
            f"127.0.0.1:{port} {smtpd}\n",
            f"127.0.0.1:{sasl_port} {smtpd}\n",
            "    -o smtpd_sasl_auth_enable=yes\n",
            "    -o smtpd_sasl_type=dovecot\n",
            f"    -o smtpd_sasl_path={sasl_path}\n",
            "    -o smtpd_tls_auth_only=no\n",
            "    -o smtpd_relay_restrictions=permit_sasl_authenticated,reject\n",
            _SERVICES.replace("@", jailed),
            *(
                f"{name} unix - - y - - smtp -o smtp_fallback_relay=[127.0.0.1]:{sink}\n"
                for name, sink in routes.items()
            ),
        ]
    )


def aliases(mailboxes: Path) -> str:
    """Local user names and the Maildir each is delivered to."""
    return f"{LOCAL_USER.partition('@')[0]} {mailboxes}/local/\n"
