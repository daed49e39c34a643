"""Graphs that use `DeltaChannel`: a checkpoint's state lies in what its ancestors' tasks wrote, and survives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, RemoveMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Command, Overwrite

from holdfast.checkpoints import HoldfastSaver
from tests.support.delta_kit import delta_agent
from tests.support.kit import rows, thread
from tests.support.records import seen
from tests.support.shapes import exact

# --- what happens to a thread, one after the other

Step = Callable[[Any, Any], Any]


def say(text: str, durability: Any = "sync") -> Step:
    # As most programs write a message, and LangGraph stores it as it came.
    return lambda graph, at: graph.invoke(
        {"messages": [{"role": "user", "content": text, "id": f"say-{text}"}], "notes": [text]},
        at,
        durability=durability,
    )


def answer(text: str, durability: Any = "sync") -> Step:
    return lambda graph, at: graph.invoke(Command(resume=text), at, durability=durability)


def update(**values: Any) -> Step:
    return lambda graph, at: graph.update_state(at, values, as_node="work")


STEPS: list[Step] = [
    say("one"),
    say("ask two"),
    answer("yes"),
    update(messages=[RemoveMessage(id="say-one")], notes=["removed"]),
    say("three", "exit"),
    say("ask four", "async"),
    answer("no", "exit"),
    update(messages=Overwrite([HumanMessage("fresh", id="f-1")]), files=Overwrite({"a.txt": 1})),
    say("five"),
    say("ask six"),
    say("seven instead"),
    update(files={"a.txt": None, "b.txt": 2}),
    say("eight", "async"),
]


def head(graph: Any, at: Any) -> Any:
    """All that the newest state says, but for what was before."""
    found = seen(graph.get_state(at))
    return {name: found[name] for name in ("values", "next", "tasks")} | {
        "metadata": [(key, value) for key, value in found["metadata"] if key in {"source", "step"}]
    }


def without_ids(state: Any) -> Any:
    """Ids of tasks and interrupts are made of those of checkpoints, which differ from run to run."""
    tasks = [
        (name, path, error, [i.value for i in found], result)
        for _, name, path, error, found, result, _ in state["tasks"]
    ]
    return {**state, "tasks": tasks}


@pytest.mark.sweep
@pytest.mark.parametrize("frequency", [2, pytest.param(1000, marks=pytest.mark.sweep)])
def test_a_delta_thread_that_is_pruned_at_every_point_goes_on_as_if_it_were_not(
    saver: HoldfastSaver, frequency: int
) -> None:
    graph = delta_agent(saver, frequency)
    plain, pruned = thread("plain"), thread("pruned")
    for step in STEPS:
        step(graph, plain)
        step(graph, pruned)
        before = seen(graph.get_state(pruned))
        assert without_ids(head(graph, pruned)) == without_ids(head(graph, plain))

        saver.prune(["pruned"])

        assert {**seen(graph.get_state(pruned)), "parent": None} == {**before, "parent": None}
        assert len(list(graph.get_state_history(pruned))) == 1
        assert len(rows(saver, "SELECT 1 FROM checkpoints WHERE thread_id = 'pruned'")) <= 2


@pytest.mark.sweep
@pytest.mark.parametrize("number", range(0, len(STEPS) - 1, 5))
def test_a_delta_thread_that_is_pruned_once_goes_on_as_if_it_were_not(saver: HoldfastSaver, number: int) -> None:
    graph = delta_agent(saver, 4)
    for step in STEPS[: number + 1]:
        step(graph, thread("plain"))
    saver.copy_thread("plain", "pruned")
    saver.prune(["pruned"])
    left = rows(saver, "SELECT * FROM checkpoints WHERE thread_id = 'pruned'")
    saver.prune(["pruned"])
    assert rows(saver, "SELECT * FROM checkpoints WHERE thread_id = 'pruned'") == left, "a second time changes nothing"
    for step in STEPS[number + 1 :]:
        step(graph, thread("plain"))
        step(graph, thread("pruned"))
        assert without_ids(head(graph, thread("pruned"))) == without_ids(head(graph, thread("plain")))


def histories(saver: Any, graph: Any, at: Any) -> list[tuple[Any, Any]]:
    """For each checkpoint what the saver and what LangGraph's own walk say."""
    channels = ["messages", "files", "notes", "steps", "nothing"]
    found = []
    for state in graph.get_state_history(at):
        ours = saver.get_delta_channel_history(config=state.config, channels=channels)
        theirs = BaseCheckpointSaver.get_delta_channel_history(saver, config=state.config, channels=channels)
        found.append((exact(ours), exact(theirs)))
    assert found, "there is a checkpoint to compare them at"
    return found


@pytest.mark.sweep(on="postgres")
@pytest.mark.parametrize("frequency", [2, pytest.param(1000, marks=pytest.mark.sweep)])
async def test_the_fast_history_says_what_langgraphs_own_walk_says(
    saver: HoldfastSaver, dialect: str, frequency: int
) -> None:
    graph = delta_agent(saver, frequency)
    for step in STEPS[: 6 if dialect == "postgres" and frequency > 2 else None]:
        step(graph, thread())
    for ours, theirs in histories(saver, graph, thread()):
        assert ours == theirs
    for asked in (thread(), thread("unknown"), thread(checkpoint_id="nothing", checkpoint_ns="")):
        for channels in (["messages", "files"], ["files"], []):
            ours = saver.get_delta_channel_history(config=asked, channels=channels)
            theirs = BaseCheckpointSaver.get_delta_channel_history(saver, config=asked, channels=channels)
            assert exact(ours) == exact(theirs)
            assert exact(await saver.aget_delta_channel_history(config=asked, channels=channels)) == exact(theirs)
    saver.prune(["ada-1"])
    for ours, theirs in histories(saver, graph, thread()):
        assert ours == theirs
