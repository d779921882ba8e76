"""A milter that signs and edits blindly: a lower bound for the time of any milter in Python.

It sends as many edits as Fletching, of about the same length, replaces the body with itself, and
makes one RSA-2048 signature, whatever the mail contains. Fletching would be as fast if its own work
took no time and there were no Redis.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import Milter
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bench.collecting import Collecting
from bench.mails import CONTROL

_ADDED = {
    "List-Unsubscribe": 500,
    "List-Unsubscribe-Post": 26,
    "X-Mailer-Info": 220,
    "X-Fletching-Route": 7,
}
"""Header fields, and the length of each in bytes."""
_SIGNATURE = 700
_CHUNK = 65535


class Blind(Collecting):
    """One connection of Postfix."""

    key: RSAPrivateKey

    def eom(self) -> int:
        body = b"".join(self._chunks)
        hashlib.sha256(body).digest()
        self.key.sign(b"x" * 600, PKCS1v15(), SHA256())
        for name in CONTROL:
            self.chgheader(name, 1, "")
        for name, length in _ADDED.items():
            self.addheader(name, "x" * length)
        self.chgheader("X-Fletching-Route", 1, "")
        self.addheader("DKIM-Signature", "\n ".join(["x" * 70] * (_SIGNATURE // 70)), 1)
        self.chgfrom("<bounces+aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@example.com>")
        for start in range(0, len(body), _CHUNK):
            self.replacebody(body[start : start + _CHUNK])
        return super().eom()


def main() -> None:
    os.umask(0o117)
    key = load_pem_private_key(Path(sys.argv[2]).read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    Blind.key = key
    Milter.factory = Blind
    Milter.set_flags(Milter.ADDHDRS | Milter.CHGHDRS | Milter.CHGBODY | Milter.CHGFROM)
    Milter.runmilter("blind", f"unix:{sys.argv[1]}", 600)


if __name__ == "__main__":
    main()
