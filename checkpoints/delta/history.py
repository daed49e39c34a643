"""Channels whose value is not in the checkpoint, but what its ancestors' tasks wrote: LangGraph's `DeltaChannel`.

To read such a channel, LangGraph walks from the checkpoint to its parent, and on, until one has a value of the channel,
the *seed*, and applies what was written on the way. So an ancestor cannot simply be deleted. Before it is, the walk is
done once more, and what it finds is put into one checkpoint without a state of its own, the *base*: the seeds, and all
writes in their order. Values and writes are moved as bytes. What they mean only the graph knows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import Any, Final, NamedTuple
from uuid import UUID

from langgraph.checkpoint.base import DeltaChannelHistory, PendingWrite, writes_sort_key

from holdfast.checkpoints.backends.base import (
    BASE,
    Call,
    CheckpointKey,
    Link,
    StoredValue,
    StoredWrite,
    Transaction,
    write_place,
)
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.load import explained, rows_of
from holdfast.checkpoints.errors import DamagedThread
from holdfast.checkpoints.serde.splice import channels_with_value, graft
from holdfast.checkpoints.serde.values import Attachable

# Ancestors that are read at once: at first few, since a snapshot is often near, then more.
_FIRST_PAGE: Final = 16
_LARGEST_PAGE: Final = 512


class DeltaStep(NamedTuple):
    """An ancestor, and the channels for which the walk still went through it."""

    checkpoint_id: str
    channels: frozenset[str]


@dataclass
class Walk:
    """The ancestors that some channels are made of, newest first."""

    steps: list[DeltaStep] = field(default_factory=list)
    seeds: dict[str, Link] = field(default_factory=dict)
    """For each channel the nearest ancestor that has a value of it, if there is one."""


def walk(transaction: Transaction, database: Database, start: CheckpointKey, channels: Collection[str]) -> Walk:
    """Go from a checkpoint to its ancestors, until each channel has its seed or there are no more.

    Raises:
        DamagedThread: a value is missing or cannot be read.
    """
    walked, remaining = Walk(), set(channels)
    at: str | None = start.checkpoint_id
    page = _FIRST_PAGE
    while at is not None and remaining:
        links = database.backend.chain(transaction, start._replace(checkpoint_id=at), remaining, page)
        for link in links:
            walked.steps.append(DeltaStep(link.checkpoint_id, frozenset(remaining)))
            for channel in channels_present(database, start, link, remaining):
                walked.seeds[channel] = link
                remaining.discard(channel)
            if not remaining:
                break
        at = links[-1].parent_id if links else None
        page = min(page * 2, _LARGEST_PAGE)
    return walked


def channels_present(database: Database, key: CheckpointKey, link: Link, channels: Collection[str]) -> set[str]:
    """Those of the channels that have a value in this checkpoint."""
    if database.backend.whole:
        return channels_named(database, key, link).intersection(channels)
    stored = {value.channel for value in link.values}
    if lost := set(link.document["stored"]).intersection(channels) - stored:
        raise DamagedThread(key.thread_id, f"checkpoint {link.checkpoint_id} lost its value of channel {min(lost)!r}")
    return (stored | set(link.document["channel_values"] or ())).intersection(channels)


def channels_of(transaction: Transaction, database: Database, key: CheckpointKey) -> set[str]:
    """The channels that have a value in a checkpoint."""
    [link] = database.backend.chain(transaction, key, (), 1)
    return channels_named(database, key, link)


def channels_named(database: Database, key: CheckpointKey, link: Link) -> set[str]:
    """The channels that a checkpoint has a value of, by its own account."""
    if database.backend.whole:
        [whole] = link.values
        with explained(key.thread_id, link.checkpoint_id, ""):
            return channels_with_value(_open(database, key, link, whole))
    return {*link.document["stored"], *(link.document["channel_values"] or ())}


def channels_missing(
    transaction: Transaction, database: Database, key: CheckpointKey, channels: Collection[str]
) -> set[str]:
    """Those of the channels that have no value in a checkpoint."""
    if not channels:
        return set()
    links = database.backend.chain(transaction, key, channels, 1)
    return set(channels) - {channel for link in links for channel in channels_present(database, key, link, channels)}


# --- reading


def read_history(
    transaction: Transaction, database: Database, key: CheckpointKey, channels: Sequence[str]
) -> dict[str, DeltaChannelHistory]:
    """What some channels are made of at a checkpoint, as `BaseCheckpointSaver.get_delta_channel_history` has it.

    Args:
        key: the checkpoint; with the id `""` the newest of the namespace.

    Raises:
        DamagedThread, NotStorable: as `loading.attach`.
    """
    if not key.checkpoint_id:
        [[(newest,)]] = transaction.run([(database.backend.sql["newest"], key._asdict())])
        key = key._replace(checkpoint_id=newest or "")
    links = database.backend.chain(transaction, key, (), 1)
    if not links or links[0].parent_id is None:
        return {channel: {"writes": []} for channel in channels}
    start = key._replace(checkpoint_id=links[0].parent_id)
    backend = database.backend
    walked = walk(transaction, database, start, channels)
    written = _written(transaction, database, start, walked, channels)
    parts: dict[str, tuple[Link, Attachable | None]] = {}
    for channel, link in walked.seeds.items():
        found = [v for v in backend.values_of(transaction, start, link, [channel]) if v.channel in {"", channel}]
        with explained(start.thread_id, link.checkpoint_id, channel):
            parts[channel] = link, _open(database, start, link, found[0]) if found else None
    opened = [(at, write, _open_write(database, start, at, write)) for at, write in written]
    attachables = [part for _, part in parts.values() if part is not None] + [part for *_, part in opened]
    seqs = {abs(ref) for part in attachables for refs in part.lists for ref in refs}
    rows = rows_of(transaction, database, start.thread_id, seqs)

    def value(at: str, channel: str, part: Attachable) -> Any:
        with explained(start.thread_id, at, channel):
            return part.attach(rows.make, database.types)

    writes: dict[str, list[PendingWrite]] = {channel: [] for channel in channels}
    for at, write, part in opened:
        writes[write.channel].append((write.task_id, write.channel, value(at, write.channel, part)))
    result: dict[str, DeltaChannelHistory] = {channel: {"writes": writes[channel]} for channel in channels}
    for channel, (link, seed) in parts.items():
        if seed is None:
            result[channel]["seed"] = link.document["channel_values"][channel]
        else:
            found_there = value(link.checkpoint_id, channel, seed)
            result[channel]["seed"] = found_there["channel_values"][channel] if backend.whole else found_there
    return result


def _written(
    transaction: Transaction, database: Database, key: CheckpointKey, walked: Walk, channels: Collection[str]
) -> list[tuple[str, StoredWrite]]:
    """What was written on the way, with its checkpoint, oldest first, in the order in which it was applied."""
    if not walked.steps:
        return []
    ids = [step.checkpoint_id for step in walked.steps]
    found = database.backend.writes_to(transaction, key, ids, channels)
    return [
        (at, write)
        for at, wanted in reversed(walked.steps)
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


class Base(NamedTuple):
    """What takes the place of a checkpoint and its ancestors."""

    checkpoint_id: str
    calls: list[Call]
    """Save it."""


def squash(
    transaction: Transaction,
    database: Database,
    start: CheckpointKey,
    channels: Collection[str],
    taken: Collection[str],
) -> Base | None:
    """A base for the children of a checkpoint: all that some channels are made of there; `None` if that is nothing.

    Args:
        start: the checkpoint.
        channels: those that a child has no value of.
        taken: the ids of the checkpoints in this namespace.
    """
    walked = walk(transaction, database, start, channels)
    written = _written(transaction, database, start, walked, channels)
    if not walked.seeds and not written:
        return None
    key = start._replace(checkpoint_id=base_id(start.checkpoint_id, taken))
    seal = partial(database.sealer.seal_value, key.thread_id)
    document = database.backend.base_document(key.checkpoint_id, walked.seeds)
    values: list[StoredValue] = []
    if database.backend.whole:
        parts: dict[str, Attachable] = {}
        for channel, link in walked.seeds.items():
            with explained(start.thread_id, link.checkpoint_id, channel):
                parts[channel] = _open(database, start, link, link.values[0])
        values = [StoredValue("", *seal(database.backend.value_place(key, "", None), *graft(key.checkpoint_id, parts)))]
    moved = [_moved(database, start, key, at, write, number) for number, (at, write) in enumerate(written)]
    return Base(
        key.checkpoint_id,
        [
            *database.backend.save_checkpoint(key, None, document, values, {}, BASE),
            *database.backend.save_writes(key, moved, replace=True),
        ],
    )


def _moved(
    database: Database, start: CheckpointKey, key: CheckpointKey, at: str, write: StoredWrite, number: int
) -> StoredWrite:
    """A write on a base: its number is its place in the order."""
    place = write_place(start._replace(checkpoint_id=at), write.task_id, write.idx)
    with explained(key.thread_id, at, write.channel):
        opened = database.sealer.open_value(key.thread_id, place, write.type, write.blob or b"")
        Attachable(write.channel, *opened)  # what is damaged is not moved
    type_, blob = database.sealer.seal_value(key.thread_id, write_place(key, write.task_id, number), *opened)
    return write._replace(task_path=f"{number:012d}", idx=number, type=type_, blob=blob)


def base_id(checkpoint_id: str, taken: Collection[str]) -> str:
    """The id of the base that takes the place of a checkpoint. Who has kept that checkpoint's id does not find it: a
    base is no state that one can go back to. It sorts where the checkpoint did."""
    mark = blake2b(checkpoint_id.encode(), digest_size=6, person=b"holdfast-base").hexdigest()
    try:
        UUID(checkpoint_id)
    except ValueError:
        found = f"{checkpoint_id}.{mark}"
    else:
        found = checkpoint_id[:-12] + mark
    while found in taken:
        found = found[:-12] + blake2b(found.encode(), digest_size=6).hexdigest()
    return found
