"""What is saved, and the statements of a save that goes at once."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from holdfast.checkpoints.backends.base import Call, Transaction
from holdfast.checkpoints.core.cache.thread_state import ThreadRow, ThreadState
from holdfast.checkpoints.core.placement import RowOwner

if TYPE_CHECKING:
    from holdfast.checkpoints.save.attempt import Save


class AtOnce(NamedTuple):
    """The statements of a save that goes at once."""

    required: list[Call]
    """Each must find exactly one row; if one does not, nothing is saved. The first one returns the generation."""
    calls: list[Call]
    row: ThreadRow
    """The thread's own row after the save. The generation of a new thread is not known yet."""
    moved_at: float
    """See `ThreadState`."""
    moved: bool = False
    """Whether the thread moves in the list of threads."""


class Kind(Protocol):
    """What is saved: a checkpoint, or what a task wrote."""

    owner: RowOwner
    thread: str
    """The `thread_id` in the config of the run, often a `LoadedThread`."""

    may_keep: bool
    """Whether what is known of the thread after the save is worth keeping: a later one may go at once."""
    renews: bool
    """Whether it is, although an earlier save of the thread was not."""

    @property
    def values(self) -> Collection[tuple[str, Any]]:
        """What to save, each with its channel."""
        ...

    def at_once(self, save: Save, state: ThreadState | None) -> AtOnce | None:
        """Return the statements of the save, if it can go at once.

        Args:
            save: the save.
            state: what is known of the thread; `None` if nothing is.
        """
        ...

    def locked(self, save: Save, transaction: Transaction) -> ThreadRow | None:
        """Save in a transaction, with the thread locked.

        Returns:
            The thread's own row after the save; `None` if an earlier attempt has saved it already.
        """
        ...
