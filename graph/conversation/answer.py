"""The answers to the pending calls of a thread: checked, recorded, and then carried out by a run.

If the process dies after an answer was recorded, the next run of the thread carries it out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from langgraph.errors import UnknownInterruptError
from langgraph.types import Command, StateSnapshot
from pydantic import ValidationError

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.errors import NotAnswered
from holdfast.graph.agent import Agent
from holdfast.graph.approvals.ask import AnswerForms
from holdfast.graph.approvals.decisions import BadAnswer
from holdfast.graph.conversation.events import Pending, pending_call, pending_of
from holdfast.graph.nodes.base import TOOL
from holdfast.graph.nodes.tool import ToolStep
from holdfast.graph.tools.settle import VERDICT_FORM


class NewAnswer(NamedTuple):
    """An answer as the caller gave it."""

    interrupt_id: str | None
    """The pause; `None` for the only one."""
    answer: Mapping[str, Any]
    by: str | None


class AcceptedAnswer(NamedTuple):
    """An answer that fits, and is on record if the checkpointer has a record."""

    interrupt_id: str
    input: Any
    """The input of the run that carries it out."""


class NothingWaits(LookupError):
    """No call waits under this id (any more), or several wait and none was named."""


class ThreadAnswers:
    """The answers of one thread.

    Its methods block if the checkpointer is a `HoldfastSaver`. Another one has no record of answers: a run carries them
    out or they are lost.
    """

    def __init__(self, agent: Agent, thread_id: str) -> None:
        saver = agent.checkpointer
        step = agent.nodes[TOOL].bound if TOOL in agent.nodes else None
        self._thread_id = thread_id
        self._record = saver.interrupts if isinstance(saver, HoldfastSaver) else None
        self._forms = step.forms if isinstance(step, ToolStep) else AnswerForms({})

    def recorded(self) -> frozenset[str]:
        """Return the ids of the pauses whose answers are on record, but not carried out yet."""
        if self._record is None:
            return frozenset()
        return frozenset(answered.interrupt_id for answered in self._record.todo(thread_id=self._thread_id))

    def accept(self, state: StateSnapshot, new: NewAnswer) -> AcceptedAnswer:
        """Check an answer and record it.

        This needs no lease. So of two people who answer, the second learns at once who was first, and not after the
        turn that the first answer began.

        Raises:
            NothingWaits: no call waits under this id. If it was answered, the error says by whom and when.
            BadAnswer: the answer does not fit. The call still waits.
        """
        interrupt_id, answer, by = new
        if not isinstance(answer, Mapping):
            raise BadAnswer(f'An answer is a dict with a "type", such as {{"type": "approve"}}; found {answer!r}.')
        waiting = {pending.interrupt_id: pending for pending in pending_of(state, self.recorded())}
        if interrupt_id is None and len(waiting) == 1:
            [interrupt_id] = waiting
        if interrupt_id not in waiting:
            raise self._nothing_waits(interrupt_id, list(waiting.values()))
        call = waiting[interrupt_id]
        if answer.get("type") == "edit" and isinstance(answer.get("edited_action"), Mapping):
            answer = {**answer, "edited_action": {"name": call.name, **answer["edited_action"]}}
        answer = {key: value for key, value in {"by": by, **answer}.items() if value is not None}
        if self._record is None:
            return AcceptedAnswer(call.interrupt_id, Command(resume={interrupt_id: answer}))
        self._check(call, answer)
        with late_answers():
            self._record.answer(self._thread_id, call.interrupt_id, answer)
        return AcceptedAnswer(call.interrupt_id, None)

    def check_carried_out(self, accepted: AcceptedAnswer) -> None:
        """Check, after the run, that it carried the answer out. A message that came first may have closed the call.

        Raises:
            NothingWaits: it did not.
        """
        if self._record is not None and self._record.is_dropped(self._thread_id, accepted.interrupt_id):
            raise NothingWaits(
                "The conversation went on in the moment of this answer, before it could be carried out. The call was "
                "closed and did not run."
            )

    def unknown_tools(self, state: StateSnapshot) -> list[str]:
        """Return the tools of pending calls that this agent does not have, because another agent made the calls."""
        calls = [pending_call(pause.id, pause.value, None) for pause in state.interrupts]
        names = ["?" if call is None else call.name for call in calls]
        return [name for name in names if name not in self._forms.tools]

    def _check(self, call: Pending, answer: Mapping[str, Any]) -> None:
        form = VERDICT_FORM if call.kind == "doubt" else self._forms.of(call.name)
        is_missing = call.kind == "approval" and call.name not in self._forms.tools
        if is_missing and answer.get("type") in {"approve", "edit"}:
            raise BadAnswer(
                f"This agent has no tool {call.name!r}, so it cannot run the call. Approve it with the agent that made "
                "the call, or refuse it. Nothing was saved, and the call still waits."
            )
        try:
            form.validate(answer)
        except ValidationError as error:
            raise form.refusal(call.name, error) from None

    def _nothing_waits(self, interrupt_id: str | None, waiting: list[Pending]) -> NothingWaits:
        choices = ", ".join(f"{pending.interrupt_id} ({pending.description})" for pending in waiting)
        now = f"What waits now: {choices}." if waiting else "Nothing waits now."
        if interrupt_id is None:
            return NothingWaits(f"Which call is meant? {now}" if waiting else now)
        first = None if self._record is None else self._record.recorded(self._thread_id, interrupt_id)
        if first is None or first.expired:
            return NothingWaits(
                f"No call waits under {interrupt_id!r}: it was answered or closed already, or never was. {now}"
            )
        return NothingWaits(f"{first.told()} {now}")


@contextmanager
def late_answers() -> Iterator[None]:
    """Raise `NothingWaits` for an answer that came too late. It says who was first, if that is known."""
    try:
        yield
    except NotAnswered as error:
        raise NothingWaits(str(error)) from error
    except UnknownInterruptError as error:
        raise NothingWaits(f"This was answered or closed a moment ago ({error}).") from error
