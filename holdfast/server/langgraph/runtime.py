"""LangGraph's in-memory runtime, as far as it is used here.

The runtime has no public names for this. All use of its private names is in this file. Its version is pinned;
`PRIVATE` lists what is relied on, and a test looks it up in the installed version and in newer ones.
"""

from __future__ import annotations

import asyncio
import copy
import functools
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import StateSnapshot

from holdfast.checkpoints.runtime import unwrap_saver

Entry: TypeAlias = dict[str, Any]
"""A thread or a run in the registry."""

ACTIVE: Final = ("pending", "running")
"""The statuses of runs that have not ended."""

PRIVATE: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "langgraph_runtime_inmem.database": {"GLOBAL_STORE": (), "InMemConnectionProto": (), "connect": ()},
    "langgraph_runtime_inmem.ops": {
        "Runs.put": (
            *("conn", "assistant_id", "kwargs", "thread_id", "user_id", "run_id", "metadata", "multitask_strategy"),
            *("prevent_insert_if_inflight", "if_not_exists", "after_seconds"),
        ),
        "Runs.cancel": ("conn", "run_ids", "action", "thread_id", "status", "assistant_id"),
        "Runs.delete": ("conn", "run_id", "thread_id"),
        "Runs.get": ("conn", "run_id", "thread_id"),
        "Runs.next": ("wait", "limit"),
        "Runs.search": ("conn", "thread_id"),
        "Runs.set_status": ("conn", "run_id", "status"),
        "Threads.put": ("conn", "thread_id", "metadata", "if_exists"),
        "Threads.patch": ("conn", "thread_id", "metadata"),
        "Threads.delete": ("conn", "thread_id"),
        "Threads.search": ("conn", "values"),
        "Threads.count": ("conn", "values"),
        "Threads.set_status": ("conn", "thread_id", "checkpoint", "exception"),
        "Threads.set_joint_status": (
            "conn",
            "thread_id",
            "run_id",
            "run_status",
            "graph_id",
            "checkpoint",
            "exception",
        ),
        "Threads.State.get": ("conn", "config"),
    },
    "langgraph_api._checkpointer": {"get_checkpointer": ()},
    "langgraph_api.auth.noop": {"UnauthenticatedUser": ()},
    "langgraph_api.cli": {"run_server": ("host", "port", "reload", "n_jobs_per_worker", "disable_persistence")},
    "langgraph_api.config": {"LANGGRAPH_AUTH": ()},
    "langgraph_api.graph": {"GRAPHS": (), "get_assistant_id": ("assistant_id",)},
    "langgraph_api.models.run": {"create_valid_run": ("conn", "thread_id", "payload", "headers")},
    "langgraph_api.serde": {"json_dumpb": ("obj",), "json_loads": ("content",)},
}
"""The private names, by module, each with the parameters that are passed or wrapped."""

# Held while a thread is taken out of the list. The server has one event loop.
deleting = asyncio.Lock()

_originals: dict[str, Callable[..., Awaitable[Any]]] = {}


# --- the registry


def threads() -> list[Entry]:
    """Return the registry's list of threads."""
    return _listed("threads")


def runs() -> list[Entry]:
    """Return the registry's list of runs."""
    return _listed("runs")


def forget() -> None:
    """Empty the registry."""
    from langgraph_runtime_inmem.database import GLOBAL_STORE

    for kind in ("threads", "runs"):
        GLOBAL_STORE[kind] = []


def find_thread(thread_id: UUID) -> Entry | None:
    """Return the entry of a thread."""
    return next((entry for entry in threads() if entry["thread_id"] == thread_id), None)


def find_run(run_id: UUID) -> Entry | None:
    """Return the entry of a run."""
    return next((run for run in runs() if run["run_id"] == run_id), None)


def active_runs(thread_id: UUID) -> Iterator[Entry]:
    """Yield the runs of a thread that have not ended."""
    return (run for run in runs() if run["thread_id"] == thread_id and run["status"] in ACTIVE)


def _listed(kind: str) -> list[Entry]:
    from langgraph_runtime_inmem.database import GLOBAL_STORE

    found: list[Entry] = GLOBAL_STORE[kind]
    return found


def with_runs(more: Iterable[Entry]) -> Any:
    """Return a connection to the registry with more runs than it has, for a method that reads its list of runs."""
    return _connection(runs=[*runs(), *more])


