"""The agent as LangGraph's server runs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from holdfast import build_graph, open_checkpointer
from holdfast.checkpoints import HoldfastSaver, NewRun
from holdfast.checkpoints.threads import leases
from holdfast.server.langgraph.agent import ServedAgent
from holdfast.server.langgraph.record import agent_of, current, recording
from tests.support.graph_kit import ScriptedModel, says
from tests.support.kit import once_before, rows

CONFIG: Any = {"configurable": {"thread_id": "ada-1"}}


def served(saver: HoldfastSaver) -> ServedAgent:
    model = ScriptedModel(lines=[says("Noted.")])
    return ServedAgent.of(build_graph(model=model, tools=[], checkpointer=saver))


async def said(agent: ServedAgent) -> list[str]:
    state = await agent.aget_state(CONFIG)
    return [message.text for message in state.values.get("messages", [])]


@asynccontextmanager
async def waiting_run(agent: ServedAgent, patched: pytest.MonkeyPatch) -> AsyncIterator[asyncio.Task[Any]]:
    """Yield a run that has waited for hours, by its clock, because another writer has its thread, and still does."""
    looks: list[float] = []
    has_waited, loop = asyncio.Event(), asyncio.get_running_loop()

    def clock() -> float:
        looks.append(3600.0 * len(looks))
        if len(looks) > 5:
            loop.call_soon_threadsafe(has_waited.set)
        return looks[-1]

    saver: Any = agent.checkpointer
    async with saver.alease("ada-1"):
        patched.setattr(leases, "time", SimpleNamespace(monotonic=clock))
        run = asyncio.create_task(agent.ainvoke({"messages": [HumanMessage("One.")]}, CONFIG))
        await asyncio.wait((run, asyncio.create_task(has_waited.wait())), return_when=asyncio.FIRST_COMPLETED)
        assert not run.done()
        yield run


async def test_a_message_whose_run_was_stopped_before_its_first_step_goes_with_the_next_one() -> None:
    async with open_checkpointer("memory://") as saver:
        agent = served(saver)
        first, second = ({"messages": [HumanMessage(text)]} for text in ("One.", "Two."))
        async with aclosing(agent.astream(first, CONFIG, stream_mode="checkpoints")) as steps:
            await anext(steps)  # the input is saved, and no step has read it
        async for _ in agent.astream(second, CONFIG):
            pass
        assert await said(agent) == ["One.", "Two.", "Noted."]


async def test_a_run_waits_for_as_long_as_another_writer_has_its_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_checkpointer("memory://") as saver:
        async with waiting_run(agent := served(saver), monkeypatch) as run:
            pass
        await run
        assert await said(agent) == ["One.", "Noted."]


async def test_a_run_that_waits_for_its_thread_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_checkpointer("memory://") as saver:
        async with waiting_run(agent := served(saver), monkeypatch) as run:
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
        async with saver.alease("ada-1", wait=0):  # the run has left the queue
            assert await said(agent) == []


@pytest.mark.sweep(on="postgres")
async def test_a_run_whose_thread_is_deleted_right_before_its_first_load_begins_nothing(
    saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = served(saver)
    async with recording(saver):
        record = current()
        assert record is not None
        claimed = saver.runs.accept_for(record._claims.owner, NewRun("ada-1", agent_of("agent"), "message", {}))
        record._held[claimed.run.run_id] = claimed
        once_before(monkeypatch, saver, "get_tuple", lambda: saver.delete_thread("ada-1"))
        config: Any = {"configurable": {"thread_id": "ada-1", "run_id": claimed.run.run_id}}
        with pytest.raises(RuntimeError, match="There is no run"):
            async for _ in agent.astream({"messages": [HumanMessage("One.")]}, config):
                pass
    assert rows(saver, "SELECT count(*) FROM checkpoints") == [(0,)]
    assert saver.is_deleted("ada-1")
