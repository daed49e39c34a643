"""What `langgraph.json` names: the agent and the checkpointer of the server, both as the same settings say.

The server loads the checkpointer by the path of this file and the agent by its module, so this module exists twice
there, and keeps nothing but what it can read twice.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph_sdk.runtime import ServerRuntime

from holdfast import factory, settings
from holdfast.checkpoints import HoldfastSaver
from holdfast.server import registry
from holdfast.server.agent import ServedAgent, turn

# Read here, because a module is imported in a thread: the server allows nobody to read a file on its event loop.
_settings = settings.load()
_agent = ServedAgent.of(factory.make_agent(_settings))


@asynccontextmanager
async def agent(config: RunnableConfig, runtime: ServerRuntime[Any]) -> AsyncIterator[ServedAgent]:
    """The agent, for one request of the server."""
    if runtime.access_context != "threads.create_run":  # it is only looked at
        yield _agent
        return
    async with turn(config):
        yield _agent


@asynccontextmanager
async def checkpointer() -> AsyncIterator[HoldfastSaver]:
    """The checkpointer, for as long as the server runs."""
    async with factory.make_checkpointer(_settings) as saver:
        registry.forget()
        registry.delete_one_by_one()
        yield saver
