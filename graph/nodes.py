"""The model's step and one tool call's step. What is decided is written once; only the I/O has an async twin."""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, SystemMessage, ToolCall, ToolMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.tools import BaseTool, ToolException
from langgraph.errors import GraphBubbleUp, GraphInterrupt, is_invalid_resume
from langgraph.types import Command, Send
from typing_extensions import TypedDict

from graph.approval import (
    NOBODY,
    Answer,
    Approve,
    Edit,
    Given,
    Policy,
    Reject,
    Respond,
    ToolStep,
    aask,
    approval_policy,
    ask,
)
from graph.arguments import arguments_problem
from graph.calls import Call, unanswered_before, unsettled, with_unique_ids
from graph.state import State

# Where a ToolMessage says who decided about its call: additional_kwargs["approval"] =
# {"decision", "by", "at"} and, where the call was edited, "args": what ran in place of what the model wrote.
APPROVAL = "approval"

Update = dict[str, Any] | Command[Any]


class ToolTask(TypedDict):
    """What one tool task gets: a call, and the id of the message that made it."""

    call: Call
    message_id: str


# --- where a turn goes next ---


def before_model(state: State) -> Literal["settle", "model", "__end__"]:
    """A run starts with the model, unless the history may have a gap, or nothing was said at all."""
    messages = state["messages"]
    if not messages:
        return "__end__"
    return "settle" if unsettled(messages) or unanswered_before(messages) else "model"


def after_model(state: State) -> list[Send] | Literal["settle", "__end__"]:
    """One task for each call of the message that the model has just written; the turn ends where there is none."""
    messages = state["messages"]
    match unsettled(messages):
        case []:
            return "__end__"
        case [asked] if asked.message is messages[-1]:
            message_id = asked.message.id or ""
            return [Send("tool", ToolTask(call=call, message_id=message_id)) for call in asked.calls]
        case _:
            # The model was not asked, because somebody left calls open by hand.
            return "settle"


# --- the model ---


def model_node(model: Runnable[LanguageModelInput, AIMessage], prompt: str | None) -> Runnable[State, Update]:
    """Ask the model, with the prompt in front of the thread; the prompt itself is not kept in the thread."""
    system = [SystemMessage(prompt)] if prompt else []

    def step(state: State, config: RunnableConfig) -> Update:
        if unsettled(state["messages"]):
            return {}  # no provider takes a call without its answer; `after_model` knows where to go instead
        return _written(model.invoke([*system, *state["messages"]], config))

    async def astep(state: State, config: RunnableConfig) -> Update:
        if unsettled(state["messages"]):
            return {}
        return _written(await model.ainvoke([*system, *state["messages"]], config))

    return RunnableLambda(step, astep, name="model")


def _written(message: AIMessage) -> Update:
    return {"messages": [with_unique_ids(message)]}


# --- one tool call ---


@dataclass(frozen=True)
class _Ready:
    """A call that may run, and what a person decided about it."""

    tool: BaseTool
    call: ToolCall
    approval: dict[str, Any] | None = None
    given: Given | None = None


@dataclass(frozen=True)
class _Question:
    """A call that a person is to be asked about."""

    tool: BaseTool
    policy: Policy
    call: ToolCall


def tool_node(tools: Mapping[str, BaseTool], clock: Callable[[], datetime]) -> Runnable[ToolTask, Update]:
    """Answer one call: check it, ask a person if the tool wants that, run it. Ends in an answer or a pause."""

    def step(task: ToolTask, config: RunnableConfig) -> Update:
        ready = _prepare(task["call"], tools)
        if isinstance(ready, _Question):
            ready = _decide(ready, ask(ready.tool, ready.policy, ready.call), clock)
        if isinstance(ready, ToolMessage):
            return _update(ready)
        try:
            result = ready.tool.invoke(ready.call, config)
        except Exception as error:  # noqa: BLE001 - whatever a tool raises, its call gets an answer
            result = _failure(ready, error)
        return _result(ready, result)

    async def astep(task: ToolTask, config: RunnableConfig) -> Update:
        ready = _prepare(task["call"], tools)
        if isinstance(ready, _Question):
            ready = _decide(ready, await aask(ready.tool, ready.policy, ready.call), clock)
        if isinstance(ready, ToolMessage):
            return _update(ready)
        try:
            result = await ready.tool.ainvoke(ready.call, config)
        except Exception as error:  # noqa: BLE001 - whatever a tool raises, its call gets an answer
            result = _failure(ready, error)
        return _result(ready, result)

    return ToolStep(tools, step, astep)


