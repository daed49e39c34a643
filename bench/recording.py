"""What a turn costs for the index of threads and the transcript to be there: against the same without them."""

from __future__ import annotations

import statistics
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bench.peers import new_database
from bench.talking import Talk
from checkpoints import HoldfastSaver, indexing, open_checkpointer, saving
from checkpoints.sql import Statement

# As it was before there was an index: the thread's row is its lock and its counter.
_BARE = Statement(
    "count_rows", "UPDATE holdfast_threads SET next_seq = :next_seq, updated_at = 0 WHERE thread_id = :thread_id"
)


def recorded(folder: Path, server: str, *, turns: int = 400, rounds: int = 5) -> Iterator[dict[str, Any]]:
    """Time of a turn with index and transcript, for each without: two conversations that take turns."""
    for name in ("SQLite", "PostgreSQL"):
        ratios = []
        for _ in range(rounds):
            urls = [
                f"sqlite:///{folder / uuid.uuid4().hex}.db" if name == "SQLite" else new_database(server)
                for _ in range(2)
            ]
            with ExitStack() as stack:
                whole, bare = (stack.enter_context(open_checkpointer(url)) for url in urls)
                ratios.append(_ratio(whole, bare, turns // rounds))
        yield {"database": name, "ratio": statistics.median(ratios)}


def _ratio(whole: HoldfastSaver, bare: HoldfastSaver, turns: int) -> float:
    for index in ("holdfast_threads_user", "holdfast_threads_newest"):
        bare.store.write((Statement("drop", f"DROP INDEX {index}"), {}))
    talks = Talk(whole), Talk(bare)
    for number in range(turns):
        for talk in talks if number % 2 else reversed(talks):
            with ExitStack() as stack:
                if talk is talks[1]:
                    stack.enter_context(patch.object(indexing, "touch", _count))
                    stack.enter_context(patch.object(saving.Save, "_said_of", lambda *_: []))
                else:
                    prompt = "You help the customers of a small shop."
                    whole.note_prompt(talk.config, prompt)
                talk.turn()
    first = max(1, turns // 10)
    return talks[0].median(first, turns) / talks[1].median(first, turns)


def _count(_: Any, home: Any, locked: Any, found: Any, placement: Any, lists: Sequence[Any]) -> list[Any]:
    return (
        [(_BARE, {"thread_id": home.thread_id, "next_seq": placement.next_seq})]
        if home.checkpoint_id or placement.new_rows
        else []
    )
