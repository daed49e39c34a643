"""The newest checkpoint of each thread, read in pages, without its messages."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any, Final

from holdfast.checkpoints.backends.records import CheckpointKey, StoredCheckpoint, StoredValue, Wanted
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.deploy.fit import Placeholder
from holdfast.checkpoints.langgraph_internals import DELTA_COUNTERS, INTERRUPT, TASKS
from holdfast.checkpoints.load import explained
from holdfast.checkpoints.serde.packed.splice import channels_with_value
from holdfast.checkpoints.serde.types import Types
from holdfast.checkpoints.serde.values import Attachable
from holdfast.checkpoints.threads.index import is_unfinished

# The heads that one query reads. Each may hold megabytes.
_PAGE: Final = 50

_WHOLE: Final = ""


class Head:
    """The newest checkpoint of a thread, as it is stored. Nothing is decoded that is not asked for."""

    def __init__(self, database: Database, types: Types, stored: StoredCheckpoint) -> None:
        self.thread_id = stored.thread_id
        self._database, self._types, self._stored = database, types, stored
        self._parts = {value.channel: self._opened(value) for value in stored.values}

    def names(self) -> set[str]:
        """Return the channels that have a value.

        Raises:
            DamagedThread: the checkpoint cannot be read.
        """
        with self._explained():
            if _WHOLE in self._parts:
                found = channels_with_value(self._parts[_WHOLE])
            else:
                stored = {channel for channel, part in self._parts.items() if not part.is_empty}
                found = {*self._inline(), *stored}
            return found | {TASKS} if self._stored.sends else found

    def older_channels(self) -> set[str]:
        """Return the channels whose value consists of parts that older checkpoints hold: they are `DeltaChannel`s."""
        return set(self._stored.metadata.get(DELTA_COUNTERS) or ()) - self.names()

    def has_open_work(self, names: Collection[str]) -> bool:
        """Return whether tasks are next, or wait for a person."""
        return is_unfinished(dict.fromkeys(names, True)) or any(
            write.channel == INTERRUPT for write in self._stored.writes
        )

    def values(self, channels: Collection[str]) -> dict[str, Any]:
        """Return the values of some channels, with a `Placeholder` for each message.

        Raises:
            DamagedThread, NotStorable: a value cannot be read.
        """
        with self._explained():
            if _WHOLE in self._parts:
                whole = self._attached(self._parts[_WHOLE])["channel_values"]
                return {channel: whole[channel] for channel in channels if channel in whole}
            inline = {channel: value for channel, value in self._inline().items() if channel in channels}
            parts = {channel: part for channel, part in self._parts.items() if channel in channels}
            return inline | {channel: self._attached(part) for channel, part in parts.items() if not part.is_empty}

    def _inline(self) -> Mapping[str, Any]:
        return self._stored.document.get("channel_values") or {}

    def _opened(self, value: StoredValue) -> Attachable:
        stored, database = self._stored, self._database
        key = CheckpointKey(stored.thread_id, stored.ns, stored.checkpoint_id)
        with self._explained():
            place = database.backend.value_place(key, value.channel, stored.document)
            opened = database.sealer.open_value(stored.thread_id, place, value.type, value.blob or b"")
            return Attachable(value.channel, *opened)

    def _attached(self, part: Attachable) -> Any:
        return part.attach(lambda refs: [Placeholder() for _ in refs], self._types)  # type: ignore[misc]

    def _explained(self) -> Any:
        return explained(self._stored.thread_id, self._stored.checkpoint_id, "")


def pages(database: Database, thread_ids: Iterable[str]) -> Iterator[tuple[list[str], list[StoredCheckpoint]]]:
    """Yield the threads in pages, each with the heads of those that have one. Nothing is locked between pages."""
    ids = iter(thread_ids)
    while page := list(islice(ids, _PAGE)):
        yield page, persist(database.backend, partial(_find, database, page))


def _find(database: Database, thread_ids: list[str]) -> list[StoredCheckpoint]:
    with database.backend.reading() as transaction:
        problems: list[tuple[str, str]] = []  # such as metadata that are no JSON, which a graph does not need
        return database.backend.find(transaction, Wanted(len(thread_ids), heads_of=thread_ids), problems)
