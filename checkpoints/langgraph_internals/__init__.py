"""The names and values of LangGraph that are not part of its documented interface.

All of them are in this package, so that a new minor release of LangGraph means one place to check; only the server's
own modules are used elsewhere, in `holdfast/server/langgraph/runtime.py`. Any layer may import it, and it imports
nothing of Holdfast. A test compares its values with the installed LangGraph, and another one keeps such names out of
the other modules.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from langchain_core.runnables.config import var_child_runnable_config
from langgraph.checkpoint.base import WRITES_IDX_MAP
from langgraph.checkpoint.base import id as lg_id
from langgraph.checkpoint.serde._msgpack import SAFE_MSGPACK_TYPES, STRICT_MSGPACK_ENABLED
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import INTERRUPT, TASKS
from langgraph.checkpoint.serde.types import _DeltaSnapshot as DeltaSnapshot
from langgraph.constants import CONFIG_KEY_CHECKPOINTER, START

if TYPE_CHECKING:
    from collections.abc import Collection

    from langchain_core.tools import BaseTool

__all__ = [
    "BRANCH_TO",
    "CHECKPOINT_MAP",
    "CONFIG_KEY_CHECKPOINTER",
    "DELTA_COUNTERS",
    "DURABILITY",
    "FIRST_WITH_SENDS",
    "INTERRUPT",
    "JOIN",
    "NS_END",
    "NS_SEP",
    "NULL_TASK_ID",
    "OF_THE_RUN",
    "PENDING_SENDS",
    "RESERVED",
    "RESUME_MAP",
    "RESUMING",
    "RUN_MARK",
    "SAFE_MSGPACK_TYPES",
    "START",
    "STRICT_MSGPACK_ENABLED",
    "STRICT_RESUME",
    "TASKS",
    "WRITES_IDX_MAP",
    "DeltaSnapshot",
    "decides_next",
    "enclosing_checkpoint",
    "failed_node",
    "graph_ns",
    "graph_type",
    "has_own_coroutine",
    "inner_saver",
    "is_sent_task",
    "last_uuid6_timestamp",
    "next_nodes",
    "node_of_task",
    "run_object",
    "running_step",
    "set_last_uuid6_timestamp",
    "types_of_serializer",
]

# --- channels

RESERVED: Final = "__"
"""The names of LangGraph's own channels begin with it; `START` is one of them, and holds an input until it is taken."""

BRANCH_TO: Final = "branch:to:"
"""Before the name of a node: the channel that says that the node is next."""

JOIN: Final = "join:"
"""Before the names of nodes, `a+b:c`: the channel that says which nodes have ended that another one waits for."""

_DECIDES_NEXT: Final = (START, TASKS, "branch:", JOIN)
"""The channels that decide which tasks are next, by name or by the beginning of the name."""

# --- checkpoints

FIRST_WITH_SENDS: Final = 4
"""The first version `v` of a checkpoint that has the Sends of the next step in its channel `TASKS`. Before, they were
among the writes on its parent, and SQLite's saver had them in the checkpoint as well, under `PENDING_SENDS`."""

PENDING_SENDS: Final = "pending_sends"

# --- keys of a run's `configurable`

RESUMING: Final = "__pregel_resuming"
"""Set when a run goes on with an interrupted step."""

RESUME_MAP: Final = "__pregel_resume_map"
"""The answers that a run was given, by interrupt id."""

STRICT_RESUME: Final = "__pregel_strict_resume"
"""Makes an answer to an interrupt that is not pending an error; without it LangGraph takes it silently."""

RUN_MARK: Final = "__pregel_holdfast_run"
"""The key of our own for the accepted run of a config. LangGraph puts keys that begin like this into no metadata, and
shows them to no client."""

CHECKPOINT_MAP: Final = "checkpoint_map"
"""The checkpoint that each enclosing graph is at, by namespace."""

DURABILITY: Final = "__pregel_durability"
"""When a run saves: "sync", "async", or "exit", which is at its end."""

# --- tasks

NULL_TASK_ID: Final = "00000000-0000-0000-0000-000000000000"
"""In place of a task, for what a run writes before it has tasks: an answer that names no interrupt, for example."""

# --- namespaces

NS_SEP: Final = "|"
"""Stands between the levels of a namespace."""

NS_END: Final = ":"
"""Stands between a node's name and the id of its task, in one level of a namespace."""

# --- metadata of a checkpoint

DELTA_COUNTERS: Final = "counters_since_delta_snapshot"
"""Counts, for each `DeltaChannel`, what was written since its last snapshot."""

OF_THE_RUN: Final = frozenset({
    "source", "step", "parents", "writes", "thread_id", "run_id", "run_attempt", "created_by", "checkpoint_ns",
    "checkpoint_id", "langgraph_version", "langgraph_api_version", "langgraph_plan", "langgraph_host",
    "langgraph_api_url", "langgraph_request_id", "langgraph_auth_user_id", DELTA_COUNTERS,
})  # fmt: skip
"""What LangGraph and its server put into the metadata of a checkpoint; the rest is the thread's own."""

# --- keys of a run's config

_OF_A_RUN: Final = frozenset({"callbacks", "metadata", "recursion_limit", "tags"})

# --- attributes

_SENT: Final = "__pregel_push"
"""What a task that a `Send` made has in place of the channels that trigger it."""

_PULLED: Final = "__pregel_pull"
"""The beginning of the path of a task that a channel triggers."""

_INNER: Final = "_inner"

# The note that LangGraph adds to an error of a task.
_FAILED_IN: Final = re.compile(r"During task with name '(.*)' and id '")


