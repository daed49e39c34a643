"""The cost of the index of threads and of the transcript in a turn: the time of a turn with both, and without."""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

from bench.peers import Peer
from bench.talking import Talk
from holdfast.checkpoints import HoldfastSaver, save
from holdfast.checkpoints.sql import Statement
from holdfast.checkpoints.threads import index as thread_index

# The statement from before the index: a thread's row is only its lock and its counter. The head says that the thread is
# not older than the index.
_BARE = Statement(
    "count_rows",
    "UPDATE holdfast_threads SET next_seq = :next_seq, updated_at = 0, head = '1' WHERE thread_id = :thread_id",
)


def recording(peer: Peer, turns: int = 400, rounds: int = 5) -> float:
    """Return the time of a turn with index and transcript, divided by the time without. Two conversations alternate."""
    ratios = []
    for _ in range(rounds):
        with peer.opened() as (whole, _), peer.opened() as (bare, _):
            ratios.append(_ratio(whole, bare, turns // rounds))
    return statistics.median(ratios)


def _ratio(whole: HoldfastSaver, bare: HoldfastSaver, turns: int) -> float:
    for index in ("holdfast_threads_user", "holdfast_threads_newest"):
        bare.database.write((Statement("drop", f"DROP INDEX {index}"), {}))
    talks = Talk(whole), Talk(bare)
    for number in range(turns):
        for talk in talks if number % 2 else reversed(talks):
            with ExitStack() as stack:
                if talk is talks[1]:
                    stack.enter_context(patch.object(thread_index, "update_thread_row", _count_rows))
                    stack.enter_context(patch.object(save._Save, "find_said", lambda *_: []))  # noqa: SLF001
                else:
                    prompt = "You help the customers of a small shop."
                    whole.note_prompt(talk.config, prompt)
                talk.turn()
    first = max(1, turns // 10)
    return talks[0].median(first, turns) / talks[1].median(first, turns)


def _count_rows(_: Any, owner: Any, __: Any, ___: Any, placement: Any, *_more: Any, **_keywords: Any) -> list[Any]:
    """Stand in for `update_thread_row`: update the lock and the counter of a thread alone."""
    if not owner.checkpoint_id and not placement.new_rows:
        return []
    return [(_BARE, {"thread_id": owner.thread_id, "next_seq": placement.next_seq})]
