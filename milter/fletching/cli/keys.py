"""Link keys and tokens: `fletching key` and `token`."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fletching.cli.options import as_json, configured, fail, load_or_fail, say, show_rows

if TYPE_CHECKING:
    from fletching.config.model import Config


@click.group()
def key() -> None:
    """Manage the link keys.

    They encrypt and authenticate the tokens in links, X-Mailer-Info and return paths.

    \b
    Example:
      fletching key list
    """


def link_keys_or_fail(config: Config, config_path: Path) -> Path:
    if config.link_keys is None:
        fail(f"{config_path}: link_keys: not set; must name the file with the link keys")
    return Path(config.link_keys)


@key.command("new")
@configured
def key_new(config_path: Path) -> None:
    """Create a key, which is used for new tokens after the next reload.

    Older keys still decrypt the tokens made with them. Copy the file to all hosts before the
    reload.

    \b
    Example:
      fletching key new && systemctl reload fletching
    """
    from fletching.keys.link_keys import new_link_key
    from fletching.keys.secret_file import KeyFileError

    path = link_keys_or_fail(load_or_fail(config_path), config_path)
    try:
        made = new_link_key(path, int(time.time()))
    except KeyFileError as error:
        fail(error)
    say(f"{path}: key {made.id} created; it is used for new tokens after the next reload")


@key.command("list")
@configured
@as_json
def key_list(config_path: Path, wants_json: bool) -> None:
    """List the keys, without their secrets.

    \b
    Example:
      fletching key list
    """
    from fletching.keys.link_keys import list_link_keys
    from fletching.keys.secret_file import KeyFileError

    path = link_keys_or_fail(load_or_fail(config_path), config_path)
    try:
        rows = list_link_keys(path)
    except KeyFileError as error:
        fail(error)
    listed = [{"id": row.id, "created": rfc3339(row.created), "state": row.state} for row in rows]
    show_rows(listed, wants_json, "keys")


@key.command("retire")
@click.argument("key_id", type=int, metavar="ID")
@configured
def key_retire(config_path: Path, key_id: int) -> None:
    """Destroy a key: tokens made with it can no longer be decrypted.

    \b
    Example:
      fletching key retire 1
    """
    from fletching.keys.link_keys import retire_link_key
    from fletching.keys.secret_file import KeyFileError

    path = link_keys_or_fail(load_or_fail(config_path), config_path)
    try:
        retire_link_key(path, key_id)
    except KeyFileError as error:
        fail(error)
    say(f"{path}: key {key_id} is retired")


@click.command()
@click.argument("token_or_url")
@configured
@as_json
def token(config_path: Path, token_or_url: str, wants_json: bool) -> None:
    """Decode a token, tracking URL, X-Mailer-Info or return path.

    Exit status 0: decoded; 1: altered, or not made with one of our keys; 2: wrong usage or invalid
    configuration.

    \b
    Example:
      fletching token 'https://click.example.com/click?BAFvhA...'
    """
    from fletching.admin.token import opened
    from fletching.keys.link_keys import read_link_keys
    from fletching.keys.secret_file import KeyFileError
    from fletching.tokens import TokenError

    config = load_or_fail(config_path)
    path = link_keys_or_fail(config, config_path)
    try:
        content = opened(token_or_url, read_link_keys(path), config.recipient_delimiter)
    except KeyFileError as error:
        fail(error)
    except TokenError as error:
        fail(f"invalid token: {error}", 1)
    if wants_json:
        click.echo(json.dumps(content, ensure_ascii=True))
        return
    for name, value in content.items():
        say(f"{name:18} {value}")


def rfc3339(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
