"""The agent: one turn as a LangGraph graph."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langchain_core.tools import tool as as_tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from holdfast.checkpoints import running_saver
from holdfast.checkpoints.langgraph_internals import STRICT_RESUME
from holdfast.graph.context import Context
from holdfast.graph.models import chat_model
from holdfast.graph.nodes.close_calls import close_calls_node
from holdfast.graph.nodes.in_doubt import doubt_node
from holdfast.graph.nodes.model import (
    after_model,
    before_model,
    model_node,
    once_whole,
    tool_node,
)
from holdfast.graph.nodes.trim import trim_node
from holdfast.graph.shop import shop_tools
from holdfast.graph.state import State

Agent: TypeAlias = CompiledStateGraph[State, None, State, State]

PROMPT = (
    "You help the customers of a small shop. Look an order up before you act on it. Refunds and mails are approved by "
    "a person first; if one is refused, accept that and say so."
)


def build_graph(
    *,
    model: BaseChatModel | str | None = None,
    tools: Sequence[BaseTool | Callable[..., Any]] | None = None,
    prompt: str | None = None,
    checkpointer: BaseCheckpointSaver[Any] | None = None,
    context: Context | None = None,
) -> Agent:
    """Build the agent.

    Args:
        model: a chat model, or the name of one; the offline model by default.
        tools: what the model may call; the example shop by default. `needs_approval` marks those that ask a person.
        prompt: what the model is told before every conversation; it is not kept in the thread.
        checkpointer: where threads live. Pauses need one; LangGraph's server brings it.
        context: how much of a thread the model sees, and what becomes of the rest; by default `Context()`, which has
            the model summarise what is older than its budget.

    Returns:
        A compiled graph over `State`, for `invoke`, `ainvoke` and the streams. A pause is answered with
        `Command(resume={interrupt_id: answer})`; an interrupt id that is not pending is an error.

    Raises:
        ValueError: no model has this name, or two tools have the same name.
    """
    chosen = chat_model(model or "offline") if model is None or isinstance(model, str) else model
    if prompt is None and tools is None:
        prompt = PROMPT
    named = _by_name(shop_tools() if tools is None else tools)
    bound = chosen.bind_tools(list(named.values())) if named else chosen
    context = context or Context()

    builder = StateGraph(State)
    builder.add_node("model", model_node(bound, prompt, context))
    builder.add_node("tool", tool_node(named, _now))
    builder.add_node("doubt", doubt_node(named, _now))
    # Whatever the mode: a thread that stopped before this step under another one goes on.
    builder.add_node("shorten", trim_node(chosen, context))
    settle = close_calls_node(named, running_saver, _now, once_whole(context))
    builder.add_node("settle", settle, destinations=("model", "shorten", "doubt"))
    builder.add_conditional_edges(START, before_model(context), ["settle", "shorten", "model", END])
    builder.add_edge("shorten", "model")
    builder.add_conditional_edges("model", after_model, ["tool", "doubt", "settle", END])
    builder.add_edge("tool", "model")
    builder.add_edge("doubt", "model")
    # A late answer to a pause that is gone is an error; without this LangGraph takes it silently.
    strict: RunnableConfig = {"configurable": {STRICT_RESUME: True}}
    return builder.compile(checkpointer=checkpointer, name="holdfast").with_config(strict)


def _by_name(tools: Sequence[BaseTool | Callable[..., Any]]) -> dict[str, BaseTool]:
    named: dict[str, BaseTool] = {}
    for item in tools:
        tool = item if isinstance(item, BaseTool) else as_tool(item)
        if tool.name in named:
            raise ValueError(f"Two tools are named {tool.name!r}; the model could not tell them apart.")
        named[tool.name] = tool
    return named


def _now() -> datetime:
    return datetime.now(UTC)
