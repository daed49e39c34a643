"""The agent: a turn as a LangGraph graph."""

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
from langgraph.store.base import BaseStore

from holdfast.checkpoints.langgraph_internals import STRICT_RESUME
from holdfast.graph.context import Context
from holdfast.graph.models import chat_model
from holdfast.graph.nodes.base import CLOSE_CALLS, DOUBT, MODEL, TOOL, TRIM
from holdfast.graph.nodes.close_calls import close_calls_step
from holdfast.graph.nodes.in_doubt import doubt_step
from holdfast.graph.nodes.model import after_close_calls, after_model, before_model, model_step
from holdfast.graph.nodes.tool import ToolStep
from holdfast.graph.nodes.trim import trim_step
from holdfast.graph.shop import shop_tools
from holdfast.graph.state import State
from holdfast.graph.tools.ledger import check_ledger

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
    store: BaseStore | None = None,
    name: str = "holdfast",
) -> Agent:
    """Build the agent.

    Args:
        model: a chat model, or the name of one; the offline model by default.
        tools: the tools that the model may call; the example shop's by default. `needs_approval` marks those that wait
            for a person.
        prompt: the instructions for the model; not kept in the thread.
        checkpointer: holds the threads. Pauses need one. LangGraph's server brings its own.
        context: how much of a thread the model sees, and what happens to the rest; by default `Context()`, with which
            the model summarises the messages beyond its budget.
        store: LangGraph's long-term memory, as `open_store` returns it, for tools: `langgraph.config.get_store()`.
            LangGraph's server brings its own.
        name: the agent's name. Agents that share a database need different ones: a worker carries out the turns of its
            own agent.

    Returns:
        A compiled graph over `State`, for `invoke`, `ainvoke` and the streams. A pause is answered with
        `Command(resume={interrupt_id: answer})`; an interrupt id that is not pending is an error.

    Raises:
        ValueError: the model's name is unknown, or two tools have the same name.
        NeedsOwnDatabase: a tool is declared `once`, and the checkpointer has no ledger of calls.
    """
    chat = chat_model(model or "offline") if model is None or isinstance(model, str) else model
    if prompt is None and tools is None:
        prompt = PROMPT
    named = _by_name(shop_tools() if tools is None else tools)
    check_ledger(checkpointer, *named.values())
    context = context or Context()

    builder = StateGraph(State)
    builder.add_node(MODEL, model_step(chat.bind_tools(list(named.values())) if named else chat, prompt, context))
    builder.add_node(TOOL, ToolStep(named, _now))
    builder.add_node(DOUBT, doubt_step(named, _now))
    # In every mode: a thread may have stopped before this node when the agent had another one.
    builder.add_node(TRIM, trim_step(chat, context))
    close_calls = close_calls_step(named, _now, after_close_calls(context))
    builder.add_node(CLOSE_CALLS, close_calls, destinations=(MODEL, TRIM, DOUBT))
    builder.add_conditional_edges(START, before_model(context), [CLOSE_CALLS, TRIM, MODEL, END])
    builder.add_edge(TRIM, MODEL)
    builder.add_conditional_edges(MODEL, after_model(named), [TOOL, DOUBT, CLOSE_CALLS, END])
    builder.add_edge(TOOL, MODEL)
    builder.add_edge(DOUBT, MODEL)
    # Makes a late answer to a pause that is gone an error; by default LangGraph ignores it silently.
    strict: RunnableConfig = {"configurable": {STRICT_RESUME: True}}
    return builder.compile(checkpointer=checkpointer, store=store, name=name).with_config(strict)


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
