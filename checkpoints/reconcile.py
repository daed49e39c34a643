"""Saving the checkpoint of a run whose thread has gone on meanwhile: it is kept as a branch."""

from __future__ import annotations

from typing import cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata

from holdfast.checkpoints.backends.base import REFUSED
from holdfast.checkpoints.config import ns_of, thread_of
from holdfast.checkpoints.core import conflicts
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.errors import HoldfastError, ThreadConflict
from holdfast.checkpoints.save import save_checkpoint


def put_checkpoint(
    database: Database,
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    new_versions: ChannelVersions,
) -> RunnableConfig:
    """Save a checkpoint, or keep it as a branch if it is refused because its thread has gone on.

    Raises:
        ThreadConflict, ClockSkew, NotStorable, DamagedThread: see `HoldfastSaver.put`.
    """
    try:
        return save_checkpoint(database, config, checkpoint, metadata, new_versions)
    except ThreadConflict as conflict:
        _keep(database, conflict, config, checkpoint, metadata)
        raise


def _keep(
    database: Database,
    conflict: ThreadConflict,
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
) -> None:
    """Save a refused checkpoint as a branch, and name it in the error.

    Raises:
        ThreadConflict: the thread was deleted meanwhile. Nothing is kept.
    """
    if conflict.head is None:
        return
    # The head is the greatest id.
    is_below = checkpoint["id"] < conflict.head
    checkpoint_id = checkpoint["id"] if is_below else conflicts.id_before(conflict.head)
    if checkpoint_id is None:
        return
    try:
        save_checkpoint(
            database,
            config,
            {**checkpoint, "id": checkpoint_id},
            cast("CheckpointMetadata", {**metadata, REFUSED: conflict.head}),
            checkpoint["channel_versions"],  # with all its values: the parent may be pruned
            is_branch=True,
        )
    except ThreadConflict:
        raise
    except HoldfastError:
        return  # the conflict is what the run has to be told
    branch = {"thread_id": str(thread_of(config)), "checkpoint_ns": ns_of(config), "checkpoint_id": checkpoint_id}
    conflict.branch = {"configurable": branch}
