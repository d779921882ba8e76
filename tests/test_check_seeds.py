"""`fletching check`: seed lists, and the SMTP server that takes the copies."""

from __future__ import annotations

from fletching.checks.seeds import check_seeds

from sandbox.processes import free_port
from sandbox.sinks import Sink
from tests.setting import config

LISTS = "link_keys: k\nseed_lists: {main: [seed1@example.net]}\n"


def texts(site: str) -> list[str]:
    return [str(each) for each in check_seeds(config(site))]


def test_nothing_is_said_without_seed_lists() -> None:
    assert texts("link_keys: k\nseed_lists: {main: []}\n") == []


def test_server_that_answers_is_ok() -> None:
    with Sink("seeds") as sink:
        server = f"127.0.0.1:{sink.port}"
        found = texts(f"{LISTS}seeds: {{submit: '{server}'}}\n")
    assert found == [f"ok: seeds.submit: {server} answers"]


def test_server_that_does_not_answer_is_an_error() -> None:
    server = f"127.0.0.1:{free_port()}"
    (found,) = texts(f"{LISTS}seeds: {{submit: '{server}'}}\n")
    assert found.startswith(f"error: seeds.submit: {server} does not answer: ")


def test_seed_lists_without_link_keys_are_a_warning() -> None:
    (found,) = texts("seed_lists: {main: [seed1@example.net]}\n")
    assert found == "warning: seed_lists: no copies are sent: link_keys is not set"
