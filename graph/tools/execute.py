"""The run of a tool: through the ledger if it changes the world, and within its timeout."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

from langchain_core.messages import ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, ToolException
from langgraph.errors import GraphInterrupt, ParentCommand, is_invalid_resume

from holdfast.checkpoints import Effect, Effects, Ended, HoldfastSaver, InDoubt, Started, Why
from holdfast.checkpoints.effects import arguments_digest, effect_key, idempotency_key
from holdfast.checkpoints.errors import DatabaseUnavailable, EffectTaken
from holdfast.checkpoints.langgraph_internals import CHECKPOINT_MAP, graph_ns, has_own_coroutine
from holdfast.checkpoints.runtime import run_of, running_saver
from holdfast.graph.approvals.decisions import BadAnswer
from holdfast.graph.plans import Io
from holdfast.graph.tools.ledger import check_ledger
from holdfast.graph.tools.once import run_policy, with_key
from holdfast.graph.tools.results import (
    Ready,
    Update,
    doubt_message,
    error_text,
    failure_message,
    result_update,
    text_only,
    unreadable_message,
    update_of,
)


@dataclass(frozen=True)
class Work:
    """The two ways to call a tool. Each takes the call as the tool gets it."""

    invoke: Callable[[ToolCall], Any]
    ainvoke: Callable[[ToolCall], Awaitable[Any]] | None = None
    """For event loops. Without it `invoke` runs in a thread of its own."""

    @classmethod
    def of(cls, tool: BaseTool, config: RunnableConfig) -> Work:
        """Return the direct call of a tool."""
        ainvoke = (lambda call: tool.ainvoke(call, config)) if has_own_coroutine(tool) else None
        return cls(lambda call: tool.invoke(call, config), ainvoke)


async def run_call(io: Io, ready: Ready, message_id: str, config: RunnableConfig, work: Work | None = None) -> Update:
    """Run a call, and return the update with its answer.

    Args:
        ready: the call.
        message_id: the id of the message that made it.
        config: the config of the task.
        work: calls the tool; by default directly.

    Raises:
        GraphInterrupt: the tool paused, and its call needed no approval.
        EffectNotCommitted, EffectNotApproved, EffectClosed: the call may not run. Nothing ran.
        DatabaseUnavailable: the outcome could not be recorded yet.
        NeedsOwnDatabase: the tool is declared `once`, and the checkpointer has no ledger. Nothing ran.
    """
    saver = running_saver(config)
    check_ledger(saver, ready.tool)
    if not isinstance(saver, HoldfastSaver) or not run_policy(ready.tool).once:
        return await ToolRun(ready, config, work).execute(io)
    run = EffectRun(ready, config, work, effect_of(ready, message_id, config), saver.effects)
    try:
        update = await io.wait(run.begin)
    except asyncio.CancelledError:
        if run.started is not None:
            await io.call(run.give_back)
        raise
    return await run.execute(io) if update is None else update


def refusal_message(ready: Ready, answer: ToolMessage, message_id: str, config: RunnableConfig) -> ToolMessage:
    """Return the answer to a refused call. It tells if the call has run before, on another branch of the conversation.

    It blocks.
    """
    saver = running_saver(config)
    if not isinstance(saver, HoldfastSaver) or not run_policy(ready.tool).once:
        return answer
    status = saver.effects.look(effect_of(ready, message_id, config))
    if status is None or status.entry.state != "done":
        return answer
    text = f"{answer.text} It had run before that, and this is not taken back."
    return answer.model_copy(update={"content": text})


def effect_of(ready: Ready, message_id: str, config: RunnableConfig) -> Effect:
    """Return the effect by which the ledger knows a call."""
    configurable = config["configurable"]
    ns = graph_ns(configurable.get("checkpoint_ns", ""))
    return Effect(
        thread_id=str(configurable.get("thread_id", "")),
        key=effect_key(message_id, ready.call["id"] or ""),
        tool=ready.tool.name,
        args_digest=arguments_digest(ready.tool.name, ready.call["args"]),
        ns=ns,
        checkpoint_id=configurable.get(CHECKPOINT_MAP, {}).get(ns, ""),
        interrupt_id=ready.answer.interrupt_id if ready.answer else None,
        answer_digest=ready.answer.digest if ready.answer else None,
        run_id=run_of(config),
        root_id=None
        if config.get("metadata", {}).get("checkpoint_id")
        else configurable.get(CHECKPOINT_MAP, {}).get(""),
    )


def answer_id(effect: Effect) -> str:
    """Return the id of the answer to a call. It is always the same, so that a later answer replaces an earlier one."""
    return str(uuid.UUID(hex=effect.key))


@dataclass
class ToolRun:
    """The run of a call without the ledger: its tool is safe to repeat, or the checkpointer has no ledger."""

    ready: Ready
    config: RunnableConfig
    work: Work | None
    """Calls the tool; `None`: directly."""

    @property
    def tool(self) -> BaseTool:
        return self.ready.tool

    @property
    def call(self) -> ToolCall:
        """The call as the tool gets it."""
        configurable = self.config["configurable"]
        thread_id, call_id = str(configurable.get("thread_id", "")), self.ready.call["id"] or ""
        return with_key(self.tool, self.ready.call, effect_key(thread_id, call_id))

    @property
    def timeout(self) -> float | None:
        return run_policy(self.tool).timeout

    async def execute(self, io: Io) -> Update:
        """Run the tool, and return the update with the answer to the call."""
        return await io.either(self._block, self._await, io)

    def returned(self, result: Any) -> Update:
        """Account for a tool that returned."""
        return result_update(self.ready, result)

    def raised(self, error: BaseException) -> Update:
        """Account for a tool that raised. Raise LangGraph's own errors, and those that end the program, again."""
        if isinstance(error, GraphInterrupt) and self.ready.approval is not None:
            return update_of(failure_message(self.ready, _second_pause(self.tool)))
        if _is_pause(error) or isinstance(error, ParentCommand) or not _is_ordinary(error):
            raise error
        return update_of(failure_message(self.ready, error))

    def timed_out(self) -> Update:
        """Account for a tool that did not return in time."""
        return update_of(failure_message(self.ready, _timeout_error(self.timeout)))

    def cut_off(self) -> None:
        """Account for a run that was cancelled while the tool was running."""

    def accounted(self, ending: Callable[..., Update], *args: Any) -> Update:
        """Call one of the methods above."""
        return ending(*args)

    async def offloaded(self, io: Io, function: Callable[..., Any], *args: Any) -> Any:
        """Call `accounted` or `cut_off` from an event loop."""
        return function(*args)  # without the ledger they do not block

    def _work(self) -> Update:
        try:
            result = self._tool_call.invoke(self.call)
        except BaseException as error:  # noqa: BLE001 - `raised` raises again what is not the tool's own error
            return self.accounted(self.raised, error)
        return self.accounted(self.returned, result)

    def _block(self, _: Io) -> Update:
        if self.timeout is None:
            return self._work()
        future = _start(self._work)
        try:
            return future.result(self.timeout)
        except TimeoutError:
            if future.done():
                return future.result()
            return self.accounted(self.timed_out)
        except BaseException:
            if not future.done():  # else `_work` raised it
                self.cut_off()
            raise

    @property
    def _tool_call(self) -> Work:
        return self.work or Work.of(self.tool, self.config)

    async def _await(self, io: Io) -> Update:
        limit, ainvoke = asyncio.timeout(self.timeout), self._tool_call.ainvoke
        try:
            async with limit:
                if ainvoke is None:
                    # In a thread of its own, which goes on after a timeout and accounts for its end itself.
                    return await asyncio.wrap_future(_start(self._work))
                try:
                    result = await ainvoke(self.call)
                except Exception as error:
                    if limit.expired():
                        raise
                    return await self.offloaded(io, self.accounted, self.raised, error)  # type: ignore[no-any-return]
        except TimeoutError:
            if not limit.expired():
                raise
            return await self.offloaded(io, self.accounted, self.timed_out)  # type: ignore[no-any-return]
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            await self.offloaded(io, self.cut_off)
            raise
        return await self.offloaded(io, self.accounted, self.returned, result)  # type: ignore[no-any-return]