def next_nodes(values: Mapping[str, Any]) -> set[str]:
    """Return the nodes that are next in a checkpoint with these values of channels."""
    sends = (getattr(send, "node", None) for send in values.get(TASKS) or ())
    starts = (channel.removeprefix(BRANCH_TO) for channel in values if channel.startswith(BRANCH_TO))
    return {node for node in (*sends, *starts) if isinstance(node, str)}


def node_of_task(path: str, values: Mapping[str, Any]) -> str | None:
    """Return the node of a task.

    Args:
        path: the path of the task, as it is saved with its writes.
        values: the values of the channels in its checkpoint.

    Returns:
        The node; `None` for a function that another one has called as a task.
    """
    kind, _, name = path.removeprefix("~").partition(", ")
    if kind == _PULLED:
        return name
    sends = values.get(TASKS) or ()
    if kind != _SENT or not name.isdigit() or int(name) >= len(sends):
        return None
    node: str | None = getattr(sends[int(name)], "node", None)
    return node


def last_uuid6_timestamp() -> int | None:
    """Return the time of the last checkpoint id that this process made, in units of 100 ns; `None` before the first."""
    return lg_id._last_v6_timestamp  # noqa: SLF001 - there is no public way to read it


def set_last_uuid6_timestamp(time: int) -> None:
    """Make the next checkpoint id of this process later than `time`."""
    lg_id._last_v6_timestamp = time  # type: ignore[assignment]  # noqa: SLF001 - it is annotated as always None


def types_of_serializer(serde: object) -> Collection[Any] | None:
    """Return the types that LangGraph's serializer with msgpack is limited to; `None` if it takes all.

    Raises:
        ValueError: it is another serializer, or does what msgpack cannot.
    """
    if type(serde) is not JsonPlusSerializer:
        raise ValueError(f"it is a {type(serde).__module__}.{type(serde).__qualname__}")
    if serde.pickle_fallback:
        raise ValueError("it has pickle_fallback=True, and a pickle runs code when it is loaded")
    if serde._custom_unpack_ext_hook:  # noqa: SLF001 - there is no public way to read it
        raise ValueError("it has an ext hook of its own")
    types = serde._allowed_msgpack_modules  # noqa: SLF001 - as above
    return None if types is True else types or ()


def run_object(config: Mapping[str, Any]) -> object | None:
    """Return the object that is the same in all configs of a run, and in those of no other run.

    `ensure_config` makes it at the beginning of a run and of an `update_state`. It fills in all of these keys; a config
    that a program wrote itself lacks some of them.

    Returns:
        The object; `None` if LangGraph did not make this config.
    """
    return config["metadata"] if config.keys() >= _OF_A_RUN else None


def decides_next(channel: str) -> bool:
    """Return whether a channel is one of LangGraph's own that decide which tasks are next."""
    return channel.startswith(_DECIDES_NEXT)


def enclosing_checkpoint(thread_id: str) -> str | None:
    """Return the root checkpoint at which the run is whose task this code is a part of; `None` outside of a task, or in
    a task of another thread."""
    config: Mapping[str, Any] = var_child_runnable_config.get() or {}
    own: Mapping[str, Any] = config.get("configurable") or {}
    if own.get("thread_id") != thread_id:
        return None
    found: str | None = (own.get(CHECKPOINT_MAP) or {}).get("")
    return found


def failed_node(error: BaseException) -> str | None:
    """Return the node of the graph in which an error, or its cause, was raised; of a subgraph as `subgraph|node`."""
    told = (note for raised in (error, error.__cause__) for note in getattr(raised, "__notes__", ()))
    return NS_SEP.join(found[1] for found in reversed([*map(_FAILED_IN.match, told)]) if found) or None


def running_step() -> Mapping[str, Any]:
    """Return what the code that calls is part of: `thread`, `run`, `step` and `node`. Outside of a run it is empty."""
    config = var_child_runnable_config.get() or {}
    metadata, configurable = config.get("metadata", {}), config.get("configurable", {})
    return {
        "thread": configurable.get("thread_id"),
        "run": configurable.get("run_id"),
        "step": metadata.get("langgraph_step"),
        "node": metadata.get("langgraph_node"),
    }


def is_sent_task(config: Mapping[str, Any]) -> bool:
    """Return whether the task of a config was made by a `Send`, and so has an input of its own."""
    return _SENT in config.get("metadata", {}).get("langgraph_triggers", ())


def inner_saver(adapter: object) -> object:
    """Return the checkpointer inside the adapter that LangGraph's server puts around it; `None` for anything else.

    The adapter passes unknown attributes on, so only its own are looked at.
    """
    return getattr(adapter, "__dict__", {}).get(_INNER)


def has_own_coroutine(tool: BaseTool) -> bool:
    """Return whether a tool has code of its own for event loops. A function as a tool has it if it has a coroutine."""
    from langchain_core.tools import BaseTool

    return type(tool)._arun is not BaseTool._arun and getattr(tool, "coroutine", True) is not None  # noqa: SLF001


def graph_type(name: str) -> Any:
    """Return a class of `langgraph.types`, for `isinstance`.

    Returns:
        The class; `()`, of which nothing is an instance, in a program that has not imported it and so has no value of
        it.
    """
    return getattr(sys.modules.get("langgraph.types"), name, ())


def graph_ns(task_ns: str) -> str:
    """Return the namespace of the graph that a task is part of: "" for the root graph, "agent:1f.." inside another."""
    return task_ns.rpartition(NS_SEP)[0]
