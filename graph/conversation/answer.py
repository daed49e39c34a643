"""Answers on their way to the calls of a thread: checked, put on record before anything is done, and then carried out.

What is on record and not carried out, because a process died in between, any next run of the thread carries out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, ParamSpec, TypeAlias, TypeVar

from langchain_core.tools import BaseTool
from langgraph.errors import UnknownInterruptError
from langgraph.types import Command, StateSnapshot
from pydantic import ValidationError

from holdfast.checkpoints import HoldfastSaver, Interrupts, NotAnswered
from holdfast.graph.agent import Agent
from holdfast.graph.approvals.decisions import (
    Answer,
    BadAnswer,
    answer_schema,
    fitting,
    refuse,
)
from holdfast.graph.approvals.policy import DECISIONS, ToolStep, approval_policy
from holdfast.graph.conversation.events import Pending, call_that_waits, pending_of
from holdfast.graph.nodes.in_doubt import VERDICT, VERDICTS

P = ParamSpec("P")
T = TypeVar("T")

Choice: TypeAlias = tuple[str | None, Mapping[str, Any], str | None]
"""An answer: to which pause, what, and by whom."""


class Taken(NamedTuple):
    """An answer that is on record, or will be."""

    interrupt_id: str
    what: Any
    """What to run to carry it out."""


NOTHING: Final[frozenset[str]] = frozenset()


class NothingWaits(LookupError):
    """No call waits under this id (any more), or it does not say which of several is meant."""


@dataclass(frozen=True)
class Answering:
    """The answers of one thread."""

    agent: Agent
    thread_id: str

    @property
    def inbox(self) -> Interrupts | None:
        """Where answers are recorded; `None` on another saver, which carries them out or forgets them."""
        saver = self.agent.checkpointer
        return saver.interrupts if isinstance(saver, HoldfastSaver) else None

    async def off(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call one of the functions below from an event loop."""
        saver = self.agent.checkpointer
        if isinstance(saver, HoldfastSaver):
            return await saver.offload(function, *args, **kwargs)
        return function(*args, **kwargs)  # does no I/O then

    def open(self) -> frozenset[str]:
        """The pauses whose answers are on record, but not carried out yet."""
        if self.inbox is None:
            return NOTHING
        return frozenset(found.interrupt_id for found in self.inbox.todo(thread_id=self.thread_id))

    def give(self, state: StateSnapshot, choice: Choice) -> Taken:
        """Put an answer on record. Not under the thread's lease: who clicks second is told so at once, and not when the
        first one's turn is over.

        Raises:
            NothingWaits: no call waits under this id, or it was answered: then it says by whom, and when.
            BadAnswer: it does not fit. The call still waits.
        """
        interrupt_id, answer, by = choice
        if not isinstance(answer, Mapping):
            raise BadAnswer(f'An answer is a dict with a "type", such as {{"type": "approve"}}; found {answer!r}.')
        waiting = {pending.interrupt_id: pending for pending in pending_of(state, self.open())}
        if interrupt_id is None and len(waiting) == 1:
            [interrupt_id] = waiting
        if interrupt_id not in waiting:
            raise self._nothing_waits(interrupt_id, list(waiting.values()))
        call = waiting[interrupt_id]
        if answer.get("type") == "edit" and isinstance(answer.get("edited_action"), Mapping):
            answer = {**answer, "edited_action": {"name": call.name, **answer["edited_action"]}}
        answer = {key: value for key, value in {"by": by, **answer}.items() if value is not None}
        if self.inbox is None:
            return Taken(call.interrupt_id, Command(resume={interrupt_id: answer}))
        self._check(call, answer)
        with told_apart():
            self.inbox.answer(self.thread_id, call.interrupt_id, answer)
        return Taken(call.interrupt_id, None)

    def check_done(self, taken: Taken) -> None:
        """Look, when the run is over, whether it carried an answer out. A message that was on its way already when the
        answer came may have closed the call.

        Raises:
            NothingWaits: it did not.
        """
        if self.inbox is not None and self.inbox.is_dropped(self.thread_id, taken.interrupt_id):
            raise NothingWaits(
                "The conversation went on in the moment of this answer, before it could be carried out. The call was "
                "closed and did not run."
            )

    def _check(self, call: Pending, answer: Mapping[str, Any]) -> None:
        if call.kind == "doubt":
            self._check_fits(call, VERDICT, VERDICTS, answer)
            return
        tool = self._tools.get(call.name)
        if tool is None and answer.get("type") in {"approve", "edit"}:
            raise BadAnswer(
                f"This agent has no tool {call.name!r}, so it cannot run the call. Approve it where the agent is that "
                "asked, or refuse it. Nothing was saved, and the call still waits."
            )
        policy = None if tool is None else approval_policy(tool)
        # Of a tool that is gone, or asks nobody any more, any decision is taken; the call says what became of it.
        decisions = DECISIONS if policy is None else policy.decisions
        self._check_fits(call, Answer if tool is None else answer_schema(tool, decisions), decisions, answer)

    def _check_fits(self, call: Pending, schema: Any, decisions: Sequence[str], answer: Mapping[str, Any]) -> None:
        try:
            fitting(schema, answer)
        except ValidationError as error:
            refuse(call.name, decisions, error)

    def strange(self, state: StateSnapshot) -> list[str]:
        """What another agent has asked in this thread, and this one cannot carry out."""
        asked = [call_that_waits(pause.id, pause.value, None) for pause in state.interrupts]
        names = ["?" if call is None else call.name for call in asked]
        return [name for name in names if name not in self._tools]

    @property
    def _tools(self) -> Mapping[str, BaseTool]:
        step = self.agent.nodes["tool"].bound
        return step.tools if isinstance(step, ToolStep) else {}

    def _nothing_waits(self, interrupt_id: str | None, waiting: list[Pending]) -> NothingWaits:
        choices = ", ".join(f"{pending.interrupt_id} ({pending.description})" for pending in waiting)
        now = f"What waits now: {choices}." if waiting else "Nothing waits now."
        if interrupt_id is None:
            return NothingWaits(f"Which call is meant? {now}" if waiting else now)
        found = None if self.inbox is None else self.inbox.recorded(self.thread_id, interrupt_id)
        if found is None or found.expired:
            return NothingWaits(
                f"No call waits under {interrupt_id!r}: it was answered or closed already, or never was. {now}"
            )
        return NothingWaits(f"{found.told()} {now}")


@contextmanager
def told_apart() -> Iterator[None]:
    """An answer that came too late is `NothingWaits`, and says who was first where that is known."""
    try:
        yield
    except NotAnswered as error:
        raise NothingWaits(str(error)) from error
    except UnknownInterruptError as error:
        raise NothingWaits(f"This was answered or closed a moment ago ({error}).") from error
