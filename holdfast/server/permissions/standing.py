"""How a caller stands to a thread: by the database, and by the server's registry for a thread without a checkpoint."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from langgraph.checkpoint.base import BaseCheckpointSaver

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.errors import HoldfastError
from holdfast.server.langgraph import registry

# Number of shared threads that a list of the server has at most.
_SHARED: Final = 100


@dataclass(frozen=True, slots=True)
class Standing:
    """How a user stands to a thread."""

    exists: bool
    owner: str | None = None
    is_member: bool = False

    def may_use(self, user_id: str) -> bool:
        """Return whether the thread is the user's, or shared with them."""
        return self.exists and (self.owner == user_id or self.is_member)


_NEW: Final = Standing(exists=False)


async def find_standing(thread_id: str, user_id: str) -> Standing:
    """Return how a user stands to a thread.

    Args:
        thread_id: the thread.
        user_id: the user.
    """
    saver = await registry.server_saver()
    stored = await asyncio.to_thread(_stored, saver, thread_id, user_id)
    if stored.exists:
        return stored
    entry = registry.metadata_of(thread_id)  # a thread that has not run yet
    return _NEW if entry is None else Standing(True, str(entry.get("user_id") or "") or None)


def _stored(saver: BaseCheckpointSaver[Any], thread_id: str, user_id: str) -> Standing:
    if isinstance(saver, HoldfastSaver):
        try:
            found = saver.threads.check_user(thread_id, user_id)
        except HoldfastError:  # it is another user's, or no thread can be this user's
            return Standing(True, saver.threads.owner(thread_id))
        return Standing(found.exists, found.owner, found.is_member)
    # Another checkpointer has no index of users; its newest checkpoint names the user of the last run.
    checkpoint = saver.get_tuple({"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}})
    return _NEW if checkpoint is None else Standing(True, dict(checkpoint.metadata).get("user_id") or None)  # type: ignore[arg-type]


async def find_shared(user_id: str) -> set[str]:
    """Return the threads that are shared with a user, the newest hundred."""
    saver = await registry.server_saver()
    if not isinstance(saver, HoldfastSaver):
        return set()
    page = await asyncio.to_thread(saver.threads.list, user_id=user_id, limit=_SHARED)
    return {thread.thread_id for thread in page.threads if thread.user_id != user_id}
