"""A database that an older LangGraph has written is read, goes on, and is converted there and back."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, AnyMessage
from langgraph.graph import START, StateGraph, add_messages
from langgraph.types import Command, Send, interrupt

from holdfast.checkpoints import convert, open_checkpointer
from holdfast.checkpoints.transfer import transfer_thread
from tests.support.kit import thread
from tests.support.older_stock import (
    make_interrupts_older,
    number_versions,
    put_nothing_inline,
    rename_branches,
    set_version,
    store_as_json,
    take_sends_out,
)
from tests.support.stock_kit import compact_all, expand_all, forms, in_stock


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    count: int
    done: Annotated[list[Any], operator.add]


def asking(saver: Any) -> Any:
    def say(state: State) -> dict[str, Any]:
        return {"messages": [AIMessage("May I?")], "count": 1}

    def ask(state: State) -> dict[str, Any]:
        return {"messages": [AIMessage(str(interrupt("May I?")))], "done": ["asked"]}

    builder = StateGraph(State).add_node("say", say).add_node("ask", ask)
    return builder.add_edge(START, "say").add_edge("say", "ask").compile(checkpointer=saver)


def fanning(saver: Any) -> Any:
    def plan(state: State) -> dict[str, Any]:
        return {"done": ["plan"]}

    def work(given: dict[str, Any]) -> dict[str, Any]:
        return {"done": [given["number"]], "messages": [AIMessage(f"{given['said'].text} {given['number']}")]}

    def sends(state: State) -> list[Send]:
        return [Send("work", {"number": number, "said": state["messages"][0]}) for number in range(3)]

    builder = StateGraph(State).add_node("plan", plan).add_node("work", work)
    builder.add_edge(START, "plan").add_conditional_edges("plan", sends, ["work"])
    return builder.compile(checkpointer=saver, interrupt_before=["work"])


def begin(url: str, graph_of: Callable[[Any], Any]) -> None:
    in_stock(url, lambda stock: graph_of(stock).invoke({"messages": [("user", "Hello")], "count": 0}, thread()))


NS = ["ask:0b8a3c5e-1111-2222-3333-444455556666"]

INTERRUPTS = {
    "0.2.24": {"value": "May I?", "when": "during"},
    "0.2.57": {"value": "May I?", "resumable": True, "ns": NS, "when": "during"},
    "0.5.4, not resumable": {"value": "May I?", "resumable": False, "ns": None, "when": "during"},
    "0.6": {"value": "May I?", "id": "0" * 32},
}


@pytest.mark.sweep(every=2)
@pytest.mark.parametrize("release", INTERRUPTS)
def test_a_pause_that_an_older_release_saved_waits_and_is_resumed(bare_url: str, release: str) -> None:
    begin(bare_url, asking)
    make_interrupts_older(bare_url, INTERRUPTS[release])
    set_version(bare_url, 3)
    [stock] = in_stock(bare_url, lambda stock: asking(stock).get_state(thread()).interrupts)

    with open_checkpointer(bare_url) as saver:
        graph = asking(saver)
        assert graph.get_state(thread()).interrupts == (stock,)
        assert [(request.interrupt_id, request.value) for request in saver.interrupts.waiting()] == [
            (stock.id, "May I?")
        ]
        compact_all(saver)
        assert graph.get_state(thread()).interrupts == (stock,)
        ended = graph.invoke(Command(resume="yes"), thread())
        assert [message.text for message in ended["messages"]] == ["Hello", "May I?", "yes"]
        assert [list(item.pending_writes or ()) for item in saver.list(thread())]
        assert saver.interrupts.waiting() == []


def aged(url: str, form: str) -> None:
    match form:
        case "v 1" | "v 2" | "v 3":
            set_version(url, int(form[2:]))
        case "v 2 with its names of channels":
            rename_branches(url)
        case "versions as int":
            number_versions(url, lambda version: int(version.split(".")[0]))
        case "versions as float":
            number_versions(url, lambda version: int(version.split(".")[0]) + 0.25)
        case "nothing inline":
            if url.startswith("sqlite"):
                pytest.skip("on SQLite a checkpoint is one value")
            put_nothing_inline(url)
        case "JSON":
            store_as_json(url)


FORMS = [
    "v 1",
    "v 2",
    "v 3",
    "v 2 with its names of channels",
    "versions as int",
    "versions as float",
    "nothing inline",
    "JSON",
]


@pytest.mark.sweep(on="postgres")
@pytest.mark.sweep(every=4)
@pytest.mark.parametrize("form", FORMS)
def test_a_thread_in_an_older_form_is_read_goes_on_and_is_converted(bare_url: str, form: str) -> None:
    begin(bare_url, asking)
    aged(bare_url, form)

    def states(saver: Any) -> list[Any]:
        return [(state.values, state.next, state.metadata) for state in asking(saver).get_state_history(thread())]

    before = in_stock(bare_url, states)
    assert before[0][1] == ("ask",)
    with open_checkpointer(bare_url) as saver:
        assert states(saver) == before
        compact_all(saver)
        assert states(saver) == before
        graph = asking(saver)
        ended = graph.invoke(Command(resume="yes"), thread())
        assert [message.text for message in ended["messages"]] == ["Hello", "May I?", "yes"]
        ended = graph.invoke({"messages": [("user", "Again")], "count": 5}, thread())
        assert [message.text for message in ended["messages"]] == ["Hello", "May I?", "yes", "Again", "May I?"]
        after = states(saver)
        assert convert.find_damage(saver.database, "ada-1") is None
        expand_all(saver)
        assert states(saver) == after
        assert "holdfast-1" not in forms(saver)
    assert in_stock(bare_url, states) == after


def waits_for_three(saver: Any) -> bool:
    return bool(fanning(saver).get_state(thread()).next == ("work",) * 3)


def ends_with_three(saver: Any) -> None:
    ended = fanning(saver).invoke(None, thread())
    assert sorted(map(str, ended["done"])) == ["0", "1", "2", "plan"]
    assert sorted(message.text for message in ended["messages"][1:]) == ["Hello 0", "Hello 1", "Hello 2"]


def test_sends_that_an_older_release_saved_are_carried_out(bare_url: str) -> None:
    begin(bare_url, fanning)
    take_sends_out(bare_url)
    assert in_stock(bare_url, waits_for_three), "the stock saver has them"

    with open_checkpointer(bare_url) as saver:
        assert waits_for_three(saver)
        [*_, before, _] = fanning(saver).get_state_history(thread())
        assert before.next == ("plan",)
        ends_with_three(saver)


@pytest.mark.sweep(every=5)
@pytest.mark.parametrize("form", ["compact", "stock"])
@pytest.mark.parametrize("change", ["prune", "copy", "fork", "undo of another", "convert there and back", "transfer"])
def test_sends_of_an_older_release_stay_when_their_thread_is_changed(bare_url: str, change: str, form: str) -> None:
    begin(bare_url, fanning)
    take_sends_out(bare_url)
    with open_checkpointer(bare_url) as saver:
        if form == "compact":
            compact_all(saver)
        match change:
            case "prune":
                saver.prune(["ada-1"])
                saver.prune(["ada-1"])
                assert len(list(saver.list(thread()))) == 1
            case "copy":
                saver.copy_thread("ada-1", "ada-2")
                saver.delete_thread("ada-1")
                saver.copy_thread("ada-2", "ada-1")
            case "fork":
                saver.threads.fork("ada-1", "ada-2")
                saver.delete_thread("ada-1")
                saver.copy_thread("ada-2", "ada-1")
            case "undo of another":
                fanning(saver).update_state(thread(), {"count": 7})
                assert saver.get_tuple(thread()) is not None
            case "convert there and back":
                compact_all(saver)
                expand_all(saver)
            case "transfer":
                with open_checkpointer("memory://") as between:
                    assert transfer_thread(saver.database, between.database, "ada-1").problem is None
                    assert waits_for_three(between)
                    saver.delete_thread("ada-1")
                    assert transfer_thread(between.database, saver.database, "ada-1").problem is None
        assert waits_for_three(saver)
        ends_with_three(saver)


def test_an_older_thread_with_sends_is_unfinished_in_the_index(bare_url: str) -> None:
    begin(bare_url, fanning)
    take_sends_out(bare_url)
    with open_checkpointer(bare_url) as saver:
        compact_all(saver)
        [found] = saver.threads.all()
        assert found.status == "unfinished"
