"""How a run goes on whose process died: with its input, or where it was if the thread has taken that already."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from holdfast.checkpoints import Claimed, HoldfastSaver
from holdfast.server.langgraph.runtime import Entry


def answers_due(saver: HoldfastSaver, thread_id: str) -> dict[str, Any]:
    """Return the answers of a thread that a run has to be given, by interrupt id. It blocks.

    An expired request has no answer to pass on, and a kept one has no pause to resume now; our own agent finds both on
    record.
    """
    kept = saver.interrupts.held(thread_id)
    due = [found for found in saver.interrupts.todo(thread_id=thread_id) if not found.expired]
    return {found.interrupt_id: found.answer for found in due if not kept.get(found.interrupt_id)}


def run_to_go_on(saver: HoldfastSaver, claimed: Claimed) -> Entry:
    """Return the entry of a run that another process has accepted, as this server can begin it. It blocks."""
    run, stored = claimed.run, claimed.input["run"]
    entry: Entry = {
        **stored,
        **{name: UUID(stored[name]) for name in ("run_id", "thread_id", "assistant_id")},
        **{name: datetime.fromisoformat(stored[name]) for name in ("created_at", "updated_at")},
        "status": "pending",
    }
    kwargs = entry["kwargs"]
    has_begun = saver.runs.has_begun(run)
    if has_begun:
        kwargs.update(input=None, command=None)
        kwargs["config"]["configurable"].pop("checkpoint_id", None)  # it goes on from its own newest checkpoint
    if has_begun or _resumes(kwargs):
        kwargs["command"] = _command(kwargs.get("command"), answers_due(saver, run.thread_id))
    return entry


def _resumes(kwargs: Mapping[str, Any]) -> bool:
    """Return whether a run carries out answers on record. At an older checkpoint it may bring others."""
    is_elsewhere = kwargs["config"]["configurable"].get("checkpoint_id")
    return not is_elsewhere and (kwargs.get("command") or {}).get("resume") is not None


def _command(given: Mapping[str, Any] | None, answers: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a command with the answers that are left to carry out. Without one there may be nothing to command."""
    command = {key: value for key, value in (given or {}).items() if key != "resume" and value is not None}
    if answers:
        command["resume"] = dict(answers)
    return command or None
