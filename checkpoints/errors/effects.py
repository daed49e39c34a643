"""The errors of the ledger of effects."""

from __future__ import annotations

from holdfast.checkpoints.errors.base import HoldfastError
from holdfast.checkpoints.errors.threads import ThreadConflict


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
