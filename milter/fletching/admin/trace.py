"""`fletching trace`: the lives of the messages that a text names."""

from __future__ import annotations

from fletching.admin.asking import asking, store
from fletching.config.model import Config
from fletching.keys.link_keys import read_link_keys
from fletching.store.find_traces import Trace, Traces
from fletching.tokens import Keyring
from fletching.tracing.search import Search


@asking()
def found(config: Config, text: str, most: int) -> list[Trace]:
    """The traces that a text names, newest first.

    Raises `NoTrace`, NoAnswer, and KeyFileError if the link keys cannot be read.
    """
    keys = Keyring(()) if config.link_keys is None else read_link_keys(config.link_keys)
    memory = config.trace_memory
    return Search(Traces(store(config), memory), keys, memory).find(text, most)
