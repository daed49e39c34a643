"""A request that waits for a person, as it is listed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from holdfast.checkpoints.interrupts.forms import Action, actions_of


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that waits for a person."""

    thread_id: str
    interrupt_id: str
    value: Any
    """The value that the graph passed to `interrupt`; `None` if it cannot be read."""
    asked_at: datetime
    """In UTC, by the database's clock."""
    expires_at: datetime | None
    user_id: str | None
    """The owner of the thread, if its checkpoint names one."""
    problem: str | None = None
    """The reason why the value cannot be read."""
    schema: Any = None
    """The JSON schema of the answer, if the graph gave one."""

    @property
    def actions(self) -> list[Action]:
        """The actions that the person is asked about, with the decisions allowed; none if the form is unknown.

        Known are the requests of Holdfast, of LangChain's `HumanInTheLoopMiddleware` and of Agent Inbox.
        """
        return actions_of(self.value, self.schema)
