"""The records of runs."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from langchain_core.runnables import RunnableConfig

from holdfast.checkpoints.backends.records import Row
from holdfast.checkpoints.encryption import places
from holdfast.checkpoints.langgraph_internals import RUN_MARK
from holdfast.checkpoints.moments import utc_datetime
from holdfast.checkpoints.serde.encryption import Sealer
from holdfast.checkpoints.threads.leases import Lease

Kind = Literal["message", "answer", "retry"]
State = Literal["accepted", "running", "done", "failed", "cancelled"]

OPEN: Final = ("accepted", "running")


@dataclass(frozen=True, slots=True)
class Run:
    """A turn that was accepted."""

    run_id: str
    """Also the id of the message that it sends."""
    thread_id: str
    agent: str
    """The name of the agent that has to carry it out."""
    user_id: str | None
    kind: Kind
    """"message": it sends a message. "answer": it carries out an answer. "retry": it goes on with a turn."""
    state: State
    attempts: int
    """How often it was begun: more than once if a process died in the middle of it."""
    accepted_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    is_cancelled: bool
    """Whether it was asked to stop."""
    error_type: str | None
    """Why it failed: the name of the error. Before it has ended: the error with which it is to be stopped."""
    error: str | None
    after_seq: int | None
    """The number of the last message row of its thread before it began."""
    until_seq: int | None
    """The number of the last one when it ended."""

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.state in OPEN


class RunMark(NamedTuple):
    """What a turn's config has of its run: by it, a load finds that the run was deleted with its thread."""

    thread_id: str
    run_id: str
    generation: int | None
    """That of the thread when the run was claimed."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A run that a worker carries out."""

    run: Run
    input: Mapping[str, Any]
    owner: str
    """The worker."""
    lease: Lease | None = None
    """The lease of the thread, if it was taken with the claim: when the run was accepted, and nothing was before it."""
    generation: int | None = None
    """The generation of the thread when it was claimed."""

    @property
    def mark(self) -> RunMark:
        """What the config of its turn has of it."""
        return RunMark(self.run.thread_id, self.run.run_id, self.generation)


@dataclass(frozen=True, slots=True)
class EndedRun:
    """The end of a run, as it is on record."""

    run: Run
    has_next: bool
    """Whether its thread has a run that waits."""


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to accept.

    Args:
        thread_id: the thread.
        agent: the name of the agent.
        kind: see `Run`.
        input: what it is begun with, of plain values.
        user_id: the user.
        key: an idempotency key of the user: the same request under the same key is accepted once.
        request: what the key is given for; by default the input.
        run_id: its id; by default a new one.
    """

    thread_id: str
    agent: str
    kind: Kind
    input: Mapping[str, Any]
    user_id: str | None = None
    key: str | None = None
    request: Any = None
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True, slots=True)
class DeadTurn:
    """A turn that has a lease and no run, and whose process has died in the middle of it."""

    thread_id: str
    ticket: int
    """That of the lease."""
    owner: str
    """The process that held it."""


def mark_of(config: RunnableConfig, thread_id: str, ns: str) -> RunMark | None:
    """Return what a config that loads a thread has of its run. A node may have passed the key on to another thread."""
    mark: RunMark | None = config["configurable"].get(RUN_MARK)
    return mark if mark is not None and mark.thread_id == thread_id and not ns else None


def run_of(sealer: Sealer, row: Row) -> Run:
    """Return a run from its row."""
    error, place = row.error, places.run_error(row.run_id)
    return Run(
        run_id=row.run_id,
        thread_id=row.thread_id,
        agent=row.agent,
        user_id=row.user_id,
        kind=row.kind,
        state=row.state,
        attempts=row.attempts,
        accepted_at=utc_datetime(row.accepted_at),
        started_at=_moment(row.started_at),
        ended_at=_moment(row.ended_at),
        is_cancelled=row.cancelled_at is not None,
        error_type=row.error_type,
        error=None if error is None else sealer.open_text(row.thread_id, place, error),
        after_seq=row.after_seq,
        until_seq=row.until_seq,
    )


def _moment(at: float | None) -> datetime | None:
    return None if at is None else utc_datetime(at)
