"""The newest checkpoints of a thread are kept, and all that a conversation could do with the others but going back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.types import Command

from holdfast import open_checkpointer
from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.errors import NothingToUndo
from holdfast.checkpoints.retention.newest import MOST_BESIDE
from holdfast.checkpoints.retention.steadily import SteadyPruning
from tests.support.asking import count, team, waiting
from tests.support.delta_kit import delta_agent
from tests.support.kept_kit import in_file
from tests.support.kit import echo_graph, texts, thread
from tests.support.retention_kit import policy, talk
from tests.support.shapes import exact


@pytest.mark.sweep(on="postgres")
def test_time_travel_and_undo_work_within_what_is_kept(saver: HoldfastSaver) -> None:
    talk(saver, "ada-1", *"abcdefgh")
    graph, planned = echo_graph(saver), saver.sweep(policy(keep_checkpoints=6), dry_run=True)
    swept = saver.sweep(policy(keep_checkpoints=6))

    history = list(graph.get_state_history(thread()))
    assert 6 <= len(history) <= 6 + MOST_BESIDE
    assert swept.checkpoints == planned.checkpoints == 24 - len(history)
    assert texts(saver)[::2] == list("abcdefgh")
    before = next(found for found in history if found.next == ("model",))
    graph.update_state(before.config, {"messages": [("ai", "otherwise")]}, as_node="model")
    assert texts(saver)[-2:] == ["h", "otherwise"]
    for left in ("abcdefg", "abcdef"):
        saver.threads.undo("ada-1")
        assert texts(saver)[::2] == list(left)
    with pytest.raises(NothingToUndo):
        saver.threads.undo("ada-1")
    assert texts(saver)[::2] == list("abcdef")
    assert len([entry for entry in saver.transcript("ada-1") if entry.kind == "message"]) == 17


@pytest.mark.sweep(on="postgres")
def test_the_last_turn_can_be_undone_and_its_run_rolled_back_however_long_it_was(saver: HoldfastSaver) -> None:
    graph = echo_graph(saver)
    for number, text in enumerate("ab"):
        graph.invoke({"messages": [("user", text)]}, {**thread(), "metadata": {"run_id": f"run-{number}"}})
        saver.copy_thread("ada-1", f"copy-{number}")
    config: Any = {**thread("copy-1"), "metadata": {"run_id": "run-1"}}
    for number in range(20):
        graph.update_state(config, {"messages": [("ai", f"step {number}")]}, as_node="model")

    assert saver.sweep(policy(keep_checkpoints=2)).checkpoints > 10
    saver.copy_thread("copy-1", "undone")
    saver.threads.undo("undone")
    assert texts(saver, "undone") == texts(saver, "copy-0")
    saver.delete_for_runs(["run-1"])
    assert texts(saver, "copy-1") == texts(saver, "copy-0")


@pytest.mark.sweep
def test_a_thread_of_delta_channels_stays_the_same(saver: HoldfastSaver) -> None:
    graph = delta_agent(saver, 1000)
    for number in range(4):
        graph.invoke({"messages": [HumanMessage(f"{number}", id=f"h-{number}")], "notes": [number]}, thread())
    state, number = exact(graph.get_state(thread()).values), count(saver, "ada-1")
    kept = [exact(found.values) for found in graph.get_state_history(thread())][:4]

    gone = saver.sweep(policy(keep_checkpoints=4)).checkpoints
    assert 0 < gone < number
    assert exact(graph.get_state(thread()).values) == state
    assert [exact(found.values) for found in graph.get_state_history(thread())][:4] == kept


# --- as a thread goes on


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("given", ["argument", "url"])
def test_a_busy_thread_keeps_about_as_many_checkpoints(sqlite_url_with_tables: str, given: str) -> None:
    url = f"{sqlite_url_with_tables}?compact_after=5" if given == "url" else sqlite_url_with_tables
    with open_checkpointer(url, compact_after=5 if given == "argument" else None) as saver:
        graph = delta_agent(saver, 1000) if given == "url" else echo_graph(saver)
        for turn in range(12):
            graph.invoke({"messages": [HumanMessage(f"{turn}", id=f"h-{turn}")]}, thread())
        said = [m.text for m in graph.get_state(thread()).values["messages"] if isinstance(m, HumanMessage)]
    with open_checkpointer(sqlite_url_with_tables) as saver:
        assert len(list(saver.list(thread(checkpoint_ns="")))) <= 10 + MOST_BESIDE
        assert said == [f"{turn}" for turn in range(12)]
        assert len([entry for entry in saver.transcript("ada-1") if entry.kind == "message"]) >= 24


def test_a_save_costs_no_statement_more_and_only_every_few_steps_a_look_beside_it(
    sqlite_url_with_tables: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[str] = []
    monkeypatch.setattr(SteadyPruning, "_prune", lambda _, thread_id: looked_at.append(thread_id))
    with open_checkpointer(sqlite_url_with_tables, compact_after=4) as saver:
        names: list[str] = []
        saver._backend.on_statement = names.append
        for _ in range(4):  # the steps from -1 to 10
            echo_graph(saver).invoke({"messages": [("user", "hi")]}, thread(), durability="sync")
        saver._backend.on_statement = None
    assert names.count("save_checkpoint") == 12
    assert set(names).isdisjoint({"is_long", "asked_at", "outline", "lock_idle_threads"})
    assert looked_at == ["ada-1", "ada-1"], "at the steps 4 and 8"


@pytest.mark.sweep
def test_a_request_that_is_kept_can_still_be_answered_after_many_turns(
    sqlite_url_with_tables: str, tmp_path: Path
) -> None:
    with open_checkpointer(sqlite_url_with_tables, compact_after=3) as saver:
        ada = in_file(saver, str(tmp_path / "effects"), "ada-1")
        ada.send("Refund order 1")
        for _ in range(6):
            ada.send("How are you?")
        assert count(saver, "ada-1", "") < 30
        assert "order 1 refunded" in ada.approve(by="Grace").text
    assert (tmp_path / "effects").read_text() == "refund 1\n"


@pytest.mark.sweep
def test_calls_of_subgraphs_that_wait_are_kept(sqlite_url_with_tables: str) -> None:
    with open_checkpointer(sqlite_url_with_tables, compact_after=2) as saver:
        graph = team(saver)
        for turn in range(4):
            graph.invoke({"messages": [HumanMessage("go", id=f"h-{turn}")]}, thread())
            for number, name in enumerate("abc"):
                ids = {who: id_ for id_, who in ((v, k) for k, v in waiting(graph, thread()).items())}
                graph.invoke(Command(resume={ids[name]: f"{turn}{number}"}), thread())
        assert len(graph.get_state(thread()).values["messages"]) == 16
    with open_checkpointer(sqlite_url_with_tables) as saver:
        assert count(saver, "ada-1", "") <= 4 + MOST_BESIDE
