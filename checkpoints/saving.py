"""One save: messages become rows, and rows, guard and what refers to the rows commit together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from checkpoints import guard
from checkpoints.placing import Home, NewRow, Placement, learned, place
from checkpoints.port import Call, Row, StoredValue, Transaction
from checkpoints.store import Store
from checkpoints.values import Detached, Detacher


class _Outdated(Exception):
    """What this process remembers of the thread is not of the thread that is there."""


class Value(NamedTuple):
    """A value to save."""

    channel: str
    place: str
    """See `Sealer`."""
    value: Any


@dataclass(frozen=True)
class Save:
    """Values to save in a thread, with their messages as rows."""

    store: Store
    thread: str
    """The `thread_id` as it stands in the run's config: it may say what the run has loaded."""
    home: Home
    """Where the messages belong."""
    values: Sequence[Value]
    make_calls: Callable[[Sequence[StoredValue]], Sequence[Call]]
    """From the values as bytes to the statements that save them."""
    parent_id: str | None = None
    """Of a checkpoint, the one that it follows."""
    leans: bool = False
    """Whether it is incomplete without that one."""

    def run(self) -> None:
        """
        Raises:
            ThreadConflict, ClockSkew, NotStorable: see `HoldfastSaver.put`. Nothing was saved.
        """
        memory = self.store.memory
        try:
            self._attempt(*memory.recall(self.home.thread_id, self.home.ns))
        except _Outdated:
            memory.forget(self.home.thread_id)
            self._attempt(None, {})

    def _attempt(self, generation: int | None, known: Any) -> None:
        # Encoding is the larger part of the work, and is done before anything is locked.
        key = self.store.sealer.digest_key(self.home.thread_id)
        detacher = Detacher(self.store.types, known, key=key)
        detached = [detacher.detach(value.channel, value.value) for value in self.values]
        digests = {draft.row.digest for draft in detacher.drafts.values()}
        with self.store.backend.writing() as transaction:
            current, next_seq, found = self._lock(transaction, generation, digests)
            if known and current != generation:
                raise _Outdated
            placement = place([list_ for value in detached for list_ in value.lists], found, next_seq, self.home)
            transaction.send(self._calls(detached, placement))
        known, templates = learned(detacher.drafts.values(), placement, self.home.ns)
        self.store.memory.saved(self.home.thread_id, self.home.ns, current, known, templates)

    def _lock(
        self, transaction: Transaction, generation: int | None, digests: set[bytes]
    ) -> tuple[int, int, dict[bytes, list[Row]]]:
        """Lock the thread, and read all that the decisions need, in one round trip.

        Returns:
            The thread's generation, its next seq, and the rows with each digest.
        """
        sql = self.store.backend.sql
        thread: dict[str, Any] = {"thread_id": self.home.thread_id}
        guarded = self.home.checkpoint_id is not None and self.home.ns == ""
        before = [(sql["add_thread"], thread)] if generation is None else []
        calls = [
            *before,
            (sql["lock_thread"], thread),
            *([(sql["head"], {**thread, "parent_id": self.parent_id})] if guarded else []),
            *self._find_parent(),
            *self.store.backend.rows_with_digests(self.home.thread_id, digests),
        ]
        [locked, *rest] = transaction.run(calls)[len(before) :]
        if not locked:
            raise _Outdated  # the database was restored or emptied behind our back
        [(current, next_seq, _)] = locked
        guard.check_generation(self.thread, current)
        if guarded:
            assert self.home.checkpoint_id is not None  # noqa: S101 - this is what `guarded` says
            [[(head, has_parent)], *rest] = rest
            guard.check_head(self.thread, self.parent_id, self.home.checkpoint_id, head, has_parent=bool(has_parent))
        if self._find_parent():
            [parent, *rest] = rest
            guard.check_parent(self.thread, self.parent_id, parent, leans=self.leans)
        found: dict[bytes, list[Row]] = {}
        for digest, *row in (row for rows in rest for row in rows):
            found.setdefault(digest, []).append(tuple(row))
        return current, next_seq, found

    def _find_parent(self) -> list[Call]:
        if self.home.checkpoint_id is None or not self.parent_id:
            return []
        if self.home.ns == "" and isinstance(self.thread, guard.LoadedThread):
            return []  # it is the head
        params = {"thread_id": self.home.thread_id, "ns": self.home.ns, "checkpoint_id": self.parent_id}
        return [(self.store.backend.sql["parent"], params)]

    def _calls(self, detached: Sequence[Detached], placement: Placement) -> list[Call]:
        sql = self.store.backend.sql
        touch = {"thread_id": self.home.thread_id, "next_seq": placement.next_seq}
        seal = self.store.sealer.seal_value
        stored = [
            StoredValue(value.channel, *seal(self.home.thread_id, value.place, *ready.finish()))
            for value, ready in zip(self.values, detached, strict=True)
        ]
        return [
            *((sql["add_row"], self._row(new)) for new in placement.new_rows),
            *((sql["settle_row"], row) for row in placement.settled_rows),
            *([(sql["touch_thread"], touch)] if self.home.checkpoint_id or placement.new_rows else []),
            *self.make_calls(stored),
        ]

    def _row(self, new: NewRow) -> dict[str, Any]:
        key_no, row = self.store.sealer.seal_row(self.home.thread_id, new.seq, new.row)
        return {"seq": new.seq, "channel": new.channel, "key_no": key_no, **self.home._asdict(), **row._asdict()}
