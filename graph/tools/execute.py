"""Running a tool: through the ledger if it changes the world, and never for longer than it may take.

What is decided is written once; only the I/O has an async twin.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any, ParamSpec, TypeVar

from langchain_core.messages import ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, ToolException
from langgraph.errors import GraphInterrupt, ParentCommand, is_invalid_resume

from holdfast.checkpoints import (
    DatabaseUnavailable,
    EffectTaken,
    HoldfastSaver,
    apart,
    run_of,
    running_saver,
    saver_of,
)
from holdfast.checkpoints.effects import Effects, arguments_digest, effect_key, idempotency_key
from holdfast.checkpoints.effects.states import (
    Effect,
    Ended,
    InDoubt,
    Started,
    Why,
)
from holdfast.checkpoints.langgraph_internals import CHECKPOINT_MAP, graph_ns, has_own_coroutine
from holdfast.graph.approvals.decisions import BadAnswer
from holdfast.graph.tools.once import running_of, with_key
from holdfast.graph.tools.results import (
    Ready,
    Update,
    bare,
    doubt_message,
    failure_message,
    result_update,
    said_by,
    unreadable_message,
    update_of,
)

P = ParamSpec("P")
T = TypeVar("T")


def perform(ready: Ready, message_id: str, config: RunnableConfig) -> Update:
    """Answer a call that may run.

    Args:
        ready: the call.
        message_id: the message that made it.
        config: of the task.

    Raises:
        GraphInterrupt: the tool paused, and was not approved as a whole before.
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
    try:
        update = await apart(performance.begin)
    except asyncio.CancelledError:
        if performance.started is not None:
            await saver.offload(performance.give_back)
        raise
    return await performance.arun(saver.offload) if update is None else update


def refused(ready: Ready, answer: ToolMessage, message_id: str, config: RunnableConfig) -> ToolMessage:
    """The answer to a call that a person does not want to run, with what came of it if it has run before: on another
    branch of the conversation. It blocks."""
    saver = saver_of(config)
    if not isinstance(saver, HoldfastSaver) or not running_of(ready.tool).once:
        return answer
    found = saver.effects.look(effect_of(ready, message_id, config))
    if found is None or found.entry.state != "done":
        return answer
    text = f"{answer.text} It had run before that, and this is not taken back."
    return answer.model_copy(update={"content": text})


