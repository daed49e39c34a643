"""Storage of checkpoints in LangGraph's tables on SQLite: each with all its values in one row."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, Final

from langgraph.checkpoint.base import ChannelVersions, Checkpoint

from holdfast.checkpoints.backends.base import Call, Transaction
from holdfast.checkpoints.backends.canonical import CanonicalCheckpoint
from holdfast.checkpoints.backends.records import (
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
from holdfast.checkpoints.backends.sealing import open_metadata, seal_metadata
from holdfast.checkpoints.backends.sqlite.canonical import from_whole, to_whole
from holdfast.checkpoints.backends.tables import Tables
from holdfast.checkpoints.errors import DamagedThread
from holdfast.checkpoints.serde.encryption import Sealer
from holdfast.checkpoints.serde.marking import ChannelValues
from holdfast.checkpoints.serde.packed.splice import channels_with_value, graft
from holdfast.checkpoints.serde.values import Attachable, compact_versions, holds_messages

_JSON: Final = json.JSONEncoder(ensure_ascii=False)
_OF_JSON: Final = json.JSONDecoder()


class SqliteTables(Tables):
    """Checkpoints are in `checkpoints`, with the values of all their channels."""

    _contains: ClassVar[str] = "holdfast_contains(metadata, :{})"
    _no_base: ClassVar[str] = "CAST(metadata AS TEXT) IS NOT :base"
    _wanted_heads: ClassVar[str] = "SELECT value AS thread_id FROM json_each(:heads_of)"

    def json(self, value: Mapping[str, Any]) -> str:
        return json.dumps(value)

    def split(self, checkpoint: Checkpoint, new_versions: ChannelVersions) -> Split:
        return Split(None, {"": self.as_split(checkpoint)})

    def as_split(self, loaded: Any) -> Any:
        values = loaded["channel_values"]
        whole: dict[str, Any] = {**loaded, "channel_values": ChannelValues(values)}
        if holds_messages(values):
            seen = loaded["versions_seen"]
            whole["channel_versions"] = compact_versions(loaded["channel_versions"])
            whole["versions_seen"] = {node: compact_versions(versions) for node, versions in seen.items()}
        return whole

    def join(self, document: Any, values: Mapping[str, Any]) -> Checkpoint:
        checkpoint: Checkpoint = values[""]
        return checkpoint

    def value_place(self, key: CheckpointKey, channel: str, document: Any) -> str:
        return "\0".join(("checkpoints", key.ns, key.checkpoint_id))

    def find(
        self, transaction: Transaction, wanted: Wanted, problems: list[tuple[str, str]] | None = None
    ) -> list[StoredCheckpoint]:
        [found] = transaction.run([self.wanted_checkpoints(wanted)])
        writes = transaction.run(
            [
                (
                    self.sql["find_writes"],
                    {"thread_id": row.thread_id, "ns": row.ns, "checkpoint_id": row.checkpoint_id},
                )
                for row in found
            ]
        )
        return [
            self._stored(row, row.thread_id, [StoredWrite(*write) for write in of_row], row.generation, problems)
            for row, of_row in zip(found, writes, strict=True)
        ]

    def page(
        self, transaction: Transaction, thread_id: str, after: tuple[str, str], limit: int
    ) -> list[StoredCheckpoint]:
        [found] = transaction.run([self.page_of_checkpoint(thread_id, after, limit)])
        return [self._stored(row, thread_id, [], None) for row in found]

    def save_checkpoint(self, encoded: EncodedCheckpoint) -> list[Call]:
        [whole] = encoded.values
        params = {
            "thread_id": encoded.key.thread_id,
            "ns": encoded.key.ns,
            "checkpoint_id": encoded.key.checkpoint_id,
            "parent_id": encoded.parent_id,
            "type": whole.type,
            "blob": whole.blob,
            "metadata": _JSON.encode(seal_metadata(self.sealer, encoded.key, encoded.metadata)).encode(),
        }
        return [(self.sql["save_checkpoint"], params)]

    def is_saved(
        self, key: CheckpointKey, parent_id: str | None, document: Any, metadata: Mapping[str, Any]
    ) -> list[Call]:
        return []

    def rows_with_digests(self, thread_id: str, digests: Collection[bytes]) -> list[Call]:
        # SQLite has no round trips to save.
        return [(self.sql["rows_with_digest"], {"thread_id": thread_id, "digest": digest}) for digest in digests]

    def array(self, texts: Collection[str]) -> str:
        return json.dumps(list(texts))

    def leans(self, split: Split) -> bool:
        return False

    def chain(self, transaction: Transaction, key: CheckpointKey, channels: Collection[str], limit: int) -> list[Link]:
        [found] = transaction.run([(self.sql["chain"], {**key._asdict(), "limit": limit})])
        return [Link(row.checkpoint_id, row.parent_id, None, [StoredValue("", row.type, row.blob)]) for row in found]

    def sends_apart(self, transaction: Transaction, key: CheckpointKey, link: Link) -> None:
        return None  # a checkpoint of any age is whole

    def save_sends(self, key: CheckpointKey, document: Any, value: StoredValue | None) -> list[Call]:
        return []

    def values_of(
        self, transaction: Transaction, key: CheckpointKey, link: Link, channels: Collection[str]
    ) -> list[StoredValue]:
        return link.values

    def channels_named(self, link: Link, open_value: OpenValue) -> set[str]:
        [whole] = link.values
        return channels_with_value(open_value(whole))

    def channels_present(self, link: Link, channels: Collection[str], open_value: OpenValue) -> set[str]:
        return self.channels_named(link, open_value).intersection(channels)

    def channel_value(self, loaded: Any, channel: str) -> Any:
        return loaded["channel_values"][channel]

    def base(
        self, checkpoint_id: str, seeds: Mapping[str, Link], open_seed: Callable[[str], Attachable]
    ) -> tuple[Any, list[StoredValue]]:
        parts = {channel: open_seed(channel) for channel in seeds}
        return None, [StoredValue("", *graft(checkpoint_id, parts))]

    def restore_documents(self, transaction: Transaction, thread_id: str) -> bool:
        return False  # there are none

    def to_canonical(self, document: Any, values: Mapping[str, Attachable]) -> CanonicalCheckpoint:
        return from_whole(values[""])

    def from_canonical(self, checkpoint: CanonicalCheckpoint) -> tuple[Any, list[StoredValue]]:
        return None, [StoredValue("", *to_whole(checkpoint))]

    def delete_checkpoints(self, thread_id: str, ns: str, checkpoint_ids: Collection[str]) -> list[Call]:
        names = ("delete_writes_of", "delete_run_writes_of", "delete_checkpoints_of")
        params = {"thread_id": thread_id, "ns": ns, "checkpoint_ids": self.array(checkpoint_ids)}
        return [(self.sql[name], params) for name in names]

    def delete_all_checkpoints(self, thread_ids: Collection[str]) -> list[Call]:
        params = {"thread_ids": self.array(thread_ids)}
        return [(self.sql[name], params) for name in ("delete_checkpoints", "delete_writes")]

    def copy_all_checkpoints(self, source: str, target: str) -> list[Call]:
        params = {"thread_id": source, "target": target}
        return [(self.sql[name], params) for name in ("copy_checkpoints", "copy_writes")]

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
            metadata = self._metadata(key, row.metadata, self.sealer)
        except DamagedThread as error:
            if problems is None:
                raise
            problems.append(("metadata", str(error.__cause__ or error)))
            metadata = {}
        value = StoredValue("", row.type, row.blob)
        return StoredCheckpoint(*key, row.parent_id, None, [value], metadata, writes, generation)

    def open_document(self, row: Row, thread_id: str, sealer: Sealer) -> tuple[Any, Any]:
        return None, self._metadata(CheckpointKey(thread_id, row.ns, row.checkpoint_id), row.metadata, sealer)

    def rewrite_document(self, key: CheckpointKey, document: Any, metadata: Mapping[str, Any]) -> Call:
        stored = _JSON.encode(seal_metadata(self.sealer, key, metadata)).encode()
        return self.sql["rewrite_document"], {**key._asdict(), "metadata": stored}

    def _metadata(self, key: CheckpointKey, stored: str | bytes | None, sealer: Sealer) -> Any:
        """Return the metadata of a checkpoint.

        Raises:
            DamagedThread: they are no JSON, or cannot be decrypted.
        """
        try:
            text = stored.decode() if isinstance(stored, bytes) else stored
            metadata = _OF_JSON.decode(text) if text is not None else {}
        except (ValueError, TypeError, RecursionError) as error:
            what = f"the metadata of checkpoint {key.checkpoint_id} are no JSON ({error})"
            raise DamagedThread(key.thread_id, what) from error
        return open_metadata(sealer, key, metadata)

    def _placed_value(self, thread_id: str, row: Row) -> tuple[CheckpointKey, str, StoredValue]:
        key = CheckpointKey(thread_id, row.ns, row.checkpoint_id)
        return key, self.value_place(key, "", None), StoredValue("", row.type, row.blob)
