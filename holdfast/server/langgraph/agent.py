"""The agent as the server runs it.

Each run holds the thread's lease, each step is durable before the next begins, and a client is told the text of an
error.
"""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from typing import Any, cast

from langchain_core.exceptions import ModelError
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import UnknownInterruptError
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, StateSnapshot

from holdfast.agents import AnotherAgent
from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.errors import HoldfastError, NotAnswered
from holdfast.checkpoints.interrupts import answers_by_id
from holdfast.checkpoints.runtime import running_saver, unwrap_saver
from holdfast.graph import BadAnswer
from holdfast.graph.conversation.agents import AgentProfile, AnyAgent
from holdfast.graph.conversation.answer import ThreadAnswers
from holdfast.graph.conversation.runs import ThreadRuns
from holdfast.graph.plans import OnLoop
from holdfast.server.langgraph.record import current
from holdfast.server.observed.outcomes import told


class ServedAgent(CompiledStateGraph[Any, Any, Any, Any]):
    """An agent whose runs are durable step by step.

    The server runs with durability "async" unless its client says otherwise. A killed process then loses the newest
    steps, although a client has seen them.
    """

    @classmethod
    def of(cls, agent: AnyAgent) -> ServedAgent:
        """Return the same agent as an instance of this class. It is a compiled StateGraph."""
        return cls(**{name: value for name, value in vars(agent).items() if name != "__orig_class__"})

    def aget_state_history(
        self, config: RunnableConfig, *, before: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[StateSnapshot]:
        if (
            before is not None and "configurable" not in before
        ):  # the server passes on a checkpoint as its client has it
            before = {"configurable": dict(before)}
        return super().aget_state_history(config, before=before, **kwargs)

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        if self.checkpointer:
            kwargs["durability"] = "sync"
        if config is not None and (record := current()) is not None:
            config = record.marked(config)
        configurable = (config or {}).get("configurable", {})
        thread_id = str(configurable.get("thread_id", ""))
        async with self._turn(thread_id, configurable.get("run_id")):
            async for run_input, run_config in self._runs(input, config, thread_id):
                chunks = cast("AsyncGenerator[Any, None]", super().astream(run_input, run_config, **kwargs))
                async with aclosing(chunks):
                    try:
                        async for chunk in chunks:
                            yield chunk
                    except UnknownInterruptError as error:
                        if earlier := await self._earlier_answer(run_input, thread_id):
                            raise earlier from error
                        raise

    @asynccontextmanager
    async def _turn(self, thread_id: str, run_id: str | None) -> AsyncIterator[None]:
        """Hold the lease of the thread that a run writes to, tell how the run ends, and name its error for clients.

        The run waits for as long as another writer has the thread. It can be stopped meanwhile: unlike what the server
        does before it has the agent, the stream is cancelled at once.
        """
        saver = unwrap_saver(self.checkpointer)
        async with AsyncExitStack() as stack:
            if isinstance(saver, HoldfastSaver) and thread_id:
                with _errors_for_clients():
                    lease = saver.alease(thread_id, purpose="a run of the server", wait=math.inf)
                    await stack.enter_async_context(lease)
            with told(thread_id, run_id), _errors_for_clients():
                yield

    async def _runs(
        self, input: Any, config: RunnableConfig | None, thread_id: str
    ) -> AsyncGenerator[tuple[Any, RunnableConfig | None], None]:
        """Yield the inputs to run one after the other: recorded answers are carried out before a new message."""
        saver = unwrap_saver(self.checkpointer)
        if not isinstance(saver, BaseCheckpointSaver) or not thread_id or config is None:
            yield input, config
            return
        profile, io = AgentProfile(self), OnLoop(saver)
        answers = ThreadAnswers(profile, thread_id)
        runs = ThreadRuns(profile, answers, config, None)
        if isinstance(input, Command) and not await io.call(_is_recorded, saver, thread_id, input):
            if not profile.records_answers:
                await io.call(answers.record_resume, (await runs.look(io)).state, input.resume, config)
            yield input, config
            return
        is_due = isinstance(saver, HoldfastSaver) and bool(await io.call(saver.interrupts.todo, 1, thread_id))
        due = (await runs.look(io)).input if is_due else None
        if input is None or isinstance(input, Command):  # answers on record, which are due, or were carried out
            yield due, config
            return
        if is_due:
            yield due, _own_run(config)
        given = input.get(profile.messages_key) if isinstance(input, Mapping) else None
        if not isinstance(given, list):
            yield input, config
            return
        is_elsewhere = config["configurable"].get("checkpoint_id")  # an older checkpoint, on purpose
        unread = [] if is_elsewhere else await runs.unread(io)
        yield {**input, **await runs.input(io, [*unread, *given])}, config

    async def _earlier_answer(self, input: Any, thread_id: str) -> NotAnswered | None:
        """Return the error that names the earlier answer to a request, if a run was given a second one."""
        saver, resume = unwrap_saver(self.checkpointer), input.resume if isinstance(input, Command) else None
        if not isinstance(saver, HoldfastSaver) or not isinstance(resume, Mapping):
            return None
        for interrupt_id in map(str, resume):
            found = await saver.interrupts.arecorded(thread_id, interrupt_id)
            if found is not None:
                return found.told()
        return None


def _is_recorded(saver: BaseCheckpointSaver[Any], thread_id: str, command: Command[Any]) -> bool:
    """Return whether a command is nothing but answers that are on record. A run finds these. It blocks."""
    answers = answers_by_id(command.resume)
    if not isinstance(saver, HoldfastSaver) or not answers or command.update is not None or command.goto:
        return False
    for interrupt_id, answer in answers.items():
        found = saver.interrupts.recorded(thread_id, interrupt_id)
        if found is None or not saver.interrupts.is_recorded(found, answer):
            return False
    return True


def _own_run(config: RunnableConfig) -> RunnableConfig:
    """Return the config of a run of its own.

    LangGraph ignores an input under the run id of the newest checkpoint as one that it has had already; and a client
    that rolls the new run back must not roll the answers back with it.
    """
    own = {"run_id": str(uuid.uuid4())}
    return {
        **config,
        "configurable": {**config.get("configurable", {}), **own},
        "metadata": {**config.get("metadata", {}), **own},
    }


async def check_thread(config: RunnableConfig, check: Callable[[BaseCheckpointSaver[Any], str], None]) -> None:
    """Refuse a run of a thread to which the agent may not write.

    Args:
        config: the config of the run. One without a thread is not refused.
        check: raises if the agent may not write to the thread. It blocks.

    Raises:
        RuntimeError: named `AnotherAgent`: the thread is another agent's. Or named as the error of the database.
    """
    saver, thread_id = running_saver(config), config.get("configurable", {}).get("thread_id")
    if isinstance(saver, BaseCheckpointSaver) and thread_id:
        in_thread = saver.run_in_executor if isinstance(saver, HoldfastSaver) else asyncio.to_thread
        with _errors_for_clients():
            await in_thread(check, saver, str(thread_id))


@contextmanager
def _errors_for_clients() -> Iterator[None]:
    # For most errors the server tells its client only "An internal error occurred"; for a RuntimeError it tells the
    # name and the text. The texts of these errors hold no secret, and say what to do.
    try:
        yield
    except UnknownInterruptError as error:
        late = "No call waits under this id: it was answered or closed, or never existed."
        which = 'Several calls wait. Name the one you answer: {"resume": {interrupt_id: answer}}.'
        raise _named(error, f"{which if 'multiple' in str(error) else late} ({error})") from error
    except (HoldfastError, ModelError, AnotherAgent, BadAnswer) as error:
        raise _named(error, str(error)) from error


def _named(error: Exception, text: str) -> RuntimeError:
    kind: type[RuntimeError] = type(type(error).__name__, (RuntimeError,), {"words_for_clients": text})
    return kind(text)
