"""The errors of what comes from elsewhere or goes there: histories, copies, archives, exports, conversions."""

from __future__ import annotations

from holdfast.checkpoints.errors.base import HoldfastError


class ThreadNotEmpty(HoldfastError, ValueError):
    """The target of a copy, a transfer or an import is not empty."""

    def __init__(self, thread_id: str) -> None:
        self.thread_id = thread_id
        super().__init__(
            f"Thread {thread_id!r} is not empty, and nothing was written into it. Name an id that is not in use, or "
            "delete that thread first."
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
