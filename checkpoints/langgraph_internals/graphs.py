"""What a checkpointer changes in LangGraph's graphs. Importing this module imports them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from langgraph import errors
from langgraph._internal import _serde
from langgraph.pregel import Pregel
from langgraph.pregel._loop import AsyncPregelLoop, PregelLoop, SyncPregelLoop
from langgraph.pregel._task_status import read_task_statuses
from langgraph.types import Command

from holdfast.checkpoints.langgraph_internals import START, inner_saver, next_nodes

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

_STRICT: Final = "STRICT_MSGPACK_ENABLED"
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


def _pass_types_to_compile() -> None:
    """Make every later `compile(checkpointer=…)` pass the types of the graph's state to the checkpointer.

    LangGraph does so only in its strict mode. It sets this attribute from `LANGGRAPH_STRICT_MSGPACK` when it is
    imported, so setting the variable comes too late in a program that has imported LangGraph already; it would also
    make the program's other serializers strict. The attribute alone makes `compile()` call `with_allowlist`, which
    changes nothing on a stock saver that allows every type. It is set when a checkpointer is made, which comes before
    `compile()`, and not when Holdfast is imported: a program that uses other checkpointers keeps LangGraph as it was.
    """
    vars(_serde)[_STRICT] = True


def mark_invalid_resume(error: BaseException) -> None:
    """Mark an error as one of a bad answer, as `langgraph.errors.is_invalid_resume` reads it."""
    setattr(error, errors._INVALID_RESUME, True)  # noqa: SLF001 - only LangGraph's own errors are marked publicly