async def off(config: RunnableConfig, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call what blocks for a moment, from an event loop."""
    saver = saver_of(config)
    if isinstance(saver, HoldfastSaver):
        return await saver.offload(function, *args, **kwargs)
    return function(*args, **kwargs)  # does no I/O then


def effect_of(ready: Ready, message_id: str, config: RunnableConfig) -> Effect:
    """The call as the ledger knows it."""
    own = config["configurable"]
    ns = graph_ns(own.get("checkpoint_ns", ""))
    return Effect(
        thread_id=str(own.get("thread_id", "")),
        key=effect_key(message_id, ready.call["id"] or ""),
        tool=ready.tool.name,
        args_digest=arguments_digest(ready.tool.name, ready.call["args"]),
        ns=ns,
        checkpoint_id=own.get(CHECKPOINT_MAP, {}).get(ns, ""),
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
        if _is_pause(error) or isinstance(error, ParentCommand) or not _is_ordinary(error):
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
            return self.accounted(self.late)
        except BaseException:
            if not future.done():  # else it is what the work has raised
                self.cut_off()
            raise

    async def arun(self, offload: Callable[..., Any]) -> Update:
        """`run`, without blocking the event loop.

        Args:
            offload: runs a function that talks to the database.
        """
        limit = asyncio.timeout(self.timeout)
        try:
            async with limit:
                if not has_own_coroutine(self.tool):
                    # In a thread of its own: it may go on when nobody waits for it any more, and says how it ended.
                    return await asyncio.wrap_future(_start(self._work))
                try:
                    result = await self.tool.ainvoke(self.call, self.config)
                except Exception as error:
                    if limit.expired():
                        raise
                    return await offload(self.accounted, self.raised, error)  # type: ignore[no-any-return]
        except TimeoutError:
            if not limit.expired():
                raise
            return await offload(self.accounted, self.late)  # type: ignore[no-any-return]
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            await offload(self.cut_off)
            raise
        return await offload(self.accounted, self.done, result)  # type: ignore[no-any-return]

    def accounted(self, end: Callable[..., Update], *how: Any) -> Update:
        """Say how it ended. Nothing that was begun is left without an end, whatever goes wrong with saying so."""
        return end(*how)

    def _work(self) -> Update:
        try:
            result = self.tool.invoke(self.call, self.config)
        except BaseException as error:  # noqa: BLE001 - `raised` knows which are not its own
            return self.accounted(self.raised, error)
        return self.accounted(self.done, result)


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

    def accounted(self, end: Callable[..., Update], *how: Any) -> Update:
        try:
            return end(*how)
        except BaseException:
            # It is over one way or another, or kept until the database is back; else nobody would ever say so.
            with suppress(DatabaseUnavailable):
                self.effects.doubt_if_open(self._running)
            raise

    def done(self, result: Any) -> Update:
        try:
            update = result_update(self.ready, result, self.id)
        except Exception as error:  # noqa: BLE001 - that it ran is what counts
            update = update_of(unreadable_message(self.ready, said_by(error)), self.id)
        return self._finish(update)

    def raised(self, error: BaseException) -> Update:
        """How a tool that raised has ended:

        - `ToolException` is its own word for: it was not done;
        - a pause of its own comes before it acts, and it begins anew when that is answered. Once it was approved it
          may not pause: one pause a task, since a late second click on the approval would answer the other question;
        - of anything else nobody knows what was done. What ends the program or the run goes on its way.
        """
        if isinstance(error, ToolException):
            return self._finish(update_of(failure_message(self.ready, error), self.id), failed=True)
        if _is_pause(error) and self.ready.approval is None:
            self.effects.release(self._running)
            raise error
        if isinstance(error, GraphInterrupt):
            error = _second_pause(self.tool)
        if not _is_ordinary(error):
            self.cut_off()
            raise error
        self.effects.doubt(self._running, "error")
        return self._doubt("error", said_by(error))

    def give_back(self) -> None:
        """It was begun, and will not be run: nobody waits for it any more."""
        if self._running.attempt == 1:
            self.effects.release(self._running)
        else:
            self.cut_off()

    def late(self) -> Update:
        if self.effects.doubt(self._running, "timeout"):
            return self._doubt("timeout", said_by(_no_answer(self.timeout)))
        # It ended this very moment.
        return self.begin() or self._doubt("timeout")

    def cut_off(self) -> None:
        self.effects.doubt(self._running, "cancelled")

    def _finish(self, update: Update, *, failed: bool = False) -> Update:
        forms: list[Callable[[], Update]] = [
            lambda: update,
            lambda: bare(self.ready, update),
            lambda: update_of(unreadable_message(self.ready), self.id),
        ]
        problem: Exception | None = None
        for form in forms:
            try:
                return self.effects.finish(self._running, form(), failed=failed)  # type: ignore[no-any-return]
            except (DatabaseUnavailable, EffectTaken):
                raise
            except Exception as error:  # noqa: BLE001 - in this form it cannot be kept
                problem = problem or error
        raise problem or RuntimeError("There was no form.")

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


def _is_pause(error: BaseException) -> bool:
    """Whether the tool asks a question of its own, or was given an answer to it that does not fit."""
    return isinstance(error, GraphInterrupt) or (is_invalid_resume(error) and not isinstance(error, BadAnswer))


def _is_ordinary(error: BaseException) -> bool:
    """Whether it is the tool's own affair. A tool that calls `sys.exit` does not end the program."""
    return isinstance(error, Exception | SystemExit) and not isinstance(error, asyncio.CancelledError)


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
