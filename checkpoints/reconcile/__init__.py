"""Saving the checkpoint of a run whose thread has gone on meanwhile: it is merged, or refused and kept as a branch.

Two runs of one thread are never merged: a model would answer what it has not read. What is merged is a run and

- an update (`update_state`) that was made while the run went on, from anywhere;
- what its own tasks have saved in its thread: a sub-agent that a tool runs under the same `thread_id`.

A merge is a compare-and-set: it is computed from a head that was loaded, and saved as the checkpoint after that head,
with the thread locked. If there is a newer head by then, it is computed again.

The run itself goes on without what was merged, since LangGraph has its state in memory. So every later checkpoint of it
is merged with the same updates.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata, CheckpointTuple
from langgraph.checkpoint.base.id import uuid6

from holdfast.checkpoints import load
from holdfast.checkpoints.backends.records import MERGED, REFUSED, WITHIN, Row, Wanted
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.config import ns_of, thread_of
from holdfast.checkpoints.core import conflicts
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.core.outline import leans
from holdfast.checkpoints.errors import HoldfastError, ThreadConflict
from holdfast.checkpoints.langgraph_internals import run_object
from holdfast.checkpoints.reconcile.merge import NotMergeable, merge, sameness
from holdfast.checkpoints.save import save_checkpoint

# Each is one more checkpoint that others have saved while this one was merged.
_MOST_MERGES: Final = 100


def put_checkpoint(
    database: Database,
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    new_versions: ChannelVersions,
) -> RunnableConfig:
    """Save a checkpoint; if its thread has gone on, merge it, or keep it as a branch and refuse it.

    Raises:
        ThreadConflict, ClockSkew, NotStorable, DamagedThread: see `HoldfastSaver.put`.
    """
    loaded = database.loads.loaded_by(config)
    if loaded is None or ns_of(config):
        return _save(database, config, checkpoint, metadata, new_versions)
    if loaded.within is not None:
        metadata = cast("CheckpointMetadata", {**metadata, WITHIN: loaded.within})
    if metadata.get("source") == "update" and run_object(config) is not None:
        # LangGraph takes the id of an update from what is returned here.
        checkpoint = cast("Checkpoint", {**checkpoint, "id": conflicts.id_of_update(checkpoint["id"], loaded.head)})
    if loaded.merged is None:
        try:
            return _save(database, config, checkpoint, metadata, new_versions)
        except ThreadConflict as conflict:
            return _Put(database, loaded, config, checkpoint, metadata).after(conflict)
    return _Put(database, loaded, config, checkpoint, metadata).again()


def _save(
    database: Database,
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    new_versions: ChannelVersions,
    *,
    is_branch: bool = False,
) -> RunnableConfig:
    """Save a checkpoint; what could not be rebuilt of it, and was not changed, as it is stored."""
    checkpoint = database.kept.restored(thread_of(config), checkpoint)
    return save_checkpoint(database, config, checkpoint, metadata, new_versions, is_branch=is_branch)


class _Put:
    """A checkpoint of a run that cannot be saved as it is."""

    def __init__(
        self,
        database: Database,
        loaded: conflicts.LoadedThread,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
    ) -> None:
        self._database = database
        self._loaded = loaded
        self._config = config
        self._checkpoint = checkpoint
        self._metadata = metadata
        self._parent_id: str | None = config["configurable"].get("checkpoint_id")
        self._update_first = loaded.merged is not None and loaded.merged.update_first
        self._is_update = metadata.get("source") == "update"

    def again(self) -> RunnableConfig:
        """Save the checkpoint of a run that was merged before.

        Raises:
            ThreadConflict, ClockSkew: it is refused, and kept as a branch.
        """
        before = self._loaded.merged
        assert before is not None  # noqa: S101 - see `put_checkpoint`
        try:
            checkpoint = merge(
                before.base,
                self._checkpoint,
                before.update,
                sameness(self._database.types),
                update_first=before.update_first,
            )
        except NotMergeable as error:
            conflict = ThreadConflict(str(self._loaded), str(error), head=self._parent_id)
            self._keep(conflict)
            raise conflict from None
        try:
            config = self._save(checkpoint, self._parent_id)
        except ThreadConflict as conflict:
            return self.after(conflict)
        self._loaded.merged = before._replace(last=self._checkpoint)
        return config

    def after(self, conflict: ThreadConflict) -> RunnableConfig:
        """Merge the checkpoint with the head that it could not follow, and save it.

        Raises:
            ThreadConflict, ClockSkew: it is refused, and kept as a branch.
        """
        for _ in range(_MOST_MERGES):
            found = self._may_merge(conflict) and self._merged(conflict.head or "")
            if not found:
                break
            checkpoint, base, head = found
            try:
                config = self._save(checkpoint, conflict.head)
            except ThreadConflict as error:
                conflict = error
                continue
            if not self._is_update:
                self._loaded.merged = conflicts.Merged(base, head, self._checkpoint, self._update_first)
            return config
        self._keep(conflict)
        raise conflict

    def _may_merge(self, conflict: ThreadConflict) -> bool:
        """Return whether the checkpoint may be merged with what was saved since its parent."""
        head, loaded = conflict.head, self._loaded
        if head is None or head == self._parent_id or run_object(self._config) is None or leans(self._metadata):
            return False
        if self._parent_id is None and loaded.head is not None:
            return False  # a new root
        params = {"thread_id": str(loaded), "checkpoint_id": self._parent_id or ""}
        [rows] = self._database.read((self._database.backend.sql["made_since"], params))
        there: dict[str, Row] = {row.checkpoint_id: row for row in rows}
        path = _path(there, self._parent_id, head)
        if path is None:
            return False
        known = {self._parent_id}
        for row in path:
            metadata = json.loads(row.metadata or "{}")
            within = metadata.get(WITHIN)
            # A run that saves only when it ends is at a checkpoint that is not there.
            is_own = within is not None and (
                within in known or (within not in there and within > (self._parent_id or ""))
            )
            if not (self._is_update or metadata.get("source") == "update" or is_own):
                break
            known.add(row.checkpoint_id)
        else:
            return True
        # The run of which this one is a part has saved its checkpoint late.
        self._update_first = loaded.within is not None and loaded.within in {row.checkpoint_id for row in path}
        return self._update_first

    def _merged(self, head_id: str) -> tuple[Checkpoint, Checkpoint | None, Checkpoint] | None:
        """Return the checkpoint merged with the head, the parent of both, and the head; `None` if they do not merge."""
        head = self._load(head_id)
        if self._loaded.merged is not None and not self._is_update:
            base: Checkpoint | None = self._loaded.merged.last  # what is stored is merged
        else:
            parent = self._load(self._parent_id) if self._parent_id else None
            base = parent.checkpoint if parent else None
        if head is None or (self._parent_id and base is None) or leans(cast("Mapping[str, Any]", head.metadata)):
            return None
        mine, theirs, is_same = self._checkpoint, head.checkpoint, sameness(self._database.types)
        conflicts.move_clock_past(head_id)
        try:
            if not self._is_update:
                if mine["id"] <= head_id:
                    return None
                return merge(base, mine, theirs, is_same, update_first=self._update_first), base, theirs
            id_ = conflicts.id_of_update(str(uuid6()), head_id)
            step = {"step": int(head.metadata.get("step", -1)) + 1}
            self._metadata = cast("CheckpointMetadata", {**self._metadata, **step})
            merged = merge(base, theirs, mine, is_same)
            return cast("Checkpoint", {**merged, "id": id_, "ts": mine["ts"]}), base, theirs
        except NotMergeable:
            return None

    def _load(self, checkpoint_id: str) -> CheckpointTuple | None:
        wanted = Wanted(limit=1, thread_id=str(self._loaded), ns="", checkpoint_id=checkpoint_id)

        def find() -> list[load.RawCheckpoint]:
            with self._database.backend.reading() as transaction:
                return load.find(transaction, self._database, wanted)

        found = persist(self._database.backend, find)
        return load.to_tuple(found[0], self._database) if found else None

    def _save(self, checkpoint: Checkpoint, parent_id: str | None) -> RunnableConfig:
        """Save a merged checkpoint after its parent, with all its values, since they come from several checkpoints."""
        metadata = {**self._metadata, MERGED: parent_id} if parent_id != self._parent_id else {**self._metadata}
        config = _with(self._config, thread_id=self._loaded, checkpoint_id=parent_id)
        versions = checkpoint["channel_versions"]
        return _save(self._database, config, checkpoint, cast("CheckpointMetadata", metadata), versions)

    def _keep(self, conflict: ThreadConflict) -> None:
        """Save the refused checkpoint as a branch, and name it in the error.

        Raises:
            ThreadConflict: the thread was deleted meanwhile. Nothing is kept.
        """
        if conflict.head is None:
            return
        # The head is the greatest id.
        is_below = self._checkpoint["id"] < conflict.head
        checkpoint_id = self._checkpoint["id"] if is_below else conflicts.id_before(conflict.head)
        if checkpoint_id is None:
            return
        checkpoint = cast("Checkpoint", {**self._checkpoint, "id": checkpoint_id})
        metadata = cast("CheckpointMetadata", {**self._metadata, REFUSED: conflict.head})
        # With all its values: the parent may be pruned.
        versions = checkpoint["channel_versions"]
        config = _with(self._config, thread_id=self._loaded)
        try:
            _save(self._database, config, checkpoint, metadata, versions, is_branch=True)
        except ThreadConflict:
            raise
        except HoldfastError:
            return  # the conflict is what the run has to be told
        branch = {"thread_id": str(self._loaded), "checkpoint_ns": "", "checkpoint_id": checkpoint_id}
        conflict.branch = {"configurable": branch}


def _with(config: RunnableConfig, **changed: Any) -> RunnableConfig:
    return {**config, "configurable": {**config["configurable"], **changed}}


def _path(there: Mapping[str, Row], parent_id: str | None, head: str) -> list[Row] | None:
    """Return the checkpoints that lead from a parent to the head, oldest first; `None` if none do."""
    path: list[Row] = []
    at: str | None = head
    while at != parent_id:
        if at is None or at not in there:
            return None
        path.append(there[at])
        at = there[at].parent_id or None
    return path[::-1]
