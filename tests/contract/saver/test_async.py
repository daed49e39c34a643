"""On event loops, and in the middle of a list: nothing is left half done, and nothing is locked meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.errors import ThreadConflict
from tests.support.kit import checkpoint, echo_graph, put, rows, texts, thread


@pytest.fixture
def url(every_url: str) -> str:
    """Memory as well."""
    return every_url


class Gate:
    """Stops the thread that comes to a statement, until it is opened."""

    def __init__(self, statement: str) -> None:
        self._statement = statement
        self.reached = threading.Event()
        self._opened = threading.Event()

    def __call__(self, name: str) -> None:
        if name == self._statement:
            self.reached.set()
            assert self._opened.wait(20)

    def open(self) -> None:
        self._opened.set()


def aput(saver: HoldfastSaver, messages: list[Any], thread_id: str = "ada-1") -> asyncio.Task[Any]:
    saved = checkpoint(messages)
    config = thread(thread_id, checkpoint_ns="")
    return asyncio.create_task(saver.aput(config, saved, {"source": "loop", "step": 0}, saved["channel_versions"]))


# --- cancelling


@pytest.mark.parametrize("times", [1, 2])
async def test_a_cancelled_save_is_waited_for(saver: HoldfastSaver, times: int) -> None:
    saver._backend.on_statement = gate = Gate("save_checkpoint")
    task = aput(saver, [HumanMessage("one")])
    await asyncio.to_thread(gate.reached.wait, 20)

    for _ in range(times):
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=0.05)
        assert not done, "it is still going on"
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await task

    saver._backend.on_statement = None
    assert texts(saver) == ["one"], "it has taken effect when the caller goes on"


async def test_a_cancelled_save_of_writes_is_waited_for(saver: HoldfastSaver) -> None:
    config = put(saver, thread(), checkpoint([HumanMessage("one")]))
    saver._backend.on_statement = gate = Gate("add_write")
    task = asyncio.create_task(saver.aput_writes(config, [("messages", [AIMessage("two")])], "task-1"))
    await asyncio.to_thread(gate.reached.wait, 20)

    task.cancel()
    done, _ = await asyncio.wait([task], timeout=0.05)
    assert not done
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await task

    saver._backend.on_statement = None
    found = saver.get_tuple(thread())
    assert found is not None
    assert found.pending_writes


async def test_a_cancelled_save_that_fails_leaves_nothing_and_is_not_reported_as_lost(saver: HoldfastSaver) -> None:
    put(saver, thread(), checkpoint([HumanMessage("one")]))
    loaded = saver.get_tuple(thread())
    assert loaded is not None
    put(saver, thread(), checkpoint([HumanMessage("theirs")]))
    unheard: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    saver._backend.on_statement = gate = Gate("lock_thread")
    saved = checkpoint([HumanMessage("mine")])
    task = asyncio.create_task(saver.aput(loaded.config, saved, {}, saved["channel_versions"]))
    await asyncio.to_thread(gate.reached.wait, 20)

    task.cancel()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await task

    saver._backend.on_statement = None
    assert texts(saver) == ["theirs"]
    assert not unheard


async def test_a_save_that_is_cancelled_while_it_waits_in_line_is_waited_for_as_well(saver: HoldfastSaver) -> None:
    saver._backend.on_statement = gate = Gate("save_checkpoint")
    workers = saver._backend.workers
    tasks = [aput(saver, [HumanMessage("one")], f"t{n}") for n in range(workers + 2)]
    await asyncio.to_thread(gate.reached.wait, 20)

    tasks[-1].cancel()
    done, _ = await asyncio.wait([tasks[-1]], timeout=0.05)
    gate.open()
    if not done:
        with pytest.raises(asyncio.CancelledError):
            await tasks[-1]
    saved = rows(saver, "SELECT count(*) FROM checkpoints WHERE thread_id = :id", id=f"t{workers + 1}")
    await asyncio.gather(*tasks[:-1])

    saver._backend.on_statement = None
    assert rows(saver, "SELECT count(*) FROM checkpoints WHERE thread_id = :id", id=f"t{workers + 1}") == saved
    assert rows(saver, "SELECT count(*) FROM checkpoints") == [(workers + 1 + saved[0][0],)]


async def test_a_turn_that_is_cancelled_leaves_a_thread_that_goes_on(saver: HoldfastSaver) -> None:
    saver._backend.on_statement = gate = Gate("save_checkpoint")
    said = {"messages": [("user", "one")]}
    # With "async" LangGraph itself does not wait for the saves of a run that is cancelled at its very end.
    turn = asyncio.create_task(echo_graph(saver).ainvoke(said, thread(), durability="sync"))
    await asyncio.to_thread(gate.reached.wait, 20)
    turn.cancel()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await turn
    saver._backend.on_statement = None

    before = [row[0] for row in rows(saver, "SELECT checkpoint_id FROM checkpoints ORDER BY checkpoint_id")]
    await echo_graph(saver).ainvoke({"messages": [("user", "two")]}, thread())

    after = [row[0] for row in rows(saver, "SELECT checkpoint_id FROM checkpoints ORDER BY checkpoint_id")]
    assert after[: len(before)] == before, "nothing of the cancelled turn was written later"
    assert texts(saver)[-2:] == ["two", "You said: two"]


# --- several event loops


@pytest.mark.sweep
def test_several_event_loops_share_one_checkpointer(saver: HoldfastSaver) -> None:
    async def talk(number: int) -> list[list[str]]:
        async def one(part: int) -> list[str]:
            thread_id = f"t{number}.{part}"
            for turn in range(2):
                await echo_graph(saver).ainvoke({"messages": [("user", f"{turn}")]}, thread(thread_id))
            found = await saver.aget_tuple(thread(thread_id))
            assert found is not None
            return [message.text for message in found.checkpoint["channel_values"]["messages"]]

        return await asyncio.gather(*(one(part) for part in range(4)))

    with ThreadPoolExecutor(4) as pool:
        for said in pool.map(lambda number: asyncio.run(talk(number)), range(4)):
            assert said == [["0", "You said: 0", "1", "You said: 1"]] * 4


async def test_of_twenty_runs_on_one_loop_that_loaded_the_same_head_one_is_not_refused(saver: HoldfastSaver) -> None:
    put(saver, thread(), checkpoint([HumanMessage("one")]))
    loaded = [await saver.aget_tuple(thread()) for _ in range(20)]

    async def save(number: int) -> bool:
        found = loaded[number]
        assert found is not None
        saved = checkpoint([*found.checkpoint["channel_values"]["messages"], HumanMessage(f"mine {number}")])
        try:
            await saver.aput(found.config, saved, {}, saved["channel_versions"])
        except ThreadConflict:
            return False
        return True

    taken = await asyncio.gather(*map(save, range(20)))

    assert sum(taken) == 1
    assert texts(saver) == ["one", f"mine {taken.index(True)}"]


def test_a_checkpointer_outlives_the_event_loop_that_opened_it(url: str) -> None:
    saver = asyncio.run(open_checkpointer(url).__aenter__())
    for text in ("one", "two"):
        asyncio.run(echo_graph(saver).ainvoke({"messages": [("user", text)]}, thread()))
    assert texts(saver)[::2] == ["one", "two"]
    asyncio.run(saver.__aexit__(None, None, None))


# --- lists


@pytest.fixture
def history(saver: HoldfastSaver) -> list[str]:
    """The ids of 110 checkpoints of thread `ada-1`, newest first; a third has the metadata {"third": true}."""
    config = thread()
    for number in range(110):
        saved = checkpoint([HumanMessage("one", id="m")], number=number)
        config = put(saver, config, saved, step=number, third=number % 3 == 0)
        if number % 5 == 0:
            put(saver, thread("bob-1"), checkpoint([HumanMessage("other")]), third=True)
    return [id_ for (id_,) in rows(saver, "SELECT checkpoint_id FROM checkpoints WHERE thread_id = 'ada-1'")][::-1]


async def listed(saver: HoldfastSaver, config: Any, **wanted: Any) -> list[str]:
    """The ids of what `list` gives, which is what `alist` gives."""
    found = [item.config["configurable"]["checkpoint_id"] for item in saver.list(config, **wanted)]
    assert [item.config["configurable"]["checkpoint_id"] async for item in saver.alist(config, **wanted)] == found
    return found


@pytest.mark.sweep
async def test_a_list_of_several_pages_has_everything_once_newest_first(
    saver: HoldfastSaver, history: list[str]
) -> None:
    newest_first = sorted(history, reverse=True)
    thirds = newest_first[1::3]  # 108, 105, …
    before = thread(checkpoint_id=newest_first[20])

    assert await listed(saver, thread()) == newest_first
    assert await listed(saver, thread(), limit=0) == []
    for limit in (1, 49, 50, 51, 100, 109, 110, 111):
        assert await listed(saver, thread(), limit=limit) == newest_first[:limit]
    assert await listed(saver, thread(), before=before) == newest_first[21:]
    assert await listed(saver, thread(), before=before, limit=60) == newest_first[21:81]
    assert await listed(saver, thread(), filter={"third": True}) == thirds
    assert await listed(saver, thread(), filter={"third": True, "step": 3}) == [newest_first[106]]
    assert (
        await listed(saver, thread(), filter={"third": False}, limit=60)
        == [id_ for id_ in newest_first if id_ not in thirds][:60]
    )
    assert (
        await listed(saver, thread(), filter={"third": True}, before=before, limit=5)
        == [id_ for id_ in thirds if id_ < newest_first[20]][:5]
    )
    assert await listed(saver, thread(checkpoint_id=newest_first[7])) == [newest_first[7]]
    everything = await listed(saver, None)
    assert len(everything) == len(set(everything)) == 132
    assert everything == sorted(everything, reverse=True)


def test_checkpoints_that_are_saved_during_a_list_do_not_disturb_it(saver: HoldfastSaver, history: list[str]) -> None:
    found = []
    for item in saver.list(thread()):
        found.append(item.config["configurable"]["checkpoint_id"])
        if len(found) % 25 == 0:
            put(saver, thread(), checkpoint([HumanMessage("meanwhile")]))

    assert found == sorted(history, reverse=True)


def test_nothing_is_locked_in_the_middle_of_a_list(saver: HoldfastSaver, url: str) -> None:
    echo_graph(saver).invoke({"messages": [("user", "one")]}, thread())
    open_lists = [iter(saver.list(thread())) for _ in range(12)]
    for items in open_lists:
        next(items)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(echo_graph(saver).invoke, {"messages": [("user", "two")]}, thread()).result(timeout=20)
        assert texts(saver)[::2] == ["one", "two"]
        pool.submit(saver.delete_thread, "ada-1").result(timeout=20)
    if url != "memory://":
        with open_checkpointer(url) as other:
            put(other, thread(), checkpoint([HumanMessage("three")]))
    for items in open_lists:
        items.close()  # type: ignore[attr-defined]  # it is a generator


async def test_nothing_is_locked_in_the_middle_of_an_alist(saver: HoldfastSaver) -> None:
    await echo_graph(saver).ainvoke({"messages": [("user", "one")]}, thread())
    open_lists: list[AsyncIterator[Any]] = [aiter(saver.alist(thread())) for _ in range(12)]
    for items in open_lists:
        await anext(items)

    async with asyncio.timeout(20):
        await echo_graph(saver).ainvoke({"messages": [("user", "two")]}, thread())
        await saver.adelete_thread("ada-1")
    assert texts(saver) == []


def test_more_readers_than_kept_connections_never_wait_for_ever(sqlite_url: str) -> None:
    inside = threading.Barrier(12, timeout=20)

    def read(saver: HoldfastSaver) -> None:
        with saver._backend.reading():
            inside.wait()

    with open_checkpointer(sqlite_url) as saver, ThreadPoolExecutor(12) as pool:
        for _ in range(5):
            list(pool.map(read, [saver] * 12, timeout=20))
