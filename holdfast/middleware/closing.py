"""Calls without an answer are closed before the model of an agent is asked.

`create_agent` sends each call to a task of its own. When a new message comes before these tasks have ended, LangGraph
drops them, and the history keeps calls that no model accepts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.types import Send

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.runtime import running_saver
from holdfast.graph.messages import Call, DoubtTask, call_groups, close_calls, is_in_doubt, unclosed_calls
from holdfast.graph.nodes.close_calls import evidence_about, new_doubts, without_gaps
from holdfast.graph.plans import Io
from holdfast.graph.tools.execute import effect_of
from holdfast.graph.tools.results import Ready, answer_in, error_message
from holdfast.graph.tools.settle import DoubtCase, MissingTool


async def close_open_calls(
    io: Io, messages: Sequence[AnyMessage], tools: Mapping[str, BaseTool], config: RunnableConfig
) -> list[AnyMessage]:
    """Return the messages with every call answered, by what the checkpoints and the ledger know about it.

    If the process died while a call ran that changes the world, a person is asked first. If the conversation goes on
    all the same, the model reads that the outcome is unknown.

    Args:
        messages: the messages of the thread.
        tools: the agent's tools as they are declared, by name.
        config: the config of the model's task.

    Raises:
        GraphInterrupt: a person has to say first what happened.
        BadAnswer, AnsweredBefore: the answer to that does not fit, or is not the first.
    """
    message_of = _finder(messages)
    evidence = await evidence_about(io, messages, config, tools, message_of)
    # What else an agent of others has dropped is its own matter: a middleware may have removed it on purpose.
    evidence.lost.clear()
    closed = without_gaps(messages, evidence, tools, _now)
    for task in new_doubts(closed, evidence):
        if (task["call"]["id"] or "") not in evidence.asked_about:
            closed = await _settled(io, closed, task, tools, config)
    return closed


def with_answers_of(messages: Sequence[AnyMessage], closed: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Return some of the messages of a thread with the answers that the whole thread has now."""
    answers = {
        (group.message.id, group.calls[position]["id"]): answer
        for group in call_groups(closed)
        for position, answer in group.answers.items()
    }

    def answer(message: AIMessage, call: Call) -> ToolMessage:
        return answers.get((message.id, call["id"])) or error_message(call, "Not run: the conversation went on.")

    return close_calls(messages, answer)


async def _settled(
    io: Io,
    closed: list[AnyMessage],
    task: DoubtTask,
    tools: Mapping[str, BaseTool],
    config: RunnableConfig,
) -> list[AnyMessage]:
    """Ask a person about a call in doubt, and return the messages with the verdict as its answer."""
    saver, call = running_saver(config), task["call"]
    if not isinstance(saver, HoldfastSaver):
        return closed
    tool = tools.get(call["name"]) or MissingTool(name=call["name"], description="It is gone.")
    ready, part = Ready(tool, call, task["approval"]), f"{task['message_id']}\0{call['id']}\0doubt"
    answer: ToolMessage | None = None
    while answer is None or is_in_doubt(answer):
        now = _now().isoformat(timespec="seconds")
        case = DoubtCase(ready, effect_of(ready, task["message_id"], config), saver, config, now, part)
        answer = answer_in(await case.resolve(io), call)
        if answer is None:
            return closed
    settled = answer
    return [settled if message.id == settled.id else message for message in closed]


def _finder(messages: Sequence[AnyMessage]) -> Any:
    """Return the function that finds the message whose call is the input of a task of `create_agent`."""
    made_by = {
        group.calls[position]["id"]: group.message.id or ""
        for group in unclosed_calls(messages)
        for position in group.open
    }

    def message_of(send: Send) -> str | None:
        # A list of calls; before LangChain 1.5 a dict with a call and a copy of the state.
        calls = [send.arg.get("tool_call")] if isinstance(send.arg, Mapping) else send.arg
        ids = [call.get("id") for call in calls if isinstance(call, Mapping)] if isinstance(calls, list) else []
        return next((made_by[id_] for id_ in ids if id_ in made_by), None)

    return message_of


def _now() -> datetime:
    return datetime.now(UTC)