@dataclass
class EffectRun(ToolRun):
    """The run of a call that the ledger records."""

    effect: Effect
    effects: Effects
    started: Started | None = field(default=None)

    def begin(self, give_up: Event | None = None) -> Update | None:
        """Claim the right to run the call. If it is not given, return the update that answers the call."""
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
        return with_key(self.tool, self.ready.call, idempotency_key(self.effect, self._claim.lineage))

    @property
    def id(self) -> str:
        return answer_id(self.effect)

    @property
    def _claim(self) -> Started:
        if self.started is None:
            raise RuntimeError("The run has not begun. Call `begin` first.")
        return self.started

    def returned(self, result: Any) -> Update:
        try:
            update = result_update(self.ready, result, self.id)
        except Exception as error:  # noqa: BLE001 - the tool ran, whatever its result is
            update = update_of(unreadable_message(self.ready, error_text(error)), self.id)
        return self._finish(update)

    def raised(self, error: BaseException) -> Update:
        """Account for a tool that raised.

        - After `ToolException` the call failed: by raising it a tool says that it did nothing.
        - After a pause of the tool's own, its claim is released, and the tool begins anew when the pause is answered.
          An approved call may not pause: it would be the second pause of the task, and a late second click on the
          approval would answer it.
        - After any other error the call is in doubt. Errors that end the program or the run are raised again.
        """
        if isinstance(error, ToolException):
            return self._finish(update_of(failure_message(self.ready, error), self.id), failed=True)
        if _is_pause(error) and self.ready.approval is None:
            self.effects.release(self._claim)
            raise error
        if isinstance(error, GraphInterrupt):
            error = _second_pause(self.tool)
        if not _is_ordinary(error):
            self.cut_off()
            raise error
        self.effects.doubt(self._claim, "error")
        return self._doubt("error", error_text(error))

    def timed_out(self) -> Update:
        if self.effects.doubt(self._claim, "timeout"):
            return self._doubt("timeout", error_text(_timeout_error(self.timeout)))
        # The tool ended at this very moment.
        return self.begin() or self._doubt("timeout")

    def cut_off(self) -> None:
        self.effects.doubt(self._claim, "cancelled")

    def give_back(self) -> None:
        """Account for a run that was cancelled after `begin`, before the tool was called."""
        if self._claim.attempt == 1:
            self.effects.release(self._claim)
        else:
            self.cut_off()

    def accounted(self, ending: Callable[..., Update], *args: Any) -> Update:
        """Call one of the methods above. If it fails, the effect is in doubt, so that none is left open."""
        try:
            return ending(*args)
        except BaseException:
            # If the database is out of reach, the ledger keeps the outcome until it is back.
            with suppress(DatabaseUnavailable):
                self.effects.doubt_if_open(self._claim)
            raise

    async def offloaded(self, io: Io, function: Callable[..., Any], *args: Any) -> Any:
        return await io.call(function, *args)

    def _finish(self, update: Update, *, failed: bool = False) -> Update:
        forms: list[Callable[[], Update]] = [
            lambda: update,
            lambda: text_only(self.ready, update),
            lambda: update_of(unreadable_message(self.ready), self.id),
        ]
        problem: Exception | None = None
        for form in forms:
            try:
                return self.effects.finish(self._claim, form(), failed=failed)  # type: ignore[no-any-return]
            except (DatabaseUnavailable, EffectTaken):
                raise
            except Exception as error:  # noqa: BLE001 - this form cannot be stored
                problem = problem or error
        assert problem is not None  # noqa: S101 - each form either returned or failed
        raise problem

    def _doubt(self, why: Why, detail: str = "") -> Update:
        return update_of(doubt_message(self.ready, why, self.id, detail=detail), self.id)


