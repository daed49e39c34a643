"""When nobody knows whether a tool took effect: the step that asks a person, and puts the answer where it belongs.

Until then an answer stands in its place that says so, and under the same id. A message that comes before anybody has
decided leaves it there: the model reads that nobody knows, and the ledger goes on saying that somebody should look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Event
from typing import Annotated, Any, Final, Literal

from langchain_core.messages import AIMessage, AnyMessage, ToolCall, ToolMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.types import Interrupt
from pydantic import Discriminator, Field, WithJsonSchema
from typing_extensions import TypedDict

from holdfast.checkpoints import HoldfastSaver, apart, running_saver
from holdfast.checkpoints.effects.states import (
    Effect,
    Ended,
    Entry,
    InDoubt,
    Why,
)
from holdfast.graph.approvals.decisions import Person
from holdfast.graph.approvals.policy import Given, Request, aask, ask
from holdfast.graph.approvals.schema import form_of, one_of
from holdfast.graph.messages import CallGroup, calls_of, read
from holdfast.graph.nodes.base import Step
from holdfast.graph.tools.execute import Performance, answer_id, effect_of
from holdfast.graph.tools.results import (
    APPROVAL,
    EFFECT,
    Ready,
    Update,
    answer_in,
    doubt_message,
    error_message,
    reason_of,
    signed,
    update_of,
)


class DoubtTask(TypedDict):
    """What one task gets: a call that is in doubt, with the arguments that it ran with."""

    call: ToolCall
    message_id: str
    approval: dict[str, Any] | None


class EffectInDoubt(TypedDict):
    """What a person is shown: the value of the interrupt."""

    type: Literal["effect_in_doubt"]
    tool_call_id: str
    name: str
    args: dict[str, Any]
    description: str
    why: str
    since: str
    """ISO 8601, UTC."""
    result: str | None
    """What came of it, if that is known."""


class RunAgain(Person):
    """It did not happen, or the service knows the key of the call: run it again."""

    type: Literal["run_again"]


class Happened(Person):
    """It took effect, and this is what came of it."""

    type: Literal["happened"]
    result: str | None = Field(None, description="what the model reads as the result")


class Skip(Person):
    """It is not to be run, whatever happened."""

    type: Literal["skip"]


_ASKED: Final[Mapping[Why, str]] = {"arguments": "Run {} as well", "elsewhere": "Run {} here as well"}

VERDICTS: Final = ("run_again", "happened", "skip")
_FORM: Final = one_of(*map(form_of, (RunAgain, Happened, Skip)))
VERDICT: Final = Annotated[RunAgain | Happened | Skip, Discriminator("type"), WithJsonSchema(_FORM)]


def open_doubts(messages: Sequence[AnyMessage]) -> list[DoubtTask]:
    """The calls of the newest step of which nobody knows whether they took effect."""
    answers: list[ToolMessage] = []
    for message in reversed(messages):
        if not isinstance(message, ToolMessage):
            return doubts_among(message, answers) if isinstance(message, AIMessage) else []
        answers.append(message)
    return []


def left_doubts(messages: Sequence[AnyMessage]) -> list[DoubtTask]:
    """All calls of a thread of which nobody has said whether they took effect: asked about again when a turn ends."""
    asked = [item for item in read(messages) if isinstance(item, CallGroup)]
    return [task for item in asked for task in doubts_among(item.message, list(item.answers.values()))]


def is_over(messages: Sequence[AnyMessage]) -> bool:
    """Whether the agent has had its word, and what came after it was a person's about an older call."""
    settled = any(isinstance(message, ToolMessage) and EFFECT in message.additional_kwargs for message in messages)
    return settled and isinstance(messages[-1], AIMessage) and not calls_of(messages[-1])