def _prepare(call: Call, tools: Mapping[str, BaseTool]) -> _Ready | _Question | ToolMessage:
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
    return _Ready(tool, call) if policy is None else _Question(tool, policy, call)


def _decide(question: _Question, given: Given, clock: Callable[[], datetime]) -> _Ready | ToolMessage:
    tool, call, answer = question.tool, question.call, given.answer
    approval = _record(answer, clock)
    match answer:
        case Approve():
            return _Ready(tool, call, approval, given)
        case Edit():
            args = answer.edited_action.args
            return _Ready(tool, ToolCall(**{**call, "args": args}), {**approval, "args": args}, given)
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


def _failure(ready: _Ready, error: Exception) -> ToolMessage:
    """The answer to a call whose tool raised. What LangGraph itself raises goes on its way."""
    if isinstance(error, GraphInterrupt) and ready.approval is not None:
        # One pause a task: a late second click on the approval would answer this other question unseen.
        text = f"{ready.tool.name} asked a question of its own after it was approved, and stopped there. A tool that "
        return error_message(ready.call, text + "needs approval cannot pause a second time.")
    if isinstance(error, GraphBubbleUp) or is_invalid_resume(error):
        raise error
    text = str(error) if isinstance(error, ToolException) else f"{type(error).__name__}: {error}"
    return error_message(ready.call, f"{ready.tool.name} failed. {text}")


def _result(ready: _Ready, result: Any) -> Update:
    if isinstance(result, Command):
        return _command_result(ready, result)
    if not isinstance(result, ToolMessage):
        result = ToolMessage(str(result), name=ready.tool.name, tool_call_id=ready.call["id"])
    return _update(_signed(ready, result))


def _command_result(ready: _Ready, command: Command[Any]) -> Update:
    """A tool may answer with a Command if its messages contain the answer to its call."""
    update = command.update if isinstance(command.update, dict) else {}
    messages = update.get("messages", [])
    if not any(isinstance(m, ToolMessage) and m.tool_call_id == ready.call["id"] for m in messages):
        text = f"{ready.tool.name} changed the state without answering its call; nothing of that was kept."
        return _update(_signed(ready, error_message(ready.call, text)))
    signed = [_signed(ready, m) if isinstance(m, ToolMessage) else m for m in messages]
    return Command(graph=command.graph, goto=command.goto, resume=command.resume, update={**update, "messages": signed})


def _signed(ready: _Ready, message: ToolMessage) -> ToolMessage:
    """The tool's message with what a person decided; of an edited call, the model is told what ran."""
    if ready.approval is None:
        return message
    content = message.content
    if "args" in ready.approval:
        note = f"A person changed this call; it ran with the arguments {json.dumps(ready.approval['args'])}. Result:"
        content = f"{note}\n{content}" if isinstance(content, str) else [{"type": "text", "text": note}, *content]
    kwargs = {**message.additional_kwargs, APPROVAL: ready.approval}
    return message.model_copy(update={"content": content, "additional_kwargs": kwargs})


def _update(answer: ToolMessage) -> Update:
    # With an id from the start: LangGraph gives one only when the step is through, and until then each reader of the
    # pending result would see another.
    return {"messages": [answer.model_copy(update={"id": answer.id or str(uuid.uuid4())})]}


def error_message(call: Call, text: str, approval: dict[str, Any] | None = None) -> ToolMessage:
    """An answer to a call that says what went wrong."""
    return ToolMessage(
        text,
        name=call["name"],
        tool_call_id=call["id"],
        status="error",
        additional_kwargs={} if approval is None else {APPROVAL: approval},
    )
