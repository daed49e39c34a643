"""A thread moves between databases whole: what was said and saved, what waits, and what tools have done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from signal import SIGKILL
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AnyMessage, HumanMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.graph.message import _messages_delta_reducer

from holdfast.checkpoints import HoldfastSaver, convert, open_checkpointer, transfer
from holdfast.checkpoints.backends.records import BASE
from holdfast.checkpoints.errors import DamagedThread, NotMoved, ThreadConflict, ThreadDiffers
from holdfast.checkpoints.transfer import thread_digest, transfer_thread
from holdfast.checkpoints.transfer.writer import ThreadWriter
from holdfast.graph import needs_approval
from tests.support import children
from tests.support.foreign import SCENARIOS, say, talker
from tests.support.graph_kit import Talk, says
from tests.support.kit import change, checkpoint, echo_graph, put, rows, texts, thread
from tests.support.outages import Wire
from tests.support.stock_kit import TYPES, in_stock
from tests.support.transfer_kit import everything, move, told
from tests.support.world import World, asked, ledger, settle, talk_with

GRAPHS = ["create_react_agent", "subgraphs with their own memory", "functional", "time travel", "pydantic state"]


@pytest.fixture
def here() -> Iterator[HoldfastSaver]:
    """SQLite: each checkpoint is one value."""
    with open_checkpointer("memory://") as saver:
        yield saver


@pytest.fixture
def there(postgres_url_with_tables: str) -> Iterator[HoldfastSaver]:
    """PostgreSQL: each channel has a value of its own."""
    with open_checkpointer(postgres_url_with_tables) as saver:
        yield saver


@pytest.fixture
def back() -> Iterator[HoldfastSaver]:
    """Another SQLite."""
    with open_checkpointer("memory://") as saver:
        yield saver


@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore:create_react_agent has been moved")  # its successor is another package
@pytest.mark.parametrize("scenario", GRAPHS)
def test_a_thread_is_the_same_on_every_database_and_back_again(
    here: HoldfastSaver, there: HoldfastSaver, back: HoldfastSaver, scenario: str
) -> None:
    SCENARIOS[scenario](here.with_allowlist(TYPES))
    before = everything(here)
    move(here, there)  # neither knows the types in it
    move(there, back)
    assert everything(here) == before
    assert told(there.with_allowlist(TYPES)) == told(back.with_allowlist(TYPES)) == told(here)


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("frequency", [3, 1000], ids=["with snapshots", "without"])
def test_a_delta_thread_that_was_pruned_moves_with_its_base_and_goes_on(
    here: HoldfastSaver, there: HoldfastSaver, back: HoldfastSaver, frequency: int
) -> None:
    channel = DeltaChannel(_messages_delta_reducer, snapshot_frequency=frequency)
    state = TypedDict("State", {"messages": Annotated[list[AnyMessage], channel]})  # noqa: UP013 - a class sees no locals

    for number, saver in enumerate([here, there]):
        graph = talker(saver, state)
        for turn in range(4):
            graph.invoke(say(f"turn {turn}"), thread(f"t-{number}"))
        saver.prune([f"t-{number}"])
        graph.invoke(say("after"), thread(f"t-{number}"))
    bases = rows(here, "SELECT 1 FROM checkpoints WHERE CAST(metadata AS TEXT) = :base", base=json.dumps(BASE))
    assert bool(bases) == (frequency == 1000)
    move(here, there, "t-0")
    move(there, back, "t-0", "t-1")

    def on(saver: HoldfastSaver, id_: str) -> list[str]:
        graph = talker(saver, state)
        assert len(graph.get_state(thread(id_)).values["messages"]) == 10
        return [message.text for message in graph.invoke(say("on"), thread(id_))["messages"]]

    said = on(here, "t-0")
    assert len(said) == 12
    assert [on(there, "t-0"), on(there, "t-1"), on(back, "t-0"), on(back, "t-1")] == [said] * 4


@pytest.mark.sweep
def test_stock_checkpoints_move_as_they_are_and_become_compact_there(
    sqlite_url: str, there: HoldfastSaver, back: HoldfastSaver
) -> None:
    in_stock(sqlite_url, SCENARIOS["time travel"])
    with open_checkpointer(sqlite_url) as here:
        [moved] = move(here, there)
        move(there, back)
        assert told(back) == told(here)
        assert transfer_thread(here.database, there.database, "ada-1") == replace(moved, was_there=True)
        assert rows(there, "SELECT count(*) FROM holdfast_messages") == [(0,)]
        assert convert.compact_thread(there.database, "ada-1").rewritten > 0
        assert told(there) == told(here)
        here.delete_thread("ada-1")
        back.delete_thread("ada-1")
        move(there, here)
        move(there, back)


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("way", ["out", "in"])
def test_a_pause_is_answered_on_the_other_side_and_its_tool_runs_once(
    here: HoldfastSaver, there: HoldfastSaver, world: World, way: str
) -> None:
    source, target = (here, there) if way == "out" else (there, here)
    talk = talk_with(source, needs_approval(world.tool()), lines=2)
    talk.say("pay")
    source.copy_thread("ada-1", "a-copy")  # is moved first, with the ledger of both
    [pause] = talk.agent.get_state(talk.thread).interrupts
    talk.answer(pause.id, type="approve")
    talk.say("pay again")
    waiting = source.interrupts.waiting()
    assert move(source, target, *transfer.transferable_threads(source.database))[0].thread_id == "a-copy"
    assert (ledger(target), world.done) == (["done"], [1])
    assert target.interrupts.waiting() == waiting

    moved = Talk(target, *map(says, "123"), tools=[needs_approval(world.tool())])
    moved.answer(target.interrupts.waiting(thread_id="ada-1")[0].interrupt_id, type="approve")
    assert world.done == [1, 2]
    moved.thread = {"configurable": {"thread_id": "a-copy"}}
    moved.answer(target.interrupts.waiting(thread_id="a-copy")[0].interrupt_id, type="approve")
    assert asked(moved)["why"] == "elsewhere", "the copy is told that it has run in the original"
    assert (world.done, ledger(target)) == ([1, 2], ["done", "done"])


@pytest.mark.sweep
def test_an_effect_that_runs_during_a_transfer_is_in_doubt_in_the_target(
    here: HoldfastSaver, there: HoldfastSaver, world: World
) -> None:
    talk = talk_with(here, world.tool())
    world.behave = lambda: move(here, there) and None
    talk.say("pay")
    assert (ledger(here), ledger(there)) == (["done"], ["started"])

    moved = talk_with(there, world.tool())
    moved.model.seen = [[]]
    world.behave = lambda: None
    change(there, "UPDATE holdfast_effects SET alive_until = 0")
    moved.agent.invoke(None, moved.thread)
    assert asked(moved)["why"] == "owner"
    settle(moved, type="happened", result="paid, says the bank")
    assert world.done == [1]
    with pytest.raises(ThreadDiffers, match="is there already, and is not the same"):
        transfer_thread(here.database, there.database, "ada-1")


def test_a_thread_that_is_there_stays_and_writers_of_a_deleted_one_are_refused(
    here: HoldfastSaver, there: HoldfastSaver
) -> None:
    for id_ in ("ada-1", "bob-1"):
        echo_graph(here).invoke({"messages": [HumanMessage(id_)]}, thread(id_))
    echo_graph(there).invoke({"messages": [HumanMessage("of before")]}, thread("bob-1"))
    late = there.get_tuple(thread("bob-1"))
    empty = thread(checkpoint_ns="")
    assert late is not None
    assert there.get_tuple(empty) is None
    there.delete_thread("bob-1")
    assert [moved.was_there for moved in move(here, there, "ada-1", "bob-1")] == [False, False]
    assert [moved.was_there for moved in move(here, there, "ada-1", "bob-1")] == [True, True]
    for config in (late.config, empty):
        with pytest.raises(ThreadConflict):
            put(there, config, checkpoint([HumanMessage("late")]))

    with there.lease("ada-1"):
        move(here, there, "ada-1")  # leases do not count
    echo_graph(there).invoke({"messages": [HumanMessage("on")]}, thread())
    before = everything(there)
    with pytest.raises(ThreadDiffers):
        transfer_thread(here.database, there.database, "ada-1")
    assert everything(there) == before
    assert texts(there) == ["ada-1", "You said: ada-1", "on", "You said: on"]
    with pytest.raises(ValueError, match="same database"):
        transfer_thread(here.database, here.database, "ada-1")


def test_a_ledger_that_says_something_else_is_neither_changed_nor_joined(
    here: HoldfastSaver, there: HoldfastSaver, world: World
) -> None:
    talk_with(here, world.tool()).say("pay")
    here.copy_thread("ada-1", "copy")
    echo_graph(there).invoke({"messages": [HumanMessage("another thread of that name")]}, thread())
    before = everything(there)
    with pytest.raises(NotMoved, match=r"which it shares with thread 'ada-1'.*Move a thread and its copies together"):
        transfer_thread(here.database, there.database, "copy")
    assert everything(there) == before


def test_a_thread_that_cannot_be_transferred_is_named_and_not_written(
    here: HoldfastSaver, there: HoldfastSaver
) -> None:
    saved = checkpoint([HumanMessage("x")], note={"long": "n"})
    for id_ in ("no-row", "old", "in-place"):
        put(here, thread(id_), saved)
    here.put_writes(thread("old", checkpoint_ns="", checkpoint_id=saved["id"]), [("note", 1)], "task")
    other = {**checkpoint([]), "channel_values": {"note": {"long": "m"}}, "channel_versions": saved["channel_versions"]}
    put(here, thread("in-place"), other)  # type: ignore[arg-type]
    change(here, "DELETE FROM holdfast_messages WHERE thread_id = 'no-row'")
    change(here, "UPDATE writes SET type = 'pickle' WHERE thread_id = 'old'")
    put(here, thread("no-json"), checkpoint([]))
    change(here, "UPDATE checkpoints SET metadata = '{' WHERE thread_id = 'no-json'")
    before = everything(there)
    for id_, error, why in [
        ("no-row", DamagedThread, "rows 1 to 1, some of which are missing"),
        ("old", NotMoved, "form 'pickle'"),
        ("no-json", DamagedThread, "metadata of checkpoint .* are no JSON"),
        ("in-place", NotMoved, "'note'.*changed its state in place"),
    ]:
        with pytest.raises(error, match=why):
            transfer_thread(here.database, there.database, id_)
    with pytest.raises(NotMoved, match="no such thread"):
        transfer_thread(here.database, there.database, "unknown")
    assert everything(there) == before


def test_a_transfer_that_loses_a_record_is_rolled_back(
    here: HoldfastSaver, there: HoldfastSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    echo_graph(here).invoke({"messages": [HumanMessage("hello")]}, thread())
    before = everything(there)
    real = ThreadWriter.add
    monkeypatch.setattr(ThreadWriter, "add", lambda self, record: record.kind == "write" or real(self, record))
    with pytest.raises(NotMoved, match="would not be there as it was"):
        transfer_thread(here.database, there.database, "ada-1")
    assert everything(there) == before


def test_a_copy_that_was_cut_off_is_repeated(here: HoldfastSaver, line: tuple[Wire, str]) -> None:
    wire, url = line
    echo_graph(here).invoke({"messages": [HumanMessage("hello")]}, thread())
    with open_checkpointer(url) as there:
        cuts: list[str] = []

        def cut(name: str) -> None:
            if name == "save_checkpoint" and not cuts:
                cuts.append(name)
                wire.cut()

        there._backend.on_statement = cut
        move(here, there)
        assert (cuts, texts(there)) == (["save_checkpoint"], ["hello", "You said: hello"])


def copy_until_killed(source: str, target: str, commits: int) -> list[bool]:
    with open_checkpointer(source) as old, open_checkpointer(target) as new:
        new._backend.on_statement = children.DieBeforeCommit(commits)
        return [
            transfer_thread(old.database, new.database, id_).was_there
            for id_ in transfer.transferable_threads(old.database)
        ]


@pytest.mark.sweep
def test_a_copy_that_was_killed_goes_on_where_it_was(sqlite_url: str, url: str, tmp_path: Any) -> None:
    source = f"sqlite:///{tmp_path / 'source.db'}"
    with open_checkpointer(source) as here:
        for number in range(3):
            echo_graph(here).invoke({"messages": [HumanMessage("hello")]}, thread(f"t-{number}"))
        assert children.run(copy_until_killed, source, url, 2) == -SIGKILL
        with open_checkpointer(url) as there:
            assert list(transfer.transferable_threads(there.database)) == ["t-0", "t-1"]
        assert children.run(copy_until_killed, source, url, 99) == [True, True, False]
        with open_checkpointer(url) as there:
            assert told(there) == told(here)
            assert [thread_digest(there.database, f"t-{n}") for n in range(3)] == [
                thread_digest(here.database, f"t-{n}") for n in range(3)
            ]