def doubts_among(message: AIMessage, answers: Sequence[ToolMessage]) -> list[DoubtTask]:
    """A task for each call of a message whose answer says that nobody knows."""
    open_ = {
        answer.tool_call_id: answer
        for answer in answers
        if answer.additional_kwargs.get(EFFECT, {}).get("state") == "in_doubt"
    }
    tasks = []
    for call in calls_of(message):
        if call["type"] == "tool_call" and (answer := open_.get(call["id"] or "")):
            approval = answer.additional_kwargs.get(APPROVAL)
            args = (approval or {}).get("args", call["args"])
            task = DoubtTask(call=ToolCall(**{**call, "args": args}), message_id=message.id or "", approval=approval)
            tasks.append(task)
    return tasks


def as_approved(saver: HoldfastSaver, ready: Ready, entry: Entry) -> Ready:
    """A call as it was run: with the arguments that a person gave it, and their approval."""
    found = None if entry.interrupt_id is None else saver.interrupts.recorded(entry.thread_id, entry.interrupt_id)
    if found is None or not isinstance(found.answer, Mapping):
        return ready
    at = datetime.fromtimestamp(found.at, UTC).isoformat(timespec="seconds")
    approval = {"decision": found.answer.get("type"), "by": found.by, "at": at}
    match found.answer:
        case {"type": "edit", "edited_action": {"args": args}}:
            return replace(ready, call=ToolCall(**{**ready.call, "args": args}), approval={**approval, "args": args})
        case {"type": "approve"}:
            return replace(ready, approval=approval)
    return ready  # it ran again because a person had decided so


def doubt_node(tools: Mapping[str, BaseTool], clock: Callable[[], datetime]) -> Runnable[DoubtTask, Update]:
    """Ask a person about a call that is in doubt, and do what they say."""

    def step(task: DoubtTask, config: RunnableConfig) -> Update:
        case = _Case.of(task, config, tools, clock)
        found = case.look()
        if not isinstance(found, InDoubt):
            return found
        decided = case.decided(found, ask(case.question(found)))
        return decided.run() if isinstance(decided, Performance) else decided

    async def astep(task: DoubtTask, config: RunnableConfig) -> Update:
        case = _Case.of(task, config, tools, clock)
        found = await apart(case.look)
        if not isinstance(found, InDoubt):
            return found
        begun: list[Update | Performance] = []
        given = await aask(case.question(found))
        try:
            await case.saver.offload(lambda: begun.append(case.decided(found, given)))
        except asyncio.CancelledError:
            if begun and isinstance(begun[0], Performance):
                await case.saver.offload(begun[0].give_back)
            raise
        [decided] = begun
        return await decided.arun(case.saver.offload) if isinstance(decided, Performance) else decided

    return Step(step, astep, name="doubt")


