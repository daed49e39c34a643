"""Pruning, copying and taking back, killed at any point or beside others: all of it is done, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from signal import SIGKILL
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.types import Command

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.errors import ThreadNotEmpty
from tests.support import children
from tests.support.delta_kit import delta_agent
from tests.support.dialects import STOCK_TABLES, dialect_of
from tests.support.kit import echo_graph, rows, texts, thread
from tests.support.shapes import exact
from tests.support.sweep import Sweep


@pytest.mark.sweep
def test_a_writer_loses_nothing_while_another_prunes(url: str) -> None:
    with open_checkpointer(url) as writer, open_checkpointer(url) as pruner:
        graph = delta_agent(writer, 1000)
        done: list[bool] = []

        def prune() -> int:
            rounds = 0
            while not done:
                pruner.prune(["ada-1", "bob-1"])
                rounds += 1
            return rounds

        with ThreadPoolExecutor(1) as pool:
            pruning = pool.submit(prune)
            try:
                for turn in range(6):
                    said = {"messages": [HumanMessage(f"{turn}", id=f"h-{turn}")], "notes": [turn]}
                    graph.invoke(said, thread(), durability="async" if turn % 2 else "sync")
                    echo_graph(writer).invoke({"messages": [("user", f"{turn}")]}, thread("bob-1"))
            finally:
                done.append(True)
            assert pruning.result() > 1
        assert [m.text for m in graph.get_state(thread()).values["messages"] if isinstance(m, HumanMessage)] == [
            f"{turn}" for turn in range(6)
        ]
        assert [n for n in graph.get_state(thread()).values["notes"] if isinstance(n, int)] == [*range(6)]
        assert texts(writer, "bob-1")[::2] == [f"{turn}" for turn in range(6)]


@pytest.mark.sweep
def test_copies_in_opposite_directions_do_not_wait_for_each_other(postgres_url: str) -> None:
    with open_checkpointer(postgres_url) as saver, ThreadPoolExecutor(8) as pool:
        for thread_id in ("ada-1", "bob-1"):
            echo_graph(saver).invoke({"messages": [("user", thread_id)]}, thread(thread_id))

        def copy(pair: tuple[str, str]) -> None:
            with pytest.raises(ThreadNotEmpty):
                saver.copy_thread(*pair)

        list(pool.map(copy, [("ada-1", "bob-1"), ("bob-1", "ada-1")] * 20))


# --- killed


def prune_it(saver: HoldfastSaver) -> None:
    saver.prune(["ada-1"])


def copy_it(saver: HoldfastSaver) -> None:
    saver.copy_thread("ada-1", "copy")


def take_it_back(saver: HoldfastSaver) -> None:
    saver.delete_for_runs(["run-2"])


@pytest.mark.sweep
@pytest.mark.parametrize("work", [prune_it, copy_it, take_it_back])
def test_work_that_is_killed_between_any_two_statements_leaves_all_as_it_was(
    url: str, dialect: str, work: Callable[[HoldfastSaver], None], sweep: Sweep
) -> None:
    # Of a killed process nothing waits for the disk.
    database = f"{url}?synchronous=normal" if dialect == "sqlite" else url
    with open_checkpointer(database) as saver:
        graph = delta_agent(saver, 1000)
        config: Any = {**thread(), "metadata": {"run_id": "run-1"}}
        graph.invoke({"messages": [("user", "ask one")], "notes": ["one"]}, config)
        graph.invoke(Command(resume="yes"), {**config, "metadata": {"run_id": "run-2"}})
        graph.update_state(thread(), {"notes": ["two"]}, as_node="work")
        graph.update_state(thread(), {"notes": ["three"]}, as_node="work")
        state = exact(graph.get_state(thread()).values)
        before = everything(saver)
        names: Any = None
        for last in range(sweep(4, 0), 100, sweep(13, 1)):
            names = children.run(children.die_in_work, database, work, last)
            if names != -SIGKILL:
                break
            assert everything(saver) == before, f"killed before statement {last}"
        assert {"begin", "commit"} <= set(names)
        assert len(names) > 8
        assert everything(saver) != before
        assert exact(graph.get_state(thread()).values) == state


def everything(saver: HoldfastSaver) -> dict[str, list[Any]]:
    """All rows of all tables."""
    names = [*STOCK_TABLES[dialect_of(saver)], "holdfast_messages", "holdfast_threads", "holdfast_run_writes"]
    return {name: sorted(map(repr, rows(saver, f"SELECT * FROM {name}"))) for name in names}
