"""Requests that wait for a person, in any graph, and their answers: one request, one answer."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict

from holdfast.checkpoints import HoldfastSaver, Waiting, open_checkpointer
from holdfast.checkpoints.errors import AlreadyAnswered, NotAnswered, RequestClosed, UnknownInterrupt
from tests.support import children
from tests.support.dialects import WRITES
from tests.support.kit import change, rows, thread
from tests.support.sweep import Sweep

APPROVE = {"type": "approve"}


class State(TypedDict):
    said: Annotated[list[str], operator.add]


def team(saver: Any, *, nested: bool = False, **more: Any) -> Any:
    """A graph that asks two people at once, in the graph itself or in a subgraph that asks each twice."""

    def person(name: str) -> dict[str, Any]:
        return {"said": [f"{name}: {interrupt({'to': name, **more})}"]}

    def again(state: State) -> dict[str, Any]:
        return {"said": [f"again: {interrupt({'to': 'again'})}"]}

    inner = StateGraph(State)
    inner.add_node("person", person)
    inner.add_node("again", again)
    inner.add_conditional_edges(START, lambda _: [Send("person", name) for name in "ab"])
    if nested:
        inner.add_edge("person", "again")
        outer = StateGraph(State)
        outer.add_node("team", inner.compile())
        outer.add_edge(START, "team")
        return outer.compile(checkpointer=saver)
    return inner.compile(checkpointer=saver)


def ask(saver: HoldfastSaver, thread_id: str = "ada-1", **more: Any) -> Any:
    graph = team(saver, **more)
    graph.invoke({"said": ["go"]}, thread(thread_id), durability="sync")
    return graph


def asked(found: list[Waiting]) -> list[tuple[str, str]]:
    return [(waiting.thread_id, waiting.value["to"]) for waiting in found]


def id_of(saver: HoldfastSaver, to: str, thread_id: str = "ada-1") -> str:
    return next(w.interrupt_id for w in saver.interrupts.waiting(thread_id=thread_id) if w.value["to"] == to)


# --- what waits


def test_waiting_requests_of_all_threads_are_listed_newest_first(saver: HoldfastSaver) -> None:
    before = datetime.now(UTC)
    for name, user in (("t1", "ada"), ("t2", "bob")):
        team(saver).invoke({"said": ["go"]}, thread(name, user_id=user), durability="sync")
    found = saver.interrupts.waiting()
    assert asked(found) == [("t2", "a"), ("t2", "b"), ("t1", "a"), ("t1", "b")]
    assert {(w.thread_id, w.user_id) for w in found} == {("t1", "ada"), ("t2", "bob")}
    assert before - timedelta(seconds=5) < found[0].asked_at < datetime.now(UTC) + timedelta(seconds=5)
    assert asked(saver.interrupts.waiting(thread_id="t1")) == [("t1", "a"), ("t1", "b")]
    assert asked(saver.interrupts.waiting(user_id="bob")) == [("t2", "a"), ("t2", "b")]
    assert len(saver.interrupts.waiting(3)) == 3


@pytest.mark.sweep(on="postgres")
def test_a_list_of_requests_is_one_round_trip(saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(saver)
    saver.interrupts.waiting()  # it has looked for the pauses of stock savers
    trips: list[Any] = []
    reading = saver._backend.reading

    @contextmanager
    def counted() -> Iterator[Any]:
        with reading() as transaction:
            run = transaction.run
            monkeypatch.setattr(transaction, "run", lambda calls: (trips.append(calls), run(calls))[1])
            yield transaction

    monkeypatch.setattr(saver._backend, "reading", counted)
    assert len(saver.interrupts.waiting()) == 2
    assert len(trips) == 1


def test_a_question_waits_until_its_task_has_ended_or_the_thread_goes_on(saver: HoldfastSaver) -> None:
    graph = ask(saver)
    first = id_of(saver, "a")
    graph.invoke(Command(resume={first: "yes"}), thread())
    assert asked(saver.interrupts.waiting()) == [("ada-1", "b")]
    graph.invoke({"said": ["never mind"]}, thread())
    assert len(saver.interrupts.waiting()) == 2, "those of the new turn"
    with pytest.raises(RequestClosed, match="the conversation went on"):
        saver.interrupts.answer("ada-1", first, "no")


def test_a_closed_request_leaves_the_index_of_open_ones(saver: HoldfastSaver) -> None:
    graph = ask(saver)
    graph.invoke({"said": ["once more"]}, thread())
    open_ = "SELECT count(*) FROM holdfast_interrupts WHERE closed_at IS NULL"
    assert rows(saver, open_) == [(2,)]
    assert rows(saver, "SELECT DISTINCT closed_why FROM holdfast_interrupts WHERE closed_at > 0") == [("moved on",)]
    graph.update_state(thread(), {"said": ["by hand"]}, as_node="person")
    saver.interrupts.expire()
    assert rows(saver, open_) == [(0,)]


def test_a_pause_inside_of_a_subgraph_is_one_question(saver: HoldfastSaver) -> None:
    graph = ask(saver, nested=True)
    for name in "ab":
        saver.interrupts.answer("ada-1", id_of(saver, name), name.upper())
    resume = {done.interrupt_id: done.answer for done in saver.interrupts.todo()}
    graph.invoke(Command(resume=resume), thread())
    assert asked(saver.interrupts.waiting()) == [("ada-1", "again")]
    assert saver.interrupts.todo() == []
    graph.invoke(Command(resume={id_of(saver, "again"): "yes"}), thread())
    assert saver.interrupts.waiting() == []
    assert graph.get_state(thread()).values["said"][-1] == "again: yes"


def test_a_pause_that_has_no_row_is_listed_all_the_same(saver: HoldfastSaver) -> None:
    graph = ask(saver)
    ids = [w.interrupt_id for w in saver.interrupts.waiting()]
    change(saver, "DELETE FROM holdfast_interrupts")  # as if made before there was that table, or by a stock saver
    assert saver.interrupts.answer("ada-1", ids[0], "yes").answer == "yes"
    assert [w.interrupt_id for w in saver.interrupts.waiting(thread_id="ada-1")] == ids[1:]
    change(saver, "DELETE FROM holdfast_interrupts")
    saver.interrupts._next_look = float("-inf")
    found = saver.interrupts.waiting()
    assert [w.interrupt_id for w in found] == ids
    assert abs(found[0].asked_at - datetime.now(UTC)) < timedelta(seconds=20)
    assert graph.get_state(thread()).interrupts


def test_a_question_that_cannot_be_read_does_not_hide_the_others(saver: HoldfastSaver, dialect: str) -> None:
    for name in ("t1", "t2"):
        ask(saver, name)
    table, column = WRITES[dialect]
    change(saver, f"UPDATE {table} SET {column} = :odd WHERE thread_id = 't1' AND idx = -3", odd=b"\xc1")
    found = saver.interrupts.waiting()
    assert [w.thread_id for w in found if w.problem is None] == ["t2", "t2"]
    assert ["is damaged" in (w.problem or "") for w in found if w.thread_id == "t1"] == [True, True]


# --- answering


def test_the_first_answer_is_taken_and_the_second_is_told_who_was_first(saver: HoldfastSaver) -> None:
    ask(saver)
    first = id_of(saver, "a")
    taken = saver.interrupts.answer("ada-1", first, APPROVE, by="Grace")
    assert (taken.answer, taken.by, taken.expired) == (APPROVE, "Grace", False)
    for answer in (APPROVE, {"type": "reject"}):
        with pytest.raises(AlreadyAnswered, match="Grace has answered this already with 'approve', at 20") as refused:
            saver.interrupts.answer("ada-1", first, answer, by="Ada")
        assert (refused.value.by, refused.value.at, refused.value.decision) == ("Grace", taken.at, "approve")
        assert isinstance(refused.value, NotAnswered)
        assert isinstance(refused.value, LookupError)
    assert saver.interrupts.recorded("ada-1", first) == taken
    assert saver.interrupts.answered(first[:8]) == saver.interrupts.answered(first, "ada-1") == taken
    assert saver.interrupts.answered(first, "other") is None
    assert saver.interrupts.todo() == saver.interrupts.todo(thread_id="ada-1") == [taken]
    assert asked(saver.interrupts.waiting()) == [("ada-1", "b")]


def test_an_answer_says_itself_by_whom_it_is(saver: HoldfastSaver) -> None:
    ask(saver)
    taken = saver.interrupts.answer("ada-1", id_of(saver, "a"), {**APPROVE, "by": "Grace", "at": "now"})
    assert taken.by == "Grace"
    other = saver.interrupts.answer("ada-1", id_of(saver, "b"), {**APPROVE, "message": None}, by="Ada")
    assert taken.digest == other.digest, "it is the same decision"


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("answer", ["yes", None, 7, ["a"], {"deep": {"er": [1, None]}}, AIMessage("hello", id="m1")])
def test_any_value_that_a_graph_can_be_resumed_with_can_be_an_answer(saver: HoldfastSaver, answer: Any) -> None:
    ask(saver)
    saver.interrupts.answer("ada-1", id_of(saver, "a"), answer)
    [found] = saver.interrupts.todo()
    assert found.answer == answer


def test_an_answer_to_an_unknown_request_is_refused(saver: HoldfastSaver) -> None:
    ask(saver)
    for thread_id in ("ada-1", "unknown"):
        with pytest.raises(UnknownInterrupt, match="Nothing was asked"):
            saver.interrupts.answer(thread_id, "no such id", "yes")
    assert saver.interrupts.recorded("ada-1", "no such id") is None


def test_an_answer_that_does_not_fit_can_be_taken_back_once(saver: HoldfastSaver) -> None:
    ask(saver)
    taken = saver.interrupts.answer("ada-1", id_of(saver, "a"), "nonsense")
    assert saver.interrupts.reopen(taken)
    assert len(saver.interrupts.waiting()) == 2
    saver.interrupts.answer("ada-1", taken.interrupt_id, "yes")
    assert not saver.interrupts.reopen(taken)


def test_a_run_that_brings_the_same_answer_goes_on_with_it(saver: HoldfastSaver) -> None:
    ask(saver)
    first = id_of(saver, "a")
    assert saver.interrupts.settle("ada-1", first, APPROVE, run_id="r1").answer == APPROVE
    assert saver.interrupts.settle("ada-1", first, {"type": "reject"}).answer == APPROVE


def test_an_answer_that_was_carried_out_is_not_to_be_done(saver: HoldfastSaver) -> None:
    graph = ask(saver)
    for name in "ab":
        taken = saver.interrupts.answer("ada-1", id_of(saver, name), "yes")
        graph.invoke(Command(resume={taken.interrupt_id: taken.answer}), thread())
        assert saver.interrupts.todo() == []
    assert rows(saver, "SELECT DISTINCT closed_why FROM holdfast_interrupts") == [("answered",)]


def test_of_processes_that_answer_at_once_one_wins_and_the_others_are_told(url: str, sweep: Sweep) -> None:
    with open_checkpointer(url) as saver:
        ask(saver)
        which = id_of(saver, "a")
    processes = sweep(4, 8)
    gate = children.barrier(processes)
    with ThreadPoolExecutor(processes) as pool:
        crowd = [children.Child(children.answer_at_once, url, which, f"p{n}", gate) for n in range(processes)]
        came_to = list(pool.map(children.Child.result, crowd))
    [winner] = [by for won, by in came_to if won]
    assert [by for won, by in came_to if not won] == [winner] * (processes - 1)


# --- time


def test_an_expired_request_is_closed_as_if_it_were_answered(saver: HoldfastSaver) -> None:
    ask(saver, expires_in=3600)
    ask(saver, "t2")
    first, second = id_of(saver, "a"), id_of(saver, "b")
    expires_at = saver.interrupts.waiting(thread_id="ada-1")[0].expires_at
    assert expires_at is not None
    assert abs(expires_at - datetime.now(UTC) - timedelta(hours=1)) < timedelta(seconds=20)
    assert saver.interrupts.expire() == []
    saver.interrupts.answer("ada-1", second, "yes")
    change(saver, "UPDATE holdfast_interrupts SET expires_at = 1000000000 WHERE expires_at IS NOT NULL")
    assert asked(saver.interrupts.waiting()) == [("t2", "a"), ("t2", "b")]
    with pytest.raises(RequestClosed, match="no answer had come by 2001-09-09 01:46 UTC"):
        saver.interrupts.answer("ada-1", first, "yes")
    assert saver.interrupts.expire() == ["ada-1"]
    assert saver.interrupts.expire() == []
    with pytest.raises(RequestClosed, match="no answer had come"):
        saver.interrupts.answer("ada-1", first, "yes")
    assert {(done.interrupt_id, done.answer, done.expired) for done in saver.interrupts.todo()} == {
        (first, None, True),
        (second, "yes", False),
    }


# --- what becomes of a thread


def test_a_copy_asks_again_what_its_original_was_told(saver: HoldfastSaver) -> None:
    graph = ask(saver)
    saver.interrupts.answer("ada-1", id_of(saver, "a"), "yes")
    saver.copy_thread("ada-1", "copy")
    assert asked(saver.interrupts.waiting(thread_id="copy")) == [("copy", "a"), ("copy", "b")]
    saver.interrupts.answer("copy", id_of(saver, "a", "copy"), "no")
    assert {(done.thread_id, done.answer) for done in saver.interrupts.todo()} == {("ada-1", "yes"), ("copy", "no")}
    graph.invoke(Command(resume={done.interrupt_id: done.answer for done in saver.interrupts.todo(thread_id="copy")}),
                 thread("copy"))  # fmt: skip
    assert [done.thread_id for done in saver.interrupts.todo()] == ["ada-1"]


def test_nothing_is_left_of_a_deleted_thread(saver: HoldfastSaver) -> None:
    ask(saver)
    which = id_of(saver, "a")
    saver.delete_thread("ada-1")
    assert saver.interrupts.waiting() == saver.interrupts.todo() == []
    assert rows(saver, "SELECT * FROM holdfast_interrupts") == []
    with pytest.raises(UnknownInterrupt):
        saver.interrupts.answer("ada-1", which, "yes")


def test_pruning_leaves_what_waits_and_what_was_answered(saver: HoldfastSaver) -> None:
    graph = ask(saver)
    saver.interrupts.answer("ada-1", id_of(saver, "a"), "yes")
    saver.prune(["ada-1"])
    assert asked(saver.interrupts.waiting()) == [("ada-1", "b")]
    [done] = saver.interrupts.todo()
    graph.invoke(Command(resume={done.interrupt_id: done.answer}), thread())
    assert saver.interrupts.todo() == []


def test_a_run_that_is_taken_back_takes_its_answer_with_it_and_its_questions(saver: HoldfastSaver) -> None:
    graph = ask(saver)
    first, second = id_of(saver, "a"), id_of(saver, "b")
    run: Any = {**thread(), "metadata": {"run_id": "r1"}}
    for which in (first, second):
        saver.interrupts.settle("ada-1", which, "yes", run_id="r1")
    graph.invoke(Command(resume={first: "yes", second: "yes"}), run)
    graph.invoke({"said": ["more"]}, run)
    assert {w.interrupt_id for w in saver.interrupts.waiting()}.isdisjoint({first, second})
    saver.delete_for_runs(["r1"])
    assert [w.interrupt_id for w in saver.interrupts.waiting()] == [first, second]
    assert rows(saver, "SELECT count(*) FROM holdfast_interrupts") == [(2,)]


def test_a_database_from_before_there_were_questions_asks_them(url: str) -> None:
    """Leave a pause as the code of the schema before did: its tables, without the rows."""
    with open_checkpointer(url) as saver:
        ask(saver)
        change(saver, "DELETE FROM holdfast_interrupts")
    with open_checkpointer(url) as saver:
        assert asked(saver.interrupts.waiting()) == [("ada-1", "a"), ("ada-1", "b")]


def test_other_savers_need_nothing_of_this() -> None:
    builder = StateGraph(MessagesState)
    builder.add_node("ask", lambda _: {"messages": [AIMessage(str(interrupt("?")))]})
    builder.add_edge(START, "ask")
    graph: Any = builder.compile(checkpointer=InMemorySaver())
    assert graph.invoke({"messages": [("user", "x")]}, thread())["__interrupt__"]
