"""The run that comes next is not refused because of a run that was abandoned or cancelled."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from threading import Event
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import HumanMessage
from langgraph.graph import START, StateGraph

from holdfast.checkpoints import open_checkpointer
from holdfast.checkpoints.core.queue import SaveQueues
from holdfast.checkpoints.serde.values import Detacher
from tests.support.kit import checkpoint, put, texts, thread
from tests.support.sweep import Sweep


@pytest.fixture
def url(every_url: str) -> str:
    """Memory as well."""
    return every_url


class Said(TypedDict):
    said: Annotated[list[str], operator.add]


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Any]:
    async def step(state: Said) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"said": ["step"]}

    builder = StateGraph(Said)
    for before, name in ((START, "x"), ("x", "y"), ("y", "z")):
        builder.add_node(name, step)
        builder.add_edge(before, name)
    async with open_checkpointer(url) as saver:
        yield builder.compile(checkpointer=saver)


@pytest.mark.sweep(on="memory")
@pytest.mark.sweep(on="postgres")
@pytest.mark.sweep(every=6)
@pytest.mark.parametrize("durability", ["async", "sync", "exit"])
@pytest.mark.parametrize("next_is", ["run", "update"])
def test_what_comes_after_an_abandoned_stream_is_taken(url: str, durability: Any, next_is: str, sweep: Sweep) -> None:
    async def main() -> None:
        async with opened(url) as graph:
            for number in range(sweep(5, 12)):
                config = thread(f"t-{number}")
                async for _ in graph.astream({"said": ["old"]}, config, durability=durability):
                    break
                if next_is == "run":
                    await graph.ainvoke({"said": ["new"]}, config, durability=durability)
                else:
                    await graph.aupdate_state(config, {"said": ["new"]}, as_node="z")
                assert "new" in (await graph.aget_state(config)).values["said"]

    asyncio.run(main())


@pytest.mark.sweep(on="memory")
@pytest.mark.sweep(on="postgres")
@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("durability", ["async", "exit"])
def test_a_run_after_a_cancelled_one_that_was_not_waited_for_is_taken(url: str, durability: Any, sweep: Sweep) -> None:
    async def main() -> None:
        async with opened(url) as graph:
            for number in range(0, 24, sweep(3, 1)):
                config = thread(f"t-{number}")
                cancelled = asyncio.create_task(graph.ainvoke({"said": ["old"]}, config, durability=durability))
                for _ in range(number):
                    await asyncio.sleep(0)
                cancelled.cancel()
                await graph.ainvoke({"said": ["new"]}, config, durability=durability)
                await asyncio.gather(cancelled, return_exceptions=True)
                assert "new" in (await graph.aget_state(config)).values["said"]

    asyncio.run(main())


def test_a_load_waits_for_a_save_that_has_begun(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    detach, encoding, may_go_on = Detacher.detach, Event(), Event()

    def slowly(self: Detacher, channel: str, value: object) -> object:
        encoding.set()
        assert may_go_on.wait(5)
        return detach(self, channel, value)

    with open_checkpointer(url) as saver, ThreadPoolExecutor(2) as pool:
        monkeypatch.setattr(Detacher, "detach", slowly)
        save = pool.submit(put, saver, thread(), checkpoint([HumanMessage("Hello", id="h1")]))
        assert encoding.wait(5)
        load = pool.submit(texts, saver)
        assert not load.done()
        may_go_on.set()
        assert load.result(5) == ["Hello"]
        save.result(5)


def test_a_load_does_not_wait_for_a_database_that_is_out_of_reach() -> None:
    queues = SaveQueues()
    with queues.join("ada"):
        queues.settle("ada", lambda: True)
        queues.settle("bob")
    queues.settle("ada")
    assert queues.under_way("ada") == []
