"""The errors about answers to requests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from holdfast.checkpoints.errors.base import HoldfastError


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
