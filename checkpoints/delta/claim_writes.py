"""Claim of the message rows that tasks wrote to a `DeltaChannel`, which makes them part of the conversation.

LangGraph puts no message list into a checkpoint until it takes a snapshot of the channel. The checkpoint's metadata
name the channel, and its messages are in the writes on the parent checkpoint. So the save of a checkpoint claims the
rows of these writes, in the same transaction.

By then all of these writes are saved. LangGraph saves such a checkpoint only after the writes that it is made of, in
whatever order other saves happen, and with every durability. Writes that LangGraph has not applied are not among them:
if a run finds writes of a killed or failed run on a checkpoint and does not apply them, it saves the channel's whole
value with the next checkpoint, whose metadata then do not name the channel. A later write belongs to a run that is
refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from holdfast.checkpoints.backends.base import Call, Transaction
from holdfast.checkpoints.backends.records import CheckpointKey, Row, write_place
from holdfast.checkpoints.config import user_text
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.outline import Outline, outlines
from holdfast.checkpoints.core.placement import RowOwner
from holdfast.checkpoints.langgraph_internals import DELTA_COUNTERS
from holdfast.checkpoints.load import explained
from holdfast.checkpoints.serde import ranges
from holdfast.checkpoints.serde.values import TYPE, Attachable
from holdfast.checkpoints.sql import Statements

WrittenRows: TypeAlias = Mapping[str, Sequence[tuple[int, int]]]
"""For each channel the message rows that tasks wrote to it, as intervals (first, last)."""


def channels_of_writes(metadata: Mapping[str, Any]) -> frozenset[str]:
    """Return the channels whose value comes from the writes on the parent of the checkpoint with these metadata."""
    return frozenset(metadata.get(DELTA_COUNTERS) or ())


def find_writes(database: Database, key: CheckpointKey) -> Call:
    """Build the call that finds the writes with messages on a root checkpoint, for `written_rows`."""
    statement = database.backend.sql["written_messages"].where("checkpoint_id = :checkpoint_id")
    return statement, {"thread_id": key.thread_id, "checkpoint_id": key.checkpoint_id, "type": TYPE}


def written_rows(database: Database, thread_id: str, writes: Iterable[Row], channels: Collection[str]) -> WrittenRows:
    """Return the message rows that some writes refer to.

    Args:
        database: the database.
        thread_id: the thread.
        writes: rows of the statement `written_messages`.
        channels: the channels to return; writes to others are skipped.

    Raises:
        DamagedThread: a write cannot be read.
        NotStorable: a write is encrypted and cannot be opened.
    """
    seqs: dict[str, set[int]] = {}
    for write in writes:
        if write.channel not in channels:
            continue
        place = write_place(CheckpointKey(thread_id, "", write.checkpoint_id), write.task_id, write.idx)
        with explained(thread_id, write.checkpoint_id, write.channel):
            opened = database.sealer.open_value(thread_id, place, write.type, bytes(write.blob))
            part = Attachable(write.channel, *opened)
        seqs.setdefault(write.channel, set()).update(abs(ref) for refs in part.lists for ref in refs)
    written: dict[str, list[tuple[int, int]]] = {}
    for channel in sorted(seqs):
        flat = ranges.compress(sorted(seqs[channel]))
        written[channel] = list(zip(flat[::2], flat[1::2], strict=True))
    return written


def claim_rows(sql: Statements, owner: RowOwner, written: WrittenRows) -> list[Call]:
    """Build the calls that make rows part of the conversation, and count those that were not.

    Args:
        sql: the statements.
        owner: the checkpoint that is made of the writes.
        written: the rows of the writes.
    """
    calls: list[Call] = []
    for channel, spans in written.items():
        for first, last in spans:
            span = {"thread_id": owner.thread_id, "first": first, "last": last}
            # Counted first: a claimed row no longer shows that it was new.
            calls.append((sql["count_written"], span))
            calls.append((sql["claim_written"], {**owner._asdict(), **span, "channel": channel}))
    return calls


def find_human_texts(sql: Statements, thread_id: str, written: WrittenRows) -> list[Call]:
    """Build the calls that find the texts of people in some rows, for the title of a thread that has none yet."""
    statement = sql["words_written"]
    return [
        (statement, {"thread_id": thread_id, "first": first, "last": last})
        for spans in written.values()
        for first, last in spans
    ]


def claim_thread(transaction: Transaction, database: Database, thread_id: str) -> None:
    """Claim all written rows of a thread that was saved without claims, such as by an older version.

    Raises:
        DamagedThread, NotStorable: as `written_rows`.
    """
    sql, params = database.backend.sql, {"thread_id": thread_id}
    [rows] = transaction.run([(sql["outline"], params)])
    root = outlines(rows, ()).get("", {})
    made_of_writes = [
        root[id_] for id_ in sorted(root) if root[id_].parent_id and channels_of_writes(root[id_].metadata)
    ]
    if not made_of_writes:
        return
    [writes] = transaction.run([(sql["written_messages"].where(), {**params, "type": TYPE})])
    by_checkpoint: dict[str, list[Row]] = {}
    for write in writes:
        by_checkpoint.setdefault(write.checkpoint_id, []).append(write)
    for outline in made_of_writes:
        on_parent = by_checkpoint.get(outline.parent_id or "", ())
        written = written_rows(database, thread_id, on_parent, channels_of_writes(outline.metadata))
        transaction.send(claim_rows(sql, _owner(thread_id, outline), written))


def _owner(thread_id: str, outline: Outline) -> RowOwner:
    metadata = outline.metadata
    user_id = user_text(metadata.get("user_id"))
    return RowOwner(thread_id, "", outline.checkpoint_id, outline.run_id, metadata.get("step"), user_id)
