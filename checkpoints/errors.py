"""Every error that the saver raises on purpose.

A message says what was found, what was needed and what to do. No message holds a password or the text of a
conversation.
"""

from __future__ import annotations

from datetime import UTC, datetime


class HoldfastError(Exception):
    """The root of all errors of this package."""


class InvalidURL(HoldfastError, ValueError):
    """The URL does not say where conversations live."""


class DriverMissing(HoldfastError, ImportError):
    """The URL names a database whose driver is not installed."""


class DatabaseUnavailable(HoldfastError):
    """The database cannot be opened, or could not be reached in time."""


class Unreachable(DatabaseUnavailable):
    """The server could not be reached, or has closed the connection. It may be back in a moment, so what was cut off is
    repeated (see `patience`), and this is what remains when it stays away."""

    def __init__(self, what: str, *, maybe_saved: bool, away: float = 0.0) -> None:
        """
        Args:
            what: what happened, as a sentence.
            maybe_saved: whether the connection was lost during a COMMIT: then nobody knows whether it took place.
            away: seconds for which it has been out of reach.
        """
        self.what = what
        self.maybe_saved = maybe_saved
        waited = f" It has been out of reach for {away:.0f} s." if away >= 1 else ""
        outcome = (
            "Whether this step was saved is not known; if it was, then as a whole."
            if maybe_saved
            else "Nothing of this step was saved."
        )
        super().__init__(f"{what}{waited} {outcome} Look whether the server runs, and try again when it does.")


class SchemaTooNew(HoldfastError):
    """A newer Holdfast has changed this database in a way that this one cannot read."""


class NotOpen(HoldfastError, RuntimeError):
    """The checkpointer is used before it was opened, or after it was closed."""


class InvalidThread(HoldfastError, ValueError):
    """The `thread_id` is missing or cannot be a key."""


class NotStorable(HoldfastError, TypeError):
    """A value cannot be saved, or could be saved but not loaded again."""


class TypeNotAllowed(NotStorable):
    """A value's type would have to be imported and called to load it, and nobody said that this may be done."""

    type_name: tuple[str, str]

    def __init__(self, module: str, name: str, *, thread_id: str | None = None) -> None:
        self.type_name = (module, name)
        where = f" in thread {thread_id!r}" if thread_id is not None else ""
        super().__init__(
            f"The type {module}.{name}{where} is not among those that may be loaded from a database. "
            "Types named in a graph's state are allowed by compiling it with this checkpointer; "
            f"allow others yourself: open_checkpointer(url, allow=[{name}])."
        )


class DamagedThread(HoldfastError):
    """What is stored for a thread is incomplete or altered. It is never passed off as a shorter conversation."""

    def __init__(self, thread_id: str, what: str) -> None:
        self.thread_id = thread_id
        super().__init__(
            f"Thread {thread_id!r} is damaged: {what}. Nothing was changed. Restore this thread from a backup; "
            "other threads are not affected."
        )


class ThreadConflict(HoldfastError):
    """Another run has written to the thread since this run loaded it; nothing of this write was saved."""

    def __init__(self, thread_id: str, why: str) -> None:
        self.thread_id = thread_id
        super().__init__(
            f"Thread {thread_id!r} was changed by someone else while this run was going on: {why}. "
            "What they saved is kept, and this checkpoint was not saved. Load the thread again and repeat the run."
        )


class UnknownCheckpoint(ThreadConflict):
    """A run was sent to a checkpoint that its thread does not have. Saved, it would be a thread without a past."""

    def __init__(self, thread_id: str, checkpoint_id: str) -> None:
        HoldfastError.__init__(
            self,
            f"Thread {thread_id!r} has no checkpoint {checkpoint_id!r}, or has it no longer, so nothing was saved. "
            "Name one of its history, or none to go on from the newest.",
        )
        self.thread_id = thread_id


class ThreadNotEmpty(HoldfastError, ValueError):
    """A thread was to be copied into one that has something in it."""

    def __init__(self, thread_id: str) -> None:
        self.thread_id = thread_id
        super().__init__(
            f"Thread {thread_id!r} is not empty, and nothing was copied into it. Copy into an id that is not in use, "
            "or delete that thread first."
        )


class UnknownThread(HoldfastError, LookupError):
    """There is no such thread, or it is somebody else's: which of the two is not said."""

    def __init__(self, thread_id: str, user_id: str | None = None) -> None:
        """
        Args:
            thread_id: the thread.
            user_id: whose thread it was to be, if that was asked.
        """
        self.thread_id = thread_id
        whose = "" if user_id is None else f" of user {user_id!r}"
        super().__init__(f"There is no thread {thread_id!r}{whose} in this database. `holdfast threads list` has them.")


class UnknownMessage(HoldfastError, LookupError):
    """A thread has no such message, or not the checkpoint that had it first."""

    def __init__(self, thread_id: str, message_id: str, *, pruned: bool) -> None:
        why = (
            "The checkpoint that had it first was pruned, so nobody knows the state from then."
            if pruned
            else "`holdfast threads show --json` has the ids."
        )
        found = "cannot be forked from" if pruned else "is not one that was said in it"
        super().__init__(f"The message {message_id!r} of thread {thread_id!r} {found}. {why}")


class InvalidCursor(HoldfastError, ValueError):
    """A cursor is not one that a page of this list has given."""


class NothingToUndo(HoldfastError):
    """A thread has no turn that can be undone."""


