"""The types that a graph names are allowed in the strict mode, whichever way the graph is given its checkpointer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict

import pytest
from langchain_core.messages import ToolMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import START, StateGraph
from pydantic import BaseModel

from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from tests.support.kit import thread


def program() -> tuple[type, Any]:
    """Return a new type and a graph whose state names it, as a program has them that begins anew."""

    class Order(BaseModel):
        number: int = 2

    class State(TypedDict):
        order: Order
        messages: list[Any]

    State.__annotations__["order"] = Order

    def node(state: Any) -> dict[str, Any]:
        return {"order": Order(), "messages": [ToolMessage("ok", tool_call_id="1", artifact=Order())]}

    return Order, StateGraph(State).add_node("node", node).add_edge(START, "node")


def compiled(graph: Any, saver: HoldfastSaver) -> Any:
    return graph.compile(checkpointer=saver)


def copied(graph: Any, saver: HoldfastSaver) -> Any:
    return graph.compile().copy(update={"checkpointer": saver})


class Adapter(BaseCheckpointSaver[str]):
    """What LangGraph's server puts around a checkpointer. It passes on what it does not have."""

    def __init__(self, inner: HoldfastSaver) -> None:
        self._inner = inner
        super().__init__()
        self.aget_tuple = inner.aget_tuple  # type: ignore[method-assign]
        self.aput = inner.aput  # type: ignore[method-assign]
        self.aput_writes = inner.aput_writes  # type: ignore[method-assign]
        self.get_next_version = inner.get_next_version  # type: ignore[method-assign]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def as_the_server_does(graph: Any, saver: HoldfastSaver) -> Any:
    return graph.compile().copy(update={"checkpointer": Adapter(saver)})


def set_later(graph: Any, saver: HoldfastSaver) -> Any:
    made = graph.compile()
    made.checkpointer = saver
    return made


def inside_another(graph: Any, saver: HoldfastSaver) -> Any:
    class Outer(TypedDict):
        messages: list[Any]

    outer = StateGraph(Outer).add_node("inner", graph.compile(checkpointer=True)).add_edge(START, "inner")
    return outer.compile(checkpointer=saver)


@pytest.mark.sweep(every=3)
@pytest.mark.parametrize("given", [compiled, copied, set_later])
def test_a_value_of_a_type_in_the_state_is_rebuilt(url: str, given: Callable[[Any, HoldfastSaver], Any]) -> None:
    for _ in range(2):  # the second time, the thread is there and the type is new
        kind, graph = program()
        with open_checkpointer(url, strict=True) as saver:
            made = given(graph, saver)
            assert made.get_state(thread()).values.get("order") in (None, kind())
            made.invoke({}, thread())
            values = made.get_state(thread()).values
            assert (type(values["order"]), type(values["messages"][0].artifact)) == (kind, kind)


async def test_a_value_of_a_type_in_the_state_is_rebuilt_in_langgraphs_server(url: str) -> None:
    for _ in range(2):
        kind, graph = program()
        async with open_checkpointer(url, strict=True) as saver:
            made = as_the_server_does(graph, saver)
            await made.ainvoke({}, thread())
            assert type((await made.aget_state(thread())).values["order"]) is kind


def test_a_message_that_was_loaded_before_the_graph_was_known_is_loaded_again(url: str) -> None:
    kind, graph = program()
    with open_checkpointer(url, strict=True) as saver:
        copied(graph, saver).invoke({}, thread())
    kind, graph = program()
    with open_checkpointer(url, strict=True) as saver:
        found = saver.get_tuple(thread())
        assert found is not None
        assert found.checkpoint["channel_values"]["order"] == {"number": 2}
        [message] = copied(graph, saver).get_state(thread()).values["messages"]
        assert type(message.artifact) is kind


def test_a_type_in_the_state_of_a_subgraph_is_rebuilt(url: str) -> None:
    with open_checkpointer(url, strict=True) as saver:
        kind, graph = program()
        made = inside_another(graph, saver)
        made.invoke({"messages": []}, thread())
        found = saver.get_tuple(thread(checkpoint_ns="inner"))
        assert found is not None
        assert type(found.checkpoint["channel_values"]["order"]) is kind


def test_a_type_that_only_looks_named_is_not_called(url: str) -> None:
    @dataclass
    class Secret:
        word: str = "x"

    class State(TypedDict):
        value: Any

    graph = StateGraph(State).add_node("node", lambda _: {"value": Secret()}).add_edge(START, "node")
    with open_checkpointer(url, strict=True) as saver:
        made = copied(graph, saver)
        made.invoke({}, thread())
        assert made.get_state(thread()).values["value"] == {"word": "x"}
