"""Sends writes to Redis: to a server in one round trip, to the nodes of a cluster one by one.

Here lives how each write gets an answer of its own, so that one failure does not stop the others.
What is written, and what an answer means, is not known here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError, ResponseError

from fletching.store.connection import TROUBLE, ask_together
from fletching.store.writing import Write

_SKIPPED_FOR = 1.0
"""Seconds for which a cluster node that did not answer gets no further write."""

SilentNodes = dict[str, tuple[float, Exception]]
"""Cluster nodes that did not answer: until when they are skipped, and why."""


def answers(client: Any, writes: Sequence[Write], silent: SilentNodes | None = None) -> list[Any]:
    """The answer to each write; an error is an answer, too.

    ``silent``: the cluster nodes to skip. It is updated.
    """
    if not isinstance(client, Redis):
        nodes: SilentNodes = {} if silent is None else silent
        return [_answer_of_node(client, write, nodes) for write in writes]
    try:
        together = _together(client, writes)
    except TROUBLE as error:
        return [error] * len(writes)
    # If the server does not have the script yet, it is sent along.
    return [
        _alone(client, write) if isinstance(answer, NoScriptError) else answer
        for write, answer in zip(writes, together, strict=True)
    ]


def _answer_of_node(client: Any, write: Write, silent: SilentNodes) -> Any:
    """Skips silent nodes. Otherwise each write would wait for its own time-out."""
    node = _node(client, write.target)
    until, error = silent.get(node, (0.0, None))
    if time.monotonic() < until:
        return error
    answer = _alone(client, write)
    if isinstance(answer, TROUBLE) and type(answer) is not ResponseError:
        silent[node] = time.monotonic() + _SKIPPED_FOR, answer
    return answer


def _alone(client: Any, write: Write) -> Any:
    try:
        return write.ask(client.execute_command)
    except TROUBLE as error:
        return error


def _node(client: Any, key: str) -> str:
    try:
        return str(client.get_node_from_key(key).name)
    except TROUBLE:
        return ""


def _together(client: Redis, writes: Sequence[Write]) -> list[Any]:
    """All in one network write: between two, Redis would wait for its disk twice."""
    commands: list[tuple[Any, ...]] = []
    for write in writes:
        write.ask(lambda *words: commands.append(words))
    return ask_together(client, commands)
