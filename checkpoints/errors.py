"""All errors of the checkpointer.

A message says what was found, what was needed and what to do. No message has a password or the text of a conversation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig


class HoldfastError(Exception):
    """The root of all errors of this package."""


class InvalidURL(HoldfastError, ValueError):
    """The URL does not name a database."""


class DriverMissing(HoldfastError, ImportError):
    """The URL names a database whose driver is not installed."""


class DatabaseUnavailable(HoldfastError):
    """The database cannot be opened or reached."""


class Unreachable(DatabaseUnavailable):
    """The server cannot be reached, or has closed the connection, and is still away after the retries (see
    `backends.retry`)."""

    def __init__(self, what: str, *, maybe_saved: bool, away: float = 0.0) -> None:
        """
        Args:
            what: what happened, as a sentence.
            maybe_saved: whether the connection was lost during a COMMIT, so that its outcome is unknown.
            away: seconds for which the database has been out of reach.
        """
        self.what = what
        self.maybe_saved = maybe_saved
        waited = f" It has been out of reach for {away:.0f} s." if away >= 1 else ""
        outcome = (
            "It is unknown whether this step was saved; if so, all of it was."
            if maybe_saved
            else "Nothing of this step was saved."
        )
        super().__init__(f"{what}{waited} {outcome} Check that the server runs, then try again.")


class ReadOnlyDatabase(DatabaseUnavailable):
    """The server takes no writes: it is a standby, or the role may only read. Reading works."""


class DriverFault(HoldfastError):
    """The driver and the server do not understand each other, as with prepared statements behind a pooler."""


class SchemaTooNew(HoldfastError):
    """A newer version of Holdfast has migrated the database, and this version cannot read it."""


class NotOpen(HoldfastError, RuntimeError):
    """The checkpointer is not open, or it was opened by another process."""


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


class ThreadNotEmpty(HoldfastError, ValueError):
    """The target of a copy, a transfer or an import is not empty."""

    def __init__(self, thread_id: str) -> None:
        self.thread_id = thread_id
        super().__init__(
            f"Thread {thread_id!r} is not empty, and nothing was written into it. Name an id that is not in use, or "
            "delete that thread first."
        )


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


class UnknownRun(HoldfastError, LookupError):
    """There is no such run, or it is in a thread of another user: the error does not tell which."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(
            f"There is no run {run_id!r} in this database. `checkpointer.runs.list` has those of a thread."
        )


