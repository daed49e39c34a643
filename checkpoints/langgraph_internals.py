"""The names and values of LangGraph that are not part of its documented interface.

All of them are here, so that a new minor release of LangGraph means one file to check; only the server's own modules
are used elsewhere, in `holdfast/server/registry.py`. Any layer may import this module, and it imports nothing of
Holdfast. A test compares its values with the installed LangGraph, and another one keeps such names out of the other
modules.

Files of SQL repeat the places of `WRITES_IDX_MAP`: -1 for an error, -3 for an interrupt. The same test checks them.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from langchain_core.runnables.config import var_child_runnable_config
from langgraph import errors
from langgraph._internal import _serde
from langgraph.checkpoint.base import WRITES_IDX_MAP
from langgraph.checkpoint.base import id as lg_id
from langgraph.checkpoint.serde._msgpack import SAFE_MSGPACK_TYPES, STRICT_MSGPACK_ENABLED
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import INTERRUPT, TASKS
from langgraph.checkpoint.serde.types import _DeltaSnapshot as DeltaSnapshot
from langgraph.constants import CONFIG_KEY_CHECKPOINTER, START
from langgraph.pregel import Pregel
from langgraph.pregel._loop import AsyncPregelLoop, PregelLoop, SyncPregelLoop
from langgraph.pregel._task_status import read_task_statuses
from langgraph.types import Command

if TYPE_CHECKING:
    from collections.abc import Collection

    from langchain_core.runnables import RunnableConfig
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
    "SAFE_MSGPACK_TYPES",
    "START",
    "STRICT_MSGPACK_ENABLED",
    "STRICT_RESUME",
    "TASKS",
    "WRITES_IDX_MAP",
    "DeltaSnapshot",
    "decides_next",
    "enclosing_checkpoint",
    "graph_ns",
    "has_own_coroutine",
    "inner_saver",
    "is_sent_task",
    "last_uuid6_timestamp",
    "mark_invalid_resume",
    "next_nodes",
    "node_of_task",
    "pass_state_types",
    "refuse_lost_answers",
    "refuse_other_answers",
    "run_object",
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

_STRICT: Final = "STRICT_MSGPACK_ENABLED"
_INNER: Final = "_inner"
_LOOKED: Final = "_holdfast_looked_for_lost_answers"


def pass_state_types() -> None:
    """Make graphs pass the types that they name to a checkpointer of ours, when they are compiled and when they run.

    A run comes by its checkpointer in many ways: `compile(checkpointer=…)`, `graph.checkpointer = …`, a copy of the
    graph (which is how LangGraph's server does it), the config. All of them end in one method, which is wrapped here.
    It calls `allow_types_of` of a checkpointer that has this method, and changes nothing for others.
    """
    _pass_types_to_compile()
    # There is no public hook. Without this one, only the types of graphs that are compiled with the checkpointer come.
    resolve: Any = getattr(Pregel, "_resolve_checkpointer", None)
    if resolve is None or hasattr(resolve, "__wrapped__"):
        return

    @functools.wraps(resolve)
    def resolve_and_pass(self: Pregel[Any, Any, Any, Any], config: RunnableConfig) -> Any:
        checkpointer = resolve(self, config)
        allow_types_of = getattr(type(inner_saver(checkpointer) or checkpointer), "allow_types_of", None)
        if allow_types_of is not None:
            allow_types_of(inner_saver(checkpointer) or checkpointer, self)
        return checkpointer

    Pregel._resolve_checkpointer = resolve_and_pass  # type: ignore[method-assign]  # noqa: SLF001 - as above


def refuse_lost_answers() -> None:
    """Make a run that was given an answer, and has no task that takes it, ask a checkpointer of ours what to do.

    That is so if a node was renamed or removed while a thread waited in it. LangGraph then runs nothing, saves nothing,
    and returns as if the answer were taken. Here the method `answer_is_lost` of the checkpointer raises an error.
    """
    tick: Any = getattr(PregelLoop, "tick", None)
    if tick is None or hasattr(tick, "__wrapped__"):
        return

    @functools.wraps(tick)
    def tick_and_look(self: PregelLoop) -> bool:
        goes_on: bool = tick(self)
        if not hasattr(self, _LOOKED):
            setattr(self, _LOOKED, True)
            saver = inner_saver(self.checkpointer) or self.checkpointer
            answer_is_lost = getattr(type(saver), "answer_is_lost", None)
            if answer_is_lost is not None and (lost := _lost_answers(self)):
                thread_id = str(self.checkpoint_config["configurable"]["thread_id"])
                answer_is_lost(saver, thread_id, lost[0], _missing_nodes(self), sorted(set(self.nodes) - {START}))
        return goes_on

    PregelLoop.tick = tick_and_look  # type: ignore[method-assign]


def refuse_other_answers() -> None:
    """Make a run that is given an answer ask a checkpointer of ours first whether another one is on record.

    LangGraph saves an answer as soon as a run begins with it. The method `check_resume` of the checkpointer raises an
    error, or `acheck_resume` on an event loop.
    """
    enter: Any = getattr(SyncPregelLoop, "__enter__", None)
    aenter: Any = getattr(AsyncPregelLoop, "__aenter__", None)
    if enter is None or aenter is None or hasattr(enter, "__wrapped__"):
        return

    @functools.wraps(enter)
    def check_and_enter(self: SyncPregelLoop) -> Any:
        if (saver := _asks_about_answers(self)) is not None:
            saver.check_resume(*_resume_of(self))
        return enter(self)

    @functools.wraps(aenter)
    async def check_and_aenter(self: AsyncPregelLoop) -> Any:
        if (saver := _asks_about_answers(self)) is not None:
            await saver.acheck_resume(*_resume_of(self))
        return await aenter(self)

    SyncPregelLoop.__enter__ = check_and_enter  # type: ignore[method-assign]
    AsyncPregelLoop.__aenter__ = check_and_aenter  # type: ignore[method-assign]


def _asks_about_answers(loop: PregelLoop) -> Any:
    """Return the checkpointer that a run has to ask before it begins; `None` if it has none to ask.

    A run that was sent to an older checkpoint on purpose begins another branch there, and may answer as it likes.
    """
    if not isinstance(loop.input, Command) or loop.input.resume is None or loop.is_nested:
        return None
    if "thread_id" not in loop.checkpoint_config["configurable"] or _is_addressed(loop):
        return None
    saver = inner_saver(loop.checkpointer) or loop.checkpointer
    return saver if hasattr(type(saver), "check_resume") else None


def _is_addressed(loop: PregelLoop) -> bool:
    return bool(loop.checkpoint_config["configurable"].get("checkpoint_id"))


def _resume_of(loop: PregelLoop) -> tuple[str, Any]:
    command: Any = loop.input
    return str(loop.checkpoint_config["configurable"]["thread_id"]), command.resume


def _lost_answers(loop: PregelLoop) -> list[str]:
    """Return the ids of the pauses that a run was to answer, if no task of it takes an answer."""
    resume = loop.input.resume if isinstance(loop.input, Command) else None
    if resume is None or loop.is_nested:
        return []
    waiting = {
        pause.id: task_id
        for task_id, status in read_task_statuses(loop.checkpoint_pending_writes).items()
        for pause in status.pending_interrupts
    }
    if not loop.tasks:
        return list(waiting)
    named = [str(id_) for id_ in resume if id_ in waiting] if isinstance(resume, Mapping) else []
    return named if not any(waiting[id_] in loop.tasks for id_ in named) else []


def _missing_nodes(loop: PregelLoop) -> list[str]:
    """Return the nodes that are next in a checkpoint, and that the graph does not have."""
    return sorted(next_nodes(loop.checkpoint["channel_values"]) - set(loop.nodes))


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


def _pass_types_to_compile() -> None:
    """Make every later `compile(checkpointer=…)` pass the types of the graph's state to the checkpointer.

    LangGraph does so only in its strict mode. It sets this attribute from `LANGGRAPH_STRICT_MSGPACK` when it is
    imported, so setting the variable comes too late in a program that has imported LangGraph already; it would also
    make the program's other serializers strict. The attribute alone makes `compile()` call `with_allowlist`, which
    changes nothing on a stock saver that allows every type. It is set when a checkpointer is made, which comes before
    `compile()`, and not when Holdfast is imported: a program that uses other checkpointers keeps LangGraph as it was.
    """
    vars(_serde)[_STRICT] = True


def last_uuid6_timestamp() -> int | None:
    """Return the time of the last checkpoint id that this process made, in units of 100 ns; `None` before the first."""
    return lg_id._last_v6_timestamp  # noqa: SLF001 - there is no public way to read it


def set_last_uuid6_timestamp(time: int) -> None:
    """Make the next checkpoint id of this process later than `time`."""
    lg_id._last_v6_timestamp = time  # type: ignore[assignment]  # noqa: SLF001 - it is annotated as always None


def mark_invalid_resume(error: BaseException) -> None:
    """Mark an error as one of a bad answer, as `langgraph.errors.is_invalid_resume` reads it."""
    setattr(error, errors._INVALID_RESUME, True)  # noqa: SLF001 - only LangGraph's own errors are marked publicly


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


def graph_ns(task_ns: str) -> str:
    """Return the namespace of the graph that a task is part of: "" for the root graph, "agent:1f.." inside another."""
    return task_ns.rpartition(NS_SEP)[0]