def _second_pause(tool: BaseTool) -> ToolException:
    # A task may pause once: a late second click on the approval would answer the second pause unseen.
    return ToolException(
        f"{tool.name} asked a question of its own after it was approved, and stopped there. A tool that needs approval "
        "cannot pause a second time."
    )


def _timeout_error(timeout: float | None) -> ToolException:
    return ToolException(f"It did not answer within {timeout:g} seconds.")


def _is_pause(error: BaseException) -> bool:
    """Return whether the tool paused by itself, or was given an answer to its pause that does not fit."""
    return isinstance(error, GraphInterrupt) or (is_invalid_resume(error) and not isinstance(error, BadAnswer))


def _is_ordinary(error: BaseException) -> bool:
    """Return whether an error is the tool's own. A tool that calls `sys.exit` does not end the program."""
    return isinstance(error, Exception | SystemExit) and not isinstance(error, asyncio.CancelledError)


def _start(work: Callable[[], Update]) -> Future[Update]:
    """Start some work in a thread of its own. The end of the program does not wait for it."""
    future: Future[Update] = Future()
    context = copy_context()

    def run() -> None:
        future.set_running_or_notify_cancel()  # so that a caller who gives up waiting does not cancel it
        try:
            result = context.run(work)
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            future.set_exception(error)
        else:
            future.set_result(result)

    Thread(target=run, name="holdfast-tool", daemon=True).start()
    return future
