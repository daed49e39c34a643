"""What a run has loaded is known without a trace in any config."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pytest
import yaml
from langchain_core.messages import HumanMessage

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.errors import ThreadConflict
from tests.support.kit import checkpoint, echo_graph, put, texts, thread


@pytest.fixture
def url(every_url: str) -> str:
    """Memory as well."""
    return every_url


def say(text: str) -> dict[str, Any]:
    return {"messages": [HumanMessage(text)]}


def texts_in(value: Any) -> Iterator[str]:
    """Yield all keys and texts of a config."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield key
            yield from texts_in(inner)
    elif isinstance(value, str):
        yield value


LOADS: dict[str, Callable[[HoldfastSaver, Any], Any]] = {
    "get": lambda saver, config: saver.get(config),
    "get_tuple": lambda saver, config: saver.get_tuple(config),
    "aget_tuple": lambda saver, config: asyncio.run(saver.aget_tuple(config)),
    "list": lambda saver, config: list(saver.list(config)),
    "get_state": lambda saver, config: echo_graph(saver).get_state(config),
    "aget_state": lambda saver, config: asyncio.run(echo_graph(saver).aget_state(config)),
    "get_state_history": lambda saver, config: list(echo_graph(saver).get_state_history(config)),
    "get_delta_channel_history": lambda saver, config: saver.get_delta_channel_history(
        config=config, channels=["messages"]
    ),
}


@pytest.mark.sweep(every=8)
@pytest.mark.parametrize("thread_is", ["new", "old"])
@pytest.mark.parametrize("load", LOADS)
def test_a_load_never_changes_the_callers_own_config(saver: HoldfastSaver, load: str, thread_is: str) -> None:
    if thread_is == "old":
        echo_graph(saver).invoke(say("one"), thread("1"))
    mine = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}, "metadata": {"user": "ada"}}
    before, own = copy.deepcopy(mine), mine["configurable"]["thread_id"]

    LOADS[load](saver, mine)

    assert mine == before
    assert mine["configurable"]["thread_id"] is own


def test_a_load_needs_no_config_that_can_be_changed(saver: HoldfastSaver) -> None:
    fixed: Any = MappingProxyType({"configurable": MappingProxyType({"thread_id": "1", "checkpoint_ns": ""})})
    assert saver.get(fixed) is None


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("thread_id", ["1", "ada-1", "für Ada", "5f0c4a52-7d0e-4d53-9d5f-0d5a1f6f7a11"])
def test_the_configs_that_callers_see_hold_plain_text(saver: HoldfastSaver, thread_id: str) -> None:
    graph = echo_graph(saver)
    empty = graph.get_state(thread(thread_id))
    graph.invoke(say("one"), thread(thread_id))
    graph.update_state(thread(thread_id), say("two"))
    found = saver.get_tuple(thread(thread_id))
    assert found is not None
    states = [empty, graph.get_state(thread(thread_id)), *graph.get_state_history(thread(thread_id))]
    configs = [
        found.config,
        found.parent_config,
        *(item.config for item in saver.list(thread(thread_id))),
        *(state.config for state in states),
        *(state.parent_config for state in states if state.parent_config),
        graph.update_state(thread(thread_id), say("three")),
        put(saver, thread(thread_id), checkpoint([HumanMessage("four")])),
    ]

    for config in configs:
        assert {type(text) for text in texts_in(config)} == {str}
        assert yaml.safe_load(yaml.safe_dump(config)) == config
        assert json.loads(json.dumps(config)) == config
        assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301 - made on this line


def test_the_nodes_of_a_run_see_plain_text_as_well(saver: HoldfastSaver) -> None:
    seen: list[Any] = []

    def reply(_: Any) -> str:
        from langgraph.config import get_config

        seen.append(get_config()["configurable"]["thread_id"])
        return "yes"

    for text in ("one", "two"):
        echo_graph(saver, reply).invoke(say(text), thread("1"))

    assert [type(text) for text in seen] == [str, str]


def test_a_script_that_looked_for_a_thread_may_write_several_roots(saver: HoldfastSaver) -> None:
    mine = thread("1", checkpoint_ns="")
    assert saver.get(mine) is None

    for text in ("one", "two"):
        put(saver, mine, checkpoint([HumanMessage(text)]))

    assert texts(saver, "1") == ["two"]
    assert len(list(saver.list(mine))) == 2


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("thread_id", ["1", "ada-1"])
@pytest.mark.parametrize("thread_is", ["new", "old"])
def test_a_stale_run_is_refused_whatever_its_thread_is_called(
    saver: HoldfastSaver, other: HoldfastSaver, thread_is: str, thread_id: str
) -> None:
    """Python has each text of one character once, so it cannot tell the texts of two runs apart."""
    if thread_is == "old":
        echo_graph(saver).invoke(say("before"), thread(thread_id))

    def reply(_: Any) -> str:
        put(other, thread(thread_id), checkpoint([HumanMessage("theirs")]))
        return "mine"

    with pytest.raises(ThreadConflict, match="changed by another run"):
        echo_graph(saver, reply).invoke(say("mine"), thread(thread_id), durability="exit")

    assert texts(saver, thread_id) == ["theirs"]


def test_a_stale_update_of_the_state_is_refused(
    saver: HoldfastSaver, other: HoldfastSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = echo_graph(saver)
    graph.invoke(say("before"), thread())
    save = saver.put

    def late(*args: Any) -> Any:
        monkeypatch.undo()
        put(other, thread(), checkpoint([HumanMessage("theirs")]))
        return save(*args)

    monkeypatch.setattr(saver, "put", late)
    with pytest.raises(ThreadConflict, match="changed by another run"):
        graph.update_state(thread(), say("mine"))

    assert texts(saver) == ["theirs"]


def test_saves_that_follow_one_another_are_checked(saver: HoldfastSaver, other: HoldfastSaver) -> None:
    echo_graph(saver).invoke(say("one"), thread())
    found = saver.get_tuple(thread())
    assert found is not None
    first = put(saver, found.config, checkpoint([HumanMessage("mine")]))
    put(other, thread(), checkpoint([HumanMessage("theirs")]))

    with pytest.raises(ThreadConflict, match="changed by another run"):
        put(saver, first, checkpoint([HumanMessage("mine as well")]))


def test_a_config_of_one_database_is_good_for_another(saver: HoldfastSaver) -> None:
    put(saver, thread(), checkpoint([HumanMessage("one")]))
    found = saver.get_tuple(thread())
    assert found is not None
    with open_checkpointer("memory://") as there:
        there.put(found.config, found.checkpoint, found.metadata, found.checkpoint["channel_versions"])
        assert texts(there) == ["one"]


def test_what_ended_runs_have_loaded_is_forgotten(saver: HoldfastSaver) -> None:
    put(saver, thread(), checkpoint([HumanMessage("one")]))
    kept = [saver.get_tuple(thread()) for _ in range(40)]
    for number in range(600):
        saver.get_tuple(thread())
        saver.get_tuple(thread(f"new-{number}"))

    assert len(saver.database.loads._noted) <= 300
    put(saver, thread(), checkpoint([HumanMessage("theirs")]))
    for found in kept:
        assert found is not None
        with pytest.raises(ThreadConflict):
            put(saver, found.config, checkpoint([HumanMessage("mine")]))
