"""The records of runs."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

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
    """Why it failed: the name of the error."""
    error: str | None
    after_seq: int | None
    """The number of the last message row of its thread before it began."""
    until_seq: int | None
    """The number of the last one when it ended."""

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.state in OPEN


@dataclass(frozen=True, slots=True)
class Claimed:
    """A run that a worker carries out."""

    run: Run
    input: Mapping[str, Any]
    owner: str
    """The worker."""


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