@dataclass(frozen=True)
class _Case:
    """A call that is in doubt."""

    ready: Ready
    effect: Effect
    saver: HoldfastSaver
    config: RunnableConfig
    at: str

    @classmethod
    def of(
        cls, task: DoubtTask, config: RunnableConfig, tools: Mapping[str, BaseTool], clock: Callable[[], datetime]
    ) -> _Case:
        saver = running_saver()
        if not isinstance(saver, HoldfastSaver):
            raise TypeError("A call can be in doubt only where a Holdfast checkpointer keeps the ledger.")
        # A tool that is gone cannot run again; everything else can be decided about.
        tool = tools.get(task["call"]["name"]) or _Gone(name=task["call"]["name"], description="It is gone.")
        ready = Ready(tool, task["call"], task["approval"])
        effect = effect_of(ready, task["message_id"], config)
        at = clock().astimezone(UTC).isoformat(timespec="seconds")
        return cls(ready, effect, saver, config, at)

    @property
    def id(self) -> str:
        return answer_id(self.effect)

    @property
    def _asked(self) -> str:
        """The id of the question that this task asks."""
        return Interrupt.from_ns(None, self.config["configurable"]["checkpoint_ns"]).id

    def look(self, give_up: Event | None = None) -> InDoubt | Update:
        """What is known by now: if it has ended after all, its answer, and nobody is asked."""
        match self.saver.effects.outcome(self.effect, give_up):
            case InDoubt(entry=entry) if entry.interrupt_id == self._asked:
                return self._still_open()  # it was decided under this question, and is in doubt once more
            case InDoubt() as doubt:
                return doubt
            case Ended(value=value):
                return value  # type: ignore[no-any-return]
        text = f"Nothing is on record of this call of {self.ready.call['name']}. Look before making it again."
        return update_of(error_message(self.ready.call, text), self.id)

    def question(self, doubt: InDoubt) -> Request:
        """What a person is asked."""
        result = answer_in(doubt.value, self.ready.call)
        plain = f"{self.ready.call['name']}({', '.join(f'{k}={v!r}' for k, v in self.ready.call['args'].items())})"
        shown = EffectInDoubt(
            type="effect_in_doubt",
            tool_call_id=self.ready.call["id"] or "",
            name=self.ready.call["name"],
            args=self.ready.call["args"],
            description=f"{_ASKED.get(doubt.why, 'Did {} take effect').format(plain)} ({reason_of(doubt.why)})",
            why=doubt.why,
            since=datetime.fromtimestamp(doubt.entry.started_at, UTC).isoformat(timespec="seconds"),
            result=None if result is None else result.text,
        )
        return Request(shown, VERDICT, shown["name"], VERDICTS)

    def decided(self, doubt: InDoubt, given: Given) -> Update | Performance:
        """What a person's decision comes to: the answer to the call, or one more run of it."""
        answer: Any = given.answer
        if isinstance(answer, RunAgain):
            return self._run_again(doubt, given, answer)
        if isinstance(answer, Happened):
            known = answer_in(doubt.value, self.ready.call)
            said = answer.result or (known.text if known is not None else "It was done; no more is known.")
            message = ToolMessage(said, name=self.ready.call["name"], tool_call_id=self.ready.call["id"])
        else:
            text = f"Not run: a person decided to leave this call. {_over(doubt)} Do not make it again unasked."
            message = error_message(self.ready.call, text)
        update = self._settled(message, answer)
        if doubt.entry.state == "in_doubt":
            skipped = isinstance(answer, Skip)
            if not self.saver.effects.settle(doubt, update, skipped=skipped, by=answer.by):
                return self._still_open()
        return update

    def _run_again(self, doubt: InDoubt, given: Given, answer: RunAgain) -> Update | Performance:
        if isinstance(self.ready.tool, _Gone):
            text = f"Not run again: there is no tool '{self.ready.call['name']}' any more. {_over(doubt)}"
            return self._settled(error_message(self.ready.call, text), answer)
        effect = replace(self.effect, interrupt_id=given.interrupt_id, answer_digest=given.digest)
        started = self.saver.effects.run_again(doubt, effect, by=answer.by)
        if started is None:
            return self._still_open()
        return Performance(self.ready, self.config, effect, self.saver.effects, started)

    def _still_open(self) -> Update:
        """It has changed since the person was asked: look again, and ask again if it must be."""
        return update_of(doubt_message(self.ready, "owner", self.id), self.id)

    def _settled(self, message: ToolMessage, answer: Any) -> Update:
        message = signed(self.ready, message)
        decision = {"state": "settled", "decision": answer.type, "by": answer.by, "at": answer.at or self.at}
        kwargs = {**message.additional_kwargs, EFFECT: decision}
        return update_of(message.model_copy(update={"additional_kwargs": kwargs}), self.id)


class _Gone(BaseTool):
    """Stands for a tool that the agent has no more."""

    def _run(self, **arguments: Any) -> Any:
        raise NotImplementedError


def _over(doubt: InDoubt) -> str:
    """What is known, in one sentence."""
    if doubt.entry.state == "in_doubt":
        return "It is not known whether it took effect before."
    return f"It did run before: {reason_of(doubt.why)}."
