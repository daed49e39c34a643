"""The agent and the checkpointer that `langgraph.json` names, both made from the same settings.

The server loads the checkpointer by the path of this file and the agent by its module name. So this module exists twice
in the server, and holds only state that may exist twice.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph_sdk.runtime import ServerRuntime

from holdfast import factory, settings
from holdfast.server.langgraph import hooks, registry
from holdfast.server.langgraph.agent import ServedAgent, check_thread
from holdfast.server.langgraph.record import recording

# Loaded at import, which happens in a thread: the server does not allow file I/O on its event loop.
_settings = settings.load()
_agent = ServedAgent.of(factory.make_agent(_settings))


@asynccontextmanager
async def agent(config: RunnableConfig, runtime: ServerRuntime[Any]) -> AsyncIterator[ServedAgent]:
    """Yield the agent for one request of the server."""
    if runtime.access_context == "threads.create_run":  # another request only reads
        await check_thread(config, lambda saver, thread_id: factory.check_thread(_settings, saver, _agent, thread_id))
    yield _agent


@asynccontextmanager
async def checkpointer() -> AsyncIterator[BaseCheckpointSaver[Any]]:
    """Open the checkpointer for as long as the server runs."""
    async with factory.aopen_any_saver(_settings) as saver:
        registry.forget()
        hooks.install()
        async with recording(saver):
            yield saver
