"""The answers that a new run brings: each is bound to its request, checked, and recorded before the run is accepted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.errors import InvalidAnswer, NotAnswered
from holdfast.checkpoints.interrupts import answers_by_id
from holdfast.server.langgraph.runtime import refused

_are_recorded: Final[ContextVar[bool]] = ContextVar("are_recorded", default=False)


@contextmanager
def recorded_already() -> Iterator[None]:
    """Begin runs that carry out answers which are on record, and bring none."""
    token = _are_recorded.set(True)
    try:
        yield
    finally:
        _are_recorded.reset(token)


def brings_answers() -> bool:
    """Return whether the answers of the run that is about to begin are to be recorded."""
    return not _are_recorded.get()


def bound_answers(saver: HoldfastSaver, thread_id: str, resume: Any, *, has_breakpoints: bool) -> dict[str, Any]:
    """Return the answers of a run by the ids of their requests. It blocks.

    An answer that names no request is for the only one that waits.

    Args:
        saver: the checkpointer.
        thread_id: the thread.
        resume: the `resume` of the run's command.
        has_breakpoints: whether the run may be to go on from a breakpoint, where nothing is asked.

    Raises:
        HTTPException: 422, several requests wait and the answer names none of them; 409, none waits.
    """
    by_id = answers_by_id(resume)
    if by_id:
        return by_id
    waiting = saver.interrupts.waiting(thread_id=thread_id)
    if len(waiting) == 1:
        return {waiting[0].interrupt_id: resume}
    if waiting:
        choices = ", ".join(request.interrupt_id for request in waiting)
        raise refused(
            422,
            f'Several calls wait. Name the one you answer: {{"resume": {{interrupt_id: answer}}}}. Waiting: {choices}.',
        )
    if has_breakpoints:
        return {}
    due = saver.interrupts.todo(thread_id=thread_id)
    raise refused(409, due[0].told().args[0] if len(due) == 1 else "Nothing waits for an answer in this thread now.")


def record_answers(
    saver: HoldfastSaver, thread_id: str, answers: Mapping[str, Any], run_id: str, also: Sequence[Any]
) -> None:
    """Record the answers of a run, all or none, with the statements that accept the run. It blocks.

    Raises:
        HTTPException: 422, an answer does not fit; 409, its request was answered or is closed. Nothing was saved.
    """
    try:
        if len(answers) == 1:
            [(interrupt_id, answer)] = answers.items()
            saver.interrupts.answer(thread_id, interrupt_id, answer, run_id=run_id, also=also)
        else:
            saver.interrupts.answer_all(thread_id, answers, run_id=run_id, also=also)
    except InvalidAnswer as error:
        raise refused(422, str(error)) from error
    except NotAnswered as error:
        raise refused(409, str(error)) from error


def answers_due(saver: HoldfastSaver, thread_id: str) -> dict[str, Any]:
    """Return the answers of a thread that a run has to be given, by interrupt id. It blocks.

    An expired request has no answer to pass on, and a kept one has no pause to resume now; our own agent finds both on
    record.
    """
    kept = saver.interrupts.held(thread_id)
    due = [found for found in saver.interrupts.todo(thread_id=thread_id) if not found.expired]
    return {found.interrupt_id: found.answer for found in due if not kept.get(found.interrupt_id)}
