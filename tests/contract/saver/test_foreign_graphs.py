"""Graphs that others wrote find the same on this saver as on LangGraph's own in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from holdfast.checkpoints import HoldfastSaver
from tests.support.foreign import SCENARIOS, say, talker
from tests.support.kit import thread
from tests.support.records import everything, numbered, steps_back
from tests.support.shapes import exact


@cache
def on_the_stock_saver(scenario: Callable[[Any], list[Any]]) -> list[str]:
    return numbered(scenario(InMemorySaver()))


@pytest.mark.sweep(on="postgres")
@pytest.mark.filterwarnings("ignore:create_react_agent has been moved")  # its successor is another package
@pytest.mark.sweep(every=16)
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_a_foreign_graph_leaves_the_same_as_on_the_stock_saver(
    saver: HoldfastSaver, scenario: Callable[[Any], list[Any]]
) -> None:
    assert numbered(scenario(saver)) == on_the_stock_saver(scenario)


@pytest.mark.sweep
async def test_a_foreign_graph_on_an_event_loop_leaves_the_same_as_on_the_stock_saver(saver: HoldfastSaver) -> None:
    async def run(saver: Any) -> list[Any]:
        graph = talker(saver)
        record = [exact(await graph.ainvoke(say(text), thread())) for text in ("one", "two")]
        record += [exact(chunk) async for chunk in graph.astream(say("three"), thread(), stream_mode="updates")]
        await graph.aupdate_state(thread(), say("edit"), as_node="answer")
        record.append(
            exact(await graph.ainvoke(None, await asyncio.to_thread(steps_back, graph, 3), durability="exit"))
        )
        return record

    stock = InMemorySaver()
    ours, theirs = await run(saver), await run(stock)

    ours += await asyncio.to_thread(everything, saver, talker(saver))
    assert numbered(ours) == numbered([*theirs, *everything(stock, talker(stock))])
