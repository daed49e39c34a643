"""Python's collector of cyclic garbage, while many messages are made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from threading import Barrier, Thread

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import empty_checkpoint

from holdfast import open_checkpointer
from holdfast.checkpoints.load.garbage import Paused


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.enable()
    yield
    if not was_on:
        gc.disable()


def test_the_collector_rests_in_the_block_and_works_after_it():
    with Paused(1000):
        assert not gc.isenabled()
    assert gc.isenabled()


def test_the_collector_works_after_an_error():
    with pytest.raises(ValueError, match="damaged"), Paused(1000):
        raise ValueError("damaged")
    assert gc.isenabled()


def test_a_few_objects_are_no_reason_to_stop_it():
    with Paused(10):
        assert gc.isenabled()


def test_a_collector_that_the_program_has_switched_off_stays_off():
    gc.disable()
    with Paused(1000):
        pass
    assert not gc.isenabled()


def test_the_collector_works_after_blocks_that_overlap():
    first, second = Paused(1000), Paused(1000)
    with first:
        second.__enter__()
    second.__exit__(None, None, None)
    assert gc.isenabled()


def test_the_collector_works_after_blocks_in_many_threads():
    barrier = Barrier(8)

    def work() -> None:
        barrier.wait()
        for _ in range(500):
            with Paused(1000):
                pass

    threads = [Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gc.isenabled()


def test_a_long_conversation_is_loaded_in_one_run_of_the_collector():
    runs: list[int] = []

    def count(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            runs.append(info["generation"])

    with open_checkpointer("memory://") as saver:
        checkpoint = empty_checkpoint()
        checkpoint["channel_values"] = {"messages": [HumanMessage(f"{n}", id=f"{n}") for n in range(1000)]}
        checkpoint["channel_versions"] = {"messages": 1}
        config = {"configurable": {"thread_id": "ada", "checkpoint_ns": ""}}
        saved = saver.put(config, checkpoint, {"step": 0}, {"messages": 1})
        saver.get_tuple(saved)
        gc.collect()
        gc.callbacks.append(count)
        try:
            found = saver.get_tuple(config)
        finally:
            gc.callbacks.remove(count)
    assert len(found.checkpoint["channel_values"]["messages"]) == 1000
    assert len(runs) <= 2
