"""A run that is deleted leaves everything as if it had never been, and takes nothing that others need."""

from __future__ import annotations

import uuid
from itertools import product
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import MessagesState
from langgraph.types import Command, interrupt

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.errors import ThreadConflict
from holdfast.checkpoints.threads import rollback
from tests.support.asking import state_of, team, waiting
from tests.support.children import approval_graph, put_after
from tests.support.delta_kit import delta_agent
from tests.support.dialects import STOCK_TABLES, dialect_of
from tests.support.foreign import say, talker
from tests.support.kit import echo_graph, one_node, rows, texts, thread
from tests.support.shapes import exact
from tests.support.sweep import Sweep


def run(number: int, thread_id: str = "ada-1", **configurable: Any) -> Any:
    """The config of a run, as LangGraph's server makes it."""
    return {**thread(thread_id, **configurable), "metadata": {"run_id": f"run-{number}"}}


def left(saver: HoldfastSaver) -> dict[str, list[str]]:
    """All that a thread has, but for what says when and how often it was written."""
    names = [*STOCK_TABLES[dialect_of(saver)], "holdfast_run_writes"]
    said = "SELECT seq, message_id, content, checkpoint_id, run_id FROM holdfast_messages"
    found = {name: rows(saver, f"SELECT * FROM {name}") for name in names} | {"messages": rows(saver, said)}
    return {name: sorted(map(repr, those)) for name, those in found.items()}


def two_questions(saver: Any) -> Any:
    """A graph whose one task asks twice."""

    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(f"{interrupt('first?')}, {interrupt('second?')}")]}

    return one_node(saver, ask)


def test_a_turn_that_is_taken_back_leaves_what_was_before_it(saver: HoldfastSaver) -> None:
    graph = talker(saver)
    graph.invoke(say("one"), run(1))
    before = left(saver)
    graph.invoke(say("two"), run(2))
    assert left(saver) != before

    saver.delete_for_runs(["run-2", "nothing"])

    assert left(saver) == before
    graph.invoke(say("three"), run(3))
    assert texts(saver) == ["one", "answer to one", "three", "answer to three"]


def test_the_only_run_of_a_thread_leaves_an_empty_thread(saver: HoldfastSaver) -> None:
    echo_graph(saver).invoke({"messages": [("user", "one")]}, run(1))
    echo_graph(saver).invoke({"messages": [("user", "one")]}, run(2, "bob-1"))
    saver.delete_for_runs(["run-1"])
    assert saver.get_tuple(thread()) is None
    assert rows(saver, "SELECT DISTINCT thread_id FROM holdfast_messages") == [("bob-1",)]
    echo_graph(saver).invoke({"messages": [("user", "two")]}, run(3))
    assert texts(saver) == ["two", "You said: two"]


def test_an_answer_that_is_taken_back_can_be_given_again(saver: HoldfastSaver) -> None:
    graph = approval_graph(saver)
    graph.invoke({"messages": [("user", "May I?")]}, run(1))
    before, paused = left(saver), state_of(graph, thread())
    graph.invoke(Command(resume="no"), run(2))
    assert texts(saver) == ["May I?", "The person said no."]

    saver.delete_for_runs(["run-2"])

    assert left(saver) == before
    assert state_of(graph, thread()) == paused
    graph.invoke(Command(resume="yes"), run(3))
    assert texts(saver) == ["May I?", "The person said yes."]


def test_one_of_several_answers_is_taken_back_and_the_others_stay(saver: HoldfastSaver) -> None:
    graph = team(saver)
    graph.invoke({"messages": [HumanMessage("go", id="h-1")]}, run(1))
    graph.invoke(Command(resume={waiting(graph, thread())["a"]: "yes"}), run(2))
    paused = state_of(graph, thread())
    graph.invoke(Command(resume={waiting(graph, thread())["b"]: "no"}), run(3))
    assert list(waiting(graph, thread())) == ["c"]

    saver.delete_for_runs(["run-3"])

    assert state_of(graph, thread()) == paused
    for name in "bc":
        graph.invoke(Command(resume={waiting(graph, thread())[name]: "later"}), run(4))
    assert sorted(texts(saver)) == ["a: yes", "b: later", "c: later", "go"]