class ThreadChanged(HoldfastError):
    """A thread was deleted, or a run of it was taken back, while it was being read."""

    def __init__(self, thread_id: str) -> None:
        self.thread_id = thread_id
        super().__init__(
            f"Thread {thread_id!r} was deleted, or a run of it was taken back, while its transcript was being read. "
            "What was read so far is not the whole. Ask for the transcript again."
        )


class ThreadDiffers(ThreadNotEmpty):
    """A thread was to be brought into a database that has it already, with something else in it."""

    def __init__(self, thread_id: str) -> None:
        self.thread_id = thread_id
        HoldfastError.__init__(
            self,
            f"Thread {thread_id!r} is there already, and is not the same: it has gone on, here or there. Nothing was "
            "changed. Delete it where it is not wanted, and repeat this.",
        )


class NotMoved(HoldfastError):
    """A thread cannot be brought into another database as it is. Nothing of it was written there."""

    def __init__(self, thread_id: str, why: str) -> None:
        self.thread_id = thread_id
        super().__init__(f"Thread {thread_id!r} was not moved: {why}")


class InvalidArchive(HoldfastError, ValueError):
    """A file is not one that threads can be read from. Nothing was changed."""

    def __init__(self, path: object, why: str, *, line: int | None = None) -> None:
        self.line = line
        where = f"{path}, line {line}" if line is not None else f"{path}"
        super().__init__(f"{where}: {why} Nothing was changed.")


class NotConverted(HoldfastError):
    """A thread cannot be taken into another form and be loaded as before; it stays as it is."""


class ThreadBusy(HoldfastError):
    """Somebody else holds the thread's lease, and went on holding it for as long as one was willing to wait."""

    def __init__(self, thread_id: str, *, owner: str, purpose: str, since: float, waited: float) -> None:
        self.thread_id = thread_id
        self.owner = owner
        self.purpose = purpose
        self.since = since
        super().__init__(
            f"Thread {thread_id!r} is busy: {owner} has held it for {since:.0f} s (purpose: {purpose}). Waited "
            f"{waited:.0f} s. Try again when that is done; if that process is dead, its lease ends by itself."
        )


class NotAnswered(HoldfastError, LookupError):
    """An answer was not taken; what is on record is as it was."""

    def __init__(self, thread_id: str, interrupt_id: str, why: str) -> None:
        self.thread_id = thread_id
        self.interrupt_id = interrupt_id
        super().__init__(f"{why} Your answer was not taken.")


class AlreadyAnswered(NotAnswered):
    """Somebody was first."""

    def __init__(self, thread_id: str, interrupt_id: str, *, decision: str | None, by: str | None, at: float) -> None:
        self.decision = decision
        self.by = by
        self.at = at
        what = f" with {decision!r}" if decision else ""
        super().__init__(
            thread_id, interrupt_id, f"{by or 'Somebody'} has answered this already{what}, at {_moment(at)}."
        )


class RequestClosed(NotAnswered):
    """It waits no more: the thread went on without an answer, or nobody answered in time."""

    def __init__(self, thread_id: str, interrupt_id: str, *, expired_at: float | None) -> None:
        self.expired_at = expired_at
        why = "the conversation went on" if expired_at is None else f"no answer had come by {_moment(expired_at)}"
        super().__init__(thread_id, interrupt_id, f"This is closed: {why}.")


class UnknownInterrupt(NotAnswered):
    """Nothing was asked under this id."""

    def __init__(self, thread_id: str, interrupt_id: str) -> None:
        super().__init__(thread_id, interrupt_id, f"Nothing was asked in thread {thread_id!r} under {interrupt_id!r}.")


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


class ClockSkew(ThreadConflict):
    """A checkpoint's id, which is a time, is not above the thread's newest one."""

    def __init__(self, thread_id: str, seconds: float) -> None:
        HoldfastError.__init__(
            self,
            f"Thread {thread_id!r} has a checkpoint from {seconds:.3f} seconds after the one that was to be saved, so "
            "the new one would never be seen as the newest. It was not saved. Clocks of the hosts that serve this "
            "thread differ: set them right (NTP), then repeat the run.",
        )
        self.thread_id = thread_id
        self.seconds = seconds


class EffectNotCommitted(HoldfastError):
    """A tool that changes the world was to run for a call that is in no committed checkpoint."""

    def __init__(self, thread_id: str, tool: str) -> None:
        self.thread_id = thread_id
        super().__init__(
            f"{tool} was not run: the call is in no checkpoint of thread {thread_id!r}, so after a crash nobody would "
            'know of it. With durability="exit" nothing is saved before a run ends: run with "sync" or "async".'
        )


class EffectNotApproved(HoldfastError):
    """A tool that changes the world was to run under an answer that is not on record."""

    def __init__(self, thread_id: str, tool: str) -> None:
        self.thread_id = thread_id
        super().__init__(
            f"{tool} was not run: in thread {thread_id!r} no answer of a person is on record under which it may. "
            "Resume the thread, and the call is asked about again."
        )


class EffectTaken(HoldfastError):
    """The outcome of a tool call is for somebody else to say, or nobody waits for it."""

    def __init__(self, thread_id: str, tool: str, why: str) -> None:
        self.thread_id = thread_id
        super().__init__(f"What {tool} has done in thread {thread_id!r} was not recorded here: {why}.")


class InvalidSearch(HoldfastError, ValueError):
    """There is nothing to search for, or nowhere to search in."""


class SearchUnavailable(HoldfastError):
    """The database cannot search: its SQLite was built without full text search."""
