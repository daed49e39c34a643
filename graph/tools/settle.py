"""A call in doubt: the question whether it took effect, and what a person's verdict does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Event
from typing import Annotated, Any, Final, Literal

from langchain_core.messages import ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from pydantic import Discriminator, Field
from typing_extensions import TypedDict

from holdfast.checkpoints import Effect, Ended, HoldfastSaver, InDoubt, Why
from holdfast.checkpoints.interrupts.pending import plain_call
from holdfast.graph.approvals.ask import RecordedAnswer, Request, RequestId, ask_person, interrupt_id_of
from holdfast.graph.approvals.decisions import AnswerForm, PersonAnswer
from holdfast.graph.approvals.schema import model_schema, union_schema
from holdfast.graph.messages import EFFECT
from holdfast.graph.plans import Io
from holdfast.graph.tools.execute import EffectRun, Work, answer_id
from holdfast.graph.tools.results import (
    Ready,
    Update,
    answer_in,
    doubt_message,
    error_message,
    reason_of,
    signed,
    update_of,
)


class EffectInDoubt(TypedDict):
    """The value of the interrupt of a call in doubt: what clients show to a person."""

    type: Literal["effect_in_doubt"]
    tool_call_id: str
    name: str
    args: dict[str, Any]
    description: str
    why: str
    since: str
    """ISO 8601, UTC."""
    result: str | None
    """The result, if one is known."""


# Clients see the docstrings and descriptions of the models below, in the JSON schema of an answer.


class RunAgain(PersonAnswer):
    """It did not happen, or the service knows the key of the call: run it again."""

    type: Literal["run_again"]


class Happened(PersonAnswer):
    """It took effect, and this is what came of it."""

    type: Literal["happened"]
    result: str | None = Field(None, description="what the model reads as the result")


class Skip(PersonAnswer):
    """It is not to be run, whatever happened."""

    type: Literal["skip"]


VERDICT_FORM: Final = AnswerForm(
    Annotated[RunAgain | Happened | Skip, Discriminator("type")],
    union_schema(*map(model_schema, (RunAgain, Happened, Skip))),
    ("run_again", "happened", "skip"),
)

_QUESTIONS: Final[Mapping[Why, str]] = {"arguments": "Run {} as well", "elsewhere": "Run {} here as well"}


def as_approved(saver: HoldfastSaver, ready: Ready, interrupt_id: str | None, thread_id: str) -> Ready:
    """Return a call as it ran: with the arguments of a person's edit, and with the approval.

    Args:
        saver: the checkpointer that holds the answers. It blocks.
        ready: the call as the model made it.
        interrupt_id: the request under whose answer the call ran, as the ledger has it.
        thread_id: the thread of the request.
    """
    recorded = None if interrupt_id is None else saver.interrupts.recorded(thread_id, interrupt_id)
    if recorded is None or not isinstance(recorded.answer, Mapping):
        return ready
    at = recorded.at.isoformat(timespec="seconds")
    approval = {"decision": recorded.answer.get("type"), "by": recorded.by, "at": at}
    match recorded.answer:
        case {"type": "edit", "edited_action": {"args": args}}:
            return replace(ready, call=ToolCall(**{**ready.call, "args": args}), approval={**approval, "args": args})
        case {"type": "approve"}:
            return replace(ready, approval=approval)
    return ready  # the answer was a verdict: to run the call again


@dataclass(frozen=True)
class DoubtCase:
    """A call in doubt. The methods `current` and `settle` block."""

    ready: Ready
    effect: Effect
    saver: HoldfastSaver
    config: RunnableConfig
    now: str
    """ISO 8601, UTC."""
    part: str | None = None
    """The part of the task that asks, if the task may ask more than this."""
    work: Work | None = None
    """Calls the tool; `None`: directly."""

    async def resolve(self, io: Io) -> Update:
        """Ask a person, carry the verdict out, and return the update with the answer to the call.

        The update says that the call is in doubt if its entry has changed meanwhile, or if it ran again to no avail.

        Raises:
            GraphInterrupt, BadAnswer, AnsweredBefore: as `ask_person`.
        """
        doubt = await io.wait(self.current)
        if not isinstance(doubt, InDoubt):
            return doubt
        recorded = await ask_person(
            io, self.request(doubt), self.config, RequestId.of_part(self.config, self._part_of(doubt))
        )
        begun: list[Update | EffectRun] = []
        try:
            await io.call(lambda: begun.append(self.settle(doubt, recorded)))
        except asyncio.CancelledError:
            if begun and isinstance(begun[0], EffectRun):
                await io.call(begun[0].give_back)
            raise
        [outcome] = begun
        return await outcome.execute(io) if isinstance(outcome, EffectRun) else outcome

    @property
    def id(self) -> str:
        return answer_id(self.effect)

    def _part_of(self, doubt: InDoubt) -> str | None:
        # Each attempt is asked about under an id of its own.
        return None if self.part is None else f"{self.part}\0{doubt.why}\0{doubt.entry.attempt}"

    def current(self, give_up: Event | None = None) -> InDoubt | Update:
        """Look the call up in the ledger. Return the update with its answer if it is no longer in doubt."""
        match self.saver.effects.outcome(self.effect, give_up):
            case InDoubt() as doubt if doubt.entry.interrupt_id == interrupt_id_of(self.config, self._part_of(doubt)):
                return self._still_open()  # it was run again after this request, and is in doubt once more
            case InDoubt() as doubt:
                return doubt
            case Ended(value=value):
                return value  # type: ignore[no-any-return]
        text = f"Nothing is on record of this call of {self.ready.call['name']}. Look before making it again."
        return update_of(error_message(self.ready.call, text), self.id)

    def request(self, doubt: InDoubt) -> Request:
        """Return the request for a verdict."""
        call, result = self.ready.call, answer_in(doubt.value, self.ready.call)
        question = _QUESTIONS.get(doubt.why, "Did {} take effect").format(plain_call(call["name"], call["args"]))
        value = EffectInDoubt(
            type="effect_in_doubt",
            tool_call_id=call["id"] or "",
            name=call["name"],
            args=call["args"],
            description=f"{question} ({reason_of(doubt.why)})",
            why=doubt.why,
            since=doubt.entry.started_at.isoformat(timespec="seconds"),
            result=None if result is None else result.text,
        )
        return Request(value, VERDICT_FORM, call["name"])

    def settle(self, doubt: InDoubt, recorded: RecordedAnswer) -> Update | EffectRun:
        """Record the verdict in the ledger. Return the update with the answer to the call, or the run to execute."""
        verdict: RunAgain | Happened | Skip = recorded.answer
        if isinstance(verdict, RunAgain):
            return self._run_again(doubt, recorded, verdict)
        if isinstance(verdict, Happened):
            known = answer_in(doubt.value, self.ready.call)
            text = verdict.result or (known.text if known is not None else "It was done; no more is known.")
            message = ToolMessage(text, name=self.ready.call["name"], tool_call_id=self.ready.call["id"])
        else:
            text = (
                f"Not run: a person decided to leave this call. {_what_is_known(doubt)} Do not make it again unasked."
            )
            message = error_message(self.ready.call, text)
        update = self._settled(message, verdict)
        if doubt.entry.state == "in_doubt":
            skipped = isinstance(verdict, Skip)
            if not self.saver.effects.settle(doubt, update, skipped=skipped, by=verdict.by):
                return self._still_open()
        return update

    def _run_again(self, doubt: InDoubt, recorded: RecordedAnswer, verdict: RunAgain) -> Update | EffectRun:
        if isinstance(self.ready.tool, MissingTool):
            name = self.ready.call["name"]
            text = f"Not run again: there is no tool '{name}' any more. {_what_is_known(doubt)}"
            return self._settled(error_message(self.ready.call, text), verdict)
        effect = replace(self.effect, interrupt_id=recorded.interrupt_id, answer_digest=recorded.digest)
        started = self.saver.effects.run_again(doubt, effect, by=verdict.by)
        if started is None:
            return self._still_open()
        return EffectRun(self.ready, self.config, self.work, effect, self.saver.effects, started)

    def _still_open(self) -> Update:
        """Return the update for a call whose entry has changed since the request: the next task looks it up again."""
        return update_of(doubt_message(self.ready, "owner", self.id), self.id)

    def _settled(self, message: ToolMessage, verdict: RunAgain | Happened | Skip) -> Update:
        message = signed(self.ready, message)
        decision = {
            "state": "settled",
            "decision": verdict.type,
            "by": verdict.by,
            "at": verdict.at or self.now,
        }
        kwargs = {**message.additional_kwargs, EFFECT: decision}
        return update_of(message.model_copy(update={"additional_kwargs": kwargs}), self.id)


class MissingTool(BaseTool):
    """The place of a tool that the agent no longer has."""

    def _run(self, **arguments: Any) -> Any:
        raise NotImplementedError


def _what_is_known(doubt: InDoubt) -> str:
    if doubt.entry.state == "in_doubt":
        return "It is not known whether it took effect before."
    return f"It did run before: {reason_of(doubt.why)}."
