"""A database of the stock savers goes in, becomes compact, and comes out again: with the same in it at every point."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest
from langgraph.types import Command

from holdfast.checkpoints import convert, maintenance, open_checkpointer, urls
from holdfast.checkpoints.backends import migrations
from holdfast.checkpoints.errors import SchemaTooNew
from holdfast.checkpoints.maintenance import Schema
from tests.support import children
from tests.support.foreign import SCENARIOS, DeltaState, say, talker
from tests.support.kit import change, echo_graph, rows, texts, thread
from tests.support.shapes import exact
from tests.support.stock_kit import (
    CHEAP,
    PENDING,
    compact_all,
    converted,
    done,
    expand_all,
    forms,
    holdfast,
    in_stock,
    listed,
)
from tests.support.sweep import Sweep


@pytest.mark.sweep(on="postgres")
@pytest.mark.sweep(every=6)
@pytest.mark.parametrize("scenario", CHEAP)
def test_a_thread_of_a_stock_saver_is_the_same_after_compacting_and_expanding(bare_url: str, scenario: str) -> None:
    in_stock(bare_url, SCENARIOS[scenario])
    before = in_stock(bare_url, listed)
    with open_checkpointer(bare_url) as saver:  # knows none of the types in it
        assert done(convert.compact_thread(saver.database, "ada-1")) > 0
        assert done(convert.compact_thread(saver.database, "ada-1")) == 0, "a repeated compaction changes nothing"
        assert "holdfast-1" in forms(saver)
        assert convert.find_damage(saver.database, "ada-1") is None
    with holdfast(bare_url) as saver:
        assert listed(saver) == before
        assert done(convert.expand_thread(saver.database, "ada-1")) > 0
        assert done(convert.expand_thread(saver.database, "ada-1")) == 0
        assert "holdfast-1" not in forms(saver)
        assert listed(saver) == before
    assert in_stock(bare_url, listed) == before


def test_a_conversation_goes_on_at_every_point_of_the_way_in_and_out(bare_url: str) -> None:
    said = [text for turn in ("one", "two", "three", "four", "five") for text in (turn, f"You said: {turn}")]

    def turn(saver: Any, text: str) -> None:
        echo_graph(saver).invoke({"messages": [("user", text)]}, thread())

    in_stock(bare_url, lambda stock: turn(stock, "one"))
    with holdfast(bare_url) as saver:
        turn(saver, "two")
        convert.compact_thread(saver.database, "ada-1")
        turn(saver, "three")
        convert.expand_thread(saver.database, "ada-1")
        assert texts(saver) == said[:6]
    in_stock(bare_url, lambda stock: turn(stock, "four"))
    with holdfast(bare_url) as saver:
        assert texts(saver) == said[:8]
        turn(saver, "five")
        convert.compact_thread(saver.database, "ada-1")
        assert texts(saver) == said
        kept = rows(saver, "SELECT content FROM holdfast_messages ORDER BY seq")
        assert sorted(text for (text,) in kept) == sorted(said), "each once, although some were compacted twice"
        assert [len(item.checkpoint["channel_values"].get("messages", [])) for item in saver.list(thread())][::-3] == [
            *range(0, 10, 2)
        ], "the history is whole"


@pytest.mark.parametrize("asked_by", ["stock", "holdfast"])
def test_a_pause_can_be_answered_by_the_stock_saver_and_by_ours(bare_url: str, asked_by: str) -> None:
    def ask(saver: Any) -> None:
        children.approval_graph(saver).invoke({"messages": [("user", "May I?")]}, thread())

    def answer(saver: Any) -> list[str]:
        graph = children.approval_graph(saver)
        [pending] = graph.get_state(thread()).interrupts
        return [m.text for m in graph.invoke(Command(resume={pending.id: "yes"}), thread())["messages"]]

    if asked_by == "stock":
        in_stock(bare_url, ask)
    with holdfast(bare_url) as saver:
        if asked_by == "holdfast":
            ask(saver)
        else:
            assert done(convert.compact_thread(saver.database, "ada-1")) > 0
        saver.copy_thread("ada-1", "ada-2")
        assert done(convert.expand_thread(saver.database, "ada-1")) > 0
    assert in_stock(bare_url, answer) == ["May I?", "The person said yes."]
    with holdfast(bare_url) as saver:
        assert texts(saver) == ["May I?", "The person said yes."]
        assert texts(saver, "ada-2") == ["May I?"]


@pytest.mark.sweep
def test_rows_say_when_and_where_a_message_was_said_first(bare_url: str) -> None:
    in_stock(bare_url, SCENARIOS["time travel"])
    with holdfast(bare_url) as saver:
        saver.delete_thread("ada-1")
    in_stock(bare_url, SCENARIOS["time travel"])
    with holdfast(bare_url) as saver:
        ids = [item.config["configurable"]["checkpoint_id"] for item in saver.list(thread())]
        [(first,), *_] = rows(saver, "SELECT min(checkpoint_id) FROM checkpoints")
        convert.compact_thread(saver.database, "ada-1")
        found = rows(saver, "SELECT checkpoint_id, step, ns, channel, created_at FROM holdfast_messages ORDER BY seq")
        assert {checkpoint_id for checkpoint_id, *_ in found} <= set(ids)
        assert {(ns, channel) for _, _, ns, channel, _ in found} == {("", "messages")}
        assert [at for *_, at in found] == sorted(at for *_, at in found)
        assert found[0][0] == first
        assert rows(saver, "SELECT deleted_at FROM holdfast_threads") == [(None,)], "it was deleted before it began"


def test_a_pruned_thread_with_a_delta_channel_can_be_expanded(bare_url: str) -> None:
    with holdfast(bare_url) as saver:
        graph = talker(saver, DeltaState)
        for turn in range(4):
            graph.invoke(say(f"turn {turn}"), thread())
        saver.prune(["ada-1"])
        state = exact(graph.get_state(thread()).values)
        assert done(convert.expand_thread(saver.database, "ada-1")) > 0
        assert exact(graph.get_state(thread()).values) == state
    assert in_stock(bare_url, lambda stock: exact(talker(stock, DeltaState).get_state(thread()).values)) == state
    said = in_stock(bare_url, lambda stock: talker(stock, DeltaState).invoke(say("on"), thread())["messages"])
    assert [m.text for m in said][-2:] == ["on", "answer to on"]
    with holdfast(bare_url) as saver:
        assert done(convert.compact_thread(saver.database, "ada-1")) > 0
        assert exact(talker(saver, DeltaState).get_state(thread()).values["messages"]) == exact(said)


def test_without_its_tables_holdfast_opens_the_database_as_at_the_first_time(bare_url: str) -> None:
    with holdfast(bare_url) as saver:
        for text in ("one", "two"):
            echo_graph(saver).invoke({"messages": [("user", text)]}, thread())
        before = listed(saver)
        convert.expand_thread(saver.database, "ada-1")
        convert.drop_tables(saver.database)
    location = urls.parse(bare_url)
    assert maintenance.read_schema(location) == Schema(True, 0, migrations.KNOWN_VERSION, PENDING)
    assert in_stock(bare_url, listed) == before
    maintenance.vacuum(location)
    with holdfast(bare_url) as saver:
        assert listed(saver) == before
        assert done(convert.compact_thread(saver.database, "ada-1")) > 0
        assert listed(saver) == before
        assert maintenance.read_schema(location) == Schema(True, migrations.KNOWN_VERSION, migrations.KNOWN_VERSION, [])


@pytest.mark.sweep
def test_a_conversion_that_is_killed_leaves_each_thread_as_it_was_or_done(url: str, sweep: Sweep) -> None:
    def talk(stock: Any) -> None:
        for thread_id in ("a", "b"):
            echo_graph(stock).invoke({"messages": [("user", f"one {thread_id}")]}, thread(thread_id))

    in_stock(url, talk)
    with holdfast(url) as saver:
        before = listed(saver)
    for work, midway, end in ((compact_all, "a", "ab"), (expand_all, "b", "")):
        seen = set()
        for last in range(4, 1000, sweep(31, 7)):
            names = children.run(children.die_in_work, url, work, last)
            with holdfast(url) as saver:
                assert listed(saver) == before, f"killed before statement {last}"
                seen.add(frozenset(converted(saver)))
            if names != -SIGKILL:
                break
        assert {"begin", "set_value", "set_write", "commit"} <= set(names)
        assert {frozenset(midway), frozenset(end)} <= seen
    assert in_stock(url, listed) == before


# --- looking at it


@pytest.mark.sweep
def test_statistics_say_what_takes_the_space(bare_url: str) -> None:
    def talk(stock: Any) -> None:
        for thread_id, turns in (("small", 1), ("large", 12)):
            for turn in range(turns):
                text = f"{turn} {sha256(str(turn).encode()).hexdigest() * 31}"
                echo_graph(stock).invoke({"messages": [("user", text)]}, thread(thread_id))

    in_stock(bare_url, talk)
    with holdfast(bare_url) as saver:
        before = maintenance.collect_stats(saver.database, largest=1)
        compact_all(saver)
        after = maintenance.collect_stats(saver.database)
    assert (before.threads, before.checkpoints, before.messages, before.ratio) == (2, 39, 0, None)
    assert [size.thread_id for size in before.largest] == ["large"]
    assert (after.threads, after.checkpoints, after.messages) == (2, 39, 26)
    assert after.text == 13 * (2 * 64 * 31 + len("You said: ")) + 2 * sum(len(f"{turn} ") for turn in (0, *range(12)))
    assert after.largest[0].bytes < before.largest[0].bytes / 2
    assert {"checkpoints", "holdfast_messages"} <= {part.name for part in after.parts}
    assert sum(part.bytes for part in after.parts) + (after.free or 0) == pytest.approx(after.bytes, rel=0.1)


def test_looking_at_a_schema_changes_nothing(bare_url: str, tmp_path: Path) -> None:
    location = urls.parse(bare_url)
    assert maintenance.read_schema(location) == Schema(False, 0, migrations.KNOWN_VERSION, PENDING)
    assert list(tmp_path.glob("*.db")) == []
    with holdfast(bare_url) as saver:
        change(saver, "INSERT INTO holdfast_schema VALUES (99, 'later', 98, 0)")
    with pytest.raises(SchemaTooNew, match=r"schema version 99.* knows version 98 or newer"):
        maintenance.read_schema(location)
