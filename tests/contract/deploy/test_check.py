"""The check of a database against a graph that is to be deployed."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import pytest
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.tools import tool
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, Send, interrupt
from pydantic import BaseModel

from holdfast import build_graph, once
from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.deploy.fit import ChannelTypes
from holdfast.deploy import Obstacle, check
from holdfast.deploy.tools import GraphTools
from holdfast.middleware import HoldfastMiddleware, ToolCallGuard
from tests.support.deep_kit import deep_agent
from tests.support.delta_kit import delta_agent
from tests.support.graph_kit import Desk, ScriptedModel, Talk, calls, says
from tests.support.kit import change, rows, say, thread
from tests.support.middleware_kit import Shop


class State(TypedDict):
    said: Annotated[list[str], operator.add]


def ask(_: Any) -> dict[str, Any]:
    return {"said": [interrupt("May I?")]}


def graph_of(state: Any, saver: Any = None, node: Any = ask, name: str = "ask", **compiled: Any) -> Any:
    return StateGraph(state).add_node(name, node).add_edge(START, name).compile(checkpointer=saver, **compiled)


def found(graph: Any, saver: HoldfastSaver, **more: Any) -> list[tuple[str, str, list[str]]]:
    return [(item.kind, item.name, item.thread_ids) for item in check(graph, saver, **more).obstacles]


def test_a_graph_that_can_go_on_with_everything_has_no_obstacles(saver: HoldfastSaver) -> None:
    say(saver, "hello", thread_id="a")
    graph = graph_of(State, saver)
    graph.invoke({"said": ["x"]}, thread("b"))
    pages: list[int] = []
    checked = check(graph_of(State), saver, thread_ids=["b", "nowhere"], checked=pages.append)
    assert (checked.threads, checked.obstacles, checked.thread_ids, pages) == (2, [], set(), [2])


def test_threads_that_paused_in_a_node_that_is_gone_are_named(saver: HoldfastSaver) -> None:
    for name in ("a", "b"):
        graph_of(State, saver).invoke({"said": []}, thread(name))
    ended = graph_of(State, saver)
    ended.invoke({"said": []}, thread("c"))
    ended.invoke(Command(resume="yes"), thread("c"))

    new = graph_of(State, name="other")
    assert found(new, saver) == [("node", "ask", ["a", "b"])]
    assert found(new, saver, renamed={"ask": "other"}) == []
    assert found(new, saver, thread_ids=["b", "c"]) == [("node", "ask", ["b"])]


def test_sends_to_a_node_that_is_gone_are_reported_and_not_logged(
    saver: HoldfastSaver, caplog: pytest.LogCaptureFixture
) -> None:
    builder = StateGraph(State).add_node("begin", lambda _: None).add_node("ask", ask).add_edge(START, "begin")
    builder.add_conditional_edges("begin", lambda _: [Send("ask", {})], ["ask"])
    builder.compile(checkpointer=saver).invoke({"said": []}, thread())
    assert found(graph_of(State, name="begin", node=lambda _: None), saver) == [("node", "ask", ["ada-1"])]
    assert caplog.records == []


def test_threads_that_stopped_at_a_breakpoint_are_looked_at_too(saver: HoldfastSaver) -> None:
    graph_of(State, saver, interrupt_before=["ask"]).invoke({"said": []}, thread())
    assert found(graph_of(State, name="other"), saver) == [("node", "ask", ["ada-1"])]
    assert found(graph_of(State), saver) == []


def test_a_pause_is_lost_if_other_edges_lead_to_its_node(saver: HoldfastSaver) -> None:
    def beside(_: Any) -> None:
        return None

    graph_of(State, saver).invoke({"said": []}, thread())
    builder = StateGraph(State).add_node("ask", ask).add_node("one", beside).add_node("two", beside)
    builder.add_edge(START, "one").add_edge(START, "two").add_edge(["one", "two"], "ask")
    assert found(builder.compile(), saver) == [("pause", "ask", ["ada-1"])]


def test_an_edge_of_several_nodes_that_waits_for_one_that_was_renamed_is_found(saver: HoldfastSaver) -> None:
    def graph(name: str, saver: Any = None) -> Any:
        builder = StateGraph(State).add_node("quick", lambda _: None).add_node(name, ask)
        builder.add_node("between", lambda _: None).add_node("last", lambda _: {"said": ["last"]})
        builder.add_edge(START, "quick").add_edge(START, "between").add_edge("between", name)
        return builder.add_edge(["quick", name], "last").compile(checkpointer=saver)

    graph("old", saver).invoke({"said": []}, thread())
    assert found(graph("new"), saver, renamed={"old": "new"}) == [("join", "quick+old:last", ["ada-1"])]
    assert found(graph("old"), saver) == []


# --- tools


def test_calls_that_wait_for_a_tool_that_is_gone_are_found(saver: HoldfastSaver) -> None:
    desk = Desk()
    Talk(saver, calls(("refund", {"order_id": 1})), tools=desk.tools()).say("go")
    model = ScriptedModel(lines=[])
    assert found(build_graph(model=model, tools=desk.tools()[:1]), saver) == [("tool", "refund", ["ada-1"])]
    assert found(build_graph(model=model, tools=desk.tools()), saver) == []


def test_requests_of_langchains_middleware_are_looked_at_too(saver: HoldfastSaver) -> None:
    middleware = [HumanInTheLoopMiddleware(interrupt_on={"refund": True})]
    shop = Shop(saver, middleware=middleware)
    shop.say()
    assert found(shop.agent, saver) == []

    @tool
    def look() -> str:
        """Look."""
        return ""

    assert found(Shop(None, middleware=middleware).agent, saver) == []
    shop.refund.name = "give_back"
    assert found(Shop(None, middleware=middleware, declare=lambda _: look).agent, saver) == [
        ("tool", "refund", ["ada-1"])
    ]
    renamed = Shop(None, middleware=[]).agent
    assert found(renamed, saver) == [("node", "HumanInTheLoopMiddleware.after_model", ["ada-1"])]


def in_doubt(saver: HoldfastSaver) -> None:
    """Leave a call of `refund` in doubt, whose process is gone."""

    def refuse() -> None:
        raise RuntimeError("the line is dead")

    Shop(saver, middleware=[HoldfastMiddleware(once=["refund"])], behave=refuse).say()
    assert [entry.tool for entry in saver.effects.in_doubt()] == ["refund"]


def test_a_call_in_doubt_needs_its_tool_and_the_declaration(saver: HoldfastSaver) -> None:
    in_doubt(saver)
    assert found(Shop(None, middleware=[HoldfastMiddleware(once=["refund"])]).agent, saver) == []
    assert found(Shop(None, middleware=[], declare=once).agent, saver) == [("doubt", "refund", ["ada-1"])]
    assert found(Shop(None, middleware=[HoldfastMiddleware()]).agent, saver) == [("doubt", "refund", ["ada-1"])]
    assert found(Shop(None, middleware=[HoldfastMiddleware()], declare=once).agent, saver) == []
    [obstacle] = check(build_graph(model=ScriptedModel(lines=[]), tools=Desk().tools()[:1]), saver).obstacles[:1]
    assert obstacle == Obstacle(
        "doubt", "refund", "a call of it is in doubt, and the graph does not have it", ["ada-1"]
    )


@pytest.mark.parametrize("guard", [ToolCallGuard(once=["refund"]), ToolCallGuard(), None])
def test_the_guard_of_a_tool_node_says_what_the_ledger_keeps(guard: ToolCallGuard | None) -> None:
    @tool
    def refund() -> str:
        """Refund."""
        return ""

    wraps = {} if guard is None else {"wrap_tool_call": guard.wrap_tool_call}
    graph = graph_of(MessagesState, node=ToolNode([refund], **wraps), name="tools")
    is_kept = guard is not None and bool(guard._once)
    assert GraphTools.of(graph).in_ledger == {"refund": is_kept}
    assert GraphTools.of(graph, [once(refund)]).in_ledger == {"refund": True}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_the_tools_of_subagents_are_found(saver: HoldfastSaver, tmp_path: Path) -> None:
    pytest.importorskip("deepagents", reason="needs deepagents: pip install deepagents")
    agent = deep_agent(saver, tmp_path / "effects", by="ours", begins=True)
    agent.invoke({"messages": [("user", "go")]}, thread(), durability="sync")
    assert [request.value["name"] for request in saver.interrupts.waiting()] == ["refund"]
    assert found(deep_agent(None, tmp_path / "effects", by="theirs"), saver) == []


# --- channels


class Old(TypedDict):
    said: Annotated[list[str], operator.add]
    stage: str
    messages: Annotated[list[Any], operator.add]


class Without(TypedDict):
    said: list[str]
    messages: list[Any]


def old_thread(saver: HoldfastSaver, thread_id: str = "ada-1", **values: Any) -> None:
    graph = graph_of(Old, saver, node=lambda _: {"said": ["done"]}, name="work")
    graph.invoke({"said": [], "messages": [says("hello")], **values}, thread(thread_id))


def new_graph(state: Any) -> Any:
    return graph_of(state, node=lambda _: None, name="work")


def test_values_of_a_channel_that_is_gone_are_found(saver: HoldfastSaver) -> None:
    old_thread(saver, "a", stage="one")
    old_thread(saver, "b")
    assert found(new_graph(Without), saver) == [("channel", "stage", ["a"])]
    assert found(new_graph(Old), saver) == []


def test_values_that_do_not_fit_the_new_type_are_found_without_a_word_of_them(saver: HoldfastSaver) -> None:
    old_thread(saver, "a", stage="secret")
    old_thread(saver, "b", stage="2")

    class Strict(Old):
        stage: int  # type: ignore[misc]

    class Lax(BaseModel):
        said: list[str]
        messages: list[Any]
        stage: int

    [obstacle] = check(new_graph(Strict), saver).obstacles
    assert (obstacle.kind, obstacle.name, obstacle.thread_ids) == ("type", "stage", ["a", "b"])
    assert "valid integer" in obstacle.why
    assert "secret" not in obstacle.why
    assert found(new_graph(Lax), saver) == [("type", "stage", ["a"])]


class Stage(StrEnum):
    ONE = "one"


@pytest.mark.parametrize(
    ("annotation", "value", "fits"),
    [
        (str, Stage.ONE, True),
        (Stage, "one", True),
        (Stage, "two", False),
        (int, True, True),
        (float, 1, True),
        (int, "1", False),
        (list[int], (1, 2), False),
        (dict[str, int], {"a": 1}, True),
        (int | None, None, True),
        (Literal["one", "two"], "one", True),
        (Literal["one", "two"], "three", False),
        (Path, Path("/a"), True),
        (Any, object, True),
        (complex, 1j, True),
    ],
)
def test_a_value_fits_what_it_equals(annotation: Any, value: Any, fits: bool) -> None:
    state = TypedDict("state", {"value": annotation})  # noqa: UP013 - the annotation is a parameter
    types = ChannelTypes(new_graph(state))
    assert ("value" not in types.channels or types.misfit("value", value) is None) == fits


class Order(BaseModel):
    number: int


@dataclass
class Item:
    name: str


class Shopping(TypedDict):
    order: Order
    items: list[Item]
    found: dict[str, Any]


def test_models_and_dataclasses_that_have_changed_are_found(
    saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = graph_of(Shopping, saver, node=lambda _: {"found": {"said": says("hello")}}, name="work")
    graph.invoke({"order": Order(number=1), "items": [Item("tea")]}, thread())
    assert found(graph, saver) == []

    class NewOrder(BaseModel):
        number: int
        paid: bool

    @dataclass
    class NewItem:
        name: str
        price: int

    for name, new in (("Order", NewOrder), ("Item", NewItem)):
        new.__qualname__ = new.__name__ = name
        monkeypatch.setitem(globals(), name, new)
    state = TypedDict("state", {"order": NewOrder, "items": list[NewItem]})  # noqa: UP013 - its classes are local
    [_, items, order] = check(new_graph(state), saver).obstacles
    assert (items.kind, items.name, order.kind, order.name) == ("type", "items", "type", "order")
    assert order.why == "Field required (NewOrder: paid)"


def test_misfits_at_any_place_are_one_obstacle_and_keys_are_not_told(saver: HoldfastSaver) -> None:
    class Before(TypedDict):
        by_name: dict[str, list[Any]]

    class After(TypedDict):
        by_name: dict[str, list[Item]]

    for thread_id, name in (("a", "ada@home"), ("b", "bob@home")):
        values = {name: [Item("tea")] * len(thread_id) + [{"name": "x"}]}
        graph_of(Before, saver, node=lambda _: None, name="work").invoke({"by_name": values}, thread(thread_id))
    [obstacle] = check(new_graph(After), saver).obstacles
    assert (obstacle.kind, obstacle.thread_ids) == ("type", ["a", "b"])
    assert obstacle.why.endswith("(dict[str,list[Item]]: *.*)")


def test_a_delta_channel_that_became_a_plain_one_is_found(saver: HoldfastSaver) -> None:
    delta_agent(saver, 100).invoke({"messages": [("user", "go")], "notes": [], "files": {}}, thread())
    assert found(delta_agent(None, 50), saver) == []

    class Plain(TypedDict):
        messages: list[Any]
        files: dict[str, Any]
        steps: int
        notes: Annotated[list[Any], DeltaChannel(lambda notes, _: notes, list, snapshot_frequency=7)]

    assert found(new_graph(Plain), saver) == [("channel", "files", ["ada-1"]), ("channel", "messages", ["ada-1"])]


def test_a_thread_that_cannot_be_read_hides_no_other(saver: HoldfastSaver, dialect: str) -> None:
    for name in ("a", "b"):
        old_thread(saver, name, stage="one")
    table, column, junk = {
        "sqlite": ("checkpoints", "checkpoint", "x'c1'"),
        "postgres": ("checkpoint_blobs", "blob", "'\\xc1'::bytea"),
    }[dialect]
    change(saver, f"UPDATE {table} SET {column} = {junk} WHERE thread_id = 'a'")
    by_kind = {kind: thread_ids for kind, _, thread_ids in found(new_graph(Without), saver)}
    assert "b" in by_kind["channel"]
    assert by_kind["damage"] == ["a"]


def test_a_model_that_refuses_the_state_of_a_paused_thread_ends_no_check(saver: HoldfastSaver) -> None:
    for name in ("a", "b"):
        graph_of(Old, saver).invoke({"said": [], "stage": "secret", "messages": []}, thread(name))

    class Strict(BaseModel):
        said: list[str]
        messages: list[Any]
        stage: int

    obstacles = check(graph_of(Strict), saver).obstacles
    assert [(item.kind, item.name, item.thread_ids) for item in obstacles] == [
        ("damage", "", ["a", "b"]),
        ("type", "stage", ["a", "b"]),
    ]
    assert "secret" not in str(obstacles)


def test_nothing_is_changed(saver: HoldfastSaver) -> None:
    in_doubt(saver)
    graph_of(State, saver).invoke({"said": []}, thread("b"))
    tables = ("checkpoints", "holdfast_threads", "holdfast_interrupts", "holdfast_effects")

    def everything() -> list[Any]:
        return [sorted(map(repr, rows(saver, f"SELECT * FROM {table}"))) for table in tables]

    before = everything()
    check(graph_of(MessagesState), saver)
    assert everything() == before
