"""Writes go to Redis: in one round trip to a server, one by one to the nodes of a cluster.

Here lives how a few writes become answers, each its own; one that failed holds up no other. What is
written, and what an answer means, may not be known here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError, ResponseError

from fletching.store.connection import TROUBLE, ask_together
from fletching.store.writing import Write

_LEFT_ALONE = 1.0
"""Seconds for which a node of a cluster is not asked that did not answer."""

Away = dict[str, tuple[float, Exception]]
"""Nodes of a cluster: until when they are not asked, and why."""


def answers(client: Any, writes: Sequence[Write], away: Away | None = None) -> list[Any]:
    """What Redis says to each: in one round trip, but for those of a cluster.

    ``away``: the nodes of a cluster that did not answer last, which is written there.
    """
    if not isinstance(client, Redis):
        nodes: Away = {} if away is None else away
        return [_answer(client, write, nodes) for write in writes]
    try:
        together = _together(client, writes)
    except TROUBLE as error:
        return [error] * len(writes)
    # A script that the server does not have yet is sent to it.
    return [
        _alone(client, write) if isinstance(said, NoScriptError) else said
        for write, said in zip(writes, together, strict=True)
    ]


def _answer(client: Any, write: Write, away: Away) -> Any:
    """Of a node of a cluster that does not answer, others would wait for each time-out."""
    node = _node(client, write.target)
    until, error = away.get(node, (0.0, None))
    if time.monotonic() < until:
        return error
    said = _alone(client, write)
    if isinstance(said, TROUBLE) and type(said) is not ResponseError:
        away[node] = time.monotonic() + _LEFT_ALONE, said
    return said


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
    """What Redis says to each. In one write: between two, it would wait for its disk twice."""
    commands: list[tuple[Any, ...]] = []
    for write in writes:
        write.ask(lambda *words: commands.append(words))
    return ask_together(client, commands)
