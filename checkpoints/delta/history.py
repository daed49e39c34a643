"""History of `DeltaChannel`s, LangGraph's channels whose value is not in a checkpoint but in its ancestors' writes.

To read such a channel, LangGraph walks from the checkpoint to its ancestors until one has a value of the channel, the
*seed*, and applies the writes in between. So an ancestor cannot simply be deleted. Before a deletion, the seeds and the
writes, in their order, are squashed into one checkpoint without a state of its own, the *base*. They are copied as
bytes, since only the graph can interpret them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any, Final, TypeAlias
from uuid import UUID

from langgraph.checkpoint.base import DeltaChannelHistory, PendingWrite, writes_sort_key

from holdfast.checkpoints.backends.base import Transaction
from holdfast.checkpoints.backends.records import (
    BASE,
    CheckpointKey,
    EncodedCheckpoint,
    Link,
    StoredValue,
    StoredWrite,
    write_place,
)
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.langgraph_internals import TASKS
from holdfast.checkpoints.load import explained, rows_of
from holdfast.checkpoints.serde.values import Attachable

# Ancestors that one query reads: few at first, since a snapshot is often near, then more.
_FIRST_PAGE: Final = 16
_LARGEST_PAGE: Final = 512

Steps: TypeAlias = list[tuple[str, frozenset[str]]]
"""The ids of ancestors, newest first, each with the channels that had no seed yet when the walk reached it."""


def walk(
    transaction: Transaction, database: Database, start: CheckpointKey, channels: Collection[str]
) -> tuple[Steps, dict[str, Link]]:
    """Walk from a checkpoint to its ancestors until each channel has its seed or the ancestors end.

    Returns:
        The steps of the walk, and for each channel its seed: the nearest checkpoint that has a value of it. A channel
        without a value in any ancestor has no seed.

    Raises:
        DamagedThread: a value is missing or cannot be read.
    """
    steps: Steps = []
    seeds: dict[str, Link] = {}
    remaining = set(channels)
    at: str | None = start.checkpoint_id
    page = _FIRST_PAGE
    while at is not None and remaining:
        links = database.backend.chain(transaction, start._replace(checkpoint_id=at), remaining, page)
        for link in links:
            steps.append((link.checkpoint_id, frozenset(remaining)))
            for channel in channels_present(database, start, link, remaining):
                seeds[channel] = link
                remaining.discard(channel)
            if not remaining:
                break
        at = links[-1].parent_id if links else None
        page = min(page * 2, _LARGEST_PAGE)
    return steps, seeds


def channels_present(database: Database, key: CheckpointKey, link: Link, channels: Collection[str]) -> set[str]:
    """Return those of the channels that have a value in a checkpoint.

    Raises:
        DamagedThread: the checkpoint names a value that is missing, or cannot be read.
    """
    with explained(key.thread_id, link.checkpoint_id, ""):
        return database.backend.channels_present(link, channels, partial(_open, database, key, link))


def channels_of(transaction: Transaction, database: Database, key: CheckpointKey) -> set[str]:
    """Return the channels that have a value in a checkpoint."""
    [link] = database.backend.chain(transaction, key, (), 1)
    with explained(key.thread_id, link.checkpoint_id, ""):
        named = database.backend.channels_named(link, partial(_open, database, key, link))
    return named | {TASKS} if database.backend.sends_apart(transaction, key, link) else named


def channels_missing(
    transaction: Transaction, database: Database, key: CheckpointKey, channels: Collection[str]
) -> set[str]:
    """Return those of the channels that have no value in a checkpoint."""
    if not channels:
        return set()
    links = database.backend.chain(transaction, key, channels, 1)
    return set(channels) - {channel for link in links for channel in channels_present(database, key, link, channels)}


# --- reading


def read_history(
    transaction: Transaction, database: Database, key: CheckpointKey, channels: Sequence[str]
) -> dict[str, DeltaChannelHistory]:
    """Return the seed and the writes of some channels, as `BaseCheckpointSaver.get_delta_channel_history` does.

    Args:
        transaction: the transaction.
        database: the database.
        key: the checkpoint; the id `""` means the newest of the namespace.
        channels: the channels.

    Raises:
        DamagedThread, NotStorable: as `load.to_tuple`.
    """
    backend = database.backend
    if not key.checkpoint_id:
        [[row]] = transaction.run([(backend.sql["newest"], key._asdict())])
        key = key._replace(checkpoint_id=row.newest or "")
    links = backend.chain(transaction, key, (), 1)
    if not links or links[0].parent_id is None:
        return {channel: {"writes": []} for channel in channels}
    start = key._replace(checkpoint_id=links[0].parent_id)
    steps, seeds = walk(transaction, database, start, channels)
    opened_seeds: dict[str, Attachable | None] = {}
    writes = [
        (at, write, _open_write(database, start, at, write))
        for at, write in _applied_writes(transaction, database, start, steps, channels)
    ]
    for channel, link in seeds.items():
        found = [v for v in backend.values_of(transaction, start, link, [channel]) if v.channel in {"", channel}]
        with explained(start.thread_id, link.checkpoint_id, channel):
            opened_seeds[channel] = _open(database, start, link, found[0]) if found else None
    parts = [part for part in opened_seeds.values() if part is not None] + [part for *_, part in writes]
    seqs = {abs(ref) for part in parts for refs in part.lists for ref in refs}
    rows = rows_of(transaction, database, start.thread_id, seqs)

    def attached(at: str, channel: str, part: Attachable) -> Any:
        with explained(start.thread_id, at, channel):
            return part.attach(rows.make, database.types)

    pending: dict[str, list[PendingWrite]] = {channel: [] for channel in channels}
    for at, write, part in writes:
        pending[write.channel].append((write.task_id, write.channel, attached(at, write.channel, part)))
    result: dict[str, DeltaChannelHistory] = {channel: {"writes": pending[channel]} for channel in channels}
    for channel, seed in opened_seeds.items():
        link = seeds[channel]
        if seed is None:
            result[channel]["seed"] = link.document["channel_values"][channel]
        else:
            result[channel]["seed"] = backend.channel_value(attached(link.checkpoint_id, channel, seed), channel)
    return result


def _applied_writes(
    transaction: Transaction, database: Database, key: CheckpointKey, steps: Steps, channels: Collection[str]
) -> list[tuple[str, StoredWrite]]:
    """Return the writes of a walk with their checkpoints, oldest first, in the order in which they were applied."""
    if not steps:
        return []
    found = database.backend.writes_to(transaction, key, [checkpoint_id for checkpoint_id, _ in steps], channels)
    return [
        (at, write)
        for at, wanted in reversed(steps)
        for write in sorted(found.get(at, ()), key=lambda w: writes_sort_key(w.task_path, w.task_id, w.idx))
        if write.channel in wanted
    ]


def _open(database: Database, key: CheckpointKey, link: Link, value: StoredValue) -> Attachable:
    place = database.backend.value_place(key._replace(checkpoint_id=link.checkpoint_id), value.channel, link.document)
    return Attachable(value.channel, *database.sealer.open_value(key.thread_id, place, value.type, value.blob or b""))


def _open_write(database: Database, key: CheckpointKey, at: str, write: StoredWrite) -> Attachable:
    place = write_place(key._replace(checkpoint_id=at), write.task_id, write.idx)
    with explained(key.thread_id, at, write.channel):
        return Attachable(
            write.channel, *database.sealer.open_value(key.thread_id, place, write.type, write.blob or b"")
        )


# --- squashing


def squash(
    transaction: Transaction,
    database: Database,
    start: CheckpointKey,
    channels: Collection[str],
    taken: Collection[str],
) -> str | None:
    """Save a base that replaces a checkpoint and its ancestors for the children of the checkpoint.

    Args:
        transaction: the transaction.
        database: the database.
        start: the checkpoint.
        channels: the channels of which a child has no value.
        taken: the ids of the checkpoints in this namespace.

    Returns:
        The id of the base; `None` if the channels have neither seeds nor writes, so that no base is needed.
    """
    steps, seeds = walk(transaction, database, start, channels)
    writes = _applied_writes(transaction, database, start, steps, channels)
    if not seeds and not writes:
        return None
    key = start._replace(checkpoint_id=base_id(start.checkpoint_id, taken))
    seal = partial(database.sealer.seal_value, key.thread_id)

    def open_seed(channel: str) -> Attachable:
        link = seeds[channel]
        with explained(start.thread_id, link.checkpoint_id, channel):
            return _open(database, start, link, link.values[0])

    document, plain = database.backend.base(key.checkpoint_id, seeds, open_seed)
    values = [
        StoredValue(
            value.channel,
            *seal(database.backend.value_place(key, value.channel, document), value.type, value.blob or b""),
        )
        for value in plain
    ]
    copies = [_copied_write(database, start, key, at, write, number) for number, (at, write) in enumerate(writes)]
    transaction.send(
        [
            *database.backend.save_checkpoint(EncodedCheckpoint(key, None, document, values, {}, BASE)),
            *database.backend.save_writes(key, copies, replace=True),
        ]
    )
    return key.checkpoint_id


def _copied_write(
    database: Database, start: CheckpointKey, key: CheckpointKey, at: str, write: StoredWrite, number: int
) -> StoredWrite:
    """Copy a write to a base, numbered by its place in the order of application."""
    place = write_place(start._replace(checkpoint_id=at), write.task_id, write.idx)
    with explained(key.thread_id, at, write.channel):
        plain = database.sealer.open_value(key.thread_id, place, write.type, write.blob or b"")
        Attachable(write.channel, *plain)  # raises if the bytes are damaged
    type_, blob = database.sealer.seal_value(key.thread_id, write_place(key, write.task_id, number), *plain)
    return write._replace(task_path=f"{number:012d}", idx=number, type=type_, blob=blob)


def base_id(checkpoint_id: str, taken: Collection[str]) -> str:
    """Return the id of the base that replaces a checkpoint.

    It differs from the checkpoint's own id, so that a caller that kept that id does not find the base, which is no
    state to return to. It sorts where the checkpoint did.
    """
    mark = blake2b(checkpoint_id.encode(), digest_size=6, person=b"holdfast-base").hexdigest()
    try:
        UUID(checkpoint_id)
    except ValueError:
        id_ = f"{checkpoint_id}.{mark}"
    else:
        id_ = checkpoint_id[:-12] + mark
    while id_ in taken:
        id_ = id_[:-12] + blake2b(id_.encode(), digest_size=6).hexdigest()
    return id_