def test_a_question_that_an_answer_led_to_goes_with_it(saver: HoldfastSaver) -> None:
    graph = two_questions(saver)
    graph.invoke({"messages": [("user", "go")]}, run(1))
    before = left(saver)
    graph.invoke(Command(resume="yes"), run(2))
    assert [pause.value for pause in graph.get_state(thread()).interrupts] == ["second?"]

    saver.delete_for_runs(["run-2"])

    assert left(saver) == before
    assert [pause.value for pause in graph.get_state(thread()).interrupts] == ["first?"]
    for number, text in ((3, "perhaps"), (4, "surely")):
        graph.invoke(Command(resume=text), run(number))
    assert texts(saver) == ["go", "perhaps, surely"]


def test_the_answer_of_a_later_run_stays_when_an_earlier_run_is_rolled_back(saver: HoldfastSaver) -> None:
    graph = two_questions(saver)
    graph.invoke({"messages": [("user", "go")]}, run(1))
    before = left(saver)
    config = graph.get_state(thread()).config
    for number in (2, 3):
        saver.put_writes({**config, "metadata": {"run_id": f"run-{number}"}}, [("__resume__", [number])], "task")

    saver.delete_for_runs(["run-2"])
    found = saver.get_tuple(thread())
    assert found is not None
    assert ("task", "__resume__", [3]) in (found.pending_writes or [])
    saver.delete_for_runs(["run-3"])
    assert left(saver) == before


def test_a_run_in_the_middle_goes_and_its_children_follow_the_nearest_that_is_left(saver: HoldfastSaver) -> None:
    graph = talker(saver)
    for number in (1, 2, 3):
        graph.invoke(say(f"{number}"), run(number))
    states = [exact(s.values) for s in graph.get_state_history(thread()) if s.metadata.get("run_id") != "run-2"]
    first = next(s for s in graph.get_state_history(thread()) if s.metadata.get("run_id") == "run-1")

    saver.delete_for_runs(["run-2"])

    history = list(graph.get_state_history(thread()))
    assert [exact(state.values) for state in history] == states, "what was said before is still known after"
    assert {state.metadata.get("run_id") for state in history} == {"run-1", "run-3"}
    assert history[3].metadata["source"] == "input"
    assert history[3].parent_config == first.config
    graph.invoke(say("4"), run(4))
    assert [text for text in texts(saver) if not text.startswith("answer")] == ["1", "2", "3", "4"]


@pytest.mark.sweep
def test_a_delta_thread_keeps_its_state_whichever_run_is_deleted(saver: HoldfastSaver, sweep: Sweep) -> None:
    graph = delta_agent(saver, 3)

    def converse(thread_id: str) -> None:
        for number, text in enumerate(("one", "ask two", "three", "ask four"), start=1):
            asked = {"messages": [HumanMessage(text, id=f"say-{number}")], "notes": [text]}
            graph.invoke(asked, run(number * 10, thread_id))
            if "ask" in text:
                graph.invoke(Command(resume="yes"), run(number * 10 + 1, thread_id))

    converse("plan")
    values = {
        s.config["configurable"]["checkpoint_id"]: (s.metadata["run_id"], exact(s.values))
        for s in graph.get_state_history(thread("plan"))
    }
    for number in (10, 20, 21, 30, 40)[:: sweep(2, 1)]:
        name = f"without-{number}"
        saver.copy_thread("plan", name)
        # Copies name the same runs; take each back in one of them alone.
        rollback.delete_runs(saver._database, name, [f"run-{number}"])
        history = graph.get_state_history(thread(name))
        now = {state.config["configurable"]["checkpoint_id"]: exact(state.values) for state in history}
        assert now == {id_: value for id_, (run_id, value) in values.items() if run_id != f"run-{number}"}
        graph.invoke({"messages": [HumanMessage("end", id="end")]}, thread(name))
        assert len(graph.get_state(thread(name)).values["messages"]) > 4
    assert values == {
        s.config["configurable"]["checkpoint_id"]: (s.metadata["run_id"], exact(s.values))
        for s in graph.get_state_history(thread("plan"))
    }


def test_a_delta_thread_keeps_what_a_deleted_run_wrote_onto_a_checkpoint_that_stays(saver: HoldfastSaver) -> None:
    graph = delta_agent(saver, 1000)
    graph.invoke({"messages": [HumanMessage("ask both", id="h-1")], "notes": []}, run(1))
    for number in (2, 3):
        graph.invoke(Command(resume={graph.get_state(thread()).interrupts[0].id: f"{number}"}), run(number))
    before = exact(graph.get_state(thread()).values)

    saver.delete_for_runs(["run-2"])

    assert exact(graph.get_state(thread()).values) == before


