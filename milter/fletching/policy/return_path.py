"""How an envelope sender shows the transport, for ``route_by: sender`` (docs/routing.md).

Here lives the one rule that the milter, which writes such senders, and `postfix/settings.py`, which
writes the table that Postfix reads them with, must share: the local part of a return path is

    mailbox, recipient_delimiter, tag, "-", suffix of the transport

A tag has no "-", so what stands behind the last one is the suffix. Pure.
"""

from __future__ import annotations

import base64
import hashlib

SUFFIX_LENGTH = 4


def sender_suffix(transport: str) -> str:
    """Four of a-z and 2-7 that stand for a transport.

    Not the transport's name: a tag and a long name do not fit into the 64 octets of a local part.
    Not its place in the configuration: mail that is queued already must keep its transport when
    another VirtualMTA is added.
    """
    digest = hashlib.sha256(transport.encode("utf-8")).digest()
    return base64.b32encode(digest).decode("ascii")[:SUFFIX_LENGTH].lower()