def only_runs(some: Iterable[Entry]) -> Any:
    """Return a connection to the registry with some runs only, for a method that reads its list of runs."""
    return _connection(runs=[*some])


def with_values() -> Any:
    """Return a connection to the registry without the threads that have no values, for a method that compares these."""
    return _connection(threads=[entry for entry in threads() if isinstance(entry.get("values"), Mapping)])


def copy_of_registry(thread_id: UUID, more: Iterable[Entry]) -> Any:
    """Return a connection to a copy of the registry, with one thread, its runs and more, for a change on trial."""
    return _connection(
        threads=[copy.deepcopy(entry) for entry in threads() if entry["thread_id"] == thread_id],
        runs=[*(run for run in runs() if run["thread_id"] == thread_id), *more],
    )


def _connection(**lists: list[Entry]) -> Any:
    """Return a connection to the registry with other lists than it has."""
    from langgraph_runtime_inmem.database import GLOBAL_STORE, InMemConnectionProto

    connection = InMemConnectionProto()
    connection.store = {**GLOBAL_STORE, **lists}
    return connection


# --- what the server is made of


def graphs() -> Mapping[str, Any]:
    """Return the graphs of the server, or what makes them, by name."""
    from langgraph_api.graph import GRAPHS

    found: Mapping[str, Any] = GRAPHS
    return found


def assistant_of(graph: str) -> UUID:
    """Return the id of the assistant that a graph has by itself."""
    from langgraph_api.graph import get_assistant_id

    return UUID(str(get_assistant_id(graph)))


async def server_saver() -> BaseCheckpointSaver[Any]:
    """Return the server's checkpointer. It is Holdfast's, or that of another database."""
    from langgraph_api._checkpointer import get_checkpointer

    saver: BaseCheckpointSaver[Any] = unwrap_saver(await get_checkpointer())
    return saver


async def state_of(config: RunnableConfig) -> StateSnapshot:
    """Return the state of a thread that the registry has.

    Raises:
        Exception: its graph cannot read it. Each graph and checkpointer has its own.
    """
    from langgraph_runtime_inmem.database import connect
    from langgraph_runtime_inmem.ops import Threads

    async with connect() as connection:
        found: StateSnapshot = await Threads.State.get(connection, config)
        return found


async def set_status(thread_id: UUID, checkpoint: Mapping[str, Any] | None, error: BaseException | None) -> None:
    """Set a thread's status, values and pauses to those of a checkpoint, in the form that the runtime makes of one."""
    from langgraph_runtime_inmem.database import connect
    from langgraph_runtime_inmem.ops import Threads

    async with connect() as connection:
        await Threads.set_status(connection, thread_id, checkpoint, error)


async def begin_run(thread_id: str, graph: str, **payload: Any) -> None:
    """Begin a run of a thread, on behalf of the server itself."""
    from langgraph_api.models.run import create_valid_run
    from langgraph_runtime_inmem.database import connect

    async with connect() as connection:
        await create_valid_run(connection, thread_id, {"assistant_id": graph, **payload}, {})


async def stop_run(run: Entry, action: Literal["interrupt", "rollback"]) -> bool:
    """Stop a run of this server, or roll it back. Return whether it has ended by that: it had not begun."""
    from langgraph_runtime_inmem.database import connect

    status = run["status"]
    if status in ACTIVE:
        async with connect() as connection:
            options = {"thread_id": run["thread_id"], "action": action}
            await _originals["Runs.cancel"](connection, [run["run_id"]], **options)
    return bool(status == "pending")


def plain(value: Any) -> Any:
    """Return a value as the JSON that the server would answer with."""
    from langgraph_api.serde import json_dumpb, json_loads

    return json_loads(json_dumpb(value))


# --- its methods


def wrap(method: str, around: Callable[..., Any]) -> None:
    """Call a function around a method of the runtime. The newest function takes the place of an earlier one.

    Args:
        method: the class and the method, such as "Runs.put".
        around: is given the method, and what the method is given.
    """
    from langgraph_runtime_inmem import ops

    owner, name = method.split(".")
    kind = getattr(ops, owner)
    original = _originals.setdefault(method, getattr(kind, name))

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return around(original, *args, **kwargs)

    setattr(kind, name, staticmethod(wrapped))


def refused(status: int, words: str) -> Exception:
    """Return the error with which the server answers its client."""
    from starlette.exceptions import HTTPException

    return HTTPException(status_code=status, detail=words)
