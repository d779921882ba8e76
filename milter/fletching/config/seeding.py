"""The options of seeds: seed lists, their mailboxes, and which campaigns have copies sent to them.

Declared as in `model.py`. Pure.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, model_validator

from fletching.config.fields import (
    Address,
    Count,
    File,
    ImapServer,
    Label,
    SmtpServer,
    Text,
)
from fletching.config.sections import Options, lack


class Seed(Options):
    """Seed copies of a class's campaigns."""

    list: Label
    """The seed list that receives copies."""
    start: Count = 1
    """The message number at which the first seed is due."""
    end: Count
    """The message number at which the last seed is due."""

    @model_validator(mode="after")
    def _forward(self) -> Seed:
        if self.end < self.start:
            raise ValueError("end must not be less than start")
        return self


class Seeds(Options):
    """How seed copies are sent."""

    submit: SmtpServer = "127.0.0.1:25"
    """The SMTP server that the courier gives seed copies to: Postfix, with this milter."""


def _short(value: object) -> object:
    """`seed1@example.net` is short for `{address: seed1@example.net}`."""
    return {"address": value} if isinstance(value, str) else value


class SeedAddress(Options):
    """A mailbox that receives seed copies. A bare address is short for it."""

    address: Address
    """The address that receives the copies."""
    imap: ImapServer | None = None
    """The IMAP server where the copies can be looked for; default: they are not."""
    login: Text | None = None
    """The login at the IMAP server; default: the address."""
    password_file: File | None = None
    """The file with the password for the IMAP server in its first line."""

    @model_validator(mode="after")
    def _complete(self) -> SeedAddress:
        if self.imap is not None and self.password_file is None:
            raise lack("imap requires password_file")
        if self.imap is None and (self.login is not None or self.password_file is not None):
            raise lack("login and password_file require imap")
        return self

    @property
    def imap_login(self) -> str:
        """The login at the IMAP server."""
        return self.login or self.address


SeedEntry = Annotated[SeedAddress, BeforeValidator(_short)]
