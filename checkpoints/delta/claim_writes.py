"""Messages in a `DeltaChannel` become part of the conversation.

LangGraph puts no list of them into a checkpoint until it takes a snapshot. The checkpoint's metadata name the channel,
and what it has there is what tasks wrote onto the checkpoint before it. So when it is saved, the rows of these writes
are settled, and in the same transaction.

Then they are all there: LangGraph saves such a checkpoint only after the writes that it is made of, in whatever order
the rest is saved, and with every durability. What it has not applied it does not leave among them: if a run finds
writes on a checkpoint that it does not take up, of a run that was killed or has failed, it stores the channel's whole
value with the next one, and the metadata do not name the channel. What comes later is of a run that is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from holdfast.checkpoints.backends.base import (
    Call,
    CheckpointKey,
    Row,
    Transaction,
    write_place,
)
from holdfast.checkpoints.config import user_text
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.load import explained
from holdfast.checkpoints.core.outline import Outline, outlines
from holdfast.checkpoints.core.placement import RowOwner
from holdfast.checkpoints.langgraph_internals import DELTA_COUNTERS
from holdfast.checkpoints.serde import ranges
from holdfast.checkpoints.serde.values import TYPE, Attachable
from holdfast.checkpoints.sql import Statements

WrittenRows: TypeAlias = Mapping[str, Sequence[tuple[int, int]]]
"""For each channel the rows that tasks wrote to it, as intervals (first, last) without gaps."""


def channels_of_writes(metadata: Mapping[str, Any]) -> frozenset[str]:
    """The channels whose value a checkpoint with these metadata has from what was written onto the one before it."""
    return frozenset(metadata.get(DELTA_COUNTERS) or ())


def find_writes(database: Database, key: CheckpointKey) -> Call:
    """Build the call that finds the writes with messages on a root checkpoint, for `written_rows`."""
    statement = database.backend.sql["written_messages"].where("checkpoint_id = :checkpoint_id")
    return statement, {"thread_id": key.thread_id, "checkpoint_id": key.checkpoint_id, "type": TYPE}


def written_rows(database: Database, thread_id: str, found: Iterable[Row], channels: Collection[str]) -> WrittenRows:
    """The message rows in some writes.

    Args:
        store: the database.
        thread_id: the thread.
        found: rows of the statement `written_messages`.
        channels: those that matter.

    Raises:
        DamagedThread: one cannot be read.
        NotStorable: one is sealed, and cannot be opened.
    """
    seqs: dict[str, set[int]] = {}
    for checkpoint_id, task_id, idx, channel, type_, blob in found:
        if channel not in channels:
            continue
        place = write_place(CheckpointKey(thread_id, "", checkpoint_id), task_id, idx)
        with explained(thread_id, checkpoint_id, channel):
            part = Attachable(channel, *database.sealer.open_value(thread_id, place, type_, bytes(blob)))
        seqs.setdefault(channel, set()).update(abs(ref) for refs in part.lists for ref in refs)
    written: dict[str, list[tuple[int, int]]] = {}
    for channel in sorted(seqs):
        flat = ranges.compress(sorted(seqs[channel]))
        written[channel] = list(zip(flat[::2], flat[1::2], strict=True))
    return written


def claim_rows(sql: Statements, home: RowOwner, written: WrittenRows) -> list[Call]:
    """The calls that make rows part of the conversation, and count those in that were not.

    Args:
        sql: the statements.
        home: the checkpoint that is made of what was written.
        written: the rows.
    """
    calls: list[Call] = []
    for channel, spans in written.items():
        for first, last in spans:
            span = {"thread_id": home.thread_id, "first": first, "last": last}
            # In this order: once they are settled, nobody knows which were new.
            calls.append((sql["count_written"], span))
            calls.append((sql["claim_written"], {**home._asdict(), **span, "channel": channel}))
    return calls


def find_human_texts(sql: Statements, thread_id: str, written: WrittenRows) -> list[Call]:
    """The calls that find what people said in some rows, for a thread that has no title yet."""
    statement = sql["words_written"]
    return [
        (statement, {"thread_id": thread_id, "first": first, "last": last})
        for spans in written.values()
        for first, last in spans
    ]


def claim_thread(transaction: Transaction, database: Database, thread_id: str) -> None:
    """Settle what was written in a thread that was saved by other ways, such as older versions.

    Raises:
        DamagedThread, NotStorable: as `written_rows`.
    """
    sql, params = database.backend.sql, {"thread_id": thread_id}
    [found] = transaction.run([(sql["outline"], params)])
    root = outlines(found, ()).get("", {})
    made = [root[id_] for id_ in sorted(root) if root[id_].parent_id and channels_of_writes(root[id_].metadata)]
    if not made:
        return
    [found] = transaction.run([(sql["written_messages"].where(), {**params, "type": TYPE})])
    by_checkpoint: dict[str, list[Row]] = {}
    for row in found:
        by_checkpoint.setdefault(row[0], []).append(row)
    for outline in made:
        there = by_checkpoint.get(outline.parent_id or "", ())
        written = written_rows(database, thread_id, there, channels_of_writes(outline.metadata))
        transaction.send(claim_rows(sql, _home(thread_id, outline), written))


def _home(thread_id: str, outline: Outline) -> RowOwner:
    metadata = outline.metadata
    user_id = user_text(metadata.get("user_id"))
    return RowOwner(thread_id, "", outline.checkpoint_id, outline.run_id, metadata.get("step"), user_id)
