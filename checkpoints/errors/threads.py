"""The errors about a thread, and what is stored of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from holdfast.checkpoints.errors.base import HoldfastError

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig


class InvalidThread(HoldfastError, ValueError):
    """The `thread_id` is missing, or is not valid as a key."""


class NotStorable(HoldfastError, TypeError):
    """A value cannot be saved, or cannot be loaded."""


class DamagedThread(HoldfastError):
    """The stored data of a thread are incomplete or altered. They are never returned as a shorter conversation."""

    def __init__(self, thread_id: str, what: str) -> None:
        self.thread_id = thread_id
        super().__init__(
            f"Thread {thread_id!r} is damaged: {what}. Nothing was changed. Restore this thread from a backup, or load "
            "what can be read of it with `checkpointer.threads.salvage`. Other threads are not affected."
        )


OF_ALTERED_DATA: Final = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What reading stored data can raise that someone else has altered."""


@contextmanager
def row_explained(thread_id: str, what: str) -> Iterator[None]:
    """Raise `DamagedThread`, which names a row, for a row that the block cannot read.

    SQLite's columns take values of any type, so any of them may be of another one.
    """
    try:
        yield
    except HoldfastError:
        raise
    except OF_ALTERED_DATA as error:
        raise DamagedThread(thread_id, f"{what} cannot be read ({error})") from error


class ThreadConflict(HoldfastError):
    """Another run has written to the thread since this run loaded it. The thread is as the other run has left it."""

    thread_id: str
    branch: RunnableConfig | None = None
    """The refused checkpoint, which is kept as a branch of the thread; `None` if there was nothing to keep, or it could
    not be kept, as in a thread that was deleted."""

    head: str | None = None
    """The head that the checkpoint could not follow, if the thread has gone on."""

    def __init__(self, thread_id: str, why: str, *, head: str | None = None) -> None:
        self.thread_id = thread_id
        self.head = head
        super().__init__(f"Thread {thread_id!r} was changed by another run while this run was going on: {why}.")

    def __str__(self) -> str:
        if self.branch is None:
            return f"{super().__str__()} {self._advice}"
        checkpoint_id = self.branch["configurable"]["checkpoint_id"]
        return (
            f"{super().__str__()} What this run had is kept as a branch, checkpoint {checkpoint_id}: go on from it "
            "with the config `branch` of this error, or load the thread again and repeat the run."
        )

    _advice = "This run's checkpoint was not saved. Load the thread again and repeat the run."


class UnknownCheckpoint(ThreadConflict):
    """A run begins at a checkpoint that its thread does not have. Its checkpoints would have no ancestors."""

    def __init__(self, thread_id: str, checkpoint_id: str) -> None:
        HoldfastError.__init__(
            self,
            f"Thread {thread_id!r} has no checkpoint {checkpoint_id!r}, or has it no longer, so nothing was saved.",
        )
        self.thread_id = thread_id

    _advice = "Name a checkpoint of its history, or none to continue from the newest."


class UnknownThread(HoldfastError, LookupError):
    """There is no such thread, or it belongs to another user: the error does not tell which."""

    def __init__(self, thread_id: str, user_id: str | None = None) -> None:
        """
        Args:
            thread_id: the thread.
            user_id: the user that the caller asked for, if any.
        """
        self.thread_id = thread_id
        whose = "" if user_id is None else f" of user {user_id!r}"
        super().__init__(
            f"There is no thread {thread_id!r}{whose} in this database. `holdfast threads list` lists them."
        )


class NotPermitted(HoldfastError, PermissionError):
    """A user may use this thread, but may not do this with it. Nothing was changed."""


class UserErased(HoldfastError):
    """A user was erased since this store was opened, so it may hold what was erased. Nothing was stored."""


class UnknownMessage(HoldfastError, LookupError):
    """A thread has no such message, or no longer the checkpoint that had it first."""

    def __init__(self, thread_id: str, message_id: str, *, pruned: bool) -> None:
        why = (
            "The checkpoint that had it first was pruned, and its state with it. Choose a newer message."
            if pruned
            else "`holdfast threads show --json` lists the ids."
        )
        found = "cannot be forked from" if pruned else "is not one that was said in it"
        super().__init__(f"The message {message_id!r} of thread {thread_id!r} {found}. {why}")


class InvalidCursor(HoldfastError, ValueError):
    """A cursor does not come from a page of the same list."""


class NothingToUndo(HoldfastError):
    """The thread has no turn that can be undone."""


class ThreadChanged(HoldfastError):
    """The thread was deleted, or one of its runs was, while the thread was being read."""

    def __init__(self, thread_id: str) -> None:
        self.thread_id = thread_id
        super().__init__(
            f"Thread {thread_id!r} or one of its runs was deleted while the transcript was being read, so what was "
            "read is incomplete. Read the transcript again."
        )


class ThreadBusy(HoldfastError):
    """Another caller held the lease of the thread for as long as this caller was to wait."""

    def __init__(self, thread_id: str, *, owner: str, purpose: str, since: float, waited: float) -> None:
        self.thread_id = thread_id
        self.owner = owner
        self.purpose = purpose
        self.since = since
        super().__init__(
            f"Thread {thread_id!r} is busy: {owner} has held it for {since:.0f} s (purpose: {purpose}). Waited "
            f"{waited:.0f} s. Try again when that is done; if that process is dead, its lease expires."
        )


class ClockSkew(ThreadConflict):
    """The id of a checkpoint, which is a time, is not above the newest one of its thread."""

    def __init__(self, thread_id: str, seconds: float, *, head: str) -> None:
        HoldfastError.__init__(
            self,
            f"Thread {thread_id!r} has a checkpoint that is {seconds:.3f} seconds newer than the one to save, which "
            "would never be the newest. The clocks of the hosts that serve this thread differ: synchronise them (NTP).",
        )
        self.thread_id = thread_id
        self.seconds = seconds
        self.head = head
