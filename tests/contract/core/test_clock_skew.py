"""Checkpoint ids are times, and the greatest is the head: hosts whose clocks differ lose nothing by it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import id as lg_id

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.errors import ClockSkew, ThreadConflict
from tests.support.kit import checkpoint, echo_graph, put, texts, thread

Host = Callable[[float], AbstractContextManager[None]]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """Be another host: `with host(-5)` is one whose clock is five seconds slow. Each keeps its own last id."""
    real = time.time_ns
    kept = lg_id._last_v6_timestamp
    last: dict[float, Any] = {}

    @contextmanager
    def on(seconds: float) -> Iterator[None]:
        lg_id._last_v6_timestamp = last.get(seconds)
        monkeypatch.setattr(lg_id, "time", SimpleNamespace(time_ns=lambda: real() + round(seconds * 1e9)))
        yield
        last[seconds] = lg_id._last_v6_timestamp

    yield on
    lg_id._last_v6_timestamp = kept


def say(text: str) -> dict[str, Any]:
    return {"messages": [HumanMessage(text)]}


@pytest.mark.sweep(on="postgres")
def test_turns_that_alternate_between_a_fast_and_a_slow_host_all_stay(
    saver: HoldfastSaver, other: HoldfastSaver, host: Host
) -> None:
    for turn in range(3):
        with host(+2.5):
            echo_graph(saver).invoke(say(f"fast {turn}"), thread())
        with host(-2.5):
            echo_graph(other).invoke(say(f"slow {turn}"), thread())

    said = [f"{speed} {turn}" for turn in range(3) for speed in ("fast", "slow")]
    assert texts(saver) == [text for word in said for text in (word, f"You said: {word}")]
    ids = [found.config["configurable"]["checkpoint_id"] for found in saver.list(thread())]
    assert ids == sorted(ids, reverse=True)


def test_an_update_from_a_slow_host_is_in_the_head(saver: HoldfastSaver, other: HoldfastSaver, host: Host) -> None:
    with host(+5):
        echo_graph(saver).invoke(say("fast"), thread())
    with host(0):
        echo_graph(other).update_state(thread(), say("by hand"))

    assert texts(saver) == ["fast", "You said: fast", "by hand"]


def test_a_slow_host_that_has_loaded_nothing_yet_cannot_save_below_the_head(
    saver: HoldfastSaver, other: HoldfastSaver, host: Host
) -> None:
    with host(+5):
        echo_graph(saver).invoke(say("fast"), thread())
    with host(0):
        late = str(lg_id.uuid6())  # before it has seen any id of the other host
        loaded = other.get_tuple(thread())
        assert loaded is not None
        with pytest.raises(ClockSkew, match=r"'ada-1'.* (\d\.\d+) seconds newer .*NTP") as refused:
            put(other, loaded.config, checkpoint([HumanMessage("lost")], id=late))

    assert refused.value.thread_id == "ada-1"
    assert refused.value.seconds == pytest.approx(5, abs=1)
    assert f"{refused.value.seconds:.3f} seconds" in str(refused.value)
    assert isinstance(refused.value, ThreadConflict), "who retries after a conflict retries after this too"
    assert texts(saver) == ["fast", "You said: fast"]


def test_the_clock_of_a_process_is_never_set_back_by_what_it_loads(
    saver: HoldfastSaver, other: HoldfastSaver, host: Host
) -> None:
    with host(-5):
        echo_graph(other).invoke(say("slow"), thread("bob-1"))
    with host(+5):
        echo_graph(other).invoke(say("fast"), thread())
    with host(0):
        loaded = saver.get_tuple(thread())
        assert saver.get_tuple(thread("bob-1")) is not None, "an older head, loaded after the newer one"
        assert loaded is not None
        put(saver, loaded.config, checkpoint([HumanMessage("two")]))

    assert texts(saver) == ["two"]


def test_ids_that_are_not_times_are_left_alone(saver: HoldfastSaver, host: Host) -> None:
    with host(0):
        put(saver, thread(), checkpoint([HumanMessage("one")], id="11"))
        found = saver.get_tuple(thread())
        assert found is not None
        with pytest.raises(ClockSkew, match="'ada-1'"):
            put(saver, found.config, checkpoint([HumanMessage("two")], id="00"))
        echo_graph(saver).get_state(thread())

    assert texts(saver) == ["one"]


def say_one_and_two(saver: HoldfastSaver, host: Host) -> str:
    """Say two things on hosts whose clocks are fast. Return the checkpoint after the first."""
    with host(+5):
        graph = echo_graph(saver)
        graph.invoke(say("one"), thread())
        first: str = graph.get_state(thread()).config["configurable"]["checkpoint_id"]
    with host(+10):
        graph.invoke(say("two"), thread())
    return first


def test_a_fork_made_on_a_slow_host_becomes_the_head(saver: HoldfastSaver, other: HoldfastSaver, host: Host) -> None:
    first = say_one_and_two(saver, host)
    with host(0):
        echo_graph(other).invoke(say("fork"), thread(checkpoint_id=first))

    assert texts(saver) == ["one", "You said: one", "fork", "You said: fork"]


def test_an_update_of_an_old_checkpoint_on_a_slow_host_becomes_the_head(
    saver: HoldfastSaver, other: HoldfastSaver, host: Host
) -> None:
    first = say_one_and_two(saver, host)
    with host(0):
        echo_graph(other).update_state(thread(checkpoint_id=first), say("by hand"))

    assert texts(saver) == ["one", "You said: one", "by hand"]
