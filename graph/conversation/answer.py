"""The answers to the pending calls of a thread: checked, recorded, and then carried out by a run.

If the process dies after an answer was recorded, the next run of the thread carries it out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from langchain_core.runnables import RunnableConfig
from langgraph.errors import UnknownInterruptError
from langgraph.types import Command, StateSnapshot
from pydantic import ValidationError

from holdfast.checkpoints import Answered, HoldfastSaver, NewRun
from holdfast.checkpoints.errors import NotAnswered
from holdfast.checkpoints.interrupts.forms import answer_problem
from holdfast.checkpoints.runtime import run_of, unwrap_saver
from holdfast.graph.approvals.ask import AnswerForms
from holdfast.graph.approvals.decisions import BadAnswer
from holdfast.graph.approvals.policy import OnMessage
from holdfast.graph.conversation.agents import AgentProfile
from holdfast.graph.conversation.requests import Pending, answer_to, pending_of, pending_request, takes_author
from holdfast.graph.kept import has_calls_behind
from holdfast.graph.messages import looks_closed
from holdfast.graph.tools.settle import VERDICT_FORM


class NewAnswer(NamedTuple):
    """An answer as the caller gave it."""

    interrupt_id: str | None
    """The pause; `None` for the only one."""
    answer: Any
    """See `requests.answer_to`."""
    by: str | None
    run: NewRun | None = None
    """The run that carries it out, and is accepted with it."""


class AcceptedAnswer(NamedTuple):
    """An answer that fits, and is on record if the checkpointer has a record."""

    interrupt_id: str
    input: Any
    """The input of the run that carries it out; `None` if the agent finds the answer itself."""


Recorded: TypeAlias = Mapping[str, Answered]
"""The answers that are on record and not carried out yet, by the id of their pause."""


class NothingWaits(LookupError):
    """No call waits under this id (any more), or several wait and none was named."""


class ThreadAnswers:
    """The answers of one thread.

    Its methods block if the checkpointer is a `HoldfastSaver`. Another one has no record of answers: a run carries them
    out or they are lost.
    """

    def __init__(self, profile: AgentProfile, thread_id: str) -> None:
        saver = unwrap_saver(profile.agent.checkpointer)
        self._profile = profile
        self._thread_id = thread_id
        self._record = saver.interrupts if isinstance(saver, HoldfastSaver) else None
        self._accepted = saver.runs if isinstance(saver, HoldfastSaver) else None

    def recorded(self) -> Recorded:
        """Return the answers that are on record, but not carried out yet."""
        if self._record is None:
            return {}
        return {answered.interrupt_id: answered for answered in self._record.todo(thread_id=self._thread_id)}

    def may_have_kept(self, state: StateSnapshot) -> bool:
        """Return whether requests may wait that a state does not show. It does not block."""
        if self._record is None or not self._profile.closes_calls or not state.tasks:
            return False
        messages = self._profile.messages(state)
        # The message that was sent may not be among the others yet.
        return has_calls_behind(messages) or (not state.interrupts and not looks_closed(messages))

    def kept(self, state: StateSnapshot) -> list[Pending]:
        """Return the requests that wait and that a state does not show: a message was sent, and is not answered yet."""
        if not self.may_have_kept(state):
            return []
        shown = {pause.id for pause in state.interrupts}
        return [request for request in self._waiting() if request.interrupt_id not in shown]

    def hold(self, pending: OnMessage | None) -> None:
        """Note, before a message is sent, which requests stay open and which are closed by it.

        Args:
            pending: what becomes of them; by default what their tools declare.

        Raises:
            TypeError: the checkpointer has no record of requests.
        """
        if self._record is None:
            if pending is not None:
                raise TypeError("pending= needs an agent with Holdfast's checkpointer, which records what waits.")
            return
        kept = {request.interrupt_id: self._profile.keeps(request, pending) for request in self._waiting()}
        if kept:
            keep, close = ([id_ for id_, stays in kept.items() if stays is wanted] for wanted in (True, False))
            self._record.hold(self._thread_id, keep=keep, close=close)

    def _waiting(self) -> list[Pending]:
        waiting = [] if self._record is None else self._record.waiting(thread_id=self._thread_id)
        return [
            pending_request(request.interrupt_id, request.value, request.schema, request.asked_at.isoformat())
            for request in waiting
        ]

    def resume(self, state: StateSnapshot, recorded: Recorded) -> Command[Any] | None:
        """Return the input of a run that carries out the recorded answers; `None` if the agent finds them itself."""
        due = [pause for pause in state.interrupts if pause.id in recorded and not recorded[pause.id].expired]
        given = {pause.id: recorded[pause.id].answer for pause in due if not self._profile.finds_answer(pause.value)}
        return Command(resume=given) if given else None

    def accept(self, state: StateSnapshot, new: NewAnswer) -> AcceptedAnswer:
        """Check an answer and record it.

        This needs no lease. So of two people who answer, the second learns at once who was first, and not after the
        turn that the first answer began.

        Raises:
            NothingWaits: no call waits under this id. If it was answered, the error says by whom and when.
            BadAnswer: the answer does not fit. The call still waits.
        """
        interrupt_id, given, by, run = new
        shown = [*pending_of(state, self.recorded()), *self.kept(state)]
        waiting = {pending.interrupt_id: pending for pending in shown}
        if interrupt_id is None and len(waiting) == 1:
            [interrupt_id] = waiting
        if interrupt_id not in waiting:
            raise self._nothing_waits(interrupt_id, list(waiting.values()))
        request = waiting[interrupt_id]
        answer = answer_to(request, given)
        self._check(request, answer)
        if by is not None and takes_author(request):
            answer = {"by": by, **answer}
        is_found = self._record is not None and self._is_ours(request)
        resume: Command[Any] | None = None if is_found else Command(resume={interrupt_id: answer})
        if self._record is not None:
            with late_answers():
                self._record.answer(self._thread_id, interrupt_id, answer, by, **self._acceptance(run, interrupt_id))
        return AcceptedAnswer(interrupt_id, resume)

    def due(self, accepted: AcceptedAnswer) -> tuple[Any, bool]:
        """Return the input of the run that carries an answer out, and whether it is known to be left to carry out.

        Another writer may have carried it out while this one waited for the lease.
        """
        if self._record is None:
            return accepted.input, True
        is_due = accepted.interrupt_id in self.recorded()
        return (accepted.input if is_due else None), is_due

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

    def record_resume(self, state: StateSnapshot, resume: Any, config: RunnableConfig) -> None:
        """Check the answers that a run is given, and record them before it acts on them.

        If another one is on record, the run is refused when it begins.

        Args:
            state: the state of the thread.
            resume: the `resume` of LangGraph's `Command`: an answer, or answers by interrupt id.
            config: the config of the run.

        Raises:
            BadAnswer: it does not fit. Nothing was saved, and the request still waits.
            NotAnswered: the request is closed.
        """
        waiting = pending_of(state)
        names_one = isinstance(resume, Mapping) and any(request.interrupt_id in resume for request in waiting)
        # LangGraph refuses an answer that names no request if several wait.
        answers = resume if names_one else {request.interrupt_id: resume for request in waiting if len(waiting) == 1}
        answered = [request for request in waiting if request.interrupt_id in answers]
        for request in answered:
            _check_form(request, answers[request.interrupt_id])
        if self._record is None:
            return
        run_id, anywhere = run_of(config), bool(config["configurable"].get("checkpoint_id"))
        for request in answered:
            id_, answer = request.interrupt_id, answers[request.interrupt_id]
            self._record.settle(self._thread_id, id_, answer, run_id=run_id, anywhere=anywhere)

    def _acceptance(self, run: NewRun | None, interrupt_id: str) -> dict[str, Any]:
        """Return what accepts the run that carries an answer out, if the answer is the first."""
        if run is None or self._accepted is None:
            return {}
        run = replace(run, input={"interrupt_id": interrupt_id})
        return {"run_id": run.run_id, "also": self._accepted.acceptance(run, answers=interrupt_id)}

    def _is_ours(self, request: Pending) -> bool:
        return self._profile.finds_answer(request.value)

    def _check(self, request: Pending, answer: Any) -> None:
        if not self._is_ours(request):
            return _check_form(request, answer)
        forms = self._profile.forms or AnswerForms({})
        form = VERDICT_FORM if request.kind == "doubt" else forms.of(request.name)
        if not isinstance(answer, Mapping):
            raise BadAnswer(f'An answer is a dict with a "type", such as {{"type": "approve"}}; found {answer!r}.')
        is_missing = request.kind == "approval" and request.name not in forms.tools
        if is_missing and answer.get("type") in {"approve", "edit"}:
            raise BadAnswer(
                f"This agent has no tool {request.name!r}, so it cannot run the call. Approve it with the agent that "
                "made the call, or refuse it. Nothing was saved, and the call still waits."
            )
        try:
            form.validate(answer)
        except ValidationError as error:
            raise form.refusal(request.name, error) from None
        return None

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


def _check_form(request: Pending, answer: Any) -> None:
    if problem := answer_problem(request.value, request.schema, answer):
        raise BadAnswer(f"This answer does not fit: {problem}. Nothing was saved, and the request still waits.")


@contextmanager
def late_answers() -> Iterator[None]:
    """Raise `NothingWaits` for an answer that came too late. It says who was first, if that is known."""
    try:
        yield
    except NotAnswered as error:
        raise NothingWaits(str(error)) from error
    except UnknownInterruptError as error:
        raise NothingWaits(f"This was answered or closed a moment ago ({error}).") from error
