"""The event loop is never blocked, not even by the first use. BlockBuster looks for that in servers and suites."""

from __future__ import annotations

import subprocess
import sys

import pytest

# A process of its own: what is read once in a process must not be read on the loop by the first that needs it.
PROGRAM = """
import asyncio, sys
import psycopg_pool  # it reads files when it is imported
from blockbuster import blockbuster_ctx
from langgraph.types import Command
from holdfast import open_checkpointer
from tests.support.kit import echo_graph, thread

async def talk(saver):
    graph = echo_graph(saver)
    await graph.ainvoke({"messages": [("user", "one")]}, thread())
    async for _ in graph.astream({"messages": [("user", "two")]}, thread()):
        pass
    await graph.aupdate_state(thread(), {"messages": [("user", "three")]})
    history = [state async for state in graph.aget_state_history(thread())]
    print(len(history[0].values["messages"]))

async def used():
    saver = open_checkpointer(sys.argv[1])
    await saver.setup()
    await talk(saver)

async def used_without_setup():
    await talk(open_checkpointer(sys.argv[1]))

async def entered():
    async with open_checkpointer(sys.argv[1]) as saver:
        await talk(saver)

with blockbuster_ctx():
    asyncio.run(locals()[sys.argv[2]]())
"""


@pytest.mark.sweep
@pytest.mark.parametrize("way", ["used", "used_without_setup", "entered"])
def test_a_checkpointer_made_on_an_event_loop_does_not_block_it(every_url: str, way: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, every_url, way]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert ended.stdout == "5\n", ended.stderr
