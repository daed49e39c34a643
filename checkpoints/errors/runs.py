"""The errors about turns that were accepted."""

from __future__ import annotations

from holdfast.checkpoints.errors.base import HoldfastError


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
