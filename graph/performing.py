"""Running a tool: through the ledger if it changes the world, and never for longer than it may take.

What is decided is written once; only the I/O has an async twin.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

from langchain_core.messages import ToolCall
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, ToolException
from langgraph.errors import GraphBubbleUp, GraphInterrupt, is_invalid_resume

from checkpoints import HoldfastSaver, NotStorable, apart, run_of, running_saver
from checkpoints.effects import Effects, arguments_digest, effect_key, idempotency_key
from checkpoints.judging import Effect, Ended, InDoubt, Started, Why
from graph.once import running_of, with_key
from graph.outcomes import (
    Ready,
    Update,
    bare,
    doubt_message,
    failure_message,
    result_update,
    said_by,
    update_of,
)


def perform(ready: Ready, message_id: str, config: RunnableConfig) -> Update:
    """Answer a call that may run.

    Args:
        ready: the call.
        message_id: the message that made it.
        config: of the task.

    Raises:
        GraphBubbleUp: the tool paused, and was not approved as a whole before.
        EffectNotCommitted, EffectNotApproved: it may not be run. Nothing ran.
        DatabaseUnavailable: how it ended could not be put on record yet.
    """
    saver = running_saver()
    if not isinstance(saver, HoldfastSaver) or not running_of(ready.tool).once:
        return _Plain(ready, config).run()
    performance = Performance(ready, config, effect_of(ready, message_id, config), saver.effects)
    update = performance.begin()
    return performance.run() if update is None else update


async def aperform(ready: Ready, message_id: str, config: RunnableConfig) -> Update:
    """`perform`, without blocking the event loop."""
    saver = running_saver()
    if not isinstance(saver, HoldfastSaver) or not running_of(ready.tool).once:
        return await _Plain(ready, config).arun(_at_once)
    performance = Performance(ready, config, effect_of(ready, message_id, config), saver.effects)
    update = await apart(performance.begin)
    return await performance.arun(saver.offload) if update is None else update


def effect_of(ready: Ready, message_id: str, config: RunnableConfig) -> Effect:
    """The call as the ledger knows it."""
    own = config["configurable"]
    # The namespace of the graph, without the task: "" for the root graph, "agent:1f.." inside another one.
    ns = own.get("checkpoint_ns", "").rpartition("|")[0]
    return Effect(
        thread_id=str(own.get("thread_id", "")),
        key=effect_key(message_id, ready.call["id"] or ""),
        tool=ready.tool.name,
        args_digest=arguments_digest(ready.tool.name, ready.call["args"]),
        ns=ns,
        checkpoint_id=own.get("checkpoint_map", {}).get(ns, ""),
        interrupt_id=ready.given.interrupt_id if ready.given else None,
        answer_digest=ready.given.digest if ready.given else None,
        run_id=run_of(config),
    )


def answer_id(effect: Effect) -> str:
    """The id of the answer to a call: the same whenever it is answered, so that a later answer takes the place of an
    earlier one."""
    return str(uuid.UUID(hex=effect.key))


@dataclass
class _Plain:
    """A tool that is safe to repeat, or that runs where there is no ledger."""

    ready: Ready
    config: RunnableConfig

    @property
    def tool(self) -> BaseTool:
        return self.ready.tool

    @property
    def call(self) -> ToolCall:
        """What the tool is given."""
        own = self.config["configurable"]
        thread, call_id = str(own.get("thread_id", "")), self.ready.call["id"] or ""
        return with_key(self.tool, self.ready.call, effect_key(thread, call_id))

    @property
    def timeout(self) -> float | None:
        return running_of(self.tool).timeout

    def done(self, result: Any) -> Update:
        """The tool returned."""
        return result_update(self.ready, result)

    def raised(self, error: BaseException) -> Update:
        """The tool raised. What LangGraph itself raises, and what ends the program, goes on its way."""
        if isinstance(error, GraphInterrupt) and self.ready.approval is not None:
            return update_of(failure_message(self.ready, _second_pause(self.tool)))
        if isinstance(error, GraphBubbleUp) or is_invalid_resume(error) or not _is_ordinary(error):
            raise error
        return update_of(failure_message(self.ready, error))

    def late(self) -> Update:
        """The tool did not answer in time."""
        return update_of(failure_message(self.ready, _no_answer(self.timeout)))

    def cut_off(self) -> None:
        """The run was cancelled while the tool was running."""

    def run(self) -> Update:
        """Run the tool, and answer the call."""
        if self.timeout is None:
            return self._work()
        future = _start(self._work)
        try:
            return future.result(self.timeout)
        except TimeoutError:
            if future.done():
                return future.result()
            return self.late()
        except BaseException:
            if not future.done():  # else it is what the work has raised
                self.cut_off()
            raise

    async def arun(self, offload: Callable[..., Any]) -> Update:
        """`run`, without blocking the event loop.

        Args:
            offload: runs a function that talks to the database.
        """
        if not _is_asynchronous(self.tool):
            # In a thread of its own: it may go on when nobody waits for it any more, and says how it ended.
            awaited: Any = asyncio.wrap_future(_start(self._work))
            answer: Callable[[Any], Any] | None = None
        else:
            awaited, answer = self.tool.ainvoke(self.call, self.config), self.done
        try:
            async with asyncio.timeout(self.timeout) as limit:
                result = await awaited
        except asyncio.CancelledError:
            await offload(self.cut_off)
            raise
        except BaseException as error:
            if limit.expired():
                return await offload(self.late)  # type: ignore[no-any-return]
            if answer is None:
                raise
            return await offload(self.raised, error)  # type: ignore[no-any-return]
        return result if answer is None else await offload(answer, result)  # type: ignore[no-any-return]

    def _work(self) -> Update:
        try:
            result = self.tool.invoke(self.call, self.config)
        except BaseException as error:  # noqa: BLE001 - the same
            return self.raised(error)
        return self.done(result)


@dataclass
class Performance(_Plain):
    """A tool that changes the world, on record."""

    effect: Effect
    effects: Effects
    started: Started | None = field(default=None)

    def begin(self, give_up: Event | None = None) -> Update | None:
        """Get the right to run it; if there is none, what the call is answered with."""
        match self.effects.begin(self.effect, give_up):
            case Ended(value=value):
                return value  # type: ignore[no-any-return]
            case InDoubt(why=why):
                return self._doubt(why)
            case Started() as started:
                self.started = started
                return None

    @property
    def call(self) -> ToolCall:
        return with_key(self.tool, self.ready.call, idempotency_key(self.effect, self._running.lineage))

    @property
    def id(self) -> str:
        return answer_id(self.effect)

    @property
    def _running(self) -> Started:
        if self.started is None:
            raise RuntimeError("It has not begun.")
        return self.started

    def done(self, result: Any) -> Update:
        return self._finish(result_update(self.ready, result, self.id))

    def raised(self, error: BaseException) -> Update:
        if isinstance(error, ToolException):  # the tool's own word for: it was not done
            return self._finish(update_of(failure_message(self.ready, error), self.id), failed=True)
        if isinstance(error, GraphInterrupt) and self.ready.approval is not None:
            error = _second_pause(self.tool)
        if isinstance(error, GraphBubbleUp) or is_invalid_resume(error):
            # It pauses before it acts, and begins anew when it is answered.
            self.effects.release(self._running)
            raise error
        if not _is_ordinary(error):
            self.cut_off()
            raise error
        self.effects.doubt(self._running, "error")
        return self._doubt("error", said_by(error))

    def late(self) -> Update:
        if self.effects.doubt(self._running, "timeout"):
            return self._doubt("timeout", said_by(_no_answer(self.timeout)))
        # It ended this very moment.
        return self.begin() or self._doubt("timeout")

    def cut_off(self) -> None:
        self.effects.doubt(self._running, "cancelled")

    def _finish(self, update: Update, *, failed: bool = False) -> Update:
        try:
            return self.effects.finish(self._running, update, failed=failed)  # type: ignore[no-any-return]
        except NotStorable:
            return self.effects.finish(self._running, bare(self.ready, update), failed=failed)  # type: ignore[no-any-return]

    def _doubt(self, why: Why, detail: str = "") -> Update:
        return update_of(doubt_message(self.ready, why, self.id, detail=detail), self.id)


def _second_pause(tool: BaseTool) -> ToolException:
    # One pause a task: a late second click on the approval would answer this other question unseen.
    return ToolException(
        f"{tool.name} asked a question of its own after it was approved, and stopped there. A tool that needs approval "
        "cannot pause a second time."
    )


def _no_answer(timeout: float | None) -> ToolException:
    return ToolException(f"It did not answer within {timeout:g} seconds.")


def _is_ordinary(error: BaseException) -> bool:
    """Whether it is the tool's own affair. A tool that calls `sys.exit` does not end the program."""
    return isinstance(error, Exception | SystemExit) and not isinstance(error, asyncio.CancelledError)


def _is_asynchronous(tool: BaseTool) -> bool:
    """Whether it has code of its own for event loops. (A function as a tool has it if it has a coroutine.)"""
    return type(tool)._arun is not BaseTool._arun and getattr(tool, "coroutine", True) is not None  # noqa: SLF001


def _start(work: Callable[[], Update]) -> Future[Update]:
    """Begin some work in a thread of its own, which nobody waits for when the program ends."""
    future: Future[Update] = Future()
    context = copy_context()

    def run() -> None:
        future.set_running_or_notify_cancel()  # from now on, who gives up waiting does not cancel it
        try:
            result = context.run(work)
        except BaseException as error:  # noqa: BLE001 - whoever waits for it gets it
            future.set_exception(error)
        else:
            future.set_result(result)

    Thread(target=run, name="holdfast-tool", daemon=True).start()
    return future


async def _at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)
