"""The answers that LangGraph is given when a thread is resumed, and those that it has saved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from holdfast.checkpoints.backends.records import CheckpointKey
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.core.database import Database
from holdfast.checkpoints.interrupts.record import interrupts_in, read_interrupts
from holdfast.checkpoints.langgraph_internals import NULL_TASK_ID

_ID: Final = re.compile(r"[0-9a-f]{32}")


def answers_by_id(resume: Any) -> dict[str, Any] | None:
    """Return the answers that a run is given, by interrupt id; `None` if it is one answer that names no request.

    Args:
        resume: the `resume` of LangGraph's `Command`.
    """
    if isinstance(resume, Mapping) and all(isinstance(key, str) and _ID.fullmatch(key) for key in resume):
        return dict(resume)
    return None


def forget_saved_answers(database: Database, thread_id: str, interrupt_id: str) -> bool:
    """Delete the answers to a request that LangGraph has saved among the writes of its task, and return whether there
    were any.

    A run that was resumed with a bad answer and failed leaves it there, and each later run would read it again.
    """
    sql, places = database.backend.sql, _paused_tasks(database, thread_id, interrupt_id)
    # An answer that names no request is saved for no task.
    places |= {(ns, checkpoint_id, NULL_TASK_ID) for ns, checkpoint_id, _ in places if not ns}
    names = ("ns", "checkpoint_id", "task_id")
    _, *forgotten = database.write(
        (sql["lock_thread"], {"thread_id": thread_id}),
        *(
            (sql["forget_answers"], {"thread_id": thread_id, **dict(zip(names, place, strict=True))})
            for place in sorted(places)
        ),
    )
    return any(forgotten)


def _paused_tasks(database: Database, thread_id: str, interrupt_id: str) -> set[tuple[str, str, str]]:
    """Return the namespace, checkpoint and id of each task that waits for a request: those of subgraphs too."""

    def read() -> set[tuple[str, str, str]]:
        found = set()
        with database.backend.reading() as transaction:
            [rows] = transaction.run([(database.backend.sql["paused_tasks"], {"thread_id": thread_id})])
            for ns, checkpoint_id, task_id, type_, blob in rows:
                key = CheckpointKey(thread_id, ns, checkpoint_id)
                value = read_interrupts(transaction, database, key, task_id, type_, blob)
                if any(pause.id == interrupt_id for pause in interrupts_in(value)):
                    found.add((ns, checkpoint_id, task_id))
        return found

    return persist(database.backend, read)
