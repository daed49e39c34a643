"""The agent as the server runs it: each run takes the thread's lease, every step is durable before the next, and what
went wrong is said to the client."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from typing import Any, cast

from langchain_core.exceptions import ModelError
from langchain_core.runnables import RunnableConfig
from langgraph.errors import UnknownInterruptError
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command

from holdfast.checkpoints import HoldfastError, HoldfastSaver, NotAnswered
from holdfast.checkpoints.runtime import running_saver, unwrap_saver
from holdfast.graph.agent import Agent
from holdfast.graph.state import State


class ServedAgent(CompiledStateGraph[State, None, State, State]):
    """An agent whose runs are durable step by step.

    The server asks for "async" unless its client says otherwise, and then a process that is killed takes the newest
    steps with it, although a client has seen them.
    """

    @classmethod
    def of(cls, agent: Agent) -> ServedAgent:
        """The same agent as one of this class."""
        return cls(**{name: value for name, value in vars(agent).items() if name != "__orig_class__"})

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        if self.checkpointer:
            kwargs["durability"] = "sync"
        place = (config or {}).get("configurable", {})
        with _passed_on():
            for what, run in await self._runs(input, config, str(place.get("thread_id", ""))):
                chunks = cast("AsyncGenerator[Any, None]", super().astream(what, run, **kwargs))
                async with aclosing(chunks):
                    try:
                        async for chunk in chunks:
                            yield chunk
                    except UnknownInterruptError as error:
                        if first := await self._first(what, str(place.get("thread_id", ""))):
                            raise first from error
                        raise

    async def _runs(
        self, input: Any, config: RunnableConfig | None, thread_id: str
    ) -> list[tuple[Any, RunnableConfig | None]]:
        """What to run one after the other: what was decided is not dropped for what is said now."""
        saver = unwrap_saver(self.checkpointer)
        said = [(input, config)]
        if input is None or isinstance(input, Command) or not isinstance(saver, HoldfastSaver) or not thread_id:
            return said
        if config is None or not await saver.run_in_executor(saver.interrupts.todo, 1, thread_id):
            return said
        # As a run of its own: LangGraph takes an input under the id of the newest checkpoint's run for one that it has
        # had, and who takes back what was said now does not take back what was decided.
        own = {"run_id": str(uuid.uuid4())}
        apart: RunnableConfig = {
            **config,
            "configurable": {**config.get("configurable", {}), **own},
            "metadata": {**config.get("metadata", {}), **own},
        }
        return [(None, apart), *said]

    async def _first(self, input: Any, thread_id: str) -> NotAnswered | None:
        """Who has answered already what a run was given an answer to."""
        saver, resume = unwrap_saver(self.checkpointer), input.resume if isinstance(input, Command) else None
        if not isinstance(saver, HoldfastSaver) or not isinstance(resume, Mapping):
            return None
        for interrupt_id in map(str, resume):
            found = await saver.run_in_executor(saver.interrupts.recorded, thread_id, interrupt_id)
            if found is not None:
                return found.told()
        return None


@asynccontextmanager
async def turn(config: RunnableConfig) -> AsyncIterator[None]:
    """Hold the lease of the thread that a run is about to write to; nothing for a run without a thread.

    Raises:
        ThreadBusy: somebody else, such as another replica, wrote to the thread all the time.
    """
    configurable = config.get("configurable", {})
    saver, thread_id = running_saver(config), configurable.get("thread_id")
    async with AsyncExitStack() as stack:
        if isinstance(saver, HoldfastSaver) and thread_id:
            with _passed_on():
                await stack.enter_async_context(saver.alease(str(thread_id), purpose="a run of the server"))
        yield


@contextmanager
def _passed_on() -> Iterator[None]:
    # Of most errors the server tells its client no more than "An internal error occurred"; of a RuntimeError it tells
    # name and text. The texts of these hold no secret and say what to do.
    try:
        yield
    except UnknownInterruptError as error:
        late = "No call waits under this id: it was answered or closed already, or never was."
        which = 'Several calls wait: say which, as in {"resume": {interrupt_id: answer}}.'
        raise _named(error, f"{which if 'multiple' in str(error) else late} ({error})") from error
    except (HoldfastError, ModelError) as error:
        raise _named(error, str(error)) from error


def _named(error: Exception, text: str) -> RuntimeError:
    kind: type[RuntimeError] = type(type(error).__name__, (RuntimeError,), {})
    return kind(text)
