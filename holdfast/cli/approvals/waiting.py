"""Show the calls that wait for a decision. This needs no agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from holdfast.checkpoints import HoldfastDatabase
from holdfast.checkpoints.interrupts.pending import Pending, pending_request
from holdfast.checkpoints.langgraph_internals import INTERRUPT
from holdfast.cli.options import thread_config
from holdfast.cli.output import pending_facts, print_json, print_notice
from holdfast.cli.output.screen import Screen

if TYPE_CHECKING:
    from typing import TypeAlias

    from langgraph.checkpoint.base import BaseCheckpointSaver

    AnyDatabase: TypeAlias = HoldfastDatabase | BaseCheckpointSaver[Any]


class PendingCall(NamedTuple):
    """A call that waits for a decision, with its thread and that thread's user."""

    thread_id: str
    user: str | None
    pending: Pending

    def facts(self) -> dict[str, Any]:
        """Return the call for JSON."""
        return pending_facts(self.pending, self.thread_id) | {"user_id": self.user}

    def print(self, screen: Screen) -> None:
        """Show the call, its id and its thread."""
        screen.request(self.pending)
        asked = f", asked {self.pending.asked_at[:16].replace('T', ' ')} UTC" if self.pending.asked_at else ""
        user = f", user {self.user}" if self.user else ""
        screen.line(f"  id {self.pending.interrupt_id}, thread {self.thread_id}{user}{asked}")


def print_waiting(database: AnyDatabase, thread_id: str | None, limit: int, *, as_json: bool) -> None:
    """Print the calls that wait."""
    calls = waiting_calls(database, thread_id, limit)
    if as_json:
        return print_json([call.facts() for call in calls], indent=2)
    screen = Screen()
    for call in calls:
        call.print(screen)
    if not calls:
        screen.line("No call waits for a decision.")
    return None


def waiting_calls(database: AnyDatabase, thread_id: str | None, limit: int) -> list[PendingCall]:
    """Return the calls that wait. One that cannot be read is reported, and does not hide the others.

    Args:
        database: the database. One of another checkpointer has no list of requests, only those of a thread.
        thread_id: the thread; `None` for those of all threads.
        limit: the number of calls at most.
    """
    if not isinstance(database, HoldfastDatabase):
        return [] if thread_id is None else _calls_of_state(database, thread_id)[:limit]
    calls: list[PendingCall] = []
    for waiting in database.interrupts.waiting(limit, thread_id):
        if waiting.problem is not None:
            print_notice(waiting.problem)
            continue
        at = waiting.asked_at.isoformat()
        pending = pending_request(waiting.interrupt_id, waiting.value, waiting.schema, at)
        calls.append(PendingCall(waiting.thread_id, waiting.user_id, pending))
    return calls


def _calls_of_state(saver: BaseCheckpointSaver[Any], thread_id: str) -> list[PendingCall]:
    """Return the calls that wait in a thread, as its newest checkpoint has them."""
    found = saver.get_tuple(thread_config(thread_id))
    if found is None:
        return []
    user: Any = found.metadata.get("user_id")
    pauses = [pause for _, channel, value in found.pending_writes or () if channel == INTERRUPT for pause in value]
    return [PendingCall(thread_id, user, _request(pause, found.checkpoint["ts"])) for pause in pauses]


def _request(pause: Any, at: str) -> Pending:
    return pending_request(pause.id, pause.value, getattr(pause, "response_schema", None), at)
