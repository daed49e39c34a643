"""What belongs to a checkpointer has asynchronous twins, which do the same without blocking the event loop."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt

from holdfast.checkpoints import Effects, HoldfastSaver, Interrupts, Search, Threads
from holdfast.checkpoints.errors import UnknownThread
from tests.support.kit import echo_graph

PARTS = (HoldfastSaver, Threads, Interrupts, Effects, Search)


def asking_graph(saver: HoldfastSaver) -> Any:
    builder = StateGraph(dict)
    builder.add_node("ask", lambda _: {"answer": interrupt("Refund?")})
    builder.add_edge(START, "ask")
    return builder.compile(checkpointer=saver)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_a_twin_takes_what_its_method_takes(part: type) -> None:
    twins = [name for name, value in vars(part).items() if inspect.iscoroutinefunction(value) and name[0] == "a"]
    assert twins
    for twin in twins:
        assert inspect.signature(getattr(part, twin)) == inspect.signature(getattr(part, twin[1:])), twin
        assert getattr(part, twin).__name__ == twin
        assert getattr(part, twin).__doc__.startswith(f"Do as `{twin[1:]}`")


async def test_the_twins_of_threads_do_the_same_without_blocking_the_event_loop(saver: HoldfastSaver) -> None:
    graph, threads = echo_graph(saver), saver.threads
    for text in ("Hello", "Still there?"):
        await graph.ainvoke({"messages": [("user", text)]}, {"configurable": {"thread_id": "ada-1", "user_id": "ada"}})
    with blockbuster_ctx():
        assert [thread.thread_id for thread in (await threads.alist(user_id="ada")).threads] == ["ada-1"]
        assert (await threads.arename("ada-1", "A talk")).title == "A talk"
        assert (await threads.afork("ada-1", "ada-2")).origin_thread_id == "ada-1"
        assert (await threads.aundo("ada-2")).thread_id == "ada-2"
        assert (await threads.aget("ada-2")).messages == (await threads.aget("ada-1")).messages
        await threads.adelete("ada-2")
        with pytest.raises(UnknownThread):
            await threads.aget("ada-2")
        assert await threads.aowner("ada-1") == "ada"
        assert [hit.seq for hit in await saver.search.afind("there", user_id="ada")] == [3, 4]
        transcript = await saver.atranscript("ada-1")
        said = [entry.text async for entry in transcript if entry.kind == "message"]
        assert said[0] == "Hello"


async def test_the_twins_of_interrupts_do_the_same_without_blocking_the_event_loop(saver: HoldfastSaver) -> None:
    await asking_graph(saver).ainvoke({}, {"configurable": {"thread_id": "ada-1"}})
    with blockbuster_ctx():
        [request] = await saver.interrupts.awaiting()
        await saver.interrupts.aanswer("ada-1", request.interrupt_id, "yes", by="Grace")
        assert await saver.interrupts.awaiting() == []
        [answer] = await saver.interrupts.atodo()
        assert (answer.answer, answer.by) == ("yes", "Grace")
        assert await saver.interrupts.areopen(answer)
        assert await saver.interrupts.aexpire() == []
        assert await saver.effects.ain_doubt() == []
