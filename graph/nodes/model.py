"""The model's step and one tool call's step. What is decided is written once; only the I/O has an async twin."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, ToolCall, ToolMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.graph import END
from langgraph.types import Send
from typing_extensions import TypedDict

from holdfast.checkpoints import Answered, HoldfastSaver, saver_of
from holdfast.checkpoints.langgraph_internals import NS_SEP
from holdfast.graph.approvals.arguments import arguments_problem
from holdfast.graph.approvals.policy import (
    NOBODY,
    Answer,
    Approve,
    Before,
    Edit,
    Given,
    Policy,
    Reject,
    Request,
    Respond,
    ToolStep,
    aask,
    approval_policy,
    ask,
    before,
    request_of,
)
from holdfast.graph.context import Context, leaving, seen
from holdfast.graph.context.summary import shown
from holdfast.graph.messages import Call, unanswered_before, unclosed_calls, with_unique_ids
from holdfast.graph.nodes.base import Step
from holdfast.graph.nodes.in_doubt import is_over, left_doubts, open_doubts
from holdfast.graph.state import State, summary_of
from holdfast.graph.tools.execute import aperform, off, perform, refused
from holdfast.graph.tools.results import (
    APPROVAL,
    Ready,
    Update,
    error_message,
    update_of,
)


class ToolTask(TypedDict):
    """What one tool task gets: a call, and the id of the message that made it."""

    call: Call
    message_id: str


# --- where a turn goes next ---


def before_model(context: Context) -> Callable[[State], str]:
    """A run starts with the model, unless the history may have a gap or is too long, or nothing was said at all."""

    def route(state: State) -> str:
        messages = state["messages"]
        if not messages:
            return END
        return "settle" if unclosed_calls(messages) or unanswered_before(messages) else once_whole(context)(messages)

    return route


def once_whole(context: Context) -> Callable[[Sequence[AnyMessage]], Literal["shorten", "model"]]:
    """Where a turn goes on with a history that has no gap."""
    return lambda messages: "shorten" if leaving(messages, context) else "model"


def after_model(state: State) -> list[Send] | str:
    """One task for each call of the message that the model has just written; the turn ends where there is none."""
    messages = state["messages"]
    if doubts := open_doubts(messages):
        return [Send("doubt", task) for task in doubts]
    match unclosed_calls(messages):
        case []:
            return [Send("doubt", task) for task in left_doubts(messages)] or END
        case [asked] if asked.message is messages[-1]:
            message_id = asked.message.id or ""
            return [Send("tool", ToolTask(call=call, message_id=message_id)) for call in asked.calls]
        case _:
            # The model was not asked, because somebody left calls open by hand.
            return "settle"


# --- the model ---


def model_node(
    model: Runnable[LanguageModelInput, AIMessage], prompt: str | None, context: Context
) -> Runnable[State, Update]:
    """Ask the model: the prompt, which is not kept in the thread, the summary, and the newest messages that fit."""

    def view(state: State) -> list[BaseMessage]:
        return [*shown(prompt, summary_of(state)), *seen(state["messages"], context)]

    def note(config: RunnableConfig) -> None:
        saver = saver_of(config)
        # As a part of another graph its prompt is not the one of the thread.
        if (
            prompt
            and isinstance(saver, HoldfastSaver)
            and NS_SEP not in config["configurable"].get("checkpoint_ns", "")
        ):
            saver.note_prompt(config, prompt)

    def waits(state: State) -> bool:
        # No provider takes a call without its answer, and what a person is asked about has none yet; `after_model`
        # knows where to go instead.
        messages = state["messages"]
        return bool(unclosed_calls(messages) or open_doubts(messages) or is_over(messages))

    def step(state: State, config: RunnableConfig) -> Update:
        if waits(state):
            return {}
        note(config)
        return _written(model.invoke(view(state), config))

    async def astep(state: State, config: RunnableConfig) -> Update:
        if waits(state):
            return {}
        note(config)
        return _written(await model.ainvoke(view(state), config))

    return Step(step, astep, name="model")


def _written(message: AIMessage) -> Update:
    return {"messages": [with_unique_ids(message)]}


# --- one tool call ---


@dataclass(frozen=True)
class _Asked:
    """A call that a person is to be asked about."""

    tool: BaseTool
    policy: Policy
    call: ToolCall

    @property
    def question(self) -> Request:
        return request_of(self.tool, self.policy, self.call)


def tool_node(tools: Mapping[str, BaseTool], clock: Callable[[], datetime]) -> Runnable[ToolTask, Update]:
    """Answer one call: check it, ask a person if the tool wants that, run it. Ends in an answer or a pause."""

    def step(task: ToolTask, config: RunnableConfig) -> Update:
        ready = _prepare(task["call"], tools)
        if not isinstance(ready, _Asked):
            ready = _with(ready, before(config))
        if isinstance(ready, _Asked):
            given = ask(ready.question)
            decided = _decide(ready, given, clock)
            if isinstance(decided, ToolMessage):
                return update_of(refused(Ready(ready.tool, ready.call), decided, task["message_id"], config))
            ready = decided
        return update_of(ready) if isinstance(ready, ToolMessage) else perform(ready, task["message_id"], config)

    async def astep(task: ToolTask, config: RunnableConfig) -> Update:
        ready = _prepare(task["call"], tools)
        if not isinstance(ready, _Asked):
            ready = _with(ready, await off(config, before, config))
        if isinstance(ready, _Asked):
            given = await aask(ready.question)
            decided = _decide(ready, given, clock)
            if isinstance(decided, ToolMessage):
                asked = Ready(ready.tool, ready.call)
                return update_of(await off(config, refused, asked, decided, task["message_id"], config))
            ready = decided
        if isinstance(ready, ToolMessage):
            return update_of(ready)
        return await aperform(ready, task["message_id"], config)

    return ToolStep(tools, step, astep)


def _prepare(call: Call, tools: Mapping[str, BaseTool]) -> Ready | _Asked | ToolMessage:
    """The call as it may run, or as a person is to be asked about it, or the answer to one that may not run."""
    if call["type"] == "invalid_tool_call":
        reason = f" ({call['error'].strip()})" if call["error"] else ""
        return error_message(call, f"Not run: the arguments are not valid JSON{reason}. Write the call again.")
    tool = tools.get(call["name"])
    if tool is None:
        known = f"The tools are: {', '.join(tools)}." if tools else "There are no tools."
        return error_message(call, f"Not run: there is no tool '{call['name']}'. {known}")
    # Before a person is asked, who should not have to read a call that cannot run.
    if problem := arguments_problem(tool, call["args"]):
        return error_message(call, f"Not run: the arguments do not fit {tool.name}: {problem}.")
    policy = approval_policy(tool)
    return Ready(tool, call) if policy is None else _Asked(tool, policy, call)


def _with(ready: Ready | ToolMessage, known: Before) -> Ready | _Asked | ToolMessage:
    """A call with what a person had been asked about it, although by now nobody would be: its tool has changed."""
    if isinstance(ready, ToolMessage):
        return _in_vain(ready, known.decided)
    # What was asked is answered before it runs, and a refusal stays one.
    return _Asked(ready.tool, Policy(), ready.call) if known.asked else ready


def _in_vain(answer: ToolMessage, decided: Answered | None) -> ToolMessage:
    """The answer to a call that may not run, with what a person had decided while it still might: the tool has changed
    since, or is gone."""
    if decided is None or decided.expired or not isinstance(decided.answer, Mapping):
        return answer
    decision = decided.answer.get("type")
    at = datetime.fromtimestamp(decided.at, UTC).isoformat(timespec="seconds")
    text = f"{answer.text} {decided.by or 'A person'} had decided about it ({decision}); that was not carried out."
    approval = {"decision": decision, "by": decided.by, "at": at}
    return answer.model_copy(update={"content": text, "additional_kwargs": {APPROVAL: approval}})


def _decide(asked: _Asked, given: Given, clock: Callable[[], datetime]) -> Ready | ToolMessage:
    tool, call = asked.tool, asked.call
    answer: Answer = given.answer
    approval = _record(answer, clock)
    match answer:
        case Approve():
            return Ready(tool, call, approval, given)
        case Edit():
            args = answer.edited_action.args
            return Ready(tool, ToolCall(**{**call, "args": args}), {**approval, "args": args}, given)
        case Reject(by=by) if by == NOBODY:
            text = f"Not run: {answer.message}. Do not make this call again unless the user asks for it."
            return error_message(call, text, {**approval, "decision": "expired", "by": None})
        case Reject():
            reason = f"The reason given: {answer.message}" if answer.message else "No reason was given."
            text = f"Not run: a person refused this call. {reason} Do not make it again unless the user asks for it."
            return error_message(call, text, approval)
        case Respond():
            return ToolMessage(
                answer.message, name=call["name"], tool_call_id=call["id"], additional_kwargs={APPROVAL: approval}
            )


def _record(answer: Answer, clock: Callable[[], datetime]) -> dict[str, Any]:
    at = answer.at or clock().astimezone(UTC).isoformat(timespec="seconds")
    return {"decision": answer.type, "by": answer.by, "at": at}