class KeyReused(HoldfastError, ValueError):
    """An idempotency key was given for two different requests. The second one was not accepted."""

    def __init__(self, thread_id: str, key: str) -> None:
        self.thread_id = thread_id
        super().__init__(
            f"The idempotency key {key!r} was given for another request in thread {thread_id!r}. Needed: a new key for "
            "each request. Nothing was accepted."
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


class ThreadDiffers(ThreadNotEmpty):
    """A thread cannot be transferred, because the target database has a thread of the same id with other contents."""

    def __init__(self, thread_id: str) -> None:
        self.thread_id = thread_id
        HoldfastError.__init__(
            self,
            f"Thread {thread_id!r} is there already, and is not the same: it has gone on in one of the two databases. "
            "Nothing was changed. Delete the one that is not wanted, and repeat the transfer.",
        )


class AlreadyAdded(ThreadNotEmpty):
    """A thread has a conversation already that is to be added. It may have gone on since."""

    def __init__(self, thread_id: str) -> None:
        self.thread_id = thread_id
        HoldfastError.__init__(
            self,
            f"Thread {thread_id!r} has this conversation already, and nothing was added. There is nothing to do.",
        )


class UnreadableHistory(HoldfastError, ValueError):
    """A file or a database has no conversations that can be imported. Nothing was changed."""

    def __init__(self, source: object, why: str, needed: str) -> None:
        super().__init__(f"{source}: {why} Needed: {needed}")


class NotMoved(HoldfastError):
    """A thread cannot be transferred into another database. Nothing of it was written there."""

    def __init__(self, thread_id: str, why: str) -> None:
        self.thread_id = thread_id
        super().__init__(f"Thread {thread_id!r} was not moved: {why}")


class InvalidArchive(HoldfastError, ValueError):
    """A file is not a valid archive of threads. Nothing was changed."""

    def __init__(self, path: object, why: str, *, line: int | None = None) -> None:
        self.line = line
        where = f"{path}, line {line}" if line is not None else f"{path}"
        super().__init__(f"{where}: {why} Nothing was changed.")


class InvalidExport(HoldfastError, ValueError):
    """A file is not an export of a transcript."""

    def __init__(self, path: object, why: str) -> None:
        super().__init__(
            f"{path} cannot be checked: {why}. Needed: a file that `holdfast threads export` has written as jsonl, "
            "html or markdown."
        )


class NotConverted(HoldfastError):
    """A converted thread would not load as before, so the thread was not changed."""


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


class NotAnswered(HoldfastError, LookupError):
    """An answer was refused. The record is unchanged."""

    def __init__(self, thread_id: str, interrupt_id: str, why: str) -> None:
        self.thread_id = thread_id
        self.interrupt_id = interrupt_id
        super().__init__(f"{why} Your answer was not taken.")


class AlreadyAnswered(NotAnswered):
    """Another answer to the same request was recorded first."""

    def __init__(
        self, thread_id: str, interrupt_id: str, *, decision: str | None, by: str | None, at: datetime
    ) -> None:
        self.decision = decision
        self.by = by
        self.at = at
        what = f" with {decision!r}" if decision else ""
        super().__init__(
            thread_id, interrupt_id, f"{by or 'Another person'} has answered this already{what}, at {_moment(at)}."
        )


class RequestClosed(NotAnswered):
    """The request is closed: the thread went on without an answer, or the time to answer is over."""

    def __init__(self, thread_id: str, interrupt_id: str, *, expired_at: datetime | None) -> None:
        self.expired_at = expired_at
        why = "the conversation went on" if expired_at is None else f"no answer had come by {_moment(expired_at)}"
        super().__init__(thread_id, interrupt_id, f"This is closed: {why}.")


class InvalidAnswer(NotAnswered, ValueError):
    """An answer does not fit the request. The request still waits."""

    def __init__(self, thread_id: str, interrupt_id: str, problem: str) -> None:
        super().__init__(thread_id, interrupt_id, f"This answer does not fit the request: {problem}.")


class UnknownInterrupt(NotAnswered):
    """There is no request with this id."""

    def __init__(self, thread_id: str, interrupt_id: str) -> None:
        super().__init__(thread_id, interrupt_id, f"Nothing was asked in thread {thread_id!r} under {interrupt_id!r}.")


class NodeMissing(NotAnswered):
    """The node that waits for the answer is not in the graph: it was renamed or removed while the thread waited."""

    def __init__(self, thread_id: str, interrupt_id: str, missing: Sequence[str], nodes: Sequence[str]) -> None:
        self.thread_id = thread_id
        self.interrupt_id = interrupt_id
        self.missing = tuple(missing)
        where = f"the node {', '.join(map(repr, missing))}" if missing else "a task"
        HoldfastError.__init__(
            self,
            f"Thread {thread_id!r} waits in {where}, which this graph does not have. It has "
            f"{', '.join(map(repr, nodes))}. Nothing was run, and the answer to {interrupt_id} was not carried out. "
            "If the node was renamed, give it its former name too: `holdfast.deploy.with_renamed(graph, {old: new})`."
            " If not, add a node of that name; or let the thread go on without the answer, by a new input or "
            "`update_state`.",
        )


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


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


class EffectNotCommitted(HoldfastError):
    """A tool that changes the world was not run, because its call is in no committed checkpoint."""

    def __init__(self, thread_id: str, tool: str) -> None:
        self.thread_id = thread_id
        super().__init__(
            f"{tool} was not run: the call is in no checkpoint of thread {thread_id!r}, so a crash would leave "
            'no trace of it. With durability="exit" nothing is saved before a run ends: run with "sync" or "async".'
        )


class EffectNotApproved(HoldfastError):
    """A tool that changes the world was not run, because the answer that allows it is not on record."""

    def __init__(self, thread_id: str, tool: str) -> None:
        self.thread_id = thread_id
        super().__init__(
            f"{tool} was not run: thread {thread_id!r} has no recorded answer of a person that allows it. "
            "Resume the thread, and a person is asked again."
        )


class EffectClosed(ThreadConflict):
    """A tool that changes the world was not run, because the conversation has gone on, and its call was closed."""

    def __init__(self, thread_id: str, tool: str) -> None:
        HoldfastError.__init__(
            self,
            f"{tool} was not run: thread {thread_id!r} has gone on with a new message, and the call was closed as not "
            "run.",
        )
        self.thread_id = thread_id

    _advice = "Load the thread again."


class EffectTaken(HoldfastError):
    """The outcome of a tool call was not recorded, because another process or a person decides on it by now."""

    def __init__(self, thread_id: str, tool: str, why: str) -> None:
        self.thread_id = thread_id
        super().__init__(f"The outcome of {tool} in thread {thread_id!r} was not recorded here: {why}.")


class InvalidSearch(HoldfastError, ValueError):
    """The query has no words, or the filters cannot be used."""


class SearchUnavailable(HoldfastError):
    """The database cannot search, because its SQLite was built without full text search."""
