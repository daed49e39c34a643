"""The first ten turns of a conversation, which most conversations do not exceed: time, CPU time and write-ahead log."""

from __future__ import annotations

import uuid
from typing import Any

from bench.peers import Pair, Peer
from bench.rounds import Meter, Step, compare
from bench.sizes import FULL, Sizes
from bench.talking import Texts, graph_of

LENGTHS = (500, 2000)
"""Characters of a message."""


def threads_of(saver: Any, characters: int, turns: int) -> Step:
    """Return the step that runs one new thread of so many turns."""
    say = Texts(characters)
    graph = graph_of(saver, say)

    def thread() -> None:
        config: Any = {"configurable": {"thread_id": str(uuid.uuid4())}}
        for _ in range(turns):
            said = graph.invoke({"messages": [("user", say())]}, config)["messages"]
        if len(said) != 2 * turns:
            raise AssertionError(f"{len(said)} messages in the state after {turns} turns")

    return thread


def short(pair: Pair, characters: int, meter: Meter, sizes: Sizes = FULL) -> dict[str, Any]:
    """Compare the time of a turn in short threads."""
    with pair.opened() as savers:
        steps = (threads_of(saver, characters, sizes.short_turns) for saver in savers)
        found = compare(*steps, rounds=sizes.short_rounds, turns=sizes.short_turns, meter=meter)
    return {"database": pair.database, "characters": characters, **found}


def logged(pair: Pair, characters: int, sizes: Sizes = FULL) -> dict[str, Any]:
    """Compare the bytes that a turn in a short thread writes to the write-ahead log."""
    ours, stock = (_logged_by(peer, characters, sizes) for peer in (pair.ours, pair.stock))
    return {
        "database": pair.database, "characters": characters, "ratio": ours / stock, "ours": ours, "stock": stock,
    }  # fmt: skip


def _logged_by(peer: Peer, characters: int, sizes: Sizes) -> float:
    with peer.opened() as (saver, place):
        thread = threads_of(saver, characters, sizes.short_turns)
        place.keep_log(saver)
        thread()
        before = place.log_size()
        for _ in range(sizes.logged_threads):
            thread()
        return (place.log_size() - before) / sizes.logged_threads / sizes.short_turns
