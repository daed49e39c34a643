"""Storage of checkpoints in LangGraph's own tables: the part that is the same for both databases.

The tables differ between them, and so do the statements; a statement of the same name does the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Final

from holdfast.checkpoints.backends.base import Call, Transaction
from holdfast.checkpoints.backends.records import (
    BASE,
    CheckpointKey,
    Row,
    StoredValue,
    StoredWrite,
    Wanted,
    by_checkpoint,
    write_place,
)
from holdfast.checkpoints.serde.encryption import Plain, Sealer
from holdfast.checkpoints.sql import Statements

# Each head by two look-ups of its key: with a join, PostgreSQL may read the checkpoints of all threads.
_HEADS: Final = (
    "(thread_id, checkpoint_ns, checkpoint_id) IN ("
    "SELECT wanted.thread_id, '', (SELECT max(heads.checkpoint_id) FROM checkpoints AS heads "
    "WHERE heads.thread_id = wanted.thread_id AND heads.checkpoint_ns = '') FROM ({}) AS wanted)"
)


class Tables:
    """The part of a backend that knows LangGraph's tables."""

    sql: Statements
    sealer: Sealer = Plain()
    """Encrypts the metadata and the document of a checkpoint; values are encrypted before they come here."""
    _contains: ClassVar[str]
    """The condition that the metadata contain a parameter, whose name is to be put in for `{}`."""
    _no_base: ClassVar[str]
    """The condition that the metadata are not `:base`."""
    _wanted_heads: ClassVar[str]
    """The query that returns `:heads_of`, an array of ids, as rows with a `thread_id`."""

    def json(self, value: Mapping[str, Any]) -> Any:
        """Return a JSON object as a parameter."""
        raise NotImplementedError

    def array(self, texts: Collection[str]) -> Any:
        """Return any number of texts as one parameter."""
        raise NotImplementedError

    def wanted_checkpoints(self, wanted: Wanted) -> Call:
        """Return the call that finds the wanted checkpoints."""
        after = wanted.after
        given = {
            "thread_id": (wanted.thread_id, "thread_id = :thread_id"),
            "ns": (wanted.ns, "checkpoint_ns = :ns"),
            "checkpoint_id": (wanted.checkpoint_id, "checkpoint_id = :checkpoint_id"),
            "before": (wanted.before, "checkpoint_id < :before"),
            "heads_of": (
                None if wanted.heads_of is None else self.array(wanted.heads_of),
                _HEADS.format(self._wanted_heads),
            ),
            "base": (None if wanted.with_bases else self.json(BASE), self._no_base),
        }
        asked = {name: found for name, found in given.items() if found[0] is not None}
        params: dict[str, Any] = {"limit": wanted.limit, **{name: value for name, (value, _) in asked.items()}}
        conditions = [condition for _, condition in asked.values()]
        for group, choices in enumerate(wanted.metadata):
            names = [f"metadata_{group}_{choice}" for choice in range(len(choices))]
            params |= {name: self.json(choice) for name, choice in zip(names, choices, strict=True)}
            conditions.append(f"({' OR '.join(self._contains.format(name) for name in names)})")
        if after is not None:
            conditions.append("(checkpoint_id, thread_id, checkpoint_ns) < (:after_id, :after_thread, :after_ns)")
            params |= {"after_id": after.checkpoint_id, "after_thread": after.thread_id, "after_ns": after.ns}
        return self.sql["find_checkpoints"].where(*conditions), params

    def stored_values(self, transaction: Transaction, thread_id: str) -> list[tuple[CheckpointKey, str, StoredValue]]:
        params = {"thread_id": thread_id}
        values, writes = transaction.run(
            [(self.sql["values_of_thread"], params), (self.sql["writes_of_thread"], params)]
        )
        return [
            *(self._placed_value(thread_id, row) for row in values),
            *(_placed_write(thread_id, row) for row in writes),
        ]

    def _placed_value(self, thread_id: str, row: Row) -> tuple[CheckpointKey, str, StoredValue]:
        """Return the checkpoint, the place and the value in a row of the statement `values_of_thread`."""
        raise NotImplementedError

    def base_params(self) -> Mapping[str, Any]:
        return {"base": self.json(BASE)}

    def page_of_checkpoint(self, thread_id: str, after: tuple[str, str], limit: int) -> Call:
        """Return the call that finds the next checkpoints of a thread."""
        ns, checkpoint_id = after
        params = {"thread_id": thread_id, "ns": ns, "checkpoint_id": checkpoint_id, "limit": limit}
        return self.sql["page_of_checkpoint"], params

    def save_writes(self, key: CheckpointKey, writes: Sequence[StoredWrite], *, replace: bool) -> list[Call]:
        statement = self.sql["replace_write" if replace else "add_write"]
        return [(statement, {**key._asdict(), **write._asdict()}) for write in writes]

    def writes_to(
        self, transaction: Transaction, key: CheckpointKey, checkpoint_ids: Collection[str], channels: Collection[str]
    ) -> dict[str, list[StoredWrite]]:
        params = {
            "thread_id": key.thread_id,
            "ns": key.ns,
            "checkpoint_ids": self.array(checkpoint_ids),
            "channels": self.array(channels),
        }
        [found] = transaction.run([(self.sql["writes_to"], params)])
        return by_checkpoint(found)


def _placed_write(thread_id: str, row: Row) -> tuple[CheckpointKey, str, StoredValue]:
    key = CheckpointKey(thread_id, row.ns, row.checkpoint_id)
    return key, write_place(key, row.task_id, row.idx), StoredValue(row.channel, row.type, row.blob)
