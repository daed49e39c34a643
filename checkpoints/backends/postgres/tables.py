"""Storage of checkpoints in LangGraph's tables on PostgreSQL: a JSON document, and a row for each larger value."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, cast

from langgraph.checkpoint.base import ChannelVersions, Checkpoint
from psycopg.types.json import Jsonb

from holdfast.checkpoints.backends.base import Call, Transaction
from holdfast.checkpoints.backends.canonical import CanonicalCheckpoint
from holdfast.checkpoints.backends.postgres.canonical import from_document, to_document
from holdfast.checkpoints.backends.postgres.documents import (
    beside,
    is_inline,
    packed,
    sends_are_apart,
    stored_in,
    unpacked,
)
from holdfast.checkpoints.backends.records import (
    STORED,
    CheckpointKey,
    EncodedCheckpoint,
    Link,
    OpenValue,
    Row,
    Split,
    StoredCheckpoint,
    StoredValue,
    StoredWrite,
    Wanted,
)
from holdfast.checkpoints.backends.sealing import open_document, open_metadata, seal_document, seal_metadata
from holdfast.checkpoints.backends.tables import Tables
from holdfast.checkpoints.errors import DamagedThread
from holdfast.checkpoints.langgraph_internals import TASKS, DeltaSnapshot
from holdfast.checkpoints.serde.encryption import Sealer
from holdfast.checkpoints.serde.values import Attachable


class PostgresTables(Tables):
    """Checkpoints are in `checkpoints`, and their values in `checkpoint_blobs`, where unchanged values are shared."""

    _contains: ClassVar[str] = "metadata @> :{}"
    _no_base: ClassVar[str] = "metadata <> :base"
    _wanted_heads: ClassVar[str] = "SELECT unnest(CAST(:heads_of AS TEXT[])) AS thread_id"

    def json(self, value: Mapping[str, Any]) -> Jsonb:
        return Jsonb(value)

    def split(self, checkpoint: Checkpoint, new_versions: ChannelVersions) -> Split:
        inline: dict[str, Any] = {}
        values: dict[str, Any] = {}
        for channel, value in checkpoint["channel_values"].items():
            if is_inline(value):
                inline[channel] = value
                continue
            if isinstance(value, DeltaSnapshot):
                inline[channel] = True  # the stock saver's mark of a snapshot
            if channel in new_versions:  # else it is stored already
                values[channel] = value
        stored = [channel for channel, value in checkpoint["channel_values"].items() if not is_inline(value)]
        document = {**checkpoint, "channel_values": inline, STORED: stored}
        return Split(packed(document, checkpoint["channel_values"]), values)

    def join(self, document: Any, values: Mapping[str, Any]) -> Checkpoint:
        checkpoint: dict[str, Any] = dict(document)
        # The stock saver reads a lost blob as a channel without a value. It ignores this list, and does not write it.
        if lost := set(checkpoint.pop(STORED, ())) - set(values):
            raise ValueError(f"the value of channel {min(lost)!r} is missing")
        checkpoint["channel_values"] = {**(document.get("channel_values") or {}), **values}
        return cast("Checkpoint", checkpoint)

    def value_place(self, key: CheckpointKey, channel: str, document: Any) -> str:
        return "\0".join(("checkpoint_blobs", key.ns, channel, str(document["channel_versions"][channel])))

    def find(
        self, transaction: Transaction, wanted: Wanted, problems: list[tuple[str, str]] | None = None
    ) -> list[StoredCheckpoint]:
        [found] = transaction.run([self.wanted_checkpoints(wanted)])
        stored = [self._stored(row, row.thread_id, _writes(row), row.generation, problems) for row in found]
        return self._with_sends(transaction, stored)

    def page(
        self, transaction: Transaction, thread_id: str, after: tuple[str, str], limit: int
    ) -> list[StoredCheckpoint]:
        [found] = transaction.run([self.page_of_checkpoint(thread_id, after, limit)])
        return self._with_sends(transaction, [self._stored(row, thread_id, [], None) for row in found])

    def _stored(
        self,
        row: Row,
        thread_id: str,
        writes: list[StoredWrite],
        generation: int | None,
        problems: list[tuple[str, str]] | None = None,
    ) -> StoredCheckpoint:
        key = CheckpointKey(thread_id, row.ns, row.checkpoint_id)
        try:
            document = self._document(key, row.document)
        except DamagedThread as error:
            if problems is None:
                raise
            problems.append(("the document of the checkpoint", str(error.__cause__ or error)))
            document = beside(row.document)
        try:
            metadata = open_metadata(self.sealer, key, row.metadata)
        except DamagedThread as error:
            if problems is None:
                raise
            problems.append(("metadata", str(error)))
            metadata = {}
        values = zip(row.channels or (), row.types or (), row.blobs or (), strict=True)
        return StoredCheckpoint(
            *key, row.parent_id, document, [StoredValue(*value) for value in values], metadata, writes, generation
        )

    def _with_sends(self, transaction: Transaction, found: list[StoredCheckpoint]) -> list[StoredCheckpoint]:
        """Add to older checkpoints the Sends that they have only as writes on their parents."""
        parents: dict[CheckpointKey, set[str]] = {}
        for stored in found:
            if sends_are_apart(stored.document) and stored.parent_id:
                parents.setdefault(CheckpointKey(stored.thread_id, stored.ns, ""), set()).add(stored.parent_id)
        if not parents:
            return found
        sends = {
            (key.thread_id, key.ns, parent_id): writes
            for key, parent_ids in parents.items()
            for parent_id, writes in self.writes_to(transaction, key, parent_ids, (TASKS,)).items()
        }
        return [
            stored._replace(sends=sends.get((stored.thread_id, stored.ns, stored.parent_id or ""), ()))
            if sends_are_apart(stored.document)
            else stored
            for stored in found
        ]

    def sends_apart(self, transaction: Transaction, key: CheckpointKey, link: Link) -> list[StoredWrite] | None:
        if not sends_are_apart(link.document) or not link.parent_id:
            return None
        return self.writes_to(transaction, key, (link.parent_id,), (TASKS,)).get(link.parent_id, [])

    def save_sends(self, key: CheckpointKey, document: Any, value: StoredValue | None) -> list[Call]:
        calls: list[Call] = []
        if value is not None:
            version = str(document["channel_versions"][value.channel])
            calls.append((self.sql["save_blob"], {**key._asdict(), **value._asdict(), "version": version}))
            if STORED in document:
                document = {**document, STORED: [*document[STORED], value.channel]}
        sealed = seal_document(self.sealer, key, document)
        return [*calls, (self.sql["set_document"], {**key._asdict(), "document": self.json(sealed)})]

    def open_document(self, row: Row, thread_id: str, sealer: Sealer) -> tuple[Any, Any]:
        key = CheckpointKey(thread_id, row.ns, row.checkpoint_id)
        return open_document(sealer, key, row.document), open_metadata(sealer, key, row.metadata)

    def rewrite_document(self, key: CheckpointKey, document: Any, metadata: Mapping[str, Any]) -> Call:
        sealed = seal_document(self.sealer, key, document), seal_metadata(self.sealer, key, metadata)
        written = {"document": self.json(sealed[0]), "metadata": self.json(sealed[1])}
        return self.sql["rewrite_document"], {**key._asdict(), **written}

    def _document(self, key: CheckpointKey, document: Mapping[str, Any], *, whole: bool = True) -> Mapping[str, Any]:
        """Return a document, decrypted and unpacked.

        Raises:
            DamagedThread: the document cannot be decrypted or unpacked.
        """
        document = open_document(self.sealer, key, document)
        if not whole:
            document = {STORED: [], **document}
        try:
            return unpacked(document, key.checkpoint_id, whole=whole)
        except ValueError as error:
            what = f"checkpoint {key.checkpoint_id} cannot be read ({error})"
            raise DamagedThread(key.thread_id, what) from error

    def save_checkpoint(self, encoded: EncodedCheckpoint) -> list[Call]:
        place, versions = encoded.key._asdict(), encoded.versions
        saved = self._saved(encoded.key, encoded.parent_id, encoded.document, encoded.metadata)
        return [
            *(
                (self.sql["save_blob"], {**place, **value._asdict(), "version": str(versions[value.channel])})
                for value in encoded.values
            ),
            (self.sql["save_checkpoint"], saved),
        ]

    def is_saved(
        self, key: CheckpointKey, parent_id: str | None, document: Any, metadata: Mapping[str, Any]
    ) -> list[Call]:
        return [(self.sql["is_saved"], self._saved(key, parent_id, document, metadata))]

    def _saved(
        self, key: CheckpointKey, parent_id: str | None, document: Any, metadata: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the columns of a checkpoint."""
        _, written = self.rewrite_document(key, document, metadata)
        return {**written, "parent_id": parent_id}

    def rows_with_digests(self, thread_id: str, digests: Collection[bytes]) -> list[Call]:
        if not digests:
            return []
        return [(self.sql["rows_with_digests"], {"thread_id": thread_id, "digests": list(digests)})]

    def array(self, texts: Collection[str]) -> list[str]:
        return list(texts)

    def leans(self, split: Split) -> bool:
        return not stored_in(split.document) <= split.values.keys()

    def chain(self, transaction: Transaction, key: CheckpointKey, channels: Collection[str], limit: int) -> list[Link]:
        params = {**key._asdict(), "channels": self.array(channels), "limit": limit}
        [found] = transaction.run([(self.sql["chain"], params)])
        return [
            Link(
                row.checkpoint_id,
                row.parent_id,
                self._document(key._replace(checkpoint_id=row.checkpoint_id), row.document, whole=False),
                [StoredValue(channel, "", None) for channel in row.channels],
            )
            for row in found
        ]

    def values_of(
        self, transaction: Transaction, key: CheckpointKey, link: Link, channels: Collection[str]
    ) -> list[StoredValue]:
        stored = {value.channel for value in link.values}.intersection(channels)
        versions = link.document["channel_versions"]
        calls = [
            (
                self.sql["find_blob"],
                {"thread_id": key.thread_id, "ns": key.ns, "channel": channel, "version": str(versions[channel])},
            )
            for channel in sorted(stored)
        ]
        return [StoredValue(*row) for rows in transaction.run(calls) for row in rows]

    def channels_named(self, link: Link, open_value: OpenValue) -> set[str]:
        return {*link.document[STORED], *(link.document["channel_values"] or ())}

    def channels_present(self, link: Link, channels: Collection[str], open_value: OpenValue) -> set[str]:
        stored = {value.channel for value in link.values}
        if lost := set(link.document[STORED]).intersection(channels) - stored:
            raise ValueError(f"the value of channel {min(lost)!r} is missing")
        return (stored | set(link.document["channel_values"] or ())).intersection(channels)

    def channel_value(self, loaded: Any, channel: str) -> Any:
        return loaded

    def base(
        self, checkpoint_id: str, seeds: Mapping[str, Link], open_seed: Callable[[str], Attachable]
    ) -> tuple[Any, list[StoredValue]]:
        inline: dict[str, Any] = {}
        stored = []
        for channel, link in seeds.items():
            if channel in (small := link.document["channel_values"] or {}):
                inline[channel] = small[channel]
            if any(value.channel == channel for value in link.values):
                stored.append(channel)
        document = {
            "v": 4,
            "id": checkpoint_id,
            "ts": "",
            "channel_values": inline,
            # The values stay in their rows, under their versions.
            "channel_versions": {
                channel: link.document["channel_versions"][channel] for channel, link in seeds.items()
            },
            "versions_seen": {},
            STORED: stored,
        }
        return document, []

    def as_split(self, loaded: Any) -> Any:
        return loaded

    def to_canonical(self, document: Any, values: Mapping[str, Attachable]) -> CanonicalCheckpoint:
        return from_document(document, values)

    def from_canonical(self, checkpoint: CanonicalCheckpoint) -> tuple[Any, list[StoredValue]]:
        return to_document(checkpoint)

    def restore_documents(self, transaction: Transaction, thread_id: str) -> bool:
        [found] = transaction.run([(self.sql["packed_documents"], {"thread_id": thread_id})])
        for row in found:
            key = CheckpointKey(thread_id, row.ns, row.checkpoint_id)
            params = {**key._asdict(), "document": self.json(self._document(key, row.document))}
            transaction.send([(self.sql["set_document"], params)])
        transaction.send([(self.sql["unmark_documents"], {"thread_id": thread_id})])
        return True

    def delete_checkpoints(self, thread_id: str, ns: str, checkpoint_ids: Collection[str]) -> list[Call]:
        # In this order: the documents name the values that are in use.
        names = ("delete_blobs_of", "delete_writes_of", "delete_run_writes_of", "delete_checkpoints_of")
        params = {"thread_id": thread_id, "ns": ns, "checkpoint_ids": self.array(checkpoint_ids)}
        return [(self.sql[name], params) for name in names]

    def copy_all_checkpoints(self, source: str, target: str) -> list[Call]:
        params = {"thread_id": source, "target": target}
        return [(self.sql[name], params) for name in ("copy_blobs", "copy_checkpoints", "copy_writes")]

    def _placed_value(self, thread_id: str, row: Row) -> tuple[CheckpointKey, str, StoredValue]:
        key = CheckpointKey(thread_id, row.ns, row.version)
        place = self.value_place(key, row.channel, {"channel_versions": {row.channel: row.version}})
        return key, place, StoredValue(row.channel, row.type, row.blob)

    def delete_all_checkpoints(self, thread_ids: Collection[str]) -> list[Call]:
        names, params = ("delete_checkpoints", "delete_blobs", "delete_writes"), {"thread_ids": self.array(thread_ids)}
        return [(self.sql[name], params) for name in names]


def _writes(row: Row) -> list[StoredWrite]:
    if row.task_ids is None:
        return []
    columns = (row.task_ids, row.task_paths, row.idxs, row.write_channels, row.write_types, row.write_blobs)
    return [StoredWrite(*write) for write in zip(*columns, strict=True)]