def test_a_message_that_something_left_refers_to_stays(saver: HoldfastSaver) -> None:
    graph = echo_graph(saver)
    graph.invoke({"messages": [HumanMessage("first", id="m-1")]}, run(1))
    graph.invoke({"messages": [HumanMessage("second", id="m-2")]}, run(2))
    graph.invoke({"messages": [HumanMessage("third", id="m-3")]}, run(3))
    said = texts(saver)
    saver.delete_for_runs(["run-1", "run-2"])
    assert texts(saver) == said
    saver.delete_for_runs(["run-3"])
    assert rows(saver, "SELECT content FROM holdfast_messages") == []


def test_pruned_messages_of_other_runs_stay_in_the_transcript(saver: HoldfastSaver) -> None:
    graph = echo_graph(saver)
    graph.invoke({"messages": [HumanMessage("first", id="m-1")]}, run(1))
    graph.update_state(thread(), {"messages": [HumanMessage("edited", id="m-1")]})
    graph.invoke({"messages": [HumanMessage("second", id="m-2")]}, run(2))
    saver.prune(["ada-1"])
    saver.delete_for_runs(["run-2"])
    assert sorted(text for (text,) in rows(saver, "SELECT content FROM holdfast_messages")) == [
        "You said: first",
        "edited",
        "first",
    ]


def test_who_has_loaded_a_thread_before_a_run_in_it_was_deleted_is_refused(url: str) -> None:
    with open_checkpointer(url) as saver, open_checkpointer(url) as other:
        for number in (1, 2):
            echo_graph(saver).invoke({"messages": [HumanMessage(f"{number}", id=f"m-{number}")]}, run(number))
        found = other.get_tuple(thread())
        assert found is not None

        saver.delete_for_runs(["run-2"])

        with pytest.raises(ThreadConflict, match="deleted"):
            put_after(other, thread(), found, HumanMessage("late", id="late"))
        with pytest.raises(ThreadConflict, match="deleted"):
            other.put_writes(found.config, [("messages", found.checkpoint["channel_values"]["messages"])], "late")
        # Its memory of rows that are gone is of no use, and of no harm.
        fresh = other.get_tuple(thread())
        again = found.checkpoint["channel_values"]["messages"][2:]
        put_after(other, thread(), fresh, *again)
        for reader in (saver, other):
            assert texts(reader) == ["1", "You said: 1", "2", "You said: 2"]


def test_runs_without_an_id_are_never_taken_and_nothing_is_noted_of_them(saver: HoldfastSaver) -> None:
    graph = approval_graph(saver)
    graph.invoke({"messages": [("user", "May I?")]}, thread())
    graph.invoke(Command(resume="yes"), thread())
    before = left(saver)
    assert before["holdfast_run_writes"] == []
    for run_ids in ([], ["None"], [""]):
        saver.delete_for_runs(run_ids)
    assert left(saver) == before


def test_an_id_that_is_no_text_names_a_run(saver: HoldfastSaver, sweep: Sweep) -> None:
    other = [1, False, 2.5, "other"]
    graph = talker(saver)
    for number in other:
        graph.invoke(say("kept"), {**thread(), "metadata": {"run_id": number}})
    kept = texts(saver)
    ids = [5, True, 1.5, 1.0, 1e22, 2**70, uuid.UUID(int=7), "5", "true"][:: sweep(2, 1)]
    for run_id, where in product(ids, ("metadata", "configurable")):  # the second time, the messages are rows already
        config: Any = thread()
        config.setdefault(where, {})["run_id"] = run_id
        graph.invoke(say("gone"), config)
        written = saver.get_tuple(thread())
        assert written is not None
        noted = rows(saver, "SELECT count(*) FROM holdfast_messages WHERE content = 'gone' AND run_id IS NOT NULL")
        assert noted == [(1,)], repr(run_id)
        assert len(texts(saver)) > len(kept), repr(run_id)
        saver.delete_for_runs([run_id])
        assert texts(saver) == kept, repr(run_id)
        assert rows(saver, "SELECT * FROM holdfast_messages WHERE content = 'gone'") == [], repr(run_id)


def test_the_answer_of_a_run_whose_id_is_no_text_is_taken_back(saver: HoldfastSaver) -> None:
    graph = two_questions(saver)
    graph.invoke({"messages": [HumanMessage("go")]}, thread())
    graph.invoke(Command(resume="one"), {**thread(), "metadata": {"run_id": 7}})
    assert rows(saver, "SELECT DISTINCT run_id FROM holdfast_run_writes") == [("7",)]
    saver.delete_for_runs([7])  # type: ignore[list-item]
    assert rows(saver, "SELECT * FROM holdfast_run_writes") == []
    assert [i.value for task in graph.get_state(thread()).tasks for i in task.interrupts] == ["first?"]
