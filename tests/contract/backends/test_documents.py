"""On PostgreSQL a checkpoint that holds messages has a packed document, and loads as one that is not packed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

import ormsgpack
import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import START, StateGraph, add_messages

from holdfast.checkpoints import HoldfastSaver, convert, open_checkpointer
from holdfast.checkpoints.backends.postgres import documents, tables
from holdfast.checkpoints.errors import DamagedThread
from tests.support.foreign import SCENARIOS, say, talker
from tests.support.kit import change, checkpoint, echo_graph, forget, put, rows, texts, thread
from tests.support.records import steps_back
from tests.support.stock_kit import CHEAP, done, holdfast, in_stock, listed

PACKED = "SELECT count(*) FROM checkpoints WHERE checkpoint ? 'packed'"
PLAIN = "SELECT count(*) FROM checkpoints WHERE NOT checkpoint ? 'packed'"
UNKNOWN = """
SELECT channel, version FROM checkpoint_blobs AS blobs
WHERE NOT EXISTS (
  SELECT 1 FROM checkpoints
  WHERE checkpoints.thread_id = blobs.thread_id AND checkpoints.checkpoint_ns = blobs.checkpoint_ns
    AND checkpoint -> 'channel_versions' ->> blobs.channel = blobs.version)
"""


@pytest.fixture
def url(postgres_url_with_tables: str) -> str:
    return postgres_url_with_tables


def count(saver: HoldfastSaver, statement: str) -> int:
    [(found,)] = rows(saver, statement)
    return int(found)


def turn(saver: Any, text: str) -> None:
    echo_graph(saver).invoke({"messages": [("user", text)]}, thread())


def begin_as_before(url: str, monkeypatch: pytest.MonkeyPatch, *said: str) -> None:
    """Begin a thread as it was done before documents were packed."""
    with monkeypatch.context() as patch, open_checkpointer(url) as saver:
        patch.setattr(tables, "packed", lambda document, values: document)
        for text in said:
            talker(saver).invoke(say(text), thread())
        assert count(saver, PACKED) == 0


def test_a_checkpoint_comes_back_as_it_was_saved(url: str) -> None:
    with open_checkpointer(url) as saver:
        version = saver.get_next_version(None, None)
        saved = checkpoint([HumanMessage("hello")], note="n" * 500, small=1, empty=None)
        saved["channel_versions"] |= {"messages": version, "note": "7", "small": f"{3:032}.0.4567", "gone": version}
        saved["versions_seen"] = {"node": {"messages": version}, "other": {}}
        config = put(saver, thread(), saved)
        found = saver.get_tuple(config)
        assert count(saver, PACKED) == 1
        assert found is not None
        assert found.checkpoint == saved


@pytest.mark.sweep(every=6)
@pytest.mark.parametrize("scenario", CHEAP)
def test_an_expanded_thread_reads_the_same_with_the_stock_saver(url: str, scenario: str) -> None:
    with holdfast(url) as saver:
        SCENARIOS[scenario](saver)
        before = listed(saver)
        assert done(convert.expand_thread(saver.database, "ada-1")) > 0
        assert count(saver, PACKED) == 0
        assert done(convert.expand_thread(saver.database, "ada-1")) == 0
        after = listed(saver)
        # There, checkpoints without a value of their own have that of a snapshot under the same version.
        assert after == before or scenario == "DeltaChannel"
    assert in_stock(url, listed) == after


def notes_graph(saver: Any, frequency: int) -> Any:
    def in_order(notes: list[Any], updates: Sequence[list[Any]]) -> list[Any]:
        return [*(notes or []), *(note for update in updates for note in update)]

    state = TypedDict(  # noqa: UP013 - the annotations of a class here would not see the frequency
        "State",
        {
            "notes": Annotated[list[Any], DeltaChannel(in_order, snapshot_frequency=frequency)],
            "messages": Annotated[list[AnyMessage], add_messages],
            "count": int,
        },
    )
    builder = StateGraph(state)
    builder.add_node("note", lambda state: {"notes": ["noted"], "messages": [AIMessage("hi")]})
    builder.add_node("count", lambda state: {"count": len(state["notes"])})
    builder.add_edge(START, "note")
    builder.add_edge("note", "count")
    return builder.compile(checkpointer=saver)


@pytest.mark.sweep
@pytest.mark.parametrize("frequency", [1, 2, 3, 1000])
def test_the_stock_saver_goes_on_from_a_snapshot_that_came_out(url: str, frequency: int) -> None:
    """It finds a snapshot by its version, also with the checkpoints after it that have none."""

    def say(saver: Any, *texts: str) -> list[Any]:
        graph = notes_graph(saver, frequency)
        for text in texts:
            graph.invoke({"count": 0, "notes": [text], "messages": [("user", text)]}, thread())
        states = [state.values for state in graph.get_state_history(thread())]
        return [[state.get("notes"), [m.text for m in state["messages"]], state.get("count")] for state in states]

    with holdfast(url) as saver:
        told = say(saver, "one", "two")
        whole = listed(saver)
        assert done(convert.expand_thread(saver.database, "ada-1")) > 0
        assert say(saver) == told
        assert len(listed(saver)) == len(whole)
        assert done(convert.expand_thread(saver.database, "ada-1")) == 0
    assert in_stock(url, say) == told
    more = in_stock(url, lambda stock: say(stock, "three"))
    assert more[-len(told) :] == told
    assert more[0][0] == ["one", "noted", "two", "noted", "three", "noted"]
    assert more[0][1:] == [["one", "hi", "two", "hi", "three", "hi"], 6]
    with holdfast(url) as saver:
        assert say(saver) == more
        assert say(saver, "four")[0][0] == [*more[0][0], "four", "noted"]
        done(convert.compact_thread(saver.database, "ada-1"))
        done(convert.expand_thread(saver.database, "ada-1"))


@pytest.mark.sweep
def test_a_thread_goes_in_and_out_at_every_turn(url: str) -> None:
    said = [text for turn in ("one", "two", "three", "four") for text in (turn, f"You said: {turn}")]
    in_stock(url, lambda stock: turn(stock, "one"))
    with holdfast(url) as saver:
        turn(saver, "two")
        assert count(saver, PACKED) > 0, "although other channels have versions of the stock saver"
        done(convert.compact_thread(saver.database, "ada-1"))
        turn(saver, "three")
        done(convert.expand_thread(saver.database, "ada-1"))
    in_stock(url, lambda stock: turn(stock, "four"))
    with holdfast(url) as saver:
        assert texts(saver) == said
        assert [len(item.checkpoint["channel_values"].get("messages", [])) for item in saver.list(thread())][::-3] == [
            *range(0, 8, 2)
        ]


@pytest.mark.sweep
def test_a_thread_that_began_with_plain_documents_goes_on(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begin_as_before(url, monkeypatch, "one", "two")
    with open_checkpointer(url) as saver:
        graph = talker(saver)
        before = listed(saver)
        graph.update_state(thread(), None, as_node="check")  # carries the values that are stored already
        graph.invoke(say("three"), thread())
        assert count(saver, PACKED) > 0 < count(saver, PLAIN)
        assert texts(saver) == ["one", "answer to one", "two", "answer to two", "three", "answer to three"]
        assert listed(saver)[-len(before) :] == before

        saver.copy_thread("ada-1", "ada-2")
        copies = [[item.checkpoint for item in saver.list(thread(at))] for at in ("ada-1", "ada-2")]
        assert copies[0] == copies[1]
        graph.invoke(say("other"), steps_back(graph, 7))  # from a plain one
        assert texts(saver)[-2:] == ["other", "answer to other"]
        whole = listed(saver)

        done(convert.expand_thread(saver.database, "ada-1"))
        assert listed(saver) == whole
        saver.prune(["ada-1", "ada-2"])
        assert [texts(saver, at)[-1] for at in ("ada-1", "ada-2")] == ["answer to other", "answer to three"]
        assert rows(saver, UNKNOWN) == []


def test_taking_back_a_run_leaves_what_was_there_before(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begin_as_before(url, monkeypatch, "one")
    with open_checkpointer(url) as saver:
        before = listed(saver)
        talker(saver).invoke(say("two"), {**thread(), "metadata": {"run_id": "r-2"}})
        assert count(saver, PACKED) > 0
        saver.delete_for_runs(["r-2"])
        assert listed(saver) == before
        assert rows(saver, UNKNOWN) == []


def test_the_stock_saver_refuses_a_packed_checkpoint_or_stops_for_want_of_its_parts(url: str) -> None:
    in_stock(url, lambda stock: turn(stock, "one"))
    with open_checkpointer(url) as saver:
        echo_graph(saver).update_state(thread(), None, as_node="model")  # the messages are those of the stock saver
        assert count(saver, PACKED) == 1
    with pytest.raises(KeyError):
        in_stock(url, lambda stock: turn(stock, "two"))
    with open_checkpointer(url) as saver:
        turn(saver, "two")
        assert texts(saver) == ["one", "You said: one", "two", "You said: two"]
    with pytest.raises(NotImplementedError, match="holdfast-1"):
        in_stock(url, lambda stock: turn(stock, "three"))


def test_a_damaged_document_is_named(url: str) -> None:
    with open_checkpointer(url) as saver:
        turn(saver, "one")
        change(
            saver,
            "UPDATE checkpoints SET checkpoint = jsonb_set(checkpoint, '{packed}', '\"AAAA\"')"
            " WHERE checkpoint ? 'packed'",
        )
        for work in (
            lambda: saver.get_tuple(thread()),
            lambda: list(saver.list(thread(), limit=1)),
            lambda: saver.get_delta_channel_history(config=thread(), channels=["messages"]),
        ):
            forget(saver)
            with pytest.raises(DamagedThread, match=r"'ada-1'.* checkpoint .* cannot be read .*unpacked"):
                work()
        assert "unpacked" in str(convert.find_damage(saver.database, "ada-1"))


def test_tables_are_not_dropped_while_a_document_is_packed(url: str) -> None:
    with open_checkpointer(url) as saver:
        in_stock(url, lambda stock: turn(stock, "one"))
        echo_graph(saver).update_state(thread(), None, as_node="model")
        with pytest.raises(convert.NotConverted):
            convert.drop_tables(saver.database)


@pytest.mark.parametrize(
    "damage",
    [
        "checkpoint #- '{channel_versions,messages}'",
        "jsonb_set(checkpoint, '{channel_versions,other}', '\"1\"')",
        "jsonb_set(checkpoint, '{channel_versions,messages}', '\"1\"')",
        "checkpoint - 'channel_versions'",
        "checkpoint - 'packed'",
    ],
)
def test_a_document_altered_beside_its_packed_text_is_damaged(url: str, damage: str) -> None:
    with open_checkpointer(url) as saver:
        turn(saver, "one")
        change(saver, f"UPDATE checkpoints SET checkpoint = {damage} WHERE checkpoint ? 'packed'")
        with pytest.raises(DamagedThread, match="'ada-1'"):
            saver.get_tuple(thread())
        assert convert.find_damage(saver.database, "ada-1")


def test_a_document_that_was_packed_without_its_names_is_read(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = documents._text

    def as_before(data: bytes) -> str:
        found = ormsgpack.unpackb(data, ext_hook=ormsgpack.Ext, option=ormsgpack.OPT_NON_STR_KEYS)
        assert found.pop("stored") == ["messages"]
        return text(ormsgpack.packb(found, option=ormsgpack.OPT_NON_STR_KEYS))

    with open_checkpointer(url) as saver:
        with monkeypatch.context() as patch:
            patch.setattr(documents, "_text", as_before)
            saved = checkpoint([HumanMessage("hello")])
            put(saver, thread(), saved)
        assert count(saver, PACKED) == 1
        assert texts(saver) == ["hello"]
