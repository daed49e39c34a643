"""Agents by name, `module:name`, and the threads that the example shop's agent leaves alone."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Mapping
from functools import cache, reduce
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.langgraph_internals import BRANCH_TO, RESERVED
from holdfast.graph.agent import PROMPT
from holdfast.graph.conversation.agents import AgentProfile, AnyAgent
from holdfast.named import import_here

_log = logging.getLogger(__name__)


class UnusableAgent(ValueError):
    """An agent that cannot be loaded. The message says why."""


class AnotherAgent(ValueError):
    """A thread that belongs to another agent. Nothing was saved."""


def load_agent(name: str, saver: Any = None) -> AnyAgent:
    """Load an agent. The working directory comes first among the places where its module is looked for.

    Args:
        name: `module:name`. The name is that of a compiled graph, such as `create_agent` returns, of a `StateGraph`, or
            of a function that returns one of these and takes nothing or the checkpointer.
        saver: the checkpointer, in place of the agent's own.

    Raises:
        UnusableAgent: there is no such agent, or its own code fails.
    """
    module, _, variable = name.partition(":")
    if not module or not variable:
        raise UnusableAgent(f"The agent {name!r} is not named. Needed: module:name, such as my_app.agents:support.")
    found = _found(module, variable)
    if callable(found) and not isinstance(found, Pregel):
        found = _made(name, found, saver)
    if isinstance(found, StateGraph):
        return found.compile(checkpointer=saver)
    if not isinstance(found, Pregel):
        raise UnusableAgent(
            f"The agent {name!r} is of the type {type(found).__name__}. Needed: a compiled graph, a StateGraph, or a "
            "function that returns one."
        )
    return found if saver is None else _with_saver(found, saver)


@cache
def load_served_agent(name: str) -> AnyAgent:
    """Load an agent for the server, which brings the checkpointer: once, since the server changes the folder later.

    Raises:
        UnusableAgent: there is no such agent, or the server cannot run it.
    """
    agent = load_agent(name)
    if not isinstance(agent, CompiledStateGraph):
        raise UnusableAgent(f"The agent {name} cannot be served: found {type(agent).__name__}, needed a StateGraph.")
    AgentProfile(agent)  # here a graph without messages is one clear error, and not one in each run
    return agent.copy(update={"checkpointer": None})


def check_shop_thread(saver: BaseCheckpointSaver[Any], agent: AnyAgent, thread_id: str) -> None:
    """Refuse a thread that another agent than the example shop's has written to.

    The shop's agent notes its prompt before it asks its model, once in each thread. A thread in which no model was
    asked yet is known by the nodes that are next.

    Args:
        saver: the database.
        agent: the shop's agent.
        thread_id: the thread.

    Raises:
        AnotherAgent: it is another agent's.
    """
    found = saver.get_tuple({"configurable": {"thread_id": thread_id}})
    has_prompts = isinstance(saver, HoldfastSaver)
    if found is None or (isinstance(saver, HoldfastSaver) and saver.threads.prompt(thread_id) == PROMPT):
        return
    ran = [node for node in found.checkpoint["versions_seen"] if not node.startswith(RESERVED)]
    channels = [name for name in found.checkpoint["channel_versions"] if not name.startswith(RESERVED)]
    # Another checkpointer keeps no prompts: there a thread is known by its steps too.
    if (not ran or (not has_prompts and set(ran) <= set(agent.nodes))) and all(
        name in agent.channels for name in channels
    ):
        return
    named = [name.removeprefix(BRANCH_TO) for name in channels if name.startswith(BRANCH_TO)]
    nodes = ", ".join(dict.fromkeys([*ran, *named])) or "unknown"
    raise AnotherAgent(
        f"Thread {thread_id} was begun by another agent (its steps are {nodes}), and the agent "
        "of the example shop does not write to it. Name the agent: --agent module:name, or HOLDFAST_AGENT in the "
        "environment or in .env. Nothing was saved."
    )


def _found(module: str, variable: str) -> Any:
    loaded = import_here(module, UnusableAgent)
    try:
        return reduce(getattr, variable.split("."), loaded)
    except AttributeError:
        graphs = sorted(key for key, value in vars(loaded).items() if isinstance(value, Pregel | StateGraph))
        known = f"Its graphs: {', '.join(graphs)}." if graphs else "It has no graphs."
        raise UnusableAgent(f"The module {module!r} has no {variable!r}. {known}") from None


def _with_saver(agent: AnyAgent, saver: Any) -> AnyAgent:
    if agent.checkpointer is not None and not isinstance(agent.checkpointer, bool) and agent.checkpointer is not saver:
        _log.warning(
            "The agent's own checkpointer (%s) is not used: conversations are kept in the database of this command.",
            type(agent.checkpointer).__name__,
        )
    return agent.copy(update={"checkpointer": saver})


def _made(name: str, function: Callable[..., Any], saver: Any) -> Any:
    arguments = _arguments(name, function, saver)
    try:
        made = function(**arguments)
        return asyncio.run(_awaited(made)) if inspect.isawaitable(made) else made
    except Exception as error:
        raise UnusableAgent(f"The function {name!r} fails with {type(error).__name__}: {error}.") from error


async def _awaited(made: Any) -> Any:
    return await made


def _arguments(name: str, function: Callable[..., Any], saver: Any) -> Mapping[str, Any]:
    """Return the arguments of a function that makes an agent: the checkpointer, if it takes one."""
    parameters = inspect.signature(function).parameters
    needed = [key for key, parameter in parameters.items() if _is_needed(parameter)]
    # LangGraph's own server calls such a function with a config.
    given: dict[str, Any] = {"config": {"configurable": {}}} if "config" in needed else {}
    left = [key for key in needed if key not in given]
    wanted = {*left, "checkpointer"} if "checkpointer" in parameters else set(left)
    if len(wanted) > 1:
        raise UnusableAgent(f"The function {name!r} needs {', '.join(left)}, and is given the checkpointer only.")
    return {**given, **dict.fromkeys(wanted, saver)}


def _is_needed(parameter: inspect.Parameter) -> bool:
    takes_any = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and not takes_any
